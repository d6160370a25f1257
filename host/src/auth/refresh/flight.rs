//! One refresh per account in this process: whoever comes second waits for the first one's outcome.
//!
//! A flight is a task of its own, so a caller that goes away does not end it. Waiting has a deadline, the flight has
//! none: a call on the wire may bring new tokens, and is bounded by the road's own limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::Failure;
use crate::ids::AccountId;

/// The longest that anybody waits for a flight: more than one token call takes.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub type Landing = Result<(), Failure>;

#[derive(Default)]
pub struct Flights {
    under_way: Mutex<HashMap<AccountId, watch::Receiver<Option<Landing>>>>,
}

/// Takes the flight off the board also when its task panics.
struct Board {
    flights: Arc<Flights>,
    account: AccountId,
}

impl Drop for Board {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.account);
    }
}

impl Flights {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, watch::Receiver<Option<Landing>>>> {
        // The map is whole between any two statements: a panic elsewhere leaves nothing half done.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome of the flight under way, or of the one that `start` makes. Cancelling the wait cancels nothing.
    pub async fn join(
        self: &Arc<Self>,
        account: &AccountId,
        start: impl FnOnce() -> BoxFuture<'static, Landing>,
    ) -> Landing {
        let mut landing = {
            let mut under_way = self.lock();
            match under_way.get(account) {
                Some(landing) => landing.clone(),
                None => {
                    let (sender, landing) = watch::channel(None);
                    under_way.insert(account.clone(), landing.clone());
                    let board = Board { flights: self.clone(), account: account.clone() };
                    let flight = start();
                    tokio::spawn(async move {
                        let outcome = flight.await;
                        drop(board);
                        // Nobody waits any more: the store has the outcome.
                        let _ = sender.send(Some(outcome));
                    });
                    landing
                }
            }
        };
        match tokio::time::timeout(DEADLINE, landing.wait_for(Option::is_some)).await {
            Err(_) => Err(Failure::Transient { reason: format!("it takes longer than {} s", DEADLINE.as_secs()) }),
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Failure::Internal { reason: "the refresh ended early".to_owned() }),
        }
    }

    /// Waits until nothing is under way: before the process ends.
    pub async fn drain(&self) {
        loop {
            let next = self.lock().values().next().cloned();
            let Some(mut landing) = next else { return };
            // An error means that it ended.
            let _ = landing.wait_for(Option::is_some).await;
            tokio::task::yield_now().await;
        }
    }
}
