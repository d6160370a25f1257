//! `deputy app test` over every built-in app, and over hosts that do not do what the declaration says: a made provider
//! that accepts them would prove nothing.

use deputy::deputy::conformance::{Outcome, Report, run};
use deputy_declaration::source::{Beside, parse, parse_with};
use deputy_declaration::types::App;

fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn failures(report: &Report) -> Vec<String> {
    let failed = report.checks.iter().filter_map(|check| match &check.outcome {
        Outcome::Failed { reason } => Some(format!("{} {}: {}: {reason}", report.app, check.method, check.name)),
        Outcome::Passed | Outcome::NotTestable { .. } => None,
    });
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_built_in_app_passes() {
    let files = deputy_declaration::pack::sources::app_files(&root().join("app-plugins")).expect("the apps");
    assert!(files.len() > 5, "the apps were not found");
    let mut running = tokio::task::JoinSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("an app.toml");
        let beside = Beside::read(&text, file.parent().expect("its folder"));
        let app =
            parse_with(&file.display().to_string(), &text, &beside).unwrap_or_else(|problems| panic!("{problems}"));
        // The app without rules has nothing to test.
        if app.methods.iter().all(|method| method.rule_sets.is_empty()) {
            continue;
        }
        running.spawn(async move { run(&app, &app).await.unwrap_or_else(|error| panic!("{}: {error:?}", app.slug)) });
    }
    let mut faults = Vec::new();
    while let Some(report) = running.join_next().await {
        let report = report.expect("no app panics");
        faults.extend(failures(&report));
        if !report.ok {
            faults.push(format!("{} is not ok", report.app));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

const OAUTH: &str = r#"
slug = "mutant"
name = "Mutant"
summary = "For the tests of the kit."
base = "https://api.mutant.example/v1"
headers.X-Version = "3"
test = { path = "/me", id = "/id", label = "/name" }
evidence = { level = "facts", date = "2026-11-23", source = "https://docs.mutant.example" }

[methods.oauth]
[methods.oauth.oauth2]
authorize-url = "https://login.mutant.example/authorize"
token-url = "https://login.mutant.example/token"
revoke-url = "https://login.mutant.example/revoke"
authorize-params.access_type = "offline"
client-auth = "basic"
scope-separator = ","
scopes.read = { text = "Read", default = true }
scopes.write = { text = "Write", default = true }

[methods.key]
header.Authorization = "Token {token}"

[methods.query]
query.api_key = "{token}"

[methods.basic]
tokens.user = {}
tokens.password = {}
basic = { username = "{user}", password = "{password}" }
"#;

fn app(text: &str) -> App {
    parse("mutant/app.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_of_the_mutations_passes_itself() {
    let app = app(OAUTH);
    let report = run(&app, &app).await.expect("a report");
    assert!(report.ok && failures(&report).is_empty(), "{:#?}", failures(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_something_else_fails() {
    let declared = app(OAUTH);
    let mutations = [
        ("X-Version = \"3\"", "X-Version = \"4\""),
        ("headers.X-Version = \"3\"\n", ""),
        ("example/v1\"", "example/v2\""),
        ("path = \"/me\"", "path = \"/you\""),
        ("id = \"/id\"", "id = \"/other\""),
        ("mutant.example/authorize", "mutant.example/auth"),
        ("mutant.example/token", "mutant.example/tokens"),
        ("revoke-url = \"https://login.mutant.example/revoke\"\n", ""),
        ("access_type = \"offline\"", "access_type = \"online\""),
        ("authorize-params.access_type = \"offline\"\n", ""),
        ("client-auth = \"basic\"", "client-auth = \"basic-raw\""),
        ("client-auth = \"basic\"", "client-auth = \"post\""),
        ("client-auth = \"basic\"", "client-auth = \"basic\"\nbody = \"json\""),
        ("client-auth = \"basic\"", "client-auth = \"basic\"\npkce = \"off\""),
        ("client-auth = \"basic\"", "client-auth = \"basic\"\ntoken-params.extra = \"1\""),
        ("client-auth = \"basic\"", "client-auth = \"basic\"\nrefresh-params.extra = \"1\""),
        ("scope-separator = \",\"\n", ""),
        ("scopes.write = { text = \"Write\", default = true }", "scopes.write = \"Write\""),
        ("\"Token {token}\"", "\"Bearer {token}\""),
        ("\"Token {token}\"", "\"Token {token|base64}\""),
        ("header.Authorization = \"Token {token}\"", "header.X-Api-Key = \"Token {token}\""),
        ("header.Authorization = \"Token", "header.X-More = \"{token}\"\nheader.Authorization = \"Token"),
        ("query.api_key", "query.key"),
        ("query.api_key = \"{token}\"", "header.Authorization = \"Bearer {token}\""),
        ("query.api_key = \"{token}\"", "query.api_key = \"{token}\"\nquery.again = \"{token}\""),
        ("username = \"{user}\", password = \"{password}\"", "username = \"{password}\", password = \"{user}\""),
    ];
    let mut accepted = Vec::new();
    for (from, to) in mutations {
        assert!(OAUTH.contains(from), "{from}");
        let driven = app(&OAUTH.replacen(from, to, 1));
        let report = run(&declared, &driven).await.expect("a report");
        if report.ok || failures(&report).is_empty() {
            accepted.push(format!("{from} → {to}"));
        }
    }
    assert!(accepted.is_empty(), "the made provider accepts:\n{}", accepted.join("\n"));
}
