//! `deputy app test`: what was checked, and what came of it.

use std::path::Path;

use super::output::{BAD, BOLD, DIM, GOOD, Output, printable};
use super::{Done, Error};
use crate::deputy::conformance::{AppTest, Outcome, Report};
use crate::deputy::{AppFilter, AppSource, Caller, Deputy};

/// One app, or all.
pub async fn run(app: Option<String>, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    let mut apps = Vec::new();
    match app {
        Some(app) if Path::new(&app).exists() => apps.push(AppTest::Source(AppSource::read(Path::new(&app))?)),
        Some(app) => apps.push(AppTest::Known(app)),
        None => apps.extend(
            deputy.app_list(caller, AppFilter::default()).await?.apps.into_iter().map(|app| AppTest::Known(app.slug)),
        ),
    }
    let total = apps.len();
    let mut ended = 0;
    let progress = |report: &Report| {
        ended += 1;
        if total > 1 && (ended % 100 == 0 || ended == total || !report.ok) {
            output.note(&format!("{ended}/{total} {} {}", report.app, if report.ok { "ok" } else { "failed" }));
        }
    };
    let reports = deputy.app_test(caller, apps, progress).await?;
    let ok = reports.iter().all(|report| report.ok);
    let answer = serde_json::json!({ "ok": ok, "apps": reports });
    output.emit(&answer, || reports.iter().map(|report| text(report, total > 1)).collect())?;
    Ok(if ok { Done::Ok } else { Done::Answered(1) })
}

/// `brief`: what went well is told in one line.
pub fn text(report: &Report, brief: bool) -> String {
    let verdict = if report.ok { format!("{GOOD}ok{GOOD:#}") } else { format!("{BAD}failed{BAD:#}") };
    let mut text = format!("{BOLD}{}{BOLD:#} {verdict}\n", report.app);
    if brief && report.ok {
        return text;
    }
    for check in &report.checks {
        let (mark, reason) = match &check.outcome {
            Outcome::Passed => (format!("{GOOD}pass{GOOD:#}"), None),
            Outcome::Failed { reason } => (format!("{BAD}FAIL{BAD:#}"), Some(reason)),
            Outcome::NotTestable { reason } => (format!("{DIM}skip{DIM:#}"), Some(reason)),
        };
        text.push_str(&format!("  {mark} {}: {} {DIM}({} ms){DIM:#}\n", check.method, check.name, check.duration_ms));
        if let Some(reason) = reason {
            let place = check.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            text.push_str(&format!("       {}{}\n", printable(&place), printable(reason)));
        }
        if matches!(check.outcome, Outcome::Failed { .. }) {
            for sent in &check.sent {
                text.push_str(&format!("       {DIM}sent{DIM:#} {}\n", printable(sent)));
            }
        }
    }
    text
}
