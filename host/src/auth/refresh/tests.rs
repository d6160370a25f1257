//! The refresh protocol against a server that kills the grant when a refresh token is used twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::auth::client::NewClient;
use crate::auth::record::{Held, Identity, Record};
use crate::auth::rows::{head_key, sealed_key};
use crate::auth::testing::{self, ClockStore, Fault, StrictServer, TestApps};
use crate::caller::Owner;
use crate::store::{Expect, Op, Store};
use crate::vault::Secret;

const HOUR: Duration = Duration::from_secs(3600);

struct Setup {
    store: Arc<ClockStore>,
    rows: Rows,
    server: Arc<StrictServer>,
    apps: Arc<TestApps>,
    grant: Grant,
    auth: Arc<Auth>,
}

impl Setup {
    async fn new(rotation: &str) -> Self {
        Self::with_declared(rotation, "").await
    }

    async fn with_declared(rotation: &str, oauth: &str) -> Self {
        let store = ClockStore::new();
        let rows = testing::rows_on(store.clone());
        let app = testing::app_with("https://as.example", rotation, oauth);
        let server = StrictServer::new("rt-0");
        let new = NewClient { client_id: "id".into(), secret: Some(Secret::new(b"s3cret".to_vec())) };
        let client = rows.set_client(&Owner::local(), &app, &app.methods[0], new, testing::NO_INPUTS).await.unwrap().id;
        let apps = TestApps::of(std::slice::from_ref(&app));
        let now = rows.now();
        let held = Held {
            value: Secret::new(b"at-0".to_vec()),
            refresh: Some(Secret::new(b"rt-0".to_vec())),
            expires_at: Some(now.plus(HOUR)),
            lifetime_s: Some(3600),
            scopes: vec!["read".into()],
            again: false,
        };
        let record = Record {
            id: AccountId::new(),
            owner: Owner::local(),
            app: "as".into(),
            nickname: "ada".into(),
            declaration: testing::pinned(&app).hash,
            method: "oauth".into(),
            inputs: BTreeMap::new(),
            origins: vec!["https://as.example".into()],
            client: Some(client),
            client_id: Some("id".into()),
            redirect_uri: None,
            identity: Identity::default(),
            tokens: BTreeMap::from([("access_token".to_owned(), held)]),
            secrets: 1,
            obtained_at: now,
            created_at: now,
            previous: vec![],
            raw_reply: None,
            health: Health::Ok,
            checked_at: None,
            asked: Default::default(),
            disabled: false,
        };
        rows.commit(rows.put_account(&record, 0).unwrap()).await.unwrap();
        let grant = Grant::whole(Caller::local(), record.id);
        let auth = Arc::new(Auth::new(rows.clone(), apps.clone(), server.clone()));
        Self { store, rows, server, apps, grant, auth }
    }

    /// Another process on the same store.
    fn other(&self) -> Arc<Auth> {
        Arc::new(Auth::new(self.rows.clone(), self.apps.clone(), self.server.clone()))
    }

    async fn record(&self) -> Record {
        self.rows.account(&Owner::local(), &self.grant.account).await.unwrap().unwrap().value
    }

    async fn turn(&self) -> turn::Turn {
        self.rows.turn(&Owner::local(), &self.grant.account).await.unwrap().0
    }

    /// Into the margin before the end of the token.
    fn make_due(&self) {
        self.store.advance(HOUR - Duration::from_secs(299));
    }

    fn make_over(&self) {
        self.store.advance(HOUR);
    }

    async fn live(&self) -> Result<String, TokensError> {
        self.auth.live(&self.grant).await.map(|live| token(&live))
    }

    fn calls(&self) -> u32 {
        self.server.state().calls
    }
}

fn token(live: &Live) -> String {
    String::from_utf8(live.tokens["access_token"].expose().to_vec()).unwrap()
}

#[tokio::test]
async fn a_token_is_refreshed_when_due_and_not_before() {
    let setup = Setup::new("strict").await;
    assert_eq!(setup.live().await.unwrap(), "at-0");
    assert_eq!(setup.calls(), 0);
    setup.make_due();
    assert_eq!(setup.live().await.unwrap(), "at-1");
    assert_eq!(setup.live().await.unwrap(), "at-1");
    assert_eq!(setup.calls(), 1);
    let record = setup.record().await;
    assert_eq!((record.secrets, record.tokens["access_token"].scopes.clone()), (2, vec!["read".to_owned()]));
    assert_eq!(record.previous[0].refresh.expose(), b"rt-0");
    assert!(record.raw_reply.is_some());
}

#[tokio::test]
async fn fifty_callers_of_two_processes_make_one_token_call() {
    let setup = Setup::new("strict").await;
    setup.make_over();
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().unwrap() = Some(gate.clone());
    let other = setup.other();
    let callers: Vec<_> = (0..50)
        .map(|index| {
            let (auth, grant) = (if index % 2 == 0 { setup.auth.clone() } else { other.clone() }, setup.grant.clone());
            tokio::spawn(async move { auth.live(&grant).await.map(|live| token(&live)) })
        })
        .collect();
    setup.server.arrived.notified().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "at-1");
    }
    assert_eq!(setup.calls(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_refresh() {
    let setup = Setup::new("strict").await;
    setup.make_over();
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().unwrap() = Some(gate.clone());
    let (auth, grant) = (setup.auth.clone(), setup.grant.clone());
    let caller = tokio::spawn(async move { auth.live(&grant).await.map(|_| ()) });
    setup.server.arrived.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.notify_one();
    setup.auth.drain().await;
    assert_eq!(setup.record().await.secrets, 2);
    assert_eq!(setup.live().await.unwrap(), "at-1");
    assert_eq!(setup.calls(), 1);
}

#[tokio::test]
async fn a_signal_forces_one_refresh_per_generation() {
    let setup = Setup::new("strict").await;
    let renewed = setup.auth.renew(&setup.grant, 1).await.unwrap();
    assert_eq!((token(&renewed), renewed.generation), ("at-1".to_owned(), 2));
    let again = setup.auth.renew(&setup.grant, 1).await.unwrap();
    assert_eq!(token(&again), "at-1", "the signal was about older secrets");
    assert_eq!(setup.calls(), 1);
}

#[tokio::test]
async fn an_old_refresh_token_stays_when_none_comes_back() {
    let setup = Setup::new("none").await;
    setup.server.state().keeps_refresh = true;
    for generation in 1..4 {
        setup.auth.renew(&setup.grant, generation).await.unwrap();
    }
    let record = setup.record().await;
    assert_eq!(record.tokens["access_token"].refresh.as_ref().unwrap().expose(), b"rt-0");
    assert_eq!(record.secrets, 4);
    assert!(record.previous.is_empty());
}

#[tokio::test]
async fn a_refused_grant_needs_a_person_and_says_so_without_asking_again() {
    let setup = Setup::new("strict").await;
    setup.server.state().refresh = None;
    setup.make_over();
    for _ in 0..3 {
        assert_eq!(setup.live().await.unwrap_err().code(), "needs_reconnect");
    }
    assert_eq!(setup.calls(), 1);
    let record = setup.record().await;
    assert!(matches!(record.health, Health::NeedsReconnect { reason, .. } if reason == "refused"));
    assert_eq!(record.tokens["access_token"].value.expose(), b"at-0", "nothing is thrown away");
}

#[tokio::test]
async fn a_refused_client_kills_no_account_and_rests_for_a_minute() {
    let setup = Setup::new("strict").await;
    setup.server.fault(Fault::Answer(401, r#"{"error":"invalid_client"}"#));
    setup.make_due();
    assert_eq!(setup.live().await.unwrap(), "at-0", "the old token still works");
    assert!(matches!(setup.record().await.health, Health::ClientRefused { .. }));
    assert_eq!(setup.live().await.unwrap(), "at-0");
    assert_eq!(setup.calls(), 1);
    setup.make_over();
    assert_eq!(setup.live().await.unwrap(), "at-1");
    assert_eq!(setup.record().await.health, Health::Ok, "a success clears a broken state");
}

#[tokio::test]
async fn a_client_stays_away_from_other_token_endpoints() {
    let setup = Setup::new("strict").await;
    let evil = testing::app_with("https://evil.example", "strict", "");
    let mut record = setup.record().await;
    record.declaration = testing::pinned(&evil).hash;
    record.origins = vec!["https://evil.example".into()];
    let from = setup.rows.account(&record.owner, &record.id).await.unwrap().unwrap().generation;
    setup.rows.commit(setup.rows.put_account(&record, from).unwrap()).await.unwrap();
    setup.make_over();
    let auth = Auth::new(setup.rows.clone(), TestApps::of(&[evil]), setup.server.clone());
    assert_eq!(auth.live(&setup.grant).await.unwrap_err().code(), "client_refused");
    assert_eq!(setup.calls(), 0);
}

#[tokio::test]
async fn an_outage_is_waited_out_on_the_old_token() {
    let setup = Setup::new("strict").await;
    for _ in 0..3 {
        setup.server.fault(Fault::NotSent);
    }
    setup.make_due();
    assert_eq!(setup.live().await.unwrap(), "at-0");
    assert_eq!(setup.calls(), 3, "nothing was sent, so trying again at once is safe");
    assert_eq!(setup.live().await.unwrap(), "at-0");
    assert_eq!(setup.calls(), 3, "now it cools down");
    assert_eq!(setup.turn().await.intent, None, "and nothing is uncertain");
    setup.make_over();
    assert_eq!(setup.live().await.unwrap(), "at-1");
}

#[tokio::test]
async fn html_and_server_errors_are_passing_troubles() {
    for (status, body) in [(500, "<html>"), (503, ""), (400, "<html>"), (200, r#"{"ok":true}"#)] {
        let setup = Setup::new("strict").await;
        setup.server.fault(Fault::Answer(status, body));
        setup.make_over();
        let error = setup.live().await.unwrap_err();
        assert_eq!(error.code(), "refresh_failed", "{status} {body}");
        assert!(!error.to_string().contains("<html>"), "{error}");
        setup.store.advance(HOUR);
        assert_eq!(setup.live().await.unwrap(), "at-1", "{status} {body}");
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_strict_server_is_told_as_a_lost_rotation() {
    let setup = Setup::new("strict").await;
    setup.server.fault(Fault::LostReply);
    setup.make_due();
    assert_eq!(setup.live().await.unwrap(), "at-0");
    // Long after the cool-down, and still not in danger: the old token is used and nothing is sent.
    setup.store.advance(Duration::from_secs(100));
    assert_eq!(setup.live().await.unwrap(), "at-0");
    assert_eq!(setup.calls(), 1);
    assert!(setup.turn().await.intent.is_some());
    // Nearly over: once more, because nothing is left to lose.
    setup.store.advance(Duration::from_secs(100));
    let error = setup.live().await.unwrap_err();
    assert_eq!(error.code(), "needs_reconnect");
    assert!(error.to_string().contains("lost_rotation"), "{error}");
    assert_eq!(setup.live().await.unwrap_err().code(), "needs_reconnect");
    assert_eq!(setup.calls(), 2);
}

#[tokio::test]
async fn a_lost_request_of_a_strict_server_costs_nothing() {
    let setup = Setup::new("strict").await;
    setup.server.fault(Fault::LostRequest);
    setup.make_due();
    assert_eq!(setup.live().await.unwrap(), "at-0");
    setup.make_over();
    assert_eq!(setup.live().await.unwrap(), "at-1");
    assert_eq!(setup.calls(), 2);
}

#[tokio::test]
async fn where_a_second_use_is_harmless_a_lost_answer_is_asked_for_again_at_once() {
    for rotation in ["none", "rotating", "grace"] {
        let setup = Setup::new(rotation).await;
        setup.server.state().keeps_refresh = true;
        setup.server.fault(Fault::LostReply);
        setup.make_due();
        assert_eq!(setup.live().await.unwrap(), "at-2", "{rotation}");
        assert_eq!(setup.calls(), 2);
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_answers_nobody_with_the_new_token() {
    let setup = Setup::new("strict").await;
    setup.make_over();
    // The lease still goes through, the answer does not.
    setup.store.commits_left.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(setup.live().await.unwrap_err().code(), "internal");
    setup.store.commits_left.store(-1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(setup.record().await.tokens["access_token"].value.expose(), b"at-0");
    assert!(setup.turn().await.intent.is_some(), "the next one knows that an answer was lost");
}

#[tokio::test]
async fn a_holder_that_died_is_replaced_when_its_lease_ends() {
    let setup = Setup::new("strict").await;
    setup.make_over();
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().unwrap() = Some(gate.clone());
    // A process that dies with its request on the wire: its task is dropped in the middle.
    let dying = setup.other();
    let (core, grant) = (dying.0.clone(), setup.grant.clone());
    let task = tokio::spawn(async move { core.refresh(&grant.caller, &grant.account, Why::Due).await });
    setup.server.arrived.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    *setup.server.gate.lock().unwrap() = None;
    let held = setup.turn().await;
    assert!(held.holder.is_some() && held.intent.is_some());
    setup.store.advance(turn::LEASE);
    // The server never acted, so the one more try that a dead token allows succeeds.
    assert_eq!(setup.live().await.unwrap(), "at-1");
    let turn = setup.turn().await;
    assert_eq!((turn.holder, turn.intent, turn.seq), (None, None, 2));
    assert_eq!(setup.calls(), 2);
}

#[tokio::test]
async fn a_holder_that_slept_through_its_lease_throws_no_tokens_away() {
    let setup = Setup::new("none").await;
    setup.server.state().keeps_refresh = true;
    setup.make_over();
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().unwrap() = Some(gate.clone());
    let (slow, grant) = (setup.other(), setup.grant.clone());
    let sleeper = tokio::spawn(async move { slow.live(&grant).await.map(|live| token(&live)) });
    setup.server.arrived.notified().await;
    *setup.server.gate.lock().unwrap() = None;
    setup.store.advance(turn::LEASE);
    assert_eq!(setup.live().await.unwrap(), "at-1");
    gate.notify_one();
    assert_eq!(sleeper.await.unwrap().unwrap(), "at-2");
    let record = setup.record().await;
    assert_eq!((record.secrets, record.health), (3, Health::Ok));
    assert_eq!(setup.turn().await.holder, None);
}

#[tokio::test]
async fn the_loser_of_a_race_uses_what_the_winner_stored() {
    let setup = Setup::new("strict").await;
    setup.make_over();
    setup.server.fault(Fault::Answer(400, r#"{"error":"invalid_grant"}"#));
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().unwrap() = Some(gate.clone());
    let (auth, grant) = (setup.auth.clone(), setup.grant.clone());
    let loser = tokio::spawn(async move { auth.live(&grant).await.map(|live| token(&live)) });
    setup.server.arrived.notified().await;
    *setup.server.gate.lock().unwrap() = None;
    setup.store.advance(turn::LEASE);
    // The winner's answer lands before the loser's refusal does.
    assert_eq!(setup.other().live(&setup.grant).await.map(|live| token(&live)).unwrap(), "at-1");
    gate.notify_one();
    assert_eq!(loser.await.unwrap().unwrap(), "at-1");
    assert_eq!(setup.record().await.health, Health::Ok);
}

#[tokio::test]
async fn a_key_has_nothing_to_refresh() {
    let setup = Setup::new("strict").await;
    let at = setup.rows.account(&Owner::local(), &setup.grant.account).await.unwrap().unwrap();
    let mut record = at.value;
    record.tokens.get_mut("access_token").unwrap().refresh = None;
    setup.rows.commit(setup.rows.put_account(&record, at.generation).unwrap()).await.unwrap();
    assert_eq!(setup.auth.renew(&setup.grant, 1).await.unwrap_err().code(), "not_renewable");
    assert!(matches!(setup.record().await.health, Health::NeedsReconnect { reason, .. } if reason == "expired"));
    assert_eq!(setup.live().await.unwrap(), "at-0", "one answer may be wrong: the key is still tried");
}

#[tokio::test]
async fn a_revoked_account_is_refused_unless_its_secrets_are_newer() {
    let setup = Setup::new("strict").await;
    setup.auth.renew(&setup.grant, 1).await.unwrap();
    setup.auth.revoked(&setup.grant, 1).await;
    assert_eq!(setup.record().await.health, Health::Ok);
    setup.auth.revoked(&setup.grant, 2).await;
    assert_eq!(setup.live().await.unwrap_err().code(), "needs_reconnect");
    assert_eq!(token(&setup.auth.live_anyway(&setup.grant).await.unwrap()), "at-1");
}

#[tokio::test]
async fn an_account_of_another_owner_is_not_there() {
    let setup = Setup::new("strict").await;
    let owner: Owner = serde_json::from_str("\"user:other\"").unwrap();
    let caller = Caller { owner, via: crate::caller::Via::Cli };
    let grant = Grant::whole(caller, setup.grant.account.clone());
    assert_eq!(setup.auth.live(&grant).await.unwrap_err().code(), "account_not_found");
}

#[tokio::test]
async fn swapped_rows_are_refused() {
    let setup = Setup::new("strict").await;
    let (owner, id) = (Owner::local(), setup.grant.account.clone());
    let sealed = setup.store.get(&sealed_key(&owner, &id)).await.unwrap().unwrap();
    let head = setup.store.get(&head_key(&owner, &id)).await.unwrap().unwrap();
    // Somebody who can write the database gives another account these secrets, or this account to another owner.
    let victim = AccountId::new();
    let stranger: Owner = serde_json::from_str("\"user:stranger\"").unwrap();
    let put = |key, row: &crate::store::Row| Op::Put { key, value: row.value.to_vec(), expect: Expect::Any };
    let swap = vec![
        put(sealed_key(&owner, &victim), &sealed),
        put(head_key(&owner, &victim), &head),
        put(sealed_key(&stranger, &id), &sealed),
        put(head_key(&stranger, &id), &head),
    ];
    setup.store.commit(swap).await.unwrap();
    let caller = Caller { owner: stranger, via: crate::caller::Via::Cli };
    for grant in [Grant { account: victim, ..setup.grant.clone() }, Grant::whole(caller, id)] {
        let error = setup.auth.live(&grant).await.unwrap_err().to_string();
        assert!(error.contains("changed outside Deputy, or belongs to another place"), "{error}");
    }
}

#[tokio::test]
async fn a_declaration_that_leads_elsewhere_is_refused() {
    let setup = Setup::new("strict").await;
    let mut moved = testing::pinned(&testing::app_with("https://evil.example", "strict", ""));
    moved.hash = testing::pinned(&testing::app()).hash;
    let auth = Auth::new(setup.rows.clone(), Arc::new(TestApps(vec![moved])), setup.server.clone());
    let error = auth.live(&setup.grant).await.unwrap_err().to_string();
    assert!(error.contains("leads to other hosts"), "{error}");
}

#[tokio::test]
async fn a_providers_own_code_can_mean_the_end() {
    let setup = Setup::with_declared("strict", "errors.token_gone = \"permanent\"").await;
    setup.server.fault(Fault::Answer(200, r#"{"ok":false,"error":"token_gone"}"#));
    setup.make_over();
    assert_eq!(setup.live().await.unwrap_err().code(), "needs_reconnect");
}
