//! Hooks on the whole road: real components, a raw peer that checks what arrived, and a hook that does bad things.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use deputy_declaration::types::{App, NamedTemplate, Rule, RuleSet, Signer};
use deputy_declaration::{compose, image, inspect, source};
use futures_util::StreamExt as _;
use http::Method;

use super::super::tests::peer::{Peer, answer};
use super::super::tests::world::{World, allow};
use super::super::tests::{live, text, token};
use super::super::{Body, EgressError, Request};
use super::*;
use crate::app::Terms;
use crate::vault::Secret;
use crate::wasm::fixtures;

const CANARY: &str = "canary-key-0123456789";

fn app(rule: &str) -> App {
    let text = format!(
        "slug = \"acme\"\nname = \"Acme\"\nsummary = \"An example.\"\nbase = \"https://api.acme.example\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n\
         [methods.key]\ntokens.key = {{}}\n{rule}\n"
    );
    source::parse("app.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A guest of `tests/guests`, put beside a declaration as `deputy app build` does it.
fn composed(guest: &str) -> Vec<u8> {
    let declaration = image::component(&app("sign.hook = { headers = [\"X-Signature\"] }")).unwrap();
    compose::compose(&declaration, &fixtures::guest(guest)).unwrap()
}

struct Guest {
    bytes: Vec<u8>,
    asked: AtomicUsize,
}

impl Components for Guest {
    fn component(&self, _: &str) -> Result<Vec<u8>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.bytes.clone())
    }
}

fn hooks(guest: &str) -> (Arc<Hooks>, Arc<Guest>) {
    let guest = Arc::new(Guest { bytes: composed(guest), asked: AtomicUsize::new(0) });
    (Arc::new(Hooks::new(guest.clone(), None)), guest)
}

/// An account at the peer whose requests the guest signs.
fn account(peer: &Peer, hooks: &Arc<Hooks>, slots: (&[&str], &[&str]), tokens: &[(&str, &str)]) -> World {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let signer = HookSigner { headers: names(slots.0), query: names(slots.1) };
    let mut account = live(&peer.origin());
    Arc::make_mut(&mut account.declaration).methods[0].rule_sets =
        vec![RuleSet { name: "default".into(), rules: vec![Rule::Sign(Signer::Hook(signer))] }];
    account.tokens =
        tokens.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.as_bytes().to_vec()))).collect();
    let World { egress, audit, tokens, grant } = World::new(account, allow(&[peer]));
    World { egress: egress.with_hooks(hooks.clone()), audit, tokens, grant }
}

async fn hostile() -> (Peer, World) {
    let peer = Peer::replying(|_, request| answer("200 OK", request)).await;
    let (hooks, _) = hooks("hostile_hook");
    let world = account(&peer, &hooks, (&["X-Signature"], &["sig"]), &[("key", CANARY)]);
    (peer, world)
}

const KEY: &[u8] = b"the key that acme gave out";

/// What a server of Acme does: it takes the request off the wire, makes the signature anew and compares.
fn acme(request: &[u8]) -> Vec<u8> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&request[..end]).unwrap();
    let (line, body) = (head.lines().next().unwrap(), &request[end + 4..]);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap_or_default()
    };
    let date = header("x-acme-date");
    let sum = HEXLOWER.encode(digest(&SHA256, body).as_ref());
    let text = format!("{method}\n{target}\n{date}\n{sum}");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), text.as_bytes());
    let wanted = format!("ACME key=id-4711, signature={}", HEXLOWER.encode(mac.as_ref()));
    match header("authorization") == wanted && date.parse::<i64>().is_ok_and(|date| date > 1_700_000_000) {
        true => answer("200 OK", wanted.as_bytes()),
        false => answer("401 Unauthorized", b"the signature is wrong"),
    }
}

#[tokio::test]
async fn a_request_is_signed_over_method_path_date_and_body() {
    let peer = Peer::replying(|_, request| acme(request)).await;
    let (hooks, guest) = hooks("signing_hook");
    // base64 of `KEY`, as it is pasted.
    let tokens = [("key_id", "id-4711"), ("secret", "dGhlIGtleSB0aGF0IGFjbWUgZ2F2ZSBvdXQ=")];
    let world = account(&peer, &hooks, (&["authorization", "X-Acme-Date"], &[]), &tokens);
    let mut posted = Request::new(Method::POST, "/v1/orders?a=1&b=%20%C3%A4");
    posted.body = Body::Bytes(Bytes::from_static(b"{\"amount\":100}"));
    for request in [Request::new(Method::GET, "/v1/orders"), posted, Request::new(Method::DELETE, "/")] {
        let answer = world.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.body.collect(1000).await);
    }
    // One compilation, and an instance for each.
    assert_eq!(guest.asked.load(Ordering::SeqCst), 1);

    let mut stream = Request::new(Method::PUT, "/v1/file");
    stream.body = Body::Stream { stream: futures_util::stream::empty().boxed(), length: None };
    let error = world.send(stream).await.unwrap_err();
    assert!(error.to_string().contains("send it whole"), "{error}");
    assert_eq!(peer.requests().len(), 3);
}

#[tokio::test]
async fn an_echoed_signature_and_what_it_was_made_of_are_scrubbed() {
    let peer = Peer::replying(|_, request| acme(request)).await;
    let (hooks, _) = hooks("signing_hook");
    let tokens = [("key_id", "id-4711"), ("secret", "dGhlIGtleSB0aGF0IGFjbWUgZ2F2ZSBvdXQ=")];
    let world = account(&peer, &hooks, (&["authorization", "X-Acme-Date"], &[]), &tokens);
    let body = String::from_utf8(world.body("/").await.unwrap()).unwrap();
    assert!(body.starts_with("ACME key=") && body.contains("signature=[redacted]***"), "{body}");
    assert!(peer.requests()[0].contains("id-4711"));
}

#[tokio::test]
async fn a_pasted_key_that_does_not_decode_is_the_accounts_fault() {
    let peer = Peer::replying(|_, request| acme(request)).await;
    let (hooks, _) = hooks("signing_hook");
    let world = account(&peer, &hooks, (&["authorization"], &[]), &[("key_id", "id"), ("secret", "no base64!")]);
    let error = world.get("/").await.unwrap_err();
    assert!(matches!(error, EgressError::Denied { rule: "credential", .. }), "{error}");
    assert!(error.fix().unwrap().contains("reconnect"), "{error:?}");
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn a_callers_own_value_in_a_place_of_the_hook_is_refused() {
    let (peer, world) = hostile().await;
    let mut request = Request::new(Method::GET, "/honest");
    request.headers.insert("x_signature", HeaderValue::from_static("mine"));
    assert!(matches!(world.send(request).await.unwrap_err(), EgressError::Denied { rule: "header", .. }));
    assert!(matches!(world.get("/honest?sig=mine").await.unwrap_err(), EgressError::Denied { rule: "query", .. }));
    assert_eq!(peer.connections(), 0);
    assert_eq!(world.get("/honest").await.unwrap().status, 200);
}

/// Every way out that a hook has: its sentence, places that it may not fill, a trap, and what it cannot hold.
#[tokio::test]
async fn a_hook_that_reveals_or_misplaces_a_secret_sends_nothing_and_says_nothing() {
    let (peer, world) = hostile().await;
    for (what, word) in [
        ("confess", "found: "),
        ("debug", "cannot sign"),
        ("elsewhere", "a header that its rule does not name"),
        ("host", "a header that its rule does not name"),
        ("wrong-kind", "a header that its rule does not name"),
        ("query", "a query field that its rule does not name"),
        ("twice", "the header `X-Signature` twice"),
        ("line-break", "visible ASCII"),
        ("bytes", "visible ASCII"),
        ("unsigned", "without any token"),
        ("no-token", "without any token"),
        ("long", "more than 8192 bytes"),
        ("oracle", "not so encoded"),
        ("loop", "ms of CPU time"),
        ("memory", "bytes of memory"),
        ("handles", "more handles"),
        ("bomb", "more pieces"),
        ("recursion", "stopped with"),
        ("panic", "stopped with"),
    ] {
        let error = world.get(&format!("/{what}")).await.expect_err(what);
        let shown = format!("{error} {error:?} {:?}", error.fix());
        assert!(error.to_string().contains(word), "{what}: {error}");
        for form in [CANARY, "canary", "63616e617279", "Y2FuYXJ5"] {
            assert!(!shown.contains(form), "{what}: {shown}");
        }
    }
    assert_eq!(peer.connections(), 0, "nothing was sent");
    let lines = format!("{:?}", world.audit.lines());
    assert!(!lines.contains("canary"), "{lines}");
    // Those before it harmed nobody.
    assert_eq!(world.get("/honest").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_search_of_its_memory_finds_what_is_there() {
    // The same search, where the word stands in the path, which the hook does see: so it is no search that cannot find.
    let (_, world) = hostile().await;
    let error = world.get("/canary-path/confess").await.unwrap_err();
    assert!(error.to_string().contains("canary-path"), "{error}");
}

#[tokio::test]
async fn nothing_outlives_a_call() {
    let (peer, world) = hostile().await;
    for _ in 0..3 {
        assert_eq!(world.get("/keep").await.unwrap().status, 200);
    }
    let requests = peer.requests();
    let signature = |request: &String| request.lines().find(|line| line.starts_with("x-signature")).unwrap().to_owned();
    assert_eq!(signature(&requests[0]), signature(&requests[2]));
}

#[tokio::test]
async fn a_raw_secret_goes_only_where_the_rule_says_and_is_scrubbed_from_an_echo() {
    let (peer, world) = hostile().await;
    let body = String::from_utf8(world.body("/raw").await.unwrap()).unwrap();
    assert!(peer.requests()[0].contains(&format!("x-signature: {CANARY}")));
    assert!(body.contains("x-signature: [redacted]") && !body.contains("canary"), "{body}");
}

#[tokio::test]
async fn a_value_cannot_leave_its_query_field() {
    let (peer, world) = hostile().await;
    assert_eq!(world.get("/second-field?a=1").await.unwrap().status, 200);
    let line = peer.requests()[0].lines().next().unwrap().to_owned();
    assert!(line.starts_with("GET /second-field?a=1&sig="), "{line}");
    assert!(line.contains("%26admin%3Dtrue%23 HTTP/1.1"), "{line}");
}

#[tokio::test]
async fn a_hook_is_not_shown_what_other_rules_injected() {
    let (peer, world) = hostile().await;
    let mut account = super::super::tests::world::copy(&world.tokens_now());
    let set = &mut Arc::make_mut(&mut account.declaration).methods[0].rule_sets[0];
    set.rules.push(Rule::Header(NamedTemplate { name: "x-key".into(), value: vec![text("Key "), token("key", &[])] }));
    world.tokens.replace(account);
    // The hook's memory, searched by itself, holds the request's headers and not this one.
    let error = world.get("/confess").await.unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    assert_eq!(world.get("/honest").await.unwrap().status, 200);
    assert!(peer.requests()[0].contains(&format!("x-key: Key {CANARY}")));
}

#[test]
fn a_composed_app_passes_inspection_and_imports_only_handles() {
    let bytes = composed("signing_hook");
    assert_eq!(inspect::inspect(&bytes), Ok(vec![compose::SIGNING]));
    assert_eq!(bytes, composed("signing_hook"), "always the same");
    let declared = crate::wasm::Apps::new(None).unwrap().declare(&bytes).unwrap();
    assert_eq!(declared["slug"], "acme");
    // A step is no hook.
    let declaration = image::component(&app("header.A = \"{key}\"")).unwrap();
    let error = compose::compose(&declaration, &fixtures::guest("demo_step")).unwrap_err();
    assert_eq!(error.code(), "hooks_import");
}

#[test]
fn other_code_is_a_change_that_asks_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("apps")).unwrap();
    let apps = crate::wasm::Apps::new(None).unwrap();
    let install =
        |component: &[u8]| catalog.install(component, &apps, Terms { accept: true, from: None }).unwrap().changes;
    assert!(install(&composed("signing_hook")).is_empty());
    // Another summary, the same code.
    let mut renamed = app("sign.hook = { headers = [\"X-Signature\"] }");
    renamed.summary = "Another example.".into();
    let declaration = image::component(&renamed).unwrap();
    let parts = |changes: Vec<crate::app::Difference>| {
        changes.into_iter().map(|change| (change.part, change.widens)).collect::<Vec<_>>()
    };
    let same_code = compose::compose(&declaration, &fixtures::guest("signing_hook")).unwrap();
    assert_eq!(parts(install(&same_code)), [("summary".to_owned(), false)]);
    let other_code = compose::compose(&declaration, &fixtures::guest("hostile_hook")).unwrap();
    assert_eq!(parts(install(&other_code)), [("hooks".to_owned(), true)]);
    // And both stay there for the accounts that pinned them.
    let current = catalog.current("acme").unwrap();
    assert_eq!(catalog.component(&current.hash).unwrap(), other_code);
}

#[test]
fn what_the_declaration_calls_for_and_what_is_there_must_agree() {
    let apps = crate::wasm::Apps::new(None).unwrap();
    let error = |bytes: &[u8]| crate::app::declared(bytes, &apps).unwrap_err();
    let wanting = image::component(&app("sign.hook = { query = [\"sig\"] }")).unwrap();
    assert_eq!(error(&wanting).code(), "app_hook_missing");
    let plain = image::component(&app("header.A = \"{key}\"")).unwrap();
    let unused = compose::compose(&plain, &fixtures::guest("signing_hook")).unwrap();
    assert_eq!(error(&unused).code(), "app_hook_unused");
    assert!(crate::app::declared(&composed("signing_hook"), &apps).is_ok());
}

/// A login whose reply and whose identity are read by the hostile guest.
fn reading() -> Hooks {
    let text = "slug = \"acme\"\nname = \"Acme\"\nsummary = \"An example.\"\nbase = \"https://api.acme.example\"\n\
                evidence = { level = \"facts\", date = \"2026-11-23\", source = \"a test\" }\n\
                test = { path = \"/me\", identity-hook = true }\n[methods.login]\nreply-hook = true\ntokens.key = {}\n\
                tokens.session = { access = \"/access_token\", refresh = false }\nheader.X-Session = \"{session}\"\n\
                exchange.calls = [{ url = \"https://api.acme.example/login\", form.key = \"{key}\" }]\n";
    let app = source::parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let bytes = compose::compose(&image::component(&app).unwrap(), &fixtures::guest("hostile_reply")).unwrap();
    Hooks::new(Arc::new(Guest { bytes, asked: AtomicUsize::new(0) }), None)
}

#[tokio::test]
async fn a_hook_that_reads_replies_tells_nobody_what_it_read() {
    let hooks = reading();
    let read = async |what: u32| {
        let body = serde_json::json!({ "what": what, "token": CANARY }).to_string().into_bytes();
        hooks.read_reply("acme", "v1", 200, &HeaderMap::new(), Zeroizing::new(body)).await
    };
    for (what, word) in [
        (1, "found: "),
        (2, "failed: "),
        (3, "more than 16 fields"),
        (4, "one twice"),
        (5, "a sound name"),
        (6, "would be no text"),
        (7, "ms of CPU time"),
        (8, "what is not there"),
        (9, "stopped with"),
        (10, "cuts what is no reply"),
    ] {
        let error = read(what).await.expect_err(word);
        let shown = format!("{error} {error:?} {:?}", error.fix());
        assert!(error.to_string().contains(word), "{what}: {error}");
        for form in [CANARY, "canary", "63616e617279", "Y2FuYXJ5"] {
            assert!(!shown.contains(form), "{what}: {shown}");
        }
    }
    let body = read(0).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "access_token": CANARY, "expires_in": "60" }));
}

#[tokio::test]
async fn a_hook_says_whose_an_account_is_on_one_line() {
    let hooks = reading();
    let inputs = std::collections::BTreeMap::from([("site".to_owned(), "s1".to_owned())]);
    let identify = async |body: &str| hooks.identify("acme", "v1", 200, body.as_bytes(), &inputs).await;
    let who = identify("Ada").await.unwrap();
    assert_eq!((who.id.as_deref(), who.label.as_deref()), (Some("s1"), Some("Ada")));
    let error = identify("no").await.unwrap_err();
    assert!(error.to_string().ends_with("failed: nobodyis here"), "{error}");
    assert!(identify("loop").await.unwrap_err().to_string().contains("ms of CPU time"));
}
