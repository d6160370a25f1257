//! Signatures as a server checks them: made anew from the request that came, and compared.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use deputy_declaration::types::{AwsSigv4, HookSigner, OAuth1, OAuth1Signature, Part, Signer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

use super::fake::{Seen, State};
use super::wanted::Pairs;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers and query fields that a signer fills, in lower case.
pub(super) fn places(signer: &Signer) -> Vec<String> {
    match signer {
        Signer::AwsSigv4(_) => {
            ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"].map(str::to_owned).to_vec()
        }
        Signer::OAuth1(_) => vec!["authorization".to_owned()],
        Signer::Hook(hook) => {
            let headers = hook.headers.iter().map(|name| name.to_ascii_lowercase());
            headers.chain(hook.query.iter().cloned()).collect()
        }
    }
}

pub(super) fn verify(signer: &Signer, state: &State, seen: &Seen) -> Result<(), String> {
    match signer {
        Signer::AwsSigv4(declared) => sigv4(declared, state, seen),
        Signer::OAuth1(declared) => oauth1(declared, state, seen),
        Signer::Hook(declared) => hook(declared, seen),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn header<'s>(seen: &'s Seen, name: &str) -> Result<&'s str, String> {
    let found = seen.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("the signature lacks the header `{name}`"))
}

fn needed(state: &State, template: &[Part], what: &str) -> Result<String, String> {
    state.render(template)?.ok_or_else(|| format!("the account has no {what}"))
}

fn query(seen: &Seen) -> (&str, Pairs) {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    (path, form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// "Create a signed AWS API request" in the AWS documentation, from the server's side.
fn sigv4(declared: &AwsSigv4, state: &State, seen: &Seen) -> Result<(), String> {
    let (access_key, secret) =
        (needed(state, &declared.access_key, "access key")?, needed(state, &declared.secret_key, "secret key")?);
    let (region, service) = (needed(state, &declared.region, "region")?, needed(state, &declared.service, "service")?);
    let authorization = header(seen, "authorization")?;
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("the signature is not AWS4-HMAC-SHA256")?;
    let parts: BTreeMap<_, _> = rest.split(", ").filter_map(|part| part.split_once('=')).collect();
    let part = |name: &str| parts.get(name).copied().ok_or_else(|| format!("the signature lacks `{name}`"));
    let date = header(seen, "x-amz-date")?;
    let day = date.get(..8).ok_or("`x-amz-date` is no date")?;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    if part("Credential")? != format!("{access_key}/{scope}") {
        return Err(format!("the signature's credential must be the access key in {scope}"));
    }
    let signed = part("SignedHeaders")?;
    let token = declared.session_token.as_ref().map(|template| state.render(template)).transpose()?.flatten();
    if token.is_some() && header(seen, "x-amz-security-token").ok() != token.as_deref() {
        return Err("`x-amz-security-token` must be the session token".to_owned());
    }
    let must = ["host", "x-amz-date"].into_iter().chain(token.is_some().then_some("x-amz-security-token"));
    for name in must {
        if !signed.split(';').any(|known| known == name) {
            return Err(format!("the signature must cover the header `{name}`"));
        }
    }
    let headers: Vec<_> = signed
        .split(';')
        .map(|name| Ok(format!("{name}:{}\n", header(seen, name)?.trim())))
        .collect::<Result<_, String>>()?;
    let sha256 = |bytes: &[u8]| HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref());
    let (path, mut pairs) = query(seen);
    let is_s3 = service.starts_with("s3");
    let path = match is_s3 {
        true => path.to_owned(),
        false => path.split('/').map(encoded).collect::<Vec<_>>().join("/"),
    };
    pairs.iter_mut().for_each(|(name, value)| (*name, *value) = (encoded(name), encoded(value)));
    pairs.sort();
    let fields: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let payload = sha256(&seen.body);
    if is_s3 && header(seen, "x-amz-content-sha256")? != payload {
        return Err("`x-amz-content-sha256` is not the hash of the body".to_owned());
    }
    let canonical = format!("{}\n{path}\n{}\n{}\n{signed}\n{payload}", seen.method, fields.join("&"), headers.concat());
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let steps = [day, &region, &service, "aws4_request"];
    let key = steps.iter().fold(format!("AWS4{secret}").into_bytes(), |key, step| mac(&key, step));
    match HEXLOWER.encode(&mac(&key, &to_sign)) == part("Signature")? {
        true => Ok(()),
        false => Err("the signature does not belong to this request and these keys".to_owned()),
    }
}

/// RFC 5849 section 3, from the server's side.
fn oauth1(declared: &OAuth1, state: &State, seen: &Seen) -> Result<(), String> {
    let optional = |template: &[Part]| Ok::<_, String>(state.render(template)?.unwrap_or_default());
    let consumer = needed(state, &declared.consumer_key, "consumer key")?;
    let secrets = (optional(&declared.consumer_secret)?, optional(&declared.token_secret)?);
    let token = optional(&declared.token)?;
    let rest = header(seen, "authorization")?.strip_prefix("OAuth ").ok_or("the scheme must be OAuth")?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let read = |part: &str| {
        let (name, value) = part.trim().split_once('=')?;
        Some((decoded(name), decoded(value.trim_matches('"'))))
    };
    let mut protocol: Pairs = rest.split(',').filter_map(read).collect();
    let realm = declared.realm.as_ref().map(|template| state.render(template)).transpose()?.flatten();
    let mut take = |name: &str| {
        let at = protocol.iter().position(|(known, _)| known == name)?;
        Some(protocol.remove(at).1)
    };
    if take("realm") != realm {
        return Err("the realm is not the declared one".to_owned());
    }
    let signature = take("oauth_signature").ok_or("the signature is missing")?;
    let value = |name: &str| protocol.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let method = match declared.signature {
        OAuth1Signature::HmacSha1 => "HMAC-SHA1",
        OAuth1Signature::HmacSha256 => "HMAC-SHA256",
        OAuth1Signature::Plaintext => "PLAINTEXT",
    };
    let wanted = [
        ("oauth_consumer_key", Some(consumer.as_str())),
        ("oauth_token", Some(token.as_str()).filter(|token| !token.is_empty())),
        ("oauth_signature_method", Some(method)),
    ];
    for (name, wanted) in wanted {
        if value(name) != wanted {
            return Err(format!("`{name}` is not what the declaration makes"));
        }
    }
    if value("oauth_nonce").is_none_or(str::is_empty)
        || value("oauth_timestamp").is_none_or(|at| at.parse::<u64>().is_err())
    {
        return Err("the signature has no nonce, or no timestamp".to_owned());
    }
    let (path, fields) = query(seen);
    let mut pairs: Pairs = fields.into_iter().chain(protocol.iter().cloned()).collect();
    if header(seen, "content-type").is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        pairs.extend(form_urlencoded::parse(&seen.body).into_owned());
    }
    pairs.iter_mut().for_each(|(name, value)| (*name, *value) = (encoded(name), encoded(value)));
    pairs.sort();
    let fields: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let place = format!("https://{}{path}", seen.host);
    let base = format!("{}&{}&{}", seen.method, encoded(&place), encoded(&fields.join("&")));
    let key = format!("{}&{}", encoded(&secrets.0), encoded(&secrets.1));
    let mac = |algorithm| STANDARD.encode(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), base.as_bytes()));
    let made = match declared.signature {
        OAuth1Signature::HmacSha1 => mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        OAuth1Signature::HmacSha256 => mac(hmac::HMAC_SHA256),
        OAuth1Signature::Plaintext => key,
    };
    match made == signature {
        true => Ok(()),
        false => Err("the signature does not belong to this request and these keys".to_owned()),
    }
}

/// What the hook computes is known to it alone: it must have written something.
fn hook(declared: &HookSigner, seen: &Seen) -> Result<(), String> {
    let (_, fields) = query(seen);
    let headers = declared.headers.iter().filter_map(|name| header(seen, &name.to_ascii_lowercase()).ok());
    let fields = fields.iter().filter(|(name, _)| declared.query.contains(name)).map(|(_, value)| value.as_str());
    match headers.chain(fields).any(|value| !value.is_empty()) {
        true => Ok(()),
        false => Err("the hook signed nothing".to_owned()),
    }
}
