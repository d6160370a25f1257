//! Installing, updating and approving: which version of an app is current, and which one each account keeps to.
//!
//! Promises: a version that asks for more is installed only where somebody agreed to it, and moves no account by itself;
//! what an account keeps to changes in one write, or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::{Method, StatusCode, header};
use serde::Serialize;
use url::Url;

use super::apps::component;
use super::{AppSource, Caller, Deputy, Error};
use crate::account::Behind;
use crate::app::{self, AppError, Difference, Terms};
use crate::auth::apps::PinnedApp;
use crate::egress::{Credential, Egress, FileAudit, PlainHost, Request};

/// Providers of downloads send on once or twice.
const MAX_HOPS: usize = 5;
/// The largest app that is fetched.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub struct AppInstall {
    pub source: AppSource,
    /// The file or URL it came from: what `app_update` reads again.
    pub from: Option<String>,
    /// Also where it asks for more than the version that is there.
    pub accept: bool,
    /// Only this version.
    pub expect: Option<String>,
}

impl From<AppSource> for AppInstall {
    fn from(source: AppSource) -> Self {
        Self { source, from: None, accept: false, expect: None }
    }
}

#[derive(Debug, Serialize)]
pub struct AppInstalled {
    pub slug: String,
    pub hash: String,
    /// The version that had the name before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    pub changes: Vec<Difference>,
    pub accounts: Moves,
}

/// What became of the accounts that kept to another version.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Moves {
    pub moved: u64,
    /// The version asks for more than they were connected with: `app_approve` moves them.
    pub waiting: u64,
    /// Those that cannot live with it, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// Why none was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct AppUpdates {
    pub apps: Vec<AppUpdate>,
}

#[derive(Debug, Serialize)]
pub struct AppUpdate {
    pub app: String,
    /// Absent: it is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `unchanged`, `updated`, `widens` or `failed`
    pub state: &'static str,
    pub changes: Vec<Difference>,
    pub accounts: Moves,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// What approving an app means for its accounts.
#[derive(Debug, Serialize)]
pub struct AppApproval {
    pub app: String,
    pub hash: String,
    /// Versions that accounts keep to, with what the current one changes.
    pub versions: Vec<VersionBehind>,
    /// They were moved.
    pub approved: bool,
    pub accounts: Moves,
}

#[derive(Debug, Serialize)]
pub struct VersionBehind {
    pub hash: String,
    pub accounts: u64,
    pub changes: Vec<Difference>,
}

impl Deputy {
    pub async fn app_install(&self, caller: &Caller, install: impl Into<AppInstall>) -> Result<AppInstalled, Error> {
        let AppInstall { source, from, accept, expect } = install.into();
        let component = component(source)?;
        if let Some(expect) = expect {
            let hash = app::hash(&component, &app::declared(&component, self.apps_engine()?)?)?;
            if hash != expect {
                let message = format!("this is version {hash}, and {expect} was asked for");
                return Err(Error::new("app_other_version", message).with_fix("find out who changed it"));
            }
        }
        let terms = Terms { accept, from: from.as_deref() };
        let installed = self.catalog.install(&component, self.apps_engine()?, terms)?;
        let app::Installed { slug, hash, app, previous, changes } = installed;
        if !app.hooks().is_empty() {
            // Compiled now, so that no request waits for it.
            self.hooks.prepare(&hash, &app).await.map_err(|reason| {
                Error::new("app_hook_unusable", format!("the hooks of {slug} cannot be used: {reason}"))
            })?;
        }
        let accounts = match previous.as_ref().is_some_and(|previous| *previous != hash) {
            true => self.follow(caller, &slug).await?,
            false => Moves::default(),
        };
        Ok(AppInstalled { slug, hash, previous, changes, accounts })
    }

    /// An app from an https URL.
    pub async fn app_fetch(&self, caller: &Caller, url: &str) -> Result<AppSource, Error> {
        let bytes = self.fetch(caller, url, MAX_BYTES).await?;
        if bytes.starts_with(b"\0asm") {
            return Ok(AppSource::Component(bytes));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new("app_unreachable", format!("{url} is neither a component nor an app.toml")))?;
        Ok(AppSource::Toml { file: url.to_owned(), text, beside: Default::default() })
    }

    /// What stands at a URL that the operator names: from its host, and where that one sends on to.
    pub async fn fetch(&self, caller: &Caller, url: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let failed = |message: String| Error::new("app_unreachable", message);
        let mut at = Url::parse(url).map_err(|error| failed(format!("{url}: {error}")))?;
        let audit = FileAudit::open(&self.config.data.join("audit")).map_err(|error| failed(error.to_string()))?;
        let audit = Arc::new(audit);
        for _ in 0..MAX_HOPS {
            let host = at.host_str().unwrap_or_default();
            let entry = at.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let mut policy = self.config.egress.clone();
            policy.plain = PlainHost::parse(&entry).into_iter().collect();
            let egress = Egress::new(policy, audit.clone())?;
            let answer = egress.send(Credential::Plain(caller), Request::new(Method::GET, at.as_str())).await?;
            if answer.status.is_redirection() {
                let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| failed(format!("{at} sends on, and does not say where")))?;
                at = at.join(to).map_err(|error| failed(format!("{at} sends on to no address: {error}")))?;
                continue;
            }
            if answer.status != StatusCode::OK {
                return Err(failed(format!("{at} answered {}", answer.status)));
            }
            return Ok(answer.body.collect(limit).await?.to_vec());
        }
        Err(failed(format!("{url} sends on more than {MAX_HOPS} times")))
    }

    /// Reads installed apps again from where they came, and lets accounts follow that were left behind. None: all.
    pub async fn app_update(&self, caller: &Caller, slug: Option<&str>, accept: bool) -> Result<AppUpdates, Error> {
        let mut sources: BTreeMap<String, Option<String>> =
            self.catalog.sources()?.into_iter().map(|(slug, from)| (slug, Some(from))).collect();
        match slug {
            Some(slug) => {
                let current = self.catalog.current(slug)?;
                sources.retain(|known, _| known == slug);
                if sources.is_empty() && !current.builtin {
                    let message = format!("nobody knows where `{slug}` came from");
                    return Err(Error::new("app_no_source", message).with_fix("install it again from its file or URL"));
                }
                sources.entry(slug.to_owned()).or_insert(None);
            }
            // A new release of this program may have brought new versions of built-in apps.
            None => {
                for app in self.opened().await?.accounts.apps(caller).await? {
                    sources.entry(app).or_insert(None);
                }
            }
        }
        let mut apps = Vec::new();
        for (app, from) in sources {
            apps.push(self.update_one(caller, app, from, accept).await);
        }
        Ok(AppUpdates { apps })
    }

    async fn update_one(&self, caller: &Caller, app: String, from: Option<String>, accept: bool) -> AppUpdate {
        let mut update =
            AppUpdate { app, from, state: "unchanged", changes: Vec::new(), accounts: Moves::default(), error: None };
        let outcome = match &update.from {
            Some(from) => self.again(caller, from, &update.app, accept).await,
            None => Ok(None),
        };
        let outcome = match outcome {
            Ok(Some(installed)) => {
                let changed = installed.previous.as_ref() != Some(&installed.hash);
                (update.state, update.changes) = (if changed { "updated" } else { "unchanged" }, installed.changes);
                self.follow(caller, &update.app)
                    .await
                    .map(|later| Moves { moved: installed.accounts.moved + later.moved, ..later })
            }
            Ok(None) => self.follow(caller, &update.app).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(moves) => update.accounts = moves,
            Err(error) => {
                update.state = if error.code == "app_widens" { "widens" } else { "failed" };
                update.error = Some(error);
            }
        }
        update
    }

    async fn again(&self, caller: &Caller, from: &str, app: &str, accept: bool) -> Result<Option<AppInstalled>, Error> {
        let source = match from.starts_with("https://") || from.starts_with("http://") {
            true => self.app_fetch(caller, from).await?,
            false => AppSource::read(Path::new(from))?,
        };
        let built = component(source)?;
        let declared = app::declared(&built, self.apps_engine()?)?;
        if declared.slug != app {
            let message = format!("{from} holds `{}` now, and not `{app}`", declared.slug);
            return Err(Error::new("app_other", message).with_fix("install it by itself, if you want it"));
        }
        let install =
            AppInstall { source: AppSource::Component(built), from: Some(from.to_owned()), accept, expect: None };
        self.app_install(caller, install).await.map(Some)
    }

    /// What the current version changes for accounts that keep to others; `accept`: moves them.
    pub async fn app_approve(&self, caller: &Caller, slug: &str, accept: bool) -> Result<AppApproval, Error> {
        let current = self.catalog.current(slug)?;
        let mut versions: BTreeMap<String, VersionBehind> = BTreeMap::new();
        let mut after = None;
        loop {
            let (page, next) =
                self.opened().await?.accounts.behind(caller, slug, &current.hash, after.as_deref()).await?;
            for account in page {
                let version = match versions.get_mut(&account.hash) {
                    Some(version) => version,
                    None => {
                        let changes = self.catalog.changes(&account.hash, &current.hash)?;
                        let fresh = VersionBehind { hash: account.hash.clone(), accounts: 0, changes };
                        versions.entry(account.hash.clone()).or_insert(fresh)
                    }
                };
                version.accounts += 1;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let accounts = match accept {
            true => self.move_accounts(caller, slug, true).await?,
            false => Moves { waiting: versions.values().map(|version| version.accounts).sum(), ..Moves::default() },
        };
        let versions = versions.into_values().collect();
        Ok(AppApproval { app: slug.to_owned(), hash: current.hash, versions, approved: accept, accounts })
    }

    /// Accounts for which nothing widens follow by themselves. Where another process holds the store, later.
    async fn follow(&self, caller: &Caller, slug: &str) -> Result<Moves, Error> {
        match self.move_accounts(caller, slug, false).await {
            Err(error) if error.code == "store_in_use" => {
                let note = "another process holds the store: `deputy app update` lets accounts follow later";
                Ok(Moves { note: Some(note.to_owned()), ..Moves::default() })
            }
            other => other,
        }
    }

    async fn move_accounts(&self, caller: &Caller, slug: &str, widening: bool) -> Result<Moves, Error> {
        let current = self.catalog.current(slug)?;
        let to = PinnedApp { hash: current.hash, app: current.app };
        let accounts = &self.opened().await?.accounts;
        let mut moves = Moves::default();
        // Of each version that an account keeps to: whether the current one asks for more.
        let mut widens: BTreeMap<String, bool> = BTreeMap::new();
        let mut after = None;
        loop {
            let (page, next) = accounts.behind(caller, slug, &to.hash, after.as_deref()).await?;
            for account in page {
                if !widening && self.asks_for_more(&mut widens, &account, &to)? {
                    moves.waiting += 1;
                    continue;
                }
                match accounts.move_to(caller, &account, &to).await? {
                    Ok(()) => moves.moved += 1,
                    Err(reason) => moves.refused.push(format!("{}: {reason}", account.name)),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(moves);
            }
        }
    }

    /// A version that is not there any more cannot be compared: then somebody must look.
    fn asks_for_more(
        &self,
        known: &mut BTreeMap<String, bool>,
        account: &Behind,
        to: &PinnedApp,
    ) -> Result<bool, Error> {
        if let Some(widens) = known.get(&account.hash) {
            return Ok(*widens);
        }
        let widens = match self.catalog.changes(&account.hash, &to.hash) {
            Ok(changes) => changes.iter().any(|change| change.widens),
            Err(AppError::UnknownVersion { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        known.insert(account.hash.clone(), widens);
        Ok(widens)
    }
}
