//! From a readable reply to tokens in hand: at the first exchange and at every refresh.

use std::collections::BTreeMap;
use std::time::Duration;

use deputy_declaration::types::{AuthMethod, Expiry, ReplyToken};

use super::apps::oauth2_of;
use super::expiry;
use super::oauth2::Asked;
use super::record::Held;
use super::reply::{ReadToken, Reply};
use super::sequence::{Step, found};
use crate::time::Time;

/// When a reply came, and how long its request took.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    pub at: Time,
    pub took: Duration,
}

/// All tokens of the first replies. None when a required one is missing.
pub fn first(method: &AuthMethod, steps: &[Step], asked: &Asked) -> Option<BTreeMap<String, Held>> {
    let mut tokens = BTreeMap::new();
    for token in &method.tokens {
        let read = token.reply.as_ref().and_then(|place| found(place, steps, steps.len(), false));
        match read {
            Some((read, received)) => {
                let mut held = held(read, received, None);
                held.again =
                    held.refresh.is_none() && oauth2_of(method).is_some_and(|oauth2| !oauth2.refresh.is_empty());
                tokens.insert(token.name.clone(), held);
            }
            None if token.optional => {}
            None => return None,
        }
    }
    if tokens.is_empty() {
        return None;
    }
    // RFC 6749 section 5.1: a reply that names no scope grants what was asked for. Only where there is one token to
    // grant it to.
    if let [held] = tokens.values_mut().collect::<Vec<_>>().as_mut_slice()
        && held.scopes.is_empty()
    {
        held.scopes = asked.values().flatten().cloned().collect();
    }
    Some(tokens)
}

/// The token in the reply to its own refresh: at its declared place or, as some providers with nested tokens answer
/// a refresh, at the top (RFC 6749 section 5.1).
pub fn refreshed(place: &ReplyToken, reply: &Reply) -> Option<ReadToken> {
    reply.token(place).or_else(|| {
        reply.token(&ReplyToken {
            call: place.call,
            access: "/access_token".to_owned(),
            access_header: None,
            refresh: Some("/refresh_token".to_owned()),
            expiry: Some(Expiry::Seconds("/expires_in".to_owned())),
            scope: Some("/scope".to_owned()),
            lifetime_s: place.lifetime_s,
        })
    })
}

/// Scopes that the reply leaves out stay as they were. The refresh token of the reply is taken as it is: keeping the
/// old one is the caller's business.
pub fn held(read: ReadToken, received: Received, old: Option<&Held>) -> Held {
    let (expires_at, lifetime_s) = match (read.expires_in_s, read.expires_at) {
        (Some(seconds), _) => (Some(expiry::expires_at(received.at, received.took, seconds)), Some(seconds)),
        // A moment that is over already comes from a clock that goes wrong: then the app's own signal is waited for.
        (None, Some(at)) if at > received.at => {
            let lifetime_s = at.since(received.at).as_secs();
            (Some(at.min(expiry::expires_at(received.at, Duration::ZERO, lifetime_s + 1))), Some(lifetime_s))
        }
        (None, _) => (None, None),
    };
    Held {
        value: read.value,
        refresh: read.refresh,
        expires_at,
        lifetime_s,
        again: false,
        scopes: read.scopes.or_else(|| old.map(|old| old.scopes.clone())).unwrap_or_default(),
    }
}
