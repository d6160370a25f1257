//! Steps through the built binary: side by side, across a refresh, and blind to every secret.

use std::path::PathBuf;

use deputy_demo_provider::DemoProvider;
use serde_json::json;

use crate::support::apps::begin;
use crate::support::deputy::Deputy;
use crate::support::{find, text};

/// A guest as `cargo xtask build` left it.
fn guest(name: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let path = root.join("target/guests/components").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask build`", path.display());
    path.to_string_lossy().into_owned()
}

async fn connected() -> (DemoProvider, Deputy, String) {
    let provider = DemoProvider::start().await.expect("a free port");
    let deputy = Deputy::new(&[provider.address()]);
    deputy.install(&provider.app_toml());
    let (id, secret) = provider.client();
    deputy.json_with(&["client", "set", "demo", "--id", &id], secret.as_bytes());
    let (running, authorize_url) = begin(&deputy, &["demo"]);
    provider.browse(&authorize_url).await.expect("a page");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    (provider, deputy, text(&ended.last_json(), "name"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_requests_of_one_step_run_side_by_side_and_refresh_once() {
    let (provider, deputy, account) = connected().await;
    provider.expire_access_tokens();
    let bind = format!("demo={account}");
    let ended = deputy.run(&["step", "run", &guest("ten"), "--bind", &bind, "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let outcome = ended.last_json();
    assert_eq!(find(&outcome, "statuses"), Some(&json!(vec![200; 10])), "{ended}");
    assert_eq!((provider.counters().refreshes, provider.counters().reuses), (1, 0));
    ended.assert_holds_none_of(&provider.secrets());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_does_not_notice_a_refresh_between_two_runs() {
    let (provider, deputy, account) = connected().await;
    let bind = format!("demo={account}");
    let run = || {
        let ended = deputy.run(&["step", "run", &guest("demo_step"), "--bind", &bind, "--json"]);
        assert_eq!(ended.code(), Some(0), "{ended}");
        ended.assert_holds_none_of(&provider.secrets());
        find(&ended.last_json(), "output").cloned()
    };
    let first = run();
    assert_eq!(first.as_ref().and_then(|output| find(output, "login")), Some(&json!("ada")));
    provider.expire_access_tokens();
    assert_eq!(run(), first);
    assert_eq!(provider.counters().refreshes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_gets_no_account_that_was_not_bound() {
    let (provider, deputy, _) = connected().await;
    let requests = provider.counters().requests;
    let error = deputy.fails(&["step", "run", &guest("ten")]);
    assert!(error.to_string().contains("demo"), "{error}");
    assert_eq!(provider.counters().requests, requests);
}

#[test]
fn the_demo_tells_one_object_and_finds_no_secret() {
    let deputy = Deputy::new(&[]);
    let report = deputy.json(&["demo"]);
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["secret_seen_by_step"], false, "{report}");
    assert_eq!(report["refreshes"], 1, "{report}");
    assert!(report["requests"].as_u64().is_some_and(|requests| requests >= 7), "{report}");
    assert_eq!(find(&report["step_output"], "login"), Some(&json!("ada")), "{report}");
}

#[test]
fn a_planted_secret_turns_the_demos_flag() {
    let deputy = Deputy::new(&[]);
    let ended = deputy.run(&["demo", "--plant-secret", "--json"]);
    assert_eq!(ended.code(), Some(1), "{ended}");
    let report = ended.last_json();
    assert_eq!((&report["ok"], &report["secret_seen_by_step"]), (&json!(false), &json!(true)), "{report}");
}
