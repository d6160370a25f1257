//! `deputy action`: what apps can do without writing a request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::output::{BOLD, DIM, Output, printable, table};
use super::step::{duration, print_log, read_input};
use super::{Done, Error};
use crate::deputy::{ActionDetail, ActionRun, ActionSends, Caller, Deputy};

const RUN_HELP: &str = "\
Examples:
  deputy action run slack/post-message --prop channel=C0123 --prop text='Hello from deputy'
  deputy action run github/create-issue --account github/work --input '{\"owner\":\"ada\",\"repo\":\"engine\",\"title\":\"It smokes\"}'
  deputy action run github/list-issues --prop owner=ada --prop repo=engine --max-items 50 --json

A prop of kind list takes --prop several times. Which props there are: deputy action show slack/post-message";

#[derive(Subcommand)]
pub enum Command {
    /// List the actions of an app, or of all apps
    List {
        /// The app's slug
        app: Option<String>,
    },
    /// Show an action: its props, the scopes it needs, and what it sends
    Show {
        /// `app/action`, such as slack/post-message
        #[arg(value_name = "APP/ACTION")]
        action: String,
    },
    /// Run an action through an account
    #[command(after_help = RUN_HELP)]
    Run {
        /// `app/action`, such as slack/post-message
        #[arg(value_name = "APP/ACTION")]
        action: String,
        /// The account; may be left out where the app has exactly one
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
        /// A prop, as text that is turned into what the prop is; may be given again
        #[arg(long = "prop", value_name = "NAME=VALUE", value_parser = prop)]
        props: Vec<(String, String)>,
        /// The props as a JSON object
        #[arg(long, value_name = "JSON", conflicts_with = "input_file")]
        input: Option<String>,
        /// The props from a JSON file, or `-` for standard input
        #[arg(long, value_name = "FILE")]
        input_file: Option<PathBuf>,
        /// How many items of a list to read [default: 1000, on at most 20 pages]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        max_items: Option<u32>,
        /// How long the run may take, such as 5s or 500ms [default: 60s]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
    },
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::List { app } => {
            let list = deputy.action_list(caller, app.as_deref()).await?;
            output.emit(&list, || match list.actions.is_empty() {
                true => format!("no actions; call the app with {BOLD}deputy request{BOLD:#}"),
                false => {
                    let rows: Vec<_> =
                        list.actions.iter().map(|action| [action.name.clone(), action.summary.clone()]).collect();
                    table(["ACTION", "WHAT IT DOES"], &rows)
                }
            })?;
        }
        Command::Show { action } => {
            let detail = deputy.action_show(caller, &action).await?;
            output.emit(&detail, || shown(&detail))?;
        }
        Command::Run { action, account, props, input, input_file, max_items, timeout } => {
            let text = match (input, input_file) {
                (Some(text), _) => text,
                (None, Some(file)) => read_input(&file)?,
                (None, None) => "null".to_owned(),
            };
            let input = serde_json::from_str(&text).map_err(|error| {
                Error::new("input_invalid", format!("the input is no JSON: {error}"))
                    .with_fix("give a JSON object: --input '{\"name\":\"value\"}'")
            })?;
            let (log, mut lines) = tokio::sync::mpsc::unbounded_channel();
            let show = !output.is_json();
            let printer = tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    if show {
                        print_log(&line);
                    }
                }
            });
            let run = ActionRun {
                action,
                account,
                props: input,
                texts: props,
                most_items: max_items,
                timeout,
                log: Some(log),
            };
            let result = deputy.action_run(caller, run).await;
            let _ = printer.await;
            let ran = result?;
            if let Some(error) = &ran.error {
                // With what the run did before it failed.
                match output.is_json() {
                    true => output.emit(&ran, String::new)?,
                    false => output.error(error),
                }
                return Ok(Done::Failed);
            }
            output.emit(&ran, || {
                let value = ran.output.as_ref().map(|output| &output.value);
                value.map(|value| format!("{value:#}")).unwrap_or_default()
            })?;
        }
    }
    Ok(Done::Ok)
}

fn shown(detail: &ActionDetail) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}: {}\n", detail.action.name, printable(&detail.action.summary));
    let props: Vec<_> = detail
        .props
        .iter()
        .map(|detail| {
            let prop = &detail.prop;
            let need = match &prop.default {
                Some(default) => format!("default {default}"),
                None if prop.optional => "optional".to_owned(),
                None => "required".to_owned(),
            };
            let mut help = prop.help.clone().or(prop.label.clone()).unwrap_or_default();
            if (!prop.options.is_empty() || detail.example.is_some()) && !help.ends_with('.') {
                help.push('.');
            }
            if !prop.options.is_empty() {
                let options: Vec<_> = prop.options.iter().map(|option| option.label.as_str()).collect();
                help.push_str(&format!(" One of {}.", options.join(", ")));
            }
            if let Some(example) = &detail.example {
                help.push_str(&format!(" Such as {example}"));
            }
            [prop.name.clone(), prop.kind.word(), need, printable(&help)]
        })
        .collect();
    if !props.is_empty() {
        text.push_str(&format!("\n{}", table(["PROP", "TYPE", "", "HELP"], &props)));
    }
    if !detail.action.scopes.is_empty() {
        let lists: Vec<_> = detail.action.scopes.iter().map(|list| list.join(" and ")).collect();
        text.push_str(&format!("\nneeds the scope {}\n", lists.join(", or ")));
    }
    match &detail.sends {
        Some(sends) => text.push_str(&format!("\nsends\n{}", sent(sends))),
        None => text.push_str("\nruns a script of the app\n"),
    }
    if let Some(docs) = &detail.docs {
        text.push_str(&format!("\n{DIM}{}{DIM:#}\n", printable(docs)));
    }
    text
}

fn sent(sends: &ActionSends) -> String {
    let mut text = format!("  {} {}\n", sends.method, printable(&sends.url));
    let mut fields = |kind: &str, fields: &BTreeMap<String, String>| {
        for (name, value) in fields {
            text.push_str(&format!("  {DIM}{kind}{DIM:#} {} = {}\n", printable(name), printable(value)));
        }
    };
    fields("query", &sends.query);
    fields("header", &sends.headers);
    fields(sends.body_kind.unwrap_or_default(), &sends.body);
    if sends.lists {
        text.push_str("  page after page, until --max-items\n");
    }
    text
}

fn prop(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("the form is name=value, such as channel=C0123".to_owned()),
    }
}
