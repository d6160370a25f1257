//! The hook that reads replies with tokens.

use crate::reply_bindings::exports::deputy::app::token_reply as wit;
use crate::{Bytes, Error, Secret};

/// Reads the replies of an app whose method says `reply-hook = true`.
pub trait TokenReply {
    /// Called for every good reply: at connect and at every refresh.
    ///
    /// # Errors
    /// Nothing is stored, and whoever connects is told the sentence.
    fn read(reply: Reply) -> Result<Tokens, Error>;
}

/// A reply whose texts the host keeps.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// All of it, in whatever form.
    pub body: Secret,
    headers: Vec<(String, Secret)>,
    parts: Vec<(String, Value)>,
}

#[derive(Debug)]
enum Value {
    Shown(String),
    Hidden(Secret),
}

impl Reply {
    /// A header of the reply.
    pub fn header(&self, name: &str) -> Option<&Secret> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text at a JSON Pointer of a JSON body, or a field of a form (`/name`).
    ///
    /// # Errors
    /// When no text stands there.
    pub fn text(&self, at: &str) -> Result<&Secret, Error> {
        match self.part(at) {
            Some(Value::Hidden(secret)) => Ok(secret),
            _ => Err(Error::new(format!("the reply has no text at `{at}`"))),
        }
    }

    /// A number of at most nine digits, `true`, `false` or `null`, as JSON writes it.
    pub fn plain(&self, at: &str) -> Option<&str> {
        match self.part(at) {
            Some(Value::Shown(text)) => Some(text),
            _ => None,
        }
    }

    /// Where anything stands: JSON Pointers in the order of the reply.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(at, _)| at.as_str())
    }

    fn part(&self, at: &str) -> Option<&Value> {
        self.parts.iter().find(|(have, _)| have == at).map(|(_, value)| value)
    }

    pub(crate) fn from_wit(reply: wit::Reply) -> Self {
        Self {
            status: reply.status,
            body: Secret(reply.body),
            headers: reply.headers.into_iter().map(|item| (item.name, Secret(item.value))).collect(),
            parts: reply.parts.into_iter().map(|part| (part.at, Value::of(part.value))).collect(),
        }
    }
}

impl Value {
    fn of(value: wit::Value) -> Self {
        match value {
            wit::Value::Shown(text) => Self::Shown(text),
            wit::Value::Hidden(handle) => Self::Hidden(Secret(handle)),
        }
    }
}

/// The reply as the declaration reads it: `access_token` stands at `/access_token`.
#[derive(Debug, Default)]
pub struct Tokens {
    items: Vec<wit::Item>,
}

impl Tokens {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn field(mut self, name: &str, value: &(impl Bytes + ?Sized)) -> Self {
        self.items.push(wit::Item { name: name.to_owned(), value: value.to_secret().0 });
        self
    }

    pub(crate) fn into_wit(self) -> Vec<wit::Item> {
        self.items
    }
}
