//! `deputy app test` over every built-in app, and over hosts that do not do what the declaration says: a made provider
//! that accepts them would prove nothing.

use std::path::Path;
use std::sync::Arc;

use deputy::deputy::conformance::{Outcome, Report, Subject, run};
use deputy_declaration::pack::sources::app_files;
use deputy_declaration::source::{Beside, parse};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::deputy::Deputy;

fn failures(report: &Report) -> Vec<String> {
    let failed = report.checks.iter().filter_map(|check| match &check.outcome {
        Outcome::Failed { reason } => Some(format!("{} {}: {}: {reason}", report.app, check.method, check.name)),
        Outcome::Passed | Outcome::NotTestable { .. } => None,
    });
    failed.collect()
}

fn read(file: &Path) -> Subject {
    let text = std::fs::read_to_string(file).expect("an app.toml");
    let beside = Beside::read(&text, file.parent().expect("its folder"));
    Subject::written(file.display().to_string(), text, beside).unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_built_in_app_passes() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../app-plugins"));
    let files = app_files(root).expect("the apps");
    assert!(files.len() >= 1000, "{} apps were found", files.len());
    let places = Arc::new(Semaphore::new(8));
    let mut running = JoinSet::new();
    let mut recorded = 0;
    for file in files {
        let subject = read(&file);
        recorded += subject.fixtures.len();
        let place = places.clone().acquire_owned().await.expect("an open semaphore");
        running.spawn(async move {
            let report = run(&subject, &subject).await;
            drop(place);
            report.unwrap_or_else(|error| panic!("{}: {error:?}", subject.app.slug))
        });
    }
    let (mut faults, mut passed) = (Vec::new(), 0);
    while let Some(report) = running.join_next().await {
        let report = report.expect("no app panics");
        faults.extend(failures(&report));
        passed += report.checks.iter().filter(|check| check.outcome == Outcome::Passed).count();
        if !report.ok {
            faults.push(format!("{} is not ok", report.app));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    // A kit that stops looking would pass everything.
    assert!(passed > 10_000, "only {passed} checks were made");
    assert!(recorded >= 40, "only {recorded} recorded answers were found");
}

const HEAD: &str = r#"
slug = "mutant"
name = "Mutant"
summary = "For the tests of the kit."
categories = ["utilities"]
test = { path = "/me", id = "/id", label = "/name" }
evidence = { level = "facts", date = "2026-11-23", source = "https://docs.mutant.example" }
"#;

const OAUTH: &str = r#"
base = "https://api.mutant.example/v1"
headers.X-Version = "3"

[methods.oauth]
revoke = [{ url = "https://login.mutant.example/bye/{client_id|percent}", headers.Authorization = "Bearer {access_token}" }]
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

const OAUTH_MUTATIONS: &[(&str, &str)] = &[
    ("X-Version = \"3\"", "X-Version = \"4\""),
    ("headers.X-Version = \"3\"\n", ""),
    ("example/v1\"", "example/v2\""),
    ("path = \"/me\"", "path = \"/you\""),
    ("id = \"/id\"", "id = \"/other\""),
    ("mutant.example/authorize", "mutant.example/auth"),
    ("mutant.example/token", "mutant.example/tokens"),
    ("revoke-url = \"https://login.mutant.example/revoke\"\n", ""),
    ("mutant.example/bye/", "mutant.example/goodbye/"),
    ("access_type = \"offline\"", "access_type = \"online\""),
    ("authorize-params.access_type = \"offline\"\n", ""),
    ("client-auth = \"basic\"", "client-auth = \"basic-raw\""),
    ("client-auth = \"basic\"", "client-auth = \"basic-secret\""),
    ("client-auth = \"basic\"", "client-auth = \"post\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nbody = \"json\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nbody = \"query\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\npkce = \"off\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\ntoken-params.extra = \"1\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nrefresh-params.extra = \"1\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\ntoken-headers.X-Extra = \"1\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nnames = { redirect_uri = \"return_to\" }"),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nnames = { grant_type = false }"),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\ncallback-code = \"answer\""),
    ("client-auth = \"basic\"", "client-auth = \"basic\"\nrefresh-url = \"https://login.mutant.example/refresh\""),
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

/// What a provider says and asks beyond the standard: logins of several calls, device codes, inputs that are found out.
const LOGIN: &str = r#"
base = "https://{region}.mutant.example/{site|percent}"
reach.origins = ["https://{region}.mutant.example", "https://api.mutant.example"]

[inputs.region]
kind = "host-label"
from = { token = "key", pattern = '-([a-z]{2}[0-9])$' }

[inputs.site]
from = { request = "https://api.mutant.example/sites", items = "/sites", value = "/id", label = "/name" }

[inputs.otp]
from = "once"

[methods.login]
header.X-Session = "{session}"
tokens.key = { pattern = '[0-9a-f]{32}-[a-z]{2}[0-9]' }
tokens.password = {}
tokens.ticket = { call = 0, access = "/data/ticket", refresh = false, expires-in = false, scope = false }
tokens.session = { call = 1, access = "/session", refresh = "/renew", expires-in = "/ttl", expires-unit = "milliseconds", scope = false }
revoke = [{ method = "DELETE", url = "https://api.mutant.example/session", headers.X-Session = "{session}" }]
[methods.login.exchange]
error = "/fault"
rotation = "strict"
calls = [
  { url = "https://api.mutant.example/ticket", json = { "/auth/key" = "{key}", "/auth/password" = "{password}", "/otp" = "{otp}" } },
  { url = "https://api.mutant.example/session", form = { ticket = "{ticket}", kind = "long" } },
]
refresh = [{ url = "https://api.mutant.example/renew", query = { token = "{refresh_token}" } }]
"#;

const LOGIN_MUTATIONS: &[(&str, &str)] = &[
    ("-([a-z]{2}[0-9])$", "-([a-z]{2})[0-9]$"),
    ("example/sites", "example/places"),
    ("items = \"/sites\"", "items = \"/places\""),
    ("value = \"/id\", label", "value = \"/key\", label"),
    ("header.X-Session = \"{session}\"\ntokens", "header.X-Session = \"{session|base64}\"\ntokens"),
    ("access = \"/data/ticket\"", "access = \"/ticket\""),
    ("access = \"/session\"", "access = \"/data/session\""),
    ("refresh = \"/renew\"", "refresh = \"/again\""),
    ("method = \"DELETE\"", "method = \"POST\""),
    ("example/ticket", "example/tickets"),
    ("\"/auth/key\"", "\"/auth/user\""),
    ("\"/otp\" = \"{otp}\"", "\"/otp\" = \"x{otp}\""),
    ("kind = \"long\"", "kind = \"short\""),
    (
        "form = { ticket = \"{ticket}\", kind = \"long\" }",
        "json = { \"/ticket\" = \"{ticket}\", \"/kind\" = \"long\" }",
    ),
    ("form = { ticket = \"{ticket}\", kind = \"long\" }", "form = { ticket = \"x{ticket}\", kind = \"long\" }"),
    ("query = { token = \"{refresh_token}\" }", "form = { token = \"{refresh_token}\" }"),
    ("query = { token = \"{refresh_token}\" }", "query = { refresh = \"{refresh_token}\" }"),
];

/// Places of credentials beyond headers and queries, and a device code with a call after it.
const PLACES: &str = r#"
base = "https://api.mutant.example/v1"

[methods.aws]
tokens.id = {}
tokens.secret = {}
sign.aws-sigv4 = { access-key = "{id}", secret-key = "{secret}", region = "eu-west-1", service = "sqs" }

[methods.one]
tokens.ck = {}
tokens.cs = {}
tokens.t = {}
tokens.ts = {}
sign.oauth1 = { consumer-key = "{ck}", consumer-secret = "{cs}", token = "{t}", token-secret = "{ts}" }

[methods.path]
path = "/bot{token}"

[methods.device]
tokens.access_token = { call = 1, refresh = false }
[methods.device.oauth2]
device-url = "https://login.mutant.example/device"
token-url = "https://login.mutant.example/token"
client-auth = "none"
scopes.read = { text = "Read", default = true }
then = [{ url = "https://login.mutant.example/long", query = { short = "{access_token}", id = "{client_id}" } }]
refresh = [{ url = "https://login.mutant.example/longer", query = { long = "{access_token}" } }]
"#;

const PLACES_MUTATIONS: &[(&str, &str)] = &[
    ("access-key = \"{id}\", secret-key = \"{secret}\"", "access-key = \"{secret}\", secret-key = \"{id}\""),
    ("secret-key = \"{secret}\"", "secret-key = \"{secret|base64}\""),
    ("region = \"eu-west-1\"", "region = \"eu-west-2\""),
    ("service = \"sqs\"", "service = \"s3\""),
    ("\"{cs}\", token = \"{t}\", token-secret = \"{ts}\"", "\"{ts}\", token = \"{t}\", token-secret = \"{cs}\""),
    ("token-secret = \"{ts}\"", "token-secret = \"{ts}\", signature = \"hmac-sha256\""),
    ("token-secret = \"{ts}\"", "token-secret = \"{ts}\", realm = \"mutants\""),
    ("/bot{token}", "/bots/{token}"),
    ("path = \"/bot{token}\"", "query.bot = \"{token}\""),
    ("example/device", "example/devices"),
    ("client-auth = \"none\"", "client-auth = \"post\""),
    ("short = \"{access_token}\"", "token = \"{access_token}\""),
    ("id = \"{client_id}\"", "id = \"x{client_id}\""),
    ("example/longer", "example/longest"),
    ("scopes.read = { text = \"Read\", default = true }", "scopes.read = \"Read\""),
];

const BODY: &str = r#"
base = "https://api.mutant.example/v1"
reach.methods = ["POST"]

[methods.json]
body."/auth/key" = "{token}"

[methods.form]
body.api_key = "{token}"
"#;

const BODY_MUTATIONS: &[(&str, &str)] = &[
    ("/auth/key", "/auth/token"),
    ("/auth/key\" = \"{token}\"", "/auth/key\" = \"{token|base64}\""),
    ("body.api_key", "body.apikey"),
    ("body.api_key = \"{token}\"", "query.api_key = \"{token}\""),
];

fn subject(text: &str) -> Subject {
    Subject::from(parse("mutant/app.toml", text).unwrap_or_else(|problems| panic!("{problems}\n{text}")))
}

/// The app passes against itself, and no other app passes against it.
async fn tells_apart(text: &str, mutations: &[(&str, &str)]) {
    let declared = subject(text);
    let report = run(&declared, &declared).await.expect("a report");
    assert!(report.ok, "{:#?}", failures(&report));
    let mut accepted = Vec::new();
    for (from, to) in mutations {
        assert!(text.contains(from), "{from}");
        let report = run(&declared, &subject(&text.replacen(from, to, 1))).await;
        // A host that cannot even begin tells them apart too.
        if report.is_ok_and(|report| report.ok) {
            accepted.push(format!("{from} → {to}"));
        }
    }
    assert!(accepted.is_empty(), "the made provider accepts:\n{}", accepted.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_something_else_fails() {
    tells_apart(&format!("{HEAD}{OAUTH}"), OAUTH_MUTATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_several_calls_is_held_to_each() {
    tells_apart(&format!("{HEAD}{LOGIN}"), LOGIN_MUTATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_paths_and_device_codes_are_checked() {
    tells_apart(&format!("{HEAD}{PLACES}"), PLACES_MUTATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_bodies_are_checked() {
    let head = HEAD.replace("path = \"/me\"", "method = \"POST\", path = \"/me\"");
    tells_apart(&format!("{head}{BODY}"), BODY_MUTATIONS).await;
}

#[test]
fn the_command_reports_and_points_at_what_is_broken() {
    let deputy = Deputy::new(&[]);
    let file = deputy.folder().join("app.toml");
    let path = file.to_str().expect("UTF-8");
    std::fs::write(&file, format!("{HEAD}{OAUTH}")).expect("a file");
    let report = deputy.json(&["app", "test", path]);
    assert_eq!((report["ok"].as_bool(), report["apps"][0]["app"].as_str()), (Some(true), Some("mutant")));
    assert!(report["apps"][0]["checks"].as_array().is_some_and(|checks| checks.len() > 20), "{report}");
    assert!(!report.to_string().contains("s3cret"), "the report holds a credential");

    std::fs::write(&file, format!("{HEAD}{}", OAUTH.replace("{user}", "{usr}"))).expect("a file");
    let error = deputy.fails(&["app", "test", path]);
    assert_eq!(error["code"], "app_invalid");
    assert!(error["problems"][0]["line"].as_u64().is_some_and(|line| line > 1), "{error}");
}
