//! What a service really answered, read by the host: an app's `fixtures.toml`.

use std::time::Instant;

use deputy_declaration::types::AuthMethod;

use super::super::{Answer, Connected, Error};
use super::account::unsent;
use super::driver::{Driver, Found};
use crate::conformance::{Answering, Fixture, Meaning, To};
use crate::time::Time;

/// Between what an answer says and when its account was made.
const SLACK_S: i64 = 300;

impl Driver<'_> {
    pub(super) async fn recorded(&mut self, method: &AuthMethod) {
        let of_this = |fixture: &&Fixture| fixture.method.as_ref().is_none_or(|name| *name == method.id);
        let fixtures: Vec<Fixture> = self.fixtures.iter().filter(of_this).cloned().collect();
        let (good, rest): (Vec<_>, Vec<_>) = fixtures.into_iter().partition(Fixture::connects);
        for fixture in rest.iter().filter(|fixture| fixture.to != To::Api) {
            let begun = Instant::now();
            self.speak_again();
            let others = good.iter().filter(|other| other.to != fixture.to).cloned();
            self.fake.with(|state| state.recorded = others.chain([fixture.clone()]).collect());
            let found = match (self.connect_anyhow(method).await, &fixture.reads.error) {
                (Err(error), Some(code)) if error.code == *code => Ok(()),
                (Err(error), _) => Err(format!("the error is `{}`: {}", error.code, error.message)),
                (Ok(connected), _) => {
                    self.delete(&connected).await;
                    Err("it connected".to_owned())
                }
            };
            self.told(method, fixture, "the recorded error is understood", begun, found);
        }
        let asked = rest.iter().filter(|fixture| fixture.to == To::Api);
        let (last, asked): (Vec<_>, Vec<_>) = asked.partition(|fixture| fixture.reads.is == Some(Meaning::Revoked));
        if good.is_empty() && asked.is_empty() && last.is_empty() {
            return;
        }
        let begun = Instant::now();
        self.speak_again();
        self.fake.with(|state| state.recorded.clone_from(&good));
        let connected = match self.connect_anyhow(method).await {
            Ok(connected) => connected,
            Err(error) => {
                let places: Vec<_> = good.iter().map(|fixture| fixture.place.as_str()).collect();
                let reason = format!("with {}: {}", places.join(", "), error.message);
                return self.note(method, self.part(".tokens"), "it connects as recorded", begun, Err(reason));
            }
        };
        self.note(method, self.part(".tokens"), "it connects as recorded", begun, Ok(()));
        for fixture in &good {
            let found = read(fixture, &connected);
            self.told(method, fixture, "the recorded answer is read", Instant::now(), found);
        }
        for fixture in asked {
            self.meaning(method, fixture, &connected.account.name).await;
        }
        self.delete(&connected).await;
        for fixture in last {
            self.end_of_it(method, fixture).await;
        }
    }

    /// An answer that ends the account: nothing is sent with it any more.
    async fn end_of_it(&mut self, method: &AuthMethod, fixture: &Fixture) {
        let begun = Instant::now();
        self.speak_again();
        let found = match self.connect_anyhow(method).await {
            Err(error) => Err(error.message),
            Ok(connected) => {
                let account = &connected.account.name;
                self.fake.with(|state| state.answering = Answering::Recorded(Box::new(fixture.clone())));
                let rules = method.rule_sets.first().map(|set| set.rules.as_slice()).unwrap_or_default();
                let first = self.send(account, rules, None).await.map(|_| ());
                let _ = self.fake.take();
                let second = self.send(account, rules, None).await;
                let found = unsent(second, &self.fake.take().0);
                self.delete(&connected).await;
                first.map_err(|error| error.message).and(found)
            }
        };
        self.told(method, fixture, "the recorded answer is understood", begun, found);
    }

    async fn meaning(&mut self, method: &AuthMethod, fixture: &Fixture, account: &str) {
        let begun = Instant::now();
        self.fake.with(|state| state.answering = Answering::Recorded(Box::new(fixture.clone())));
        let rules = method.rule_sets.first().map(|set| set.rules.as_slice()).unwrap_or_default();
        let answer = self.send(account, rules, None).await;
        let found = means(fixture, answer);
        self.fake.with(|state| state.answering = Answering::Well);
        self.told(method, fixture, "the recorded answer is understood", begun, found);
    }

    /// A check of one recorded answer, about what reads it.
    fn told(&mut self, method: &AuthMethod, fixture: &Fixture, name: &str, begun: Instant, found: Found) {
        let about = match (fixture.to, fixture.reads.is) {
            (To::Test, _) => "test".to_owned(),
            (To::Inputs, _) => "inputs".to_owned(),
            (To::Api, Some(Meaning::Expired)) => "signals.expired".to_owned(),
            (To::Api, Some(Meaning::Revoked)) => "signals.revoked".to_owned(),
            (To::Api, Some(Meaning::Throttled)) => "signals.throttled".to_owned(),
            (To::Api, _) => "signals.failed".to_owned(),
            (To::Token | To::Refresh, _) => self.part(".tokens"),
        };
        let found = found.map_err(|reason| format!("{}: {reason}", fixture.place));
        self.note(method, about, name, begun, found);
    }

    async fn delete(&self, connected: &Connected) {
        // What the provider says of it was looked at before.
        let _ = self.host.account_delete(self.caller, &connected.account.name, true).await;
        let _ = self.fake.take();
    }
}

/// Whether the account is what the answer says.
fn read(fixture: &Fixture, connected: &Connected) -> Found {
    let (reads, account) = (&fixture.reads, &connected.account);
    let same = |what: &str, wanted: &Option<String>, found: &Option<String>| match wanted {
        Some(_) if wanted != found => Err(format!("the {what} is `{}`, not `{}`", shown(found), shown(wanted))),
        _ => Ok(()),
    };
    same("id", &reads.id, &account.identity_id)?;
    same("label", &reads.label, &account.identity)?;
    if let Some(wanted) = &reads.scopes {
        let (mut wanted, mut found) = (wanted.clone(), account.scopes.clone());
        wanted.sort();
        found.sort();
        if wanted != found {
            return Err(format!("the scopes are [{}], not [{}]", found.join(", "), wanted.join(", ")));
        }
    }
    if let Some(wanted) = reads.lifetime_s {
        let now = Time::now();
        let left = account.tokens.iter().filter_map(|token| Some((token.expires_at?.0 - now.0) / 1000)).min();
        if left.is_none_or(|left| (left - wanted).abs() > SLACK_S) {
            let left = left.map_or("never".to_owned(), |left| format!("in {left} s"));
            return Err(format!("the token ends {left}, not in {wanted} s"));
        }
    }
    Ok(())
}

fn shown(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("nothing")
}

fn means(fixture: &Fixture, answer: Result<Answer, Error>) -> Found {
    let answer = answer.map_err(|error| error.message)?;
    let found = match (answer.renewed, &answer.throttled, answer.failed) {
        (true, ..) => Meaning::Expired,
        (false, Some(_), _) => Meaning::Throttled,
        (false, None, true) => Meaning::Failed,
        (false, None, false) => Meaning::Good,
    };
    match fixture.reads.is {
        Some(wanted) if wanted == found => Ok(()),
        wanted => Err(format!("it is taken for `{found:?}`, not `{:?}`", wanted.unwrap_or(Meaning::Good))),
    }
}
