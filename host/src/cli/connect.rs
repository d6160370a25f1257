//! `deputy connect`: by OAuth in a browser, or by pasting a key. Secrets come from a prompt without echo, standard
//! input or a file; never from an argument, which other processes could read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::client::guide;
use super::output::{BOLD, DIM, GOOD, Output, printable};
use super::{Done, Error, prompt};
use crate::deputy::{Again, Caller, ClientRedirect, ConnectKeys, ConnectOAuth, ConnectPlan, Connected, Deputy, Secret};

const AFTER_HELP: &str = "\
Examples:
  deputy connect github                         OAuth, in your browser
  deputy connect github --method token          paste a personal access token
  pass show stripe | deputy connect stripe      the key from standard input
  deputy connect shopify --input shop=acme      a tenant of its own
  deputy connect slack --paste                  paste the address the browser ended on
  deputy connect github --device                enter a code in a browser anywhere

OAuth needs a client first: deputy client set <app>.";

const AGAIN_AFTER_HELP: &str = "\
The account keeps its id, its nickname and everything that is bound to it.

Examples:
  deputy account reconnect slack/work                          consent again
  deputy account reconnect slack/work --add-scope files:write  consent to one scope more
  pass show stripe | deputy account reconnect stripe/main      a new key";

/// The largest key or key set taken from standard input or a file.
const MAX_KEYS_BYTES: u64 = 256 << 10;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The app's slug
    app: String,
    /// Which of the app's auth methods [default: its first one]
    #[arg(long, value_name = "ID")]
    method: Option<String>,
    /// What to call the account [default: from its identity]
    #[arg(long, value_name = "NICKNAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

/// `deputy account reconnect`.
#[derive(clap::Args)]
#[command(after_help = AGAIN_AFTER_HELP)]
pub struct AgainArgs {
    account: String,
    /// Another of the app's auth methods [default: the account's own]
    #[arg(long, value_name = "ID")]
    method: Option<String>,
    /// Ask for this scope besides those the account has; may be given again
    #[arg(long = "add-scope", value_name = "SCOPE", value_delimiter = ',')]
    add_scopes: Vec<String>,
    /// Yes, the account may become somebody else's
    #[arg(long)]
    other_identity: bool,
    #[command(flatten)]
    how: How,
}

/// What connecting and reconnecting share.
#[derive(clap::Args)]
struct How {
    /// A value the app asks for; may be given again
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = pair)]
    inputs: Vec<(String, String)>,
    /// A secret from a file; may be given again
    #[arg(long = "token-file", value_name = "NAME=FILE", value_parser = pair)]
    token_files: Vec<(String, String)>,
    /// Ask for exactly these scopes [default: the app's]; may be given again
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Print the authorize URL instead of opening a browser
    #[arg(long)]
    no_browser: bool,
    /// Read the address that the browser was sent back to from standard input, instead of listening
    #[arg(long)]
    paste: bool,
    /// Show a code to enter in a browser on any device (RFC 8628), where the app takes one
    #[arg(long, conflicts_with_all = ["paste", "no_browser"])]
    device: bool,
    /// Yes, credentials may go to the host that the inputs name
    #[arg(long)]
    confirm_host: bool,
    /// Store without the app's test request
    #[arg(long)]
    no_check: bool,
}

/// Which account comes of it.
struct Wanted {
    name: Option<String>,
    add_scopes: Vec<String>,
    again: Option<Again>,
}

pub async fn run(args: Args, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    let plan = deputy.connect_plan(caller, &args.app, args.method.as_deref(), args.how.device).await?;
    let wanted = Wanted { name: args.name, add_scopes: Vec::new(), again: None };
    connect(plan, wanted, args.how, deputy, caller, output).await
}

pub async fn again(args: AgainArgs, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    let plan = deputy.reconnect_plan(caller, &args.account, args.method.as_deref(), args.how.device).await?;
    let again = plan.account.clone().map(|account| Again { account, other_identity: args.other_identity });
    let wanted = Wanted { name: None, add_scopes: args.add_scopes, again };
    connect(plan, wanted, args.how, deputy, caller, output).await
}

async fn connect(
    plan: ConnectPlan,
    wanted: Wanted,
    how: How,
    deputy: &Deputy,
    caller: &Caller,
    output: &Output,
) -> Result<Done, Error> {
    let inputs = inputs(&how, &plan)?;
    let confirm_host = how.confirm_host || confirm(&plan, &inputs)?;
    let connected = if plan.kind != "oauth2" {
        if !how.scopes.is_empty() || !wanted.add_scopes.is_empty() || how.paste {
            let message =
                format!("{} --method {} takes a key: scopes and --paste are for OAuth", plan.app, plan.method);
            let fix = "a key's scopes are chosen where it is made; make one that has them and paste it";
            return Err(Error::new("usage", message).with_fix(fix));
        }
        let tokens = tokens(&how, &plan)?;
        if !how.no_check {
            output.note(&format!("{DIM}checking with {} …{DIM:#}", plan.name));
        }
        let keys = ConnectKeys {
            app: plan.app,
            app_hash: Some(plan.app_hash),
            method: Some(plan.method),
            nickname: wanted.name,
            inputs,
            tokens,
            confirm_host,
            skip_check: how.no_check,
            again: wanted.again,
        };
        deputy.connect_keys(caller, keys).await?
    } else {
        oauth(plan, wanted, how, inputs, confirm_host, deputy, caller, output).await?
    };
    output.emit(&connected, || describe(&connected))?;
    Ok(Done::Ok)
}

#[allow(clippy::too_many_arguments)]
async fn oauth(
    plan: ConnectPlan,
    wanted: Wanted,
    how: How,
    inputs: BTreeMap<String, String>,
    confirm_host: bool,
    deputy: &Deputy,
    caller: &Caller,
    output: &Output,
) -> Result<Connected, Error> {
    if !how.token_files.is_empty() {
        let message =
            format!("{} --method {} is connected in a browser: --token-file is for keys", plan.app, plan.method);
        return Err(Error::new("usage", message).with_fix(format!("see the methods in `deputy app show {}`", plan.app)));
    }
    let redirect = deputy.client_redirect(caller, &plan.app, Some(&plan.method)).await?;
    let device = plan.device;
    if device && how.paste {
        let message =
            format!("{} --method {} is connected with a device code: there is nothing to paste", plan.app, plan.method);
        return Err(Error::new("usage", message).with_fix("leave --paste out"));
    }
    if redirect.paste_only && !how.paste && !device {
        let message =
            format!("{} takes only https redirect URIs, and nothing answers at {}", plan.name, redirect.redirect_uri);
        return Err(Error::new("callback_unavailable", message)
            .with_fix("add --paste, or set `[callback] public_url` in deputy.toml to an https address"));
    }
    let begin = ConnectOAuth {
        app: plan.app,
        app_hash: Some(plan.app_hash),
        method: Some(plan.method),
        nickname: wanted.name,
        inputs,
        scopes: if how.scopes.is_empty() { None } else { Some(how.scopes) },
        add_scopes: wanted.add_scopes,
        confirm_host,
        skip_check: how.no_check,
        again: wanted.again,
    };
    if device {
        return self::device(begin, &redirect, deputy, caller, output).await;
    }
    // Bound before the URL is shown: a fast browser must find somebody listening.
    let listener = if how.paste { None } else { Some(deputy.connect_listen(caller).await?) };
    let begun =
        deputy.connect_begin(caller, begin).await.inspect_err(|error| unregistered(error, &redirect, output))?;
    if output.is_json() {
        output.emit(&begun, String::new)?;
    } else {
        if let Some(warning) = &begun.warning {
            output.note(&format!("{BOLD}note{BOLD:#}: {warning}"));
        }
        let opened = !how.no_browser && open_browser(&begun.authorize_url);
        let lead =
            if opened { "Your browser should open this page; if not, open it yourself:" } else { "Open this page:" };
        output.note(&format!("{lead}\n\n  {}\n", begun.authorize_url));
    }
    match listener {
        Some(listener) => {
            output.note(&format!("{DIM}waiting for the answer at {} …{DIM:#}", begun.redirect_uri));
            tokio::select! {
                connected = deputy.connect_wait(caller, listener, &begun.flow) => connected,
                _ = tokio::signal::ctrl_c() => {
                    Err(Error::new("connect_cancelled", "cancelled: nothing was connected"))
                }
            }
        }
        None => {
            output.note(
                "Allow the access there. Then paste the address of the page you end on, even if it fails to load:",
            );
            let line = tokio::task::spawn_blocking(|| -> Result<String, Error> {
                let mut line = String::new();
                let read = std::io::stdin().read_line(&mut line);
                read.map_err(|error| Error::new("input_failed", format!("cannot read standard input: {error}")))?;
                Ok(line)
            });
            let line = line.await.map_err(|error| Error::new("input_failed", error.to_string()))??;
            deputy.connect_paste(caller, &begun.flow, line.trim()).await
        }
    }
}

/// Shows the code, and waits until somebody has entered it.
async fn device(
    begin: ConnectOAuth,
    redirect: &ClientRedirect,
    deputy: &Deputy,
    caller: &Caller,
    output: &Output,
) -> Result<Connected, Error> {
    let begun = deputy.device_begin(caller, begin).await.inspect_err(|error| unregistered(error, redirect, output))?;
    if output.is_json() {
        output.emit(&begun, String::new)?;
    } else {
        let complete = begun.verification_uri_complete.as_ref().filter(|complete| **complete != begun.verification_uri);
        output.note(&format!("Open this page on any device:\n\n  {}\n", begun.verification_uri));
        output.note(&format!("and enter this code: {BOLD}{}{BOLD:#}\n", printable(&begun.user_code)));
        if let Some(complete) = complete {
            output.note(&format!("or open this one, which has the code in it:\n\n  {complete}\n"));
        }
        output.note(&format!("{DIM}Enter it only yourself: whoever does gives this machine access. Waiting …{DIM:#}"));
    }
    tokio::select! {
        connected = deputy.device_wait(caller, &begun.flow) => connected,
        _ = tokio::signal::ctrl_c() => Err(Error::new("connect_cancelled", "cancelled: nothing was connected")),
    }
}

/// Without a client, the way to one.
fn unregistered(error: &Error, redirect: &ClientRedirect, output: &Output) {
    if error.code == "client_missing" {
        output.note(&guide(redirect));
    }
}

/// Inputs from the flags; a person at a terminal is asked for the rest.
fn inputs(how: &How, plan: &ConnectPlan) -> Result<BTreeMap<String, String>, Error> {
    let mut inputs: BTreeMap<String, String> = how.inputs.iter().cloned().collect();
    for input in &plan.inputs {
        if inputs.contains_key(&input.name) || !prompt::interactive() {
            continue;
        }
        let value = prompt::input(input)?;
        inputs.insert(input.name.clone(), value);
    }
    Ok(inputs)
}

/// The owner confirms the host of their choice, since credentials will go there and nowhere else.
fn confirm(plan: &ConnectPlan, inputs: &BTreeMap<String, String>) -> Result<bool, Error> {
    let Some(host) = plan.owner_host(inputs) else { return Ok(false) };
    if !prompt::interactive() {
        return Ok(false);
    }
    prompt::confirm(&format!("Credentials of this account will be sent to {host}. Is that right?"))
}

/// The secrets of a keys method: files first, then the prompt or standard input.
fn tokens(how: &How, plan: &ConnectPlan) -> Result<BTreeMap<String, Secret>, Error> {
    let mut tokens = BTreeMap::new();
    for (name, file) in &how.token_files {
        let bytes = read_file(&PathBuf::from(file))?;
        tokens.insert(name.clone(), prompt::entered(name, bytes)?);
    }
    let missing: Vec<_> = plan.tokens.iter().filter(|token| !tokens.contains_key(&token.name)).collect();
    if missing.iter().all(|token| token.optional) && !tokens.is_empty() {
        return Ok(tokens);
    }
    if prompt::interactive() {
        for token in missing {
            if let Some(help) = token.help.as_ref().or(plan.help.as_ref()) {
                eprintln!("{help}");
            }
            tokens.insert(token.name.clone(), prompt::secret(&token.label)?);
        }
        return Ok(tokens);
    }
    let bytes = prompt::stdin_bytes(MAX_KEYS_BYTES)?;
    match missing[..] {
        [token] => {
            tokens.insert(token.name.clone(), prompt::entered(&token.label, bytes)?);
        }
        _ => tokens.extend(several(&missing.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), bytes)?),
    }
    Ok(tokens)
}

/// Several secrets on standard input: one JSON object of strings.
fn several(names: &[&str], bytes: Vec<u8>) -> Result<BTreeMap<String, Secret>, Error> {
    let refuse = || {
        let example: Vec<_> = names.iter().map(|name| format!("\"{name}\":\"…\"")).collect();
        Error::new("key_invalid", format!("this method takes {} secrets: {}", names.len(), names.join(", "))).with_fix(
            format!(
                "give a JSON object on standard input, {{{}}}, or --token-file NAME=FILE for each",
                example.join(",")
            ),
        )
    };
    let given: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
    given.into_iter().map(|(name, value)| Ok((name.clone(), prompt::entered(&name, value.into_bytes())?))).collect()
}

fn read_file(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    let failed = |error| Error::new("input_failed", format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_KEYS_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn describe(connected: &Connected) -> String {
    let account = &connected.account;
    let mut text = format!("{GOOD}connected{GOOD:#} {BOLD}{}{BOLD:#}", account.name);
    if let Some(identity) = &account.identity {
        text.push_str(&format!(" as {identity}"));
    }
    text.push('\n');
    if let Some(note) = &connected.note {
        text.push_str(&format!("{note}\n"));
    }
    text.push_str(&format!("try: deputy request {} GET /…\n", account.name));
    text
}

fn open_browser(url: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = std::process::Stdio::null;
    let mut command = std::process::Command::new(program);
    command.arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet());
    // A browser lives long and hands its environment on: the key of the vault must not be in it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DEPUTY_")) {
        command.env_remove(name);
    }
    let spawned = command.spawn();
    spawned.is_ok()
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("the form is name=value".to_owned()),
    }
}
