//! `deputy app dev`: at every change of an app's folder it is checked, tested and installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::output::{BAD, BOLD, DIM, GOOD, Output, printable};
use super::{Done, Error};
use crate::deputy::{AppInstall, AppSource, Caller, Deputy};

/// How often the folder is looked at. A few files: nothing that watches is cheaper.
const EVERY: Duration = Duration::from_millis(300);
/// What the build itself writes.
const OWN: &[&str] = &["target", "deputy-hooks", "node_modules", ".git"];

#[derive(clap::Args)]
pub struct Dev {
    /// An app.toml, or the folder that holds one
    path: PathBuf,
    /// Check, test and install once, and end
    #[arg(long)]
    once: bool,
}

impl Dev {
    pub async fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let folder = match self.path.is_dir() {
            true => self.path.clone(),
            false => self.path.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        loop {
            let before = seen(&folder);
            let turn = round(&self.path, deputy, caller, output).await;
            let failed = match turn {
                Ok(good) => !good,
                Err(error) if self.once => return Err(error),
                Err(error) => {
                    output.error(&error);
                    true
                }
            };
            if self.once {
                return Ok(if failed { Done::Failed } else { Done::Ok });
            }
            output.note(&format!("{DIM}waiting for a change in {}; Ctrl-C ends{DIM:#}", folder.display()));
            while seen(&folder) == before {
                tokio::time::sleep(EVERY).await;
            }
            // An editor writes a file in several steps.
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Check, build, install, test. False: the test failed.
async fn round(path: &Path, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<bool, Error> {
    let checked = deputy.app_check(caller, AppSource::read(path)?).await?;
    let built = deputy.app_build(caller, AppSource::read(path)?).await?;
    let mut warnings = checked.warnings;
    let mut text = String::new();
    for warning in &warnings {
        let place = format!("{}:{}:{}", warning.file, warning.line, warning.column);
        text.push_str(&format!("{BOLD}warning{BOLD:#} {place}: {}\n", printable(&warning.message)));
    }
    let mut installed = None;
    if checked.reserved {
        text.push_str(&format!("{BAD}not installed{BAD:#}: `{}` is a built-in app\n", built.slug));
    } else {
        let from = std::fs::canonicalize(path).ok().map(|path| path.display().to_string());
        // Whoever writes the app agrees to what it asks for; accounts still wait for `app approve`.
        let install =
            AppInstall { source: AppSource::Component(built.component.clone()), from, accept: true, expect: None };
        let done = deputy.app_install(caller, install).await?;
        text.push_str(&format!("{GOOD}installed{GOOD:#} {} (sha256 {})\n", done.slug, done.hash));
        installed = Some(done);
    }
    let (tested, report) = test(AppSource::read(path)?, built.component, deputy, caller).await?;
    text.push_str(&report);
    let answer = serde_json::json!({
        "ok": tested, "slug": built.slug, "warnings": std::mem::take(&mut warnings), "installed": installed,
    });
    output.emit(&answer, || text)?;
    Ok(tested)
}

#[cfg(feature = "conformance")]
async fn test(
    source: AppSource,
    component: Vec<u8>,
    deputy: &Deputy,
    caller: &Caller,
) -> Result<(bool, String), Error> {
    use crate::deputy::conformance::AppTest;
    let apps = vec![AppTest::Built(source, component)];
    let reports = deputy.app_test(caller, apps, |_| ()).await?;
    let good = reports.iter().all(|report| report.ok);
    Ok((good, reports.iter().map(|report| super::app_test::text(report, good)).collect()))
}

#[cfg(not(feature = "conformance"))]
async fn test(_: AppSource, _: Vec<u8>, _: &Deputy, _: &Caller) -> Result<(bool, String), Error> {
    Ok((true, String::new()))
}

/// When each file was written last.
fn seen(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What goes away while it is looked at is a change, and seen as one.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if OWN.iter().any(|own| name == *own) || path.extension().is_some_and(|kind| kind == "wasm") {
                continue;
            }
            match entry.metadata() {
                Ok(known) if known.is_dir() => folders.push(path),
                Ok(known) => drop(files.insert(path, known.modified().unwrap_or(SystemTime::UNIX_EPOCH))),
                Err(_) => {}
            }
        }
    }
    files
}
