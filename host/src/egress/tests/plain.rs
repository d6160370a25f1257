//! Requests without an account: only where the operator says, with nothing of any account, and in the audit.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};

use super::super::dial::{Lookup, SystemLookup};
use super::super::{
    Answer, Body, Credential, Egress, EgressError, Grant, MemoryAudit, Narrow, PlainHost, Policy, Request,
};
use super::live;
use super::peer::{Peer, answer};
use super::world::{World, allow};
use crate::caller::Caller;

fn plain(policy: Policy, hosts: &[&str]) -> Policy {
    Policy { plain: hosts.iter().map(|host| PlainHost::parse(host).expect(host)).collect(), ..policy }
}

async fn send(egress: &Egress, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, EgressError> {
    let mut request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    if method == "POST" {
        request.body = Body::Bytes(Bytes::from_static(b"body"));
    }
    egress.send(Credential::Plain(&Caller::local()), request).await
}

fn egress(policy: Policy, lookup: Arc<dyn Lookup>) -> (Egress, Arc<MemoryAudit>) {
    let audit = Arc::new(MemoryAudit::default());
    (Egress::with_lookup(policy, audit.clone(), lookup).unwrap(), audit)
}

#[tokio::test]
async fn a_plain_request_carries_what_the_caller_wrote_and_no_more() {
    let peer = Peer::replying(|_, _| answer("302 Found\r\nset-cookie: a=b\r\nlocation: /next", b"hello")).await;
    let (egress, audit) = egress(plain(allow(&[&peer]), &[&peer.address.to_string()]), Arc::new(SystemLookup));
    let url = format!("{}/x?q=canary", peer.origin());
    let got = send(&egress, "POST", &url, &[("authorization", "Bearer mine"), ("x-mine", "1")]).await.unwrap();
    assert_eq!((got.status.as_u16(), got.renewed, got.failed), (302, false, false));
    assert!(!got.headers.contains_key("set-cookie"));
    assert_eq!(got.body.collect(10).await.unwrap(), b"hello");
    let expected = format!(
        "POST /x?q=canary HTTP/1.1\r\nauthorization: Bearer mine\r\nx-mine: 1\r\naccept-encoding: identity\r\n\
         user-agent: deputy/{}\r\naccept: */*\r\nhost: {}\r\ncontent-length: 4\r\n\r\nbody",
        env!("CARGO_PKG_VERSION"),
        peer.address
    );
    assert_eq!(peer.requests(), [expected], "the redirect is an answer and is not followed");
    let line = audit.lines().pop().unwrap();
    assert_eq!((line.purpose.as_str(), line.account, line.app.as_str()), ("plain", None, ""));
    assert_eq!((line.origin, line.path.as_str(), line.status), (peer.origin(), "/x", Some(302)));
    assert_eq!((line.request_bytes, line.response_bytes, line.scrubbed), (4, 5, 0));
}

#[tokio::test]
async fn refused_plain_requests_open_no_connection_and_are_audited() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let (egress, audit) = egress(plain(allow(&[&peer]), &[&peer.address.to_string()]), Arc::new(SystemLookup));
    let url = |path: &str| format!("{}{path}", peer.origin());
    let elsewhere = format!("http://localhost:{}/", peer.address.port());
    for (url, headers, code) in [
        ("/x", &[][..], "invalid_request"),
        (elsewhere.as_str(), &[], "denied"),
        ("https://elsewhere.test/?canary", &[], "denied"),
        ("http://127.0.0.1:1/", &[], "denied"),
        (&url("/"), &[("host", "elsewhere.test")], "denied"),
        (&url("/"), &[("cookie", "a=b")], "denied"),
        (&url("/"), &[("x_forwarded_host", "a")], "denied"),
        (&url("/"), &[("transfer-encoding", "chunked")], "denied"),
        (&url("/../x"), &[], "invalid_request"),
    ] {
        let error = send(&egress, "GET", url, headers).await.unwrap_err();
        assert_eq!(error.code(), code, "{url} {headers:?}: {error}");
        assert!(error.fix().is_some() && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    let mut named = Request::new(Method::GET, url("/"));
    named.rule_set = Some("user".to_owned());
    let error = egress.send(Credential::Plain(&Caller::local()), named).await.unwrap_err();
    assert_eq!(error.code(), "invalid_request");
    assert_eq!(peer.connections(), 0);
    let lines = audit.lines();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.purpose == "plain" && line.error.is_some()));
}

/// Every name leads to loopback.
struct Home;

impl Lookup for Home {
    fn lookup(&self, _: String, port: u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) })
    }
}

#[tokio::test]
async fn a_star_never_leads_inside_even_where_the_address_is_allowed() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"inside")).await;
    let port = peer.address.port();
    let (star, named) = (format!("*:{port}"), format!("inside.test:{port}"));
    let url = format!("http://inside.test:{port}/");
    let (egress_star, _) = egress(plain(allow(&[&peer]), &[&star]), Arc::new(Home));
    let error = send(&egress_star, "GET", &url, &[]).await.unwrap_err();
    assert!(matches!(error, EgressError::Denied { rule: "address", .. }), "{error}");
    assert_eq!(peer.connections(), 0);
    let (egress_both, _) = egress(plain(allow(&[&peer]), &[&star, &named]), Arc::new(Home));
    assert_eq!(send(&egress_both, "GET", &url, &[]).await.unwrap().status.as_u16(), 200);
    // Plain http is for allowed addresses.
    let (egress_named, _) = egress(plain(Policy::default(), &[&named]), Arc::new(Home));
    let error = send(&egress_named, "GET", &url, &[]).await.unwrap_err();
    assert!(matches!(error, EgressError::Denied { rule: "address", .. }), "{error}");
}

#[tokio::test]
async fn plain_requests_share_no_connection_with_accounts() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let world = World::new(live(&peer.origin()), plain(allow(&[&peer]), &[&peer.address.to_string()]));
    for _ in 0..2 {
        world.body("/").await.unwrap();
        let url = format!("{}/", peer.origin());
        send(&world.egress, "GET", &url, &[]).await.unwrap().body.collect(10).await.unwrap();
    }
    assert_eq!(peer.connections(), 2);
    let with_secret = peer.requests().iter().filter(|request| request.contains("canary-secret")).count();
    assert_eq!(with_secret, 2);
}

#[tokio::test]
async fn a_narrowed_grant_is_held_on_the_road() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let mut world = World::at(&peer);
    let narrow = Narrow { prop: "slack".into(), methods: vec!["GET".into()], paths: vec!["/open".into()] };
    world.grant = Grant { narrow: Some(Arc::new(narrow)), ..world.grant };
    world.body("/open/x").await.unwrap();
    for (method, path, expected) in [
        ("POST", "/open/x", "grant-method"),
        ("GET", "/other", "grant-path"),
        ("GET", "/openx", "grant-path"),
        ("GET", "/open/..%2fother", "encoded-path"),
        ("GET", "/open;/../x", "invalid"),
    ] {
        let request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), path);
        match world.send(request).await.unwrap_err() {
            EgressError::Denied { rule, .. } => assert_eq!(rule, expected, "{path}"),
            EgressError::Invalid { .. } => assert_eq!("invalid", expected, "{path}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(peer.requests().len(), 1);
}
