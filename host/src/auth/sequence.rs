//! Several calls in order, each of which may fill the next: an exchange, OAuth's calls after the token call.
//!
//! A call is sent only when all before it went well. What was won before one failed is handed back with the failure:
//! a refresh token among it may be the only one that is left.

use std::time::Instant;

use deputy_declaration::types::{AuthMethod, Call, ReplyToken};

use super::call::{Party, Values, build};
use super::error::AuthError;
use super::exchange::{Received, refreshed};
use super::refusal::Refusal;
use super::reply::{ReadToken, Reply};
use super::road::{RoadError, TokenAnswer, TokenRoad};
use crate::time::Time;
use crate::vault::Secret;

/// A call that went well.
pub struct Step {
    pub answer: TokenAnswer,
    pub received: Received,
    /// None: it is neither JSON nor a form.
    reply: Option<Reply>,
}

/// Why the calls did not come to their end.
#[derive(Debug)]
pub enum Why {
    /// Something that a call needs is not there.
    Unbuilt(AuthError),
    Road(RoadError),
    Refused(Refusal),
}

pub struct Stopped {
    pub why: Why,
    /// The calls that went well.
    pub made: Vec<Step>,
    /// What the refused call answered.
    pub answer: Option<TokenAnswer>,
    pub at: Time,
}

impl Stopped {
    /// All calls went well, and a token is missing in what they brought.
    pub fn incomplete(refusal: Refusal, mut made: Vec<Step>, at: Time) -> Self {
        let answer = made.pop().map(|step| step.answer);
        Self { why: Why::Refused(refusal), made, answer, at }
    }
}

/// Calls of one kind: where their errors stand, and how their replies are counted.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub calls: &'a [Call],
    /// What a call is called in errors: `calls`, `then`, `refresh`, `revoke`.
    pub name: &'static str,
    /// A JSON Pointer to an error code in a reply of any status.
    pub error: &'a str,
    /// How many replies the declaration counts at connect. A shorter order, such as a refresh, ends with the same one.
    pub declared: usize,
}

impl Step {
    /// The refusal comes with its answer: a good status with a half-understood body may be worth keeping.
    pub fn new(answer: TokenAnswer, received: Received, error: &str) -> Result<Self, (Refusal, TokenAnswer)> {
        let reply = Reply::parse(&answer.body).ok();
        let refused = reply.as_ref().is_some_and(|reply| reply.error(error).is_some());
        if refused || !(200..300).contains(&answer.status) {
            return Err((Refusal::of(&answer, error), answer));
        }
        Ok(Self { answer, received, reply })
    }

    /// None: it is neither JSON nor a form.
    pub fn into_reply(self) -> Option<Reply> {
        self.reply
    }

    pub fn token(&self, place: &ReplyToken) -> Option<ReadToken> {
        let value = match (&place.access_header, place.access.as_str()) {
            (Some(header), _) => self.answer.headers.get(header.as_str())?.as_bytes().to_vec(),
            (None, "") => whole(&self.answer.body)?,
            (None, _) => return self.reply.as_ref()?.token(place),
        };
        let value = Secret::entered(value).ok()?;
        Some(match &self.reply {
            Some(reply) => reply.beside(place, value),
            None => Reply::silent().beside(place, value),
        })
    }
}

/// A body that is the token: plain text, or one JSON string.
fn whole(body: &[u8]) -> Option<Vec<u8>> {
    let body = body.trim_ascii();
    match body.first()? {
        b'"' => serde_json::from_slice::<String>(body).ok().map(String::into_bytes),
        // A page or an object in place of the token says something else.
        b'<' | b'{' => None,
        _ => Some(body.to_vec()),
    }
}

/// Makes the calls. `made`: replies that are counted before them. Afterwards `values` holds every token on the way.
pub async fn run(
    road: &dyn TokenRoad,
    now: &(dyn Fn() -> Time + Sync),
    party: &Party<'_>,
    order: Order<'_>,
    values: &mut Values,
    mut made: Vec<Step>,
) -> Result<Vec<Step>, Stopped> {
    let total = made.len() + order.calls.len();
    for (index, step) in made.iter().enumerate() {
        take(party.method, step, index, total, order.declared, values);
    }
    for (at, call) in order.calls.iter().enumerate() {
        let built = match build(party, call, values, &format!("{}[{at}]", order.name)) {
            Ok(built) => built,
            Err(error) => return Err(Stopped { why: Why::Unbuilt(error), made, answer: None, at: now() }),
        };
        let began = Instant::now();
        let answer = match road.call(&built.call, built.request).await {
            Ok(answer) => answer,
            Err(error) => return Err(Stopped { why: Why::Road(error), made, answer: None, at: now() }),
        };
        let received = Received { at: now(), took: began.elapsed() };
        let step = match Step::new(answer, received, order.error) {
            Ok(step) => step,
            Err((refusal, answer)) => {
                return Err(Stopped { why: Why::Refused(refusal), made, answer: Some(answer), at: received.at });
            }
        };
        take(party.method, &step, made.len(), total, order.declared, values);
        made.push(step);
    }
    Ok(made)
}

/// The place of a token's reply among `total` replies, where the declaration counts `declared`.
fn place_of(place: &ReplyToken, total: usize, declared: usize) -> usize {
    let last = total.saturating_sub(1);
    let call = usize::try_from(place.call).unwrap_or(usize::MAX);
    if call.saturating_add(1) >= declared { last } else { call.min(last) }
}

/// Tokens that a reply brings, for the calls that follow. One that is final only later counts until then.
fn take(method: &AuthMethod, step: &Step, index: usize, total: usize, declared: usize, values: &mut Values) {
    for token in &method.tokens {
        let Some(place) = &token.reply else { continue };
        let own = place_of(place, total, declared);
        if index > own || (index < own && place.access.is_empty() && place.access_header.is_none()) {
            continue;
        }
        if let Some(read) = step.token(place) {
            values.tokens.insert(token.name.clone(), read.value);
            if let Some(refresh) = read.refresh {
                values.refresh_token = Some(refresh);
            }
        }
    }
}

/// The token as the replies hold it, and when it came. `lenient`: also where a refresh reply has it at the top.
pub fn found(place: &ReplyToken, steps: &[Step], declared: usize, lenient: bool) -> Option<(ReadToken, Received)> {
    let step = steps.get(place_of(place, steps.len(), declared))?;
    let top = || step.reply.as_ref().filter(|_| lenient).and_then(|reply| refreshed(place, reply));
    step.token(place).or_else(top).map(|read| (read, step.received))
}

/// Every token that a reply must bring is there.
pub fn complete(
    method: &AuthMethod,
    steps: &[Step],
    declared: usize,
    lenient: bool,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    for token in method.tokens.iter().filter(|token| wanted(&token.name)) {
        let Some(place) = &token.reply else { continue };
        if found(place, steps, declared, lenient).is_none() {
            let step = steps.get(place_of(place, steps.len(), declared)).or(steps.last());
            return Err(match step {
                Some(step) => Refusal::without_token(&step.answer, place.access_header.is_none() && place.access != ""),
                None => Refusal { status: 0, retry_after: None, code: None, unreadable: None },
            });
        }
    }
    Ok(())
}
