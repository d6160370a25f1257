//! Unmodified packages from npm inside steps: each signs with a marker, arrives with the account's credential, and the
//! guest never holds it.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::deputy::Deputy;
use crate::support::provider::{Provider, Reply, Seen};
use crate::support::text;

fn packages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packages")
}

/// Bundles a step as `npm run build` of a new step does.
fn bundle(deputy: &Deputy, step: &str) -> String {
    let bundler = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sdk/js/bundle.mjs");
    let out = deputy.folder().join(format!("{step}.js"));
    let ended = Command::new("node")
        .current_dir(packages())
        .arg(bundler)
        .arg(format!("steps/{step}.js"))
        .arg(&out)
        .output()
        .expect("node runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    out.to_string_lossy().into_owned()
}

/// An account by key at a provider that checks every request, and one run of a step through it.
struct Trial {
    provider: Provider,
    deputy: Deputy,
}

impl Trial {
    fn new(hosts: &[&str], app: &str, method: &str, key: &str, answer: fn(&Seen) -> Reply) -> Self {
        let provider = Provider::start(hosts, answer);
        let deputy = Deputy::new(&[provider.address]);
        let config = deputy.folder().join("config");
        let file = config.join("deputy.toml");
        let before = std::fs::read_to_string(&file).expect("deputy.toml");
        let after = before.replace("[egress]\n", &format!("[egress]\n{}", provider.egress(&config)));
        std::fs::write(&file, after).expect("deputy.toml");
        deputy.json_with(&["connect", app, "--method", method, "--name", "work"], key.as_bytes());
        provider.take();
        Self { provider, deputy }
    }

    /// The output of the step, and what arrived at the provider.
    #[track_caller]
    fn run(&self, step: &str, bind: &str, input: &Value, key: &str) -> (Value, Vec<Seen>) {
        // Stripe's own rule is Basic with the key as the user; its SDK sends a bearer token: the app's rule decides.
        let authorization = match step {
            "stripe" => format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:"))),
            _ => format!("Bearer {key}"),
        };
        let program = bundle(&self.deputy, step);
        let ran = self.deputy.json(&["step", "run", &program, "--bind", bind, "--input", &input.to_string()]);
        assert!(!ran.to_string().contains(key), "the key stands in what the run left: {ran}");
        let seen = self.provider.take();
        for request in &seen {
            assert_eq!(request.header("authorization"), authorization, "{request:?}");
        }
        (ran["output"].clone(), seen)
    }
}

fn not_found() -> Reply {
    Reply::json(404, &json!({ "error": "not_found", "message": "no such thing" }))
}

#[test]
fn slack_web_api() {
    const KEY: &str = "xoxb-000000000000-0000000000000-planted0planted0planted0";
    let trial =
        Trial::new(&["slack.com", "files.slack.com"], "slack", "token", KEY, |seen| match seen.target.as_str() {
            "/api/auth.test" => Reply::json(200, &json!({ "ok": true, "user_id": "U1", "team": "Acme" })),
            "/api/chat.postMessage" => Reply::json(200, &json!({ "ok": true, "ts": "1.2", "channel": "C1" })),
            _ => not_found(),
        });
    let (output, seen) = trial.run("slack", "slack=slack/work", &json!({ "channel": "general", "text": "ä & ö" }), KEY);
    assert_eq!(output["ts"], "1.2");
    assert_eq!(output["token"], "xoxb-", "a marker looks like a token");
    let [post] = &seen[..] else { panic!("one request: {seen:?}") };
    assert_eq!((post.method.as_str(), post.host.as_str()), ("POST", "slack.com"));
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&post.body).into_owned().collect();
    assert!(form.contains(&("channel".into(), "general".into())), "{form:?}");
    assert!(form.contains(&("text".into(), "ä & ö".into())), "{form:?}");
    assert!(!post.text().contains("xoxb-"), "no marker in the body");
}

#[test]
fn octokit() {
    const KEY: &str = "ghp_planted0planted0planted0planted0plan";
    let trial = Trial::new(&["api.github.com"], "github", "token", KEY, |seen| {
        match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/user") => Reply::json(200, &json!({ "id": 1, "login": "ada" })),
            ("POST", "/repos/ada/engine/issues") => Reply::json(201, &json!({ "number": 7 })),
            ("GET", "/repos/ada/engine/issues?per_page=2") => {
                Reply::json(200, &json!([{ "number": 7 }, { "number": 6 }]))
                    .header("link", "<https://api.github.com/repos/ada/engine/issues?per_page=2&page=2>; rel=\"next\"")
            }
            ("GET", "/repos/ada/engine/issues?per_page=2&page=2") => Reply::json(200, &json!([{ "number": 5 }])),
            _ => not_found(),
        }
    });
    let (output, seen) = trial.run("octokit", "github=github/work", &json!({ "title": "It stops" }), KEY);
    assert_eq!(output, json!({ "number": 7, "all": [7, 6, 5] }));
    assert_eq!(seen[0].json(), json!({ "title": "It stops" }));
}

#[test]
fn stripe() {
    const KEY: &str = "sk_test_planted0planted0planted0";
    let trial = Trial::new(&["api.stripe.com"], "stripe", "key", KEY, |seen| {
        match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/v1/customers") => Reply::json(200, &json!({ "id": "cus_1", "object": "customer" })),
            ("GET", _) => Reply::json(200, &json!({ "id": "acct_1", "object": "balance" })),
            _ => not_found(),
        }
    });
    let (output, seen) = trial.run("stripe", "stripe=stripe/work", &json!({ "email": "a@example.com" }), KEY);
    assert_eq!(output, json!({ "id": "cus_1" }));
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&seen[0].body).into_owned().collect();
    assert_eq!(form, [("email".into(), "a@example.com".into()), ("metadata[from]".into(), "a step".into())]);
}

#[test]
fn notion() {
    const KEY: &str = "ntn_planted0planted0planted0planted0planted0plan";
    let trial = Trial::new(&["api.notion.com"], "notion", "token", KEY, |seen| match seen.target.as_str() {
        "/v1/users/me" => Reply::json(200, &json!({ "object": "user", "id": "u1", "name": "Bot" })),
        "/v1/pages" => Reply::json(200, &json!({ "object": "page", "id": "p1" })),
        _ => not_found(),
    });
    let (output, seen) = trial.run("notion", "notion=notion/work", &json!({ "parent": "root" }), KEY);
    assert_eq!(output, json!({ "id": "p1" }));
    assert!(!seen[0].header("notion-version").is_empty());
    assert_eq!(seen[0].json()["parent"], json!({ "page_id": "root" }));
}

#[test]
fn axios() {
    const KEY: &str = "SG.planted0planted0planted0.planted0planted0planted0planted0";
    let trial = Trial::new(&["api.sendgrid.com"], "sendgrid", "key", KEY, |seen| match seen.target.as_str() {
        "/v3/mail/send" => Reply { status: 202, headers: Vec::new(), body: Vec::new() },
        "/v3/scopes" | "/v3/user/account" | "/v3/user/username" => {
            Reply::json(200, &json!({ "scopes": ["mail.send"], "username": "ada", "user_id": 1 }))
        }
        _ => not_found(),
    });
    let (output, seen) = trial.run("axios", "sendgrid=sendgrid/work", &json!({ "to": "b@example.com" }), KEY);
    assert_eq!(output, json!({ "status": 202, "missing": 404 }));
    assert_eq!(seen[0].json(), json!({ "personalizations": [{ "to": [{ "email": "b@example.com" }] }] }));
}

/// What a step author does with an empty folder, but for the download of the packages.
#[test]
fn a_new_javascript_step_is_checked_tested_built_and_run() {
    const KEY: &str = "ghp_planted0planted0planted0planted0plan";
    let trial = Trial::new(&["api.github.com"], "github", "token", KEY, |seen| match seen.target.as_str() {
        "/user" => Reply::json(200, &json!({ "id": 1, "login": "ada" })),
        "/user/repos?sort=updated&per_page=3" => Reply::json(200, &json!([{ "full_name": "ada/engine" }])),
        _ => not_found(),
    });
    let folder = trial.deputy.folder().join("repositories");
    let new = trial.deputy.json(&["step", "new", "--js", &folder.to_string_lossy()]);
    assert!(new["files"].as_array().is_some_and(|files| files.len() >= 8), "{new}");
    let modules = folder.join("node_modules");
    std::fs::create_dir_all(modules.join("@deputy")).expect("a folder");
    let link = |from: PathBuf, name: &str| std::os::unix::fs::symlink(from, modules.join(name)).expect("a link");
    for package in
        ["esbuild", "@esbuild", "@jspm", "unenv", "typescript", "defu", "pathe", "consola", "mime", "node-fetch-native"]
    {
        if packages().join("node_modules").join(package).exists() {
            link(packages().join("node_modules").join(package), package);
        }
    }
    link(folder.join("deputy-step"), "@deputy/step");
    for arguments in [["run", "check"], ["run", "test"], ["run", "build"]] {
        let tools = packages().join("node_modules/.bin");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
        let ended =
            Command::new("npm").current_dir(&folder).env("PATH", path).args(arguments).output().expect("npm runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "npm {arguments:?}: {said}");
    }
    let built = folder.join("dist/repositories.js").to_string_lossy().into_owned();
    let checked = trial.deputy.json(&["step", "check", &built]);
    assert_eq!(text(&checked, "app"), "github", "{checked}");
    let ran = trial.deputy.json(&["step", "run", &built, "--bind", "github=github/work", "--input", "{\"limit\":3}"]);
    assert_eq!(ran["output"], json!(["ada/engine"]), "{ran}");
    assert_eq!(ran["exports"], json!({ "count": 1 }), "{ran}");
    assert_eq!(
        trial.provider.take().pop().map(|seen| seen.header("authorization").to_owned()),
        Some(format!("Bearer {KEY}"))
    );
}
