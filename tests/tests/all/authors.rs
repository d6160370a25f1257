//! An author's way: a new app, told what it does, tested and installed; then new versions of it, and what they mean for
//! the accounts that are there.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::deputy::Deputy;
use crate::support::provider::{Provider, Reply};

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn every_kind_of_new_app_passes_its_test() {
    let deputy = Deputy::new(&[]);
    let kinds = ["bearer", "header", "query", "basic", "oauth", "client-credentials", "tenant", "two-tokens", "aws"];
    for kind in kinds {
        let folder = deputy.folder().join(kind);
        let (name, slug) = (format!("Parcels {kind}"), format!("parcels-{kind}"));
        let flags = ["--base", "https://api.parcels.com/v1", "--auth", kind, "-o", path(&folder)];
        let made = deputy.json(&[["app", "new", name.as_str()].as_slice(), &flags].concat());
        assert_eq!(made["slug"], slug.as_str(), "{made}");
        let turn = deputy.json(&["app", "dev", path(&folder), "--once"]);
        assert_eq!(
            (turn["ok"].as_bool(), turn["installed"]["slug"].as_str()),
            (Some(true), Some(slug.as_str())),
            "{turn}"
        );
        let checked = deputy.json(&["app", "check", path(&folder), "--explain"]);
        assert!(checked["explanation"].as_array().is_some_and(|told| told.len() >= 4), "{checked}");

        let shown = deputy.json(&["app", "show", &slug]);
        assert!(shown["logo"].as_str().is_some_and(|logo| logo.starts_with("<svg ") && logo.contains(">P")), "{shown}");

        // Nobody's folder is written over.
        let again = deputy.fails(&[["app", "new", name.as_str()].as_slice(), &flags].concat());
        assert_eq!(again["code"], "output_failed");
    }
    let known = deputy.folder().join("known");
    let urls =
        ["--authorize-url", "https://accounts.parcels.com/authorize", "--token-url", "https://login.parcels.com/t"];
    let flags = ["--base", "https://api.parcels.com", "--auth", "oauth", "--test", "/whoami", "-o", path(&known)];
    deputy.json(&[["app", "new", "Known Parcels"].as_slice(), &flags, &urls].concat());
    let written = fs::read_to_string(known.join("app.toml")).expect("the app.toml");
    assert!([urls[1], urls[3], "/whoami"].iter().all(|said| written.contains(said)), "{written}");
    assert_eq!(deputy.json(&["app", "test", path(&known)])["ok"], true);
    let hook = deputy.folder().join("hook");
    let flags = ["--base", "https://api.parcels.com", "--auth", "hook", "-o", path(&hook)];
    let made = deputy.json(&[["app", "new", "Parcels"].as_slice(), &flags].concat());
    assert_eq!(made["files"].as_array().map(Vec::len), Some(4), "{made}");
    let usage = |arguments: &[&str]| {
        let ended = deputy.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code(), Some(2), "{ended}");
        ended.last_json()["error"].clone()
    };
    let wrong = usage(&["app", "new", "Parcels", "--base", "https://api.parcels.com", "--auth", "magic"]);
    assert!(wrong["fix"].as_str().is_some_and(|fix| fix.contains("two-tokens")), "{wrong}");
    let missing = usage(&["app", "new", "Parcels", "--auth", "bearer"]);
    assert!(missing["message"].as_str().is_some_and(|message| message.contains("--base")), "{missing}");
}

#[test]
fn dev_sees_a_change_and_tells_what_is_wrong() {
    let deputy = Deputy::new(&[]);
    let folder = deputy.folder().join("parcels");
    let flags = ["--base", "https://api.parcels.com/v1", "--auth", "bearer", "-o", path(&folder)];
    deputy.json(&[["app", "new", "Parcels"].as_slice(), &flags].concat());
    let mut running = deputy.start(&["app", "dev", path(&folder)]);
    let first = running.line();
    assert_eq!(first["ok"], true, "{first}");
    let file = folder.join("app.toml");
    let text = fs::read_to_string(&file).expect("the app.toml");
    fs::write(&file, text.replace("Bearer {token}", "Token {token}")).expect("a change");
    let second = running.line();
    assert_ne!(first["installed"]["hash"], second["installed"]["hash"], "{second}");
    drop(running);
    fs::write(&file, text.replace("{token}", "{tokn}")).expect("a mistake");
    let error = deputy.fails(&["app", "dev", path(&folder), "--once"]);
    assert!(error["problems"][0]["help"].to_string().contains("{token}"), "{error}");
}

/// A service that serves its app too, at an address that sends on to another host.
fn world() -> (Provider, Deputy, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(app("")));
    let served = text.clone();
    let hosts = ["api.parcels.example", "apps.example", "files.example"];
    let provider = Provider::start(&hosts, move |seen| match (seen.host.as_str(), seen.target.as_str()) {
        ("apps.example", "/parcels") => Reply::json(302, &json!({})).header("location", "https://files.example/p.toml"),
        ("files.example", "/p.toml") => {
            Reply { status: 200, headers: Vec::new(), body: served.lock().expect("the text").clone().into_bytes() }
        }
        ("files.example", "/openapi.json") => Reply::json(
            200,
            &json!({"openapi": "3.1.0", "info": {"title": "Parcels"}, "servers": [{"url": "/v2"}],
                "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}}),
        ),
        ("api.parcels.example", _) => Reply::json(200, &json!({"id": 1, "name": "Ada"})),
        _ => Reply::json(404, &json!({})),
    });
    let deputy = Deputy::before(&provider);
    (provider, deputy, text)
}

fn app(more: &str) -> String {
    format!(
        r#"slug = "parcels"
name = "Parcels"
summary = "An example."
base = "https://api.parcels.example"
test = {{ path = "/me", id = "/id", label = "/name" }}
evidence = {{ level = "facts", date = "2026-11-23", source = "a test" }}
{more}
[methods.key]
header.Authorization = "Bearer {{token}}"
"#
    )
}

const WIDER: &str = "reach.origins = [\"https://api.parcels.example\", \"https://files.example\"]";

fn version(deputy: &Deputy) -> Value {
    deputy.json(&["account", "show", "parcels"])["app_hash"].clone()
}

#[test]
fn an_app_from_a_url_is_updated_and_asks_before_it_gets_more() {
    let (provider, deputy, text) = world();
    let url = "https://apps.example/parcels";
    let installed = deputy.json(&["app", "install", url]);
    assert_eq!(installed["slug"], "parcels");
    deputy.json_with(&["connect", "parcels"], b"key-0123456789-canary");
    assert_eq!(version(&deputy), installed["hash"]);

    // Nothing changed, so nothing happens.
    let update = deputy.json(&["app", "update"]);
    assert_eq!(
        (&update["apps"][0]["state"], &update["apps"][0]["from"]),
        (&json!("unchanged"), &json!(url)),
        "{update}"
    );

    // A change that asks for nothing more: the account follows.
    *text.lock().expect("the text") = app("signals.revoked = [{ status = 410 }]");
    let update = deputy.json(&["app", "update", "parcels"]);
    assert_eq!(update["apps"][0]["accounts"]["moved"], 1, "{update}");
    let narrow = version(&deputy);
    assert_ne!(narrow, installed["hash"]);

    // One that asks for more is shown, and not installed.
    *text.lock().expect("the text") = app(WIDER);
    let refused = deputy.run(&["app", "update", "--json"]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    let told = refused.last_json();
    assert_eq!(told["apps"][0]["state"], "widens", "{told}");
    assert!(
        told["apps"][0]["error"]["message"].as_str().is_some_and(|text| text.contains("https://files.example")),
        "{told}"
    );
    assert_eq!(deputy.json(&["app", "show", "parcels"])["hash"], narrow);
    let error = deputy.fails(&["app", "install", url]);
    assert_eq!(error["code"], "app_widens");

    // Agreed to: new accounts get it, the one that is there waits for its owner.
    let agreed = deputy.json(&["app", "install", url, "--yes"]);
    assert_eq!(agreed["accounts"], json!({"moved": 0, "waiting": 1}), "{agreed}");
    assert_eq!(version(&deputy), narrow);
    provider.take();
    let denied = deputy.fails(&["request", "parcels", "GET", "https://files.example/x"]);
    assert_eq!(denied["code"], "denied");
    assert!(provider.take().is_empty());

    let shown = deputy.run(&["app", "approve", "parcels", "--json"]);
    assert_eq!(shown.code(), Some(1), "{shown}");
    let shown = shown.last_json();
    assert!(shown["versions"][0]["changes"].to_string().contains("https://files.example"), "{shown}");
    assert_eq!(version(&deputy), narrow, "looking moves nothing");
    let approved = deputy.json(&["app", "approve", "parcels", "--yes"]);
    assert_eq!(approved["accounts"]["moved"], 1, "{approved}");
    assert_eq!(version(&deputy), agreed["hash"]);
    // The account may go there now, with its credential.
    deputy.run(&["request", "parcels", "GET", "https://files.example/x"]);
    let seen = provider.take();
    assert_eq!(seen[0].header("authorization"), "Bearer key-0123456789-canary");
}

#[test]
fn an_account_stays_where_it_cannot_live_with_the_new_version() {
    let (_provider, deputy, text) = world();
    let url = "https://apps.example/parcels";
    let first = deputy.json(&["app", "install", url]);
    deputy.json_with(&["connect", "parcels"], b"key-0123456789-canary");
    *text.lock().expect("the text") = app("").replace("methods.key", "methods.other");
    deputy.json(&["app", "install", url, "--yes"]);
    let refused = deputy.run(&["app", "approve", "parcels", "--yes", "--json"]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.last_json()["accounts"]["refused"][0].to_string().contains("reconnect"), "{refused}");
    assert_eq!(version(&deputy), first["hash"]);
}

#[test]
fn what_is_fetched_is_what_was_asked_for() {
    let (_provider, deputy, _) = world();
    let url = "https://apps.example/parcels";
    let error = deputy.fails(&["app", "install", url, "--hash", &"0".repeat(64)]);
    assert_eq!(error["code"], "app_other_version");
    let known = deputy.json(&["app", "install", url])["hash"].as_str().expect("a hash").to_owned();
    deputy.json(&["app", "install", url, "--hash", &known]);
    let drafted = deputy.json(&["app", "import", "openapi", "https://files.example/openapi.json"]);
    assert_eq!(drafted["complete"], true, "{drafted}");
    assert!(
        drafted["toml"].as_str().is_some_and(|toml| toml.contains("base = \"https://files.example/v2\"")),
        "{drafted}"
    );
    let missing = deputy.fails(&["app", "install", "https://apps.example/nothing"]);
    assert_eq!(missing["code"], "app_unreachable", "{missing}");
    // No way round the guard: an address of this machine that the operator did not allow.
    for inside in ["https://127.0.0.1:1/app.toml", "http://localhost/app.toml"] {
        let error = deputy.fails(&["app", "install", inside]);
        assert_ne!(error["code"], "app_unreachable", "{inside}: {error}");
    }
}
