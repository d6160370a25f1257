//! The socket of a made provider: TLS under the app's own host names, with a root of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Fake, Seen};

/// Runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    /// The root that signs for every host, PEM.
    pub root_pem: Vec<u8>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// # Errors
    /// In words: no free port, or no certificate for these names.
    pub async fn start(hosts: &[String], fake: Arc<Fake>) -> Result<Self, String> {
        let (config, root_pem) = tls(hosts)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let router: Router = Router::new().fallback(answer).with_state(fake);
        let service = TowerToHyperService::new(router);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    // A client that goes away ends its own connection and nothing else.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let builder = Builder::new(TokioExecutor::new()).http1_only();
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, root_pem, accepting })
    }
}

async fn answer(
    State(fake): State<Arc<Fake>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let headers: Vec<_> = headers.collect();
    let host = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone()).unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let (status, headers, body) =
        fake.answer(Seen { host, method: method.to_string(), target, headers, body: body.to_vec() });
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap_or_else(|error| {
        let mut failed = Response::new(Body::from(error.to_string()));
        *failed.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}

fn tls(hosts: &[String]) -> Result<(rustls::ServerConfig, Vec<u8>), String> {
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().map_err(failed)?).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let leaf =
        CertificateParams::new(hosts.to_vec()).and_then(|params| params.signed_by(&key, &root)).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, root.pem().into_bytes()))
}
