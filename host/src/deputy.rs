//! The facade: one async method a verb, `(&Caller, request) → Result<response>`. Every door speaks only to this.
//!
//! Opening is lazy: listing apps opens no store, checking an app starts no step engine.

mod accounts;
mod actions;
mod app_hooks;
mod app_updates;
mod apps;
#[cfg(feature = "conformance")]
pub mod conformance;
mod control;
mod drafts;
mod error;
mod hooks;
mod requests;
mod steps;
mod uses;
mod work;
mod workflow_check;
mod workflows;

use std::sync::{Arc, OnceLock};

pub use accounts::*;
pub use actions::{ActionDetail, ActionList, ActionRun, ActionSends, ActionSummary, PropDetail};
pub use app_updates::{AppApproval, AppInstall, AppInstalled, AppUpdate, AppUpdates, Moves};
pub use apps::{AppBuilt, AppChecked, AppDetail, AppFilter, AppList, AppRemoved, AppSource, MethodDetail};
pub use drafts::{AppCreated, AppDrafted, AppFile, AppNew, Description, app_kinds};
pub use error::{Error, Problem};
pub use hooks::{HookAnswer, HookRequest, Serving};
pub use requests::CallRun;
pub use steps::{StepChecked, StepNew, StepRan, StepRun, read_program};
pub use uses::{AccountDetail, AccountReplaced, MissingScopes};
pub use work::Worker;
pub use workflow_check::{StepSummary, WorkflowChecked, WorkflowFile};
pub use workflows::*;

pub use deputy_declaration::types::Input;

pub use crate::caller::Caller;
pub use crate::config::{Config, Overrides};
pub use crate::egress::{Answer, AnswerBody, Body, Request as HttpRequest};
pub use crate::step::{
    AnswerRules, Call, CallBody, CallRetry, Files, Language, LogLine, Output, Pages, Parse, Program, Prop, PropKind,
    RequestSummary, Taken,
};
pub use crate::vault::Secret;

use crate::account::Accounts;
use crate::app::Catalog;
use crate::egress::{Egress, FileAudit, Hooks};
use crate::step::Steps;
use crate::store::SledStore;
use crate::vault::{KeySource, Vault};
use crate::wasm::Apps as AppsEngine;
use crate::workflow::engine::{Engine, EngineConfig};
use crate::workflow::programs::Programs;
use crate::workflow::records::Records;

pub struct Deputy {
    config: Config,
    catalog: Arc<Catalog>,
    apps_engine: OnceLock<AppsEngine>,
    /// The code of apps that runs with requests.
    hooks: Arc<Hooks>,
    steps: Arc<work::Engine>,
    opened: tokio::sync::OnceCell<Opened>,
    /// What this process does for as long as it runs; others read it where the store is in use.
    role: OnceLock<&'static str>,
    /// Where this process listens, once it serves.
    listening: OnceLock<std::net::SocketAddr>,
}

/// What stands behind the store: opened by the first verb that needs it.
struct Opened {
    egress: Arc<Egress>,
    accounts: Arc<Accounts>,
    engine: Engine,
}

impl Deputy {
    /// With the configuration of this process: flags over environment over `deputy.toml` over defaults.
    pub fn open(overrides: Overrides) -> Result<Self, Error> {
        let config = Config::load(overrides, &|name| std::env::var(name).ok())?;
        Self::with_config(config)
    }

    pub fn with_config(config: Config) -> Result<Self, Error> {
        // Less protection is no reason to refuse work, but it is said.
        if let Err(error) = crate::vault::harden() {
            tracing::warn!("core dumps of this process cannot be switched off: {error}");
        }
        let catalog = Arc::new(Catalog::open(&config.data.join("apps"))?);
        let steps = Arc::new(work::Engine::new(config.data.join("cache")));
        let hooks = Arc::new(Hooks::new(catalog.clone(), Some(&config.data.join("cache"))));
        Ok(Self {
            config,
            catalog,
            hooks,
            apps_engine: OnceLock::new(),
            steps,
            opened: tokio::sync::OnceCell::new(),
            role: OnceLock::new(),
            listening: OnceLock::new(),
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    async fn opened(&self) -> Result<&Opened, Error> {
        self.opened.get_or_try_init(|| self.open_store()).await
    }

    async fn open_store(&self) -> Result<Opened, Error> {
        let store = Arc::new(SledStore::open_as(&self.config.data, self.role.get().copied())?);
        let source = KeySource::from_config(&self.config);
        let vault = Arc::new(Vault::open(&*store, &source).await?);
        let folder = self.config.data.join("audit");
        let audit = FileAudit::open(&folder).map_err(|error| {
            Error::new("audit_failed", format!("cannot open the audit in {}: {error}", folder.display()))
        })?;
        let egress = Egress::new(self.config.egress.clone(), Arc::new(audit))?.with_hooks(self.hooks.clone());
        let egress = Arc::new(egress);
        let apps = Arc::new(accounts::Declared(self.catalog.clone()));
        let records = Records::new(store.clone(), vault.clone());
        let accounts = Accounts::new(store, vault, apps, egress.clone(), self.config.callback.clone());
        let work = Arc::new(self.worker_of(&egress, &accounts));
        let config = EngineConfig { max_runs: self.config.serve.max_runs, ..EngineConfig::default() };
        let engine = Engine::new(records, Programs::new(&self.config.data), work, config)?;
        Ok(Opened { egress, accounts, engine })
    }

    /// Waits for what must not be cut off. Call it before the process ends.
    pub async fn close(&self) {
        if let Some(opened) = self.opened.get() {
            opened.accounts.drain().await;
        }
    }

    fn apps_engine(&self) -> Result<&AppsEngine, Error> {
        if let Some(engine) = self.apps_engine.get() {
            return Ok(engine);
        }
        let engine = AppsEngine::new(None)?;
        Ok(self.apps_engine.get_or_init(|| engine))
    }

    fn steps(&self) -> Result<&Steps, Error> {
        Ok(self.steps.get()?)
    }
}
