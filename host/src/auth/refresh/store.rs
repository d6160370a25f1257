//! How a renewal ends in the store: new tokens, or the lease given back.

use super::plan::{Plan, Target};
use super::turn::{Intent, Turn};
use super::{Core, Failure, Landing};
use crate::auth::apps::{exchange_of, oauth2_of};
use crate::auth::exchange;
use crate::auth::login;
use crate::auth::record::{Health, MAX_RAW_BYTES, Record};
use crate::auth::road::TokenAnswer;
use crate::auth::rows::{At, RowsError};
use crate::auth::sequence::{Step, found};
use crate::caller::Caller;
use crate::ids::AccountId;
use crate::killpoint::reach;
use crate::time::Time;
use crate::vault::Secret;

/// A lease in hand.
pub(super) struct Held {
    pub turn: Turn,
    pub generation: u64,
}

/// How a call ended, short of new tokens.
pub(super) struct Setback {
    pub intent: Option<Intent>,
    pub next_try: Option<Time>,
    pub failure: Failure,
    pub health: Option<Health>,
    pub raw: Option<Secret>,
    /// A refresh token that came all the same.
    pub salvage: Option<Secret>,
}

impl Setback {
    pub fn quiet(intent: Option<Intent>, failure: Failure) -> Self {
        Self { intent, next_try: None, failure, health: None, raw: None, salvage: None }
    }
}

impl Core {
    /// Stores new tokens, whatever happened to the lease meanwhile: they are never thrown away.
    pub(super) async fn store_answer(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        target: &Target,
        plan: &Plan,
        steps: &[Step],
    ) -> Landing {
        let owner = &caller.owner;
        loop {
            let Some(At { value: mut record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            let group = self.group(&record, target);
            self.apply(&mut record, &group, plan, steps);
            record.raw_reply = steps.last().and_then(|step| raw(&step.answer));
            let mut operations = self.rows.put_account(&record, generation)?;
            // Fenced: another holder has the lease, and what it sent was spent by us. Ours go in, its turn is its own.
            let (turn, turn_generation) = self.rows.turn(owner, id).await?;
            if turn.seq == lease.turn.seq && turn_generation == lease.generation {
                operations.push(self.rows.put_turn(owner, id, &lease.turn.done(), lease.generation)?);
            }
            match self.rows.commit(operations).await {
                Ok(()) => {
                    reach("refresh-after-persist");
                    return Ok(());
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn apply(&self, record: &mut Record, group: &[String], plan: &Plan, steps: &[Step]) {
        let now = steps.last().map_or(record.obtained_at, |step| step.received.at);
        // Somebody else's newer tokens stand there already: ours are kept for a day, in case theirs fail.
        if group.is_empty() {
            for token in plan.method.tokens.iter().filter(|_| !plan.login) {
                let Some(place) = &token.reply else { continue };
                let read = found(place, steps, plan.declared(), plan.lenient);
                if let Some(refresh) = read.and_then(|(read, _)| read.refresh) {
                    record.remember(&token.name, refresh, now);
                    break;
                }
            }
            return;
        }
        if let Some(exchange) = exchange_of(&plan.method)
            && plan.login
        {
            let won = login::won(&plan.pinned.app, &plan.method, exchange, steps, &record.tokens);
            record.tokens.extend(won);
        } else {
            self.apply_refresh(record, group, plan, steps, now);
        }
        record.secrets += 1;
        record.obtained_at = now;
        record.health = Health::Ok;
    }

    fn apply_refresh(&self, record: &mut Record, group: &[String], plan: &Plan, steps: &[Step], now: Time) {
        let whole = exchange_of(&plan.method).is_some()
            || oauth2_of(&plan.method).is_some_and(|oauth2| !oauth2.refresh.is_empty());
        let mut replaced = Vec::new();
        for token in &plan.method.tokens {
            let Some(place) = &token.reply else { continue };
            // Declared calls may bring the method's other tokens too.
            let wanted = group.contains(&token.name) || (whole && record.tokens.contains_key(&token.name));
            let read = found(place, steps, plan.declared(), plan.lenient).filter(|_| wanted);
            // Out of the record only where its successor is there: a token that this answer is not about stays.
            if let Some((read, received)) = read
                && let Some(old) = record.tokens.remove(&token.name)
            {
                let mut new = exchange::held(read, received, Some(&old));
                new.again = old.again;
                match (&new.refresh, old.refresh) {
                    (None, old) => new.refresh = old,
                    (Some(new), Some(old)) if new.expose() != old.expose() => replaced.push((token.name.clone(), old)),
                    (Some(_), _) => {}
                }
                record.tokens.insert(token.name.clone(), new);
            }
        }
        if let Some((name, refresh)) = replaced.into_iter().next() {
            record.remember(&name, refresh, now);
        }
    }

    /// Forgets a refresh token that the provider does not take any more, and gives the lease back. The generation of
    /// the secrets that are left.
    pub(super) async fn forget_refresh(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        target: &Target,
    ) -> Result<u64, Failure> {
        let owner = &caller.owner;
        loop {
            let Some(At { value: mut record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            for name in self.group(&record, target) {
                if let Some(held) = record.tokens.get_mut(&name) {
                    held.refresh = None;
                }
            }
            let mut operations = self.rows.put_account(&record, generation)?;
            let (turn, turn_generation) = self.rows.turn(owner, id).await?;
            if turn.seq == lease.turn.seq && turn_generation == lease.generation {
                operations.push(self.rows.put_turn(owner, id, &lease.turn.done(), lease.generation)?);
            }
            match self.rows.commit(operations).await {
                Ok(()) => return Ok(record.secrets),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the lease back after a setback, under the lease and after re-reading.
    pub(super) async fn give_back(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        target: &Target,
        setback: Setback,
    ) -> Result<Outcome, Failure> {
        let owner = &caller.owner;
        // With a new refresh token in hand there is no doubt about the one that was sent.
        let intent = setback.intent.filter(|_| setback.salvage.is_none());
        let turn = lease.turn.failed(intent, setback.next_try, setback.failure);
        if setback.health.is_none() && setback.raw.is_none() && setback.salvage.is_none() {
            self.finish_turn(caller, id, lease, &turn).await?;
            return Ok(Outcome::Stored);
        }
        loop {
            let Some(At { value: mut record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            let group = self.group(&record, target);
            if group.is_empty() {
                self.finish_turn(caller, id, lease, &lease.turn.done()).await?;
                return Ok(Outcome::Raced);
            }
            if let Some(health) = &setback.health {
                record.health = health.clone();
            }
            if let Some(raw) = &setback.raw {
                record.raw_reply = Some(raw.duplicate());
            }
            if let Some(salvage) = &setback.salvage {
                for name in &group {
                    let held = record.tokens.get_mut(name);
                    if let Some(old) = held.and_then(|held| held.refresh.replace(salvage.duplicate())) {
                        record.remember(name, old, self.rows.now());
                    }
                }
            }
            let mut operations = self.rows.put_account(&record, generation)?;
            operations.push(self.rows.put_turn(owner, id, &turn, lease.generation)?);
            match self.rows.commit(operations).await {
                Ok(()) => return Ok(Outcome::Stored),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
            // Fenced out: whoever holds the lease now judges.
            if self.rows.turn(owner, id).await?.1 != lease.generation {
                return Ok(Outcome::Stored);
            }
        }
    }

    pub(super) async fn finish_turn(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        turn: &Turn,
    ) -> Result<(), RowsError> {
        let put = self.rows.put_turn(&caller.owner, id, turn, lease.generation)?;
        match self.rows.commit(vec![put]).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => other,
        }
    }
}

pub(super) enum Outcome {
    Stored,
    Raced,
}

pub(super) fn raw(answer: &TokenAnswer) -> Option<Secret> {
    (!answer.body.is_empty() && answer.body.len() <= MAX_RAW_BYTES).then(|| Secret::new(answer.body.to_vec()))
}
