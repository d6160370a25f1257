//! The hook that signs requests.

use crate::bindings::exports::deputy::app::signing as wit;
use crate::{Bytes, Error, Secret};

/// Signs every request of an app whose rule is `sign.hook`.
pub trait Signing {
    /// Called last, over what goes on the wire, and anew for every attempt.
    ///
    /// # Errors
    /// The request is not sent, and who made it is told the sentence.
    fn sign(request: Request) -> Result<Signature, Error>;
}

/// A request as it is about to go out.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// `https://api.example.com`, with the port unless it is the scheme's own.
    pub origin: String,
    /// As it is sent: percent-encoded, with a slash first.
    pub path: String,
    /// As it is sent, without the question mark and without what this hook will add.
    pub query: Option<String>,
    /// Milliseconds since 1970-01-01 UTC.
    pub now_ms: i64,
    /// 32 hexadecimal digits, random for each call.
    pub nonce: String,
    headers: Vec<(String, String)>,
    inputs: Vec<(String, String)>,
    tokens: Vec<(String, Secret)>,
    body: Option<Body>,
}

/// The whole body.
#[derive(Debug)]
pub struct Body {
    /// In bytes.
    pub length: u64,
    /// 64 hexadecimal digits, in lower case.
    pub sha256: String,
    pub bytes: Secret,
}

impl Request {
    /// A header as it is sent. Those that hold a credential are not here.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, |have| have.eq_ignore_ascii_case(name))
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// An input of the account.
    pub fn input(&self, name: &str) -> Option<&str> {
        find(&self.inputs, |have| have == name)
    }

    /// A token of the account.
    ///
    /// # Errors
    /// When the account has none of this name.
    pub fn token(&self, name: &str) -> Result<&Secret, Error> {
        let token = self.tokens.iter().find(|(have, _)| have == name);
        token.map(|(_, secret)| secret).ok_or_else(|| Error::new(format!("the account has no token `{name}`")))
    }

    /// The body; an empty one where the request has none.
    ///
    /// # Errors
    /// When it is sent while it is read, so that nobody knows it yet.
    pub fn body(&self) -> Result<&Body, Error> {
        self.body.as_ref().ok_or_else(|| "the body is signed with the request: send it whole, not as a stream".into())
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn now_s(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    pub(crate) fn from_wit(request: wit::Request) -> Self {
        let pairs = |fields: Vec<wit::Field>| fields.into_iter().map(|field| (field.name, field.value)).collect();
        Self {
            method: request.method,
            origin: request.origin,
            path: request.path,
            query: request.query,
            now_ms: request.now_ms,
            nonce: request.nonce,
            headers: pairs(request.headers),
            inputs: pairs(request.inputs),
            tokens: request.tokens.into_iter().map(|token| (token.name, Secret(token.value))).collect(),
            body: request.body.map(|body| Body { length: body.length, sha256: body.sha256, bytes: Secret(body.bytes) }),
        }
    }
}

fn find(pairs: &[(String, String)], is: impl Fn(&str) -> bool) -> Option<&str> {
    pairs.iter().find(|(name, _)| is(name)).map(|(_, value)| value.as_str())
}

/// What is added to the request: only in places that the rule names, and at least one of them made with a token.
#[derive(Debug, Default)]
pub struct Signature {
    headers: Vec<wit::Slot>,
    query: Vec<wit::Slot>,
}

impl Signature {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(mut self, name: &str, value: &(impl Bytes + ?Sized)) -> Self {
        self.headers.push(wit::Slot { name: name.to_owned(), value: value.to_secret().0 });
        self
    }

    /// A field behind those of the caller. The host percent-encodes it.
    pub fn query(mut self, name: &str, value: &(impl Bytes + ?Sized)) -> Self {
        self.query.push(wit::Slot { name: name.to_owned(), value: value.to_secret().0 });
        self
    }

    pub(crate) fn into_wit(self) -> wit::Signed {
        wit::Signed { headers: self.headers, query: self.query }
    }
}
