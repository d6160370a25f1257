//! What a refused token call means: one table, pure.
//!
//! The host owns the classes; a declaration may only map its provider's codes to them. Nothing unknown ever kills an
//! account: only a code that says so does, and only when nobody else can have used the refresh token before.

use std::time::Duration;

use deputy_declaration::types::{ErrorClass, ErrorMeaning};

/// The longest `Retry-After` that is believed.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// What came back from a token endpoint, as far as the table cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: SeenBody<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBody<'a> {
    /// HTML, empty, cut off, too large.
    Unreadable,
    /// Readable, and the declared error place holds a code.
    Error(&'a str),
    /// Readable, without an error and without the token.
    Nothing,
}

/// What the store knows about the refresh token that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The stored refresh token is no longer the one that was sent: somebody else's refresh landed.
    pub raced: bool,
    /// An earlier call with this very token was sent and its answer never stored.
    pub uncertain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Use what is stored now.
    Raced,
    /// The grant is gone.
    Permanent,
    /// The grant is gone because an earlier answer was lost.
    LostRotation,
    /// The client registration is wrong; no account is dead.
    Configuration,
    Throttle(Duration),
    Transient,
    /// The provider may have acted, and its answer is lost.
    Ambiguous,
}

pub fn classify(seen: Seen<'_>, declared: &[ErrorMeaning], memory: Memory) -> Class {
    let gone = match memory {
        Memory { raced: true, .. } => Class::Raced,
        Memory { uncertain: true, .. } => Class::LostRotation,
        Memory { .. } => Class::Permanent,
    };
    let throttle = Class::Throttle(seen.retry_after.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT));
    if let SeenBody::Error(code) = seen.body {
        if let Some(meaning) = declared.iter().find(|meaning| meaning.code == code) {
            return match meaning.class {
                ErrorClass::Permanent => gone,
                ErrorClass::Configuration => Class::Configuration,
                ErrorClass::Throttle => throttle,
                ErrorClass::Transient => Class::Transient,
            };
        }
        match code {
            // RFC 6749 section 5.2.
            "invalid_grant" => return gone,
            "invalid_client"
            | "unauthorized_client"
            | "invalid_scope"
            | "unsupported_grant_type"
            | "invalid_request"
            | "redirect_uri_mismatch" => return Class::Configuration,
            // RFC 8628 section 3.5.
            "slow_down" => return throttle,
            "server_error" | "temporarily_unavailable" => return Class::Transient,
            _ => {}
        }
    }
    match (seen.status, seen.body) {
        (429, _) => throttle,
        (400..=599, _) if seen.retry_after.is_some() => throttle,
        // A good status with half a reply, or a gateway that lost it: the token may be spent.
        (200..=299, SeenBody::Unreadable) | (502 | 504, _) => Class::Ambiguous,
        // RFC 6749 section 5.2: 401 is about the client's authentication.
        (401, SeenBody::Error(_)) => Class::Configuration,
        _ => Class::Transient,
    }
}

/// The error code in a form that may be shown: short, plain, and without anything that was sent in secret.
pub fn presentable(code: &str, secrets: &[&[u8]]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let holds = |secret: &&[u8]| secret.len() >= 4 && code.as_bytes().windows(secret.len()).any(|part| part == *secret);
    if !code.is_empty() && code.len() <= 64 && code.bytes().all(plain) && !secrets.iter().any(holds) {
        code.to_owned()
    } else {
        "an error that cannot be shown".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Memory = Memory { raced: false, uncertain: false };

    fn seen(status: u16, body: SeenBody<'_>) -> Seen<'_> {
        Seen { status, retry_after: None, body }
    }

    #[test]
    fn a_dead_grant_is_judged_by_what_the_store_knows() {
        let dead = |memory| classify(seen(400, SeenBody::Error("invalid_grant")), &[], memory);
        assert_eq!(dead(QUIET), Class::Permanent);
        assert_eq!(dead(Memory { uncertain: true, ..QUIET }), Class::LostRotation);
        assert_eq!(dead(Memory { raced: true, ..QUIET }), Class::Raced);
        assert_eq!(dead(Memory { raced: true, uncertain: true }), Class::Raced);
    }

    #[test]
    fn the_table() {
        use SeenBody::{Error, Nothing, Unreadable};
        let minute = Class::Throttle(Duration::from_secs(60));
        for (status, body, class) in [
            (401, Error("invalid_client"), Class::Configuration),
            (400, Error("unauthorized_client"), Class::Configuration),
            (400, Error("invalid_scope"), Class::Configuration),
            (400, Error("unsupported_grant_type"), Class::Configuration),
            (401, Error("whatever"), Class::Configuration),
            (400, Error("whatever"), Class::Transient),
            (403, Error("whatever"), Class::Transient),
            (400, Error("slow_down"), minute),
            (429, Unreadable, minute),
            (429, Error("whatever"), minute),
            (429, Error("invalid_grant"), Class::Permanent),
            (200, Error("invalid_grant"), Class::Permanent),
            (500, Error("server_error"), Class::Transient),
            (500, Unreadable, Class::Transient),
            (503, Unreadable, Class::Transient),
            (502, Unreadable, Class::Ambiguous),
            (504, Error("timeout"), Class::Ambiguous),
            (200, Unreadable, Class::Ambiguous),
            (400, Unreadable, Class::Transient),
            (404, Unreadable, Class::Transient),
            (302, Unreadable, Class::Transient),
            (200, Nothing, Class::Transient),
        ] {
            assert_eq!(classify(seen(status, body), &[], QUIET), class, "{status} {body:?}");
        }
    }

    #[test]
    fn a_provider_names_its_own_codes() {
        let declared = [
            ErrorMeaning { code: "token_revoked".into(), class: ErrorClass::Permanent },
            ErrorMeaning { code: "access_denied".into(), class: ErrorClass::Configuration },
            ErrorMeaning { code: "invalid_grant".into(), class: ErrorClass::Transient },
        ];
        let class = |code| classify(seen(200, SeenBody::Error(code)), &declared, QUIET);
        assert_eq!(class("token_revoked"), Class::Permanent);
        assert_eq!(class("access_denied"), Class::Configuration);
        assert_eq!(class("invalid_grant"), Class::Transient);
    }

    #[test]
    fn a_wait_is_honoured_up_to_an_hour() {
        let wait = |after| {
            classify(
                Seen { status: 503, retry_after: Some(Duration::from_secs(after)), body: SeenBody::Unreadable },
                &[],
                QUIET,
            )
        };
        assert_eq!(wait(7), Class::Throttle(Duration::from_secs(7)));
        assert_eq!(wait(86_400), Class::Throttle(MAX_WAIT));
    }

    #[test]
    fn an_error_code_cannot_carry_a_secret_out() {
        assert_eq!(presentable("invalid_grant", &[b"hunter22"]), "invalid_grant");
        assert_eq!(presentable("no:hunter22", &[b"hunter22"]), "an error that cannot be shown");
        assert_eq!(presentable("a b\nc", &[]), "an error that cannot be shown");
        assert_eq!(presentable(&"a".repeat(65), &[]), "an error that cannot be shown");
    }
}
