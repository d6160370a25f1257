//! The answer on its way in: bounded in time, rate and size, decoded, looked at for signals, and scrubbed (R8, R9).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};

use super::decode::{self, Coding, DecodeError, Decoder};
use super::entry::Entry;
use super::policy::Limits;
use super::scrub::{self, Scrubber};
use super::signals::MOST_BODY_BYTES;
use super::{AnswerBody, EgressError, failure};

/// The minimum rate is looked at over this much waiting.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// An answer whose headers are there.
#[derive(Debug)]
pub(super) struct Received {
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    pub pipe: Box<Pipe>,
}

/// The rest of an answer.
pub(super) struct Pipe {
    response: reqwest::Response,
    host: String,
    limits: Limits,
    deadline: Instant,
    rate: Rate,
    decoder: Option<Decoder>,
    decoded: u64,
    /// Read for a decision, not passed on yet.
    peeked: VecDeque<Bytes>,
    source_ended: bool,
    scrub: Option<scrub::Stream>,
    ended: bool,
    entry: Option<Entry>,
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pipe")
    }
}

impl Received {
    /// Checks the head of an answer.
    pub(super) fn new(
        mut response: reqwest::Response,
        method: &Method,
        host: &str,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Self, EgressError> {
        let status = response.status();
        let mut headers = std::mem::take(response.headers_mut());
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size > limits.header_bytes {
            return Err(EgressError::TooLarge { what: "answer's headers", limit: limits.header_bytes as u64 });
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(EgressError::Protocol { host: host.to_owned(), reason: "it switched the protocol".to_owned() });
        }
        let has_body =
            *method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
        let mut decoder = None;
        if has_body {
            let coding = decode::coding(&headers).map_err(|error| decode_error(error, host, limits))?;
            if coding != Coding::Identity {
                headers.remove(header::CONTENT_ENCODING);
                headers.remove(header::CONTENT_LENGTH);
            }
            decoder = Decoder::new(coding, limits.response_bytes);
            let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            if announced.is_some_and(|length: u64| length > limits.response_bytes) {
                return Err(EgressError::TooLarge { what: "answer", limit: limits.response_bytes });
            }
        }
        let pipe = Box::new(Pipe {
            response,
            host: host.to_owned(),
            limits: limits.clone(),
            deadline,
            rate: Rate::new(limits.min_bytes_per_s, RATE_WINDOW),
            decoder,
            decoded: 0,
            peeked: VecDeque::new(),
            source_ended: false,
            scrub: None,
            ended: false,
            entry: None,
        });
        Ok(Self { status, headers, pipe })
    }

    /// The headers and the body that go on to the caller; the audit line is written when the body ends or is dropped.
    pub(super) fn pass_on(mut self, scrubber: Option<Arc<Scrubber>>, mut entry: Entry) -> (HeaderMap, AnswerBody) {
        keep_end_to_end(&mut self.headers);
        if let Some(scrubber) = scrubber {
            entry.scrubbed(scrubber.headers(&mut self.headers));
            self.pipe.scrub = Some(scrub::Stream::new(scrubber));
        }
        entry.status(self.status, self.pipe.decoded);
        self.pipe.entry = Some(entry);
        // Boxed: a pipe is moved in and out of every step.
        let body = futures_util::stream::unfold(self.pipe, |mut pipe| async move {
            let item = pipe.next().await?;
            Some((item, pipe))
        });
        (self.headers, AnswerBody(body.boxed()))
    }
}

impl Pipe {
    /// The whole body, if it is JSON of a size to decide by. What was read is passed on all the same.
    pub(super) async fn peek_json(&mut self) -> Result<Option<serde_json::Value>, EgressError> {
        let mut size: usize = self.peeked.iter().map(Bytes::len).sum();
        while !self.source_ended {
            if size > MOST_BODY_BYTES {
                return Ok(None);
            }
            if let Some(chunk) = self.next_decoded().await? {
                size += chunk.len();
                self.peeked.push_back(chunk);
            }
        }
        if size > MOST_BODY_BYTES {
            return Ok(None);
        }
        if let ([whole], []) = self.peeked.as_slices() {
            return Ok(serde_json::from_slice(whole).ok());
        }
        let whole: Vec<u8> = self.peeked.iter().flatten().copied().collect();
        Ok(serde_json::from_slice(&whole).ok())
    }

    pub(super) fn decoded_bytes(&self) -> u64 {
        self.decoded
    }

    async fn next(&mut self) -> Option<Result<Bytes, EgressError>> {
        while !self.ended {
            let chunk = match self.peeked.pop_front() {
                Some(chunk) => Some(chunk),
                None => match self.next_decoded().await {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        self.ended = true;
                        if let Some(entry) = &mut self.entry {
                            entry.failed(&error);
                        }
                        return Some(Err(error));
                    }
                },
            };
            let out = match (chunk, &mut self.scrub) {
                (Some(chunk), None) => chunk,
                (Some(chunk), Some(scrub)) => scrub.push(chunk),
                (None, scrub) => {
                    self.ended = true;
                    scrub.as_mut().map(scrub::Stream::finish).unwrap_or_default()
                }
            };
            if !out.is_empty() {
                return Some(Ok(out));
            }
        }
        None
    }

    /// The next decoded bytes, never empty; None at the end.
    async fn next_decoded(&mut self) -> Result<Option<Bytes>, EgressError> {
        while !self.source_ended {
            let (chunk, ended) = match (self.next_raw().await?, &mut self.decoder) {
                (Some(chunk), None) => (Ok(chunk), false),
                (Some(chunk), Some(decoder)) => (decoder.push(&chunk), false),
                (None, None) => (Ok(Bytes::new()), true),
                (None, Some(decoder)) => (decoder.finish(), true),
            };
            self.source_ended = ended;
            let chunk = chunk.map_err(|error| decode_error(error, &self.host, &self.limits))?;
            self.decoded += chunk.len() as u64;
            if self.decoded > self.limits.response_bytes {
                return Err(EgressError::TooLarge { what: "answer", limit: self.limits.response_bytes });
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    async fn next_raw(&mut self) -> Result<Option<Bytes>, EgressError> {
        loop {
            let started = Instant::now();
            let left = self.deadline.saturating_duration_since(started);
            let patience = left.min(self.rate.left());
            let outcome = tokio::time::timeout(patience, self.response.chunk()).await;
            let bytes = match &outcome {
                Ok(Ok(Some(chunk))) => chunk.len() as u64,
                _ => 0,
            };
            let slow = !self.rate.note(started.elapsed(), bytes);
            match outcome {
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(failure::from_client(&error, &self.host, &self.limits)),
                Err(_) if patience == left => {
                    return Err(self.timeout("did not send the whole answer", self.limits.total_ms));
                }
                _ if slow => {
                    let window_ms = u64::try_from(RATE_WINDOW.as_millis()).unwrap_or(u64::MAX);
                    return Err(self.timeout("did not keep up the minimum rate", window_ms));
                }
                Ok(Ok(Some(chunk))) => return Ok(Some(chunk)),
                Err(_) => {}
            }
        }
    }

    fn timeout(&self, what: &'static str, limit_ms: u64) -> EgressError {
        EgressError::Timeout { host: self.host.clone(), what, limit_ms }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.received(self.decoded);
            entry.scrubbed(self.scrub.as_ref().map_or(0, |scrub| scrub.hits));
        }
    }
}

fn decode_error(error: DecodeError, host: &str, limits: &Limits) -> EgressError {
    match error {
        DecodeError::TooLarge => EgressError::TooLarge { what: "answer", limit: limits.response_bytes },
        other => EgressError::Protocol { host: host.to_owned(), reason: other.to_string() },
    }
}

/// Bytes over time spent waiting for them: a caller that reads slowly is not the upstream's fault.
struct Rate {
    least_per_s: u64,
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Rate {
    fn new(least_per_s: u64, window: Duration) -> Self {
        Self { least_per_s, window, waited: Duration::ZERO, bytes: 0 }
    }

    /// Waiting left until the window is judged.
    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited).max(Duration::from_millis(1))
    }

    /// False when a whole window brought too little.
    fn note(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.window {
            return true;
        }
        let enough = u128::from(self.bytes) * 1000 >= u128::from(self.least_per_s) * self.waited.as_millis();
        self.waited = Duration::ZERO;
        self.bytes = 0;
        enough
    }
}

/// Drops what belongs to one connection, and what would steer the caller's authentication.
fn keep_end_to_end(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let drops: Vec<_> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            matches!(
                name,
                "connection"
                    | "keep-alive"
                    | "te"
                    | "trailer"
                    | "transfer-encoding"
                    | "upgrade"
                    | "set-cookie"
                    | "set-cookie2"
                    | "www-authenticate"
                    | "authentication-info"
                    | "alt-svc"
            ) || name.starts_with("proxy-")
                || named.iter().any(|listed| listed == name)
        })
        .cloned()
        .collect();
    for name in drops {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn r8_hop_by_hop_and_authentication_headers_stay_behind() {
        let mut headers = HeaderMap::new();
        for name in [
            "connection",
            "keep-alive",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "set-cookie",
            "www-authenticate",
            "proxy-authenticate",
            "proxy-connection",
            "alt-svc",
            "authentication-info",
            "x-hop",
            "x-stays",
            "content-type",
        ] {
            let value = if name == "connection" { "close, X-Hop" } else { "x" };
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        keep_end_to_end(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "x-stays"]);
    }

    #[test]
    fn r9_the_minimum_rate_counts_waiting_only() {
        let s = Duration::from_secs;
        let mut rate = Rate::new(1000, s(10));
        assert!(rate.note(s(9), 0));
        assert_eq!(rate.left(), s(1));
        assert!(rate.note(s(1), 10_000), "a burst at the end is enough");
        assert!(rate.note(s(0), 1));
        assert!(!rate.note(s(10), 100));
        assert!(Rate::new(0, s(10)).note(s(20), 0), "no minimum");
    }
}
