//! `deputy app test`: the real host against a provider made from the declaration.
//!
//! Each app gets a facade of its own with temporary folders; every host name of the app is sent to one local server,
//! and nothing leaves the machine.

mod account;
mod driver;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use deputy_declaration::source::reader::Fault;
use deputy_declaration::source::{Beside, FIXTURES, Problems, locate, parse_with, problems};
use deputy_declaration::types::App;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{AppSource, Caller, Config, Deputy, Error, Overrides};
use crate::conformance::{Fake, Fixture, Server, hosts, read_fixtures};
use driver::{Driver, Spoken};

pub use crate::conformance::{Check, Outcome, Report};

const PUBLIC_URL: &str = "https://deputy.conformance.example";

/// What is tested.
#[derive(Debug)]
pub enum AppTest {
    Known(String),
    Source(AppSource),
    /// What a source was built to.
    Built(AppSource, Vec<u8>),
}

/// An app, and the component where it is more than data.
#[derive(Debug, Clone)]
pub struct Subject {
    pub app: Arc<App>,
    pub component: Option<Vec<u8>>,
    pub fixtures: Vec<Fixture>,
    /// Where it was written: the file, its text, and what stands beside it.
    pub written: Option<Arc<(String, String, Beside)>>,
}

impl From<App> for Subject {
    fn from(app: App) -> Self {
        Self { app: Arc::new(app), component: None, fixtures: Vec::new(), written: None }
    }
}

impl Subject {
    /// An app that is data, as it is written in a file.
    ///
    /// # Errors
    /// Each fault of the file, or of the fixtures beside it.
    pub fn written(file: String, text: String, beside: Beside) -> Result<Self, Problems> {
        let app = parse_with(&file, &text, &beside)?;
        let fixtures = fixtures(&file, &beside, &app)?;
        Ok(Self { fixtures, written: Some(Arc::new((file, text, beside))), ..Self::from(app) })
    }
}

/// What was recorded, beside the file of an app.
fn fixtures(file: &str, beside: &Beside, app: &App) -> Result<Vec<Fixture>, Problems> {
    let Some(text) = beside.fixtures() else { return Ok(Vec::new()) };
    let shown = Path::new(file).with_file_name(FIXTURES).display().to_string();
    let text = text
        .map_err(|reason| problems(&shown, "", vec![Fault { span: 0..0, message: reason.to_owned(), help: None }]))?;
    read_fixtures(&shown, text, app)
}

impl Deputy {
    /// Tests apps side by side; `done` hears of each as it ends. The reports come in the order of the apps.
    pub async fn app_test(
        &self,
        caller: &Caller,
        apps: Vec<AppTest>,
        mut done: impl FnMut(&Report),
    ) -> Result<Vec<Report>, Error> {
        let places = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from) * 2));
        let mut running = JoinSet::new();
        for (at, app) in apps.into_iter().enumerate() {
            let place = places.clone().acquire_owned().await.map_err(|error| failed(error.to_string()))?;
            let subject = self.subject(caller, app).await?;
            running.spawn(async move {
                let report = run(&subject, &subject).await;
                drop(place);
                (at, report)
            });
        }
        let mut reports = BTreeMap::new();
        while let Some(ended) = running.join_next().await {
            let (at, report) = ended.map_err(|error| failed(error.to_string()))?;
            let report = report?;
            done(&report);
            reports.insert(at, report);
        }
        Ok(reports.into_values().collect())
    }

    async fn subject(&self, caller: &Caller, app: AppTest) -> Result<Subject, Error> {
        let (app, bytes) = match app {
            AppTest::Known(slug) => {
                let pinned = self.catalog.current(&slug)?;
                let hooked = !pinned.app.hooks().is_empty();
                let bytes = if hooked { Some(self.catalog.component(&pinned.hash)?) } else { None };
                (App::clone(&pinned.app), bytes)
            }
            AppTest::Source(source) => {
                let component = self.app_build(caller, source.clone()).await?.component;
                return self.built(source, component);
            }
            AppTest::Built(source, component) => return self.built(source, component),
        };
        Ok(Subject { component: bytes, ..Subject::from(app) })
    }

    fn built(&self, source: AppSource, component: Vec<u8>) -> Result<Subject, Error> {
        let app = crate::app::declared(&component, self.apps_engine()?)?;
        let component = (!app.hooks().is_empty()).then_some(component);
        let AppSource::Toml { file, text, beside } = source else {
            return Ok(Subject { component, ..Subject::from(app) });
        };
        let fixtures = fixtures(&file, &beside, &app).map_err(super::apps::invalid)?;
        let written = Some(Arc::new((file, text, beside)));
        Ok(Subject { app: Arc::new(app), component, fixtures, written })
    }
}

fn failed(reason: impl Into<String>) -> Error {
    Error::new("app_test_failed", reason)
}

/// The provider speaks `declared`, the host is given `driven`: two that differ must fail.
pub async fn run(declared: &Subject, driven: &Subject) -> Result<Report, Error> {
    let app = &*declared.app;
    let mut checks = Vec::new();
    let mut spoken = Vec::new();
    for (at, method) in app.methods.iter().enumerate() {
        match Spoken::new(app, at, method) {
            Ok(made) => spoken.push(made),
            Err(error) => {
                let about = format!("methods[{at}]");
                checks.push(driver::not_testable(&method.id, about, "the method", error.to_string()));
            }
        }
    }
    let names: BTreeSet<String> =
        spoken.iter().flat_map(|made| hosts(app, &app.methods[made.at], &made.inputs)).collect();
    let fake = Arc::new(Fake::new(app.clone()));
    let certified: Vec<_> = names.iter().filter_map(|name| Some(name.rsplit_once(':')?.0.to_owned())).collect();
    let server = Server::start(&certified, fake.clone()).await.map_err(failed)?;
    let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let overrides = Overrides { data: Some(folder.path().join("data")), config: Some(folder.path().join("config")) };
    let mut config = Config::load(overrides, &|_| None)?;
    config.egress.resolve =
        names.into_iter().map(|name| (name, server.address)).collect::<BTreeMap<String, SocketAddr>>();
    config.egress.ca_pem = Some(server.root_pem.clone());
    config.callback.public_url = Some(url::Url::parse(PUBLIC_URL).map_err(|error| failed(error.to_string()))?);
    let host = Deputy::with_config(config)?;
    let caller = Caller::local();
    let slug = install(&host, &caller, driven).await?;
    for made in spoken {
        let mut driver = Driver::new(&host, &caller, &fake, &slug, &declared.fixtures, made);
        driver.method(&app.methods[driver.spoken.at]).await;
        checks.append(&mut driver.checks);
    }
    host.close().await;
    if let Some((file, text, beside)) = declared.written.as_deref() {
        for check in checks.iter_mut().filter(|check| matches!(check.outcome, Outcome::Failed { .. })) {
            check.place = locate(file, text, beside, &check.about);
        }
    }
    Ok(Report::new(app.slug.clone(), checks))
}

/// Under a slug that no built-in app has. A component with hooks keeps its own: its name is part of it.
async fn install(host: &Deputy, caller: &Caller, driven: &Subject) -> Result<String, Error> {
    let component = match &driven.component {
        Some(component) => component.clone(),
        None => {
            let app = App { slug: "under-test".to_owned(), ..App::clone(&driven.app) };
            deputy_declaration::image::component(&app)
                .map_err(|error| Error::new("app_unbuildable", error.to_string()))?
        }
    };
    Ok(host.app_install(caller, AppSource::Component(component)).await?.slug)
}
