//! The made provider's OAuth side: authorize page, device code, token call with its quirks, refresh, revocation.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_declaration::template;
use deputy_declaration::types::{
    Alphabet, App, AuthKind, AuthMethod, ClientAuth, Discovery, InputSource, OAuth2, Origin, Param, Part, Pkce,
    Rotation, Template, TokenBody,
};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::calls::{self, Chain};
use super::fake::{self, Candidates, Fake, Reply, Seen, State, Then};
use super::values::shaped;
use super::wanted::{Pairs, Wanted};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a code was given for.
#[derive(Debug, Clone)]
pub struct Authorized {
    redirect_uri: String,
    challenge: Option<String>,
}

/// Standard parameters under the names that the service gives them, and declared ones that stand in nobody's way.
fn parameters(oauth2: &OAuth2, own: Vec<(&str, String)>, declared: &[Param]) -> Pairs {
    let mut pairs = Pairs::new();
    for (name, value) in own {
        match oauth2.names.iter().find(|rename| rename.name == name) {
            Some(rename) => pairs.extend(rename.to.clone().map(|name| (name, value))),
            None => pairs.push((name.to_owned(), value)),
        }
    }
    for param in declared {
        if !pairs.iter().any(|(name, _)| *name == param.name) {
            pairs.push((param.name.clone(), param.value.clone()));
        }
    }
    pairs
}

/// The default scopes, each list in its parameter.
fn scopes(oauth2: &OAuth2) -> Vec<(&str, String)> {
    let lists = oauth2.scope_lists.iter().map(|list| {
        let asked: Vec<_> = list.scopes.iter().filter(|scope| scope.default).map(|scope| scope.name.as_str()).collect();
        (list.param.as_str(), asked.join(&list.separator))
    });
    lists.filter(|(_, asked)| !asked.is_empty()).collect()
}

/// What a request says under a standard name.
fn said<'p>(oauth2: &OAuth2, pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let rename = oauth2.names.iter().find(|rename| rename.name == name);
    let name = rename.map_or(Some(name), |rename| rename.to.as_deref())?;
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Where the browser is sent back to, with a code.
pub(super) fn authorize(fake: &Fake, state: &mut State, oauth2: &OAuth2, url: &str) -> Result<String, String> {
    let page = oauth2.authorize_url.as_ref().ok_or("the declaration has no authorize page")?;
    let mut page = fake.url(state, page)?;
    let opened = Url::parse(url).map_err(|error| error.to_string())?;
    let sent: Pairs = opened.query_pairs().into_owned().collect();
    let client = state.client.clone().ok_or("no client is registered")?;
    let returned = said(oauth2, &sent, "state").unwrap_or_default().to_owned();
    if returned.len() < 16 {
        return Err("`state` is missing, or too short to be unguessable".to_owned());
    }
    let mut own = vec![
        ("response_type", "code".to_owned()),
        ("client_id", client.id.clone()),
        ("redirect_uri", client.redirect_uri.clone()),
        ("state", returned.clone()),
    ];
    let challenge = match oauth2.pkce {
        Pkce::S256 => {
            let challenge = said(oauth2, &sent, "code_challenge").unwrap_or_default().to_owned();
            if URL_SAFE_NO_PAD.decode(&challenge).map(|bytes| bytes.len()) != Ok(32) {
                return Err("`code_challenge` is no SHA-256 in base64url".to_owned());
            }
            own.push(("code_challenge_method", "S256".to_owned()));
            own.push(("code_challenge", challenge.clone()));
            Some(challenge)
        }
        Pkce::Off => None,
    };
    own.extend(scopes(oauth2));
    page.query_pairs_mut().extend_pairs(parameters(oauth2, own, &oauth2.authorize_params));
    let target = format!("{}?{}", opened.path(), opened.query().unwrap_or_default());
    let (headers, host) = (Vec::new(), super::wanted::authority(&opened));
    let seen = Seen { host, method: "GET".to_owned(), target, headers, body: Vec::new() };
    Wanted::new(String::new(), "GET", page).check(&seen, &[]).map_err(|difference| difference.reason)?;
    state.issued += 1;
    let code = shaped("code-", 40, Alphabet::Alphanumeric, 7_000 + state.issued);
    state.codes.insert(code.clone(), Authorized { redirect_uri: client.redirect_uri.clone(), challenge });
    let mut back = Url::parse(&client.redirect_uri).map_err(|error| error.to_string())?;
    let renamed = oauth2.names.iter().find(|rename| rename.name == "state").and_then(|rename| rename.to.as_deref());
    back.query_pairs_mut()
        .append_pair(oauth2.callback_code.as_deref().unwrap_or("code"), &code)
        .append_pair(renamed.unwrap_or("state"), &returned);
    if let Some(issuer) = &oauth2.issuer {
        back.query_pairs_mut().append_pair("iss", issuer);
    }
    for input in &fake.app.inputs {
        if let (InputSource::Discovered(Discovery::Callback(field)), Some(value)) =
            (&input.source, state.inputs.get(&input.name))
        {
            back.query_pairs_mut().append_pair(field, value);
        }
    }
    Ok(back.to_string())
}

pub(super) fn candidates(
    fake: &Fake,
    state: &State,
    oauth2: &OAuth2,
    seen: &Seen,
    candidates: &mut Candidates,
) -> Result<(), String> {
    let Some(client) = &state.client else { return Ok(()) };
    let none: &[Param] = &[];
    let part = |name: &str| format!("methods[{}].kind.oauth2-code.{name}", state.method);
    let tokens = (part("token-url"), fake.url(state, &oauth2.token_url)?);
    for (code, authorized) in &state.codes {
        let mut own = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.clone()),
            ("redirect_uri", authorized.redirect_uri.clone()),
        ];
        if let Some(challenge) = &authorized.challenge {
            // The one value that the provider knows only by its hash.
            let sent = fields(oauth2, seen);
            let verifier = said(oauth2, &sent, "code_verifier").unwrap_or_default();
            let right = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == *challenge;
            own.push(("code_verifier", if right { verifier } else { "the one of the challenge" }.to_owned()));
        }
        let wanted = call(fake, oauth2, client, &tokens, own, &oauth2.token_params, &oauth2.token_headers);
        candidates.push((wanted, Then::Code(code.clone())));
    }
    if let Some(url) = &oauth2.device_url {
        let mut own = scopes(oauth2);
        if !matches!(oauth2.client_auth, ClientAuth::Post | ClientAuth::None) {
            own.push(("client_id", client.id.clone()));
        }
        let url = (part("device-url"), fake.url(state, url)?);
        let wanted = call(fake, oauth2, client, &url, own, none, none);
        candidates.push((wanted, Then::DeviceCode));
    }
    if let Some(code) = &state.device {
        let own = vec![("grant_type", DEVICE_GRANT.to_owned()), ("device_code", code.clone())];
        let wanted = call(fake, oauth2, client, &tokens, own, &oauth2.token_params, &oauth2.token_headers);
        candidates.push((wanted, Then::DeviceToken));
    }
    if oauth2.refresh.is_empty() {
        let url = oauth2.refresh_url.as_ref().map(|url| Ok::<_, String>((part("refresh-url"), fake.url(state, url)?)));
        let url = url.transpose()?;
        for (name, refresh) in &state.refresh {
            let own = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh.clone())];
            let url = url.as_ref().unwrap_or(&tokens);
            let wanted = call(fake, oauth2, client, url, own, &oauth2.refresh_params, &oauth2.token_headers);
            candidates.push((wanted, Then::Refresh(name.clone())));
        }
    }
    if let Some(url) = &oauth2.revoke_url {
        let url = (part("revoke-url"), fake.url(state, url)?);
        let refresh = state.refresh.values().map(|token| (token, "refresh_token"));
        for (token, hint) in refresh.chain(state.tokens.values().map(|token| (token, "access_token"))) {
            let own = vec![("token", token.clone()), ("token_type_hint", hint.to_owned())];
            let wanted = call(fake, oauth2, client, &url, own, none, none);
            candidates.push((wanted, Then::Revoke(hint)));
        }
    }
    Ok(())
}

/// The parameters of a token call, wherever the declaration puts them.
fn fields(oauth2: &OAuth2, seen: &Seen) -> Pairs {
    match oauth2.body {
        TokenBody::Form => form_urlencoded::parse(&seen.body).into_owned().collect(),
        TokenBody::Json => serde_json::from_slice::<BTreeMap<String, String>>(&seen.body)
            .map(|fields| fields.into_iter().collect())
            .unwrap_or_default(),
        TokenBody::Query => {
            let query = seen.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
            form_urlencoded::parse(query.as_bytes()).into_owned().collect()
        }
    }
}

/// A standard call: who the client is, and the parameters.
fn call(
    fake: &Fake,
    oauth2: &OAuth2,
    client: &fake::Client,
    (about, url): &(String, Url),
    mut own: Vec<(&str, String)>,
    params: &[Param],
    headers: &[Param],
) -> Wanted {
    let method = if oauth2.body == TokenBody::Query { "GET" } else { "POST" };
    let mut wanted = Wanted::new(about.clone(), method, url.clone());
    let secret = client.secret.as_deref().unwrap_or_default();
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = match oauth2.client_auth {
        ClientAuth::Basic => Some(format!("{}:{}", encoded(&client.id), encoded(secret))),
        ClientAuth::BasicRaw => Some(format!("{}:{secret}", client.id)),
        ClientAuth::BasicSecret => Some(format!("{secret}:")),
        ClientAuth::Post => {
            own.push(("client_id", client.id.clone()));
            own.push(("client_secret", secret.to_owned()));
            None
        }
        ClientAuth::None => {
            own.push(("client_id", client.id.clone()));
            None
        }
    };
    if let Some(pair) = basic {
        wanted.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
    }
    let pairs = parameters(oauth2, own, params);
    match oauth2.body {
        TokenBody::Form => wanted.form(pairs),
        TokenBody::Json => {
            wanted.json(Value::Object(pairs.into_iter().map(|(name, value)| (name, Value::from(value))).collect()));
        }
        TokenBody::Query => {
            wanted.url.query_pairs_mut().extend_pairs(pairs);
        }
    }
    let defaults = fake.app.headers.iter().filter(|header| !header.name.eq_ignore_ascii_case("accept"));
    let all = headers.iter().map(|header| (&header.name, &header.value));
    for (name, value) in all.chain(defaults.map(|header| (&header.name, &header.value))) {
        if !wanted.has_header(name) {
            wanted.header(name, value);
        }
    }
    wanted
}

pub(super) fn answer(fake: &Fake, state: &mut State, method: &AuthMethod, then: Then) -> Result<Reply, String> {
    let AuthKind::OAuth2Code(oauth2) = &method.kind else { return Err("the method is no OAuth".to_owned()) };
    let replies = 1 + oauth2.then.len();
    match then {
        Then::DeviceCode => {
            state.issued += 1;
            let code = shaped("device-", 40, Alphabet::Alphanumeric, 5_000 + state.issued);
            state.device = Some(code.clone());
            let page = "https://device.conformance.example/activate";
            let body = json!({ "device_code": code, "user_code": "CONF-1234", "verification_uri": page,
                "expires_in": 600, "interval": 1 });
            return Ok(fake::json_reply(200, &body));
        }
        Then::Revoke(hint) => {
            state.revoked.push(hint.to_owned());
            return Ok((200, Vec::new(), Vec::new()));
        }
        // Each is used once.
        Then::Code(code) => drop(state.codes.remove(&code)),
        Then::DeviceToken => state.device = None,
        Then::Refresh(name) => {
            if let Some(error) = &state.login_error {
                return Ok(calls::refusal(method, error));
            }
            let token = method.tokens.iter().find(|token| token.name == name).ok_or("no such token")?;
            state.renewals += 1;
            if oauth2.then.is_empty() {
                return calls::one_token(fake, state, token);
            }
            // What follows the token call follows a refresh too.
            state.chain = Some((Chain::Then, 0));
            return calls::tokens(fake, state, method, 0, replies);
        }
        Then::Call(..) | Then::Api(..) => return Err("no call of OAuth".to_owned()),
    }
    if let Some(error) = &state.login_error {
        return Ok(calls::refusal(method, error));
    }
    let reply = calls::tokens(fake, state, method, 0, replies)?;
    state.chain = Some((Chain::Then, 0)).filter(|_| replies > 1);
    Ok(reply)
}

impl Fake {
    /// Whether a refresh token is used up by its use.
    pub(super) fn rotates(&self, state: &State) -> bool {
        let rotation = match self.app.methods.get(state.method).map(|method| &method.kind) {
            Some(AuthKind::OAuth2Code(oauth2)) => &oauth2.rotation,
            Some(AuthKind::Exchange(exchange)) => &exchange.rotation,
            Some(AuthKind::Keys) | None => return false,
        };
        *rotation != Rotation::None
    }
}

/// `host:port` of every place that a method's requests may go to.
pub fn hosts(app: &App, method: &AuthMethod, inputs: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut templates: Vec<&Template> = vec![&app.base];
    templates.extend(calls::urls(method));
    if let AuthKind::OAuth2Code(oauth2) = &method.kind {
        templates.push(&oauth2.token_url);
        let optional = [&oauth2.authorize_url, &oauth2.device_url, &oauth2.refresh_url, &oauth2.revoke_url];
        templates.extend(optional.into_iter().flatten());
    }
    for input in &app.inputs {
        if let InputSource::Discovered(Discovery::Request(request)) = &input.source {
            templates.push(&request.url);
        }
    }
    let named = |url: Url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?));
    let rendered = templates.into_iter().filter_map(|template| {
        let public: Template = template.iter().filter(|part| !matches!(part, Part::Host(_))).cloned().collect();
        named(Url::parse(&template::render_public(&public, inputs).ok()?).ok()?)
    });
    let exact = app.reach.origins.iter().filter_map(|origin| match origin {
        Origin::Exact(origin) => named(Url::parse(origin).ok()?),
        Origin::Label(_) | Origin::Choice(_) | Origin::Pinned(_) => None,
    });
    rendered.chain(exact).collect()
}
