//! A provider's API under its real host names, on loopback: TLS with a root of its own, every request kept as it came.
//!
//! `deputy.toml` sends the names here (`[egress] resolve`) and trusts the root (`ca`), so unmodified clients and built-in
//! apps are tested byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The `Host` header.
    pub host: String,
    pub method: String,
    /// With the query.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The one value of a header; empty where there is none. Two are a fault.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "`{name}` stands there twice: {self:?}");
        first
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What to answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Provider {
    pub address: SocketAddr,
    hosts: Vec<String>,
    root_pem: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Provider {
    /// Serves these names until the test ends.
    pub fn start(hosts: &[&str], answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let (config, root_pem) = tls(hosts);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (record, answer): (_, Arc<Answer>) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, record, answer) = (config.clone(), record.clone(), answer.clone());
                std::thread::spawn(move || {
                    let connection = rustls::ServerConnection::new(config).expect("a TLS connection");
                    // A client that goes away ends its own thread and nothing else.
                    let _ = serve(rustls::StreamOwned::new(connection, stream), &record, &*answer);
                });
            }
        });
        Self { address, hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), root_pem, seen }
    }

    /// What the operator writes into `deputy.toml`, below `[egress]`. Puts the root beside it.
    pub fn egress(&self, config: &Path) -> String {
        std::fs::write(config.join("provider.pem"), &self.root_pem).expect("the root");
        let resolve: Vec<_> = self.hosts.iter().map(|host| format!("\"{host}:443\" = \"{}\"", self.address)).collect();
        format!("ca = \"provider.pem\"\nresolve = {{ {} }}\n", resolve.join(", "))
    }

    /// Everything since the last time, in the order of arrival.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no test panicked with the lock"))
    }
}

fn tls(hosts: &[&str]) -> (Arc<rustls::ServerConfig>, String) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key")).expect("a root");
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(names).and_then(|params| params.signed_by(&key, &root)).expect("a leaf");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a certificate that fits its key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (Arc::new(config), root.pem())
}

/// Requests of one connection, one after the other.
fn serve<S: Read + Write>(stream: S, record: &Mutex<Vec<Seen>>, answer: &Answer) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream)? {
        record.lock().expect("no test panicked with the lock").push(seen.clone());
        let Reply { status, headers, body } = answer(&seen);
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let out = stream.get_mut();
        out.write_all(head.as_bytes())?;
        if seen.method != "HEAD" {
            out.write_all(&body)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// None when the client has closed the connection.
fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let of = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let body = match (of("content-length"), of("transfer-encoding")) {
        (Some(length), _) => {
            let mut body = vec![0; length.parse().unwrap_or(0)];
            stream.read_exact(&mut body)?;
            body
        }
        (None, Some(_)) => chunks(stream)?,
        (None, None) => Vec::new(),
    };
    let host = of("host").unwrap_or_default();
    Ok(Some(Seen { host, method, target, headers, body }))
}

fn chunks(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        stream.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}
