//! Opens connections to judged addresses only (R7).
//!
//! Each client belongs to one account and one origin, so its resolver knows the port and refuses every other name.
//! Three checks stand one behind the other: an address written in the URL is judged before there is a client; a name's
//! whole answer is judged before the first connection; and the peer of every connection is judged again before the
//! first byte of HTTP. Proxies, redirects, cookies, referers, retries and the platform's trust store are off.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Extensions;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tower::{BoxError, Layer, Service};
use url::{Host, Url};

use super::guard::{self, Refused};
use super::plain::Addresses;
use super::scrub::Keeper;
use super::{EgressError, Policy};

/// Turns a name into addresses; tests put a hostile one in.
pub(super) trait Lookup: Send + Sync + 'static {
    fn lookup(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver: hosts file, container DNS and all.
pub(super) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Why a dial ended, as it travels through the client's boxed errors.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Unresolved(&'static str),
}

/// What all clients share.
pub(super) struct Dialler {
    policy: Arc<Policy>,
    lookup: Arc<dyn Lookup>,
    tls: rustls::ClientConfig,
}

impl Dialler {
    pub(super) fn new(policy: Arc<Policy>, lookup: Arc<dyn Lookup>) -> Result<Self, EgressError> {
        for key in policy.resolve.keys() {
            check_resolve_key(key)?;
        }
        let tls = tls_config(policy.ca_pem.as_deref())?;
        Ok(Self { policy, lookup, tls })
    }

    /// A client for the origin of `url` alone.
    pub(super) fn client(&self, url: &Url, addresses: Addresses) -> Result<Line, EgressError> {
        let route = Arc::new(self.route(url, addresses)?);
        let mut tls = self.tls.clone();
        // Its own session store: a ticket would link two accounts.
        tls.resumption = rustls::client::Resumption::in_memory_sessions(4);
        let limits = &self.policy.limits;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .https_only(!route.plain_http)
            .connect_timeout(Duration::from_millis(limits.connect_ms))
            .pool_idle_timeout(super::pool::IDLE)
            .pool_max_idle_per_host(32)
            .http1_max_headers(100)
            .http2_max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .dns_resolver(Resolver(route.clone()))
            .connector_layer(PeerLayer(route.clone()));
        let redirected = route.redirected_port();
        if redirected.is_some() {
            builder = builder.http1_only();
        }
        let client =
            builder.build().map_err(|_| EgressError::Internal("the HTTP client cannot be built".to_owned()))?;
        Ok(Line { client, redirected_port: redirected, keeper: Arc::default() })
    }

    fn route(&self, url: &Url, addresses: Addresses) -> Result<Route, EgressError> {
        let allow = allowed(&self.policy, addresses);
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(EgressError::Internal("a URL without host reached the dialler".to_owned()));
        };
        let plain_http = url.scheme() == "http";
        let name = url.host_str().unwrap_or_default().to_owned();
        let literal = match host {
            Host::Ipv4(address) => Some(SocketAddr::new(IpAddr::V4(address), port)),
            Host::Ipv6(address) => Some(SocketAddr::new(IpAddr::V6(address), port)),
            Host::Domain(_) => None,
        };
        let fixed = match literal {
            Some(address) => {
                guard::judge(&name, address, plain_http, allow)?;
                Some(address)
            }
            None => self.policy.resolve.get(&format!("{name}:{port}")).copied(),
        };
        if let (Some(address), None, true) = (fixed, literal, plain_http) {
            // The operator sends the name there, but plain http needs an allowed address all the same.
            guard::judge(&name, address, true, allow)?;
        }
        Ok(Route {
            policy: self.policy.clone(),
            lookup: self.lookup.clone(),
            name,
            port,
            explicit_port: url.port().is_some(),
            plain_http,
            addresses,
            fixed,
        })
    }
}

/// A client, how a URL must be changed to travel on it, and what cleans the answers.
#[derive(Clone)]
pub(super) struct Line {
    pub client: reqwest::Client,
    /// An operator's override of a port that stands in the URL: the client dials the port of the URL it is given, so
    /// that URL gets this port, and `Host` keeps the true one.
    pub redirected_port: Option<u16>,
    pub keeper: Arc<Keeper>,
}

/// The private addresses that a client may be connected to.
fn allowed(policy: &Policy, addresses: Addresses) -> &[SocketAddr] {
    match addresses {
        Addresses::Allowed => &policy.allow,
        Addresses::Public => &[],
    }
}

/// Where one client may go.
struct Route {
    policy: Arc<Policy>,
    lookup: Arc<dyn Lookup>,
    name: String,
    port: u16,
    explicit_port: bool,
    plain_http: bool,
    addresses: Addresses,
    /// An address from the URL or from the operator's overrides.
    fixed: Option<SocketAddr>,
}

impl Route {
    fn redirected_port(&self) -> Option<u16> {
        self.fixed.map(|address| address.port()).filter(|port| self.explicit_port && *port != self.port)
    }

    fn judge(&self, addresses: &[SocketAddr]) -> Result<(), Refused> {
        guard::judge_all(&self.name, addresses, self.plain_http, allowed(&self.policy, self.addresses))
    }

    fn judge_peer(&self, peer: SocketAddr) -> Result<(), Refused> {
        match self.fixed {
            Some(fixed) if fixed.ip() == peer.ip() && fixed.port() == peer.port() => Ok(()),
            _ => self.judge(&[peer]),
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, DialError> {
        if name != self.name {
            return Err(DialError::Unresolved("the client asked for another host"));
        }
        if let Some(address) = self.fixed {
            return Ok(vec![address]);
        }
        let addresses = self
            .lookup
            .lookup(self.name.clone(), self.port)
            .await
            .map_err(|_| DialError::Unresolved("the name does not resolve"))?;
        if addresses.is_empty() {
            return Err(DialError::Unresolved("the name has no address"));
        }
        // A resolver may answer any port; the one of the origin is dialled.
        let addresses: Vec<_> = addresses.iter().map(|address| SocketAddr::new(address.ip(), self.port)).collect();
        self.judge(&addresses)?;
        Ok(addresses)
    }
}

struct Resolver(Arc<Route>);

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let route = self.0.clone();
        Box::pin(async move {
            let addresses = route.resolve(name.as_str()).await.map_err(BoxError::from)?;
            let addresses: reqwest::dns::Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// Judges the peer of a connection before it is handed to HTTP.
#[derive(Clone)]
struct PeerLayer(Arc<Route>);

impl<S> Layer<S> for PeerLayer {
    type Service = PeerCheck<S>;

    fn layer(&self, inner: S) -> PeerCheck<S> {
        PeerCheck { inner, route: self.0.clone() }
    }
}

#[derive(Clone)]
struct PeerCheck<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S, T> Service<T> for PeerCheck<S>
where
    S: Service<T, Error = BoxError>,
    S::Response: Connection + Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let connecting = self.inner.call(target);
        let route = self.route.clone();
        Box::pin(async move {
            let connection = connecting.await?;
            let mut extras = Extensions::new();
            connection.connected().get_extras(&mut extras);
            let Some(info) = extras.get::<HttpInfo>() else {
                return Err(DialError::Unresolved("the peer of the connection is unknown").into());
            };
            route.judge_peer(info.remote_addr()).map_err(DialError::from)?;
            Ok(connection)
        })
    }
}

/// `host:port`, with a name and not an address.
fn check_resolve_key(key: &str) -> Result<(), EgressError> {
    let is_name = |host: &str| {
        Url::parse(&format!("https://{host}/"))
            .is_ok_and(|url| matches!(url.host(), Some(Host::Domain(_))) && url.host_str() == Some(host))
    };
    match key.rsplit_once(':') {
        Some((host, port)) if is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err(EgressError::invalid(
            format!("`{key}` in `[egress] resolve` is no lower-case name and port"),
            "write it as \"slack.com:443\" = \"127.0.0.1:8443\"",
        )),
    }
}

/// Fixed roots: neither the platform's store nor `SSL_CERT_FILE` can change whom the host trusts.
fn tls_config(ca_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, EgressError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        let unreadable = || {
            EgressError::invalid(
                "`[egress] ca` holds no readable certificate",
                "give the path of a PEM file with one or more CA certificates",
            )
        };
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
            count += 1;
        }
        if count == 0 {
            return Err(unreadable());
        }
    }
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| EgressError::Internal(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::super::tests::peer::{Peer, answer};
    use super::*;

    fn route(policy: Policy, fixed: Option<SocketAddr>) -> Route {
        Route {
            policy: Arc::new(policy),
            lookup: Arc::new(SystemLookup),
            name: "rebind.test".into(),
            port: 443,
            explicit_port: false,
            plain_http: false,
            addresses: Addresses::Allowed,
            fixed,
        }
    }

    #[test]
    fn the_peer_must_be_what_was_judged() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let fixed = route(Policy::default(), Some(address("127.0.0.1:8443")));
        assert!(fixed.judge_peer(address("127.0.0.1:8443")).is_ok());
        assert!(fixed.judge_peer(address("127.0.0.1:8444")).is_err());
        assert!(fixed.judge_peer(address("10.0.0.1:8443")).is_err());
        let named = route(Policy::default(), None);
        assert!(named.judge_peer(address("1.1.1.1:443")).is_ok());
        assert!(named.judge_peer(address("127.0.0.1:443")).is_err());
    }

    /// The resolver of the client is replaced by one that points inside: the third check stands alone.
    #[tokio::test]
    async fn r7_a_connection_to_a_bad_peer_carries_no_byte() {
        let peer = Peer::replying(|_, _| answer("200 OK", b"")).await;
        let client = |allow: Vec<SocketAddr>| {
            let policy = Policy { allow, ..Policy::default() };
            reqwest::Client::builder()
                .no_proxy()
                .tls_backend_preconfigured(tls_config(None).unwrap())
                .resolve("rebind.test", peer.address)
                .connector_layer(PeerLayer(Arc::new(route(policy, None))))
                .build()
                .unwrap()
        };
        let url = format!("http://rebind.test:{}/", peer.address.port());
        let error = client(Vec::new()).get(&url).send().await.unwrap_err();
        let error = super::super::failure::from_client(&error, "rebind.test", &Policy::default().limits);
        assert!(matches!(error, EgressError::Denied { rule: "address", .. }), "{error}");
        assert!(peer.requests().is_empty());
        assert!(client(vec![peer.address]).get(&url).send().await.is_ok(), "and it does let others through");
    }
}
