//! `fixtures.toml`: a declaration that misreads what a service was recorded to say fails, at the line that misreads it.

use std::path::Path;

use deputy::deputy::conformance::{Outcome, Report, Subject, run};
use deputy_declaration::source::Beside;

use crate::support::deputy::Deputy;

const APP: &str = r#"slug = "kept"
name = "Kept"
summary = "For the tests of recorded answers."
categories = ["utilities"]
evidence = { level = "facts", date = "2026-11-23", source = "https://docs.kept.example" }
base = "https://api.kept.example/v1"
headers.X-Version = "3"

[test]
path = "/me"
id = "/data/id"
label = "/data/name"

[signals]
expired = [{ status = 403, body = { "/code" = "stale" } }]
throttled = [{ status = 420 }]
failed = [{ body = { "/ok" = "false" } }]
revoked = [{ body = { "/code" = "gone" } }]

[methods.oauth.tokens.access_token]
at = "/granted"

[methods.oauth.oauth2]
authorize-url = "https://login.kept.example/authorize"
token-url = "https://login.kept.example/token"
client-auth = "basic"
scope-separator = ","
scopes.read = { text = "Read", default = true }
scopes.write = { text = "Write", default = true }

[methods.oauth.oauth2.errors]
used_up = "permanent"

[methods.key]
header.Authorization = "Token {token}"
"#;

const FIXTURES: &str = r#"
[[answer]]
to = "token"
method = "oauth"
source = "https://docs.kept.example/oauth"
date = "2026-11-23"
request.method = "POST"
request.url = "https://login.kept.example/token"
request.basic = { username = "{client_id}", password = "{client_secret}" }
request.form = { grant_type = "authorization_code", code = "{code}" }
body = '{"granted": {"access_token": "{access_token}", "expires_in": 7200, "refresh_token": "{access_token.refresh}", "scope": "write,read"}}'
reads.lifetime-s = 7200
reads.scopes = ["read", "write"]

[[answer]]
to = "token"
method = "oauth"
source = "https://docs.kept.example/oauth"
date = "2026-11-23"
status = 400
body = '{"error": "used_up"}'
reads.error = "code_refused"

[[answer]]
to = "test"
source = "https://docs.kept.example/me"
date = "2026-11-23"
request.url = "https://api.kept.example/v1/me"
request.headers.X-Version = "3"
body = '{"data": {"id": 7, "name": "Ada"}}'
reads = { id = "7", label = "Ada" }

[[answer]]
to = "test"
method = "key"
source = "https://docs.kept.example/me"
date = "2026-11-23"
request.headers.Authorization = "Token {token}"
status = 401
reads.error = "test_failed"

[[answer]]
to = "api"
method = "oauth"
source = "https://docs.kept.example/errors"
date = "2026-11-23"
status = 403
body = '{"code": "stale"}'
reads.is = "expired"

[[answer]]
to = "api"
source = "https://docs.kept.example/errors"
date = "2026-11-23"
status = 420
reads.is = "throttled"

[[answer]]
to = "api"
source = "https://docs.kept.example/errors"
date = "2026-11-23"
body = '{"ok": false}'
reads.is = "failed"

[[answer]]
to = "api"
source = "https://docs.kept.example/errors"
date = "2026-11-23"
status = 401
body = '{"code": "gone"}'
reads.is = "revoked"
"#;

/// What is written wrong, and the line that the report must point at.
const MISREAD: &[(&str, &str, &str)] = &[
    ("id = \"/data/id\"", "id = \"/id\"", "[test]"),
    ("label = \"/data/name\"", "label = \"/data/title\"", "[test]"),
    ("path = \"/me\"", "path = \"/you\"", "[test]"),
    ("headers.X-Version = \"3\"", "headers.X-Version = \"2\"", "[methods."),
    ("\"/code\" = \"stale\"", "\"/code\" = \"old\"", "expired ="),
    ("[{ status = 420 }]", "[{ status = 429 }]", "throttled ="),
    ("\"/ok\" = \"false\"", "\"/ok\" = \"no\"", "failed ="),
    ("\"/code\" = \"gone\"", "\"/code\" = \"lost\"", "revoked ="),
    ("at = \"/granted\"", "at = \"/given\"", "[methods.oauth.tokens"),
    ("at = \"/granted\"", "at = \"/granted\"\nexpires-in = \"/ends\"", "[methods.oauth.tokens"),
    ("used_up = \"permanent\"", "used_up = \"transient\"", "[methods.oauth.tokens"),
    ("login.kept.example/token", "login.kept.example/tokens", "token-url ="),
    ("client-auth = \"basic\"", "client-auth = \"post\"", "token-url ="),
    ("\"Token {token}\"", "\"Bearer {token}\"", "[methods.key]"),
];

fn subject(folder: &Path, app: &str, fixtures: &str) -> Result<Subject, String> {
    std::fs::write(folder.join("fixtures.toml"), fixtures).expect("a file");
    let beside = Beside::read(app, folder);
    Subject::written("app.toml".to_owned(), app.to_owned(), beside).map_err(|problems| problems.to_string())
}

fn failed(report: &Report) -> Vec<(String, String)> {
    let failed = report.checks.iter().filter_map(|check| match &check.outcome {
        Outcome::Failed { reason } => Some((check.place.clone().unwrap_or_default(), reason.clone())),
        Outcome::Passed | Outcome::NotTestable { .. } => None,
    });
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_misreads_the_service_fails_at_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = subject(folder.path(), APP, FIXTURES).expect("an app");
    let report = run(&good, &good).await.expect("a report");
    assert!(report.ok, "{:#?}", failed(&report));
    let read = report.checks.iter().filter(|check| check.name.contains("recorded")).count();
    assert_eq!(read, 14, "{:#?}", report.checks);

    // The same app without them passes whatever it says: only the service knows better.
    for (from, to, line) in MISREAD {
        assert!(APP.contains(from), "{from}");
        let text = APP.replacen(from, to, 1);
        let alone = subject(folder.path(), &text, "").expect("an app");
        assert!(run(&alone, &alone).await.expect("a report").ok, "{to} fails by itself");
        let misread = subject(folder.path(), &text, FIXTURES).expect("an app");
        let failed = failed(&run(&misread, &misread).await.expect("a report"));
        assert!(!failed.is_empty(), "{from} → {to} passes");
        let pointed = failed.iter().any(|(place, reason)| {
            let number = place.split(':').nth(1).and_then(|line| line.parse::<usize>().ok()).unwrap_or_default();
            let named = number.checked_sub(1).and_then(|at| text.lines().nth(at)).unwrap_or_default();
            named.contains(line) && reason.contains("fixtures.toml:")
        });
        assert!(pointed, "{from} → {to}: no failure points at `{line}`: {failed:#?}");
    }
}

#[test]
fn what_is_wrong_with_the_fixtures_themselves_is_told_at_its_line() {
    let deputy = Deputy::new(&[]);
    let (app, fixtures) = (deputy.folder().join("app.toml"), deputy.folder().join("fixtures.toml"));
    std::fs::write(&app, APP).expect("a file");
    for (from, to, said) in [
        ("reads.is = \"throttled\"", "reads.is = \"tired\"", "unknown variant"),
        ("status = 420", "state = 420", "unknown field"),
        ("method = \"key\"", "method = \"keys\"", "no method `keys`"),
        ("reads.is = \"failed\"", "reads.id = \"7\"", "`reads` holds"),
    ] {
        std::fs::write(&fixtures, FIXTURES.replacen(from, to, 1)).expect("a file");
        let error = deputy.fails(&["app", "test", app.to_str().expect("UTF-8")]);
        assert_eq!(error["code"], "app_invalid", "{error}");
        let problem = &error["problems"][0];
        assert!(problem["message"].as_str().is_some_and(|message| message.contains(said)), "{error}");
        assert!(problem["file"].as_str().is_some_and(|file| file.ends_with("fixtures.toml")), "{error}");
        assert!(problem["line"].as_u64().is_some_and(|line| line > 1), "{error}");
    }
    std::fs::write(&fixtures, FIXTURES).expect("a file");
    assert_eq!(deputy.json(&["app", "test", app.to_str().expect("UTF-8")])["ok"], true);
}
