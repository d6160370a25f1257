//! One refresh, from the wish to the stored answer.
//!
//! Lease, intent and the reading of the refresh token are one commit; the answer is stored, durably and conditionally,
//! before anybody hears of it. Between the provider's own commit and ours lies a window that no client can close: a
//! crash in it leaves the intent behind, and what then happens depends on how the provider treats a token used twice.

use std::time::{Duration, Instant};

use deputy_declaration::template;
use deputy_declaration::types::{AuthMethod, ErrorMeaning, OAuth2, Rotation};

use super::live::pinned;
use super::turn::{Intent, Turn, backoff};
use super::{Core, Failure, Landing, Why};
use crate::auth::apps::{PinnedApp, oauth2_of};
use crate::auth::error::AuthError;
use crate::auth::errors::{Class, Memory, Seen, SeenBody, classify, presentable};
use crate::auth::exchange::{self, Received};
use crate::auth::oauth2;
use crate::auth::record::{Health, MAX_RAW_BYTES, Record};
use crate::auth::reply::Reply;
use crate::auth::road::{RoadError, TokenAnswer};
use crate::auth::rows::{At, RowsError, sealed_key};
use crate::caller::Caller;
use crate::egress::{Request, TokenCall};
use crate::ids::{AccountId, ClientId};
use crate::killpoint::reach;
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::vault::Secret;

/// Calls of one flight for one token, as long as nothing was sent or a second use is harmless.
const MAX_CALLS: u32 = 3;
/// How long a refused client is left alone.
const CLIENT_WAIT: Duration = Duration::from_secs(60);

/// What one call needs, built before the lease is taken.
struct Plan {
    oauth2: OAuth2,
    method: AuthMethod,
    call: TokenCall,
    request: Request,
    client: ClientId,
    client_secret: Option<Secret>,
}

/// A lease in hand.
struct Held {
    turn: Turn,
    generation: u64,
}

/// How a call ended, short of new tokens.
struct Setback {
    intent: Option<Intent>,
    next_try: Option<Time>,
    failure: Failure,
    health: Option<Health>,
    raw: Option<Secret>,
}

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
        let mut targets: Vec<String> = Vec::new();
        for held in record.tokens.values() {
            if let Some(refresh) = &held.refresh
                && (why != Why::Due || held.is_due(now))
            {
                let target = self.fingerprint(refresh);
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        if targets.is_empty() {
            return if why == Why::Due { Ok(()) } else { Err(Failure::NotRenewable) };
        }
        let mut landing = Ok(());
        for target in targets {
            match self.refresh_one(caller, id, &target, why).await {
                Ok(()) => {}
                Err(failure @ Failure::Transient { .. }) => landing = Err(failure),
                Err(failure) => return Err(failure),
            }
        }
        landing
    }

    fn fingerprint(&self, token: &Secret) -> String {
        data_encoding::BASE64URL_NOPAD.encode(&self.rows.vault.blind(token.expose()))
    }

    /// The names of the tokens that this refresh token renews; none when it is not the stored one any more.
    fn group(&self, record: &Record, target: &str) -> Vec<String> {
        let is_target = |refresh: &Secret| self.fingerprint(refresh) == target;
        let renewed = record.tokens.iter().filter(|(_, held)| held.refresh.as_ref().is_some_and(is_target));
        renewed.map(|(name, _)| name.clone()).collect()
    }

    async fn refresh_one(&self, caller: &Caller, id: &AccountId, target: &str, why: Why) -> Landing {
        let owner = &caller.owner;
        let mut calls = 0;
        loop {
            let Some(At { value: record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            let group = self.group(&record, target);
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
            let plan = self.plan(caller, &record, &group).await?;
            let before = turn.is_uncertain(target).cloned();
            if let Some(intent) = &before
                && !may_send_again(plan.oauth2.rotation, intent, &record, &group, why, now)
            {
                let reason = "an earlier refresh was sent and its answer was lost; the provider may end the grant when \
                              it is sent again, so the old token is used until it is nearly over";
                return Err(Failure::Transient { reason: reason.to_owned() });
            }
            // Lease, intent, and the certainty that this is the stored refresh token: one commit.
            let leased = turn.leased(&self.holder, target, now);
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
            let Plan { oauth2, method, call, request, client, client_secret } = plan;
            let began = Instant::now();
            let answer = self.road.call(&call, request).await;
            let received = Received { at: self.rows.now(), took: began.elapsed() };
            reach("refresh-after-reply");
            let setback = match answer {
                Err(RoadError::NotSent(reason)) => {
                    let failure = Failure::Transient { reason };
                    let next_try = Some(received.at.plus(backoff(lease.turn.fails, random())));
                    let setback = Setback { intent: before, next_try, failure, health: None, raw: None };
                    if calls < MAX_CALLS {
                        self.give_back(caller, id, &lease, target, setback).await?;
                        tokio::time::sleep(Duration::from_millis(50 + u64::from(random()) % 150)).await;
                        continue;
                    }
                    setback
                }
                Err(RoadError::Ambiguous(reason)) => {
                    let setback = ambiguous(&lease, received.at, format!("its answer was lost: {reason}"), None);
                    if forgives(oauth2.rotation) && calls < 2 {
                        self.give_back(caller, id, &lease, target, setback).await?;
                        continue;
                    }
                    setback
                }
                Ok(answer) => {
                    let refresh = record.tokens[&group[0]].refresh.as_ref();
                    match understand(&method, &oauth2, &group, &answer) {
                        Ok(reply) => {
                            return self
                                .store_answer(caller, id, &lease, target, &method, &reply, &answer, received)
                                .await;
                        }
                        Err(seen) => {
                            let raced = match self.rows.account(owner, id).await? {
                                Some(at) => self.group(&at.value, target).is_empty(),
                                None => return Err(Failure::NotFound),
                            };
                            let memory = Memory { raced, uncertain: before.is_some() };
                            let class = classify(seen.seen(), &oauth2.errors, memory);
                            let secrets: Vec<&[u8]> =
                                [refresh, client_secret.as_ref()].into_iter().flatten().map(Secret::expose).collect();
                            let reason = seen.reason(&secrets);
                            match self.judge(class, &lease, before, received.at, reason, &answer, &client) {
                                None => {
                                    let done = lease.turn.done();
                                    self.finish_turn(caller, id, &lease, &done).await?;
                                    return Ok(());
                                }
                                Some(setback) => setback,
                            }
                        }
                    }
                }
            };
            let failure = setback.failure.clone();
            return match self.give_back(caller, id, &lease, target, setback).await? {
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
        reason: String,
        answer: &TokenAnswer,
        client: &ClientId,
    ) -> Option<Setback> {
        let quiet = |failure| Setback { intent: before.clone(), next_try: None, failure, health: None, raw: None };
        let dead = |reason: &str| Setback {
            health: Some(Health::NeedsReconnect { reason: reason.to_owned(), since: now }),
            ..quiet(Failure::NeedsReconnect { reason: reason.to_owned() })
        };
        Some(match class {
            Class::Raced => return None,
            Class::Permanent => dead("refused"),
            Class::LostRotation => dead("lost_rotation"),
            Class::Configuration => {
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
                raw: raw_of_success(answer),
                ..quiet(Failure::Transient { reason })
            },
            Class::Ambiguous => ambiguous(lease, now, reason, raw_of_success(answer)),
        })
    }

    async fn plan(&self, caller: &Caller, record: &Record, group: &[String]) -> Result<Plan, Failure> {
        let internal = |error: AuthError| Failure::Internal { reason: error.to_string() };
        let mut found: Option<PinnedApp> = None;
        let (pinned, _, method) = pinned(&*self.apps, record, &mut found).map_err(internal)?;
        let app = &pinned.app;
        let oauth2 = oauth2_of(method).ok_or(Failure::NotRenewable)?;
        let missing = || Failure::Client { reason: "it is not registered any more".to_owned() };
        let id = record.client.as_ref().ok_or_else(missing)?;
        if let Some((until, reason)) = self.refused().get(id).cloned()
            && self.rows.now() < until
        {
            return Err(Failure::Client { reason });
        }
        let client = self.rows.client(&caller.owner, id).await.map_err(internal)?.ok_or_else(missing)?.value;
        let credentials = client
            .for_endpoints(app, method, &record.inputs)
            .map_err(|error| Failure::Client { reason: error.to_string() })?;
        let (template, place) = match &oauth2.refresh_url {
            Some(url) => (url, "refresh-url"),
            None => (&oauth2.token_url, "token-url"),
        };
        let endpoint = template::url(app, template, &record.inputs, place).map_err(|error| internal(error.into()))?;
        let token = record.tokens[&group[0]].refresh.as_ref().ok_or(Failure::NotRenewable)?;
        let request = oauth2::refresh(app, oauth2, &endpoint, credentials, token).map_err(internal)?;
        let call = TokenCall {
            caller: caller.clone(),
            app: record.app.clone(),
            account: Some(record.id.clone()),
            purpose: "refresh",
            endpoint,
        };
        Ok(Plan {
            oauth2: oauth2.clone(),
            method: method.clone(),
            call,
            request,
            client: id.clone(),
            client_secret: credentials.secret.map(Secret::duplicate),
        })
    }

    /// Stores new tokens, whatever happened to the lease meanwhile: they are never thrown away.
    #[allow(clippy::too_many_arguments)]
    async fn store_answer(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        target: &str,
        method: &AuthMethod,
        reply: &Reply,
        answer: &TokenAnswer,
        received: Received,
    ) -> Landing {
        let owner = &caller.owner;
        loop {
            let Some(At { value: mut record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            let group = self.group(&record, target);
            self.apply(&mut record, &group, method, reply, received);
            record.raw_reply = raw(answer);
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

    fn apply(&self, record: &mut Record, group: &[String], method: &AuthMethod, reply: &Reply, received: Received) {
        // Somebody else's newer tokens stand there already: ours are kept for a day, in case theirs fail.
        if group.is_empty() {
            for token in &method.tokens {
                let read = token.reply.as_ref().and_then(|place| exchange::refreshed(place, reply));
                if let Some(refresh) = read.and_then(|read| read.refresh) {
                    record.remember(&token.name, refresh, received.at);
                    break;
                }
            }
            return;
        }
        let mut replaced = Vec::new();
        for name in group {
            let place = method.tokens.iter().find(|token| token.name == *name).and_then(|token| token.reply.as_ref());
            let read = place.and_then(|place| exchange::refreshed(place, reply));
            if let (Some(read), Some(old)) = (read, record.tokens.remove(name)) {
                let mut new = exchange::held(read, received, Some(&old));
                match (&new.refresh, old.refresh) {
                    (None, old) => new.refresh = old,
                    (Some(new), Some(old)) if new.expose() != old.expose() => replaced.push((name.clone(), old)),
                    (Some(_), _) => {}
                }
                record.tokens.insert(name.clone(), new);
            }
        }
        if let Some((name, refresh)) = replaced.into_iter().next() {
            record.remember(&name, refresh, received.at);
        }
        record.secrets += 1;
        record.obtained_at = received.at;
        record.health = Health::Ok;
    }

    /// Gives the lease back after a setback, under the lease and after re-reading.
    async fn give_back(
        &self,
        caller: &Caller,
        id: &AccountId,
        lease: &Held,
        target: &str,
        setback: Setback,
    ) -> Result<Outcome, Failure> {
        let owner = &caller.owner;
        let turn = lease.turn.failed(setback.intent, setback.next_try, setback.failure);
        if setback.health.is_none() && setback.raw.is_none() {
            self.finish_turn(caller, id, lease, &turn).await?;
            return Ok(Outcome::Stored);
        }
        loop {
            let Some(At { value: mut record, generation }) = self.rows.account(owner, id).await? else {
                return Err(Failure::NotFound);
            };
            if self.group(&record, target).is_empty() {
                self.finish_turn(caller, id, lease, &lease.turn.done()).await?;
                return Ok(Outcome::Raced);
            }
            if let Some(health) = &setback.health {
                record.health = health.clone();
            }
            if let Some(raw) = &setback.raw {
                record.raw_reply = Some(raw.duplicate());
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

    async fn finish_turn(&self, caller: &Caller, id: &AccountId, lease: &Held, turn: &Turn) -> Result<(), RowsError> {
        let put = self.rows.put_turn(&caller.owner, id, turn, lease.generation)?;
        match self.rows.commit(vec![put]).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => other,
        }
    }
}

enum Outcome {
    Stored,
    Raced,
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
        failure: Failure::Transient { reason },
        health: None,
        raw,
    }
}

/// A reply that brought no tokens.
struct NoTokens {
    status: u16,
    retry_after: Option<Duration>,
    code: Option<String>,
    unreadable: Option<String>,
}

impl NoTokens {
    fn seen(&self) -> Seen<'_> {
        let body = match (&self.code, &self.unreadable) {
            (Some(code), _) => SeenBody::Error(code),
            (None, Some(_)) => SeenBody::Unreadable,
            (None, None) => SeenBody::Nothing,
        };
        Seen { status: self.status, retry_after: self.retry_after, body }
    }

    fn reason(&self, secrets: &[&[u8]]) -> String {
        let status = self.status;
        match (&self.code, &self.unreadable) {
            (Some(code), _) => format!("status {status}, {}", presentable(code, secrets)),
            (None, Some(reason)) => format!("status {status}, {reason}"),
            (None, None) => format!("status {status}, no token in the reply"),
        }
    }
}

/// The reply, when it holds every token that was asked for.
fn understand(method: &AuthMethod, oauth2: &OAuth2, group: &[String], answer: &TokenAnswer) -> Result<Reply, NoTokens> {
    let none = |code, unreadable| NoTokens { status: answer.status, retry_after: answer.retry_after, code, unreadable };
    let reply = Reply::parse(&answer.body).map_err(|error| none(None, Some(error.to_string())))?;
    if let Some(code) = reply.error(&oauth2.error) {
        return Err(none(Some(code), None));
    }
    let has = |name: &String| {
        let place = method.tokens.iter().find(|token| token.name == *name).and_then(|token| token.reply.as_ref());
        place.is_some_and(|place| exchange::refreshed(place, &reply).is_some())
    };
    match (200..300).contains(&answer.status) && group.iter().all(has) {
        true => Ok(reply),
        false => Err(none(None, None)),
    }
}

/// What a failed first exchange or refresh means for everybody: class and presentable reason.
pub fn read_refusal(
    answer: &TokenAnswer,
    oauth2: &OAuth2,
    errors: &[ErrorMeaning],
    secrets: &[&[u8]],
) -> (Class, String) {
    let mut seen = NoTokens { status: answer.status, retry_after: answer.retry_after, code: None, unreadable: None };
    match Reply::parse(&answer.body) {
        Ok(reply) => seen.code = reply.error(&oauth2.error),
        Err(error) => seen.unreadable = Some(error.to_string()),
    }
    (classify(seen.seen(), errors, Memory::default()), seen.reason(secrets))
}

fn raw(answer: &TokenAnswer) -> Option<Secret> {
    (!answer.body.is_empty() && answer.body.len() <= MAX_RAW_BYTES).then(|| Secret::new(answer.body.to_vec()))
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
