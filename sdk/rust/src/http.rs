//! Requests through an account.
//!
//! [`Request::send`] waits; [`Request::start`] goes on at once, and [`join_all`] waits for many. The host takes 32
//! requests at a time; an answer counts until its body is read or dropped.

use std::borrow::Cow;
use std::time::Duration;

use crate::bindings::deputy::step::http as wit;
use crate::bindings::wasi::io::{poll, streams::StreamError};
use crate::error::Code;
use crate::{Account, Error};

/// An HTTP method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method(Cow<'static, str>);

impl Method {
    pub const GET: Self = Self(Cow::Borrowed("GET"));
    pub const HEAD: Self = Self(Cow::Borrowed("HEAD"));
    pub const POST: Self = Self(Cow::Borrowed("POST"));
    pub const PUT: Self = Self(Cow::Borrowed("PUT"));
    pub const PATCH: Self = Self(Cow::Borrowed("PATCH"));
    pub const DELETE: Self = Self(Cow::Borrowed("DELETE"));

    /// Any other method; the host checks it.
    pub fn new(method: impl Into<String>) -> Self {
        Self(Cow::Owned(method.into()))
    }
}

/// A request without credentials: the host adds them.
#[must_use = "a request goes out with `send` or `start`"]
pub struct Request<'a> {
    account: &'a Account,
    request: wit::Request,
    /// The first thing that went wrong while building; said by `send` and `start`.
    error: Option<Error>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(account: &'a Account, method: Method, url: String) -> Self {
        let request = wit::Request {
            method: method.0.into_owned(),
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
            as_identity: None,
        };
        Self { account, request, error: None }
    }

    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.request.headers.push(wit::Header { name: name.into(), value: value.as_ref().to_vec() });
        self
    }

    /// One more query parameter, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let url = &mut self.request.url;
        url.push(if url.contains('?') { '&' } else { '?' });
        encode(name, url);
        url.push('=');
        encode(value, url);
        self
    }

    /// The body as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// The body as JSON, with its content type.
    pub fn json<T: serde::Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => {
                self.error.get_or_insert_with(|| error.into());
                self
            }
        }
    }

    /// The body as a form, with its content type.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            encode(name, &mut body);
            body.push('=');
            encode(value, &mut body);
        }
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// Until the answer's headers are there; the host caps it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Which of the account's identities to use, such as Slack's `user`. Default: the app's first.
    pub fn as_identity(mut self, name: impl Into<String>) -> Self {
        self.request.as_identity = Some(name.into());
        self
    }

    /// Send it and go on; the answer comes later.
    pub fn start(self) -> Result<Pending, Error> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Pending { handle: wit::start(Some(self.account.handle()), &self.request)? }),
        }
    }

    /// Send it and wait for the answer's headers.
    pub fn send(self) -> Result<Response, Error> {
        self.start()?.wait()
    }
}

/// An answer on its way.
#[must_use = "an answer comes with `wait`, `join_all` or `wait_any`"]
pub struct Pending {
    handle: wit::Pending,
}

impl Pending {
    /// Wait for it.
    pub fn wait(self) -> Result<Response, Error> {
        loop {
            if let Some(answer) = self.handle.take() {
                return Ok(Response { handle: answer? });
            }
            self.handle.subscribe().block();
        }
    }

    /// The answer, if it is there.
    pub fn try_take(self) -> Result<Result<Response, Error>, Self> {
        match self.handle.take() {
            Some(answer) => Ok(answer.map(|handle| Response { handle }).map_err(Error::from)),
            None => Err(self),
        }
    }
}

/// Wait for all answers, in the order of the requests.
pub fn join_all(pending: impl IntoIterator<Item = Pending>) -> Vec<Result<Response, Error>> {
    // Waiting in order costs nothing: they are all on their way already.
    let pending: Vec<Pending> = pending.into_iter().collect();
    pending.into_iter().map(Pending::wait).collect()
}

/// Wait until at least one answer is there, and take it out of the list. The number is its place in the list.
/// None: the list is empty.
pub fn wait_any(pending: &mut Vec<Pending>) -> Option<(usize, Result<Response, Error>)> {
    loop {
        let pollables: Vec<_> = pending.iter().map(|pending| pending.handle.subscribe()).collect();
        if pollables.is_empty() {
            return None;
        }
        let ready = poll::poll(&pollables.iter().collect::<Vec<_>>());
        drop(pollables);
        for at in ready {
            let at = at as usize;
            match pending.remove(at).try_take() {
                Ok(answer) => return Some((at, answer)),
                Err(again) => pending.insert(at, again),
            }
        }
    }
}

/// An answer whose body is still to be read.
pub struct Response {
    handle: wit::Response,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.handle.status()
    }

    /// Is the status 200 to 299?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.handle.headers().into_iter().map(|header| (header.name, header.value)).collect()
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<String> {
        let header = self.handle.headers().into_iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        String::from_utf8(header.value).ok()
    }

    /// Itself, or an error with the status and the start of the body when the status is 400 or more.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if status < 400 {
            return Ok(self);
        }
        let body = match self.bytes() {
            Ok(body) => String::from_utf8_lossy(&body).chars().take(300).collect(),
            Err(error) => format!("(its body failed: {error})"),
        };
        Err(Error::with_code(Code::Status(status), format!("the app answered {status}: {body}")))
    }

    /// The whole body.
    pub fn bytes(self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        self.read(|chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(all)
    }

    /// The whole body as text.
    pub fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?).map_err(|_| Error::new("the answer is not UTF-8 text"))
    }

    /// The whole body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, Error> {
        let status = self.status();
        serde_json::from_slice(&self.bytes()?)
            .map_err(|error| Error::new(format!("the answer (status {status}) is not the JSON expected: {error}")))
    }

    /// The body in pieces as they arrive, for answers that need not fit in memory.
    pub fn read(self, mut chunk: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        /// The most that the host gives at a time.
        const CHUNK_BYTES: u64 = 64 * 1024;
        let stream = self.handle.body()?;
        loop {
            match stream.blocking_read(CHUNK_BYTES) {
                Ok(bytes) => chunk(&bytes)?,
                Err(StreamError::Closed) => return Ok(()),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(Error::with_code(Code::Protocol, error.to_debug_string()));
                }
            }
        }
    }
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986 section 2.3.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)] as char);
            out.push(HEX[usize::from(byte & 15)] as char);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_query_value_cannot_add_a_parameter() {
        let mut out = String::new();
        super::encode("a b&c=d/é~", &mut out);
        assert_eq!(out, "a%20b%26c%3Dd%2F%C3%A9~");
    }
}
