//! The way of a run through the store: submitted, claimed, taken over, ended, cancelled.
//!
//! Each is one commit. A run is in exactly one of three places: the queue of its workflow, among the active runs with a
//! claim, or ended. Whoever holds the claim writes under its generation; taking a run over, or cancelling it, changes
//! the claim, and from then on the former holder's commits fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::{Attempt, RunEnd, RunStart};
use super::runs::{RunHead, RunState, TriggerKind};
use super::{Deployed, MOST_TRIES, NodeId, Records, WorkflowRef, busy, definition, keys};
use crate::auth::rows::{At, plain, read_plain};
use crate::caller::Owner;
use crate::ids::RunId;
use crate::store::{Expect, Op, parts, unordered};
use crate::time::Time;
use crate::workflow::WorkflowError;
use crate::workflow::expression::TriggerFacts;

/// How long a second delivery is the same run.
pub const IDEMPOTENCY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Idempotency rows that are swept at once.
const SWEEP: usize = 100;

/// A run that is asked for.
#[derive(Debug, Clone)]
pub struct Submission {
    pub kind: TriggerKind,
    pub trigger: TriggerFacts,
    /// A second submission with the same key within [`IDEMPOTENCY`] is the same run.
    pub idempotency: Option<String>,
}

/// A stored run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub run: RunId,
    pub version: u64,
    /// False: an earlier delivery made it.
    pub is_new: bool,
}

/// The right to execute one run, for as long as nobody took it over.
#[derive(Debug, Clone)]
pub struct Claim {
    pub owner: Owner,
    pub head: RunHead,
    /// The generation of the claim's row: a fence for everything that its holder writes.
    fence: u64,
}

impl Claim {
    pub fn run(&self) -> &RunId {
        &self.head.id
    }
}

/// A schedule whose time has come.
#[derive(Debug, Clone)]
pub struct Due {
    pub target: WorkflowRef,
    /// Which trigger of the workflow.
    pub trigger: usize,
    pub at: Time,
    key: Vec<u8>,
    generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    node: NodeId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivered {
    run: RunId,
    version: u64,
    until: Time,
}

impl Records {
    /// Stores a run in the queue of its workflow. When this returns, the run is durable.
    pub async fn submit(&self, owner: &Owner, name: &str, submission: &Submission) -> Result<Submitted, WorkflowError> {
        for _ in 0..MOST_TRIES {
            let deployed = self.must_be_deployed(owner, name).await?;
            if !deployed.value.enabled && submission.kind != TriggerKind::Hand {
                return Err(WorkflowError::Disabled { name: name.to_owned() });
            }
            let fingerprint =
                submission.idempotency.as_ref().map(|key| self.blind(&["idem", owner.as_str(), name, key]));
            let mut operations = Vec::new();
            let run = RunId::new();
            if let Some(fingerprint) = &fingerprint {
                let key = keys::idempotency(owner, name, fingerprint);
                let row = self.rows.store.get(&key).await?;
                if let Some(row) = &row {
                    let known: Delivered = read_plain(row)?;
                    if self.now() < known.until {
                        return Ok(Submitted { run: known.run, version: known.version, is_new: false });
                    }
                }
                let expect = row.map_or(Expect::Absent, |row| Expect::Generation(row.generation));
                let until = self.now().plus(IDEMPOTENCY);
                let delivered = Delivered { run: run.clone(), version: deployed.value.version, until };
                operations.push(plain(key, &delivered, expect)?);
                let end = keys::idempotency_end(until, owner, name, fingerprint);
                operations.push(plain(end, &until, Expect::Any)?);
            }
            operations.extend(self.new_run(&deployed, &run, submission)?);
            crate::killpoint::reach("run-before-store");
            match self.commit(operations).await {
                Err(error) if error.is_conflict() => continue,
                other => other?,
            }
            crate::killpoint::reach("run-stored");
            return Ok(Submitted { run, version: deployed.value.version, is_new: true });
        }
        busy(name)
    }

    /// All rows of a run that comes to be; a workflow that is switched off or removed meanwhile takes none.
    fn new_run(
        &self,
        At { value: deployed, generation }: &At<Deployed>,
        run: &RunId,
        submission: &Submission,
    ) -> Result<Vec<Op>, WorkflowError> {
        let (owner, name) = (&deployed.owner, &deployed.name);
        let now = self.now();
        let start = RunStart {
            run: run.clone(),
            owner: owner.clone(),
            workflow: name.clone(),
            version: deployed.version,
            kind: submission.kind,
            trigger: submission.trigger.clone(),
            created_at: now,
        };
        let head = RunHead {
            id: run.clone(),
            workflow: name.clone(),
            version: deployed.version,
            state: RunState::Queued,
            trigger: submission.kind,
            created_at: now,
            started_at: None,
            ended_at: None,
            error: None,
            step: None,
        };
        let deployed = Op::Check { key: keys::deployed(owner, name), expect: Expect::Generation(*generation) };
        let mut operations = vec![deployed];
        operations.extend(self.put_start(&start)?);
        operations.extend(self.move_run(owner, &head, None)?);
        let target = WorkflowRef { owner: owner.clone(), name: name.clone() };
        operations.push(plain(keys::queued(owner, name, run), &target, Expect::Absent)?);
        Ok(operations)
    }

    /// Workflows whose queue is not empty, each once: one read for each.
    pub async fn waiting(&self, limit: usize) -> Result<Vec<WorkflowRef>, WorkflowError> {
        let prefix = keys::all_queues();
        let mut found: Vec<WorkflowRef> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        while found.len() < limit {
            let page = self.rows.store.scan(&prefix, after.as_deref(), 1).await?;
            let Some((_, row)) = page.first() else { break };
            let target: WorkflowRef = read_plain(row)?;
            after = Some(keys::behind(keys::queue(&target.owner, &target.name)));
            found.push(target);
        }
        Ok(found)
    }

    /// The next run of a workflow in the order of arrival, if fewer than `limit` are running.
    pub async fn claim_next(
        &self,
        node: &NodeId,
        target: &WorkflowRef,
        limit: u32,
    ) -> Result<Option<Claim>, WorkflowError> {
        let (owner, name) = (&target.owner, &target.name);
        for _ in 0..MOST_TRIES {
            let running = keys::count(owner, name, RunState::Running);
            let row = self.rows.store.get(&running).await?;
            if self.count(&running).await? >= i64::from(limit) {
                return Ok(None);
            }
            let expect = row.map_or(Expect::Absent, |row| Expect::Generation(row.generation));
            let queue = self.rows.store.scan(&keys::queue(owner, name), None, 1).await?;
            let Some((key, queued)) = queue.first() else { return Ok(None) };
            let run: RunId = super::last_part(key)?
                .parse()
                .map_err(|_| WorkflowError::Damaged("a key of the queue names no run".to_owned()))?;
            let leave = Op::Delete { key: key.to_vec(), expect: Expect::Generation(queued.generation) };
            let Some(mut head) = self.run(owner, &run).await?.filter(|head| head.state == RunState::Queued) else {
                // Its head says that it does not wait: the row is wrong, and would hold up all that stand behind it.
                tracing::warn!("the queue of {name} named {run}, which does not wait");
                self.commit(vec![leave]).await?;
                continue;
            };
            (head.state, head.started_at) = (RunState::Running, Some(self.now()));
            // The counter is checked before it is raised: two nodes cannot both take the last place.
            let mut operations = vec![Op::Check { key: running, expect }, leave];
            operations.extend(self.move_run(owner, &head, Some(RunState::Queued))?);
            operations.push(plain(keys::active(owner, name, &run), target, Expect::Absent)?);
            operations.push(plain(keys::claim(owner, &run), &Held { node: node.clone() }, Expect::Absent)?);
            match self.commit(operations).await {
                Ok(()) => {}
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error),
            }
            return Ok(Some(Claim { owner: owner.clone(), head, fence: 1 }));
        }
        busy(name)
    }

    /// Runs whose holder is gone, taken by this node; `of`: only those of one workflow. `after`: where the page before
    /// ended. Gives the claims, and where to go on.
    pub async fn take_over(
        &self,
        node: &NodeId,
        of: Option<&WorkflowRef>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(Vec<Claim>, Option<Vec<u8>>), WorkflowError> {
        let prefix = of.map_or_else(keys::all_active, |target| keys::active_of(&target.owner, &target.name));
        let rows = self.rows.store.scan(&prefix, after.as_deref(), limit).await?;
        let next = (rows.len() == limit).then(|| rows.last().map(|(key, _)| key.to_vec())).flatten();
        let mut claims = Vec::new();
        for (key, row) in &rows {
            let target: WorkflowRef = read_plain(row)?;
            let run: RunId = super::last_part(key)?
                .parse()
                .map_err(|_| WorkflowError::Damaged("a key of the active runs names no run".to_owned()))?;
            claims.extend(self.take(node, &target.owner, &run).await?);
        }
        Ok((claims, next))
    }

    async fn take(&self, node: &NodeId, owner: &Owner, run: &RunId) -> Result<Option<Claim>, WorkflowError> {
        let key = keys::claim(owner, run);
        let Some(row) = self.rows.store.get(&key).await? else { return Ok(None) };
        let held: Held = read_plain(&row)?;
        if held.node == *node || self.lives(&held.node).await? {
            return Ok(None);
        }
        let Some(head) = self.run(owner, run).await? else { return Ok(None) };
        let put = plain(key, &Held { node: node.clone() }, Expect::Generation(row.generation))?;
        match self.commit(vec![put]).await {
            Ok(()) => Ok(Some(Claim { owner: owner.clone(), head, fence: row.generation + 1 })),
            // Another node was quicker, or the run was cancelled.
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the claim still stands.
    pub async fn holds(&self, claim: &Claim) -> Result<bool, WorkflowError> {
        let row = self.rows.store.get(&keys::claim(&claim.owner, claim.run())).await?;
        Ok(row.is_some_and(|row| row.generation == claim.fence))
    }

    /// What an attempt left. False: the run belongs to somebody else by now, and nothing was written.
    pub async fn record(&self, claim: &Claim, attempt: &Attempt) -> Result<bool, WorkflowError> {
        let mut operations = vec![Op::Check { key: keys::claim(&claim.owner, claim.run()), expect: claim.expect() }];
        operations.extend(self.put_attempt(&claim.owner, claim.run(), attempt)?);
        fenced(self.commit(operations).await)
    }

    /// The end of a run. False: it belongs to somebody else by now.
    pub async fn end(&self, claim: &Claim, state: RunState, end: &RunEnd) -> Result<bool, WorkflowError> {
        let (owner, name, run) = (&claim.owner, &claim.head.workflow, claim.run());
        let mut head = claim.head.clone();
        (head.state, head.ended_at) = (state, Some(self.now()));
        head.error = end.error.as_ref().map(|error| error.code.clone());
        head.step = end.step.clone();
        let mut operations = vec![
            Op::Delete { key: keys::claim(owner, run), expect: claim.expect() },
            Op::Delete { key: keys::active(owner, name, run), expect: Expect::Any },
        ];
        operations.extend(self.move_run(owner, &head, Some(RunState::Running))?);
        operations.extend(self.put_end(owner, run, end)?);
        crate::killpoint::reach("run-before-end");
        let ended = fenced(self.commit(operations).await);
        crate::killpoint::reach("run-ended");
        ended
    }

    /// Ends a run that waits or runs. Its holder notices when it next writes, at the latest.
    pub async fn cancel(&self, owner: &Owner, run: &RunId) -> Result<RunHead, WorkflowError> {
        for _ in 0..MOST_TRIES {
            let mut head = self.must_be_run(owner, run).await?;
            let (before, name) = (head.state, head.workflow.clone());
            let mut operations = match before {
                RunState::Queued => {
                    let key = keys::queued(owner, &name, run);
                    let Some(row) = self.rows.store.get(&key).await? else { continue };
                    vec![Op::Delete { key, expect: Expect::Generation(row.generation) }]
                }
                RunState::Running => {
                    let key = keys::claim(owner, run);
                    let Some(row) = self.rows.store.get(&key).await? else { continue };
                    vec![
                        Op::Delete { key, expect: Expect::Generation(row.generation) },
                        Op::Delete { key: keys::active(owner, &name, run), expect: Expect::Any },
                    ]
                }
                ended => return Err(WorkflowError::RunEnded { run: run.clone(), state: ended.word() }),
            };
            (head.state, head.ended_at) = (RunState::Cancelled, Some(self.now()));
            operations.extend(self.move_run(owner, &head, Some(before))?);
            operations.extend(self.put_end(owner, run, &RunEnd::default())?);
            match self.commit(operations).await {
                Err(error) if error.is_conflict() => {}
                other => return other.map(|()| head),
            }
        }
        busy(run.as_str())
    }

    /// Schedules whose time has come, the earliest first.
    pub async fn due(&self, limit: usize) -> Result<Vec<Due>, WorkflowError> {
        let now = self.now();
        let rows = self.rows.store.scan(&keys::dues(), None, limit).await?;
        let mut found = Vec::new();
        for (key, row) in rows {
            let segments = parts(&key).unwrap_or_default();
            let [_, at, _, _, trigger] = segments.as_slice() else {
                return Err(WorkflowError::Damaged("a key of the schedules is damaged".to_owned()));
            };
            let (Some(at), Ok(trigger)) = (unordered(at), trigger.parse()) else {
                return Err(WorkflowError::Damaged("a key of the schedules is damaged".to_owned()));
            };
            let at = Time(at);
            if at > now {
                break;
            }
            let target = read_plain(&row)?;
            found.push(Due { target, trigger, at, key: key.to_vec(), generation: row.generation });
        }
        Ok(found)
    }

    /// Takes one due time: the run, and the next due time, in one commit. None: it was not due any more, or its
    /// workflow does not run. However many due times were missed, this is one run.
    pub async fn fire(&self, due: &Due, next: Option<Time>, version: u64) -> Result<Option<Submitted>, WorkflowError> {
        let (owner, name) = (&due.target.owner, &due.target.name);
        let mut operations = vec![
            Op::Delete { key: due.key.clone(), expect: Expect::Generation(due.generation) },
            Op::Delete { key: keys::schedule(owner, name, due.trigger), expect: Expect::Any },
        ];
        let found = self.deployed(owner, name).await?;
        // A due time that was taken back and made anew has the same key and generation: what is deployed decides.
        let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Generation(found.generation));
        operations.push(Op::Check { key: keys::deployed(owner, name), expect });
        if found.as_ref().is_some_and(|found| found.value.version != version) {
            // Deployed anew since the caller looked: its schedules were made anew too.
            return Ok(None);
        }
        let mut submitted = None;
        if let Some(deployed) = found.as_ref().filter(|found| found.value.enabled) {
            if let Some(next) = next {
                operations.extend(definition::schedule_operations(owner, name, &[(due.trigger, next)].into())?);
            }
            let run = RunId::new();
            let trigger = TriggerFacts {
                kind: TriggerKind::Schedule.word().to_owned(),
                body: Value::Null,
                headers: BTreeMap::new(),
                query: BTreeMap::new(),
                method: None,
                time: due.at.to_string(),
            };
            let submission = Submission { kind: TriggerKind::Schedule, trigger, idempotency: None };
            operations.extend(self.new_run(deployed, &run, &submission)?);
            submitted = Some(Submitted { run, version, is_new: true });
        }
        crate::killpoint::reach("schedule-before-fire");
        match self.commit(operations).await {
            Ok(()) => Ok(submitted),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets a due time that no schedule of its workflow stands for: the row was made outside Deputy.
    pub async fn forget_due(&self, due: &Due) -> Result<(), WorkflowError> {
        self.commit(vec![Op::Delete { key: due.key.clone(), expect: Expect::Any }]).await
    }

    /// Forgets idempotency keys whose time is over. Gives how many it looked at.
    pub async fn sweep_idempotency(&self) -> Result<usize, WorkflowError> {
        let now = self.now();
        let rows = self.rows.store.scan(&keys::idempotency_ends(), None, SWEEP).await?;
        let mut operations = Vec::new();
        for (key, row) in &rows {
            if read_plain::<Time>(row)? > now {
                break;
            }
            operations.push(Op::Delete { key: key.to_vec(), expect: Expect::Any });
            let segments = parts(key).unwrap_or_default();
            let [_, _, owner, name, fingerprint] = segments.as_slice() else { continue };
            let key = crate::store::key(&["idem", owner, name, fingerprint]);
            if let Some(row) = self.rows.store.get(&key).await?
                && read_plain::<Delivered>(&row)?.until <= now
            {
                operations.push(Op::Delete { key, expect: Expect::Generation(row.generation) });
            }
        }
        let count = operations.len();
        match self.commit(operations).await {
            Err(error) if error.is_conflict() => Ok(0),
            other => other.map(|()| count),
        }
    }
}

impl Claim {
    fn expect(&self) -> Expect {
        Expect::Generation(self.fence)
    }
}

/// A conflict under a fence means that the run was taken over or cancelled.
fn fenced(result: Result<(), WorkflowError>) -> Result<bool, WorkflowError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}
