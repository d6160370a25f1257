//! What the account room does when things go wrong: refusals, damage, strangers, and two at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::*;
use crate::auth::client::NewClient;
use crate::auth::flow::{Again, FLOW_TTL};
use crate::auth::record::Health;
use crate::auth::rows::sealed_key;
use crate::auth::testing::{self, ClockStore, Fault, StrictServer, TestApps};
use crate::caller::{Caller, Owner, Via};
use crate::egress::Grant;
use crate::store::{Expect, Op};
use crate::vault::Secret;

struct World {
    store: Arc<ClockStore>,
    server: Arc<StrictServer>,
    accounts: Arc<Accounts>,
    caller: Caller,
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

impl World {
    fn new() -> Self {
        let store = ClockStore::new();
        let server = StrictServer::new("none yet");
        let apps = TestApps::of(&[testing::app(), testing::own(), testing::shop()]);
        let callback = Callback { listen: "127.0.0.1:0".parse().unwrap(), public_url: None };
        let vault = Arc::new(Vault::ephemeral());
        let accounts = Accounts::new(store.clone(), vault, apps, server.clone(), callback);
        Self { store, server, accounts, caller: Caller::local() }
    }

    async fn with_client() -> Self {
        let world = Self::new();
        let app = testing::app();
        let new = NewClient { client_id: "id".into(), secret: Some(secret("s3cret")) };
        let rows = world.accounts.rows();
        rows.set_client(&Owner::local(), &app, &app.methods[0], new, testing::NO_INPUTS).await.unwrap();
        world
    }

    fn keys(app: &str, key: &str) -> ConnectKeys {
        ConnectKeys {
            app: app.into(),
            app_hash: None,
            method: None,
            nickname: None,
            inputs: BTreeMap::new(),
            tokens: BTreeMap::from([("key".to_owned(), secret(key))]),
            confirm_host: false,
            skip_check: false,
            again: None,
        }
    }

    async fn connect(&self) -> Connected {
        self.accounts.connect_keys(&self.caller, Self::keys("as", "tk_abc")).await.unwrap()
    }

    async fn named(&self, nickname: &str) -> AccountView {
        let keys = ConnectKeys { nickname: Some(nickname.into()), ..Self::keys("as", "tk_abc") };
        self.accounts.connect_keys(&self.caller, keys).await.unwrap().account
    }

    async fn begin(&self) -> (Begun, String) {
        let begin = ConnectOAuth {
            app: "as".into(),
            app_hash: None,
            method: None,
            nickname: None,
            inputs: BTreeMap::new(),
            scopes: None,
            confirm_host: false,
            skip_check: false,
            add_scopes: Vec::new(),
            again: None,
        };
        let begun = self.accounts.connect_begin(&self.caller, begin).await.unwrap();
        let url = Url::parse(&begun.authorize_url).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        (begun, state)
    }

    async fn oauth(&self) -> Result<Connected, AccountError> {
        let (begun, state) = self.begin().await;
        let answer = format!("{}?code=good&state={state}", begun.redirect_uri);
        self.accounts.connect_finish(&self.caller, &begun.flow, &answer).await
    }

    async fn list(&self, app: Option<&str>, limit: usize, after: Option<String>) -> AccountsPage {
        let list = AccountList { app: app.map(str::to_owned), limit, after };
        self.accounts.list(&self.caller, list).await.unwrap()
    }

    async fn resolve(&self, name: &str) -> Result<crate::ids::AccountId, AccountError> {
        self.accounts.resolve(&self.caller, name).await
    }
}

fn names(page: &AccountsPage) -> Vec<&str> {
    page.accounts.iter().map(|account| account.name.as_str()).collect()
}

#[tokio::test]
async fn a_key_is_tested_named_and_stored() {
    let world = World::new();
    let connected = world.connect().await;
    assert_eq!((connected.account.name.as_str(), connected.checked), ("as/ada-l", true));
    assert_eq!(connected.account.identity.as_deref(), Some("Ada L."));
    assert_eq!(connected.account.origins, ["https://as.example"]);
    let again = world.connect().await;
    assert_eq!(again.account.name, "as/ada-l-2");
    assert!(again.note.unwrap().contains("as/ada-l is the same identity"));
    let shown = world.accounts.show(&world.caller, "as/ada-l").await.unwrap();
    assert!(shown.evidence.is_some() && shown.checked_at.is_some());
    assert!(!serde_json::to_string(&shown).unwrap().contains("tk_abc"));
}

#[tokio::test]
async fn a_key_that_fails_its_test_is_not_stored_unless_asked_for() {
    let world = World::new();
    world.server.state().probe = Some((401, "{}"));
    let refused = world.accounts.connect_keys(&world.caller, World::keys("as", "tk_abc")).await.unwrap_err();
    assert_eq!(refused.code(), "test_failed");
    assert!(refused.to_string().contains("401"), "{refused}");
    assert_eq!(world.list(None, 10, None).await.total, 0);
    let unchecked = ConnectKeys { skip_check: true, ..World::keys("as", "tk_abc") };
    let connected = world.accounts.connect_keys(&world.caller, unchecked).await.unwrap();
    assert_eq!((connected.account.name.as_str(), connected.checked), ("as/default", false));
}

#[tokio::test]
async fn a_host_of_the_owners_choice_must_be_confirmed() {
    let world = World::new();
    let keys = |confirm_host| ConnectKeys {
        inputs: BTreeMap::from([("base_url".to_owned(), "https://mine.example/v1".to_owned())]),
        confirm_host,
        ..World::keys("own", "k")
    };
    let refused = world.accounts.connect_keys(&world.caller, keys(false)).await.unwrap_err();
    assert_eq!(refused.code(), "host_unconfirmed");
    assert!(refused.to_string().contains("https://mine.example"), "{refused}");
    let connected = world.accounts.connect_keys(&world.caller, keys(true)).await.unwrap();
    assert_eq!(connected.account.origins, ["https://mine.example"]);
}

#[tokio::test]
async fn an_old_or_denied_answer_connects_nothing() {
    let world = World::with_client().await;
    let (begun, state) = world.begin().await;
    world.store.advance(FLOW_TTL);
    let late = world.accounts.connect_finish(&world.caller, &begun.flow, &format!("?code=good&state={state}")).await;
    assert_eq!(late.unwrap_err().code(), "state_expired");
    let (begun, state) = world.begin().await;
    let answer = format!("?error=access_denied&state={state}");
    let denied = world.accounts.connect_finish(&world.caller, &begun.flow, &answer).await;
    assert_eq!(denied.unwrap_err().code(), "connect_denied");
    assert_eq!(world.server.state().calls, 0);
}

#[tokio::test]
async fn a_refused_code_is_told_and_sent_once() {
    for (fault, code) in [
        (Fault::Answer(400, r#"{"error":"invalid_grant"}"#), "code_refused"),
        (Fault::Answer(401, r#"{"error":"invalid_client"}"#), "client_refused"),
        (Fault::Answer(200, "<html>"), "exchange_failed"),
        (Fault::Answer(200, r#"{"token_type":"bearer"}"#), "exchange_failed"),
        (Fault::LostReply, "exchange_failed"),
    ] {
        let world = World::with_client().await;
        world.server.fault(fault.clone());
        assert_eq!(world.oauth().await.unwrap_err().code(), code, "{fault:?}");
        assert_eq!(world.server.state().calls, 1, "{fault:?}");
        assert_eq!(world.list(None, 10, None).await.total, 0);
    }
}

#[tokio::test]
async fn a_grant_that_fails_its_test_does_not_stay_behind() {
    let world = World::with_client().await;
    world.server.state().probe = Some((403, "{}"));
    let refused = world.oauth().await.unwrap_err();
    assert_eq!(refused.code(), "test_failed");
    assert!(refused.to_string().contains("revoked"), "{refused}");
    assert_eq!(world.server.state().revoked, ["rt-1", "at-1"]);
    assert_eq!(world.list(None, 10, None).await.total, 0);
}

#[tokio::test]
async fn the_listener_waits_over_what_strangers_send() {
    let world = World::with_client().await;
    let listener = world.accounts.listen().await.unwrap();
    let address = listener.address();
    let (begun, state) = world.begin().await;
    assert!(begun.redirect_uri.starts_with(&format!("http://{address}/oauth/callback/")), "{}", begun.redirect_uri);
    let path = Url::parse(&begun.redirect_uri).unwrap().path().to_owned();
    let browser = tokio::spawn(async move {
        let mut pages = Vec::new();
        for target in [
            format!("{path}?code=good&state=forged"),
            format!("{path}?code=good"),
            format!("/oauth/callback/other?code=good&state={state}"),
            format!("{path}?code=good&state={state}"),
        ] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).await.unwrap();
            pages.push(page);
        }
        pages
    });
    let connected = world.accounts.connect_wait(&world.caller, listener, &begun.flow).await.unwrap();
    assert_eq!(connected.account.name, "as/ada-l");
    let pages = browser.await.unwrap();
    for page in &pages[..3] {
        assert!(page.starts_with("HTTP/1.1 400"), "{page}");
    }
    assert!(pages[3].starts_with("HTTP/1.1 200") && pages[3].contains("as/ada-l"), "{}", pages[3]);
}

#[tokio::test]
async fn a_name_means_one_account_or_none() {
    let world = World::new();
    let (work, home) = (world.named("work").await, world.named("home").await);
    assert_eq!(world.resolve("as/work").await.unwrap(), work.id);
    assert_eq!(world.resolve(home.id.as_str()).await.unwrap(), home.id);
    let ambiguous = world.resolve("as").await.unwrap_err();
    assert_eq!(
        (ambiguous.code(), ambiguous.candidates()),
        ("account_ambiguous", vec!["as/home".into(), "as/work".into()])
    );
    for (name, guess) in [("as/wrok", "as/work"), ("work", "as/work"), ("shop/home", "as/home")] {
        let error = world.resolve(name).await.unwrap_err();
        assert_eq!(
            (error.code(), error.fix()),
            ("account_not_found", Some(format!("did you mean {guess}?"))),
            "{name}"
        );
    }
    world.accounts.delete(&world.caller, "as/home").await.unwrap();
    assert_eq!(world.resolve("as").await.unwrap(), work.id);
    let owner: Owner = serde_json::from_str("\"user:other\"").unwrap();
    let stranger = Caller { owner, via: Via::Cli };
    for name in ["as", "as/work", work.id.as_str()] {
        let error = world.accounts.resolve(&stranger, name).await.unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("as/work")), ("account_not_found", name == "as/work"));
    }
}

#[tokio::test]
async fn an_account_is_renamed_and_keeps_its_id() {
    let world = World::new();
    let (work, _) = (world.named("work").await, world.named("home").await);
    for (nickname, code) in [("home", "nickname_taken"), ("Work", "nickname_invalid"), ("", "nickname_invalid")] {
        let refused = world.accounts.rename(&world.caller, "as/work", nickname).await.unwrap_err();
        assert_eq!(refused.code(), code, "{nickname}");
    }
    let renamed = world.accounts.rename(&world.caller, "as/work", "office").await.unwrap();
    assert_eq!((renamed.id.clone(), renamed.name.as_str()), (work.id, "as/office"));
    assert_eq!(world.resolve("as/office").await.unwrap(), renamed.id);
    assert_eq!(world.resolve("as/work").await.unwrap_err().code(), "account_not_found");
    assert_eq!(world.named("work").await.name, "as/work");
}

#[tokio::test]
async fn a_deleted_account_is_revoked_and_leaves_nothing() {
    let world = World::with_client().await;
    let connected = world.oauth().await.unwrap();
    let app = testing::app();
    let rows = world.accounts.rows();
    let busy = rows.remove_client(&Owner::local(), "as", &app.methods[0].id).await;
    assert_eq!(busy.map(|_| ()).unwrap_err().code(), "client_in_use");
    let deleted = world.accounts.delete(&world.caller, "as").await.unwrap();
    assert!(deleted.note.contains("revoked at"), "{}", deleted.note);
    assert_eq!(world.server.state().revoked, ["rt-1", "at-1"]);
    let page = world.list(None, 10, None).await;
    assert_eq!((page.total, page.accounts.len()), (0, 0));
    assert_eq!(world.resolve(connected.account.id.as_str()).await.unwrap_err().code(), "account_not_found");
    assert!(rows.remove_client(&Owner::local(), "as", &app.methods[0].id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_account_can_still_be_deleted() {
    let world = World::new();
    let work = world.named("work").await;
    let owner = Owner::local();
    let put = Op::Put { key: sealed_key(&owner, &work.id), value: b"noise".to_vec(), expect: Expect::Any };
    world.accounts.rows().commit(vec![put]).await.unwrap();
    assert!(world.accounts.show(&world.caller, "as/work").await.is_err());
    let deleted = world.accounts.delete(&world.caller, "as/work").await.unwrap();
    assert!(deleted.note.contains("not revoked"), "{}", deleted.note);
    assert_eq!(world.list(None, 10, None).await.total, 0);
    assert_eq!(world.named("work").await.name, "as/work");
}

#[tokio::test]
async fn a_test_proves_a_mark_wrong_and_notes_its_time() {
    let world = World::with_client().await;
    let account = world.oauth().await.unwrap().account;
    let grant = Grant::whole(world.caller.clone(), account.id.clone());
    world.accounts.tokens().revoked(&grant, 1).await;
    let shown = || world.accounts.show(&world.caller, "as");
    assert!(matches!(shown().await.unwrap().health, Health::NeedsReconnect { .. }));
    world.store.advance(Duration::from_secs(5));
    world.server.state().probe = Some((403, "{}"));
    assert_eq!(world.accounts.test(&world.caller, "as").await.unwrap_err().code(), "test_failed");
    let failed = shown().await.unwrap();
    assert!(failed.checked_at > account.checked_at && failed.health != Health::Ok);
    world.server.state().probe = None;
    assert_eq!(world.accounts.test(&world.caller, "as").await.unwrap().identity.as_deref(), Some("Ada L."));
    assert_eq!(shown().await.unwrap().health, Health::Ok);
    world.server.state().probe = Some((200, r#"{"id":8,"login":"Eve"}"#));
    let other = world.accounts.test(&world.caller, "as").await.unwrap_err();
    assert_eq!(other.code(), "identity_changed");
    assert_eq!(shown().await.unwrap().identity.as_deref(), Some("Ada L."));
}

#[tokio::test]
async fn pages_join_without_a_gap() {
    let world = World::new();
    for nickname in ["c", "a", "b", "e", "d"] {
        world.named(nickname).await;
    }
    for (app, order) in
        [(None, ["as/c", "as/a", "as/b", "as/e", "as/d"]), (Some("as"), ["as/a", "as/b", "as/c", "as/d", "as/e"])]
    {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = world.list(app, 2, after).await;
            seen.extend(names(&page).into_iter().map(str::to_owned));
            assert_eq!(page.total, 5);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, order);
    }
    let list = AccountList { app: None, limit: 2, after: Some("as/a".into()) };
    assert_eq!(world.accounts.list(&world.caller, list).await.unwrap_err().code(), "cursor_invalid");
}

#[tokio::test]
async fn two_connects_at_once_get_two_names() {
    let world = World::new();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (accounts, caller) = (world.accounts.clone(), world.caller.clone());
            tokio::spawn(async move { accounts.connect_keys(&caller, World::keys("as", "tk_abc")).await.unwrap() })
        })
        .collect();
    let mut found = Vec::new();
    for task in tasks {
        found.push(task.await.unwrap().account.name);
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 6);
    assert_eq!(world.list(None, 10, None).await.total, 6);
}

impl World {
    /// Connects an account anew by OAuth, with more scopes.
    async fn reconnect(
        &self,
        account: &AccountView,
        add: &[&str],
        other_identity: bool,
    ) -> Result<(Connected, Url), AccountError> {
        let again = Some(Again { account: account.id.clone(), other_identity });
        let begin = ConnectOAuth {
            app: "as".into(),
            app_hash: None,
            method: None,
            nickname: None,
            inputs: BTreeMap::new(),
            scopes: None,
            add_scopes: add.iter().map(|scope| (*scope).to_owned()).collect(),
            confirm_host: false,
            skip_check: false,
            again,
        };
        let begun = self.accounts.connect_begin(&self.caller, begin).await?;
        let url = Url::parse(&begun.authorize_url).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let answer = format!("{}?code=good&state={state}", begun.redirect_uri);
        Ok((self.accounts.connect_finish(&self.caller, &begun.flow, &answer).await?, url))
    }
}

fn scope_of(url: &Url) -> String {
    url.query_pairs().find(|(name, _)| name == "scope").map(|(_, scope)| scope.into_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_reconnect_keeps_the_account_and_asks_for_one_scope_more() {
    let world = World::with_client().await;
    let account = world.oauth().await.unwrap().account;
    let account = world.accounts.rename(&world.caller, "as", "work").await.map(|_| account).unwrap();
    let grant = Grant::whole(world.caller.clone(), account.id.clone());
    world.accounts.tokens().revoked(&grant, 1).await;
    let (again, url) = world.reconnect(&account, &["write"], false).await.unwrap();
    assert_eq!(scope_of(&url), "read write", "what it had, and the one that is added");
    assert_eq!((again.account.id.clone(), again.account.name.as_str()), (account.id.clone(), "as/work"));
    assert_eq!((again.account.health, again.account.created_at), (Health::Ok, account.created_at));
    assert_eq!(again.account.scopes, ["read", "write"]);
    let live = world.accounts.tokens().live(&grant).await.unwrap();
    assert_eq!((live.generation, live.tokens.len()), (2, 1));
    assert_eq!(world.list(None, 10, None).await.total, 1);
    // The next one builds on this one.
    let (_, url) = world.reconnect(&account, &[], false).await.unwrap();
    assert_eq!(scope_of(&url), "read write");
    let unknown = world.reconnect(&account, &["wirte"], false).await.unwrap_err();
    assert!(unknown.fix().unwrap().contains("write"), "{unknown}");
}

#[tokio::test]
async fn a_reconnect_by_somebody_else_is_refused_and_its_grant_ended() {
    let world = World::with_client().await;
    let account = world.oauth().await.unwrap().account;
    world.server.state().probe = Some((200, r#"{"id":8,"login":"Eve"}"#));
    let refused = world.reconnect(&account, &[], false).await.unwrap_err();
    assert!(refused.to_string().contains("Ada L.") && refused.to_string().contains("Eve"), "{refused}");
    assert!(refused.fix().unwrap().contains("--other-identity"));
    assert_eq!(world.server.state().revoked, ["rt-2", "at-2"], "what was not kept does not stay behind");
    let kept = world.accounts.show(&world.caller, "as").await.unwrap();
    assert_eq!(kept.identity.as_deref(), Some("Ada L."));
    let (taken, _) = world.reconnect(&account, &[], true).await.unwrap();
    assert_eq!((taken.account.identity.as_deref(), taken.account.id), (Some("Eve"), account.id));
}

#[tokio::test]
async fn a_refresh_under_way_cannot_undo_a_reconnect() {
    let world = World::with_client().await;
    let account = world.oauth().await.unwrap().account;
    let grant = Grant::whole(world.caller.clone(), account.id.clone());
    let gate = Arc::new(tokio::sync::Notify::new());
    *world.server.gate.lock().unwrap() = Some(gate.clone());
    // The call of the connect itself was counted as an arrival too.
    world.server.arrived.notified().await;
    let refreshing = tokio::spawn({
        let (tokens, grant) = (world.accounts.tokens(), grant.clone());
        async move { tokens.renew(&grant, 1).await.map(|live| live.generation) }
    });
    world.server.arrived.notified().await;
    *world.server.gate.lock().unwrap() = None;
    // The provider takes both: the old grant's refresh and the new consent.
    world.server.state().keeps_refresh = true;
    world.reconnect(&account, &[], false).await.unwrap();
    gate.notify_one();
    let _ = refreshing.await.unwrap();
    let live = world.accounts.tokens().live(&grant).await.unwrap();
    assert_eq!(live.generation, 2, "the refresh of the old secrets stored nothing");
}

#[tokio::test]
async fn a_key_is_replaced_in_place() {
    let world = World::new();
    let account = world.connect().await.account;
    let again = Some(Again { account: account.id.clone(), other_identity: false });
    let keys = ConnectKeys { again, ..World::keys("as", "tk_new") };
    let connected = world.accounts.connect_keys(&world.caller, keys).await.unwrap();
    assert_eq!((connected.account.id, connected.account.name), (account.id.clone(), account.name));
    let other = Some(Again { account: account.id, other_identity: false });
    let keys = ConnectKeys { again: other, ..World::keys("own", "tk_new") };
    assert_eq!(world.accounts.connect_keys(&world.caller, keys).await.unwrap_err().code(), "account_not_found");
}

#[tokio::test]
async fn nothing_is_sent_through_a_disabled_account() {
    let world = World::new();
    let account = world.connect().await.account;
    let grant = Grant::whole(world.caller.clone(), account.id.clone());
    assert!(world.accounts.set_disabled(&world.caller, "as", true).await.unwrap().disabled);
    let refused = world.accounts.tokens().live(&grant).await.unwrap_err();
    assert_eq!(refused.code(), "account_disabled");
    assert!(refused.fix().unwrap().contains("deputy account enable as/ada-l"));
    assert!(world.accounts.tokens().renew(&grant, 1).await.is_err());
    assert!(world.list(None, 10, None).await.accounts[0].disabled);
    world.accounts.set_disabled(&world.caller, "as", false).await.unwrap();
    assert!(world.accounts.tokens().live(&grant).await.is_ok());
}
