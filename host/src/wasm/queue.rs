//! The queue in front of an engine's slots.
//!
//! A pool that is full fails at once; a queue of the pool's size in front of it makes guests wait instead, first come,
//! first served. The permit goes back when it is dropped, so a caller that goes away frees its slot.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::WasmError;

/// How long a guest waits for its slot. Longer than a usual run, shorter than a person's patience.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Queue {
    permits: Arc<Semaphore>,
    slots: usize,
    timeout: Duration,
}

impl Queue {
    /// `timeout` is [`QUEUE_TIMEOUT`] outside tests.
    pub fn new(slots: usize, timeout: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(slots)), slots, timeout }
    }

    /// A slot, or an error that says how many there are.
    pub async fn slot(&self) -> Result<OwnedSemaphorePermit, WasmError> {
        match tokio::time::timeout(self.timeout, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(WasmError::Engine("the queue is closed".to_owned())),
            Err(_) => Err(WasmError::Busy {
                slots: self.slots,
                waited_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Slots that nobody uses now.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_is_told_how_many_slots_there_are() {
        let queue = Queue::new(1, Duration::from_millis(20));
        let held = queue.slot().await.unwrap();
        let error = queue.slot().await.unwrap_err();
        assert!(matches!(error, WasmError::Busy { slots: 1, .. }), "{error}");
        drop(held);
        assert!(queue.slot().await.is_ok());
    }
}
