//! When a token ends, and how long before that it is refreshed. Pure: the clock comes in as an argument.

use std::time::Duration;

use crate::time::Time;

/// The longest lifetime believed: ten years. What says more is read as this.
const MAX_LIFETIME_S: u64 = 10 * 365 * 24 * 3600;

/// The moment a token ends. The provider counted from before its reply travelled, so the whole duration of the
/// request is taken off: never later than the truth.
pub fn expires_at(received: Time, took: Duration, expires_in_s: u64) -> Time {
    let lifetime = Duration::from_secs(expires_in_s.min(MAX_LIFETIME_S));
    let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    Time(received.0.saturating_sub(took_ms).saturating_add(lifetime_ms))
}

/// How long before its end a token is refreshed: 10 % of its lifetime, at least 30 s, at most 5 min, and never more
/// than half of the lifetime.
pub fn margin(lifetime: Duration) -> Duration {
    let tenth = lifetime / 10;
    tenth.clamp(Duration::from_secs(30), Duration::from_secs(300)).min(lifetime / 2)
}

/// Whether a token that ends at `expires_at` is refreshed now.
pub fn due(now: Time, expires_at: Time, lifetime: Duration) -> bool {
    now.plus(margin(lifetime)) >= expires_at
}

/// Whether a token is so close to its end that a risky refresh is better than none: half of the margin.
pub fn nearly_over(now: Time, expires_at: Time, lifetime: Duration) -> bool {
    now.plus(margin(lifetime) / 2) >= expires_at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_margin_follows_the_lifetime() {
        for (lifetime_s, margin_s) in
            [(0, 0), (10, 5), (40, 20), (60, 30), (300, 30), (600, 60), (3000, 300), (3600, 300), (86_400, 300)]
        {
            assert_eq!(margin(S(lifetime_s)), S(margin_s), "{lifetime_s}");
        }
    }

    #[test]
    fn a_slow_reply_shortens_the_lifetime() {
        assert_eq!(expires_at(Time(100_000), S(7), 60), Time(153_000));
        assert_eq!(expires_at(Time(0), Duration::ZERO, u64::MAX), Time(315_360_000_000));
    }

    #[test]
    fn due_and_nearly_over_come_in_order() {
        let (end, hour) = (Time(3_600_000), S(3600));
        assert!(!due(Time(3_299_999), end, hour));
        assert!(due(Time(3_300_000), end, hour) && !nearly_over(Time(3_300_000), end, hour));
        assert!(nearly_over(Time(3_450_000), end, hour));
    }

    proptest! {
        #[test]
        fn a_fresh_token_is_never_due(lifetime_s in 1_u64..10_000_000, now in 0_i64..4_000_000_000_000) {
            let end = expires_at(Time(now), Duration::ZERO, lifetime_s);
            prop_assert!(!due(Time(now), end, S(lifetime_s)));
            prop_assert!(due(end, end, S(lifetime_s)));
            prop_assert!(margin(S(lifetime_s)) <= S(lifetime_s) / 2);
        }

        #[test]
        fn no_number_overflows(now in any::<i64>(), took in any::<u64>(), expires_in in any::<u64>()) {
            let end = expires_at(Time(now), Duration::from_millis(took), expires_in);
            let _ = due(Time(now), end, Duration::from_secs(expires_in));
        }
    }
}
