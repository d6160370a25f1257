//! The verbs about apps. Listing and showing open no store.

use std::path::Path;

use deputy_declaration::lint;
use deputy_declaration::source::Beside;
use deputy_declaration::types::{App, AuthKind, EvidenceLevel, Origin, Scope, Setup};
use deputy_declaration::validate::CATEGORIES;
use serde::Serialize;

use super::actions::{ActionSummary, summary};
use super::{Caller, Deputy, Error, Problem};
use crate::app::{self, AppSummary, Chapter, Filter, words};

#[derive(Debug, Serialize)]
pub struct AppList {
    pub apps: Vec<AppSummary>,
}

/// What a listing is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct AppFilter {
    pub category: Option<String>,
    /// `oauth2`, `keys` or `exchange`
    pub method: Option<String>,
    /// At least this level: `facts`, `checked` or `verified`.
    pub evidence: Option<String>,
}

impl AppFilter {
    fn read(self) -> Result<Filter, Error> {
        let wrong = |what: &str, given: &str, words: &str| {
            Error::new("usage", format!("no app has the {what} `{given}`")).with_fix(format!("one of {words}"))
        };
        if let Some(method) = self.method.as_deref()
            && !["oauth2", "keys", "exchange"].contains(&method)
        {
            return Err(wrong("kind of method", method, "oauth2, keys, exchange"));
        }
        if let Some(category) = self.category.as_deref()
            && !CATEGORIES.contains(&category)
        {
            return Err(wrong("category", category, &CATEGORIES.join(", ")));
        }
        let evidence = match self.evidence.as_deref() {
            None => None,
            Some("facts") => Some(EvidenceLevel::Facts),
            Some("checked") => Some(EvidenceLevel::Checked),
            Some("verified") => Some(EvidenceLevel::Verified),
            Some(other) => return Err(wrong("evidence level", other, "facts, checked, verified")),
        };
        Ok(Filter { category: self.category, method: self.method, evidence })
    }
}

/// An app that passed every check, and what the lints say of its source.
#[derive(Debug, Serialize)]
pub struct AppChecked {
    #[serde(flatten)]
    pub detail: AppDetail,
    /// Of an `app.toml`; a component has no text to warn about.
    pub warnings: Vec<Problem>,
    /// The slug belongs to a built-in app: this one cannot be installed under it.
    pub reserved: bool,
    /// What the host does with it, step by step.
    pub explanation: Vec<Chapter>,
}

/// An app from a file: its source, or a component.
#[derive(Debug, Clone)]
pub enum AppSource {
    Toml {
        file: String,
        text: String,
        /// The scripts that it names.
        beside: Beside,
    },
    Component(Vec<u8>),
}

impl AppSource {
    /// The largest file taken for an app.
    const MAX_BYTES: u64 = 8 << 20;

    /// An `app.toml`, a folder that holds one, or a component.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = if path.is_dir() { path.join("app.toml") } else { path.to_owned() };
        let failed = |error: std::io::Error| {
            Error::new("app_unreadable", format!("cannot read {}: {error}", file.display()))
                .with_fix("name an app.toml, the folder that holds it, or a component")
        };
        let size = std::fs::metadata(&file).map_err(failed)?.len();
        if size > Self::MAX_BYTES {
            let message = format!("{} has {size} bytes; an app may have {}", file.display(), Self::MAX_BYTES);
            return Err(Error::new("app_too_large", message));
        }
        let bytes = std::fs::read(&file).map_err(failed)?;
        if bytes.starts_with(b"\0asm") || file.extension().is_some_and(|extension| extension == "wasm") {
            return Ok(Self::Component(bytes));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::new("app_unreadable", format!("{} is not UTF-8 from byte {at} on", file.display()))
        })?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = Beside::read(&text, folder);
        Ok(Self::Toml { file: file.display().to_string(), text, beside })
    }
}

/// An app as a person wants to see it, and its whole declaration.
#[derive(Debug, Serialize)]
pub struct AppDetail {
    pub slug: String,
    pub hash: String,
    pub builtin: bool,
    pub evidence: String,
    /// Where credentials may go, in words.
    pub reach: Vec<String>,
    pub methods: Vec<MethodDetail>,
    /// `deputy action show` tells all of one.
    pub actions: Vec<ActionSummary>,
    /// An SVG: the app's own, or a monogram.
    pub logo: String,
    pub app: App,
}

#[derive(Debug, Serialize)]
pub struct MethodDetail {
    pub id: String,
    pub label: String,
    /// `oauth2`, `exchange` or `keys`
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The provider's page about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// How an operator registers the OAuth client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
    pub scopes: Vec<Scope>,
    pub rule_sets: Vec<String>,
    /// Of each rule set, in its order: `header Authorization: Bearer {bot}`.
    pub rules: Vec<Vec<String>>,
}

#[derive(Debug)]
pub struct AppBuilt {
    pub slug: String,
    pub hash: String,
    pub component: Vec<u8>,
}

#[derive(Debug, Serialize)]
pub struct AppRemoved {
    pub removed: String,
}

impl Deputy {
    pub async fn app_list(&self, _caller: &Caller, filter: AppFilter) -> Result<AppList, Error> {
        let filter = filter.read()?;
        let mut apps = self.catalog.list()?;
        apps.retain(|app| filter.lets(app));
        Ok(AppList { apps })
    }

    /// The apps that hold all words, best first.
    pub async fn app_search(&self, caller: &Caller, words: &[String], filter: AppFilter) -> Result<AppList, Error> {
        let listed = self.app_list(caller, filter).await?;
        Ok(AppList { apps: app::search(listed.apps, words) })
    }

    pub async fn app_show(&self, _caller: &Caller, slug: &str) -> Result<AppDetail, Error> {
        let pinned = self.catalog.current(slug)?;
        Ok(detail((*pinned.app).clone(), pinned.hash, pinned.builtin))
    }

    pub async fn app_build(&self, _caller: &Caller, source: AppSource) -> Result<AppBuilt, Error> {
        let crate_beside = super::app_hooks::beside(&source);
        let mut component = component(source)?;
        if let Some(folder) = crate_beside {
            component = super::app_hooks::compose(component, folder).await?;
        }
        let app = app::declared(&component, self.apps_engine()?)?;
        let hash = app::hash(&component, &app)?;
        Ok(AppBuilt { slug: app.slug, hash, component })
    }

    /// Everything that `app_install` checks, and the lints, without installing.
    pub async fn app_check(&self, _caller: &Caller, source: AppSource) -> Result<AppChecked, Error> {
        let mut warnings = Vec::new();
        if let AppSource::Toml { file, text, beside } = &source
            && let Ok(app) = deputy_declaration::source::parse_with(file, text, beside)
        {
            warnings = lint::one(lint::Source { file, text, app: &app }).into_iter().map(problem).collect();
        }
        let component = component(source)?;
        let app = app::declared(&component, self.apps_engine()?)?;
        let hash = app::hash(&component, &app)?;
        // The very bytes of the built-in app may bear its name.
        let reserved = self.catalog.reserved(&app.slug)? && self.catalog.current(&app.slug)?.hash != hash;
        let explanation = app::explain(&app);
        Ok(AppChecked { detail: detail(app, hash, false), warnings, reserved, explanation })
    }

    /// Refused while accounts of the app exist: they would lose their way out.
    pub async fn app_remove(&self, caller: &Caller, slug: &str) -> Result<AppRemoved, Error> {
        if !self.catalog.current(slug)?.builtin {
            self.refuse_while_used(caller, slug).await?;
        }
        self.catalog.remove(slug)?;
        Ok(AppRemoved { removed: slug.to_owned() })
    }
}

/// The component of a source. Each fault of an `app.toml` comes with its place.
pub(super) fn component(source: AppSource) -> Result<Vec<u8>, Error> {
    let (file, text, beside) = match source {
        AppSource::Component(bytes) => return Ok(bytes),
        AppSource::Toml { file, text, beside } => (file, text, beside),
    };
    let app = deputy_declaration::source::parse_with(&file, &text, &beside).map_err(invalid)?;
    deputy_declaration::image::component(&app).map_err(|error| Error::new("app_unbuildable", error.to_string()))
}

/// What is wrong with the files of an app.
pub(super) fn invalid(problems: deputy_declaration::source::Problems) -> Error {
    let problems: Vec<_> = problems.into_iter().map(problem).collect();
    let (count, file) = (problems.len(), problems.first().map(|problem| problem.file.clone()).unwrap_or_default());
    let message = format!("{file} has {count} problem{}", if count == 1 { "" } else { "s" });
    Error { problems, ..Error::new("app_invalid", message) }
}

fn problem(problem: deputy_declaration::source::Problem) -> Problem {
    let deputy_declaration::source::Problem { file, line, column, message, help, .. } = problem;
    Problem { file, line, column, message, help }
}

fn detail(app: App, hash: String, builtin: bool) -> AppDetail {
    let methods = app.methods.iter().map(|method| {
        let scopes = match &method.kind {
            AuthKind::OAuth2Code(oauth2) => oauth2.scope_lists.iter().flat_map(|list| list.scopes.clone()).collect(),
            AuthKind::Keys | AuthKind::Exchange(_) => Vec::new(),
        };
        MethodDetail {
            id: method.id.clone(),
            label: method.label.clone(),
            kind: method.kind.word(),
            help: method.help.clone(),
            docs: method.docs.clone(),
            setup: method.setup.clone(),
            scopes,
            rule_sets: method.rule_sets.iter().map(|set| set.name.clone()).collect(),
            rules: method.rule_sets.iter().map(|set| set.rules.iter().map(words::rule).collect()).collect(),
        }
    });
    let methods = methods.collect();
    let reach = app.reach.origins.iter().map(|origin| match origin {
        Origin::Pinned(input) => format!("the origin of {{{input}}}, pinned at connect"),
        other => words::origin(other),
    });
    let reach = reach.collect();
    let actions = app.actions.iter().map(|action| summary(&app, action)).collect();
    let evidence = format!("{:?}", app.evidence.level).to_lowercase();
    let logo = app.logo.clone().unwrap_or_else(|| app::monogram(&app.slug, &app.name));
    AppDetail { slug: app.slug.clone(), hash, builtin, evidence, reach, methods, actions, logo, app }
}
