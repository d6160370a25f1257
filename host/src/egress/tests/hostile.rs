//! Peers that hang, drip, flood, bomb or break the protocol, and resolvers that point inside.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::Method;
use tokio::io::AsyncWriteExt;

use super::super::dial::Lookup;
use super::super::{Body, EgressError, Limits, Policy, Request};
use super::live;
use super::peer::{Peer, answer, chunked};
use super::world::{World, allow, renewed};

fn limited(peer: &Peer, change: impl FnOnce(&mut Limits)) -> World {
    let mut policy = allow(&[peer]);
    change(&mut policy.limits);
    World::new(live(&peer.origin()), policy)
}

/// Writes the head, then `piece` again and again until the other side goes away.
async fn flood(head: &'static [u8], piece: Vec<u8>) -> (Peer, Arc<AtomicU64>) {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let peer = Peer::scripted(Arc::new(move |_, _, mut stream| {
        let (piece, count) = (piece.clone(), count.clone());
        Box::pin(async move {
            stream.write_all(head).await.ok()?;
            while stream.write_all(&piece).await.is_ok() {
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            None
        })
    }))
    .await;
    (peer, written)
}

/// Writes the given bytes and then keeps still.
async fn stuck(bytes: &'static [u8]) -> Peer {
    Peer::scripted(Arc::new(move |_, _, mut stream| {
        Box::pin(async move {
            stream.write_all(bytes).await.ok()?;
            std::future::pending().await
        })
    }))
    .await
}

#[tokio::test]
async fn r9_an_endless_body_is_cut_at_the_limit() {
    let mut piece = b"10000\r\n".to_vec();
    piece.extend_from_slice(&[b'x'; 0x10000]);
    piece.extend_from_slice(b"\r\n");
    let (peer, written) = flood(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", piece).await;
    let world = limited(&peer, |limits| limits.response_bytes = 4 << 20);
    let mut body = world.get("/").await.unwrap().body;
    let (mut total, mut largest, mut error) = (0, 0, None);
    while let Some(item) = body.next().await {
        match item {
            Ok(chunk) => {
                total += chunk.len();
                largest = largest.max(chunk.len());
            }
            Err(other) => error = Some(other),
        }
    }
    assert_eq!(error.unwrap().code(), "too_large");
    assert!(total <= 4 << 20 && largest <= 1 << 20, "{total} {largest}");
    // Nothing is gathered: beyond the limit only what socket buffers hold was ever taken from the peer.
    assert!(written.load(Ordering::SeqCst) < 20 << 20, "{written:?}");
    drop(body);
    assert_eq!(world.audit.lines()[0].error.as_deref(), Some("too_large"));
}

#[tokio::test]
async fn r9_an_announced_ten_gigabytes_are_refused_at_once() {
    let peer = stuck(b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\nx").await;
    let error = World::at(&peer).get("/").await.unwrap_err();
    assert_eq!(error.code(), "too_large");
    let peer = Peer::replying(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n".to_vec()).await;
    let got = World::at(&peer).send(Request::new(Method::HEAD, "/")).await.unwrap();
    assert_eq!(got.headers["content-length"], "10737418240", "a HEAD answer has no body");
}

#[tokio::test]
async fn r9_silence_and_drips_end_in_a_timeout() {
    let peer = stuck(b"").await;
    let world = limited(&peer, |limits| limits.first_byte_ms = 50);
    assert_eq!(world.get("/").await.unwrap_err().code(), "timeout");

    let mut request = Request::new(Method::GET, "/");
    request.timeout = Some(std::time::Duration::from_millis(50));
    let error = World::at(&peer).send(request).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { limit_ms: 50, .. }), "{error}");

    let peer = stuck(b"HTTP/1.1 200 OK\r\nx-half").await;
    let world = limited(&peer, |limits| limits.first_byte_ms = 50);
    assert_eq!(world.get("/").await.unwrap_err().code(), "timeout");

    let peer = stuck(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx").await;
    let world = limited(&peer, |limits| limits.total_ms = 100);
    assert_eq!(world.body("/").await.unwrap_err().code(), "timeout");

    let peer = Peer::scripted(Arc::new(|_, _, mut stream| {
        Box::pin(async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok()?;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            None
        })
    }))
    .await;
    let world = limited(&peer, |limits| limits.total_ms = 100);
    assert_eq!(world.body("/").await.unwrap_err().code(), "timeout");
}

#[tokio::test]
async fn answers_that_break_the_protocol() {
    for (reply, code) in [
        (&b"<html>hello</html>\r\n\r\n"[..], "protocol_error"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "protocol_error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", "protocol_error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: canary\r\n\r\n", "protocol_error"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "protocol_error"),
        (b"", "interrupted"),
    ] {
        let peer = Peer::scripted(Arc::new(move |_, _, mut stream| {
            Box::pin(async move {
                stream.write_all(reply).await.ok()?;
                None
            })
        }))
        .await;
        let error = World::at(&peer).body("/").await.unwrap_err();
        assert_eq!(error.code(), code, "{:?} {error}", String::from_utf8_lossy(reply));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let peer = Peer::scripted(Arc::new(|_, _, mut stream| {
        Box::pin(async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.ok()?;
            None
        })
    }))
    .await;
    assert!(World::at(&peer).body("/").await.is_err(), "a body that ends early is not a whole one");
}

#[tokio::test]
async fn html_is_just_a_body() {
    let peer = Peer::replying(|_, _| answer("200 OK\r\ncontent-type: text/html", b"<h1>login</h1>")).await;
    assert_eq!(World::at(&peer).body("/").await.unwrap(), b"<h1>login</h1>");
}

#[tokio::test]
async fn r9_endless_headers_end() {
    let (peer, written) = flood(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n".repeat(50)).await;
    let error = World::at(&peer).get("/").await.unwrap_err();
    assert!(matches!(error.code(), "protocol_error" | "too_large"), "{error}");
    assert!(written.load(Ordering::SeqCst) < 20 << 20);
    let (peer, _) = flood(b"HTTP/1.1 200 OK\r\nx-long: ", vec![b'x'; 4096]).await;
    let error = World::at(&peer).get("/").await.unwrap_err();
    assert!(matches!(error.code(), "protocol_error" | "too_large"), "{error}");
    let long = format!("200 OK\r\nx-long: {}", "x".repeat(70_000));
    let peer = Peer::replying(move |_, _| answer(&long, b"")).await;
    assert_eq!(World::at(&peer).get("/").await.unwrap_err().code(), "too_large");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn r9_compressed_answers_are_decoded_with_a_bound_and_scrubbed() {
    let small = gzip(b"{\"echo\":\"canary-secret-1234\"}");
    let bomb = gzip(&vec![0; 30 << 20]);
    let peer = Peer::replying(move |n, _| match n {
        0 => chunked("200 OK\r\ncontent-encoding: gzip", &[&small[..9], &small[9..]]),
        1 => answer("200 OK\r\ncontent-encoding: gzip", &bomb),
        2 => answer("200 OK\r\ncontent-encoding: br", b"x"),
        _ => b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 44\r\n\r\n".to_vec(),
    })
    .await;
    let world = World::at(&peer);
    let got = world.get("/").await.unwrap();
    assert!(!got.headers.contains_key("content-encoding"));
    assert_eq!(got.body.collect(100).await.unwrap(), b"{\"echo\":\"[redacted]********\"}");
    assert_eq!(world.body("/").await.unwrap_err().code(), "protocol_error");
    assert_eq!(world.body("/").await.unwrap_err().code(), "protocol_error");
    let got = world.send(Request::new(Method::HEAD, "/")).await.unwrap();
    assert_eq!(got.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn r9_request_bodies_have_a_limit() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let world = limited(&peer, |limits| limits.request_bytes = 1000);
    let post = |body: Body| {
        let mut request = Request::new(Method::POST, "/");
        request.body = body;
        world.send(request)
    };
    let endless = |length| Body::Stream {
        stream: futures_util::stream::repeat_with(|| Ok(Bytes::from_static(&[0; 100]))).boxed(),
        length,
    };
    assert_eq!(post(Body::Bytes(vec![0; 1001].into())).await.unwrap_err().code(), "too_large");
    assert_eq!(post(endless(Some(1001))).await.unwrap_err().code(), "too_large");
    assert_eq!(peer.connections(), 0);
    assert_eq!(post(endless(None)).await.unwrap_err().code(), "too_large");
    let short = futures_util::stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed();
    let error = post(Body::Stream { stream: short, length: Some(5) }).await.unwrap_err();
    assert_eq!(error.code(), "invalid_request", "{error}");
    let broken = futures_util::stream::iter([Err(std::io::Error::other("canary"))]).boxed();
    let error = post(Body::Stream { stream: broken, length: None }).await.unwrap_err();
    assert_eq!(error.code(), "invalid_request", "{error}");
    assert!(peer.requests().is_empty(), "no whole request arrived");
}

/// Answers every name with the same addresses.
struct Rigged(Vec<IpAddr>);

impl Lookup for Rigged {
    fn lookup(&self, _: String, _: u16) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        // A port of its own choice must not be followed either.
        let addresses = self.0.iter().map(|ip| SocketAddr::new(*ip, 1)).collect();
        Box::pin(async { Ok(addresses) })
    }
}

#[tokio::test]
async fn r7_a_hostile_resolver_opens_no_connection() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let port = peer.address.port();
    for addresses in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["0.0.0.0"],
        &["192.168.0.1"],
        &["1.1.1.1", "127.0.0.1"],
        &["127.0.0.1", "2606:4700:4700::1111"],
    ] {
        let lookup = Rigged(addresses.iter().map(|text| text.parse().unwrap()).collect());
        let account = live(&format!("https://rebind.test:{port}"));
        let world = World::with_lookup(account, Policy::default(), renewed, Arc::new(lookup));
        let error = world.get("/").await.unwrap_err();
        assert!(matches!(error, EgressError::Denied { rule: "address", .. }), "{addresses:?}: {error}");
    }
    assert_eq!(peer.connections(), 0);

    let account = live("https://nowhere.test");
    let world = World::with_lookup(account, Policy::default(), renewed, Arc::new(Rigged(Vec::new())));
    assert_eq!(world.get("/").await.unwrap_err().code(), "unreachable");
}

#[tokio::test]
async fn r7_a_name_may_lead_to_an_allowed_address_only() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"inside")).await;
    let origin = format!("http://inside.test:{}", peer.address.port());
    let here = || Arc::new(Rigged(vec!["127.0.0.1".parse().unwrap()]));
    let world = World::with_lookup(live(&origin), allow(&[&peer]), renewed, here());
    assert_eq!(world.body("/").await.unwrap(), b"inside");
    assert!(peer.requests()[0].contains(&format!("host: inside.test:{}\r\n", peer.address.port())));
    let world = World::with_lookup(live(&origin), Policy::default(), renewed, here());
    assert_eq!(world.get("/").await.unwrap_err().code(), "denied");
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn r7_a_private_address_needs_the_operator() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let world = World::new(live(&peer.origin()), Policy::default());
    let error = world.get("/").await.unwrap_err();
    assert_eq!(error.code(), "denied");
    let fix = error.fix().unwrap();
    assert!(fix.contains(&format!("[egress] allow = [\"{}\"]", peer.address)) && fix.contains("deputy.toml"), "{fix}");
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn an_override_sends_a_name_elsewhere_and_keeps_its_host() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"mirror")).await;
    for (origin, key, host) in [
        ("http://mirror.test", "mirror.test:80", "mirror.test"),
        ("http://mirror.test:8000", "mirror.test:8000", "mirror.test:8000"),
    ] {
        let mut policy = allow(&[&peer]);
        policy.resolve.insert(key.into(), peer.address);
        let world = World::with_lookup(live(origin), policy, renewed, Arc::new(Rigged(Vec::new())));
        assert_eq!(world.body("/").await.unwrap(), b"mirror");
        let request = peer.requests().pop().unwrap();
        assert_eq!(request.matches("host: ").count(), 1, "{request}");
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
    }
}
