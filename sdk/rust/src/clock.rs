//! Time, from the host.

use std::time::Duration;

use crate::bindings::deputy::step::clock as wit;

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> i64 {
    wit::now_ms()
}

/// Wait. Costs no CPU budget, but the run's deadline goes on.
pub fn sleep(duration: Duration) {
    wit::after_ms(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)).block();
}
