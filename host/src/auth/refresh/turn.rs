//! Whose turn it is to refresh an account, and what was sent: one plain row per account, changed only by generation.
//!
//! The lease keeps two processes apart, its number fences off a holder that slept through its lease, and the intent
//! survives a crash: it says that a refresh token was sent and no answer was stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::auth::rows::{Rows, RowsError, plain, read_plain, turn_key};
use crate::caller::Owner;
use crate::ids::AccountId;
use crate::store::{Expect, Op};
use crate::time::Time;

/// Twice the deadline of a flight: a holder that still runs has long given up sending.
pub const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Rises with every lease.
    pub seq: u64,
    pub holder: Option<String>,
    pub until: Option<Time>,
    pub intent: Option<Intent>,
    pub fails: u32,
    pub next_try: Option<Time>,
    pub failure: Option<Failure>,
}

/// A refresh token that went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Keyed fingerprint of the token.
    pub token: String,
    pub sent_at: Time,
}

impl Turn {
    /// Somebody else holds the lease. What another process left in a store that only one can open is over.
    pub fn is_held(&self, me: &str, now: Time, exclusive: bool) -> bool {
        let other = self.holder.as_deref().is_some_and(|holder| holder != me);
        other && !exclusive && self.until.is_some_and(|until| now < until)
    }

    /// This token was sent before, and what came of it was never stored.
    pub fn is_uncertain(&self, token: &str) -> Option<&Intent> {
        self.intent.as_ref().filter(|intent| intent.token == token)
    }

    pub fn leased(&self, me: &str, token: &str, now: Time) -> Self {
        Self {
            seq: self.seq + 1,
            holder: Some(me.to_owned()),
            until: Some(now.plus(LEASE)),
            intent: Some(Intent { token: token.to_owned(), sent_at: now }),
            fails: self.fails,
            next_try: None,
            failure: None,
        }
    }

    /// The lease given back after a success.
    pub fn done(&self) -> Self {
        Self { seq: self.seq, ..Self::default() }
    }

    /// The lease given back after a failure.
    pub fn failed(&self, intent: Option<Intent>, next_try: Option<Time>, failure: Failure) -> Self {
        Self {
            seq: self.seq,
            holder: None,
            until: None,
            intent,
            fails: self.fails.saturating_add(1),
            next_try,
            failure: Some(failure),
        }
    }
}

impl Rows {
    /// The turn of an account and the generation of its row; 0 when there is none yet.
    pub async fn turn(&self, owner: &Owner, id: &AccountId) -> Result<(Turn, u64), RowsError> {
        match self.store.get(&turn_key(owner, id)).await? {
            Some(row) => Ok((read_plain(&row)?, row.generation)),
            None => Ok((Turn::default(), 0)),
        }
    }

    /// Forgets what was sent for secrets that are replaced, and fences off whoever is still refreshing them.
    pub async fn renounce_turn(&self, owner: &Owner, id: &AccountId) -> Result<Op, RowsError> {
        let (turn, generation) = self.turn(owner, id).await?;
        self.put_turn(owner, id, &Turn { seq: turn.seq + 1, ..Turn::default() }, generation)
    }

    pub fn put_turn(&self, owner: &Owner, id: &AccountId, turn: &Turn, from: u64) -> Result<Op, RowsError> {
        let expect = if from == 0 { Expect::Absent } else { Expect::Generation(from) };
        plain(turn_key(owner, id), turn, expect)
    }
}

/// How long to wait after the n-th failure in a row: doubling from 1 s to 5 min, between half of that and all of it.
pub fn backoff(fails: u32, random: u16) -> Duration {
    let full_ms = 1000_u64.saturating_mul(1 << fails.min(9)).min(300_000);
    Duration::from_millis(full_ms / 2 + full_ms / 2 * u64::from(random) / u64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_keeps_others_off_until_it_ends() {
        let turn = Turn::default().leased("a", "token", Time(1_000));
        assert!(turn.is_held("b", Time(60_999), false));
        assert!(!turn.is_held("b", Time(61_000), false));
        assert!(!turn.is_held("a", Time(2_000), false), "this process knows that its own flight is over");
        assert!(!turn.is_held("b", Time(2_000), true), "no other process can have this store open");
        assert!(turn.is_uncertain("token").is_some() && turn.is_uncertain("other").is_none());
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        for (fails, least_ms, most_ms) in
            [(0, 500, 1000), (1, 1000, 2000), (9, 150_000, 300_000), (99, 150_000, 300_000)]
        {
            assert_eq!(backoff(fails, 0), Duration::from_millis(least_ms), "{fails}");
            assert_eq!(backoff(fails, u16::MAX), Duration::from_millis(most_ms), "{fails}");
        }
    }
}
