//! The address that the browser is sent back to: a listener on loopback that lives as long as one connect.
//!
//! Everything but a `GET` below `/oauth/callback/` under the right `Host` is answered without disturbing the flow; so
//! is an answer with a foreign state. The page that a person sees holds neither code nor state, loads nothing, and
//! tells no other site where it came from.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use url::Url;

use super::AccountError;
use crate::config::Callback;

/// The path in front of a client's context.
pub const PATH: &str = "/oauth/callback/";

/// How long the last page has to reach its browser.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// A browser came back, and waits for a page.
pub(super) struct Visit {
    /// The whole URL, as the browser was sent to it.
    pub url: String,
    reply: oneshot::Sender<Page>,
}

impl Visit {
    pub fn answer(self, page: Page) {
        // A browser that has gone away misses nothing but the page.
        let _ = self.reply.send(page);
    }
}

/// What a person sees.
pub(super) struct Page {
    pub status: StatusCode,
    pub title: String,
    pub text: String,
}

impl Page {
    pub fn connected(name: &str) -> Self {
        let text = format!("{name} is connected. You can close this page and go back to the terminal.");
        Self { status: StatusCode::OK, title: "Connected".to_owned(), text }
    }

    pub fn refused(status: StatusCode, text: String) -> Self {
        Self { status, title: "Not connected".to_owned(), text }
    }
}

/// Bound, and answering until dropped.
pub struct Listener {
    visits: mpsc::Receiver<Visit>,
    server: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    address: SocketAddr,
}

struct Door {
    visits: mpsc::Sender<Visit>,
    /// What `Host` may say: a page of another name that resolves to loopback is refused (DNS rebinding).
    hosts: Vec<String>,
    base: String,
}

impl Listener {
    /// Binds the configured address. Without a server of our own there is one URI to register, so the port is fixed.
    pub async fn bind(config: &Callback) -> Result<Self, AccountError> {
        let failed =
            |error: std::io::Error| AccountError::CallbackListen { address: config.listen, reason: error.to_string() };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut hosts = vec![address.to_string()];
        hosts.extend(config.public_url.as_ref().map(authority));
        let (sender, visits) = mpsc::channel(4);
        let base = config.public_url.as_ref().map_or_else(|| format!("http://{address}"), base_of);
        let door = Arc::new(Door { visits: sender, hosts, base });
        let router = Router::new().fallback(open).with_state(door);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async {
                // A dropped sender is a stop too.
                let _ = stopped.await;
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::warn!("the callback listener stopped: {error}");
            }
        });
        Ok(Self { visits, server, stop: Some(stop), address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn next(&mut self) -> Option<Visit> {
        self.visits.recv().await
    }

    /// Lets the last page reach its browser, then closes.
    pub(super) async fn close(mut self) {
        self.visits.close();
        drop(self.stop.take());
        // A browser that keeps its connection open is not waited for.
        let _ = tokio::time::timeout(CLOSE_LIMIT, &mut self.server).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn base_of(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

async fn open(State(door): State<Arc<Door>>, request: Request) -> Response {
    let host = |headers: &HeaderMap| headers.get(header::HOST).and_then(|host| host.to_str().ok().map(str::to_owned));
    if !host(request.headers()).is_some_and(|host| door.hosts.contains(&host)) {
        return render(Page::refused(
            StatusCode::MISDIRECTED_REQUEST,
            "This address answers under its own name only.".to_owned(),
        ));
    }
    if *request.method() != Method::GET || !request.uri().path().starts_with(PATH) {
        return render(Page::refused(StatusCode::NOT_FOUND, "There is nothing here.".to_owned()));
    }
    let target = request.uri().path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let (reply, answer) = oneshot::channel();
    let visit = Visit { url: format!("{}{target}", door.base), reply };
    if door.visits.send(visit).await.is_err() {
        return render(Page::refused(StatusCode::GONE, "Nobody is waiting for this answer any more.".to_owned()));
    }
    match answer.await {
        Ok(page) => render(page),
        Err(_) => render(Page::refused(StatusCode::GONE, "Nobody is waiting for this answer any more.".to_owned())),
    }
}

fn render(page: Page) -> Response {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><h1>{title}</h1><p>{text}</p></html>\n",
        title = escape(&page.title),
        text = escape(&page.text)
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONNECTION, "close"),
    ];
    (page.status, headers, body).into_response()
}

/// What a provider or an app says is text, never markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn listener() -> Listener {
        Listener::bind(&Callback { listen: "127.0.0.1:0".parse().unwrap(), public_url: None }).await.unwrap()
    }

    #[tokio::test]
    async fn other_requests_leave_the_flow_alone() {
        let mut listener = listener().await;
        let address = listener.address();
        let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let own = address.to_string();
        let rebound = exchange(address, &get("/oauth/callback/x?code=1", "evil.test")).await;
        assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
        let icon = exchange(address, &get("/favicon.ico", &own)).await;
        assert!(icon.starts_with("HTTP/1.1 404"), "{icon}");
        let post = format!("POST /oauth/callback/x HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n");
        assert!(exchange(address, &post).await.starts_with("HTTP/1.1 404"));
        assert!(listener.visits.try_recv().is_err());
    }

    #[tokio::test]
    async fn the_page_is_plain_and_holds_no_code() {
        let mut listener = listener().await;
        let address = listener.address();
        let request = format!("GET /oauth/callback/ctx?code=canary&state=s HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let browser = tokio::spawn(async move { exchange(address, &request).await });
        let visit = listener.next().await.unwrap();
        assert_eq!(visit.url, format!("http://{address}/oauth/callback/ctx?code=canary&state=s"));
        visit.answer(Page::connected("slack/<b>team</b>"));
        let page = browser.await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("slack/&lt;b&gt;team"), "{page}");
        for part in ["referrer-policy: no-referrer", "cache-control: no-store", "default-src 'none'"] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(!page.contains("canary"), "{page}");
    }
}
