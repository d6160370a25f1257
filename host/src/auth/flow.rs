//! A connection that waits for its answer from the browser.
//!
//! Promises: a flow is answered once (it is deleted before the code is exchanged), by the state that only its own
//! authorize URL carried (compared in constant time, kept as a hash), at its own address, within ten minutes, and from
//! the declared issuer (RFC 9207). What a stranger sends changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use deputy_declaration::types::{App, Discovery, InputSource, OAuth2};
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::AuthError;
use super::errors::presentable;
use super::oauth2::Asked;
use super::rows::{At, Rows};
use crate::caller::Owner;
use crate::ids::{AccountId, ClientId, FlowId};
use crate::store::key;
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::vault::{Secret, sealed};

/// How long a flow waits.
pub const FLOW_TTL: Duration = Duration::from_secs(600);
/// How many old flows a new one looks at, to sweep them.
const SWEEP: usize = 20;

/// Everything that the answer will be held against, sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    pub id: FlowId,
    pub owner: Owner,
    /// SHA-256 of the state, in base64url.
    pub state_hash: String,
    #[serde(with = "sealed::option", default)]
    pub verifier: Option<Secret>,
    pub redirect_uri: String,
    pub issuer: Option<String>,
    pub app: String,
    pub declaration: String,
    pub method: String,
    pub client: ClientId,
    pub inputs: BTreeMap<String, String>,
    pub asked: Asked,
    pub nickname: Option<String>,
    pub skip_check: bool,
    /// The account that gets the tokens; none: a new one.
    #[serde(default)]
    pub again: Option<Again>,
    /// What the provider must say of an input: as the owner gave it, or as the account has it.
    #[serde(default)]
    pub expected: BTreeMap<String, String>,
    /// It waits at the token endpoint and not for a browser.
    #[serde(default)]
    pub device: Option<DeviceCode>,
    pub expires_at: Time,
}

/// What RFC 8628 gives instead of a callback.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCode {
    #[serde(with = "sealed::secret")]
    pub code: Secret,
    pub interval_s: u64,
}

/// An account that is connected anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    pub account: AccountId,
    /// Its owner knows that it will speak for somebody else.
    pub other_identity: bool,
}

/// The answer of an authorization server, as the browser brought it.
#[derive(Debug)]
pub struct Callback {
    pub state: String,
    pub outcome: Result<Secret, String>,
    pub issuer: Option<String>,
    /// The other fields that the app reads.
    pub fields: BTreeMap<String, String>,
}

/// Under which names an answer says what.
#[derive(Debug)]
pub struct Fields<'a> {
    pub code: &'a str,
    pub state: &'a str,
    /// What the app reads besides.
    pub others: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    pub fn of(app: &'a App, oauth2: &'a OAuth2) -> Self {
        let code = oauth2.callback_code.as_deref().unwrap_or("code");
        let state = super::oauth2::name_of(oauth2, "state").unwrap_or("state");
        let fields = app.inputs.iter().filter_map(|input| match &input.source {
            InputSource::Discovered(Discovery::Callback(field)) => Some(field.as_str()),
            _ => None,
        });
        // A code is no input.
        let others = fields.filter(|field| ![code, state, "error", "iss"].contains(field)).collect();
        Self { code, state, others }
    }
}

fn flow_key(owner: &Owner, id: &FlowId) -> Vec<u8> {
    key(&["flow", owner.as_str(), id.as_str()])
}

/// `{flow id}.{256 random bits}`: so the flow is found from the state alone.
pub fn new_state(id: &FlowId) -> Result<Secret, AuthError> {
    let mut random = [0_u8; 32];
    rand::fill(&mut random)
        .map_err(|_| AuthError::Internal("the operating system gives no random bytes".to_owned()))?;
    Ok(Secret::new(format!("{id}.{}", BASE64URL_NOPAD.encode(&random)).into_bytes()))
}

/// The hash under which a new state is kept.
pub fn hash_of(state: &Secret) -> String {
    hash_state(state.expose())
}

pub fn hash_state(state: &[u8]) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, state).as_ref())
}

/// The flow that a state names, before anything is known of its truth.
pub fn flow_of_state(state: &str) -> Option<FlowId> {
    state.split_once('.')?.0.parse().ok()
}

impl Callback {
    /// Reads the URL the browser ended on, or just its query. Each parameter may stand there once (RFC 6749 section
    /// 3.1).
    pub fn read(text: &str, redirect_uri: &str, fields: &Fields<'_>) -> Result<Self, AuthError> {
        let text = text.trim();
        let malformed = |reason| AuthError::CallbackMalformed { reason };
        if text.len() > 16 << 10 {
            return Err(malformed("it is longer than 16 KiB"));
        }
        let query = if text.contains("://") {
            let url = Url::parse(text).map_err(|_| malformed("it is no URL"))?;
            let expected = Url::parse(redirect_uri).map_err(|error| AuthError::Internal(error.to_string()))?;
            if (url.origin(), url.path()) != (expected.origin(), expected.path()) {
                return Err(AuthError::CallbackElsewhere { expected: redirect_uri.to_owned() });
            }
            url.query().unwrap_or_default().to_owned()
        } else {
            text.strip_prefix('?').unwrap_or(text).to_owned()
        };
        Self::from_query(&query, fields)
    }

    pub fn from_query(query: &str, fields: &Fields<'_>) -> Result<Self, AuthError> {
        let malformed = |reason| AuthError::CallbackMalformed { reason };
        let known = [fields.code, fields.state, "error", "iss"];
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let wanted = known.contains(&&*name) || fields.others.contains(&&*name);
            if wanted && found.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(malformed("a parameter stands there twice"));
            }
        }
        let state = found.remove(fields.state).ok_or_else(|| malformed("it has no `state`"))?;
        let issuer = found.remove("iss");
        let outcome = match (found.remove(fields.code), found.remove("error")) {
            (Some(_), Some(_)) => return Err(malformed("it has both `code` and `error`")),
            (_, Some(error)) => Err(error),
            (Some(code), None) => {
                Ok(Secret::entered(code.into_bytes()).map_err(|_| malformed("its `code` is not usable"))?)
            }
            (None, None) => return Err(malformed("it has neither `code` nor `error`")),
        };
        Ok(Self { state, outcome, issuer, fields: found })
    }
}

impl Flow {
    /// Whether this state is the one that was sent out. Takes as long for every wrong one.
    pub fn is_state(&self, state: &str) -> bool {
        verify_slices_are_equal(hash_state(state.as_bytes()).as_bytes(), self.state_hash.as_bytes()).is_ok()
    }

    /// The code, when the answer is from the declared issuer and says yes. The flow must have been taken first.
    pub fn code(&self, callback: Callback) -> Result<Secret, AuthError> {
        if let Some(expected) = &self.issuer
            && callback.issuer.as_deref() != Some(expected)
        {
            return Err(AuthError::Issuer { app: self.app.clone(), expected: expected.clone() });
        }
        callback.outcome.map_err(|error| match error.as_str() {
            "access_denied" => AuthError::Denied { app: self.app.clone() },
            code => AuthError::AuthorizeRefused { app: self.app.clone(), code: presentable(code, &[]) },
        })
    }
}

impl Rows {
    pub async fn put_flow(&self, flow: &Flow) -> Result<(), AuthError> {
        let (owner, id) = (&flow.owner, &flow.id);
        let sealed = self.seal(owner, "flow", id.as_str(), flow_key(owner, id), flow, 0)?;
        Ok(self.commit(vec![sealed]).await?)
    }

    pub async fn flow(&self, owner: &Owner, id: &FlowId) -> Result<Option<At<Flow>>, AuthError> {
        let flow = self.open::<Flow>(owner, "flow", id.as_str(), &flow_key(owner, id)).await?;
        Ok(flow.filter(|at| at.value.id == *id && at.value.owner == *owner))
    }

    /// Takes the flow that the state belongs to: from here on it is used up, whatever comes next. `expected`: the flow
    /// the caller is waiting for. A wrong state takes nothing.
    pub async fn take_flow(&self, owner: &Owner, expected: Option<&FlowId>, state: &str) -> Result<Flow, AuthError> {
        let id = flow_of_state(state).ok_or(AuthError::StateUnknown)?;
        if expected.is_some_and(|expected| *expected != id) {
            return Err(AuthError::StateUnknown);
        }
        let At { value: flow, generation } = self.flow(owner, &id).await?.ok_or(AuthError::StateUnknown)?;
        if !flow.is_state(state) {
            return Err(AuthError::StateUnknown);
        }
        let delete = Op::Delete { key: flow_key(owner, &id), expect: Expect::Generation(generation) };
        match self.commit(vec![delete]).await {
            Ok(()) => {}
            // Somebody else answered it in this moment.
            Err(error) if error.is_conflict() => return Err(AuthError::StateUnknown),
            Err(error) => return Err(error.into()),
        }
        if self.now() >= flow.expires_at {
            return Err(AuthError::StateExpired);
        }
        Ok(flow)
    }

    /// Takes a flow that waits at the token endpoint: it is over, for better or worse.
    pub async fn take_device_flow(&self, owner: &Owner, id: &FlowId) -> Result<Flow, AuthError> {
        let At { value: flow, generation } = self.flow(owner, id).await?.ok_or(AuthError::StateUnknown)?;
        if flow.device.is_none() {
            return Err(AuthError::StateUnknown);
        }
        let delete = Op::Delete { key: flow_key(owner, id), expect: Expect::Generation(generation) };
        match self.commit(vec![delete]).await {
            Ok(()) => Ok(flow),
            Err(error) if error.is_conflict() => Err(AuthError::StateUnknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes some of the flows that nobody answered. Ids sort by time, so the oldest come first.
    pub async fn sweep_flows(&self, owner: &Owner) -> Result<(), AuthError> {
        let now = self.now();
        for (key, row) in self.store.scan(&key(&["flow", owner.as_str()]), None, SWEEP).await? {
            let id = crate::store::parts(&key).and_then(|mut parts| parts.pop()).unwrap_or_default();
            // A row that does not open is of no use to anybody either.
            let over = match self.open_row::<Flow>(owner, "flow", &id, &row) {
                Ok(at) => now >= at.value.expires_at,
                Err(_) => true,
            };
            if over {
                let expect = Expect::Generation(row.generation);
                match self.commit(vec![Op::Delete { key: key.to_vec(), expect }]).await {
                    Err(error) if !error.is_conflict() => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const URI: &str = "http://127.0.0.1:7878/oauth/callback/ctx";

    fn flow(rows: &Rows, issuer: Option<&str>) -> (Flow, String) {
        let id = FlowId::new();
        let state = String::from_utf8(new_state(&id).unwrap().expose().to_vec()).unwrap();
        let flow = Flow {
            id,
            owner: Owner::local(),
            state_hash: hash_state(state.as_bytes()),
            verifier: None,
            redirect_uri: URI.into(),
            issuer: issuer.map(str::to_owned),
            app: "as".into(),
            declaration: "h".into(),
            method: "oauth".into(),
            client: ClientId::new(),
            inputs: BTreeMap::new(),
            asked: Asked::new(),
            nickname: None,
            skip_check: false,
            again: None,
            expected: BTreeMap::new(),
            device: None,
            expires_at: rows.now().plus(FLOW_TTL),
        };
        (flow, state)
    }

    #[tokio::test]
    async fn a_flow_is_answered_once_and_by_its_own_state() {
        let (rows, owner) = (testing::rows(), Owner::local());
        let (flow, state) = flow(&rows, None);
        let (id, other) = (flow.id.clone(), FlowId::new());
        rows.put_flow(&flow).await.unwrap();
        let take = |expected: Option<FlowId>, state: String| {
            let (rows, owner) = (rows.clone(), owner.clone());
            async move { rows.take_flow(&owner, expected.as_ref(), &state).await.map(|_| ()).map_err(|e| e.code()) }
        };
        let forged = format!("{id}.{}", "A".repeat(43));
        for (expected, foreign) in [
            (None, String::new()),
            (None, "nonsense".to_owned()),
            (None, forged),
            (None, format!("{state}A")),
            (None, format!("{other}.{}", state.split_once('.').unwrap().1)),
            (Some(other), state.clone()),
        ] {
            assert_eq!(take(expected, foreign.clone()).await, Err("state_unknown"), "{foreign}");
        }
        let stranger: Owner = serde_json::from_str("\"user:other\"").unwrap();
        assert_eq!(rows.take_flow(&stranger, None, &state).await.unwrap_err().code(), "state_unknown");
        assert_eq!(take(Some(id.clone()), state.clone()).await, Ok(()));
        assert_eq!(take(Some(id), state).await, Err("state_unknown"), "replayed");
    }

    #[tokio::test]
    async fn an_old_flow_is_refused_and_swept() {
        let store = testing::ClockStore::new();
        let rows = testing::rows_on(store.clone());
        let owner = Owner::local();
        let (late, state) = flow(&rows, None);
        let (swept, _) = flow(&rows, None);
        rows.put_flow(&late).await.unwrap();
        rows.put_flow(&swept).await.unwrap();
        store.advance(FLOW_TTL);
        assert_eq!(rows.take_flow(&owner, None, &state).await.unwrap_err().code(), "state_expired");
        rows.sweep_flows(&owner).await.unwrap();
        assert!(rows.flow(&owner, &swept.id).await.unwrap().is_none());
    }

    fn fields() -> Fields<'static> {
        Fields { code: "code", state: "state", others: vec!["realmId"] }
    }

    #[test]
    fn an_answer_under_other_names() {
        let fields = Fields { code: "spapi_oauth_code", state: "context", others: vec!["realmId"] };
        let read = |query: &str| Callback::from_query(query, &fields).map_err(|error| error.code());
        let callback = read("spapi_oauth_code=c&context=s&realmId=9&other=1").unwrap();
        assert_eq!((callback.state.as_str(), callback.outcome.unwrap().expose()), ("s", &b"c"[..]));
        assert_eq!(callback.fields, BTreeMap::from([("realmId".to_owned(), "9".to_owned())]));
        for bad in ["code=c&state=s", "spapi_oauth_code=c&context=s&realmId=9&realmId=8"] {
            assert_eq!(read(bad).map(|_| ()), Err("callback_malformed"), "{bad}");
        }
    }

    #[test]
    fn a_callback_is_read_strictly() {
        let read =
            |text: &str| Callback::read(text, URI, &fields()).map(|callback| callback.state).map_err(|e| e.code());
        for good in
            ["?code=c&state=s", "code=c&state=s", "http://127.0.0.1:7878/oauth/callback/ctx?code=c&state=s&x=1#f"]
        {
            assert_eq!(read(good), Ok("s".into()), "{good}");
        }
        for (bad, code) in [
            ("", "callback_malformed"),
            ("?code=c", "callback_malformed"),
            ("?state=s", "callback_malformed"),
            ("?state=s&code=a&code=b", "callback_malformed"),
            ("?state=s&state=s&code=a", "callback_malformed"),
            ("?state=s&code=a&error=b", "callback_malformed"),
            ("?state=s&code=a%0ab", "callback_malformed"),
            ("http://127.0.0.1:7878/oauth/callback/other?code=c&state=s", "callback_elsewhere"),
            ("https://127.0.0.1:7878/oauth/callback/ctx?code=c&state=s", "callback_elsewhere"),
            ("http://evil.example/oauth/callback/ctx?code=c&state=s", "callback_elsewhere"),
        ] {
            assert_eq!(read(bad), Err(code), "{bad}");
        }
    }

    #[test]
    fn the_issuer_must_be_the_declared_one() {
        let rows = testing::rows();
        let (flow, _) = flow(&rows, Some("https://as.example"));
        let code =
            |query: &str| flow.code(Callback::from_query(query, &fields()).unwrap()).map(|_| ()).map_err(|e| e.code());
        assert_eq!(code("state=s&code=c&iss=https%3A%2F%2Fas.example"), Ok(()));
        assert_eq!(code("state=s&code=c&iss=https%3A%2F%2Fevil.example"), Err("issuer_mismatch"));
        assert_eq!(code("state=s&code=c"), Err("issuer_mismatch"));
        assert_eq!(code("state=s&error=access_denied&iss=https%3A%2F%2Fas.example"), Err("connect_denied"));
        assert_eq!(code("state=s&error=invalid_scope&iss=https%3A%2F%2Fas.example"), Err("authorize_refused"));
    }
}
