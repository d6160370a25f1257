//! The keys of this room's rows, all of them here.

use crate::caller::Owner;
use crate::ids::{AccountId, RunId, WorkflowId};
use crate::store::{key, ordered};
use crate::time::Time;

use super::runs::RunState;

pub fn heads(owner: &Owner) -> Vec<u8> {
    key(&["workflow", owner.as_str()])
}

/// The head of a workflow.
pub fn head(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["workflow", owner.as_str(), name])
}

/// What is deployed, sealed.
pub fn deployed(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["deployed", owner.as_str(), name])
}

/// In pieces.
pub fn version(owner: &Owner, name: &str, number: u64) -> Vec<u8> {
    key(&["version", owner.as_str(), name, &ordered(i64::try_from(number).unwrap_or(i64::MAX))])
}

/// The number of the newest version there ever was: counted on when a workflow is removed and deployed again.
pub fn last_version(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["count", "version", owner.as_str(), name])
}

/// From the fingerprint of a hook's secret to its workflow.
pub fn hook(fingerprint: &str) -> Vec<u8> {
    key(&["hook", fingerprint])
}

/// From a workflow's id to the workflow.
pub fn hook_of(id: &WorkflowId) -> Vec<u8> {
    key(&["hook-of", id.as_str()])
}

pub fn schedules(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["schedule", owner.as_str(), name])
}

/// When the schedule of one trigger is due next.
pub fn schedule(owner: &Owner, name: &str, trigger: usize) -> Vec<u8> {
    key(&["schedule", owner.as_str(), name, &format!("{trigger:03}")])
}

pub fn dues() -> Vec<u8> {
    key(&["due"])
}

pub fn due(at: Time, owner: &Owner, name: &str, trigger: usize) -> Vec<u8> {
    key(&["due", &ordered(at.as_ms()), owner.as_str(), name, &format!("{trigger:03}")])
}

pub fn uses(owner: &Owner, account: &AccountId) -> Vec<u8> {
    key(&["use", owner.as_str(), account.as_str()])
}

/// `kind` is `workflow` or `step`.
pub fn used(owner: &Owner, account: &AccountId, kind: &str, name: &str) -> Vec<u8> {
    key(&["use", owner.as_str(), account.as_str(), kind, name])
}

pub fn run(owner: &Owner, run: &RunId) -> Vec<u8> {
    key(&["run", owner.as_str(), run.as_str()])
}

/// Everything sealed of a run.
pub fn parts(owner: &Owner, run: &RunId) -> Vec<u8> {
    key(&["part", owner.as_str(), run.as_str()])
}

pub fn part(owner: &Owner, run: &RunId, part: &str) -> Vec<u8> {
    key(&["part", owner.as_str(), run.as_str(), part])
}

pub fn claim(owner: &Owner, run: &RunId) -> Vec<u8> {
    key(&["claim", owner.as_str(), run.as_str()])
}

pub fn all_queues() -> Vec<u8> {
    key(&["queue"])
}

pub fn queue(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["queue", owner.as_str(), name])
}

pub fn queued(owner: &Owner, name: &str, run: &RunId) -> Vec<u8> {
    key(&["queue", owner.as_str(), name, run.as_str()])
}

pub fn all_active() -> Vec<u8> {
    key(&["active"])
}

pub fn active_of(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["active", owner.as_str(), name])
}

pub fn active(owner: &Owner, name: &str, run: &RunId) -> Vec<u8> {
    key(&["active", owner.as_str(), name, run.as_str()])
}

pub fn runs(owner: &Owner, name: &str) -> Vec<u8> {
    key(&["runs", owner.as_str(), name])
}

pub fn listed(owner: &Owner, name: &str, run: &RunId) -> Vec<u8> {
    key(&["runs", owner.as_str(), name, &newest_first(run)])
}

pub fn runs_in(owner: &Owner, name: &str, state: RunState) -> Vec<u8> {
    key(&["runs-in", owner.as_str(), name, state.word()])
}

pub fn listed_in(owner: &Owner, name: &str, state: RunState, run: &RunId) -> Vec<u8> {
    key(&["runs-in", owner.as_str(), name, state.word(), &newest_first(run)])
}

/// How many runs of a workflow are in a state.
pub fn count(owner: &Owner, name: &str, state: RunState) -> Vec<u8> {
    key(&["count", "runs", owner.as_str(), name, state.word()])
}

pub fn idempotency(owner: &Owner, name: &str, fingerprint: &str) -> Vec<u8> {
    key(&["idem", owner.as_str(), name, fingerprint])
}

pub fn idempotency_ends() -> Vec<u8> {
    key(&["idem-end"])
}

pub fn idempotency_end(at: Time, owner: &Owner, name: &str, fingerprint: &str) -> Vec<u8> {
    key(&["idem-end", &ordered(at.as_ms()), owner.as_str(), name, fingerprint])
}

pub fn node(id: &str) -> Vec<u8> {
    key(&["node", id])
}

/// Behind every key that continues `prefix`, which ends with a whole segment.
pub fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    // Segments end with 00, and 00 stands nowhere else.
    if let Some(last) = prefix.last_mut() {
        *last = 1;
    }
    prefix
}

/// A run's id so that later ones sort first: each symbol of its base32hex becomes its counterpart.
fn newest_first(run: &RunId) -> String {
    let body = run.as_str().trim_start_matches(RunId::PREFIX).trim_start_matches('_');
    body.bytes()
        .map(|byte| {
            let value = match byte {
                b'0'..=b'9' => byte - b'0',
                _ => byte.saturating_sub(b'a') + 10,
            };
            let turned = 31_u8.saturating_sub(value);
            char::from(if turned < 10 { b'0' + turned } else { b'a' + turned - 10 })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_sort_first() {
        let ids: Vec<_> = (0..100).map(|_| RunId::new()).collect();
        for pair in ids.windows(2) {
            assert!(newest_first(&pair[0]) > newest_first(&pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn nothing_of_a_prefix_lies_behind_it() {
        let owner = Owner::local();
        let run = RunId::new();
        let end = behind(queue(&owner, "a"));
        assert!(queued(&owner, "a", &run) < end);
        assert!(queued(&owner, "a-b", &run) > end);
    }
}
