//! The worked example of a hook, from its folder to a signed request, with the built binary and over TLS.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use crate::support::deputy::Deputy;
use crate::support::provider::{Provider, Reply, Seen};
use crate::support::text;

const KEY: &[u8] = b"the key that acme gave out";
/// `KEY` as base64.
const PASTED: &str = "dGhlIGtleSB0aGF0IGFjbWUgZ2F2ZSBvdXQ=";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The example's files, in a folder of their own.
fn example(folder: &Path) -> PathBuf {
    copied("example", &folder.join("acme-signed"))
}

fn copied(name: &str, app: &Path) -> PathBuf {
    let from = root().join("sdk/hooks").join(name);
    fs::create_dir_all(app.join("hooks/src")).expect("a folder");
    for file in ["app.toml", "hooks/Cargo.toml", "hooks/src/lib.rs"] {
        fs::copy(from.join(file), app.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    // The versions that the other guests are built with, and the pinned compiler: nothing is fetched or chosen anew.
    fs::copy(root().join("tests/guests/Cargo.lock"), app.join("hooks/Cargo.lock")).expect("the lock file");
    fs::copy(root().join("rust-toolchain.toml"), app.join("rust-toolchain.toml")).expect("the toolchain");
    app.to_owned()
}

/// `deputy app build`, with cargo's own folders: those of the machine lie elsewhere. Gives the component's path.
fn build(deputy: &Deputy, app: &Path) -> String {
    let mut command = deputy.command(&["--json", "app", "build", &app.display().to_string()]);
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(folder) = std::env::var_os(name) {
            command.env(name, folder);
        }
    }
    let built = command.output().expect("deputy runs");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}\n{told}", String::from_utf8_lossy(&built.stdout));
    let answer: Value = serde_json::from_slice(&built.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    text(&answer, "path")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the signature anew from what arrived.
fn acme(seen: &Seen) -> Reply {
    let date = seen.header("x-acme-date");
    let body = hex(digest::digest(&digest::SHA256, &seen.body).as_ref());
    let signed = format!("{}\n{}\n{date}\n{body}", seen.method, seen.target);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), signed.as_bytes());
    let wanted = format!("ACME key=id-4711, signature={}", hex(mac.as_ref()));
    match seen.header("authorization") == wanted {
        true => Reply::json(200, &json!({ "id": 7, "name": "Ada", "echo": PASTED })),
        false => Reply::json(401, &json!({ "error": "bad signature" })),
    }
}

#[test]
fn the_example_is_built_installed_connected_and_signs() {
    let provider = Provider::start(&["api.acme.example"], acme);
    let deputy = Deputy::before(&provider);

    let app = example(deputy.folder());
    // Without its hook the declaration is refused, and the fix says how to build it.
    let refused = deputy.fails(&["app", "install", &app.display().to_string()]);
    assert_eq!(refused["code"], "app_hook_missing", "{refused}");
    assert!(text(&refused, "fix").contains("deputy app build"), "{refused}");

    let component = build(&deputy, &app);
    deputy.json(&["app", "install", &component]);
    let pasted = json!({ "key_id": "id-4711", "secret": PASTED }).to_string();
    let connected = deputy.json_with(&["connect", "acme-signed"], pasted.as_bytes());
    let account = text(&connected["account"], "name");
    assert_eq!(deputy.accounts(), std::slice::from_ref(&account), "{connected}");

    let answer =
        deputy.run(&["--json", "request", &account, "POST", "/v1/orders?a=1&b=%C3%A4", "-d", "{\"amount\":1}"]);
    assert_eq!(answer.code(), Some(0), "{answer}");
    answer.assert_holds_none_of(&[PASTED.to_owned(), hex(KEY)]);
    assert_eq!(answer.last_json()["status"], 200, "{answer}");
    let posted = provider.take().pop().expect("a request");
    assert_eq!((posted.method.as_str(), posted.text().as_str()), ("POST", "{\"amount\":1}"));
}

/// Answers in XML, and once with a login that no hook can read.
fn xml(seen: &Seen) -> Reply {
    let page = |status, text: &str| Reply {
        status,
        headers: vec![("content-type".to_owned(), "text/xml".to_owned())],
        body: text.as_bytes().to_vec(),
    };
    match (seen.target.as_str(), seen.text().as_str()) {
        ("/login", body) if body.contains("password=strange") => page(200, "<login><other>canary</other></login>"),
        ("/login", _) => page(200, "<login><session>session-canary-0123456789</session></login>"),
        ("/v1/whoami", _) if seen.header("x-session") == "session-canary-0123456789" => {
            page(200, "<user id=\"7\">Ada session-canary-0123456789</user>")
        }
        _ => page(401, "<error/>"),
    }
}

#[test]
fn hooks_read_a_login_and_an_identity_without_seeing_a_secret() {
    let provider = Provider::start(&["api.acme.example"], xml);
    let deputy = Deputy::before(&provider);
    let app = copied("example-login", &deputy.folder().join("acme-login"));
    let component = build(&deputy, &app);
    deputy.json(&["app", "install", &component]);

    let pasted = |password: &str| json!({ "user": "ada", "password": password }).to_string().into_bytes();
    let refused = deputy.fails_with(&["connect", "acme-login"], &pasted("strange"));
    assert!(
        refused["message"].as_str().is_some_and(|text| text.contains("cuts out of a reply what is not there")),
        "{refused}"
    );
    assert!(!refused.to_string().contains("canary") && deputy.accounts().is_empty(), "{refused}");

    let connected = deputy.json_with(&["connect", "acme-login"], &pasted("right"));
    let account = &connected["account"];
    assert_eq!(account["identity_id"], "7", "{connected}");
    let shown = account["identity"].as_str().expect("a name");
    assert!(shown.starts_with("Ada ") && !connected.to_string().contains("canary"), "{connected}");
    assert!(account["tokens"].to_string().contains("session"), "{connected}");
    let answer = deputy.json(&["request", &text(account, "name"), "GET", "/whoami"]);
    assert_eq!(answer["status"], 200, "{answer}");

    // The kit says what it cannot know.
    let report = deputy.json(&["app", "test", &component]);
    assert_eq!(report["ok"], true, "{report}");
}
