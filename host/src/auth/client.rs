//! OAuth client registrations: one current client per owner, app and method, sealed.
//!
//! Promises: a client secret goes only to the token endpoints it was registered for, and the tokens it obtains only to
//! the origins declared then, so a later declaration with the same slug inherits nothing; the redirect URI of a client
//! never changes, whatever its id and secret become. A client that was replaced stays for the accounts that were made
//! with it.

use aws_lc_rs::digest::{SHA256, digest};
use deputy_declaration::nearest;
use deputy_declaration::template::{self, check_input};
use deputy_declaration::types::{
    App, AuthMethod, ClientAuth, InputKind, InputSource, OAuth2, Part, Redirect, Template,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::apps::oauth2_of;
use super::error::AuthError;
use super::oauth2::ClientCredentials;
use super::rows::{At, Rows, client_count_key, plain, read_plain};
use crate::caller::Owner;
use crate::config::Callback;
use crate::ids::ClientId;
use crate::store::key;
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::vault::{Secret, sealed};

/// A redirect URI, and whether the provider takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    pub uri: String,
    /// What a person must know before registering it.
    pub warning: Option<String>,
    /// Nobody can listen there: the answer must be pasted.
    pub paste_only: bool,
}

/// A registration, sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub id: ClientId,
    pub owner: Owner,
    pub app: String,
    pub method: String,
    pub client_id: String,
    #[serde(with = "sealed::option", default)]
    secret: Option<Secret>,
    /// The endpoints it was registered for: see [`endpoints`].
    endpoints: Vec<String>,
    /// What the operator gave for all accounts of the client.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    pub created_at: Time,
}

impl Client {
    /// The credentials, for the endpoints of this declaration and these inputs alone.
    pub fn for_endpoints(
        &self,
        app: &App,
        method: &AuthMethod,
        inputs: &BTreeMap<String, String>,
    ) -> Result<ClientCredentials<'_>, AuthError> {
        let wanted = endpoints(app, method, inputs)?;
        if self.app != app.slug || self.method != method.id || wanted.iter().any(|one| !self.endpoints.contains(one)) {
            return Err(AuthError::ClientElsewhere { app: app.slug.clone() });
        }
        Ok(ClientCredentials { id: &self.client_id, secret: self.secret.as_ref() })
    }
}

/// What a client is registered for: where its tokens may go, and each place its secret goes to as declared, or, where
/// an owner's base URL decides the host, the URL itself.
fn endpoints(app: &App, method: &AuthMethod, inputs: &BTreeMap<String, String>) -> Result<Vec<String>, AuthError> {
    let Some(oauth2) = oauth2_of(method) else { return Ok(Vec::new()) };
    let declared = [
        ("token-url", Some(&oauth2.token_url)),
        ("refresh-url", oauth2.refresh_url.as_ref()),
        ("revoke-url", oauth2.revoke_url.as_ref()),
        ("device-url", oauth2.device_url.as_ref()),
    ];
    // Tokens that this client obtains go where these say.
    let mut endpoints = vec![format!("base {}", written(&app.base)?), format!("rules {}", written(&method.rule_sets)?)];
    for origin in &app.reach.origins {
        endpoints.push(format!("origin {}", written(origin)?));
    }
    for (place, template) in declared {
        let Some(template) = template else { continue };
        endpoints.push(if is_pinned(app, template) {
            template::url(app, template, inputs, place)?.to_string()
        } else {
            written(template)?
        });
    }
    for (place, calls) in [("then", &oauth2.then), ("refresh", &oauth2.refresh), ("revoke", &method.revoke)] {
        for call in calls {
            endpoints.push(format!("{place} {}", written(call)?));
            if is_pinned(app, &call.url) {
                endpoints.push(template::url(app, &call.url, inputs, place)?.to_string());
            }
        }
    }
    // Where a declared list decides the host, the list is the fact.
    for input in app.inputs.iter().filter(|input| mentions(app, method, &input.name)) {
        for (what, list) in [("hosts", &input.hosts), ("choices", &input.choices)] {
            if !list.is_empty() {
                endpoints.push(format!("{what} {} {}", input.name, list.join(" ")));
            }
        }
    }
    Ok(endpoints)
}

fn written(part: &impl Serialize) -> Result<String, AuthError> {
    serde_json::to_string(part).map_err(|error| AuthError::Internal(error.to_string()))
}

/// The owner alone decides the host.
fn is_pinned(app: &App, template: &Template) -> bool {
    template.iter().any(|part| match part {
        Part::Input(placeholder) => app
            .inputs
            .iter()
            .any(|input| input.name == placeholder.name && input.kind == InputKind::BaseUrl && input.hosts.is_empty()),
        Part::Text(_) | Part::Token(_) | Part::Host(_) => false,
    })
}

/// What an operator gives at `client set`, checked: the inputs of the client, which are kept, and a base URL of the
/// owner's choice where it decides where the secret goes.
fn given(
    app: &App,
    method: &AuthMethod,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, AuthError> {
    let known: Vec<_> = app
        .inputs
        .iter()
        .filter(|input| {
            input.source == InputSource::Client || (input.kind == InputKind::BaseUrl && input.hosts.is_empty())
        })
        .collect();
    for name in given.keys().filter(|name| !known.iter().any(|input| input.name == **name)) {
        if app.inputs.iter().any(|input| input.name == *name) {
            let reason = "each account has its own: it is given at connect".to_owned();
            return Err(AuthError::Input { name: name.clone(), reason });
        }
        let nearest = nearest(name, known.iter().map(|input| input.name.as_str())).map(str::to_owned);
        return Err(AuthError::InputUnknown { app: app.slug.clone(), name: name.clone(), nearest });
    }
    let mut checked = BTreeMap::new();
    for input in known {
        let wanted = input.source == InputSource::Client && mentions(app, method, &input.name);
        match given.get(&input.name).or(input.default.as_ref().filter(|_| wanted)) {
            Some(value) => {
                let value = check_input(input, value)
                    .map_err(|reason| AuthError::Input { name: input.name.clone(), reason })?;
                checked.insert(input.name.clone(), value);
            }
            None if wanted => {
                return Err(AuthError::InputMissing { name: input.name.clone(), label: input.label.clone() });
            }
            None => {}
        }
    }
    Ok(checked)
}

fn is_clients(app: &App, name: &str) -> bool {
    app.inputs.iter().any(|input| input.name == name && input.source == InputSource::Client)
}

/// Whether the app or the method names an input anywhere: in a URL, a call, a rule, or in the way another one is
/// found. Read from the written form, so that no place is forgotten.
pub fn mentions(app: &App, method: &AuthMethod, name: &str) -> bool {
    fn within(value: &Value, name: &str) -> bool {
        match value {
            Value::Array(values) => values.iter().any(|value| within(value, name)),
            Value::Object(fields) => fields.iter().any(|(key, value)| {
                let named = match key.as_str() {
                    "input" => value.as_str().or_else(|| value.get("name")?.as_str()),
                    "pinned" => value.as_str(),
                    _ => None,
                };
                named == Some(name) || within(value, name)
            }),
            _ => false,
        }
    }
    let sources: Vec<_> = app.inputs.iter().filter(|input| input.name != name).map(|input| &input.source).collect();
    // What cannot be written down is treated as named: then it is asked for.
    serde_json::to_value((&app.base, &app.reach, method, sources)).map_or(true, |value| within(&value, name))
}

/// The part of the callback path that tells the contexts of one host apart: the same for a client for ever, another
/// one for every owner, app and method.
pub fn context(rows: &Rows, owner: &Owner, app: &str, method: &str) -> String {
    let text = key(&["callback", rows.vault.store_id().as_str(), owner.as_str(), app, method]);
    let hash = digest(&SHA256, &text);
    data_encoding::BASE32_NOPAD.encode(&hash.as_ref()[..15]).to_lowercase()
}

pub fn redirect_uri(oauth2: &OAuth2, context: &str, config: &Callback) -> RedirectUri {
    let path = format!("oauth/callback/{context}");
    let with = |base: &str| format!("{}/{path}", base.trim_end_matches('/'));
    let told = |uri: String, paste_only, warning: Option<String>| RedirectUri { uri, warning, paste_only };
    match (&config.public_url, oauth2.redirect) {
        (Some(url), Redirect::HttpsOnly) if url.scheme() != "https" => {
            let warning = "the provider takes only https redirect URIs: give `public_url` an https address";
            told(with(url.as_str()), false, Some(warning.to_owned()))
        }
        (Some(url), _) => told(with(url.as_str()), false, None),
        (None, Redirect::HttpsOnly) => {
            let warning = "the provider takes only https redirect URIs, and nothing answers there: the browser will \
                           show an error page; connect with --paste and give its address, or set `public_url`";
            told(with(&format!("https://localhost:{}", config.listen.port())), true, Some(warning.to_owned()))
        }
        (None, Redirect::Loopback) if config.listen.port() == 0 => {
            let warning = "the provider wants one fixed port: set `listen` to one";
            told(with(&format!("http://{}", config.listen)), false, Some(warning.to_owned()))
        }
        (None, Redirect::Loopback | Redirect::LoopbackAnyPort) => {
            told(with(&format!("http://{}", config.listen)), false, None)
        }
    }
}

/// What to register.
pub struct NewClient {
    pub client_id: String,
    pub secret: Option<Secret>,
}

fn client_key(owner: &Owner, id: &ClientId) -> Vec<u8> {
    key(&["client", owner.as_str(), id.as_str()])
}

fn current_key(owner: &Owner, app: &str, method: &str) -> Vec<u8> {
    key(&["client-of", owner.as_str(), app, method])
}

impl Rows {
    pub async fn client(&self, owner: &Owner, id: &ClientId) -> Result<Option<At<Client>>, AuthError> {
        let client = self.open::<Client>(owner, "client", id.as_str(), &client_key(owner, id)).await?;
        match client {
            Some(at) if at.value.id != *id || at.value.owner != *owner => {
                Err(AuthError::Refused { id: id.to_string(), reason: "it belongs to another client" })
            }
            other => Ok(other),
        }
    }

    /// The client that new accounts use.
    pub async fn current_client(
        &self,
        owner: &Owner,
        app: &str,
        method: &str,
    ) -> Result<Option<At<Client>>, AuthError> {
        let Some(row) = self.store.get(&current_key(owner, app, method)).await? else { return Ok(None) };
        let id: ClientId = read_plain(&row)?;
        let Some(client) = self.client(owner, &id).await? else { return Ok(None) };
        if client.value.app != app || client.value.method != method {
            return Err(AuthError::Refused { id: id.to_string(), reason: "it is the client of another app" });
        }
        Ok(Some(client))
    }

    /// Registers a client. With the id of the current one, its secret and endpoints are renewed, and its accounts go
    /// on; with another id it becomes the current one beside the old one.
    pub async fn set_client(
        &self,
        owner: &Owner,
        app: &App,
        method: &AuthMethod,
        new: NewClient,
        inputs: &BTreeMap<String, String>,
    ) -> Result<Client, AuthError> {
        let client_id = new.client_id.trim().to_owned();
        if client_id.is_empty() || client_id.len() > 512 {
            return Err(AuthError::ClientInvalid { reason: "it is empty, or longer than 512 bytes" });
        }
        if client_id.bytes().any(|byte| !(b' '..0x7f).contains(&byte)) {
            return Err(AuthError::ClientInvalid { reason: "it holds a control character or a letter beyond ASCII" });
        }
        let public = oauth2_of(method).is_some_and(|oauth2| oauth2.client_auth == ClientAuth::None);
        if new.secret.is_none() && !public {
            return Err(AuthError::ClientSecretMissing { app: app.slug.clone() });
        }
        let old = self.current_client(owner, &app.slug, &method.id).await?;
        let kept = old.filter(|old| old.value.client_id == client_id);
        let (id, created_at, from) = match &kept {
            Some(old) => (old.value.id.clone(), old.value.created_at, old.generation),
            None => (ClientId::new(), self.now(), 0),
        };
        let inputs = given(app, method, inputs)?;
        let mut endpoints = endpoints(app, method, &inputs)?;
        // Accounts of an older version, which was agreed to as well, go on with this client.
        if let Some(old) = kept {
            endpoints.extend(old.value.endpoints);
            endpoints.sort();
            endpoints.dedup();
        }
        let client = Client {
            id: id.clone(),
            owner: owner.clone(),
            app: app.slug.clone(),
            method: method.id.clone(),
            client_id,
            secret: new.secret,
            endpoints,
            inputs: inputs.into_iter().filter(|(name, _)| is_clients(app, name)).collect(),
            created_at,
        };
        let sealed = self.seal(owner, "client", id.as_str(), client_key(owner, &id), &client, from)?;
        let current = plain(current_key(owner, &app.slug, &method.id), &id, Expect::Any)?;
        self.commit(vec![sealed, current]).await?;
        Ok(client)
    }

    /// The current clients of an owner: an operator has tens of them at most, 1,000 are read.
    pub async fn clients(&self, owner: &Owner) -> Result<Vec<Client>, AuthError> {
        let mut clients = Vec::new();
        for (_, row) in self.store.scan(&key(&["client-of", owner.as_str()]), None, 1000).await? {
            if let Some(client) = self.client(owner, &read_plain(&row)?).await? {
                clients.push(client.value);
            }
        }
        Ok(clients)
    }

    /// Fails a commit when the client was changed or removed meanwhile.
    pub async fn client_unchanged(&self, owner: &Owner, app: &str, id: &ClientId) -> Result<Op, AuthError> {
        let missing = || AuthError::ClientMissing { app: app.to_owned(), redirect_uri: String::new() };
        let generation = self.client(owner, id).await?.ok_or_else(missing)?.generation;
        Ok(Op::Check { key: client_key(owner, id), expect: Expect::Generation(generation) })
    }

    /// Forgets the current client, unless accounts still need it for their refresh.
    pub async fn remove_client(&self, owner: &Owner, app: &str, method: &str) -> Result<Option<Client>, AuthError> {
        let Some(client) = self.current_client(owner, app, method).await? else { return Ok(None) };
        let count_key = client_count_key(owner, client.value.id.as_str());
        let counted =
            self.store.get(&count_key).await?.map_or(Expect::Absent, |row| Expect::Generation(row.generation));
        let count = self.count(&count_key).await?;
        if count > 0 {
            return Err(AuthError::ClientInUse { app: app.to_owned(), count });
        }
        let operations = vec![
            Op::Delete { key: client_key(owner, &client.value.id), expect: Expect::Generation(client.generation) },
            Op::Delete { key: current_key(owner, app, method), expect: Expect::Any },
            // An account that was made since then counts itself.
            Op::Check { key: count_key, expect: counted },
        ];
        self.commit(operations).await?;
        Ok(Some(client.value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use std::net::SocketAddr;

    use url::Url;

    use super::*;
    use crate::config::DEFAULT_LISTEN;

    fn secret() -> Option<Secret> {
        Some(Secret::new(b"s3cret".to_vec()))
    }

    fn new(id: &str) -> NewClient {
        NewClient { client_id: id.to_owned(), secret: secret() }
    }

    #[test]
    fn the_redirect_uri_says_what_a_provider_takes() {
        let app = testing::app();
        let oauth2 = |redirect| OAuth2 { redirect, ..oauth2_of(&app.methods[0]).unwrap().clone() };
        let config = Callback { listen: DEFAULT_LISTEN, public_url: None };
        let uri = |redirect, config: &Callback| redirect_uri(&oauth2(redirect), "ctx", config);
        let loopback = uri(Redirect::Loopback, &config);
        assert_eq!(loopback.uri, "http://127.0.0.1:7878/oauth/callback/ctx");
        assert_eq!((loopback.warning, loopback.paste_only), (None, false));
        let https = uri(Redirect::HttpsOnly, &config);
        assert_eq!(https.uri, "https://localhost:7878/oauth/callback/ctx");
        assert!(https.paste_only && https.warning.unwrap().contains("--paste"));
        let public = Callback { public_url: Some(Url::parse("https://d.example/x/").unwrap()), ..config.clone() };
        assert_eq!(uri(Redirect::HttpsOnly, &public).uri, "https://d.example/x/oauth/callback/ctx");
        assert_eq!(uri(Redirect::HttpsOnly, &public).warning, None);
        let plain = Callback { public_url: Some(Url::parse("http://d.example").unwrap()), ..config.clone() };
        assert!(uri(Redirect::HttpsOnly, &plain).warning.is_some());
        let any = Callback { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        assert!(uri(Redirect::Loopback, &any).warning.is_some());
        assert_eq!(uri(Redirect::LoopbackAnyPort, &any).warning, None);
    }

    #[tokio::test]
    async fn a_client_secret_stays_with_the_endpoints_it_was_registered_for() {
        let (rows, owner) = (testing::rows(), Owner::local());
        let app = testing::app();
        rows.set_client(&owner, &app, &app.methods[0], new("id"), &BTreeMap::new()).await.unwrap();
        let client = rows.current_client(&owner, "as", "oauth").await.unwrap().unwrap().value;
        assert!(client.for_endpoints(&app, &app.methods[0], &BTreeMap::new()).is_ok());
        // Somebody else's component that calls itself `as`.
        let stranger = testing::app_at("https://evil.example");
        let refused = client.for_endpoints(&stranger, &stranger.methods[0], &BTreeMap::new());
        assert_eq!(refused.map(|_| ()).unwrap_err().code(), "client_endpoints_changed");
    }

    #[tokio::test]
    async fn the_same_client_id_is_the_same_client() {
        let (rows, owner, app) = (testing::rows(), Owner::local(), testing::app());
        let set = |id: &'static str| rows.set_client(&owner, &app, &app.methods[0], new(id), testing::NO_INPUTS);
        let first = set("id").await.unwrap().id;
        assert_eq!(set("id").await.unwrap().id, first);
        let other = set("other").await.unwrap().id;
        assert_ne!(other, first);
        assert!(rows.client(&owner, &first).await.unwrap().is_some(), "its accounts still need it");
        assert_eq!(rows.clients(&owner).await.unwrap().len(), 1);
        assert!(rows.remove_client(&owner, "as", "oauth").await.unwrap().is_some());
        assert!(rows.current_client(&owner, "as", "oauth").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_a_client_is_refused() {
        let (rows, owner, app) = (testing::rows(), Owner::local(), testing::app());
        for id in ["", " ", "a\nb", "ä"] {
            let refused = rows.set_client(&owner, &app, &app.methods[0], new(id), testing::NO_INPUTS).await;
            assert_eq!(refused.map(|_| ()).unwrap_err().code(), "client_invalid", "{id:?}");
        }
        let bare = NewClient { client_id: "id".into(), secret: None };
        let refused = rows.set_client(&owner, &app, &app.methods[0], bare, testing::NO_INPUTS).await;
        assert_eq!(refused.map(|_| ()).unwrap_err().code(), "client_secret_missing");
    }

    #[test]
    fn every_context_has_its_own_path() {
        let (rows, owner) = (testing::rows(), Owner::local());
        let stable = context(&rows, &owner, "slack", "oauth");
        assert_eq!(stable, context(&rows, &owner, "slack", "oauth"));
        assert_ne!(stable, context(&rows, &owner, "slack", "other"));
        assert_ne!(stable, context(&rows, &owner, "github", "oauth"));
        assert!(stable.len() == 24 && stable.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[tokio::test]
    async fn a_version_that_leads_elsewhere_gets_no_client() {
        let rows = testing::rows();
        let owner = Owner::local();
        let app = testing::app();
        let method = app.methods.iter().find(|method| method.id == "oauth").unwrap();
        let new = NewClient { client_id: "cid".into(), secret: Some(Secret::new(b"s".to_vec())) };
        let client = rows.set_client(&owner, &app, method, new, testing::NO_INPUTS).await.unwrap();
        assert!(client.for_endpoints(&app, method, testing::NO_INPUTS).is_ok());
        let mut elsewhere = app.clone();
        elsewhere.reach.origins = vec![deputy_declaration::types::Origin::Exact("https://evil.example".into())];
        let error = client.for_endpoints(&elsewhere, method, testing::NO_INPUTS).err().unwrap();
        assert_eq!(error.code(), "client_endpoints_changed");
        let mut other_rules = method.clone();
        other_rules.rule_sets.clear();
        assert!(client.for_endpoints(&app, &other_rules, testing::NO_INPUTS).is_err());
    }
}
