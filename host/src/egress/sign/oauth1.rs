//! OAuth 1.0a (RFC 5849 section 3), in the `Authorization` header.

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use deputy_declaration::types::OAuth1Signature;
use http::{HeaderValue, header};
use url::Url;
use zeroize::Zeroizing;

use super::{Message, authority, encoded, pairs};
use crate::egress::{Body, EgressError, fields};

/// The keys of an account. No token: the request is signed by the consumer alone.
pub(super) struct Keys<'a> {
    pub consumer_key: &'a [u8],
    pub consumer_secret: &'a [u8],
    pub token: &'a [u8],
    pub token_secret: &'a [u8],
    pub signature: OAuth1Signature,
    pub realm: Option<&'a str>,
}

/// What makes a signature good for one request.
pub(super) struct Moment {
    pub seconds: i64,
    pub nonce: String,
    /// Optional in section 3.1; left out only by the RFC's own examples.
    pub version: bool,
}

/// A nonce that nobody else draws.
pub(super) fn nonce() -> Result<String, EgressError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| EgressError::Internal("the system gives no random bytes".to_owned()))?;
    Ok(HEXLOWER.encode(&bytes))
}

pub(super) fn sign(
    keys: &Keys<'_>,
    message: Message<'_>,
    moment: &Moment,
    forms: &mut Vec<Zeroizing<Vec<u8>>>,
) -> Result<(), EgressError> {
    let Message { method, url, headers, body } = message;
    if keys.signature == OAuth1Signature::Plaintext && url.scheme() != "https" {
        return Err(EgressError::denied(
            "signature",
            "a PLAINTEXT signature holds the secrets themselves, and the way to this host is not encrypted",
            "use https://",
        ));
    }
    let form = match (fields::kind(headers), body) {
        (Some(fields::Kind::Form), Body::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| {
            EgressError::invalid(
                "the form is not written in ASCII",
                "percent-encode the names and values of its fields",
            )
        })?,
        (Some(fields::Kind::Form), Body::Stream { .. }) => {
            return Err(EgressError::denied(
                "signature",
                "the fields of a form are signed with the request, and a stream cannot be read before it is sent",
                "send the form whole",
            ));
        }
        _ => "",
    };
    let value = authorization(keys, method.as_str(), url, form, moment);
    if keys.signature == OAuth1Signature::Plaintext {
        // In the header the secrets are encoded twice.
        let twice = |secret: &[u8]| Zeroizing::new(encoded(encoded(secret).as_bytes()).into_bytes());
        forms.extend([twice(keys.consumer_secret), twice(keys.token_secret)]);
    }
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| EgressError::Internal("a signature that is no header value".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Section 3.5.1.
fn authorization(keys: &Keys<'_>, method: &str, url: &Url, form: &str, moment: &Moment) -> Zeroizing<String> {
    let mut protocol = vec![
        ("oauth_consumer_key", encoded(keys.consumer_key)),
        ("oauth_signature_method", encoded(name(keys.signature).as_bytes())),
        ("oauth_timestamp", moment.seconds.to_string()),
        ("oauth_nonce", encoded(moment.nonce.as_bytes())),
    ];
    if !keys.token.is_empty() {
        protocol.insert(1, ("oauth_token", encoded(keys.token)));
    }
    if moment.version {
        protocol.push(("oauth_version", "1.0".to_owned()));
    }
    let base = base_string(method, url, form, &protocol);
    let key = Zeroizing::new(format!("{}&{}", encoded(keys.consumer_secret), encoded(keys.token_secret)));
    let mac = |algorithm| {
        let key = hmac::Key::new(algorithm, key.as_bytes());
        Zeroizing::new(STANDARD.encode(hmac::sign(&key, base.as_bytes())))
    };
    let signature = match keys.signature {
        OAuth1Signature::HmacSha1 => mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        OAuth1Signature::HmacSha256 => mac(hmac::HMAC_SHA256),
        OAuth1Signature::Plaintext => key,
    };
    let mut value = Zeroizing::new(String::with_capacity(512 + 3 * signature.len()));
    value.push_str("OAuth ");
    if let Some(realm) = keys.realm {
        value.push_str(&format!("realm=\"{realm}\", "));
    }
    for (name, text) in &protocol {
        value.push_str(&format!("{name}=\"{text}\", "));
    }
    let signature = Zeroizing::new(encoded(signature.as_bytes()));
    value.push_str(&format!("oauth_signature=\"{}\"", signature.as_str()));
    value
}

fn name(signature: OAuth1Signature) -> &'static str {
    match signature {
        OAuth1Signature::HmacSha1 => "HMAC-SHA1",
        OAuth1Signature::HmacSha256 => "HMAC-SHA256",
        OAuth1Signature::Plaintext => "PLAINTEXT",
    }
}

/// Section 3.4.1.
fn base_string(method: &str, url: &Url, form: &str, protocol: &[(&str, String)]) -> String {
    let fields = [url.query().unwrap_or_default(), form];
    let mut all: Vec<(String, String)> = fields
        .into_iter()
        .flat_map(pairs)
        .map(|pair| (pair.name, pair.value.unwrap_or_default()))
        .chain(protocol.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
        .collect();
    all.sort();
    let all: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let place = format!("{}://{}{}", url.scheme(), authority(url), url.path());
    [method.to_ascii_uppercase(), place, all.join("&")].map(|part| encoded(part.as_bytes())).join("&")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use http::{HeaderMap, Method};

    use super::*;

    fn moment(seconds: i64, nonce: &str, version: bool) -> Moment {
        Moment { seconds, nonce: nonce.to_owned(), version }
    }

    /// The keys of RFC 5849 section 1.2.
    const PHOTOS: Keys<'_> = Keys {
        consumer_key: b"dpf43f3p2l4k3l03",
        consumer_secret: b"kd94hf93k423kf44",
        token: b"nnch734d00sl2jdk",
        token_secret: b"pfkkdhi9sl3r4s00",
        signature: OAuth1Signature::HmacSha1,
        realm: Some("Photos"),
    };

    #[test]
    fn the_example_of_rfc_5849_section_1_2() {
        let url = Url::parse("http://photos.example.net/photos?file=vacation.jpg&size=original").unwrap();
        let value = authorization(&PHOTOS, "GET", &url, "", &moment(137131202, "chapoH", false));
        assert_eq!(
            value.as_str(),
            "OAuth realm=\"Photos\", oauth_consumer_key=\"dpf43f3p2l4k3l03\", oauth_token=\"nnch734d00sl2jdk\", \
             oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"137131202\", oauth_nonce=\"chapoH\", \
             oauth_signature=\"MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D\""
        );
    }

    #[test]
    fn the_base_string_of_rfc_5849_section_3_4_1_1() {
        let url = Url::parse("http://EXAMPLE.com:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b").unwrap();
        let protocol = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        assert_eq!(
            base_string("post", &url, "c2&a3=2+q", &protocol),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D\
             %26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1\
             %26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    /// The example in Twitter's documentation "Creating a signature": a form, a version and characters to encode.
    #[test]
    fn the_example_of_twitter() {
        let keys = Keys {
            consumer_key: b"xvz1evFS4wEEPTGEFPHBog",
            consumer_secret: b"kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token: b"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            token_secret: b"LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
            signature: OAuth1Signature::HmacSha1,
            realm: None,
        };
        let url = Url::parse("https://api.twitter.com/1/statuses/update.json?include_entities=true").unwrap();
        let form = "status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21";
        let moment = moment(1318622958, "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg", true);
        let value = authorization(&keys, "POST", &url, form, &moment);
        assert!(
            value.ends_with("oauth_version=\"1.0\", oauth_signature=\"tnnArxj06cWHq44gCs1OSKk%2FjLY%3D\""),
            "{}",
            *value
        );
    }

    #[test]
    fn sha256_and_no_token() {
        let keys =
            Keys { signature: OAuth1Signature::HmacSha256, token: b"", token_secret: b"", realm: None, ..PHOTOS };
        let url = Url::parse("https://a.test:8443/x").unwrap();
        let value = authorization(&keys, "GET", &url, "", &moment(1, "n", true));
        assert!(!value.contains("oauth_token=") && value.contains("\"HMAC-SHA256\""), "{}", *value);
        // Computed with Python's hmac over the base string of section 3.4.1.
        assert!(value.ends_with("oauth_signature=\"B4AHjMRDTAHCizA9lNMwoT7Ou9gqNGWwFdKLs16GTOI%3D\""), "{}", *value);
    }

    fn sent(keys: &Keys<'_>, url: &str, content_type: &str, body: Body) -> Result<(String, Vec<String>), EgressError> {
        let (mut url, mut headers) = (Url::parse(url).unwrap(), HeaderMap::new());
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        let mut forms = Vec::new();
        let message = Message { method: &Method::POST, url: &mut url, headers: &mut headers, body: &body };
        sign(keys, message, &moment(1, "n", true), &mut forms)?;
        assert!(headers[header::AUTHORIZATION].is_sensitive());
        let forms = forms.iter().map(|form| String::from_utf8(form.to_vec()).unwrap()).collect();
        Ok((headers[header::AUTHORIZATION].to_str().unwrap().to_owned(), forms))
    }

    #[test]
    fn plaintext_only_over_tls_and_scrubbed_as_it_was_sent() {
        let keys = Keys { consumer_secret: b"canary/secret", signature: OAuth1Signature::Plaintext, ..PHOTOS };
        let (value, forms) = sent(&keys, "https://a.test/", "text/plain", Body::Empty).unwrap();
        assert!(value.contains("oauth_signature=\"canary%252Fsecret%26pfkkdhi9sl3r4s00\""), "{value}");
        assert_eq!(forms, ["canary%252Fsecret", "pfkkdhi9sl3r4s00"]);
        let error = sent(&keys, "http://127.0.0.1:1/", "text/plain", Body::Empty).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }

    #[test]
    fn a_form_is_signed_and_another_body_is_not() {
        let form = "application/x-www-form-urlencoded";
        let body = |text: &'static str| Body::Bytes(Bytes::from_static(text.as_bytes()));
        let of = |content_type: &str, text| sent(&PHOTOS, "https://a.test/", content_type, body(text)).unwrap().0;
        assert_ne!(of(form, "a=1"), of(form, "a=2"));
        assert_eq!(of("application/json", "a=1"), of("application/json", "a=2"));
        let stream = || Body::Stream { stream: futures_util::stream::empty().boxed(), length: None };
        assert!(sent(&PHOTOS, "https://a.test/", form, stream()).is_err());
        assert!(sent(&PHOTOS, "https://a.test/", "text/plain", stream()).is_ok());
    }

    #[test]
    fn a_nonce_is_never_the_same() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }
}
