//! A small OAuth 2 server with an API behind it, on loopback: what `deputy demo` connects to, and what tests bend.
//!
//! It exists so that the whole road can be walked without a network or a vendor's account: authorization code with
//! PKCE (RFC 7636), `iss` in the callback (RFC 9207), client authentication by HTTP Basic, refresh-token rotation
//! where a used token revokes the whole grant (RFC 9700 section 4.14.2), revocation (RFC 7009). It is strict where
//! real servers are strict, and it remembers every secret it ever saw, so that a search of guest memory, output and
//! logs knows what to look for.
//!
//! It is no product: everything is in memory, consent is given without asking, and any loopback redirect URI is
//! accepted. It listens on 127.0.0.1 alone and ends when [`DemoProvider`] is dropped.

mod api;
mod browser;
mod fault;
mod oauth;
mod state;
mod together;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::{Fault, Place};
pub use state::Counters;

use state::State;

/// A running provider. Dropping it closes the port.
pub struct DemoProvider {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl DemoProvider {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts on this address; loopback only.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address} is not on loopback: the demo provider gives consent without asking anybody"),
            ));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new(format!("http://{address}"))?);
        let router = Router::new()
            .route("/authorize", get(oauth::authorize))
            .route("/token", post(oauth::token))
            .route("/revoke", post(oauth::revoke))
            .route("/me", any(api::me))
            .route("/items", any(api::items))
            .route("/echo", any(api::echo))
            .route("/slow", any(api::slow))
            .route("/together", any(api::together))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the demo provider stopped: {error}");
            }
        });
        Ok(Self { address, state, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`: base of the API, and the issuer.
    pub fn url(&self) -> &str {
        &self.state.issuer
    }

    /// The one registered OAuth client: id and secret. The secret is new at every start.
    pub fn client(&self) -> (String, String) {
        (state::CLIENT_ID.to_owned(), self.state.client_secret.clone())
    }

    /// The `app.toml` that describes this provider, as slug `demo`, with its address of this run.
    pub fn app_toml(&self) -> String {
        include_str!("app.toml").replace("http://127.0.0.1:0", &self.state.issuer)
    }

    /// Every access token issued so far is expired from now on; refresh tokens stay.
    pub fn expire_access_tokens(&self) {
        self.state.grants().expire_access_tokens();
    }

    /// Every authorization code not yet redeemed is expired from now on.
    pub fn expire_codes(&self) {
        self.state.grants().expire_codes();
    }

    /// Seconds that access tokens issued from now on live; 3600 at start.
    pub fn set_access_lifetime_s(&self, lifetime_s: u64) {
        self.state.grants().access_lifetime_s = lifetime_s;
    }

    pub fn counters(&self) -> Counters {
        self.state.grants().counters.clone()
    }

    /// Every secret that this provider ever issued or saw: the client's secret, codes, PKCE verifiers, access and
    /// refresh tokens.
    pub fn secrets(&self) -> Vec<String> {
        self.state.grants().secrets.clone()
    }

    /// The next answer at `place` misbehaves so; calling it again queues another.
    pub fn fail_next(&self, place: Place, fault: Fault) {
        self.state.faults().push(place, fault);
    }

    /// Does what a person's browser does: opens the authorize URL, is sent back, and opens the callback.
    /// Answers the callback's status and its page.
    ///
    /// # Errors
    /// When the URL is not one of this provider, or an answer is no redirect.
    pub async fn browse(&self, authorize_url: &str) -> io::Result<(u16, String)> {
        let callback = self.consent(authorize_url).await?;
        browser::open(&callback).await.map(|page| (page.status, page.body))
    }

    /// The first half of [`browse`](Self::browse): answers the callback URL without opening it.
    pub async fn consent(&self, authorize_url: &str) -> io::Result<String> {
        if !authorize_url.starts_with(&format!("{}/authorize?", self.state.issuer)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("this authorize URL is not one of {}", self.state.issuer),
            ));
        }
        let page = browser::open(authorize_url).await?;
        page.location.ok_or_else(|| {
            io::Error::other(format!("the demo provider answered {} instead of a redirect: {}", page.status, page.body))
        })
    }
}

impl Drop for DemoProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}
