use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::deputy::{Caller, Config, Overrides};

struct World {
    address: SocketAddr,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(folder.path().join(name));
        let config = Config::load(Overrides { data: at("data"), config: at("config") }, &|_| None).unwrap();
        let deputy = Arc::new(Deputy::with_config(config).unwrap());
        deputy.serve_open(&Caller::local(), "127.0.0.1:7878".parse().unwrap()).await.unwrap();
        let mut server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        server.limits = Limits { head_time: Duration::from_millis(200), body_time: Duration::from_millis(200) };
        let (address, stop) = (server.address(), CancellationToken::new());
        let server = tokio::spawn(server.run(deputy, stop.clone().cancelled_owned()));
        Self { address, stop, server, _folder: folder }
    }

    /// Sends these bytes and reads until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(&self, method: &str, path: &str) -> String {
        self.exchange(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }
}

#[tokio::test]
async fn health_is_told_and_other_places_are_empty() {
    let world = World::start().await;
    let health = world.get("GET", "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("{\"state\":\"ok\"}"), "{health}");
    for header in ["sandbox", "nosniff", "no-store"] {
        assert!(health.contains(header), "{health}");
    }
    assert!(world.get("GET", "/").await.starts_with("HTTP/1.1 404"));
    assert!(world.get("GET", "/hooks/x").await.starts_with("HTTP/1.1 405"));
    for address in ["x", "wfl_00000000000000000000000000", "a%00b", &"y".repeat(500)] {
        let answer = world.get("POST", &format!("/hooks/{address}")).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("hook_unknown"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let world = World::start().await;
    let length = BODY_BYTES + 1;
    let declared = format!("POST /hooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let answer = world.exchange(&format!("{declared}{}", "x".repeat(length))).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_let_go() {
    let world = World::start().await;
    let silent = world.exchange("").await;
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408"), "{silent}");
    let half = world.exchange("POST /hooks/x HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408"), "{half}");
    let body =
        world.exchange("POST /hooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nconnection: close\r\n\r\nab").await;
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("body_slow"), "{body}");
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let world = World::start().await;
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES));
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    // The server may close while this still writes.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_server_that_stops_takes_nothing_more_and_waits_for_nobody() {
    let world = World::start().await;
    let idle = TcpStream::connect(world.address).await.unwrap();
    world.stop.cancel();
    world.server.await.unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
    drop(idle);
}
