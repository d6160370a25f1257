//! The few lines of HTTP/1.1 that a person's browser would speak during consent, so that the demo needs no client.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

const LARGEST_PAGE_BYTES: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

/// Opens one plain-http URL on loopback, following nothing.
pub async fn open(url: &str) -> io::Result<Page> {
    let url = Url::parse(url).map_err(|error| invalid(format!("not a URL: {error}")))?;
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "http" || !["127.0.0.1", "[::1]", "localhost"].contains(&host) {
        return Err(invalid(format!("the demo's browser opens http URLs on loopback only, not {host}")));
    }
    let port = url.port_or_known_default().unwrap_or(80);
    tokio::time::timeout(PATIENCE, exchange(&url, host, port))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{host}:{port} did not answer within 30 s")))?
}

async fn exchange(url: &Url, host: &str, port: u16) -> io::Result<Page> {
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let ask = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/html\r\nUser-Agent: demo-browser\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST_PAGE_BYTES).read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| invalid(format!("{host}:{port} did not answer in HTTP/1.1")))
}

fn parse(answer: &[u8]) -> Option<Page> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let location = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Some(Page { status, location, body: body.to_owned() })
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read() {
        let page = parse(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/cb?code=a%20b\r\n\r\nbye").unwrap();
        assert_eq!((page.status, page.body.as_str()), (302, "bye"));
        assert_eq!(page.location.as_deref(), Some("http://127.0.0.1:1/cb?code=a%20b"));
        assert!(parse(b"SSH-2.0-OpenSSH").is_none());
    }

    #[tokio::test]
    async fn other_hosts_are_not_opened() {
        for url in ["https://127.0.0.1/", "http://example.com/", "not a url"] {
            assert!(open(url).await.is_err(), "{url}");
        }
    }
}
