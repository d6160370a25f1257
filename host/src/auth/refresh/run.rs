//! One refresh, from the wish to the stored answer.
//!
//! Lease, intent and the reading of the refresh token are one commit; the answer is stored, durably and conditionally,
//! before anybody hears of it. Between the provider's own commit and ours lies a window that no client can close: a
//! crash in it leaves the intent behind, and what then happens depends on how the provider treats a token used twice.

use std::time::Duration;

use deputy_declaration::types::Rotation;

use super::plan::{Plan, Target};
use super::store::{Held, Outcome, Setback, raw};
use super::turn::{Intent, backoff};
use super::{Core, Failure, Landing, Why};
use crate::auth::errors::{Class, Memory};
use crate::auth::record::{Health, Record};
use crate::auth::refusal::Refusal;
use crate::auth::road::{RoadError, TokenAnswer};
use crate::auth::rows::{At, sealed_key};
use crate::auth::sequence::{Stopped, Why as Stop, complete};
use crate::caller::Caller;
use crate::ids::AccountId;
use crate::killpoint::reach;
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::vault::Secret;

/// Calls of one flight for one token, as long as nothing was sent or a second use is harmless.
const MAX_CALLS: u32 = 3;
/// How long a refused client is left alone.
const CLIENT_WAIT: Duration = Duration::from_secs(60);

impl Core {
    /// Refreshes what `why` asks for: each refresh token on its own, each stored before the next is sent.
    pub(super) async fn refresh(&self, caller: &Caller, id: &AccountId, why: Why) -> Landing {
        let Some(At { value: record, .. }) = self.rows.account(&caller.owner, id).await? else {
            return Err(Failure::NotFound);
        };
        if matches!(why, Why::Signalled(generation) if generation != record.secrets) {
            return Ok(());
        }
        let now = self.rows.now();
        // Refresh tokens first: what they bring may make another login needless.
        let mut targets: Vec<Target> = Vec::new();
        for held in record.tokens.values().filter(|held| why != Why::Due || held.is_due(now)) {
            if let Some(refresh) = &held.refresh {
                let target = Target::Grant(self.fingerprint(refresh));
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        let mut wanted = record.tokens.values().filter(|held| why != Why::Due || held.is_due(now));
        if wanted.any(|held| held.again && held.refresh.is_none()) {
            targets.push(Target::Again(record.secrets));
        }
        if targets.is_empty() {
            return if why == Why::Due { Ok(()) } else { Err(Failure::NotRenewable) };
        }
        let mut landing = Ok(());
        for target in targets {
            match self.refresh_one(caller, id, target, why).await {
                Ok(()) => {}
                Err(failure @ Failure::Transient { .. }) => landing = Err(failure),
                Err(failure) => return Err(failure),
            }
        }
        landing
    }

    pub(super) fn fingerprint(&self, token: &Secret) -> String {
        data_encoding::BASE64URL_NOPAD.encode(&self.rows.vault.blind(token.expose()))
    }

    /// The names of the tokens that this target renews; none when others stand in their place.
    pub(super) fn group(&self, record: &Record, target: &Target) -> Vec<String> {
        let renewed = record.tokens.iter().filter(|(_, held)| match target {
            Target::Grant(fingerprint) => {
                held.refresh.as_ref().is_some_and(|refresh| self.fingerprint(refresh) == *fingerprint)
            }
            Target::Again(secrets) => held.again && record.secrets == *secrets,
        });
        renewed.map(|(name, _)| name.clone()).collect()
    }

    async fn refresh_one(&self, caller: &Caller, id: &AccountId, mut target: Target, why: Why) -> Landing {
        let owner = &caller.owner;
        let mut calls = 0;
        loop {
            let Some(At { value: record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            let group = self.group(&record, &target);
            if group.is_empty() {
                return Ok(());
            }
            let (turn, turn_generation) = self.rows.turn(owner, id).await?;
            let now = self.rows.now();
            if turn.is_held(&self.holder, now, self.rows.store.is_exclusive()) {
                let usable = !group.iter().any(|name| record.tokens[name].is_over(now));
                if why == Why::Due && usable {
                    return Err(Failure::Transient { reason: "another process refreshes it".to_owned() });
                }
                tokio::time::sleep(Duration::from_millis(20 + u64::from(random()) % 50)).await;
                continue;
            }
            if calls == 0
                && let Some(next_try) = turn.next_try
                && now < next_try
            {
                let waiting = || Failure::Transient { reason: "an earlier try failed a moment ago".to_owned() };
                return Err(turn.failure.clone().unwrap_or_else(waiting));
            }
            let (mut plan, first) = self.plan(caller, &record, &group, &target).await?;
            let name = target.name();
            let before = turn.is_uncertain(&name).cloned();
            if let Some(intent) = &before
                && !may_send_again(plan.rotation, intent, &record, &group, why, now)
            {
                let reason = "an earlier refresh was sent and its answer was lost; the provider may end the grant when \
                              it is sent again, so the old token is used until it is nearly over";
                return Err(Failure::Transient { reason: reason.to_owned() });
            }
            // Lease, intent, and the certainty that this is the stored refresh token: one commit.
            let leased = turn.leased(&self.holder, &name, now);
            let check = Op::Check { key: sealed_key(owner, id), expect: Expect::Generation(generation) };
            let take = vec![self.rows.put_turn(owner, id, &leased, turn_generation)?, check];
            match self.rows.commit(take).await {
                Ok(()) => {}
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
            }
            let lease = Held { turn: leased, generation: turn_generation + 1 };
            calls += 1;
            reach("refresh-before-send");
            let sent = plan.send(self, caller, &record, first).await;
            reach("refresh-after-reply");
            let required = |name: &str| match plan.login {
                true => plan.method.tokens.iter().any(|token| token.name == name && !token.optional),
                false => group.iter().any(|renewed| renewed == name),
            };
            let stopped = match sent {
                Ok(steps) => match complete(&plan.method, &steps, plan.declared(), plan.lenient, required) {
                    Ok(()) => return self.store_answer(caller, id, &lease, &target, &plan, &steps).await,
                    Err(refusal) => Stopped::incomplete(refusal, steps, self.rows.now()),
                },
                Err(stopped) => stopped,
            };
            let setback = match stopped.why {
                Stop::Unbuilt(error) => {
                    let failure = Failure::Internal { reason: error.to_string() };
                    Setback::quiet(before, failure)
                }
                Stop::Road(RoadError::NotSent(reason)) if stopped.made.is_empty() => {
                    let next_try = Some(stopped.at.plus(backoff(lease.turn.fails, random())));
                    let setback = Setback { next_try, ..Setback::quiet(before, Failure::Transient { reason }) };
                    if calls < MAX_CALLS {
                        self.give_back(caller, id, &lease, &target, setback).await?;
                        tokio::time::sleep(Duration::from_millis(50 + u64::from(random()) % 150)).await;
                        continue;
                    }
                    setback
                }
                Stop::Road(RoadError::NotSent(reason) | RoadError::Ambiguous(reason)) => {
                    let setback = ambiguous(&lease, stopped.at, format!("its answer was lost: {reason}"), None);
                    if forgives(plan.rotation) && calls < 2 && plan.salvaged().is_none() {
                        self.give_back(caller, id, &lease, &target, setback).await?;
                        continue;
                    }
                    setback
                }
                Stop::Refused(refusal) => {
                    let Some(At { value: fresh, .. }) = self.rows.account(owner, id).await? else {
                        return Err(Failure::NotFound);
                    };
                    let memory = Memory { raced: self.group(&fresh, &target).is_empty(), uncertain: before.is_some() };
                    let class = plan.class(&refusal, memory);
                    let over = matches!(class, Class::Permanent | Class::LostRotation);
                    if over && group.iter().any(|name| record.tokens[name].again) && matches!(target, Target::Grant(_))
                    {
                        // The refresh token is over, and what was pasted is still there: a new login.
                        target = Target::Again(self.forget_refresh(caller, id, &lease, &target).await?);
                        calls = 0;
                        continue;
                    }
                    match self.judge(class, &lease, before, stopped.at, &refusal, &plan, stopped.answer.as_ref()) {
                        None => {
                            let done = lease.turn.done();
                            self.finish_turn(caller, id, &lease, &done).await?;
                            return Ok(());
                        }
                        Some(setback) => setback,
                    }
                }
            };
            let setback = Setback { salvage: plan.salvaged(), ..setback };
            let failure = setback.failure.clone();
            return match self.give_back(caller, id, &lease, &target, setback).await? {
                // Somebody else's tokens landed while this call failed.
                Outcome::Raced => Ok(()),
                Outcome::Stored => Err(failure),
            };
        }
    }

    /// What a refusal leads to; none when the stored tokens are newer than the refused ones. `before`: the doubt that
    /// was there already, and stays until the provider has judged the token.
    #[allow(clippy::too_many_arguments)]
    fn judge(
        &self,
        class: Class,
        lease: &Held,
        before: Option<Intent>,
        now: Time,
        refusal: &Refusal,
        plan: &Plan,
        answer: Option<&TokenAnswer>,
    ) -> Option<Setback> {
        let reason = refusal.reason(&plan.values.secrets());
        let quiet = |failure| Setback::quiet(before.clone(), failure);
        let dead = |reason: &str| Setback {
            health: Some(Health::NeedsReconnect { reason: reason.to_owned(), since: now }),
            ..quiet(Failure::NeedsReconnect { reason: reason.to_owned() })
        };
        Some(match class {
            Class::Raced => return None,
            Class::Permanent if plan.login => dead("login_refused"),
            Class::Permanent => dead("refused"),
            Class::LostRotation => dead("lost_rotation"),
            Class::Configuration => {
                let Some(client) = &plan.client else {
                    let reason = format!("the provider refuses the login as it is set up ({reason})");
                    return Some(Setback {
                        next_try: Some(now.plus(CLIENT_WAIT)),
                        ..quiet(Failure::Transient { reason })
                    });
                };
                self.refused().insert(client.clone(), (now.plus(CLIENT_WAIT), reason.clone()));
                let health = Some(Health::ClientRefused { reason: reason.clone(), since: now });
                Setback { health, ..quiet(Failure::Client { reason }) }
            }
            Class::Throttle(wait) => {
                let reason = format!("the provider asks to wait ({reason})");
                Setback { next_try: Some(now.plus(wait)), ..quiet(Failure::Transient { reason }) }
            }
            Class::Transient => Setback {
                next_try: Some(now.plus(backoff(lease.turn.fails, random()))),
                raw: answer.and_then(raw_of_success),
                ..quiet(Failure::Transient { reason })
            },
            Class::Ambiguous => ambiguous(lease, now, reason, answer.and_then(raw_of_success)),
        })
    }
}

/// A second use of the token is harmless.
fn forgives(rotation: Rotation) -> bool {
    !matches!(rotation, Rotation::Strict)
}

/// Whether a token whose first answer was lost may go out again.
fn may_send_again(rotation: Rotation, intent: &Intent, record: &Record, group: &[String], why: Why, now: Time) -> bool {
    let in_grace = match rotation {
        Rotation::None | Rotation::Rotating => true,
        Rotation::Grace(seconds) => now < intent.sent_at.plus(Duration::from_secs(u64::from(seconds))),
        Rotation::Strict => false,
    };
    let nothing_to_lose = why != Why::Due || group.iter().any(|name| record.tokens[name].is_nearly_over(now));
    in_grace || nothing_to_lose
}

/// The doubt itself decides when the token goes out again; only from the second time on there is a pause beside it.
fn ambiguous(lease: &Held, now: Time, reason: String, raw: Option<Secret>) -> Setback {
    Setback {
        intent: lease.turn.intent.clone(),
        next_try: (lease.turn.fails > 0).then(|| now.plus(backoff(lease.turn.fails, random()))),
        raw,
        ..Setback::quiet(None, Failure::Transient { reason })
    }
}

/// A good status whose body was not understood may hold the only copy of a rotated token.
fn raw_of_success(answer: &TokenAnswer) -> Option<Secret> {
    if (200..300).contains(&answer.status) { raw(answer) } else { None }
}

fn random() -> u16 {
    let mut bytes = [0_u8; 2];
    // Only jitter hangs on it: without random bytes there is none.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
