//! A token call on the wire: who the client is, and the parameters as form, JSON or query.
//!
//! Buffers that hold a secret have their room first and are wiped. A query is the exception: the service asks for its
//! secrets in a URL, and a URL is text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use deputy_declaration::types::{App, ClientAuth, OAuth2, Param, TokenBody};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::{CALL_TIMEOUT, ClientCredentials, name_of};
use crate::auth::error::AuthError;
use crate::egress::{Body, Request};
use crate::vault::Secret;

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Secret(&'a Secret),
}

impl Value<'_> {
    fn text(&self) -> Result<&str, AuthError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Secret(secret) => std::str::from_utf8(secret.expose())
                .map_err(|_| AuthError::Internal("a secret for a token call is not text".to_owned())),
        }
    }
}

/// What the declaration adds to one leg.
#[derive(Clone, Copy)]
pub(super) struct Leg<'a> {
    params: &'a [Param],
    headers: &'a [Param],
}

impl<'a> Leg<'a> {
    pub fn token(oauth2: &'a OAuth2) -> Self {
        Self { params: &oauth2.token_params, headers: &oauth2.token_headers }
    }

    pub fn refresh(oauth2: &'a OAuth2) -> Self {
        Self { params: &oauth2.refresh_params, headers: &oauth2.token_headers }
    }

    pub fn plain() -> Self {
        Self { params: &[], headers: &[] }
    }
}

/// A call with the client's word of who it is, in the form that the service reads.
pub(super) fn call<'a>(
    app: &App,
    oauth2: &'a OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'a>,
    mut own: Vec<(&'a str, Value<'a>)>,
    leg: Leg<'a>,
) -> Result<Request, AuthError> {
    let mut request = Request::new(Method::POST, endpoint.as_str());
    request.timeout = Some(CALL_TIMEOUT);
    let secret = || client.secret.ok_or_else(|| AuthError::ClientSecretMissing { app: app.slug.clone() });
    match oauth2.client_auth {
        ClientAuth::Basic => {
            request.headers.insert(header::AUTHORIZATION, basic(client.id, secret()?, true)?);
        }
        ClientAuth::BasicRaw => {
            request.headers.insert(header::AUTHORIZATION, basic(client.id, secret()?, false)?);
        }
        ClientAuth::BasicSecret => {
            request
                .headers
                .insert(header::AUTHORIZATION, basic_header(&Zeroizing::new([secret()?.expose(), b":"].concat()))?);
        }
        ClientAuth::Post => {
            own.push(("client_id", Value::Text(client.id)));
            own.push(("client_secret", Value::Secret(secret()?)));
        }
        ClientAuth::None => own.push(("client_id", Value::Text(client.id))),
    }
    let mut pairs: Vec<(&str, Value<'_>)> =
        own.into_iter().filter_map(|(name, value)| Some((name_of(oauth2, name)?, value))).collect();
    for param in leg.params {
        if !pairs.iter().any(|(name, _)| *name == param.name) {
            pairs.push((&param.name, Value::Text(&param.value)));
        }
    }
    for param in leg.headers {
        add_header(&mut request.headers, &param.name, &param.value);
    }
    // Some providers want their version header on token calls too.
    for default in &app.headers {
        if !default.name.eq_ignore_ascii_case("accept") {
            add_header(&mut request.headers, &default.name, &default.value);
        }
    }
    request.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    let (content_type, body) = match oauth2.body {
        TokenBody::Form => ("application/x-www-form-urlencoded", form(&pairs)?),
        TokenBody::Json => ("application/json", json(&pairs)?),
        TokenBody::Query => {
            request.method = Method::GET;
            let query = form(&pairs)?;
            let query = std::str::from_utf8(&query).map_err(|error| AuthError::Internal(error.to_string()))?;
            let join = if endpoint.query().is_some() { '&' } else { '?' };
            request.url = format!("{endpoint}{join}{query}");
            request.headers.remove(header::CONTENT_TYPE);
            return Ok(request);
        }
    };
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.body = Body::Bytes(Bytes::from_owner(body));
    Ok(request)
}

/// What is there already stays.
fn add_header(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        && !headers.contains_key(&name)
    {
        headers.insert(name, value);
    }
}

/// RFC 6749 section 2.3.1: both parts are form-urlencoded first, except for providers that do not decode them.
fn basic(id: &str, secret: &Secret, encoded: bool) -> Result<HeaderValue, AuthError> {
    let secret = Value::Secret(secret);
    let secret = secret.text()?;
    let pair = if encoded {
        let mut pair = Zeroizing::new(String::with_capacity((id.len() + secret.len()) * 3 + 1));
        pair.extend(url::form_urlencoded::byte_serialize(id.as_bytes()));
        pair.push(':');
        pair.extend(url::form_urlencoded::byte_serialize(secret.as_bytes()));
        pair
    } else {
        Zeroizing::new(format!("{id}:{secret}"))
    };
    basic_header(pair.as_bytes())
}

fn basic_header(pair: &[u8]) -> Result<HeaderValue, AuthError> {
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair, &mut text);
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| AuthError::Internal("the client's credentials cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn form(pairs: &[(&str, Value<'_>)]) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let mut room = 0;
    for (name, value) in pairs {
        room += (name.len() + value.text()?.len()) * 3 + 2;
    }
    let mut form = Serializer::new(String::with_capacity(room));
    for (name, value) in pairs {
        form.append_pair(name, value.text()?);
    }
    Ok(Zeroizing::new(form.finish().into_bytes()))
}

fn json(pairs: &[(&str, Value<'_>)]) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let mut room = 2;
    for (name, value) in pairs {
        room += (name.len() + value.text()?.len()) * 6 + 6;
    }
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    let failed = |error: serde_json::Error| AuthError::Internal(error.to_string());
    body.push(b'{');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut *body, name).map_err(failed)?;
        body.push(b':');
        serde_json::to_writer(&mut *body, value.text()?).map_err(failed)?;
    }
    body.push(b'}');
    Ok(body)
}
