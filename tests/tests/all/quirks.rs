//! OAuth as providers differ: other names, envelopes, inputs that only the provider knows; byte for byte, over TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use serde_json::{Value, json};

use crate::support::apps::{begin, body, open};
use crate::support::deputy::{Deputy, Ended};
use crate::support::provider::{Provider, Reply, Seen};
use crate::support::text;

const HOSTS: [&str; 3] = ["login.quirk.example", "api.quirk.example", "eu1.quirk.example"];
const SECRET: &str = "quirk-secret-canary";

fn app(inputs: &str, base: &str, origins: &str, oauth: &str) -> String {
    format!(
        r#"slug = "quirk"
name = "Quirk"
summary = "A provider with its own ideas"
evidence = {{ level = "facts", date = "2026-11-23", source = "tests/tests/all/quirks.rs" }}
base = "{base}"
reach.origins = [{origins}]
test = {{ path = "/me", id = "/id", label = "/name" }}
{inputs}

[methods.oauth]
docs = "https://docs.quirk.example/oauth"
setup = {{ url = "https://console.quirk.example", steps = ["Create an app.", "Copy its key."] }}
tokens.access_token = {{ access = "/data/access_token", refresh = "/data/refresh_token", expires-in = "/data/expires_in" }}
header.Authorization = "Bearer {{access_token}}"
header.Client-Id = "{{client_id}}"

[methods.oauth.oauth2]
token-url = "https://login.quirk.example/token"
redirect = "loopback"
{oauth}
"#
    )
}

struct World {
    provider: Provider,
    deputy: Deputy,
    /// What the provider answers, by path.
    answers: Arc<Mutex<HashMap<String, Value>>>,
}

impl World {
    fn new(app: &str) -> Self {
        let tokens =
            json!({"code": 0, "data": {"access_token": "at-canary-1", "refresh_token": "rt-1", "expires_in": 3600}});
        let me = json!({"id": 7, "name": "Ada"});
        let known = [("/token", tokens), ("/me", me.clone()), ("/v1/s1/me", me.clone()), ("/v1/s2/me", me)];
        let answers: HashMap<String, Value> = known.into_iter().map(|(path, body)| (path.to_owned(), body)).collect();
        let answers = Arc::new(Mutex::new(answers));
        let told = answers.clone();
        let provider = Provider::start(&HOSTS, move |seen| {
            let path = seen.target.split('?').next().unwrap_or_default();
            match told.lock().expect("no test panicked with the lock").get(path) {
                Some(body) => Reply::json(200, body),
                None => Reply::json(404, &json!({"error": "not_found"})),
            }
        });
        let deputy = Deputy::new(&[provider.address]);
        let config = deputy.folder().join("config");
        let file = config.join("deputy.toml");
        let before = std::fs::read_to_string(&file).expect("deputy.toml");
        let after = before.replace("[egress]\n", &format!("[egress]\n{}", provider.egress(&config)));
        std::fs::write(&file, after).expect("deputy.toml");
        deputy.install(app);
        Self { provider, deputy, answers }
    }

    fn answer(&self, path: &str, body: Value) {
        self.answers.lock().expect("no test panicked with the lock").insert(path.to_owned(), body);
    }

    fn client(&self, inputs: &[&str]) {
        let arguments = [&["client", "set", "quirk", "--id", "cid"], inputs].concat();
        self.deputy.json_with(&arguments, SECRET.as_bytes());
    }

    /// Connects, with the answer that a provider's page would send the browser back with.
    async fn connect(&self, arguments: &[&str], answer: &str) -> (Url, Ended) {
        let arguments = [&["quirk"], arguments].concat();
        let (running, authorize_url) = begin(&self.deputy, &arguments);
        let page = Url::parse(&authorize_url).expect("an authorize URL");
        let fields: HashMap<String, String> = page.query_pairs().into_owned().collect();
        open(Url::parse(&format!("{}?state={}&{answer}", fields["redirect_uri"], fields["state"])).expect("a URL"))
            .await;
        (page, running.wait())
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        self.provider.take().into_iter().filter(|seen| seen.target.starts_with(path)).collect()
    }
}

fn with_sites() -> String {
    let inputs = r#"
[inputs.team]
from = "client"
[inputs.site]
label = "Site"
from = { request = "https://api.quirk.example/sites", items = "/data", value = "/id", label = "/name" }
"#;
    let oauth = r#"
authorize-url = "https://login.quirk.example/{team|percent}/authorize"
names = { client_id = "client_key", response_type = false }
callback-code = "auth_code"
client-auth = "post"
body = "json"
error = "/message"
token-headers.X-Quirk = "yes"
"#;
    app(inputs, "https://api.quirk.example/v1/{site|percent}", "\"https://api.quirk.example\"", oauth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_names_an_envelope_and_a_site_that_the_provider_knows() {
    let world = World::new(&with_sites());
    let told = world.deputy.json(&["client", "set", "quirk"]);
    assert_eq!(told["setup"]["steps"], json!(["Create an app.", "Copy its key."]), "{told}");
    let error = world.deputy.fails_with(&["client", "set", "quirk", "--id", "cid", "--input", "taem=x"], b"s");
    assert_eq!(error["code"], "input_unknown", "{error}");
    let missing = world.deputy.run(&["connect", "quirk", "--no-browser"]);
    let guide = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(guide.contains("https://console.quirk.example") && guide.contains("2. Copy its key."), "{guide}");
    world.client(&["--input", "team=blue"]);

    world.answer("/sites", json!({"data": [{"id": "s1", "name": "One"}]}));
    let (page, ended) = world.connect(&[], "auth_code=good").await;
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(page.path(), "/blue/authorize");
    let asked: HashMap<String, String> = page.query_pairs().into_owned().collect();
    assert_eq!((asked["client_key"].as_str(), asked.get("response_type")), ("cid", None), "{page}");
    let account = text(&ended.last_json()["account"], "name");
    let seen = world.provider.take();
    let paths: Vec<&str> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(paths, ["/token", "/sites", "/v1/s1/me"]);
    let sent = seen[0].json();
    assert_eq!(
        (&sent["code"], &sent["client_key"], &sent["client_secret"]),
        (&json!("good"), &json!("cid"), &json!(SECRET))
    );
    assert_eq!((seen[0].header("x-quirk"), sent.get("client_id")), ("yes", None));
    assert_eq!((seen[1].header("authorization"), seen[1].header("client-id")), ("Bearer at-canary-1", "cid"));

    let answer = world.deputy.json(&["request", &account, "GET", "/me"]);
    assert_eq!(body(&answer)["name"], "Ada", "{answer}");
    assert_eq!(world.seen("/v1/s1/me").len(), 1);
    let shown = world.deputy.json(&["account", "show", &account]);
    assert_eq!(shown["inputs"], json!({"site": "s1", "team": "blue"}), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_sites_one_is_named() {
    let world = World::new(&with_sites());
    world.client(&["--input", "team=blue"]);
    world.answer("/sites", json!({"data": [{"id": "s1", "name": "One"}, {"id": "s2"}]}));
    let (_, ended) = world.connect(&[], "auth_code=good").await;
    let error = ended.error();
    assert_eq!(
        (&error["code"], &error["candidates"]),
        (&json!("input_several"), &json!(["s1 (One)", "s2"])),
        "{error}"
    );
    assert!(text(&error, "fix").contains("--input site="), "{error}");
    assert!(world.deputy.accounts().is_empty());
    let (_, ended) = world.connect(&["--input", "site=s3"], "auth_code=good").await;
    assert_eq!(ended.error()["code"], "input_not_offered");
    let (_, ended) = world.connect(&["--input", "site=s2"], "auth_code=good").await;
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(world.seen("/v1/s2/me").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_stays_within_its_hosts() {
    let inputs = r#"
[inputs.instance]
kind = "base-url"
hosts = [".quirk.example"]
from = { reply = "/instance_url" }
"#;
    let oauth = "authorize-url = \"https://login.quirk.example/authorize\"";
    let world = World::new(&app(inputs, "{instance}", "\"{instance}\"", oauth));
    world.client(&[]);
    let reply = |host: &str| json!({"data": {"access_token": "at-canary-1", "expires_in": 3600}, "instance_url": host});
    for host in ["https://evil.example", "https://quirk.example.evil.test", "https://eu1.quirk.example@evil.example"] {
        world.answer("/token", reply(host));
        let (_, ended) = world.connect(&[], "code=good").await;
        let error = ended.error();
        assert_eq!(error["code"], "input_undiscovered", "{error}");
        assert!(world.deputy.accounts().is_empty());
        assert_eq!(world.seen("/me").len(), 0, "nothing was sent anywhere else");
    }
    world.answer("/token", reply("https://eu1.quirk.example"));
    let (_, ended) = world.connect(&[], "code=good").await;
    assert_eq!(ended.code(), Some(0), "{ended}");
    let hosts: Vec<String> = world.seen("/me").into_iter().map(|seen| seen.host).collect();
    assert_eq!(hosts, ["eu1.quirk.example"], "and nobody had to confirm it");
}
