//! `deputy app`: the apps there are, and the way from an `app.toml` to an installed one.

use std::path::PathBuf;

use clap::Subcommand;

use super::app_dev::Dev;
use super::app_import::Import;
use super::app_new::New;
use super::app_updates::{Approve, Install, Update};
use super::output::{BAD, BOLD, DIM, GOOD, Output, printable, table};
use super::{Done, Error};
use crate::deputy::{AppDetail, AppFilter, AppList, AppSource, Caller, Deputy};

#[derive(Subcommand)]
pub enum Command {
    /// The apps installed, built in or by you
    List(Filters),
    /// Find an app by name, category or what it is for
    Search {
        /// All of them must be found; slips of the keyboard are forgiven
        #[arg(required = true)]
        words: Vec<String>,
        #[command(flatten)]
        filters: Filters,
    },
    /// What an app declares: methods, scopes, inputs, reach, rules
    Show {
        /// The app's slug, such as `github`
        app: String,
    },
    /// Turn an app.toml into a component
    Build {
        /// An app.toml, or the folder that holds one
        path: PathBuf,
        /// Where to write the component [default: <slug>.wasm beside the app.toml]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check an app.toml or a component, and say what is wrong and where
    Check {
        /// An app.toml, a folder that holds one, or a component
        path: PathBuf,
        /// Fail when there is a warning
        #[arg(long)]
        deny_warnings: bool,
        /// Tell step by step what Deputy does with it: connect, requests, renewal, deletion
        #[arg(long)]
        explain: bool,
    },
    /// Check, test and install an app again at every change of its folder
    Dev(Dev),
    /// Make a folder with a new app, from a few answers
    New(New),
    /// Draft an app.toml from an OpenAPI document, a Postman collection or a curl command
    Import(Import),
    /// Test an app against a provider made from its own declaration; nothing leaves this machine
    #[cfg(feature = "conformance")]
    Test {
        /// The slug of an app, an app.toml, a folder that holds one, or a component
        #[arg(required_unless_present = "all")]
        app: Option<String>,
        /// Every app there is
        #[arg(long, conflicts_with = "app")]
        all: bool,
    },
    /// Install an app, or a new version of one, from a file or a URL
    Install(Install),
    /// Read installed apps again from where they came; accounts follow where nothing asks for more
    Update(Update),
    /// See what an app's current version changes for accounts that keep to an older one, and move them
    Approve(Approve),
    /// Remove an app that you installed
    Remove { app: String },
}

#[derive(clap::Args)]
pub struct Filters {
    /// Only apps of this category
    #[arg(long)]
    category: Option<String>,
    /// Only apps with such a method: oauth2, keys or exchange
    #[arg(long, value_name = "KIND")]
    method: Option<String>,
    /// Only apps with at least this evidence: facts, checked or verified
    #[arg(long, value_name = "LEVEL")]
    evidence: Option<String>,
}

impl From<Filters> for AppFilter {
    fn from(filters: Filters) -> Self {
        Self { category: filters.category, method: filters.method, evidence: filters.evidence }
    }
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::List(filters) => {
            let list = deputy.app_list(caller, filters.into()).await?;
            output.emit(&list, || listed(&list))?;
        }
        Command::Search { words, filters } => {
            let list = deputy.app_search(caller, &words, filters.into()).await?;
            output.emit(&list, || match list.apps.is_empty() {
                true => "no app holds all of these words; see all of them: deputy app list".to_owned(),
                false => listed(&list),
            })?;
        }
        Command::Show { app } => {
            let detail = deputy.app_show(caller, &app).await?;
            output.emit(&detail, || describe(&detail))?;
        }
        Command::Build { path, output: to } => {
            let built = deputy.app_build(caller, AppSource::read(&path)?).await?;
            let to = to.unwrap_or_else(|| match path.is_dir() {
                true => path.join(format!("{}.wasm", built.slug)),
                false => path.with_file_name(format!("{}.wasm", built.slug)),
            });
            std::fs::write(&to, &built.component)
                .map_err(|error| Error::new("output_failed", format!("cannot write {}: {error}", to.display())))?;
            let answer = serde_json::json!({ "slug": built.slug, "hash": built.hash, "bytes": built.component.len(), "path": to });
            output.emit(&answer, || {
                format!("{GOOD}built{GOOD:#} {} ({} bytes, sha256 {})", to.display(), built.component.len(), built.hash)
            })?;
        }
        Command::New(new) => return new.run(deputy, caller, output),
        Command::Dev(dev) => return dev.run(deputy, caller, output).await,
        Command::Import(import) => return import.run(deputy, caller, output).await,
        Command::Check { path, deny_warnings, explain } => {
            let checked = deputy.app_check(caller, AppSource::read(&path)?).await?;
            output.emit(&checked, || {
                let mut text = format!("{GOOD}ok{GOOD:#}\n{}", describe(&checked.detail));
                if checked.reserved {
                    let slug = &checked.detail.slug;
                    text.push_str(&format!(
                        "{BAD}reserved{BAD:#}: `{slug}` is a built-in app; install this one under another slug\n"
                    ));
                }
                if explain {
                    for chapter in &checked.explanation {
                        text.push_str(&format!("\n{BOLD}{}{BOLD:#}\n", printable(&chapter.title)));
                        for (at, line) in chapter.steps.iter().enumerate() {
                            text.push_str(&format!("  {}. {}\n", at + 1, printable(line)));
                        }
                    }
                    text.push('\n');
                }
                for warning in &checked.warnings {
                    let place = format!("{}:{}:{}", warning.file, warning.line, warning.column);
                    text.push_str(&format!("{BOLD}warning{BOLD:#} {place}: {}\n", printable(&warning.message)));
                    if let Some(help) = &warning.help {
                        text.push_str(&format!("  {DIM}help:{DIM:#} {}\n", printable(help)));
                    }
                }
                text
            })?;
            if deny_warnings && (checked.reserved || !checked.warnings.is_empty()) {
                return Ok(Done::Failed);
            }
        }
        #[cfg(feature = "conformance")]
        Command::Test { app, all } => {
            return super::app_test::run(app.filter(|_| !all), deputy, caller, output).await;
        }
        Command::Install(install) => return install.run(deputy, caller, output).await,
        Command::Update(update) => return update.run(deputy, caller, output).await,
        Command::Approve(approve) => return approve.run(deputy, caller, output).await,
        Command::Remove { app } => {
            let removed = deputy.app_remove(caller, &app).await?;
            output.emit(&removed, || format!("{GOOD}removed{GOOD:#} {app}"))?;
        }
    }
    Ok(Done::Ok)
}

fn listed(list: &AppList) -> String {
    let rows: Vec<_> = list
        .apps
        .iter()
        .map(|app| {
            let level = format!("{:?}", app.evidence).to_lowercase();
            [app.slug.clone(), app.name.clone(), app.methods.join(", "), level, app.summary.clone()]
        })
        .collect();
    table(["APP", "NAME", "METHODS", "EVIDENCE", "SUMMARY"], &rows)
}

/// An app on one screen.
fn describe(detail: &AppDetail) -> String {
    let app = &detail.app;
    let mut text = format!("{BOLD}{}{BOLD:#} ({})\n{}\n", app.name, app.slug, app.summary);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {DIM}{name:<10}{DIM:#} {value}\n"));
        }
    };
    fact("categories", app.categories.join(", "));
    fact("homepage", app.homepage.clone().unwrap_or_default());
    fact("docs", app.docs.clone().unwrap_or_default());
    fact("evidence", format!("{} ({}, {})", detail.evidence, app.evidence.date, app.evidence.source));
    fact("reach", detail.reach.join(", "));
    fact("methods", app.reach.methods.join(", "));
    fact("paths", app.reach.paths.join(", "));
    fact("denied", app.reach.denied_paths.join(", "));
    for method in &detail.methods {
        fact("connect", format!("--method {}: {}", method.id, method.label));
        if let Some(help) = &method.help {
            fact("", format!("  {help}"));
        }
        fact("", method.docs.as_ref().map(|docs| format!("  docs: {docs}")).unwrap_or_default());
        if let Some(setup) = &method.setup {
            fact("", format!("  its OAuth client: {}", setup.url.as_deref().unwrap_or("register one at the provider")));
            for (at, step) in setup.steps.iter().enumerate() {
                fact("", format!("    {}. {step}", at + 1));
            }
        }
        for (name, rules) in method.rule_sets.iter().zip(&method.rules) {
            let set = if method.rule_sets.len() > 1 { format!("--as {name}: ") } else { "sends ".to_owned() };
            fact("", format!("  {set}{}", rules.join("; ")));
        }
        for scope in &method.scopes {
            let mark = if scope.default { "*" } else { " " };
            let always = if scope.required { " (always asked for)" } else { "" };
            fact("", format!("  {mark} {:<24} {}{always}", scope.name, scope.text));
        }
    }
    for input in &app.inputs {
        let example = input.example.as_deref().map(|example| format!(" (such as {example})")).unwrap_or_default();
        fact("input", format!("{}: {}{example}", input.name, input.label));
    }
    for (at, action) in detail.actions.iter().enumerate() {
        let needs: Vec<String> = action.scopes.iter().map(|all| all.join(" and ")).collect();
        let needs = if needs.is_empty() { String::new() } else { format!(" (needs {})", needs.join(" or ")) };
        fact(if at == 0 { "actions" } else { "" }, format!("{:<30} {}{needs}", action.name, action.label));
    }
    fact("sha256", detail.hash.clone());
    text
}
