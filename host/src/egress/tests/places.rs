//! Credentials in bodies, in paths and in signatures, as bytes on the wire.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use deputy_declaration::types::{AwsSigv4, NamedTemplate, OAuth1, OAuth1Signature, Rule, RuleSet, Signer, Template};
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::super::{Body, Live, Request};
use super::peer::{Peer, answer};
use super::world::{World, allow, copy};
use super::{live, text, token};
use crate::vault::Secret;

const SET: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &'static str) -> Request {
    let mut request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    if !body.is_empty() {
        request.body = Body::Bytes(Bytes::from_static(body.as_bytes()));
    }
    request
}

fn stream() -> Body {
    Body::Stream { stream: futures_util::stream::iter([Ok(Bytes::from_static(b"{}"))]).boxed(), length: Some(2) }
}

fn ruled(origin: &str, rules: Vec<Rule>) -> Live {
    let mut live = live(origin);
    Arc::make_mut(&mut live.declaration).methods[0].rule_sets = vec![RuleSet { name: "key".into(), rules }];
    live
}

async fn world(peer: &Peer, rules: Vec<Rule>) -> World {
    World::new(ruled(&peer.origin(), rules), allow(&[peer]))
}

fn field(name: &str) -> Rule {
    Rule::Body(NamedTemplate { name: name.into(), value: vec![token("key", &[])] })
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_body_field_goes_out_with_the_right_length() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let json = world(&peer, vec![field("/auth/key")]).await;
    let form = world(&peer, vec![field("api_key")]).await;
    json.send(request("POST", "/x", &[JSON], "{\"a\": [1.0], \"auth\":{}}")).await.unwrap();
    json.send(request("DELETE", "/x", &[], "")).await.unwrap();
    form.send(request("POST", "/x", &[FORM], "a=%20b")).await.unwrap();
    form.send(request("PUT", "/x", &[], "")).await.unwrap();
    form.send(request("POST", "/x", &[("content-type", "application/vnd.api+json")], "{}")).await.unwrap();
    let wanted = [
        ("application/json", r#"{"a":[1.0],"auth":{"key":"canary-secret-1234"}}"#),
        ("application/json", r#"{"auth":{"key":"canary-secret-1234"}}"#),
        ("application/x-www-form-urlencoded", "a=%20b&api_key=canary-secret-1234"),
        ("application/x-www-form-urlencoded", "api_key=canary-secret-1234"),
        ("application/vnd.api+json", r#"{"api_key":"canary-secret-1234"}"#),
    ];
    for (sent, (content_type, body)) in peer.requests().iter().zip(wanted) {
        let (head, rest) = sent.split_once("\r\n\r\n").unwrap();
        assert_eq!(rest, body);
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{head}");
        assert_eq!(head.matches("content-length:").count(), 1, "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(!head.contains("canary"), "{head}");
    }
    assert_eq!(peer.requests().len(), 5);
}

#[tokio::test]
async fn what_takes_no_field_is_refused_before_a_connection() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let json = world(&peer, vec![field("/key")]).await;
    let form = world(&peer, vec![field("api_key")]).await;
    for (world, sent) in [
        (&json, request("POST", "/", &[JSON], "{\"KEY\":\"mine\"}")),
        (&json, request("POST", "/", &[JSON], "[]")),
        (&json, request("POST", "/", &[FORM], "a=1")),
        (&json, request("POST", "/", &[("content-type", "text/plain")], "a")),
        (&json, request("POST", "/", &[], "{}")),
        (&json, request("GET", "/", &[], "")),
        (&json, request("POST", "/", &[JSON, ("content-encoding", "gzip")], "{}")),
        (&form, request("POST", "/", &[FORM], "API-key=mine")),
        (&form, request("POST", "/", &[FORM, JSON], "a=1")),
        (&json, Request { body: stream(), ..request("POST", "/", &[JSON], "") }),
    ] {
        let error = world.send(sent).await.unwrap_err();
        assert_eq!(error.code(), "denied", "{error}");
        assert!(error.fix().is_some() && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn a_path_segment_stands_on_the_wire_and_nowhere_else() {
    let place = Peer::replying(|_, _| answer("200 OK", b"")).await.origin();
    let peer = Peer::replying(move |_, request| {
        let line = String::from_utf8_lossy(request).lines().next().unwrap().to_owned();
        let path = line.split(' ').nth(1).unwrap().to_owned();
        answer(&format!("302 Found\r\nlocation: {place}{path}"), line.as_bytes())
    })
    .await;
    let mut account = ruled(&peer.origin(), vec![Rule::Path(vec![text("/bot"), token("key", &[])])]);
    account.tokens.insert("key".into(), Secret::new(b"123:canary-secret/1".to_vec()));
    Arc::make_mut(&mut account.declaration).reach.paths = vec!["/getMe".into()];
    let world = World::new(account, allow(&[&peer]));
    for url in ["/getMe?a=1".to_owned(), format!("{}/getMe?a=1", peer.origin())] {
        let got = world.get(&url).await.unwrap();
        let shown = format!("{:?}", got.headers);
        assert!(shown.contains("/bot[redacted]") && !shown.contains("canary"), "{shown}");
        let body = String::from_utf8(got.body.collect(1000).await.unwrap()).unwrap();
        assert!(body.contains("/bot[redacted]") && !body.contains("canary"), "{body}");
    }
    for sent in peer.requests() {
        assert!(sent.starts_with("GET /bot123:canary-secret%2F1/getMe?a=1 HTTP/1.1\r\n"), "{sent}");
        assert_eq!(sent.matches("canary").count(), 1, "{sent}");
    }
    let connections = peer.connections();
    for url in ["/botmine:1/getMe", "/other", "https://elsewhere.test/getMe"] {
        let error = world.get(url).await.unwrap_err();
        assert_eq!(error.code(), "denied", "{url}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(peer.connections(), connections);
    let lines = world.audit.lines();
    let paths: Vec<&str> = lines.iter().map(|line| line.path.as_str()).collect();
    assert_eq!(paths, ["/bot{key}/getMe", "/bot{key}/getMe", "/botmine:1/getMe", "/other", "/getMe"]);
}

fn one(name: &str) -> Template {
    vec![token(name, &[])]
}

fn aws(origin: &str, service: &str) -> Live {
    let sign = AwsSigv4 {
        access_key: one("key"),
        secret_key: one("secret"),
        session_token: Some(one("session")),
        region: vec![text("eu-west-1")],
        service: vec![text(service)],
    };
    let mut live = ruled(origin, vec![Rule::Sign(Signer::AwsSigv4(sign))]);
    live.tokens.insert("key".into(), Secret::new(b"AKIACANARY1".to_vec()));
    live.tokens.insert("secret".into(), Secret::new(b"canary-secret-aws1".to_vec()));
    live
}

/// Checks a request as AWS does: from its bytes alone. The path is taken as it stands, as S3 takes it.
fn is_signed_for_aws(sent: &str, secret: &str) -> bool {
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let mut line = lines.next().unwrap().split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let header = |name: &str| headers.iter().find(|(one, _)| *one == name).unwrap().1;
    let authorization = header("authorization").strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
    let (credential, rest) = authorization.split_once(", SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(", Signature=").unwrap();
    let scope = credential.split_once('/').unwrap().1;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut fields: Vec<String> = query
        .split('&')
        .filter(|field| !field.is_empty())
        .map(|field| if field.contains('=') { field.to_owned() } else { format!("{field}=") })
        .collect();
    fields.sort();
    let hash = |bytes: &[u8]| HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref());
    let signed: String = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let canonical = format!("{method}\n{path}\n{}\n{signed}\n{names}\n{}", fields.join("&"), hash(body.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", header("x-amz-date"), hash(canonical.as_bytes()));
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, word| mac(&key, word));
    HEXLOWER.encode(&mac(&key, &to_sign)) == signature
}

#[tokio::test]
async fn aws_signs_what_is_on_the_wire_and_anew_after_a_refresh() {
    let peer = Peer::replying(|_, request| {
        let fresh = String::from_utf8_lossy(request).contains("AKIACANARY2");
        if fresh { answer("200 OK", b"AKIACANARY2") } else { answer("401 Unauthorized", b"") }
    })
    .await;
    let renew = |live: &Live| {
        let mut next = copy(live);
        next.generation += 1;
        next.tokens.insert("key".into(), Secret::new(b"AKIACANARY2".to_vec()));
        next.tokens.insert("secret".into(), Secret::new(b"canary-secret-aws2".to_vec()));
        next.tokens.insert("session".into(), Secret::new(b"canary-session-2".to_vec()));
        Ok(next)
    };
    let world = World::renewing(aws(&peer.origin(), "s3"), allow(&[&peer]), renew);
    let sent = request("PUT", "/b/a:b%20c?acl&z=a+b", &[("X-Amz-Acl", "private"), JSON], "{\"a\":1}");
    let got = world.send(sent).await.unwrap();
    assert!(got.renewed);
    assert_eq!(got.body.collect(100).await.unwrap(), b"[redacted]*");
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    for (sent, secret) in requests.iter().zip(["canary-secret-aws1", "canary-secret-aws2"]) {
        assert!(sent.starts_with("PUT /b/a%3Ab%20c?acl&z=a%20b HTTP/1.1\r\n"), "{sent}");
        assert!(is_signed_for_aws(sent, secret), "{sent}");
        assert!(!is_signed_for_aws(sent, "canary-secret-aws0") && !sent.contains(secret), "{sent}");
    }
    assert!(!requests[0].contains("x-amz-security-token: "));
    assert!(requests[1].contains("x-amz-security-token: canary-session-2\r\n"));
    assert!(
        requests[1].contains(
            "SignedHeaders=content-type;host;x-amz-acl;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
        )
    );
}

#[tokio::test]
async fn r13_a_callers_own_signature_is_refused() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let aws = World::new(aws(&peer.origin(), "sqs"), allow(&[&peer]));
    let oauth = World::new(oauth1(&peer.origin(), OAuth1Signature::HmacSha1), allow(&[&peer]));
    for (world, sent) in [
        (&aws, request("GET", "/", &[("authorization", "AWS4-HMAC-SHA256 Credential=mine")], "")),
        (&aws, request("GET", "/", &[("X-Amz-Date", "20200101T000000Z")], "")),
        (&aws, request("GET", "/", &[("x_amz_security_token", "mine")], "")),
        (&aws, request("GET", "/", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], "")),
        (&aws, request("GET", "/?X-Amz-Signature=00", &[], "")),
        (&aws, request("GET", "/?x-amz-credential=mine", &[], "")),
        (&aws, Request { body: stream(), ..request("POST", "/", &[], "") }),
        (&oauth, request("GET", "/", &[("authorization", "OAuth oauth_token=\"mine\"")], "")),
        (&oauth, request("GET", "/?oauth_signature=0", &[], "")),
        (&oauth, request("POST", "/", &[FORM], "a=1&oauth_token=mine")),
        (&oauth, Request { body: stream(), ..request("POST", "/", &[FORM], "") }),
    ] {
        let error = world.send(sent).await.unwrap_err();
        assert_eq!(error.code(), "denied", "{error}");
        assert!(error.fix().is_some() && !format!("{error:?}").contains("anary"), "{error:?}");
    }
    let plain = World::new(oauth1(&peer.origin(), OAuth1Signature::Plaintext), allow(&[&peer]));
    assert_eq!(plain.get("/").await.unwrap_err().code(), "denied", "PLAINTEXT without TLS");
    assert_eq!(peer.connections(), 0);
}

fn oauth1(origin: &str, signature: OAuth1Signature) -> Live {
    let sign = OAuth1 {
        consumer_key: one("consumer_key"),
        consumer_secret: one("consumer_secret"),
        token: one("token"),
        token_secret: one("token_secret"),
        signature,
        realm: Some(vec![text("4711_SB1")]),
    };
    let mut live = ruled(origin, vec![Rule::Sign(Signer::OAuth1(sign))]);
    for name in ["consumer_key", "consumer_secret", "token", "token_secret"] {
        live.tokens.insert(name.into(), Secret::new(format!("canary+{name}").into_bytes()));
    }
    live
}

/// Checks a request as RFC 5849 section 3.2 does: from its bytes alone.
fn is_signed_with_oauth1(sent: &str, origin: &str, algorithm: hmac::Algorithm) -> bool {
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut line = head.lines().next().unwrap().split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let header = head.lines().find_map(|line| line.strip_prefix("authorization: OAuth ")).unwrap();
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let encoded = |text: &str| percent_encode(text.as_bytes(), SET).to_string();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut signature = String::new();
    for pair in header.split(", ") {
        let (name, value) = pair.split_once('=').unwrap();
        let value = decoded(value.trim_matches('"'));
        match name {
            "realm" => assert_eq!(value, "4711_SB1"),
            "oauth_signature" => signature = value,
            _ => fields.push((encoded(name), encoded(&value))),
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let form = if head.contains("x-www-form-urlencoded") { body } else { "" };
    for text in [query, form] {
        fields.extend(
            url::form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (encoded(&name), encoded(&value))),
        );
    }
    fields.sort();
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let base = format!("{method}&{}&{}", encoded(&format!("{origin}{path}")), encoded(&fields.join("&")));
    let key = format!("{}&{}", encoded("canary+consumer_secret"), encoded("canary+token_secret"));
    let mac = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), base.as_bytes());
    BASE64.encode(mac.as_ref()) == signature
}

#[tokio::test]
async fn oauth1_signs_what_is_on_the_wire() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let mut nonces = Vec::new();
    for (signature, algorithm) in [
        (OAuth1Signature::HmacSha1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (OAuth1Signature::HmacSha256, hmac::HMAC_SHA256),
    ] {
        let world = World::new(oauth1(&peer.origin(), signature), allow(&[&peer]));
        let before = peer.requests().len();
        world.send(request("GET", "/r/x%20y?b=2+3&a=%C3%BC&b=1&flag", &[], "")).await.unwrap();
        world.send(request("POST", "/r?z=1", &[FORM], "c=%26&a+b=")).await.unwrap();
        world.send(request("POST", "/r", &[JSON], "{}")).await.unwrap();
        for sent in &peer.requests()[before..] {
            assert!(is_signed_with_oauth1(sent, &peer.origin(), algorithm), "{sent}");
            assert!(!is_signed_with_oauth1(
                &sent.replace("POST /r", "POST /s").replace("GET /r", "GET /s"),
                &peer.origin(),
                algorithm
            ));
            assert!(!sent.contains("_secret"), "{sent}");
            nonces.push(sent.split("oauth_nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned());
        }
    }
    assert_eq!(nonces.len(), 6);
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 6, "a nonce is used once");
}

#[tokio::test]
async fn a_missing_key_is_never_a_request_without() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let mut account = aws(&peer.origin(), "s3");
    account.tokens.remove("secret");
    let error = World::new(account, allow(&[&peer])).get("/").await.unwrap_err();
    assert!(matches!(error, super::super::EgressError::Denied { rule: "credential", .. }), "{error}");
    for (name, value) in [("key", "AKIA/evil"), ("key", "AKIA, Signature=0"), ("key", "")] {
        let mut account = aws(&peer.origin(), "s3");
        account.tokens.insert(name.into(), Secret::new(value.as_bytes().to_vec()));
        assert_eq!(World::new(account, allow(&[&peer])).get("/").await.unwrap_err().code(), "denied", "{value}");
    }
    let hook = world(&peer, vec![Rule::Sign(Signer::Hook)]).await;
    assert_eq!(hook.get("/").await.unwrap_err().code(), "internal");
    assert_eq!(peer.connections(), 0);
}
