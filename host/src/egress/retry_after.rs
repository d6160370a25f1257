//! How long an answer asks to wait: `Retry-After` (RFC 9110 section 10.2.3), or the header that the app declares.
//!
//! Promise: whatever stands in the header, the result is a wait between zero and [`MOST_WAIT`], or none.

use std::time::{Duration, SystemTime};

use deputy_declaration::types::{RetryAfter, TimeUnit};
use http::{HeaderMap, header};

use crate::time::Time;

/// Longer waits are taken for this one: nobody waits a day for one request.
pub const MOST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// `Retry-After` where there is one; else the app's own header. `now`: the host's clock.
pub(super) fn read(declared: Option<&RetryAfter>, headers: &HeaderMap, now: Time) -> Option<Duration> {
    http(headers, now).or_else(|| {
        let declared = declared?;
        let value = headers.get(declared.header.as_str())?.to_str().ok()?;
        in_unit(value.trim(), declared.unit, now)
    })
}

/// `Retry-After` alone: seconds, or a date in one of HTTP's three forms. A date that is past is no wait.
pub fn http(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match number(value) {
        Some(seconds) => duration(seconds),
        None => {
            let at = httpdate::parse_http_date(value).ok()?;
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            at.saturating_sub(since_epoch(now))
        }
    };
    Some(after.min(MOST_WAIT))
}

fn in_unit(value: &str, unit: TimeUnit, now: Time) -> Option<Duration> {
    let number = number(value)?;
    let after = match unit {
        TimeUnit::Seconds => duration(number),
        TimeUnit::Milliseconds => duration(number / 1000.0),
        TimeUnit::EpochSeconds => duration(number).saturating_sub(since_epoch(now)),
    };
    Some(after.min(MOST_WAIT))
}

/// Digits, perhaps with a fraction: services send `1.5` too. No sign, exponent or `NaN`.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain && text.len() <= 40 { text.parse().ok() } else { None }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn since_epoch(now: Time) -> Duration {
    now.since(Time(0))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: Time = Time(784_111_777_000);

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("0", Some(0.0)),
            ("120", Some(120.0)),
            (" 7 ", Some(7.0)),
            ("1.5", Some(1.5)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60.0)),
            ("Sun Nov  6 08:50:37 1994", Some(60.0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400.0)),
            ("99999999999999999999999999999999", Some(86_400.0)),
            ("-1", None),
            ("1e9", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
            ("", None),
            (".", None),
        ] {
            let after = http(&headers("retry-after", value), NOW);
            assert_eq!(after, seconds.map(Duration::from_secs_f64), "{value}");
        }
        assert_eq!(http(&HeaderMap::new(), NOW), None);
    }

    #[test]
    fn a_declared_header_has_its_unit() {
        let read = |unit, value: &str| {
            let declared = RetryAfter { header: "x-ratelimit-reset".to_owned(), unit };
            read(Some(&declared), &headers("x-ratelimit-reset", value), NOW)
        };
        assert_eq!(read(TimeUnit::Seconds, "3"), Some(Duration::from_secs(3)));
        assert_eq!(read(TimeUnit::Milliseconds, "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read(TimeUnit::EpochSeconds, "784111787"), Some(Duration::from_secs(10)));
        assert_eq!(read(TimeUnit::EpochSeconds, "1"), Some(Duration::ZERO), "the moment is past");
        assert_eq!(read(TimeUnit::EpochSeconds, "18446744073709551616000"), Some(MOST_WAIT));
        assert_eq!(read(TimeUnit::EpochSeconds, "later"), None);
    }

    #[test]
    fn retry_after_goes_before_the_apps_own_header() {
        let declared = RetryAfter { header: "x-reset".to_owned(), unit: TimeUnit::Seconds };
        let mut both = headers("x-reset", "50");
        both.insert("retry-after", HeaderValue::from_static("5"));
        assert_eq!(read(Some(&declared), &both, NOW), Some(Duration::from_secs(5)));
        both.insert("retry-after", HeaderValue::from_static("rubbish"));
        assert_eq!(read(Some(&declared), &both, NOW), Some(Duration::from_secs(50)));
    }

    proptest! {
        #[test]
        fn nothing_in_the_header_can_do_harm(value in "[ -~]{0,60}", now in any::<i64>()) {
            let now = Time(now);
            for unit in [TimeUnit::Seconds, TimeUnit::Milliseconds, TimeUnit::EpochSeconds] {
                let declared = RetryAfter { header: "x-reset".to_owned(), unit };
                prop_assert!(read(Some(&declared), &headers("x-reset", &value), now).is_none_or(|wait| wait <= MOST_WAIT));
            }
            prop_assert!(http(&headers("retry-after", &value), now).is_none_or(|wait| wait <= MOST_WAIT));
        }
    }
}
