//! Markers, grants and plain requests through the built binary and a server that echoes everything it gets: the real
//! credential goes out where the marker stood in its slot, text goes out everywhere else, and the run holds no secret.

use deputy::deputy::{Caller, Deputy as Facade, Overrides, Program, StepRun};
use deputy_demo_provider::DemoProvider;
use serde_json::{Value, json};

use crate::support::apps::begin;
use crate::support::deputy::Deputy;
use crate::support::raw::Raw;
use crate::support::text;

fn hostile() -> String {
    let root = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let path = root.join("target/guests/components/hostile.wasm");
    assert!(path.is_file(), "{} is missing: run `cargo xtask build`", path.display());
    path.to_string_lossy().into_owned()
}

/// Answers every request with a small body.
fn elsewhere() -> Raw {
    Raw::start(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nelse")
}

struct World {
    provider: DemoProvider,
    _deputy: Deputy,
    /// The same machine, opened in this process.
    facade: Facade,
    /// Two accounts of one app.
    accounts: [String; 2],
    /// A host that the operator allows to requests without an account.
    plain: Raw,
}

impl World {
    async fn new() -> Self {
        let provider = DemoProvider::start().await.expect("a free port");
        let plain = elsewhere();
        // The provider itself is a plain host as well: what arrives there without a credential shows in its refusals.
        let deputy = Deputy::with_plain(&[provider.address(), plain.address()], &[plain.address(), provider.address()]);
        deputy.install(&provider.app_toml());
        let (id, secret) = provider.client();
        deputy.json_with(&["client", "set", "demo", "--id", &id], secret.as_bytes());
        let mut accounts = Vec::new();
        for nickname in ["one", "two"] {
            let (running, authorize_url) = begin(&deputy, &["demo", "--name", nickname]);
            provider.browse(&authorize_url).await.expect("a page");
            let ended = running.wait();
            assert_eq!(ended.code(), Some(0), "{ended}");
            accounts.push(text(&ended.last_json(), "name"));
        }
        let accounts = accounts.try_into().expect("two accounts");
        let folder = deputy.folder();
        let overrides = Overrides { data: Some(folder.join("data")), config: Some(folder.join("config")) };
        let facade = Facade::open(overrides).expect("the facade opens");
        Self { provider, _deputy: deputy, facade, accounts, plain }
    }

    /// One run of the hostile step in the engine whose memory is searched: what it said, its whole outcome, and
    /// whether a secret stood in memory, output or log.
    async fn run(&self, input: Value) -> (Value, Value) {
        let component = std::fs::read(hostile()).expect("the guest");
        let [one, two] = &self.accounts;
        let bindings = [("demo", one), ("other", two), ("narrow", one)];
        let run = StepRun {
            program: Program::Component(component.into()),
            input,
            bindings: bindings.map(|(prop, account)| (prop.to_owned(), account.clone())).into(),
            ambient: Vec::new(),
            timeout: None,
            log: None,
        };
        let holds = |bytes: &[u8]| {
            self.provider.secrets().iter().any(|secret| {
                let end = &secret.as_bytes()[secret.len().saturating_sub(16)..];
                bytes.windows(end.len()).any(|window| window == end)
            })
        };
        let (ran, seen) = self.facade.step_run_inspected(&Caller::local(), run, &holds).await.expect("the run begins");
        let whole = serde_json::to_value(&ran).expect("JSON");
        assert!(!seen, "the step saw a secret: {whole}");
        assert!(!holds(whole.to_string().as_bytes()), "a run record holds a secret: {whole}");
        (whole["output"].clone(), whole)
    }

    async fn send(&self, sending: Value) -> (Value, Value) {
        let mut input = json!({ "do": "send" });
        input.as_object_mut().expect("an object").extend(sending.as_object().expect("an object").clone());
        self.run(input).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider.url())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_in_its_slot_goes_out_as_the_real_credential() {
    let world = World::new().await;
    for authorization in ["Bearer {demo.access_token}", "{demo.oauth_access_token}", "Basic {demo.access_token|basic}"]
    {
        let headers = json!([["Authorization", authorization], ["x-mine", "yes"]]);
        let (output, whole) =
            world.send(json!({ "url": world.url("/echo"), "headers": headers, "body": "text" })).await;
        // The provider answers 200 to a valid bearer token only, and echoes what it got; the echo is scrubbed.
        assert_eq!(output["ok"]["status"], 200, "{whole}");
        let echo = &output["ok"]["body"];
        let sent = echo["headers"]["authorization"].to_string();
        assert!(sent.contains("Bearer [redacted]"), "{echo}");
        assert_eq!(echo["headers"]["x-mine"], json!(["yes"]), "{echo}");
        assert_eq!(echo["body"], "text");
        let request = &whole["requests"][0];
        assert_eq!((&request["account"], &request["status"]), (&json!(world.accounts[0]), &json!(200)), "{whole}");
        assert_eq!(request["origin"], json!(world.provider.url()), "{whole}");
        assert!(whole["logs"].as_array().is_some_and(Vec::is_empty), "{whole}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_anywhere_else_is_text_to_every_server() {
    let world = World::new().await;
    let plain = format!("http://{}", world.plain.address());
    // Through the account, beside the real credential: the echo shows the marker itself, and nothing in its place.
    for (sending, place) in [
        (json!({ "headers": [["x-token", "{demo.access_token}"]] }), "header"),
        (json!({ "method": "POST", "body": "token={demo.access_token}" }), "body"),
        (json!({ "method": "POST", "body": "{demo.access_token|basic}" }), "body"),
        (json!({ "url": "/echo?access_token={demo.access_token}" }), "query"),
    ] {
        let mut whole = json!({ "prop": "demo", "url": "/echo" });
        whole.as_object_mut().expect("an object").extend(sending.as_object().expect("an object").clone());
        let (output, whole) = world.send(whole).await;
        assert_eq!(output["ok"]["status"], 200, "{whole}");
        let echo = output["ok"]["body"].clone();
        let told = match place {
            "header" => echo["headers"]["x-token"][0].clone(),
            place => echo[place].clone(),
        };
        let told = told.as_str().expect("a text");
        assert!(told.len() >= 40 && !told.contains("[redacted]"), "{place}: {echo}");
        assert_eq!(echo.to_string().matches("[redacted]").count(), 1, "the credential alone was real: {echo}");
        let logs = whole["logs"].as_array().expect("logs");
        assert_eq!(logs.len(), 1, "{whole}");
        assert!(text(&logs[0], "message").contains("worth nothing"), "{whole}");
    }
    // Without an account: to a host of the step's own, and to the provider itself.
    for (url, headers, body) in [
        (format!("{plain}/"), json!([["x-token", "{demo.access_token}"]]), "{demo.access_token}"),
        (format!("{plain}/?t={{demo.access_token}}"), json!([]), ""),
        (world.url("/me"), json!([["x-token", "{demo.access_token}"]]), ""),
        (world.url("/me"), json!([["authorization", "Bearer {demo.access_token}."]]), ""),
        (world.url("/me"), json!([["authorization", "Bearer x{demo.access_token}"]]), ""),
        (world.url("/me?access_token={demo.access_token}"), json!([]), ""),
    ] {
        let (output, whole) = world.send(json!({ "url": url, "headers": headers, "body": body })).await;
        let expected = if url.starts_with(&plain) { 200 } else { 401 };
        assert_eq!(output["ok"]["status"], expected, "{url}: {whole}");
        assert_eq!(whole["requests"][0]["account"], "", "{whole}");
    }
    for request in world.plain.requests() {
        assert!(world.provider.secrets().iter().all(|secret| !request.contains(secret.as_str())), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_never_leaves_the_reach_of_its_account() {
    let world = World::new().await;
    let plain = format!("http://{}/", world.plain.address());
    // In its slot it names the account, and the account's reach decides: not the list of plain hosts.
    let headers = json!([["authorization", "Bearer {demo.access_token}"]]);
    for (url, rule) in [(plain.as_str(), "ip-literal"), ("https://elsewhere.example/", "origin")] {
        let (output, whole) = world.send(json!({ "url": url, "headers": headers })).await;
        assert_eq!(output["code"], "Denied", "{whole}");
        assert!(text(&output, "message").contains(&format!("rule `{rule}`")), "{whole}");
    }
    assert!(world.plain.requests().is_empty());
    for sending in [
        json!({ "prop": "other", "url": "/me", "headers": headers }),
        json!({ "url": world.url("/me"), "headers": [
            ["authorization", "Bearer {demo.access_token}"], ["authorization", "Bearer {other.access_token}"]
        ] }),
    ] {
        let requests = world.provider.counters().requests;
        let (output, whole) = world.send(sending).await;
        let message = text(&output, "message");
        assert!(message.contains("`demo`") && message.contains("`other`"), "{whole}");
        assert_eq!(world.provider.counters().requests, requests);
    }
    // A marker of an earlier run is worth nothing.
    let (markers, _) = world.run(json!({ "do": "markers", "prop": "demo" })).await;
    let old = text(&markers, "access_token");
    let (again, _) = world.run(json!({ "do": "markers", "prop": "demo" })).await;
    assert_ne!(text(&again, "access_token"), old);
    let headers = json!([["authorization", format!("Bearer {old}")]]);
    let (output, whole) = world.send(json!({ "url": world.url("/me"), "headers": headers })).await;
    assert_eq!(output["ok"]["status"], 401, "{whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_does_no_more_than_it_declares() {
    let world = World::new().await;
    for (sending, rule) in [
        (json!({ "method": "DELETE", "url": "/echo" }), "grant-method"),
        (json!({ "url": "/me" }), "grant-path"),
        (json!({ "url": "/echo/..%2fme" }), "encoded-path"),
        (json!({ "url": world.url("/ECHO") }), "grant-path"),
        (json!({ "method": "POST", "url": "/echo", "body": "0123456789a" }), "grant-bytes"),
    ] {
        for through in ["handle", "marker"] {
            let requests = world.provider.counters().requests;
            let mut sending = sending.clone();
            if through == "handle" {
                sending["prop"] = json!("narrow");
            } else {
                sending["headers"] = json!([["authorization", "Bearer {narrow.access_token}"]]);
                let url = text(&sending, "url");
                sending["url"] = json!(if url.starts_with('/') { world.url(&url) } else { url });
            }
            let (output, whole) = world.send(sending).await;
            assert!(text(&output, "message").contains(&format!("rule `{rule}`")), "{through}: {whole}");
            assert!(!text(&output, "fix").is_empty(), "{whole}");
            assert_eq!(world.provider.counters().requests, requests, "{whole}");
        }
    }
    let (output, whole) =
        world.send(json!({ "prop": "narrow", "method": "POST", "url": "/echo", "body": "0123456789" })).await;
    assert_eq!(output["ok"]["status"], 200, "{whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_without_accounts_reaches_plain_hosts_only() {
    let plain = elsewhere();
    let deputy = Deputy::with_plain(&[plain.address()], &[plain.address()]);
    let closed = Deputy::new(&[plain.address()]);
    let run = |deputy: &Deputy, url: &str| {
        let input = json!({ "do": "send", "url": url }).to_string();
        let ended = deputy.run(&["step", "run", &hostile(), "--input", &input, "--json"]);
        assert_eq!(ended.code(), Some(0), "{ended}");
        ended.last_json()["output"].clone()
    };
    let url = format!("http://{}/x", plain.address());
    assert_eq!(run(&deputy, &url)["ok"], json!({ "status": 200, "body": "else" }));
    for (deputy, url) in [(&closed, url.as_str()), (&deputy, "https://elsewhere.example/")] {
        let refused = run(deputy, url);
        assert_eq!(refused["code"], "Denied", "{refused}");
        assert!(text(&refused, "fix").contains("[egress] plain"), "{refused}");
    }
    assert_eq!(plain.requests().len(), 1);
    let usage = deputy.fails(&["step", "run", &hostile(), "--ambient", "nobody", "--input", "{\"do\":\"trap\"}"]);
    assert!(text(&usage, "message").contains("`nobody`"), "{usage}");
}
