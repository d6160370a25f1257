//! CPU time of a guest, counted where it is spent: in the polls of its future.
//!
//! A guest gives way at every tick of the engine's clock, so a poll lasts one tick at most, and a guest that waits
//! for an answer costs nothing. Counting ticks alone would charge a whole tick for every short piece of work between
//! two waits.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// The budget is spent; the guest was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuSpent;

/// What a guest has used so far, in microseconds; stays readable when the guest is dropped.
#[derive(Debug, Default)]
pub struct CpuMeter(AtomicU64);

impl CpuMeter {
    pub fn spent(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, more: Duration) -> Duration {
        let more = u64::try_from(more.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.0.fetch_add(more, Ordering::Relaxed).saturating_add(more))
    }
}

/// Runs `guest` until it ends or has used `budget` of CPU time, to within one tick.
pub async fn within_cpu<F: Future>(budget: Duration, meter: &CpuMeter, guest: F) -> Result<F::Output, CpuSpent> {
    let mut guest = pin!(guest);
    std::future::poll_fn(move |cx| {
        let start = Instant::now();
        let polled = guest.as_mut().poll(cx);
        let spent = meter.add(start.elapsed());
        match polled {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if spent > budget => Poll::Ready(Err(CpuSpent)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_costs_nothing() {
        let waits = tokio::time::sleep(Duration::from_millis(300));
        assert_eq!(within_cpu(Duration::from_millis(200), &CpuMeter::default(), waits).await, Ok(()));
    }

    #[tokio::test]
    async fn a_future_that_works_in_every_poll_is_stopped() {
        let works = std::future::poll_fn(|cx| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2) {}
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(within_cpu(Duration::from_millis(20), &CpuMeter::default(), works).await, Err(CpuSpent));
    }
}
