//! Turns the client's errors into ours, in fixed words: an upstream's own text could hold what it was sent.

use std::error::Error;
use std::io;

use super::EgressError;
use super::dial::DialError;
use super::policy::Limits;

/// Sentences of the HTTP library that say what was wrong with an answer; they quote nothing of it.
const PROTOCOL: [&str; 8] = [
    "invalid HTTP version parsed",
    "invalid HTTP status-code parsed",
    "invalid HTTP header parsed",
    "invalid content-length parsed",
    "unexpected transfer-encoding parsed",
    "message head is too large",
    "received unexpected message from connection",
    "http2 error",
];

pub(super) fn from_client(error: &reqwest::Error, host: &str, limits: &Limits) -> EgressError {
    let host = host.to_owned();
    if let Some(dial) = in_chain::<DialError>(error) {
        return match dial {
            DialError::Refused(refused) => refused.clone().into(),
            DialError::Unresolved(reason) => EgressError::Unreachable { host, reason: (*reason).to_owned() },
        };
    }
    if error.is_builder() {
        return EgressError::invalid("the URL cannot stand in an HTTP request", "percent-encode it");
    }
    if error.is_timeout() && error.is_connect() {
        return EgressError::Timeout { host, what: "did not accept a connection", limit_ms: limits.connect_ms };
    }
    // Before the connection stands, nothing of the request was written.
    let before = error.is_connect();
    if let Some(tls) = in_chain::<rustls::Error>(error).filter(|_| before) {
        return EgressError::Unreachable { host, reason: tls_reason(tls).to_owned() };
    }
    if let Some(sentence) = sentence(error) {
        return EgressError::Protocol { host, reason: sentence.to_owned() };
    }
    let reason = in_chain::<io::Error>(error).map_or("the connection broke", |error| io_reason(error.kind()));
    let reason = reason.to_owned();
    if before { EgressError::Unreachable { host, reason } } else { EgressError::Interrupted { host, reason } }
}

/// The first error of a kind. An `io::Error` hides the one it was made of from `source`, so that is looked at too.
fn in_chain<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            let inner: &'a (dyn Error + 'static) = inner;
            if let Some(found) = in_chain::<E>(inner) {
                return Some(found);
            }
        }
        next = error.source();
    }
    None
}

fn sentence(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if let Some(known) = PROTOCOL.into_iter().find(|known| text == *known) {
            return Some(known);
        }
        next = error.source();
    }
    None
}

fn tls_reason(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate comes from an unknown issuer; an operator's own root goes into `[egress] ca`"
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name",
        Error::InvalidCertificate(_) => "its certificate is not valid",
        Error::InvalidMessage(_) => "it does not speak TLS",
        _ => "the TLS handshake failed",
    }
}

fn io_reason(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "the connection was refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the connection was reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no route to it",
        io::ErrorKind::TimedOut => "the connection timed out",
        io::ErrorKind::UnexpectedEof => "the connection was closed early",
        _ => "the connection broke",
    }
}
