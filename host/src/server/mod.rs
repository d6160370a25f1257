//! `deputy serve`: a small HTTP server over the facade, for triggers and health.
//!
//! Promises: a hook is answered well only after its run is stored; a slow or silent client holds one connection and
//! nothing else, for a bounded time; at the end no new request is taken, and steps under way may end.
//!
//! Bounds: 1,024 connections, 256 requests at work, a head within 10 s and 32 KiB, a body within 20 s and 1 MiB.

mod health;
mod hooks;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::deputy::{Deputy, Error};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// Requests at work at a time; a client beyond them is told to come back.
const REQUESTS: usize = 256;
/// Until the head of a request is there.
const HEAD_TIME: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 32 << 10;
const HEADERS: usize = 100;
/// Until the body is there.
const BODY_TIME: Duration = Duration::from_secs(20);
const BODY_BYTES: usize = 1 << 20;
/// How long answers may still take once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
struct Door {
    deputy: Arc<Deputy>,
    requests: Arc<Semaphore>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    head_time: Duration,
    body_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_time: HEAD_TIME, body_time: BODY_TIME }
    }
}

/// Bound to its address, and not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

impl Server {
    pub async fn bind(listen: SocketAddr) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            Error::new("listen_failed", format!("cannot listen at {listen}: {error}"))
                .with_fix("close what uses the address, or take another one: --listen 127.0.0.1:PORT")
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, limits: Limits::default() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready, then lets the last answers end.
    pub async fn run(self, deputy: Arc<Deputy>, stop: impl Future<Output = ()>) {
        let limits = self.limits;
        let door = Door { deputy, requests: Arc::new(Semaphore::new(REQUESTS)), limits };
        let service = TowerToHyperService::new(router(door));
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                // Taken before a connection is: more wait in the system's queue instead of in ours.
                let permit = connections.clone().acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, stream) = tokio::select! {
                () = &mut stop => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (permit, stream),
                    Err(error) => {
                        // Such as too many open files: the reason passes, and trying at once would burn the machine.
                        tracing::warn!("a connection cannot be accepted: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            // Answers are small and single: waiting to fill a packet only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("{error}");
            }
            let mut builder = Builder::new(TokioExecutor::new()).http1_only();
            builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_time);
            builder.http1().max_buf_size(HEAD_BYTES).max_headers(HEADERS);
            let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection ended: {error}");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        // A client that keeps its connection open is not waited for.
        let _ = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
    }
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/healthz", get(health::show))
        .route("/hooks/{address}", post(hooks::take))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "not_found", "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take this method")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(map_response(guard))
        .with_state(door)
}

/// Whatever an answer holds, a browser runs nothing of it, guesses no type, and keeps nothing.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": { "code": code, "message": message } }))).into_response()
}
