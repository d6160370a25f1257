//! `deputy account`: the accounts there are, and what state they are in.

use clap::Subcommand;

use super::output::{BAD, BOLD, DIM, GOOD, Output, table};
use super::{Done, Error, connect, prompt};
use crate::deputy::{AccountDetail, AccountList, AccountView, Caller, Deputy, MissingScopes, Use};

#[derive(Subcommand)]
pub enum Command {
    /// Your accounts
    List {
        /// Only those of one app
        #[arg(long, value_name = "SLUG")]
        app: Option<String>,
        /// How many at the most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on behind this one: the `next` of the list before
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// One account: identity, scopes, expiry, health. Never a secret
    Show { account: String },
    /// Give an account another nickname
    Rename {
        account: String,
        /// `[a-z0-9-]`
        nickname: String,
    },
    /// Make the app's test request now
    Test { account: String },
    /// Connect an account anew, with fresh consent or a new key
    Reconnect(connect::AgainArgs),
    /// Send nothing through an account until it is enabled again
    Disable { account: String },
    /// Let a disabled account be used again
    Enable { account: String },
    /// Put another account in the place of one, in every workflow at once
    Replace {
        /// The account that is bound now
        account: String,
        /// The account that takes its place, of the same app
        by: String,
    },
    /// Delete an account: revoked at the provider where the app says how, then forgotten
    Delete {
        account: String,
        /// Also while workflows are bound to it: they will fail
        #[arg(long = "break")]
        breaks: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::List { app, limit, after } => {
            let list = deputy.account_list(caller, AccountList { app, limit, after }).await?;
            output.emit(&list, || {
                if list.accounts.is_empty() {
                    return format!("{DIM}no accounts yet; connect one:{DIM:#} deputy connect github --method token");
                }
                let rows: Vec<_> = list
                    .accounts
                    .iter()
                    .map(|account| {
                        let identity = account.identity.clone().unwrap_or_default();
                        let health = if account.disabled { "disabled".to_owned() } else { account.health.to_string() };
                        [account.name.clone(), identity, health, account.id.to_string()]
                    })
                    .collect();
                let mut text = table(["ACCOUNT", "IDENTITY", "HEALTH", "ID"], &rows);
                if let Some(next) = &list.next {
                    text.push_str(&format!("{DIM}more: deputy account list --after {next}{DIM:#}\n"));
                }
                text
            })?;
        }
        Command::Show { account } => {
            let detail = deputy.account_show(caller, &account).await?;
            output.emit(&detail, || format!("{}{}", describe(&detail.account), places(&detail)))?;
        }
        Command::Rename { account, nickname } => {
            let view = deputy.account_rename(caller, &account, &nickname).await?;
            output.emit(&view, || format!("{GOOD}renamed{GOOD:#} to {}", view.name))?;
        }
        Command::Test { account } => {
            let tested = deputy.account_test(caller, &account).await?;
            output.emit(&tested, || {
                let identity = tested.identity.as_deref().map(|who| format!(" as {who}")).unwrap_or_default();
                format!("{GOOD}works{GOOD:#}: {}{identity}", tested.name)
            })?;
        }
        Command::Reconnect(args) => return connect::again(args, deputy, caller, output).await,
        Command::Disable { account } => {
            let detail = deputy.account_set_disabled(caller, &account, true).await?;
            output.emit(&detail, || {
                let stands = if detail.uses.is_empty() { "" } else { "\nthese stand still with it:\n" };
                format!("{GOOD}disabled{GOOD:#} {}{stands}{}", detail.account.name, places(&detail))
            })?;
        }
        Command::Enable { account } => {
            let detail = deputy.account_set_disabled(caller, &account, false).await?;
            output.emit(&detail, || format!("{GOOD}enabled{GOOD:#} {}", detail.account.name))?;
        }
        Command::Replace { account, by } => {
            let replaced = deputy.account_replace(caller, &account, &by).await?;
            output.emit(&replaced, || {
                let mut text = match replaced.workflows.len() {
                    0 => format!("{DIM}no workflow is bound to {}{DIM:#}\n", replaced.from),
                    _ => format!("{GOOD}replaced{GOOD:#} {} by {} in:\n", replaced.from, replaced.to),
                };
                for workflow in &replaced.workflows {
                    text.push_str(&format!("  {workflow}\n"));
                }
                if !replaced.workflows.is_empty() {
                    text.push_str(&format!(
                        "{DIM}their files still name {}: change it there too, or the next deployment goes back{DIM:#}\n",
                        replaced.from
                    ));
                }
                text + &lacks(&replaced.missing)
            })?;
        }
        Command::Delete { account, breaks, yes } => {
            let view = deputy.account_show(caller, &account).await?.account;
            if !yes {
                if !prompt::interactive() {
                    let message = format!("deleting {} needs a confirmation", view.name);
                    return Err(Error::new("usage", message).with_fix("add --yes"));
                }
                if !prompt::confirm(&format!("Delete {}? It cannot be undone.", view.name))? {
                    return Err(Error::new("cancelled", "nothing was deleted"));
                }
            }
            let deleted = deputy.account_delete(caller, view.id.as_str(), breaks).await?;
            output.emit(&deleted, || format!("{GOOD}deleted{GOOD:#} {}\n{}", deleted.name, deleted.note))?;
        }
    }
    Ok(Done::Ok)
}

/// Where an account is used, and what it lacks there.
fn places(detail: &AccountDetail) -> String {
    let mut text = String::new();
    for used in &detail.uses {
        let line = match used {
            Use::Workflow { name, props } => {
                let props: Vec<_> = props.iter().map(|prop| format!("{}.{}", prop.step, prop.prop)).collect();
                format!("workflow {name} ({})", props.join(", "))
            }
            Use::Step { name, last_at } => format!("step {name} (last run {last_at})"),
        };
        text.push_str(&format!("  {DIM}{:<10}{DIM:#} {line}\n", "used by"));
    }
    text + &lacks(&detail.missing)
}

fn lacks(missing: &[MissingScopes]) -> String {
    let line = |missing: &MissingScopes| {
        format!(
            "  {BAD}lacks{BAD:#} {} for step {} of {}: {}\n",
            missing.scopes.join(", "),
            missing.step,
            missing.workflow,
            missing.fix
        )
    };
    missing.iter().map(line).collect()
}

fn describe(view: &AccountView) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n", view.name);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {DIM}{name:<10}{DIM:#} {value}\n"));
        }
    };
    fact("id", view.id.to_string());
    fact("identity", view.identity.clone().unwrap_or_default());
    fact("method", view.method.clone());
    let health = view.health.to_string();
    fact("health", if health == "ok" { format!("{GOOD}ok{GOOD:#}") } else { format!("{BAD}{health}{BAD:#}") });
    fact(
        "disabled",
        if view.disabled { format!("{BAD}yes{BAD:#}: nothing is sent through it") } else { String::new() },
    );
    fact("scopes", view.scopes.join(", "));
    fact("reach", view.origins.join(", "));
    fact("inputs", view.inputs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "));
    for token in &view.tokens {
        let expires = token.expires_at.map(|at| format!("until {at}")).unwrap_or_else(|| "no known end".to_owned());
        let refresh = if token.refreshable { ", refreshed before that" } else { "" };
        fact("token", format!("{} ({expires}{refresh})", token.name));
    }
    fact("connected", view.created_at.to_string());
    fact("app", format!("{} (sha256 {})", view.app, view.app_hash));
    text
}
