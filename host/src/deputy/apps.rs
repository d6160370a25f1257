//! The verbs about apps. Listing and showing open no store.

use std::path::Path;

use deputy_declaration::source::Beside;
use deputy_declaration::types::{App, AuthKind, Origin, Scope, Setup};
use serde::Serialize;

use super::actions::{ActionSummary, summary};
use super::{Caller, Deputy, Error, Problem};
use crate::app::{self, AppSummary, Difference, words};

#[derive(Debug, Serialize)]
pub struct AppList {
    pub apps: Vec<AppSummary>,
}

/// An app from a file: its source, or a component.
#[derive(Debug)]
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
pub struct AppInstalled {
    pub slug: String,
    pub hash: String,
    /// The version that had the name before. Accounts made with it keep to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    pub changes: Vec<Difference>,
}

#[derive(Debug, Serialize)]
pub struct AppRemoved {
    pub removed: String,
}

impl Deputy {
    pub async fn app_list(&self, _caller: &Caller) -> Result<AppList, Error> {
        Ok(AppList { apps: self.catalog.list()? })
    }

    pub async fn app_show(&self, _caller: &Caller, slug: &str) -> Result<AppDetail, Error> {
        let pinned = self.catalog.current(slug)?;
        Ok(detail((*pinned.app).clone(), pinned.hash, pinned.builtin))
    }

    pub async fn app_build(&self, _caller: &Caller, source: AppSource) -> Result<AppBuilt, Error> {
        let component = component(source)?;
        let app = app::declared(&component, self.apps_engine()?)?;
        let hash = app::hash(&component, &app)?;
        Ok(AppBuilt { slug: app.slug, hash, component })
    }

    /// Everything that `app_install` checks, without installing.
    pub async fn app_check(&self, _caller: &Caller, source: AppSource) -> Result<AppDetail, Error> {
        let component = component(source)?;
        let app = app::declared(&component, self.apps_engine()?)?;
        let hash = app::hash(&component, &app)?;
        Ok(detail(app, hash, false))
    }

    pub async fn app_install(&self, _caller: &Caller, source: AppSource) -> Result<AppInstalled, Error> {
        let component = component(source)?;
        let installed = self.catalog.install(&component, self.apps_engine()?)?;
        let app::Installed { slug, hash, previous, changes, .. } = installed;
        Ok(AppInstalled { slug, hash, previous, changes })
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
fn component(source: AppSource) -> Result<Vec<u8>, Error> {
    let (file, text, beside) = match source {
        AppSource::Component(bytes) => return Ok(bytes),
        AppSource::Toml { file, text, beside } => (file, text, beside),
    };
    let app = deputy_declaration::source::parse_with(&file, &text, &beside).map_err(|problems| {
        let problems: Vec<_> = problems
            .0
            .into_iter()
            .map(|problem| Problem {
                file: problem.file,
                line: problem.line,
                column: problem.column,
                message: problem.message,
                help: problem.help,
            })
            .collect();
        let count = problems.len();
        let message = format!("{file} has {count} problem{}", if count == 1 { "" } else { "s" });
        Error { problems, ..Error::new("app_invalid", message) }
    })?;
    deputy_declaration::image::component(&app).map_err(|error| Error::new("app_unbuildable", error.to_string()))
}

fn detail(app: App, hash: String, builtin: bool) -> AppDetail {
    let methods = app.methods.iter().map(|method| {
        let (kind, scopes) = match &method.kind {
            AuthKind::Keys => ("keys", Vec::new()),
            AuthKind::Exchange(_) => ("exchange", Vec::new()),
            AuthKind::OAuth2Code(oauth2) => {
                ("oauth2", oauth2.scope_lists.iter().flat_map(|list| list.scopes.clone()).collect())
            }
        };
        MethodDetail {
            id: method.id.clone(),
            label: method.label.clone(),
            kind,
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
    AppDetail { slug: app.slug.clone(), hash, builtin, evidence, reach, methods, actions, app }
}
