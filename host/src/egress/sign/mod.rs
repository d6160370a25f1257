//! Signatures that the host makes over the final request (R13): nobody else chooses what is signed, or when.
//!
//! A signer runs last, over what goes on the wire, and anew for every attempt. What it derives (a signature, a nonce)
//! is worth nothing for another request, so nothing of it is scrubbed; PLAINTEXT, which holds the secrets themselves,
//! is.

mod oauth1;
mod sigv4;

use deputy_declaration::types::{AuthMethod, Rule, Signer, Template};
use http::{HeaderMap, Method, header};
use percent_encoding::{percent_decode_str, percent_encode};
use url::Url;
use zeroize::Zeroizing;

use super::caller_headers::{check_header_slot, folded, has_field};
use super::inject::{self, RESERVED};
use super::{Body, EgressError, Live, fields, reconnect};
use crate::time::Time;

/// Headers of AWS Signature Version 4 besides `Authorization`.
pub(crate) const SIGV4_HEADERS: [&str; 3] = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// Fields of a URL that was signed for AWS, folded.
pub(crate) const SIGV4_FIELDS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-content-sha256",
];

/// Protocol parameters of OAuth 1.0a (RFC 5849 section 3.1), folded.
pub(crate) const OAUTH1_FIELDS: [&str; 7] = [
    "oauth-consumer-key",
    "oauth-nonce",
    "oauth-signature",
    "oauth-signature-method",
    "oauth-timestamp",
    "oauth-token",
    "oauth-version",
];

/// The request as it is about to go out.
pub(super) struct Message<'a> {
    pub method: &'a Method,
    pub url: &'a mut Url,
    pub headers: &'a mut HeaderMap,
    pub body: &'a Body,
}

/// The templates that a signer cannot do without.
pub(super) fn needs(signer: &Signer) -> Vec<&Template> {
    match signer {
        // The session token is there only for temporary keys.
        Signer::AwsSigv4(sign) => vec![&sign.access_key, &sign.secret_key, &sign.region, &sign.service],
        Signer::OAuth1(sign) => {
            let mut all = vec![&sign.consumer_key, &sign.consumer_secret, &sign.token, &sign.token_secret];
            all.extend(&sign.realm);
            all
        }
        Signer::Hook => Vec::new(),
    }
}

/// A signature of the caller's own is refused, wherever it can stand.
pub(super) fn check_slots(
    method: &AuthMethod,
    caller: &HeaderMap,
    merged: &HeaderMap,
    query: Option<&str>,
    body: &Body,
) -> Result<(), EgressError> {
    for rule in method.rule_sets.iter().flat_map(|set| &set.rules) {
        let Rule::Sign(signer) = rule else { continue };
        check_header_slot(caller, header::AUTHORIZATION.as_str())?;
        let names: &[&str] = match signer {
            Signer::AwsSigv4(_) => {
                SIGV4_HEADERS.iter().try_for_each(|name| check_header_slot(caller, name))?;
                &SIGV4_FIELDS
            }
            Signer::OAuth1(_) => &OAUTH1_FIELDS,
            Signer::Hook => &[],
        };
        let form = match body {
            Body::Bytes(bytes) if fields::kind(merged) == Some(fields::Kind::Form) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        for (place, text) in [("query", query), ("form", form.filter(|_| matches!(signer, Signer::OAuth1(_))))] {
            if let Some(name) = text.and_then(|text| names.iter().find(|name| has_field(text, name))) {
                return Err(EgressError::denied(
                    "signature",
                    format!("the {place} field `{name}` belongs to a signature, and the host signs the request itself"),
                    "leave the signature out",
                ));
            }
        }
    }
    Ok(())
}

/// Signs with the account's keys.
pub(super) fn sign(
    live: &Live,
    signer: &Signer,
    message: Message<'_>,
    at: Time,
    forms: &mut Vec<Zeroizing<Vec<u8>>>,
) -> Result<(), EgressError> {
    match signer {
        Signer::AwsSigv4(declared) => {
            let mut render = |template: &Template| inject::render(live, template, forms);
            let (access_key, secret_key) = (render(&declared.access_key)?, render(&declared.secret_key)?);
            let (region, service) = (render(&declared.region)?, render(&declared.service)?);
            let session_token = match &declared.session_token {
                Some(template) if inject::missing(live, template).is_none() => Some(render(template)?),
                _ => None,
            };
            let keys = sigv4::Keys {
                access_key: text(live, &access_key, "access key", |byte| {
                    byte.is_ascii_graphic() && !b"/,=".contains(&byte)
                })?,
                secret_key: &secret_key,
                session_token: session_token.as_ref().map(|token| token.as_slice()),
                region: text(live, &region, "region", is_scope)?,
                service: text(live, &service, "service", is_scope)?,
            };
            sigv4::sign(&keys, message, at)
        }
        Signer::OAuth1(declared) => {
            let mut render = |template: &Template| inject::render(live, template, forms);
            let (consumer_key, consumer_secret) = (render(&declared.consumer_key)?, render(&declared.consumer_secret)?);
            let (token, token_secret) = (render(&declared.token)?, render(&declared.token_secret)?);
            let realm = declared.realm.as_ref().map(&mut render).transpose()?;
            let quotable = |byte: u8| matches!(byte, 0x20..0x7f) && !b"\"\\".contains(&byte);
            let keys = oauth1::Keys {
                consumer_key: &consumer_key,
                consumer_secret: &consumer_secret,
                token: &token,
                token_secret: &token_secret,
                signature: declared.signature,
                realm: realm.as_ref().map(|realm| text(live, realm, "realm", quotable)).transpose()?,
            };
            let moment =
                oauth1::Moment { seconds: at.as_ms().div_euclid(1000), nonce: oauth1::nonce()?, version: true };
            oauth1::sign(&keys, message, &moment, forms)
        }
        // Validation lets no such declaration in.
        Signer::Hook => Err(EgressError::Internal(format!(
            "{} signs with a hook, which this version does not run",
            live.declaration.slug
        ))),
    }
}

/// Regions and services are words of a path-like scope.
fn is_scope(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn text<'t>(live: &Live, bytes: &'t [u8], what: &str, fits: impl Fn(u8) -> bool) -> Result<&'t str, EgressError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.bytes().all(fits) => Ok(text),
        _ => Err(EgressError::denied(
            "credential",
            format!("the {what} of {} is empty or holds a character that no signature can carry", live.name),
            reconnect(&live.name),
        )),
    }
}

/// A name or value, encoded as signatures want it: all but unreserved characters.
fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// One field of a query or form, decoded as servers do and encoded again in the one form that is signed.
struct Pair {
    name: String,
    /// None: no equals sign.
    value: Option<String>,
}

fn pairs(text: &str) -> impl Iterator<Item = Pair> {
    let form = |text: &str| {
        let spaced = text.replace('+', " ");
        encoded(&percent_decode_str(&spaced).collect::<Vec<u8>>())
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| match pair.split_once('=') {
        Some((name, value)) => Pair { name: form(name), value: Some(form(value)) },
        None => Pair { name: form(pair), value: None },
    })
}

/// The host of the URL, with its port unless it is the scheme's own: what HTTP puts into `Host`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Which keys a caller's signature names: the key ids that stand in an `Authorization` header of a known scheme.
pub(crate) fn key_ids(authorization: &str) -> Vec<String> {
    let Some((scheme, rest)) = authorization.trim().split_once([' ', '\t']) else { return Vec::new() };
    let value = |name: &'static str| {
        rest.split(',').filter_map(move |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (folded(key.trim()) == name).then(|| value.trim().trim_matches('"'))
        })
    };
    if scheme.eq_ignore_ascii_case("AWS4-HMAC-SHA256") {
        value("credential").filter_map(|scope| scope.split_once('/')).map(|(key, _)| key.to_owned()).collect()
    } else if scheme.eq_ignore_ascii_case("OAuth") {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        value("oauth-consumer-key").chain(value("oauth-token")).map(decoded).collect()
    } else {
        Vec::new()
    }
}
