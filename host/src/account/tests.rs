//! The account room over a store in memory, with a strict server at the end of the road.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::auth::rows::{name_key, plain};
use crate::auth::testing::{ClockStore, Fault, StrictServer, TestApps, app, shop};
use crate::caller::{Caller, Owner};
use crate::store::Expect;
use crate::vault::Secret;

struct Bench {
    store: Arc<ClockStore>,
    server: Arc<StrictServer>,
    accounts: Arc<Accounts>,
    caller: Caller,
}

fn bench() -> Bench {
    let store = ClockStore::new();
    let server = StrictServer::new("rt-0");
    let callback = Callback { listen: "127.0.0.1:7878".parse().unwrap(), public_url: None };
    let apps = TestApps::of(&[app(), shop()]);
    let accounts = Accounts::new(store.clone(), Arc::new(Vault::ephemeral()), apps, server.clone(), callback);
    Bench { store, server, accounts, caller: Caller::local() }
}

fn keys(nickname: Option<&str>) -> ConnectKeys {
    ConnectKeys {
        app: "as".to_owned(),
        app_hash: None,
        method: Some("token".to_owned()),
        nickname: nickname.map(str::to_owned),
        inputs: BTreeMap::new(),
        tokens: BTreeMap::from([("key".to_owned(), Secret::new(b"tk_abcdefgh".to_vec()))]),
        confirm_host: false,
        skip_check: false,
        again: None,
    }
}

impl Bench {
    async fn connect(&self, nickname: Option<&str>) -> Result<AccountView, AccountError> {
        Ok(self.accounts.connect_keys(&self.caller, keys(nickname)).await?.account)
    }

    /// Begins a flow, and answers it as the server would.
    async fn oauth(&self) -> Result<Connected, AccountError> {
        self.set_client().await;
        let begun = self.begin().await?;
        let answer = format!("{}?code=good&state={}", begun.redirect_uri, state_of(&begun));
        self.accounts.connect_finish(&self.caller, &begun.flow, &answer).await
    }

    async fn set_client(&self) {
        let app = app();
        let method = app.methods.iter().find(|method| method.id == "oauth").unwrap();
        let secret = Some(Secret::new(b"client-secret".to_vec()));
        let new = crate::auth::client::NewClient { client_id: "cid".to_owned(), secret };
        let inputs = BTreeMap::new();
        self.accounts.rows().set_client(&self.caller.owner, &app, method, new, &inputs).await.unwrap();
    }

    async fn begin(&self) -> Result<Begun, AccountError> {
        let connect = ConnectOAuth {
            app: "as".to_owned(),
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
        self.accounts.connect_begin(&self.caller, connect).await
    }
}

fn state_of(begun: &Begun) -> String {
    let url = url::Url::parse(&begun.authorize_url).unwrap();
    url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
}

#[tokio::test]
async fn two_accounts_of_one_identity_get_two_nicknames() {
    let bench = bench();
    assert_eq!(bench.connect(None).await.unwrap().name, "as/ada-l");
    assert_eq!(bench.connect(None).await.unwrap().name, "as/ada-l-2");
    let taken = bench.connect(Some("ada-l")).await.unwrap_err();
    assert_eq!(taken.code(), "nickname_taken");
}

#[tokio::test]
async fn nothing_chooses_between_two_accounts() {
    let bench = bench();
    let one = bench.connect(Some("one")).await.unwrap();
    assert_eq!(bench.accounts.show(&bench.caller, "as").await.unwrap().id, one.id);
    bench.connect(Some("two")).await.unwrap();
    let error = bench.accounts.show(&bench.caller, "as").await.unwrap_err();
    assert_eq!(
        (error.code(), error.candidates()),
        ("account_ambiguous", vec!["as/one".to_owned(), "as/two".to_owned()])
    );
    let guess = bench.accounts.show(&bench.caller, "as/ome").await.unwrap_err();
    assert_eq!(guess.fix().unwrap(), "did you mean as/one?");
    assert_eq!(bench.accounts.show(&bench.caller, one.id.as_str()).await.unwrap().name, "as/one");
}

#[tokio::test]
async fn an_index_row_that_leads_to_another_account_is_not_followed() {
    let bench = bench();
    bench.connect(Some("mine")).await.unwrap();
    let other = bench.connect(Some("other")).await.unwrap();
    let redirected = plain(name_key(&Owner::local(), "as", "mine"), &other.id, Expect::Any).unwrap();
    bench.store.commit(vec![redirected]).await.unwrap();
    let error = bench.accounts.show(&bench.caller, "as/mine").await.unwrap_err();
    assert_eq!(error.code(), "account_moved");
}

#[tokio::test]
async fn a_renamed_account_is_found_by_its_new_name_only() {
    let bench = bench();
    bench.connect(Some("old")).await.unwrap();
    bench.connect(Some("other")).await.unwrap();
    assert_eq!(bench.accounts.rename(&bench.caller, "as/old", "new").await.unwrap().name, "as/new");
    assert_eq!(bench.accounts.show(&bench.caller, "as/old").await.unwrap_err().code(), "account_not_found");
    assert_eq!(bench.accounts.rename(&bench.caller, "as/new", "other").await.unwrap_err().code(), "nickname_taken");
    assert_eq!(bench.accounts.rename(&bench.caller, "as/new", "A b").await.unwrap_err().code(), "nickname_invalid");
    assert_eq!(bench.accounts.rename(&bench.caller, "as/new", "new").await.unwrap().name, "as/new");
}

#[tokio::test]
async fn a_list_reads_what_it_shows() {
    let bench = bench();
    for _ in 0..200 {
        bench.connect(None).await.unwrap();
    }
    let page = |app: Option<&str>, after: Option<String>| AccountList { app: app.map(str::to_owned), limit: 10, after };
    for app in [None, Some("as")] {
        let mut after = None;
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let before = bench.store.reads.load(Ordering::SeqCst);
            let list = bench.accounts.list(&bench.caller, page(app, after)).await.unwrap();
            let reads = bench.store.reads.load(Ordering::SeqCst) - before;
            assert!(reads <= 24, "{reads} reads for a page of 10");
            assert_eq!(list.total, 200);
            seen.extend(list.accounts.into_iter().map(|account| account.name));
            after = list.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 200);
    }
    let error = bench.accounts.list(&bench.caller, page(None, Some("nonsense".to_owned()))).await.unwrap_err();
    assert_eq!(error.code(), "cursor_invalid");
}

#[tokio::test]
async fn a_key_that_fails_its_test_is_not_stored() {
    let bench = bench();
    bench.server.state().probe = Some((401, r#"{"error":"bad"}"#));
    let error = bench.connect(None).await.unwrap_err();
    assert_eq!(error.code(), "test_failed");
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!(bench.accounts.count_of(&Owner::local(), "as").await.unwrap(), 0);
    let unchecked = ConnectKeys { skip_check: true, ..keys(None) };
    let connected = bench.accounts.connect_keys(&bench.caller, unchecked).await.unwrap();
    assert_eq!((connected.checked, connected.account.name.as_str()), (false, "as/default"));
}

#[tokio::test]
async fn an_oauth_account_is_stored_with_its_tokens_and_revoked_at_its_end() {
    let bench = bench();
    let connected = bench.oauth().await.unwrap();
    let view = connected.account;
    assert_eq!((view.name.as_str(), view.identity_id.as_deref()), ("as/ada-l", Some("7")));
    assert_eq!(view.scopes, ["read"]);
    assert!(view.tokens[0].refreshable && view.tokens[0].expires_at.is_some());
    let deleted = bench.accounts.delete(&bench.caller, "as/ada-l").await.unwrap();
    assert_eq!(deleted.note, "its tokens were revoked at Auth Server");
    assert_eq!(bench.server.state().revoked, ["rt-1", "at-1"]);
    assert_eq!(bench.accounts.show(&bench.caller, "as").await.unwrap_err().code(), "account_not_found");
    assert_eq!(bench.accounts.count_of(&Owner::local(), "as").await.unwrap(), 0);
}

#[tokio::test]
async fn a_grant_that_fails_its_test_does_not_stay_behind_at_the_provider() {
    let bench = bench();
    bench.server.state().probe = Some((403, "{}"));
    let error = bench.oauth().await.unwrap_err();
    assert_eq!(error.code(), "test_failed");
    assert_eq!(bench.server.state().revoked, ["rt-1", "at-1"]);
}

#[tokio::test]
async fn an_answer_is_taken_once_and_a_foreign_one_never() {
    let bench = bench();
    bench.set_client().await;
    let begun = bench.begin().await.unwrap();
    let other = bench.begin().await.unwrap();
    let finish = |answer: String| {
        let (accounts, caller, flow) = (bench.accounts.clone(), bench.caller.clone(), begun.flow.clone());
        async move { accounts.connect_finish(&caller, &flow, &answer).await }
    };
    let url = |code: &str, state: &str| format!("{}?code={code}&state={state}", begun.redirect_uri);
    for foreign in [url("good", "x"), url("good", &state_of(&other)), format!("{}?code=good", begun.redirect_uri)] {
        let error = finish(foreign).await.unwrap_err();
        assert!(["state_unknown", "callback_malformed"].contains(&error.code()), "{error}");
    }
    assert_eq!(bench.server.state().calls, 0);
    assert_eq!(finish(url("good", &state_of(&begun))).await.unwrap().account.app, "as");
    assert_eq!(finish(url("good", &state_of(&begun))).await.unwrap_err().code(), "state_unknown");
    assert_eq!(bench.server.state().calls, 1);
}

#[tokio::test]
async fn a_code_whose_answer_was_lost_is_not_sent_again() {
    let bench = bench();
    bench.server.fault(Fault::LostReply);
    assert_eq!(bench.oauth().await.unwrap_err().code(), "exchange_failed");
    assert_eq!(bench.server.state().calls, 1);
}

#[tokio::test]
async fn without_a_client_the_redirect_uri_is_told() {
    let error = bench().begin().await.unwrap_err();
    assert_eq!(error.code(), "client_missing");
    assert!(error.fix().unwrap().contains("http://127.0.0.1:7878/oauth/callback/"), "{error:?}");
}

#[tokio::test]
async fn a_key_typed_for_one_version_goes_to_no_other() {
    let bench = bench();
    let other = ConnectKeys { app_hash: Some("of another version".to_owned()), ..keys(None) };
    assert_eq!(bench.accounts.connect_keys(&bench.caller, other).await.unwrap_err().code(), "app_changed");
}
