//! `deputy client`: the OAuth client that the operator registers at a provider, once for all accounts of the app.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;

use super::output::{BOLD, DIM, GOOD, Output, table};
use super::{Done, Error, prompt};
use crate::deputy::{Caller, ClientRedirect, ClientSet, Deputy};

#[derive(Subcommand)]
pub enum Command {
    /// Register or change the client of an app, and print the redirect URI to give the provider
    ///
    /// The secret comes from a prompt, standard input or --secret-file. Without --id, only the redirect URI is shown.
    Set {
        /// The app's slug
        app: String,
        /// Which of the app's auth methods [default: its first OAuth one]
        #[arg(long, value_name = "ID")]
        method: Option<String>,
        /// The client id that the provider gave
        #[arg(long, value_name = "CLIENT-ID")]
        id: Option<String>,
        /// The client secret from a file
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// A value that holds for all accounts of the client, or decides the token endpoint; may be given again
        #[arg(long = "input", value_name = "NAME=VALUE", value_parser = super::connect::pair)]
        inputs: Vec<(String, String)>,
        /// A public client: it has no secret
        #[arg(long, conflicts_with = "secret_file")]
        no_secret: bool,
    },
    /// The clients registered
    List,
    /// Forget the client of an app
    Remove { app: String },
}

/// How to register the client, for people.
pub fn guide(redirect: &ClientRedirect) -> String {
    let mut text = String::new();
    let page = redirect.setup.as_ref().and_then(|setup| setup.url.as_ref());
    if let Some(page) = page.or(redirect.docs.as_ref()) {
        text.push_str(&format!("Register an OAuth client for {} here: {BOLD}{page}{BOLD:#}\n", redirect.app));
    }
    for (at, step) in redirect.setup.iter().flat_map(|setup| &setup.steps).enumerate() {
        text.push_str(&format!("  {}. {step}\n", at + 1));
    }
    if !redirect.device_only {
        text.push_str(&format!("Give the provider this redirect URI:\n\n  {}\n", redirect.redirect_uri));
    }
    if let Some(note) = redirect.warning.as_ref().filter(|_| !redirect.device_only) {
        text.push_str(&format!("{BOLD}note{BOLD:#}: {note}\n"));
    }
    text
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::Set { app, method, id, secret_file, inputs, no_secret } => {
            let mut inputs: BTreeMap<String, String> = inputs.into_iter().collect();
            let redirect = deputy.client_redirect(caller, &app, method.as_deref()).await?;
            let id = match id {
                Some(id) => id,
                None if prompt::interactive() => {
                    output.note(&guide(&redirect));
                    prompt::text("Client id", None)?
                }
                None => {
                    if !redirect.device_only {
                        output.note(&guide(&redirect));
                    }
                    output.emit(&redirect, || redirect.redirect_uri.clone())?;
                    return Ok(Done::Ok);
                }
            };
            for input in &redirect.inputs {
                if !inputs.contains_key(&input.name) && prompt::interactive() {
                    let value = prompt::input(input)?;
                    inputs.insert(input.name.clone(), value);
                }
            }
            let secret = match (no_secret, secret_file) {
                (true, _) => None,
                (false, Some(file)) => {
                    let bytes = std::fs::read(&file).map_err(|error| {
                        Error::new("input_failed", format!("cannot read {}: {error}", file.display()))
                    })?;
                    Some(prompt::entered("client secret", bytes)?)
                }
                (false, None) if prompt::interactive() => Some(prompt::secret("Client secret")?),
                (false, None) => Some(prompt::entered("client secret", prompt::stdin_bytes(64 << 10)?)?),
            };
            let client = deputy.client_set(caller, ClientSet { app, method, client_id: id, secret, inputs }).await?;
            output.emit(&client, || {
                let mut text = format!("{GOOD}set{GOOD:#} the client of {}\n", client.redirect.app);
                if !client.redirect.device_only {
                    text.push_str(&format!(
                        "redirect URI to register: {BOLD}{}{BOLD:#}\n",
                        client.redirect.redirect_uri
                    ));
                }
                if let Some(warning) = &client.redirect.warning {
                    text.push_str(&format!("{BOLD}note{BOLD:#}: {warning}\n"));
                }
                text.push_str(&format!("next: deputy connect {}\n", client.redirect.app));
                text
            })?;
        }
        Command::List => {
            let list = deputy.client_list(caller).await?;
            output.emit(&list, || match list.clients.is_empty() {
                true => format!("{DIM}no clients yet; OAuth apps need one:{DIM:#} deputy client set github"),
                false => {
                    let rows: Vec<_> = list
                        .clients
                        .iter()
                        .map(|client| {
                            [
                                client.redirect.app.clone(),
                                client.client_id.clone(),
                                client.redirect.redirect_uri.clone(),
                            ]
                        })
                        .collect();
                    table(["APP", "CLIENT ID", "REDIRECT URI"], &rows)
                }
            })?;
        }
        Command::Remove { app } => {
            let removed = deputy.client_remove(caller, &app).await?;
            output.emit(&removed, || format!("{GOOD}removed{GOOD:#} the client of {app}"))?;
        }
    }
    Ok(Done::Ok)
}
