//! Whether a call is tried again, and after how long. Pure: the wait itself is `run`'s.

use std::time::Duration;

use http::{Method, StatusCode};

use super::CallRetry;
use crate::egress::{EgressError, TokensError};

/// How an attempt ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The app says that it did not carry the request out, and may say when it would.
    Throttled { after: Option<Duration> },
    /// 502, 503, 504: the request may have been carried out.
    Down { after: Option<Duration> },
    /// It failed before anything of it was sent.
    NotSent,
    /// The connection broke, or no answer came in time: the request may have been carried out.
    Broken,
    /// Another attempt would end the same way.
    Final,
}

impl What {
    pub(super) fn of_status(status: StatusCode, after: Option<Duration>) -> Self {
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::Down { after }
            }
            _ => Self::Final,
        }
    }

    pub(super) fn of_error(error: &EgressError) -> Self {
        match error {
            EgressError::Unreachable { .. } | EgressError::Tokens(TokensError::Transient { .. }) => Self::NotSent,
            EgressError::Interrupted { .. } | EgressError::Timeout { .. } => Self::Broken,
            EgressError::Invalid { .. }
            | EgressError::Denied { .. }
            | EgressError::Tokens(_)
            | EgressError::TooLarge { .. }
            | EgressError::Protocol { .. }
            | EgressError::Internal(_) => Self::Final,
        }
    }
}

/// RFC 9110 section 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// How long to wait before the next attempt; none: there is none. `done`: attempts so far, from 1. `jitter`: 0 to 1.
pub(super) fn wait(
    rules: &CallRetry,
    method: &Method,
    done: u32,
    what: What,
    first_wait: Duration,
    jitter: f64,
) -> Option<Duration> {
    if done >= rules.attempts {
        return None;
    }
    let again_is_safe = rules.unsafe_too || is_idempotent(method);
    let after = match what {
        What::Throttled { after } => after,
        What::Down { after } if again_is_safe => after,
        What::NotSent => None,
        What::Broken if again_is_safe => None,
        What::Down { .. } | What::Broken | What::Final => return None,
    };
    match after {
        // What is asked for beyond the bound is not shortened: it would only be refused again.
        Some(after) if after > rules.longest_wait => None,
        // Never earlier than asked; a little later, so that those who wait together do not come back together.
        Some(after) => Some(after + after.mul_f64(0.1 * jitter).min(Duration::from_secs(1))),
        None => {
            let doubled = first_wait.saturating_mul(2_u32.saturating_pow(done.saturating_sub(1)));
            Some(doubled.min(rules.longest_wait).mul_f64(0.5 + 0.5 * jitter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn rules() -> CallRetry {
        CallRetry::default()
    }

    fn next(method: Method, what: What) -> Option<Duration> {
        wait(&rules(), &method, 1, what, S(1), 1.0)
    }

    #[test]
    fn only_what_was_not_carried_out_is_sent_again_unless_the_method_may_be_repeated() {
        let throttled = What::Throttled { after: None };
        let down = What::Down { after: None };
        for (method, what, again) in [
            (Method::GET, throttled, true),
            (Method::GET, down, true),
            (Method::GET, What::Broken, true),
            (Method::GET, What::NotSent, true),
            (Method::GET, What::Final, false),
            (Method::PUT, down, true),
            (Method::DELETE, What::Broken, true),
            (Method::POST, throttled, true),
            (Method::POST, What::NotSent, true),
            (Method::POST, down, false),
            (Method::POST, What::Broken, false),
            (Method::PATCH, down, false),
            (Method::POST, What::Final, false),
        ] {
            assert_eq!(next(method.clone(), what).is_some(), again, "{method} {what:?}");
        }
        let unsafe_too = CallRetry { unsafe_too: true, ..rules() };
        assert!(wait(&unsafe_too, &Method::POST, 1, down, S(1), 0.0).is_some());
        assert!(wait(&unsafe_too, &Method::POST, 1, What::Final, S(1), 0.0).is_none());
    }

    #[test]
    fn attempts_are_counted() {
        let rules = CallRetry { attempts: 3, ..rules() };
        let again = |done| wait(&rules, &Method::GET, done, What::NotSent, S(1), 1.0).is_some();
        assert_eq!([again(1), again(2), again(3), again(4)], [true, true, false, false]);
        assert!(wait(&CallRetry { attempts: 1, ..rules }, &Method::GET, 1, What::NotSent, S(1), 1.0).is_none());
    }

    #[test]
    fn what_the_app_asks_for_is_waited_and_never_less() {
        let asked = |after| wait(&rules(), &Method::POST, 1, What::Throttled { after: Some(after) }, S(1), 0.0);
        assert_eq!(asked(S(7)), Some(S(7)));
        assert_eq!(asked(S(0)), Some(S(0)));
        assert_eq!(asked(S(30)), Some(S(30)));
        assert_eq!(asked(S(31)), None, "longer than this call waits");
        let jittered = wait(&rules(), &Method::GET, 1, What::Down { after: Some(S(5)) }, S(1), 1.0);
        assert_eq!(jittered, Some(Duration::from_millis(5_500)));
    }

    #[test]
    fn else_waits_double_with_jitter_up_to_the_bound() {
        let rules = CallRetry { attempts: 100, longest_wait: S(10), unsafe_too: false };
        let at = |done, jitter| wait(&rules, &Method::GET, done, What::Broken, S(1), jitter);
        assert_eq!(at(1, 1.0), Some(S(1)));
        assert_eq!(at(1, 0.0), Some(Duration::from_millis(500)));
        assert_eq!(at(3, 1.0), Some(S(4)));
        assert_eq!(at(50, 1.0), Some(S(10)));
        assert_eq!(at(99, 0.0), Some(S(5)));
    }

    #[test]
    fn statuses_and_failures_are_sorted() {
        for (status, down) in [(500, false), (501, false), (502, true), (503, true), (504, true), (404, false)] {
            let what = What::of_status(StatusCode::from_u16(status).unwrap(), None);
            assert_eq!(what, if down { What::Down { after: None } } else { What::Final }, "{status}");
        }
        let host = || "api.example".to_owned();
        let unreachable = EgressError::Unreachable { host: host(), reason: String::new() };
        assert_eq!(What::of_error(&unreachable), What::NotSent);
        let interrupted = EgressError::Interrupted { host: host(), reason: String::new() };
        assert_eq!(What::of_error(&interrupted), What::Broken);
        let denied = EgressError::Denied { rule: "path", message: String::new(), fix: None };
        assert_eq!(What::of_error(&denied), What::Final);
        let gone = TokensError::NeedsReconnect { name: String::new(), reason: String::new() };
        assert_eq!(What::of_error(&gone.into()), What::Final);
    }
}
