//! Built-in and installed apps under one set of names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use data_encoding::HEXLOWER;
use deputy_declaration::compose::{self, HOOKS};
use deputy_declaration::inspect::inspect;
use deputy_declaration::nearest;
use deputy_declaration::pack::{Entry, Pack};
use deputy_declaration::types::{App, EvidenceLevel};
use deputy_declaration::validate::validate;
use serde::Serialize;

use super::difference::differences;
use super::files::{Files, Name, Version, sha256, version_hash};
use super::{AppError, Difference};
use crate::time::Time;

/// The built-in apps, as `cargo xtask build` packed them.
static PACK: &[u8] = include_bytes!(env!("DEPUTY_PACK"));

/// Runs `declare` of a component that passed inspection, and gives the declaration in its JSON form: what
/// `deputy_declaration::types::App` serialises to. Implemented by `wasm`.
pub trait Declarer {
    fn declare(&self, component: &[u8]) -> Result<serde_json::Value, String>;
}

/// One version of an app, for ever the same.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// Covers component and declaration; what an account stores, sealed.
    pub hash: String,
    pub app: Arc<App>,
    pub builtin: bool,
}

/// What a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppSummary {
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub categories: Vec<String>,
    /// Ids, best first.
    pub methods: Vec<String>,
    /// `oauth2`, `keys` or `exchange`, one for each of `methods`.
    pub kinds: Vec<String>,
    pub evidence: EvidenceLevel,
    /// The day of the evidence.
    pub evidence_date: String,
    pub logo: bool,
    pub hash: String,
    pub builtin: bool,
}

/// What an installation did.
#[derive(Debug, Clone)]
pub struct Installed {
    pub slug: String,
    pub hash: String,
    pub app: Arc<App>,
    /// The version that had the name before. The same hash: nothing changed.
    pub previous: Option<String>,
    /// Against that version; empty for a new app.
    pub changes: Vec<Difference>,
}

impl Declarer for crate::wasm::Apps {
    fn declare(&self, component: &[u8]) -> Result<serde_json::Value, String> {
        Self::declare(self, component)
    }
}

/// What a component declares, after everything that an installation checks.
pub fn declared(component: &[u8], declarer: &dyn Declarer) -> Result<App, AppError> {
    let exported = inspect(component).map_err(AppError::Refused)?;
    let value = declarer.declare(component).map_err(AppError::Declare)?;
    let app: App = serde_json::from_value(value).map_err(|error| AppError::Unreadable(error.to_string()))?;
    let findings = validate(&app);
    if !findings.is_empty() {
        return Err(AppError::Unsound(findings));
    }
    hooks_fit(&app, &exported)?;
    Ok(app)
}

/// What the declaration calls for is there, and what is there is called for.
fn hooks_fit(app: &App, exported: &[&'static str]) -> Result<(), AppError> {
    let wanted = app.hooks();
    if let Some((hook, key)) = wanted.iter().find(|(hook, _)| !exported.contains(hook)) {
        return Err(AppError::HookMissing { hook, rule: key });
    }
    match exported.iter().find(|hook| HOOKS.contains(hook) && !wanted.iter().any(|(known, _)| known == *hook)) {
        Some(hook) => Err(AppError::HookUnused { hook }),
        None => Ok(()),
    }
}

/// The hash under which this version is or would be installed.
pub fn hash(component: &[u8], app: &App) -> Result<String, AppError> {
    Ok(version_hash(&sha256(component), &sha256(&written(app)?)))
}

/// The bytes of a declaration that are hashed and stored.
fn written(app: &App) -> Result<Vec<u8>, AppError> {
    serde_json::to_vec(app).map_err(|error| AppError::Unreadable(error.to_string()))
}

/// The apps of this binary and of one data folder. Cheap to open: nothing is read before it is asked for.
#[derive(Debug)]
pub struct Catalog {
    files: Files,
    pack: Pack<'static>,
    /// The built-in apps by hash, made when the first hash is asked for: runs look declarations up often.
    packed: OnceLock<HashMap<String, Entry<'static>>>,
    /// Parsed versions, by hash.
    parsed: Mutex<HashMap<String, Arc<App>>>,
}

/// What an installation may do, and where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Also where the new version asks for more than the old one.
    pub accept: bool,
    pub from: Option<&'a str>,
}

impl Catalog {
    /// `folder` is `<data>/apps`; it is created by the first installation.
    pub fn open(folder: &Path) -> Result<Self, AppError> {
        Ok(Self {
            files: Files::new(folder),
            pack: Pack::open(PACK)?,
            packed: OnceLock::new(),
            parsed: Mutex::new(HashMap::new()),
        })
    }

    /// All apps by slug.
    pub fn list(&self) -> Result<Vec<AppSummary>, AppError> {
        let mut all = Vec::with_capacity(self.pack.len());
        for entry in self.pack.entries() {
            let entry = entry?;
            all.push(AppSummary {
                slug: entry.slug.to_owned(),
                name: entry.name.to_owned(),
                summary: entry.summary.to_owned(),
                categories: entry.categories().map(str::to_owned).collect(),
                methods: entry.methods().map(str::to_owned).collect(),
                kinds: entry.kinds().map(str::to_owned).collect(),
                evidence: entry.level,
                evidence_date: entry.date.to_owned(),
                logo: entry.logo,
                hash: entry_hash(&entry),
                builtin: true,
            });
        }
        for (slug, name) in self.files.index()?.apps {
            // A name that became built-in with a later release belongs to the binary.
            if self.pack.find(&slug)?.is_some() {
                continue;
            }
            let app = self.named(&slug, &name)?;
            all.push(AppSummary {
                name: app.name.clone(),
                summary: app.summary.clone(),
                categories: app.categories.clone(),
                methods: app.methods.iter().map(|method| method.id.clone()).collect(),
                kinds: app.methods.iter().map(|method| method.kind.word().to_owned()).collect(),
                evidence: app.evidence.level,
                evidence_date: app.evidence.date.clone(),
                logo: app.logo.is_some(),
                hash: name.hash,
                builtin: false,
                slug,
            });
        }
        all.sort_by(|one, other| one.slug.cmp(&other.slug));
        Ok(all)
    }

    /// Whether the name belongs to the binary, so that nobody else can install under it.
    pub fn reserved(&self, slug: &str) -> Result<bool, AppError> {
        Ok(self.pack.find(slug)?.is_some())
    }

    /// The version that the name stands for now.
    pub fn current(&self, slug: &str) -> Result<Pinned, AppError> {
        if let Some(entry) = self.pack.find(slug)? {
            return self.builtin(entry_hash(&entry), &entry);
        }
        let index = self.files.index()?;
        if let Some(name) = index.apps.get(slug) {
            let app = self.named(slug, name)?;
            return Ok(Pinned { hash: name.hash.clone(), app, builtin: false });
        }
        let mut slugs: Vec<&str> = index.apps.keys().map(String::as_str).collect();
        for entry in self.pack.entries() {
            slugs.push(entry?.slug);
        }
        Err(AppError::Unknown { slug: slug.to_owned(), nearest: nearest(slug, slugs).map(str::to_owned) })
    }

    /// The version that an account pinned, also after an update or a removal.
    pub fn pinned(&self, hash: &str) -> Result<Pinned, AppError> {
        if let Some(entry) = self.packed(hash)? {
            return self.builtin(hash.to_owned(), entry);
        }
        let app = self.installed(hash)?;
        Ok(Pinned { hash: hash.to_owned(), app, builtin: false })
    }

    /// The component of an installed version, held against its hash. Built-in apps are data and have no code to run.
    pub fn component(&self, hash: &str) -> Result<Vec<u8>, AppError> {
        self.version(hash).map(|version| version.component)
    }

    /// Installs a component, or updates the app of its slug. The old version stays for the accounts that pinned it.
    pub fn install(&self, component: &[u8], declarer: &dyn Declarer, terms: Terms<'_>) -> Result<Installed, AppError> {
        let app = declared(component, declarer)?;
        let hash = hash(component, &app)?;
        if let Some(entry) = self.pack.find(&app.slug)? {
            // The very bytes of the built-in app change nothing.
            if entry_hash(&entry) == hash {
                let previous = Some(hash.clone());
                return Ok(Installed {
                    slug: app.slug.clone(),
                    hash,
                    app: Arc::new(app),
                    previous,
                    changes: Vec::new(),
                });
            }
            return Err(AppError::Reserved { slug: app.slug });
        }
        let _lock = self.files.lock()?;
        let mut index = self.files.index()?;
        let previous = index.apps.get(&app.slug).cloned();
        let changes = match &previous {
            Some(name) => {
                let old = self.named(&app.slug, name)?;
                let code = self.code(&old, &name.hash)?;
                changes((&old, code), (&app, own_code(&app, component)))
            }
            None => Vec::new(),
        };
        if !terms.accept && changes.iter().any(|change| change.widens) {
            return Err(AppError::Widens { slug: app.slug, changes });
        }
        self.files.put(&hash, component, &written(&app)?)?;
        let previous = previous.map(|name| name.hash);
        if previous.as_ref() != Some(&hash) {
            let from = terms.from.map(str::to_owned);
            index.apps.insert(app.slug.clone(), Name { hash: hash.clone(), installed_at: Time::now(), from });
            self.files.write_index(&index)?;
        }
        let app = self.remember(&hash, app);
        Ok(Installed { slug: app.slug.clone(), hash, app, previous, changes })
    }

    /// What changes between two versions of an app.
    pub fn changes(&self, old: &str, new: &str) -> Result<Vec<Difference>, AppError> {
        let (old, new) = (self.pinned(old)?, self.pinned(new)?);
        let codes = (self.code(&old.app, &old.hash)?, self.code(&new.app, &new.hash)?);
        Ok(changes((&old.app, codes.0), (&new.app, codes.1)))
    }

    /// Where an installed app came from.
    pub fn sources(&self) -> Result<Vec<(String, String)>, AppError> {
        let known = self.files.index()?.apps.into_iter();
        Ok(known.filter_map(|(slug, name)| Some((slug, name.from?))).collect())
    }

    /// The hash of the code of a version that has hooks.
    fn code(&self, app: &App, hash: &str) -> Result<Option<String>, AppError> {
        match !app.hooks().is_empty() {
            true => Ok(own_code(app, &self.component(hash)?)),
            false => Ok(None),
        }
    }

    /// Makes sure that a version outlives this binary: accounts pin built-in apps too, and a later release may bring
    /// another version of them.
    pub fn keep(&self, hash: &str) -> Result<(), AppError> {
        match self.packed(hash)? {
            Some(entry) => self.files.put(hash, &entry.component()?, &entry.declaration()?),
            None => self.installed(hash).map(|_| ()),
        }
    }

    /// Forgets the name. The version stays for the accounts that pinned it.
    pub fn remove(&self, slug: &str) -> Result<(), AppError> {
        if self.pack.find(slug)?.is_some() {
            return Err(AppError::BuiltIn { slug: slug.to_owned() });
        }
        if !self.files.index()?.apps.contains_key(slug) {
            return Err(self.current(slug).err().unwrap_or(AppError::Unknown { slug: slug.to_owned(), nearest: None }));
        }
        let _lock = self.files.lock()?;
        let mut index = self.files.index()?;
        index.apps.remove(slug);
        self.files.write_index(&index)
    }

    fn packed(&self, hash: &str) -> Result<Option<&Entry<'static>>, AppError> {
        let packed = match self.packed.get() {
            Some(packed) => packed,
            None => {
                let entries = self.pack.entries().map(|entry| entry.map(|entry| (entry_hash(&entry), entry)));
                let entries = entries.collect::<Result<_, _>>()?;
                self.packed.get_or_init(|| entries)
            }
        };
        Ok(packed.get(hash))
    }

    fn builtin(&self, hash: String, entry: &Entry<'_>) -> Result<Pinned, AppError> {
        let app = match self.known(&hash) {
            Some(app) => app,
            None => self.remember(&hash, parse(&entry.declaration()?)?),
        };
        Ok(Pinned { hash, app, builtin: true })
    }

    /// An installed version, verified.
    fn installed(&self, hash: &str) -> Result<Arc<App>, AppError> {
        if let Some(app) = self.known(hash) {
            return Ok(app);
        }
        let app = parse(&self.version(hash)?.declaration)?;
        // The folder may have been written by somebody else since.
        let findings = validate(&app);
        if !findings.is_empty() {
            return Err(AppError::Unsound(findings));
        }
        Ok(self.remember(hash, app))
    }

    fn version(&self, hash: &str) -> Result<Version, AppError> {
        self.files.get(hash)?.ok_or_else(|| AppError::UnknownVersion { hash: hash.to_owned() })
    }

    /// As [`Self::installed`], and it bears the name under which the index lists it.
    fn named(&self, slug: &str, name: &Name) -> Result<Arc<App>, AppError> {
        let app = self.installed(&name.hash)?;
        if app.slug != slug {
            let message = format!("`{slug}` stands for version {} of `{}`", name.hash, app.slug);
            return Err(AppError::Catalog { path: self.files.index_path(), message });
        }
        Ok(app)
    }

    fn known(&self, hash: &str) -> Option<Arc<App>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn remember(&self, hash: &str, app: App) -> Arc<App> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        parsed.entry(hash.to_owned()).or_insert_with(|| Arc::new(app)).clone()
    }
}

fn own_code(app: &App, component: &[u8]) -> Option<String> {
    (!app.hooks().is_empty()).then(|| HEXLOWER.encode(&sha256(compose::code(component))))
}

fn changes(old: (&App, Option<String>), new: (&App, Option<String>)) -> Vec<Difference> {
    let mut changes = differences(old.0, new.0);
    let (before, after) = (old.1, new.1);
    if before != after {
        // Nobody can tell from code that it does less than other code.
        let widens = after.is_some();
        changes.push(Difference { part: "hooks".to_owned(), before, after, widens });
    }
    changes
}

fn entry_hash(entry: &Entry<'_>) -> String {
    version_hash(entry.component_sha256, entry.declaration_sha256)
}

fn parse(declaration: &[u8]) -> Result<App, AppError> {
    serde_json::from_slice(declaration).map_err(|error| AppError::Unreadable(error.to_string()))
}
