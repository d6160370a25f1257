//! Answers that come only when enough requests have arrived: the proof that requests really run side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// One gathering for each size asked for.
#[derive(Default)]
pub struct Gatherings {
    by_size: Mutex<HashMap<u64, Arc<Gathering>>>,
}

struct Gathering {
    /// How many wait now.
    waiting: Mutex<u64>,
    /// Counts completed gatherings.
    round: watch::Sender<u64>,
}

/// A place in the gathering, given back when the request goes away before the others came.
struct Place<'a> {
    gathering: &'a Gathering,
    round: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.gathering.waiting();
        if *self.gathering.round.borrow() == self.round {
            *waiting -= 1;
        }
    }
}

impl Gathering {
    fn waiting(&self) -> MutexGuard<'_, u64> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gatherings {
    /// Returns when `size` requests wait here at the same time.
    pub async fn join(&self, size: u64) {
        let gathering = {
            let mut by_size = self.by_size.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(
                by_size
                    .entry(size)
                    .or_insert_with(|| Arc::new(Gathering { waiting: Mutex::new(0), round: watch::Sender::new(0) })),
            )
        };
        let mut rounds = gathering.round.subscribe();
        let place = {
            let mut waiting = gathering.waiting();
            let round = *gathering.round.borrow();
            *waiting += 1;
            if *waiting >= size {
                *waiting = 0;
                gathering.round.send_replace(round + 1);
                return;
            }
            Place { gathering: &gathering, round }
        };
        // The sender lives in `gathering`, which this future holds: waiting cannot fail.
        let _ = rounds.wait_for(|round| *round != place.round).await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn all_pass_when_the_last_has_come_and_a_lost_one_does_not_count() {
        let gatherings = Arc::new(Gatherings::default());
        let lost = tokio::spawn({
            let gatherings = Arc::clone(&gatherings);
            async move { gatherings.join(2).await }
        });
        while gatherings.by_size.lock().unwrap().get(&2).is_none_or(|gathering| *gathering.waiting() == 0) {
            tokio::task::yield_now().await;
        }
        lost.abort();
        assert!(lost.await.unwrap_err().is_cancelled());
        let mut first = Box::pin(gatherings.join(2));
        let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the lost request still counts");
        gatherings.join(2).await;
        first.await;
    }
}
