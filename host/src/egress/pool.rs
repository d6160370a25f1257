//! One client, and so one set of connections and TLS sessions, for each account and origin (R7): what one account
//! opened is never used for another.
//!
//! Bounds: [`MOST`] clients, the least recently used one leaves first; a client idle for [`IDLE`] leaves when the next
//! new one comes, and closes its connections by itself before that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::EgressError;
use super::dial::{Dialler, Line};
use super::plain::Addresses;
use crate::caller::Owner;
use crate::ids::AccountId;

/// The most clients at once.
const MOST: usize = 256;
/// Idle connections are closed after this.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Whose connections they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Account(AccountId),
    /// Token calls before there is an account.
    App(String),
    /// Requests of an owner without an account, to hosts that the operator names.
    Plain(Owner),
    /// The same to any public host: never to an address that is only allowed.
    Public(Owner),
}

struct Entry {
    line: Line,
    used: Instant,
}

pub(super) struct Pool {
    dialler: Dialler,
    most: usize,
    lines: Mutex<HashMap<(Holder, String), Entry>>,
}

impl Pool {
    pub(super) fn new(dialler: Dialler) -> Self {
        Self { dialler, most: MOST, lines: Mutex::new(HashMap::new()) }
    }

    /// The client of `holder` for the origin of `url`, which in text is `origin`.
    pub(super) fn line(&self, holder: &Holder, origin: &str, url: &Url) -> Result<Line, EgressError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let key = (holder.clone(), origin.to_owned());
        if let Some(entry) = lines.get_mut(&key) {
            entry.used = now;
            return Ok(entry.line.clone());
        }
        let addresses = match holder {
            Holder::Public(_) => Addresses::Public,
            Holder::Account(_) | Holder::App(_) | Holder::Plain(_) => Addresses::Allowed,
        };
        let line = self.dialler.client(url, addresses)?;
        lines.retain(|_, entry| now.duration_since(entry.used) < IDLE);
        while lines.len() >= self.most {
            let Some(oldest) = lines.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else {
                break;
            };
            lines.remove(&oldest);
        }
        lines.insert(key, Entry { line: line.clone(), used: now });
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Policy;
    use super::super::dial::SystemLookup;
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_drops_the_oldest() {
        let dialler = Dialler::new(Arc::new(Policy::default()), Arc::new(SystemLookup)).unwrap();
        let mut pool = Pool::new(dialler);
        pool.most = 2;
        let url = Url::parse("https://api.example.test").unwrap();
        let take = |name: &str| pool.line(&Holder::App(name.into()), "https://api.example.test", &url).unwrap();
        for name in ["a", "b", "a", "c"] {
            take(name);
        }
        let lines = pool.lines.lock().unwrap();
        let mut names: Vec<_> = lines.keys().map(|(holder, _)| format!("{holder:?}")).collect();
        names.sort();
        assert_eq!(names, ["App(\"a\")", "App(\"c\")"]);
    }

    #[test]
    fn resolve_keys_and_roots_are_checked_at_start() {
        let start = |policy: Policy| Dialler::new(Arc::new(policy), Arc::new(SystemLookup)).err();
        for key in ["slack.com", "Slack.com:443", "127.0.0.1:443", "[::1]:443", ":443", "slack.com:0", "a b:443"] {
            let mut policy = Policy::default();
            policy.resolve.insert(key.into(), "127.0.0.1:1".parse().unwrap());
            assert!(start(policy).is_some_and(|error| error.fix().is_some()), "{key}");
        }
        let mut policy = Policy::default();
        policy.resolve.insert("slack.com:443".into(), "127.0.0.1:1".parse().unwrap());
        assert!(start(policy).is_none());
        let policy = Policy { ca_pem: Some(b"no certificate".to_vec()), ..Policy::default() };
        assert!(start(policy).is_some());
    }
}
