//! An answer that brought no tokens, and what of it may be told.

use std::time::Duration;

use deputy_declaration::types::{ErrorMeaning, OAuth2};

use super::errors::{Class, Memory, Seen, SeenBody, classify, presentable};
use super::reply::Reply;
use super::road::TokenAnswer;

/// Without the answer's text, which may hold a secret.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub code: Option<String>,
    pub unreadable: Option<String>,
}

impl Refusal {
    /// `error`: where the declaration says that a code stands.
    pub fn of(answer: &TokenAnswer, error: &str) -> Self {
        let mut refusal = Self { status: answer.status, retry_after: answer.retry_after, code: None, unreadable: None };
        match Reply::parse(&answer.body) {
            Ok(reply) => refusal.code = reply.error(error),
            Err(error) => refusal.unreadable = Some(error.to_string()),
        }
        refusal
    }

    /// A good answer in which a declared token is missing. `readable`: it stands in JSON or a form.
    pub fn without_token(answer: &TokenAnswer, readable: bool) -> Self {
        let parsed = if readable { Reply::parse(&answer.body).err() } else { None };
        Self {
            status: answer.status,
            retry_after: answer.retry_after,
            code: None,
            unreadable: parsed.map(|error| error.to_string()),
        }
    }

    fn seen(&self) -> Seen<'_> {
        let body = match (&self.code, &self.unreadable) {
            (Some(code), _) => SeenBody::Error(code),
            (None, Some(_)) => SeenBody::Unreadable,
            (None, None) => SeenBody::Nothing,
        };
        Seen { status: self.status, retry_after: self.retry_after, body }
    }

    pub fn class(&self, declared: &[ErrorMeaning], memory: Memory) -> Class {
        classify(self.seen(), declared, memory)
    }

    /// The class where a person's own secrets were sent, and no OAuth client's: there a 401 is about them.
    pub fn class_of_login(&self, declared: &[ErrorMeaning]) -> Class {
        let named = self.code.as_ref().is_some_and(|code| declared.iter().any(|meaning| meaning.code == *code));
        let client = matches!(self.code.as_deref(), Some("invalid_client"));
        if !named && (client || self.status == 401) {
            return Class::Permanent;
        }
        match self.class(declared, Memory::default()) {
            // A login sent again harms nobody: a session more, at most.
            Class::Ambiguous => Class::Transient,
            class => class,
        }
    }

    pub fn reason(&self, secrets: &[&[u8]]) -> String {
        let status = self.status;
        match (&self.code, &self.unreadable) {
            (Some(code), _) => format!("status {status}, {}", presentable(code, secrets)),
            // What a failed call answers is often a page; that it failed says more.
            (None, Some(_)) if !(200..300).contains(&status) => format!("status {status}"),
            (None, Some(reason)) => format!("status {status}, {reason}"),
            (None, None) if !(200..300).contains(&status) => format!("status {status}"),
            (None, None) => format!("status {status}, no token in the reply"),
        }
    }
}

/// What a failed first exchange or refresh means for everybody: class and presentable reason.
pub fn read_refusal(
    answer: &TokenAnswer,
    oauth2: &OAuth2,
    errors: &[ErrorMeaning],
    secrets: &[&[u8]],
) -> (Class, String) {
    let refusal = Refusal::of(answer, &oauth2.error);
    (refusal.class(errors, Memory::default()), refusal.reason(secrets))
}

#[cfg(test)]
mod tests {
    use deputy_declaration::types::ErrorClass;

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let body = zeroize::Zeroizing::new(body.as_bytes().to_vec());
        Refusal::of(&TokenAnswer { status, retry_after: None, headers: Default::default(), body }, "/code")
    }

    #[test]
    fn a_login_is_refused_by_401_or_by_a_declared_code() {
        let declared = [
            ErrorMeaning { code: "4010".into(), class: ErrorClass::Permanent },
            ErrorMeaning { code: "locked".into(), class: ErrorClass::Transient },
        ];
        let class = |status, body| refusal(status, body).class_of_login(&declared);
        assert_eq!(class(401, ""), Class::Permanent);
        assert_eq!(class(401, r#"{"code":"bad"}"#), Class::Permanent);
        assert_eq!(class(400, r#"{"code":"invalid_client"}"#), Class::Permanent);
        assert_eq!(class(200, r#"{"code":4010}"#), Class::Permanent);
        assert_eq!(class(401, r#"{"code":"locked"}"#), Class::Transient, "what is declared comes first");
        assert_eq!(class(403, "<html>"), Class::Transient);
        assert_eq!(class(502, ""), Class::Transient, "a login is no rotation");
        assert!(matches!(class(429, ""), Class::Throttle(_)));
    }

    #[test]
    fn a_reason_holds_no_secret() {
        let secret: &[&[u8]] = &[b"hunter22"];
        assert_eq!(refusal(403, "<html>hunter22").reason(secret), "status 403");
        assert_eq!(refusal(200, "<html>hunter22").reason(secret), "status 200, the reply is an HTML page");
        assert!(!refusal(400, r#"{"code":"no-hunter22"}"#).reason(secret).contains("hunter22"));
    }
}
