//! Built-in and installed apps under one set of names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use deputy_declaration::inspect::inspect;
use deputy_declaration::nearest;
use deputy_declaration::pack::{Entry, Pack};
use deputy_declaration::types::{App, EvidenceLevel};
use deputy_declaration::validate::validate;
use serde::Serialize;

use super::files::{Files, Name, sha256, version_hash};
use super::{AppError, Difference, differences};
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
    inspect(component).map_err(AppError::Refused)?;
    let value = declarer.declare(component).map_err(AppError::Declare)?;
    let app: App = serde_json::from_value(value).map_err(|error| AppError::Unreadable(error.to_string()))?;
    let findings = validate(&app);
    if findings.is_empty() { Ok(app) } else { Err(AppError::Unsound(findings)) }
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

    /// Installs a component, or updates the app of its slug. The old version stays for the accounts that pinned it.
    pub fn install(&self, component: &[u8], declarer: &dyn Declarer) -> Result<Installed, AppError> {
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
            Some(name) => differences(&*self.named(&app.slug, name)?, &app),
            None => Vec::new(),
        };
        self.files.put(&hash, component, &written(&app)?)?;
        let previous = previous.map(|name| name.hash);
        if previous.as_ref() != Some(&hash) {
            index.apps.insert(app.slug.clone(), Name { hash: hash.clone(), installed_at: Time::now() });
            self.files.write_index(&index)?;
        }
        let app = self.remember(&hash, app);
        Ok(Installed { slug: app.slug.clone(), hash, app, previous, changes })
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
        let bytes = self.files.get(hash)?.ok_or_else(|| AppError::UnknownVersion { hash: hash.to_owned() })?;
        let app = parse(&bytes)?;
        // The folder may have been written by somebody else since.
        let findings = validate(&app);
        if !findings.is_empty() {
            return Err(AppError::Unsound(findings));
        }
        Ok(self.remember(hash, app))
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

fn entry_hash(entry: &Entry<'_>) -> String {
    version_hash(entry.component_sha256, entry.declaration_sha256)
}

fn parse(declaration: &[u8]) -> Result<App, AppError> {
    serde_json::from_slice(declaration).map_err(|error| AppError::Unreadable(error.to_string()))
}
