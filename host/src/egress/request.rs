//! What goes into the road and what comes out of it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode};

/// A request without credentials.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// `/path?query` below the account's base, or an absolute URL within its reach.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Body,
    /// Which of the app's rule sets to use; none: the first whose tokens the account has.
    pub rule_set: Option<String>,
    /// Until the answer's headers are there; capped by the host's own limit.
    pub timeout: Option<std::time::Duration>,
}

impl Request {
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Body::Empty, rule_set: None, timeout: None }
    }
}

pub enum Body {
    Empty,
    /// Can be sent again after a refresh.
    Bytes(Bytes),
    /// Sent once; an expiry signal is then passed on instead of retried.
    Stream {
        stream: BoxStream<'static, std::io::Result<Bytes>>,
        length: Option<u64>,
    },
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// An answer: scrubbed, decoded, bounded.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: AnswerBody,
    /// The app's `failed` signal holds: an error behind a good status.
    pub failed: bool,
    /// Refreshes that this request caused: 0 or 1.
    pub renewed: bool,
    /// The app's `throttled` signal holds: the request was not carried out, and trying again later helps.
    pub throttled: Option<Throttled>,
}

/// The app asks for fewer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// How long it asks to wait, where it says so; at most [`MOST_WAIT`](super::MOST_WAIT).
    pub after: Option<std::time::Duration>,
}

/// The body as it arrives.
pub struct AnswerBody(pub(super) BoxStream<'static, Result<Bytes, super::EgressError>>);

impl AnswerBody {
    /// A body that is already scrubbed, decoded and bounded.
    pub fn from_stream(stream: impl Stream<Item = Result<Bytes, super::EgressError>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// All of it, up to `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<u8>, super::EgressError> {
        use futures_util::StreamExt;
        // Put together once at the end: a growing buffer would copy a large answer again and again.
        let mut chunks: Vec<Bytes> = Vec::new();
        let mut size = 0;
        while let Some(chunk) = self.0.next().await {
            let chunk = chunk?;
            size += chunk.len();
            if size > limit {
                return Err(super::EgressError::TooLarge { what: "answer", limit: limit as u64 });
            }
            chunks.push(chunk);
        }
        Ok(chunks.concat())
    }
}

impl Stream for AnswerBody {
    type Item = Result<Bytes, super::EgressError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody")
    }
}
