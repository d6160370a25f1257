//! What goes on the wire, what never does, and what an expiry signal leads to.

use std::sync::Arc;

use bytes::Bytes;
use deputy_declaration::types::{Condition, NamedTemplate, Rule, RuleSet, TextMatch};
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use url::Url;

use super::super::{Body, Credential, Request, TokenCall, TokensError};
use super::peer::{Peer, answer, chunked};
use super::world::{World, allow, renewed};
use super::{live, token};
use crate::caller::Caller;

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Body) -> Request {
    let mut request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    request.body = body;
    request
}

/// Also run by `proxies_of_the_environment_are_ignored` in a process of its own.
#[tokio::test]
async fn exactly_these_bytes_go_out() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"hello")).await;
    let world = World::at(&peer);
    let sent = request("GET", "/user?q=%20a", &[("X-Mine", "1"), ("x-mine", "2")], Body::Empty);
    let got = world.send(sent).await.unwrap();
    assert_eq!((got.status, got.failed, got.renewed), (StatusCode::OK, false, false));
    assert_eq!(got.headers["content-length"], "5");
    assert_eq!(got.body.collect(100).await.unwrap(), b"hello");
    // `accept: */*` comes from the HTTP library wherever neither caller nor app names one.
    let expected = format!(
        "GET /user?q=%20a HTTP/1.1\r\nx-mine: 1\r\nx-mine: 2\r\nauthorization: Bearer canary-secret-1234\r\n\
         accept-encoding: identity\r\nuser-agent: deputy/{}\r\naccept: */*\r\nhost: {}\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        peer.address
    );
    assert_eq!(peer.requests(), [expected]);
}

#[tokio::test]
async fn bodies_go_out_as_they_are() {
    let peer = Peer::replying(|_, _| answer("204 No Content", b"")).await;
    let world = World::at(&peer);
    let stream = |parts: &'static [&'static str]| {
        futures_util::stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes())))).boxed()
    };
    let bodies = [
        Body::Empty,
        Body::Bytes(Bytes::from_static(b"\x00\xff{}")),
        Body::Stream { stream: stream(&["ab", "cd"]), length: Some(4) },
        Body::Stream { stream: stream(&["ab", "cd"]), length: None },
    ];
    for body in bodies {
        world.send(request("POST", "/", &[("content-type", "x/y")], body)).await.unwrap();
    }
    let requests = peer.requests();
    let ends = |n: usize, end: &str| assert!(requests[n].ends_with(end), "{n}: {:?}", requests[n]);
    ends(0, "\r\n\r\n");
    ends(1, &format!("\r\n\r\n{}", String::from_utf8_lossy(b"\x00\xff{}")));
    ends(2, "\r\n\r\nabcd");
    ends(3, "\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    assert!(requests[1].contains("content-length: 4\r\n"));
    assert!(requests[2].contains("content-length: 4\r\n"));
    assert_eq!(world.audit.lines().iter().map(|line| line.request_bytes).collect::<Vec<_>>(), [0, 4, 4, 4]);
}

#[tokio::test]
async fn refusals_open_no_connection_and_are_audited() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let world = World::at(&peer);
    let elsewhere = "https://elsewhere.test/x?key=canary-query";
    for (url, headers, code) in [
        ("user", &[][..], "invalid_request"),
        ("//elsewhere.test/", &[], "invalid_request"),
        (elsewhere, &[], "denied"),
        ("/user", &[("authorization", "Bearer mine")], "denied"),
        ("/user", &[("Host", "elsewhere.test")], "denied"),
        ("/user", &[("transfer-encoding", "chunked")], "denied"),
        ("/user", &[("connection", "authorization")], "denied"),
        ("/user", &[("cookie", "a=b")], "denied"),
        ("/user", &[("x_forwarded_host", "elsewhere.test")], "denied"),
    ] {
        let error = world.send(request("GET", url, headers, Body::Empty)).await.unwrap_err();
        assert_eq!(error.code(), code, "{url} {headers:?}: {error}");
        assert!(error.fix().is_some(), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(peer.connections(), 0);
    let lines = world.audit.lines();
    assert_eq!(lines.len(), 9);
    assert!(lines.iter().all(|line| line.error.is_some() && line.status.is_none()));
    assert_eq!((lines[2].origin.as_str(), lines[2].path.as_str()), ("https://elsewhere.test", "/x"));
    assert!(!serde_json::to_string(&lines).unwrap().contains("canary"));
}

#[tokio::test]
async fn r6_redirects_are_answers() {
    let thief = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let place = thief.origin();
    let peer = Peer::replying(move |n, _| {
        let status = [301, 302, 303, 307, 308][n % 5];
        answer(&format!("{status} Moved\r\nlocation: {place}/?t=canary-secret-1234\r\nrefresh: 0; url={place}"), b"")
    })
    .await;
    let world = World::new(live(&peer.origin()), allow(&[&peer, &thief]));
    for status in [301, 302, 303, 307, 308] {
        let body = Body::Bytes(Bytes::from_static(b"secret body"));
        let got = world.send(request("POST", "/", &[], body)).await.unwrap();
        assert_eq!(got.status.as_u16(), status);
        assert_eq!(got.headers["location"], format!("{}/?t=[redacted]********", thief.origin()));
    }
    assert_eq!(thief.connections(), 0);
    assert_eq!(peer.requests().len(), 5);
}

#[tokio::test]
async fn r8_an_echo_is_scrubbed_at_every_cut() {
    let echo = br#"{"headers":{"authorization":"Bearer canary-secret-1234"},"b":"Y2FuYXJ5LXNlY3JldC0xMjM0"}"#;
    let peer = Peer::replying(move |n, _| {
        let cut = n % echo.len();
        chunked("200 OK\r\nx-echo: canary-secret-1234", &[&echo[..cut], &echo[cut..]])
    })
    .await;
    let world = World::at(&peer);
    for cut in 0..echo.len() {
        let got = world.get("/").await.unwrap();
        assert_eq!(got.headers["x-echo"], "[redacted]********");
        let body = String::from_utf8(got.body.collect(1000).await.unwrap()).unwrap();
        assert_eq!(
            body, r#"{"headers":{"authorization":"Bearer [redacted]********"},"b":"[redacted]**************"}"#,
            "{cut}"
        );
    }
    let line = world.audit.lines().pop().unwrap();
    assert_eq!((line.scrubbed, line.status, line.response_bytes), (3, Some(200), echo.len() as u64));
    assert_eq!(peer.connections(), 1, "one connection serves an account");
}

#[tokio::test]
async fn bytes_without_secrets_arrive_exactly() {
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sent = bytes.clone();
    let peer = Peer::replying(move |_, _| answer("200 OK", &sent)).await;
    let world = World::at(&peer);
    let got = world.get("/").await.unwrap();
    assert_eq!(got.headers["content-length"], "300000");
    assert!(got.body.collect(1 << 20).await.unwrap() == bytes);
}

#[tokio::test]
async fn an_expiry_signal_renews_once_and_sends_again() {
    let peer = Peer::replying(|_, request| {
        let fresh = String::from_utf8_lossy(request).contains("gen2");
        if fresh { answer("200 OK", b"fresh") } else { answer("401 Unauthorized", b"no") }
    })
    .await;
    let world = World::at(&peer);
    let sent = request("POST", "/", &[], Body::Bytes(Bytes::from_static(b"body")));
    let got = world.send(sent).await.unwrap();
    assert_eq!((got.status.as_u16(), got.renewed), (200, true));
    assert_eq!(got.body.collect(10).await.unwrap(), b"fresh");
    assert_eq!(*world.tokens.asked.lock().unwrap(), [1]);
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.ends_with("\r\n\r\nbody")));
    let statuses: Vec<_> = world.audit.lines().iter().map(|line| line.status).collect();
    assert_eq!(statuses, [Some(401), Some(200)]);
}

#[tokio::test]
async fn at_most_one_renewal_for_a_request() {
    let peer = Peer::replying(|_, _| answer("401 Unauthorized", b"never")).await;
    let world = World::at(&peer);
    let got = world.get("/").await.unwrap();
    assert_eq!((got.status.as_u16(), got.renewed), (401, true));
    assert_eq!(peer.requests().len(), 2);
    assert_eq!(*world.tokens.asked.lock().unwrap(), [1]);
}

#[tokio::test]
async fn many_requests_of_one_generation_refresh_once() {
    let peer = Peer::replying(|_, request| {
        let fresh = String::from_utf8_lossy(request).contains("gen2");
        if fresh { answer("200 OK", b"") } else { answer("401 Unauthorized", b"") }
    })
    .await;
    let world = World::at(&peer);
    let all = futures_util::future::join_all((0..20).map(|_| world.get("/"))).await;
    assert!(all.into_iter().all(|got| got.unwrap().status == 200));
    assert_eq!(*world.tokens.refreshed.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_streamed_body_is_sent_once() {
    let peer = Peer::replying(|_, _| answer("401 Unauthorized", b"no")).await;
    let world = World::at(&peer);
    let stream = futures_util::stream::iter([Ok(Bytes::from_static(b"once"))]).boxed();
    let got = world.send(request("POST", "/", &[], Body::Stream { stream, length: None })).await.unwrap();
    assert_eq!(got.status.as_u16(), 401);
    assert_eq!(got.body.collect(10).await.unwrap(), b"no");
    assert_eq!(peer.requests().len(), 1);
    assert_eq!(*world.tokens.refreshed.lock().unwrap(), [1], "the next request goes with a fresh token");
}

#[tokio::test]
async fn what_cannot_be_renewed() {
    let peer = Peer::replying(|_, _| answer("401 Unauthorized", b"bad key")).await;
    let name = || "test/work".to_owned();
    let world = World::renewing(live(&peer.origin()), allow(&[&peer]), move |_| {
        Err(TokensError::NotRenewable { name: name() })
    });
    let got = world.get("/").await.unwrap();
    assert_eq!((got.status.as_u16(), got.renewed), (401, false));
    assert_eq!(got.body.collect(10).await.unwrap(), b"bad key", "the provider's own answer");

    let world = World::renewing(live(&peer.origin()), allow(&[&peer]), move |_| {
        Err(TokensError::NeedsReconnect { name: name(), reason: "the grant is gone".into() })
    });
    let error = world.get("/").await.unwrap_err();
    assert_eq!(error.code(), "needs_reconnect");
    assert_eq!(error.fix().unwrap(), "run `deputy account reconnect test/work`");
    let lines = world.audit.lines();
    assert_eq!((lines[0].status, lines[0].error.as_deref()), (Some(401), Some("needs_reconnect")));
}

fn body_is(name: &str, value: &str) -> Condition {
    Condition::Body(TextMatch { name: name.into(), value: value.into() })
}

#[tokio::test]
async fn signals_behind_a_200_and_the_very_same_bytes() {
    let replies: [(&str, &[&[u8]]); 5] = [
        ("application/json", &[b"{\"ok\": fa", b"lse,\"error\":\"x\"} "]),
        ("application/json", &[b"{\"ok\":true}"]),
        ("text/html", &[b"<html>{\"ok\":false}</html>"]),
        ("application/json", &[b"<html>no json</html>"]),
        ("application/json", &[b"{\"error\":\"token_revoked\"}"]),
    ];
    let peer = Peer::replying(move |n, _| {
        let (kind, chunks) = replies[n];
        chunked(&format!("200 OK\r\ncontent-type: {kind}"), chunks)
    })
    .await;
    let mut account = live(&peer.origin());
    let signals = &mut Arc::make_mut(&mut account.declaration).signals;
    signals.expired = vec![vec![body_is("/error", "token_expired")]];
    signals.failed = vec![vec![body_is("/ok", "false")]];
    signals.revoked = vec![vec![body_is("/error", "token_revoked")]];
    let world = World::new(account, allow(&[&peer]));
    for (n, (_, chunks)) in replies.iter().enumerate() {
        let got = world.get("/").await.unwrap();
        assert_eq!(got.failed, n == 0, "{n}");
        assert_eq!(got.body.collect(1000).await.unwrap(), chunks.concat(), "{n}");
    }
    assert_eq!(*world.tokens.revoked.lock().unwrap(), [1]);
    assert!(world.tokens.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_expiry_behind_a_200_is_renewed() {
    let peer = Peer::replying(|n, _| {
        let body: &[u8] = if n == 0 { b"{\"error\":\"token_expired\"}" } else { b"{\"ok\":true}" };
        answer("200 OK\r\ncontent-type: application/json", body)
    })
    .await;
    let mut account = live(&peer.origin());
    Arc::make_mut(&mut account.declaration).signals.expired = vec![vec![body_is("/error", "token_expired")]];
    let world = World::new(account, allow(&[&peer]));
    let got = world.get("/").await.unwrap();
    assert!(got.renewed);
    assert_eq!(got.body.collect(100).await.unwrap(), b"{\"ok\":true}");
}

#[tokio::test]
async fn ten_requests_travel_at_once() {
    let all = Arc::new(tokio::sync::Barrier::new(10));
    let peer = Peer::scripted(Arc::new(move |_, _, mut stream| {
        let all = all.clone();
        Box::pin(async move {
            all.wait().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, &answer("200 OK", b"met")).await.ok()?;
            Some(stream)
        })
    }))
    .await;
    let world = World::at(&peer);
    let bodies = futures_util::future::join_all((0..10).map(|_| world.body("/"))).await;
    assert!(bodies.into_iter().all(|body| body.unwrap() == b"met"));
}

#[tokio::test]
async fn r7_accounts_share_no_connection() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
    let world = World::at(&peer);
    world.body("/").await.unwrap();
    world.body("/").await.unwrap();
    assert_eq!(peer.connections(), 1);
    let other = live(&peer.origin());
    world.tokens.replace(other);
    world.body("/").await.unwrap();
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_secret_in_a_query_shows_in_no_error_and_no_audit() {
    let mut account = live("http://127.0.0.1:9");
    Arc::make_mut(&mut account.declaration).methods[0].rule_sets = vec![RuleSet {
        name: "q".into(),
        rules: vec![Rule::Query(NamedTemplate { name: "api_key".into(), value: vec![token("key", &[])] })],
    }];
    let mut policy = super::super::Policy::default();
    policy.allow.push("127.0.0.1:9".parse().unwrap());
    let world = World::new(account, policy);
    let error = world.get("/x?mine=canary-2").await.unwrap_err();
    assert_eq!(error.code(), "unreachable", "{error}");
    assert!(!format!("{error:?} {error} {:?}", error.fix()).contains("canary"));
    assert!(!serde_json::to_string(&world.audit.lines()).unwrap().contains("canary"));
}

#[tokio::test]
async fn a_token_call_goes_to_its_endpoint_only_and_unscrubbed() {
    let peer = Peer::replying(|_, _| answer("200 OK", b"{\"access_token\":\"canary-secret-1234\"}")).await;
    let world = World::at(&peer);
    let call = TokenCall {
        caller: Caller::local(),
        app: "test".into(),
        account: None,
        purpose: "refresh",
        endpoint: Url::parse(&format!("{}/token", peer.origin())).unwrap(),
        reply_hook: None,
    };
    let credential = Credential::TokenCall(&call);
    let body = || Body::Bytes(Bytes::from_static(b"grant_type=refresh_token"));
    let headers = [("authorization", "Basic Y2xpZW50OnNlY3JldA==")];
    let sent = request("POST", &format!("{}/token", peer.origin()), &headers, body());
    let got = world.egress.send(credential, sent).await.unwrap();
    assert_eq!(got.body.collect(100).await.unwrap(), b"{\"access_token\":\"canary-secret-1234\"}");
    assert!(peer.requests()[0].contains("authorization: Basic Y2xpZW50OnNlY3JldA==\r\n"));
    let line = world.audit.lines().pop().unwrap();
    assert_eq!((line.purpose.as_str(), line.path.as_str(), line.status), ("refresh", "/token", Some(200)));

    for url in ["/token", "/token?x=1", "/other", "/token/x", "/tokens"] {
        let sent = request("POST", &format!("{}{url}", peer.origin()), &[], body());
        let outcome = world.egress.send(credential, sent).await;
        assert_eq!(outcome.is_ok(), url == "/token" || url == "/token?x=1", "{url}");
    }
    let sent = request("POST", "https://elsewhere.test/token", &[], body());
    assert_eq!(world.egress.send(credential, sent).await.unwrap_err().code(), "denied");
}

#[tokio::test]
async fn a_caller_that_goes_away_is_audited() {
    let peer = Peer::scripted(Arc::new(|_, _, stream| {
        Box::pin(async move {
            let _open = stream;
            std::future::pending().await
        })
    }))
    .await;
    let world = World::at(&peer);
    {
        let sending = std::pin::pin!(world.get("/"));
        let arrived = async {
            while peer.requests().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::select(sending, std::pin::pin!(arrived)).await;
    }
    let lines = world.audit.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].error.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_renewed_account_is_scrubbed_of_its_new_secret() {
    let peer =
        Peer::replying(|n, request| if n == 0 { answer("401 Unauthorized", b"") } else { answer("200 OK", request) })
            .await;
    let world = World::renewing(live(&peer.origin()), allow(&[&peer]), renewed);
    let body = String::from_utf8(world.body("/").await.unwrap()).unwrap();
    assert!(body.contains("authorization: Bearer [redacted]********"), "{body}");
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Peer::replying(|_, _| answer("502 Bad Gateway", b"")).await;
    let place = format!("http://{}", proxy.address);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "egress::tests::road::exactly_these_bytes_go_out"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &place);
    }
    command.env("SSL_CERT_FILE", "/nonexistent").env("NO_PROXY", "").env("no_proxy", "");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.connections(), 0);
}
