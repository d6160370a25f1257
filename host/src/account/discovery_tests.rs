//! Whose word an input is, and device codes, over a road with a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use deputy_declaration::types::{
    App, Discovery, DiscoveryRequest, Encoding, Expiry, Input, InputKind, InputSource, Origin, Part, Placeholder,
    Template, TokenPart,
};
use futures_util::future::BoxFuture;
use url::Url;
use zeroize::Zeroizing;

use super::*;
use crate::auth::client::NewClient;
use crate::auth::device::{self, Polled};
use crate::auth::flow::Again;
use crate::auth::road::{ProbeAnswer, RoadError, TokenAnswer};
use crate::auth::testing::{self, ClockStore, TestApps};
use crate::caller::Caller;
use crate::egress::{Body, Credential, EgressError, Request, TokenCall};
use crate::vault::Secret;

const TOKENS: &str = r#"{"access_token":"at-0123456789","refresh_token":"rt-1","host":"https://eu1.vendor.example"}"#;

/// Answers what it is told to, and notes what it was asked.
#[derive(Default)]
struct Script {
    /// Of the token endpoint; without one, [`TOKENS`].
    replies: Mutex<VecDeque<Result<(u16, &'static str), RoadError>>>,
    /// By URL, or a path below the base.
    pages: Mutex<BTreeMap<String, (u16, String)>>,
    seen: Mutex<Vec<String>>,
}

impl Script {
    fn page(&self, url: &str, body: serde_json::Value) {
        self.pages.lock().unwrap().insert(url.to_owned(), (200, body.to_string()));
    }

    fn seen(&self, what: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect()
    }
}

impl TokenRoad for Script {
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>> {
        let Body::Bytes(body) = &request.body else { panic!("a form") };
        let line = format!("{} {} {}", call.purpose, request.url, String::from_utf8_lossy(body));
        self.seen.lock().unwrap().push(line);
        let reply = match call.purpose {
            "revoke" => Ok((200, "")),
            _ => self.replies.lock().unwrap().pop_front().unwrap_or(Ok((200, TOKENS))),
        };
        let answer = |(status, body): (u16, &str)| TokenAnswer {
            status,
            retry_after: None,
            headers: Default::default(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        Box::pin(std::future::ready(reply.map(answer)))
    }

    fn probe<'a>(
        &'a self,
        credential: Credential<'a>,
        request: Request,
    ) -> BoxFuture<'a, Result<ProbeAnswer, EgressError>> {
        Box::pin(async move {
            let Credential::Account { grant, tokens } = credential else { panic!("a probe goes through an account") };
            let live = tokens.live(grant).await?;
            // As the road does: nothing leaves the reach of what is known.
            let url = Url::options().base_url(Some(&live.base)).parse(&request.url).unwrap();
            assert!(live.origins.contains(&url.origin()), "{url} lies outside {:?}", live.origins);
            self.seen.lock().unwrap().push(format!("probe {url}"));
            let found = self.pages.lock().unwrap().get(&request.url).cloned();
            let (status, body) = found.unwrap_or((200, r#"{"id":7,"login":"Ada L."}"#.to_owned()));
            Ok(ProbeAnswer { status, failed: false, body: body.into_bytes() })
        })
    }
}

struct World {
    app: App,
    script: Arc<Script>,
    accounts: Arc<Accounts>,
    caller: Caller,
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn named(name: &str) -> Part {
    Part::Input(Placeholder { name: name.to_owned(), encodings: Vec::new() })
}

fn input(name: &str, kind: InputKind, source: InputSource) -> Input {
    Input {
        name: name.to_owned(),
        label: name.to_owned(),
        help: None,
        example: None,
        kind,
        pattern: None,
        choices: Vec::new(),
        default: None,
        source,
        hosts: Vec::new(),
    }
}

fn discovered(name: &str, kind: InputKind, discovery: Discovery) -> Input {
    input(name, kind, InputSource::Discovered(discovery))
}

/// The site of an account, one of those that it may use.
fn sites(items: Option<&str>) -> Input {
    let url: Template = vec![text("https://as.example/sites")];
    let (value, label, items) = ("/id".to_owned(), Some("/name".to_owned()), items.map(str::to_owned));
    let request = DiscoveryRequest { url, identity: None, items, value, label };
    discovered("site", InputKind::HostLabel, Discovery::Request(request))
}

/// `as`, whose base hangs on one input.
fn app_with(input: Input, base: Template) -> App {
    let mut app = testing::app();
    app.inputs = vec![input];
    app.base = base;
    let origin = match &app.base[..] {
        [Part::Input(base)] => Origin::Pinned(base.name.clone()),
        _ => Origin::Exact("https://api.as.example".into()),
    };
    app.reach.origins = vec![Origin::Exact("https://as.example".into()), origin];
    app
}

fn by_path(input: Input) -> App {
    let segment = Placeholder { name: input.name.clone(), encodings: vec![Encoding::Percent] };
    let base = vec![text("https://api.as.example/"), Part::Input(segment)];
    app_with(input, base)
}

async fn world(app: App) -> World {
    world_with(app, &[]).await
}

fn pairs(inputs: &[(&str, &str)]) -> BTreeMap<String, String> {
    inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn world_with(app: App, client: &[(&str, &str)]) -> World {
    let script = Arc::new(Script::default());
    let callback = Callback { listen: "127.0.0.1:7878".parse().unwrap(), public_url: None };
    let (apps, vault) = (TestApps::of(std::slice::from_ref(&app)), Arc::new(Vault::ephemeral()));
    let accounts = Accounts::new(ClockStore::new(), vault, apps, script.clone(), callback);
    let caller = Caller::local();
    let new = NewClient { client_id: "cid".into(), secret: Some(Secret::new(b"s3cret".to_vec())) };
    accounts.rows().set_client(&caller.owner, &app, &app.methods[0], new, &pairs(client)).await.unwrap();
    World { app, script, accounts, caller }
}

fn wanted(inputs: &[(&str, &str)]) -> ConnectOAuth {
    ConnectOAuth {
        app: "as".into(),
        app_hash: None,
        method: None,
        nickname: None,
        inputs: pairs(inputs),
        scopes: None,
        add_scopes: Vec::new(),
        confirm_host: false,
        skip_check: false,
        again: None,
    }
}

impl World {
    async fn answered(&self, connect: ConnectOAuth, more: &str) -> Result<AccountView, AccountError> {
        let begun = self.accounts.connect_begin(&self.caller, connect).await?;
        let url = Url::parse(&begun.authorize_url).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let answer = format!("{}?code=good&state={state}{more}", begun.redirect_uri);
        Ok(self.accounts.connect_finish(&self.caller, &begun.flow, &answer).await?.account)
    }

    async fn connect(&self, inputs: &[(&str, &str)]) -> Result<AccountView, AccountError> {
        self.answered(wanted(inputs), "").await
    }

    async fn stored(&self) -> i64 {
        self.accounts.count_of(&self.caller.owner, "as").await.unwrap()
    }

    /// Nothing is stored, and the grant is gone.
    async fn came_to_nothing(&self) {
        assert_eq!(self.stored().await, 0);
        assert_eq!(self.script.seen("revoke ").len(), 2, "{:?}", self.script.seen(""));
    }
}

#[tokio::test]
async fn one_item_is_taken_and_stored() {
    let world = world(by_path(sites(Some("")))).await;
    world.script.page("https://as.example/sites", serde_json::json!([{"id": "Alpha", "name": "A"}]));
    let account = world.connect(&[]).await.unwrap();
    assert_eq!(account.inputs, pairs(&[("site", "alpha")]));
    assert_eq!(account.origins, ["https://as.example", "https://api.as.example"]);
    // Asked before the base was known, tested after it.
    assert_eq!(world.script.seen("probe "), ["https://as.example/sites", "https://api.as.example/me"]);
}

#[tokio::test]
async fn of_several_the_owner_chooses() {
    let world = world(by_path(sites(Some("/values")))).await;
    let list = serde_json::json!({"values": [{"id": "a", "name": "First\u{1b}"}, {"id": "b"}, {"id": "b"}]});
    world.script.page("https://as.example/sites", list);
    let error = world.connect(&[]).await.unwrap_err();
    assert_eq!((error.code(), error.candidates()), ("input_several", vec!["a (First)".to_owned(), "b".to_owned()]));
    assert!(error.fix().unwrap().contains("--input site=…"), "{error}");
    world.came_to_nothing().await;
    let error = world.connect(&[("site", "c")]).await.unwrap_err();
    assert_eq!((error.code(), error.candidates().len()), ("input_not_offered", 2));
    assert_eq!(world.connect(&[("site", "b")]).await.unwrap().inputs, pairs(&[("site", "b")]));
}

#[tokio::test]
async fn what_cannot_be_a_value_ends_the_connect() {
    for (list, reason) in [
        (serde_json::json!([]), "the list is empty"),
        (serde_json::json!({}), "holds no list"),
        (serde_json::json!([{"id": "evil.example/x"}]), "host name"),
        (serde_json::json!([{"name": "no id"}]), "does not say it"),
        (serde_json::json!([{"id": "at-0123456789"}]), "secrets"),
    ] {
        let world = world(by_path(sites(Some("")))).await;
        world.script.page("https://as.example/sites", list.clone());
        let error = world.connect(&[]).await.unwrap_err();
        assert_eq!(error.code(), "input_undiscovered", "{list}");
        assert!(error.to_string().contains(reason), "{error}");
        world.came_to_nothing().await;
    }
    let world = world(by_path(sites(None))).await;
    world.script.pages.lock().unwrap().insert("https://as.example/sites".into(), (403, "{}".into()));
    let error = world.connect(&[]).await.unwrap_err();
    assert!(error.to_string().contains("answered 403"), "{error}");
    world.came_to_nothing().await;
}

#[tokio::test]
async fn a_discovered_host_stays_within_its_suffix() {
    let mut instance = discovered("instance", InputKind::BaseUrl, Discovery::Reply("/host".into()));
    instance.hosts = vec![".vendor.example".into()];
    let app = app_with(instance, vec![named("instance")]);
    let good = world(app.clone()).await;
    let account = good.connect(&[]).await.unwrap();
    assert_eq!(account.origins, ["https://as.example", "https://eu1.vendor.example"], "and nobody had to confirm it");
    for host in ["https://evil.example", "https://eu1.vendor.example.evil.test", "http://eu1.vendor.example", ""] {
        let world = world(app.clone()).await;
        let reply = format!(r#"{{"access_token":"at-0123456789","refresh_token":"rt-1","host":"{host}"}}"#);
        world.script.replies.lock().unwrap().push_back(Ok((200, Box::leak(reply.into_boxed_str()))));
        assert_eq!(world.connect(&[]).await.unwrap_err().code(), "input_undiscovered", "{host}");
        world.came_to_nothing().await;
        assert_eq!(world.script.seen("probe "), [""; 0], "nothing went there");
    }
    // Without a list of hosts, a provider's word is not enough.
    let free = discovered("instance", InputKind::BaseUrl, Discovery::Reply("/host".into()));
    let world = world(app_with(free, vec![named("instance")])).await;
    assert_eq!(world.connect(&[]).await.unwrap_err().code(), "input_undiscovered");
    world.came_to_nothing().await;
}

#[tokio::test]
async fn the_callback_names_it() {
    let world = world(by_path(discovered("realm", InputKind::Text, Discovery::Callback("realmId".into())))).await;
    let account = world.answered(wanted(&[]), "&realmId=42").await.unwrap();
    assert_eq!(account.inputs, pairs(&[("realm", "42")]));
    let error = world.connect(&[]).await.unwrap_err();
    assert_eq!(error.code(), "input_undiscovered");
    let error = world.answered(wanted(&[("realm", "41")]), "&realmId=42").await.unwrap_err();
    assert_eq!(error.code(), "input_differs");
    assert_eq!(world.stored().await, 1);
    // Reconnected: the same realm, unless the owner says that the account becomes another one.
    let again = |other_identity| ConnectOAuth {
        again: Some(Again { account: account.id.clone(), other_identity }),
        ..wanted(&[])
    };
    assert_eq!(world.answered(again(false), "&realmId=43").await.unwrap_err().code(), "input_differs");
    assert_eq!(world.answered(again(false), "&realmId=42").await.unwrap().inputs, pairs(&[("realm", "42")]));
    assert_eq!(world.answered(again(true), "&realmId=43").await.unwrap().inputs, pairs(&[("realm", "43")]));
}

#[tokio::test]
async fn a_key_tells_its_data_centre() {
    let part = TokenPart { token: "key".into(), pattern: "_([a-z]+)$".into() };
    let world = world(by_path(discovered("dc", InputKind::HostLabel, Discovery::Token(part)))).await;
    let keys = |inputs: &[(&str, &str)]| ConnectKeys {
        app: "as".into(),
        app_hash: None,
        method: Some("token".into()),
        nickname: None,
        inputs: pairs(inputs),
        tokens: BTreeMap::from([("key".to_owned(), Secret::new(b"tk_usa".to_vec()))]),
        confirm_host: false,
        skip_check: false,
        again: None,
    };
    let connected = world.accounts.connect_keys(&world.caller, keys(&[])).await.unwrap();
    assert_eq!(connected.account.inputs, pairs(&[("dc", "usa")]));
    let error = world.accounts.connect_keys(&world.caller, keys(&[("dc", "eu")])).await.unwrap_err();
    assert_eq!(error.code(), "input_differs");
    assert_eq!(world.script.seen("revoke "), [""; 0], "a pasted key is its owner's");
}

#[tokio::test]
async fn an_input_of_the_client_holds_for_its_accounts() {
    let app = by_path(input("team", InputKind::Text, InputSource::Client));
    let world = world_with(app, &[("team", "blue")]).await;
    assert_eq!(world.connect(&[]).await.unwrap().inputs, pairs(&[("team", "blue")]));
    assert_eq!(world.connect(&[("team", "red")]).await.unwrap_err().code(), "input_elsewhere");
    let set = |inputs: &'static [(&'static str, &'static str)]| {
        let new = NewClient { client_id: "cid".into(), secret: Some(Secret::new(b"s3cret".to_vec())) };
        let (rows, app, owner) = (world.accounts.rows(), &world.app, &world.caller.owner);
        async move { rows.set_client(owner, app, &app.methods[0], new, &pairs(inputs)).await }
    };
    assert_eq!(set(&[]).await.map(|_| ()).unwrap_err().code(), "input_missing");
    let unknown = set(&[("tem", "red")]).await.map(|_| ()).unwrap_err();
    assert_eq!((unknown.code(), unknown.fix().unwrap().as_str()), ("input_unknown", "did you mean `team`?"));
    set(&[("team", "red")]).await.unwrap();
    assert_eq!(world.connect(&[]).await.unwrap().inputs, pairs(&[("team", "red")]));
}

#[tokio::test]
async fn what_is_asked_once_is_not_kept() {
    let mut app = testing::app();
    app.inputs = vec![input("login", InputKind::HostLabel, InputSource::Once)];
    let deputy_declaration::types::AuthKind::OAuth2Code(oauth2) = &mut app.methods[0].kind else { panic!("OAuth") };
    oauth2.authorize_url = Some(vec![text("https://as.example/authorize/"), named("login")]);
    let world = world(app).await;
    assert_eq!(world.connect(&[]).await.unwrap_err().code(), "input_missing");
    assert_eq!(world.connect(&[("login", "ada")]).await.unwrap().inputs, BTreeMap::new());
    let begun = world.accounts.connect_begin(&world.caller, wanted(&[("login", "ada")])).await.unwrap();
    assert!(begun.authorize_url.starts_with("https://as.example/authorize/ada?"), "{}", begun.authorize_url);
    // The other method has no use for it, and asks nobody.
    let asked = |at: usize| asked(&world.app, &world.app.methods[at], false).len();
    assert_eq!((asked(0), asked(1)), (1, 0));
}

fn with_device() -> App {
    let mut app = testing::app();
    let deputy_declaration::types::AuthKind::OAuth2Code(oauth2) = &mut app.methods[0].kind else { panic!("OAuth") };
    oauth2.device_url = Some(vec![text("https://as.example/device")]);
    oauth2.authorize_url = None;
    let reply = app.methods[0].tokens[0].reply.as_mut().unwrap();
    reply.expiry = Some(Expiry::Seconds("/expires_in".into()));
    app
}

const DEVICE: &str = r#"{"device_code":"dc-0123456789","user_code":"AB-CD","verification_uri":"https://as.example/d","expires_in":60,"interval":1}"#;

#[tokio::test]
async fn a_device_code_brings_an_account() {
    let world = world(with_device()).await;
    assert_eq!(world.connect(&[]).await.unwrap_err().code(), "method_kind", "there is no page for a browser");
    world.script.replies.lock().unwrap().push_back(Ok((200, DEVICE)));
    let begun = world.accounts.device_begin(&world.caller, wanted(&[])).await.unwrap();
    assert_eq!((begun.user_code.as_str(), begun.verification_uri.as_str()), ("AB-CD", "https://as.example/d"));
    assert!(!serde_json::to_string(&begun).unwrap().contains("dc-0"), "the device code is a secret");
    world.script.replies.lock().unwrap().push_back(Ok((400, r#"{"error":"authorization_pending"}"#)));
    let connected = world.accounts.device_wait(&world.caller, &begun.flow).await.unwrap();
    assert_eq!((connected.account.name.as_str(), connected.checked), ("as/ada-l", true));
    assert_eq!(world.script.seen("token ").len(), 2);
    let error = world.accounts.device_wait(&world.caller, &begun.flow).await.unwrap_err();
    assert_eq!(error.code(), "state_unknown", "used up");
    world.script.replies.lock().unwrap().push_back(Ok((400, r#"{"error":"unauthorized_client"}"#)));
    assert_eq!(world.accounts.device_begin(&world.caller, wanted(&[])).await.unwrap_err().code(), "client_refused");
}

#[tokio::test]
async fn a_server_is_asked_no_more_often_than_it_allows() {
    let world = world(with_device()).await;
    world.script.replies.lock().unwrap().push_back(Ok((200, DEVICE)));
    let begun = world.accounts.device_begin(&world.caller, wanted(&[])).await.unwrap();
    let rows = world.accounts.rows();
    let flow = rows.flow(&world.caller.owner, &begun.flow).await.unwrap().unwrap().value;
    let pinned = testing::pinned(&world.app);
    for (reply, outcome) in [
        (Ok((400, r#"{"error":"authorization_pending"}"#)), Ok(5)),
        (Ok((400, r#"{"error":"slow_down"}"#)), Ok(10)),
        (Ok((200, r#"{"error":"slow_down"}"#)), Ok(10)),
        (Ok((503, "<html>")), Ok(10)),
        (Ok((429, "{}")), Ok(60)),
        (Err(RoadError::NotSent("refused".into())), Ok(10)),
        (Err(RoadError::Ambiguous("reset".into())), Ok(10)),
        (Ok((400, r#"{"error":"access_denied"}"#)), Err("connect_denied")),
        (Ok((400, r#"{"error":"expired_token"}"#)), Err("device_code_expired")),
        (Ok((400, r#"{"error":"invalid_grant"}"#)), Err("code_refused")),
        (Ok((401, r#"{"error":"invalid_client"}"#)), Err("client_refused")),
        (Ok((200, "{}")), Err("exchange_failed")),
    ] {
        let shown = format!("{reply:?}");
        world.script.replies.lock().unwrap().push_back(reply);
        let polled = device::poll(rows, &*world.script, &world.caller, &flow, &pinned, 5).await;
        let polled = polled.map(|polled| match polled {
            Polled::Wait(seconds) => seconds,
            Polled::Obtained(_) => 0,
        });
        assert_eq!(polled.map_err(|error| error.code()), outcome, "{shown}");
    }
}
