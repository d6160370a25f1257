//! `deputy demo`: the main job, end to end, against a provider on this machine, told in plain words.
//!
//! Nothing is faked on this side: the same facade, the same road, the same OAuth flow as for any app. Only the
//! provider, its data and the folders are temporary, and only its one address is let through.

use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine;
use deputy_demo_provider::DemoProvider;
use serde::Serialize;

use super::output::{BAD, BOLD, DIM, GOOD, Output};
use super::{Done, Error};
use crate::deputy::{
    AppSource, Caller, ClientSet, Config, ConnectOAuth, Deputy, HttpRequest, Overrides, Program, Secret, StepRan,
    StepRun,
};

static STEP: &[u8] = include_bytes!(env!("DEPUTY_DEMO_STEP"));

#[derive(clap::Args)]
pub struct Args {
    /// Hand the step a secret on purpose: the search of its memory must then find one
    #[arg(long, hide = true)]
    plant_secret: bool,
}

/// The last line of `deputy demo --json`.
#[derive(Serialize)]
struct Report {
    /// Everything went as told, and the step saw no secret.
    ok: bool,
    app: String,
    account: String,
    /// API requests that reached the provider.
    requests: u64,
    /// Token refreshes that the provider granted.
    refreshes: u64,
    step_output: serde_json::Value,
    secret_seen_by_step: bool,
}

pub async fn run(args: Args, output: &Output) -> Result<Done, Error> {
    let say = |text: &str| output.note(text);
    let provider = Arc::new(DemoProvider::start().await.map_err(|error| failed("start the demo provider", error))?);
    say(&format!("{BOLD}1.{BOLD:#} A provider runs at {}: an OAuth server and its API.", provider.address()));

    let folder = tempfile::tempdir().map_err(|error| failed("make a temporary folder", error))?;
    let overrides = Overrides { data: Some(folder.path().join("data")), config: Some(folder.path().join("config")) };
    let mut config = Config::load(overrides, &|_| None)?;
    config.egress.allow.push(provider.address());
    config.callback.listen = free_address().await?;
    let deputy = Deputy::with_config(config)?;
    let caller = Caller::local();

    let source =
        AppSource::Toml { file: "demo/app.toml".to_owned(), text: provider.app_toml(), beside: Default::default() };
    let installed = deputy.app_install(&caller, source).await?;
    let app = installed.slug;
    say(&format!("{BOLD}2.{BOLD:#} Its app.toml became a component and was installed as `{app}`."));

    let (client_id, client_secret) = provider.client();
    let secret = Secret::new(client_secret.into_bytes());
    let set = ClientSet { app: app.clone(), method: None, client_id, secret: Some(secret), inputs: BTreeMap::new() };
    let client = deputy.client_set(&caller, set).await?;
    say(&format!("{BOLD}3.{BOLD:#} An OAuth client is registered. Redirect URI: {}", client.redirect.redirect_uri));

    let listener = deputy.connect_listen(&caller).await?;
    let begin = ConnectOAuth {
        app: app.clone(),
        app_hash: None,
        method: None,
        nickname: None,
        inputs: BTreeMap::new(),
        scopes: None,
        confirm_host: true,
        skip_check: false,
        add_scopes: Vec::new(),
        again: None,
    };
    let begun = deputy.connect_begin(&caller, begin).await?;
    let browser = provider.clone();
    let url = begun.authorize_url.clone();
    let visit = tokio::spawn(async move { browser.browse(&url).await });
    let connected = deputy.connect_wait(&caller, listener, &begun.flow).await?;
    visit
        .await
        .map_err(|error| failed("play the browser", error))?
        .map_err(|error| failed("play the browser", error))?;
    let account = connected.account.name;
    let identity = connected.account.identity.unwrap_or_default();
    say(&format!("{BOLD}4.{BOLD:#} {identity} allowed access in the browser: the account is {BOLD}{account}{BOLD:#}."));

    let answer = deputy.request(&caller, &account, HttpRequest::new(http::Method::GET, "/me")).await?;
    say(&format!("{BOLD}5.{BOLD:#} GET /me through the account answers {}.", answer.status));
    answer.body.collect(1 << 20).await?;

    let (first, seen_first) = step(&deputy, &caller, &account, &provider, args.plant_secret).await?;
    say(&format!("{BOLD}6.{BOLD:#} A sandboxed step made {} requests through it.", first.requests.len()));
    provider.expire_access_tokens();
    let (second, seen_second) = step(&deputy, &caller, &account, &provider, args.plant_secret).await?;
    say(&format!(
        "{BOLD}7.{BOLD:#} The provider expired the access token; the same step ran again and noticed nothing: \
         deputy refreshed once, and stored the new tokens before using them."
    ));

    let (first, second) = (first.result()?.value, second.result()?.value);
    let secret_seen_by_step = seen_first || seen_second;
    let verdict = match secret_seen_by_step {
        true => format!("{BAD}found a secret{BAD:#} there"),
        false => format!("{GOOD}found none{GOOD:#}"),
    };
    say(&format!(
        "{BOLD}8.{BOLD:#} A search of the step's memory, output and logs for all {} secrets of this run {verdict}.",
        provider.secrets().len()
    ));
    let counters = provider.counters();
    let report = Report {
        ok: !secret_seen_by_step && second == first,
        app,
        account,
        requests: counters.requests,
        refreshes: counters.refreshes,
        step_output: second,
        secret_seen_by_step,
    };
    deputy.close().await;
    let ok = report.ok;
    output.emit(&report, || {
        format!(
            "\n{} requests, {} refresh, step output:\n{}\n{DIM}next: deputy app list{DIM:#}",
            report.requests,
            report.refreshes,
            serde_json::to_string_pretty(&report.step_output).unwrap_or_default()
        )
    })?;
    match ok || output.is_json() {
        true if ok => Ok(Done::Ok),
        true => Ok(Done::Answered(1)),
        false => Err(Error::new("demo_failed", "the step saw a secret, or its two runs differ")),
    }
}

/// One run in the inspecting engine, and whether a secret stood in its memory, output or logs.
async fn step(
    deputy: &Deputy,
    caller: &Caller,
    account: &str,
    provider: &DemoProvider,
    plant: bool,
) -> Result<(StepRan, bool), Error> {
    let mut input = serde_json::json!({});
    if plant {
        input["note"] = provider.secrets().last().cloned().unwrap_or_default().into();
    }
    let bindings = BTreeMap::from([("demo".to_owned(), account.to_owned())]);
    let run = StepRun {
        program: Program::Component(STEP.into()),
        input,
        bindings,
        ambient: Vec::new(),
        timeout: None,
        log: None,
    };
    // Secrets that are issued during the run count too, so the needles are gathered when the search begins.
    let found = |memory: &[u8]| needles(&provider.secrets()).is_match(memory);
    deputy.step_run_inspected(caller, run, &found).await
}

/// The ends of every secret, as it is and as base64 shows it: memory that was freed has lost its first bytes to the
/// allocator, and a half is as bad as a whole.
fn needles(secrets: &[String]) -> AhoCorasick {
    const END: usize = 12;
    let encoded = secrets.iter().map(|secret| base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret));
    let forms = secrets.iter().cloned().chain(encoded).filter(|form| !form.is_empty());
    let patterns: Vec<Vec<u8>> = forms.map(|form| form.as_bytes()[form.len().saturating_sub(END)..].to_vec()).collect();
    AhoCorasick::new(patterns).unwrap_or_else(|error| unreachable!("literal patterns always compile: {error}"))
}

/// A loopback address that nobody listens on.
async fn free_address() -> Result<std::net::SocketAddr, Error> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    listener.and_then(|listener| listener.local_addr()).map_err(|error| failed("find a free port", error))
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::new("demo_failed", format!("cannot {what}: {error}"))
}
