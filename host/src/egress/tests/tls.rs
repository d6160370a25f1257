//! Whom TLS trusts, which names it carries, and that accounts share no session.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::Policy;
use super::live;
use super::peer::{Peer, answer};
use super::world::World;

/// One connection as the server saw it.
#[derive(Debug, Clone, Default)]
struct Seen {
    sni: Option<String>,
    resumed: bool,
    head: Vec<String>,
}

struct TlsPeer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TlsPeer {
    /// Answers one request a connection and closes it.
    fn start() -> Self {
        let certificates = vec![CertificateDer::from_pem_slice(include_bytes!("tls/leaf.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/leaf.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut head = Vec::new();
                for line in BufReader::new(&mut tls).lines().map_while(Result::ok) {
                    if line.is_empty() {
                        break;
                    }
                    head.push(line);
                }
                record.lock().unwrap().push(Seen {
                    sni: tls.conn.server_name().map(str::to_owned),
                    resumed: tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
                    head,
                });
                // A client that refused the certificate is gone already.
                let _ = tls.write_all(&answer("200 OK\r\nconnection: close", b"tls"));
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        });
        Self { address, seen }
    }

    fn policy(&self, name: &str, ca: bool) -> Policy {
        let mut policy = Policy::default();
        policy.resolve.insert(name.into(), self.address);
        policy.ca_pem = ca.then(|| include_bytes!("tls/ca.pem").to_vec());
        policy
    }

    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }
}

#[tokio::test]
async fn r7_the_name_is_the_same_in_tls_and_http() {
    let peer = TlsPeer::start();
    for (origin, key, host) in [
        ("https://api.example.test", "api.example.test:443", "api.example.test"),
        ("https://api.example.test:8443", "api.example.test:8443", "api.example.test:8443"),
    ] {
        let world = World::new(live(origin), peer.policy(key, true));
        assert_eq!(world.body("/x").await.unwrap(), b"tls");
        let seen = peer.last();
        assert_eq!(seen.sni.as_deref(), Some("api.example.test"));
        assert_eq!(seen.head[0], "GET /x HTTP/1.1");
        let hosts: Vec<_> = seen.head.iter().filter(|line| line.starts_with("host:")).collect();
        assert_eq!(hosts, [&format!("host: {host}")]);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_sees_no_request() {
    let peer = TlsPeer::start();
    let world = World::new(live("https://api.example.test"), peer.policy("api.example.test:443", false));
    let error = world.get("/").await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.to_string().contains("unknown issuer"), "{error}");

    let world = World::new(live("https://other.example.test"), peer.policy("other.example.test:443", true));
    let error = world.get("/").await.unwrap_err();
    assert!(error.to_string().contains("for another name"), "{error}");
    assert!(peer.seen.lock().unwrap().iter().all(|seen| seen.head.is_empty()));
}

#[tokio::test]
async fn a_peer_without_tls_sees_no_request() {
    let peer = Peer::replying(|_, _| answer("400 Bad Request", b"")).await;
    let mut policy = Policy::default();
    policy.resolve.insert("api.example.test:443".into(), peer.address);
    policy.limits.connect_ms = 500;
    let error = World::new(live("https://api.example.test"), policy).get("/").await.unwrap_err();
    assert!(matches!(error.code(), "unreachable" | "timeout"), "{error}");
    assert!(peer.requests().iter().all(|request| !request.contains("canary")));
}

#[tokio::test]
async fn r7_accounts_share_no_tls_session() {
    let peer = TlsPeer::start();
    let world = World::new(live("https://api.example.test"), peer.policy("api.example.test:443", true));
    world.body("/").await.unwrap();
    assert!(!peer.last().resumed);
    world.body("/").await.unwrap();
    assert!(peer.last().resumed, "the same account resumes its own session");
    world.tokens.replace(live("https://api.example.test"));
    world.body("/").await.unwrap();
    assert!(!peer.last().resumed, "another account begins anew");
}
