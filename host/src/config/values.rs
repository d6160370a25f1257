//! Values as text, wherever they come from: file or environment.

use std::net::SocketAddr;

use url::{Host, Url};

use crate::egress::PlainHost;

/// One day.
const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) message: String,
    pub(super) fix: Option<String>,
}

fn invalid(message: impl Into<String>, fix: impl Into<String>) -> Invalid {
    Invalid { message: message.into(), fix: Some(fix.into()) }
}

/// `127.0.0.1:3910`, `[::1]:3910`. Names are refused: what they mean is for others to decide.
pub(super) fn address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().map_err(|_| {
        invalid(
            format!("`{text}` is no address with a port"),
            "write an IP address and a port, such as \"127.0.0.1:3910\" or \"[::1]:3910\"",
        )
    })
}

/// `api.example.com`, `*.example.org`, `127.0.0.1:8080`, `*`.
pub(super) fn plain_host(text: &str) -> Result<PlainHost, Invalid> {
    PlainHost::parse(text).ok_or_else(|| {
        invalid(
            format!("`{text}` names no host"),
            "write a host such as \"api.example.com\", \"*.example.org\" or \"127.0.0.1:8080\", or \"*\" for every \
             public one",
        )
    })
}

/// A place that a browser can be sent to.
pub(super) fn public_url(text: &str) -> Result<Url, Invalid> {
    let example = "write it such as \"https://deputy.example.com\"";
    let mut url: Url = text.parse().map_err(|error| invalid(format!("`{text}` is no URL: {error}"), example))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(invalid("plain http would show the codes of every connect to the network", "use https")),
        other => return Err(invalid(format!("the scheme `{other}` is not https"), example)),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it holds a user name or password", example));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("it holds a query or a fragment", "end it behind the path"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

pub(super) fn timeout_ms(text: &str) -> Result<u64, Invalid> {
    let number = text.parse().map_err(|_| invalid(format!("`{text}` is no whole number"), "write milliseconds"))?;
    bounded(number, 1, MAX_TIMEOUT_MS)
}

pub(super) fn bounded(number: u64, min: u64, max: u64) -> Result<u64, Invalid> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(invalid(format!("{number} is out of bounds"), format!("write a number from {min} to {max}")))
}

/// `slack.com:443`, as egress looks names up: lower case, IDNA.
pub(super) fn host_and_port(text: &str) -> Result<String, Invalid> {
    let example = "write a host name and a port, such as \"slack.com:443\"";
    let wrong = || invalid(format!("`{text}` is no host name with a port"), example);
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    match Host::parse(host) {
        Ok(Host::Domain(name)) if port != 0 => Ok(format!("{name}:{port}")),
        _ => Err(wrong()),
    }
}

/// At least one certificate in PEM (RFC 7468). What it holds is for egress to judge.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    let begin = b"-----BEGIN CERTIFICATE-----";
    bytes.windows(begin.len()).any(|window| window == begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_https_or_loopback() {
        let read = |text| public_url(text).map(String::from).map_err(|invalid| invalid.message);
        assert_eq!(read("https://d.example/base/"), Ok("https://d.example/base".to_owned()));
        assert_eq!(read("http://localhost:7878"), Ok("http://localhost:7878/".to_owned()));
        for wrong in ["http://d.example", "ftp://d.example", "d.example", "https://u@d.example", "https://d.example/?a"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_written_as_egress_looks_them_up() {
        let read = |text| host_and_port(text).map_err(|invalid| invalid.message);
        assert_eq!(read("Slack.com:443"), Ok("slack.com:443".to_owned()));
        assert_eq!(read("bücher.example:80"), Ok("xn--bcher-kva.example:80".to_owned()));
        for wrong in ["slack.com", "slack.com:", "slack.com:0", "slack.com:70000", "127.0.0.1:80", ":80", "a b:80"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
