//! What is deployed: versions that never change, and which of them runs with which accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::uses::UsedProp;
use super::{MOST_TRIES, Records, WorkflowRef, busy, keys};
use crate::auth::rows::{At, plain, read_plain};
use crate::caller::Owner;
use crate::ids::{AccountId, WorkflowId};
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::workflow::{Trigger, Verify, Workflow, WorkflowError};

/// Step → prop → account.
pub type Bindings = BTreeMap<String, BTreeMap<String, Binding>>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub account: AccountId,
    /// What the step needs of it.
    pub scopes: Vec<String>,
}

/// One deployed file. Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub owner: Owner,
    /// From 1.
    pub number: u64,
    pub workflow: Workflow,
    /// The file as it was.
    pub source: String,
    /// Over source and programs.
    pub hash: String,
    /// As they were resolved at the deployment. The current version's live in [`Deployed`], where an account can be
    /// replaced.
    pub bindings: Bindings,
    pub created_at: Time,
}

/// Which version runs, sealed: a changed row starts nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    pub id: WorkflowId,
    pub owner: Owner,
    pub name: String,
    pub version: u64,
    pub hash: String,
    pub enabled: bool,
    pub bindings: Bindings,
    /// Runs at a time.
    pub concurrency: Option<u32>,
    /// Of an HTTP trigger with a secret path.
    pub hook: Option<HookToken>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// The secret part of a hook's address: 160 random bits. Whoever knows it can start runs of one workflow.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookToken(String);

impl HookToken {
    fn generate() -> Result<Self, WorkflowError> {
        let mut bytes = [0; 20];
        rand::fill(&mut bytes).map_err(|_| WorkflowError::Internal("there are no random bytes".to_owned()))?;
        Ok(Self(BASE32_NOPAD.encode(&bytes).to_lowercase()))
    }

    /// For the address, which is shown to the owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn is(&self, text: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), text.as_bytes()).is_ok()
    }
}

impl fmt::Debug for HookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookToken(redacted)")
    }
}

/// What lists show. Written beside [`Deployed`], never believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowHead {
    pub id: WorkflowId,
    pub name: String,
    pub summary: Option<String>,
    pub version: u64,
    pub enabled: bool,
    /// `http`, `schedule`
    pub triggers: Vec<String>,
    pub steps: usize,
    pub created_at: Time,
    pub updated_at: Time,
}

/// A checked file, ready to be deployed. Its programs are stored already.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub workflow: Workflow,
    pub source: String,
    pub bindings: Bindings,
    /// When each schedule is due first, by the trigger's place in the workflow.
    pub due: BTreeMap<usize, Time>,
}

/// What a deployment did.
#[derive(Debug, Clone)]
pub struct Placed {
    pub deployed: Deployed,
    /// False: the same content was deployed already, and nothing was written.
    pub is_new: bool,
}

impl Deployment {
    fn hash(&self) -> String {
        let mut bytes = self.source.clone().into_bytes();
        for step in &self.workflow.steps {
            if let crate::workflow::StepWhat::Program { path, hash } = &step.what {
                bytes.extend_from_slice(format!("\0{path}\0{hash}").as_bytes());
            }
        }
        HEXLOWER.encode(digest(&SHA256, &bytes).as_ref())
    }
}

impl Records {
    /// Makes a version of a checked file and lets it run: version, bindings, where-used rows, hook and schedules in one
    /// commit. The same content with the same accounts is left as it is.
    pub async fn deploy(&self, owner: &Owner, deployment: &Deployment) -> Result<Placed, WorkflowError> {
        let name = &deployment.workflow.name;
        for _ in 0..MOST_TRIES {
            match self.try_deploy(owner, deployment).await {
                Err(error) if error.is_conflict() => {}
                other => return other,
            }
        }
        busy(name)
    }

    async fn try_deploy(&self, owner: &Owner, deployment: &Deployment) -> Result<Placed, WorkflowError> {
        let (name, now, hash) = (&deployment.workflow.name, self.now(), deployment.hash());
        let old = self.deployed(owner, name).await?;
        if let Some(At { value, .. }) = &old
            && value.hash == hash
            && value.bindings == deployment.bindings
        {
            return Ok(Placed { deployed: value.clone(), is_new: false });
        }
        let last = self.rows.store.get(&keys::last_version(owner, name)).await?;
        let expect = last.as_ref().map_or(Expect::Absent, |row| Expect::Generation(row.generation));
        let number = u64::try_from(self.count(&keys::last_version(owner, name)).await?).unwrap_or(0) + 1;
        let secret_path = deployment
            .workflow
            .triggers
            .iter()
            .any(|trigger| matches!(trigger, Trigger::Http(http) if http.verify == Verify::SecretPath));
        let old_hook = old.as_ref().and_then(|old| old.value.hook.clone());
        let hook = match (secret_path, old_hook.clone()) {
            (true, Some(hook)) => Some(hook),
            (true, None) => Some(HookToken::generate()?),
            (false, _) => None,
        };
        let deployed = Deployed {
            id: old.as_ref().map_or_else(WorkflowId::new, |old| old.value.id.clone()),
            owner: owner.clone(),
            name: name.clone(),
            version: number,
            hash: hash.clone(),
            // A new version does not switch on what was switched off.
            enabled: old.as_ref().is_none_or(|old| old.value.enabled),
            bindings: deployment.bindings.clone(),
            concurrency: deployment.workflow.concurrency,
            hook,
            created_at: old.as_ref().map_or(now, |old| old.value.created_at),
            updated_at: now,
        };
        let version = Version {
            owner: owner.clone(),
            number,
            workflow: deployment.workflow.clone(),
            source: deployment.source.clone(),
            hash,
            bindings: deployment.bindings.clone(),
            created_at: now,
        };
        let counter = keys::last_version(owner, name);
        let mut operations = vec![Op::Check { key: counter.clone(), expect }, Op::Add { key: counter, delta: 1 }];
        operations.extend(self.put_version(name, &version)?);
        operations.extend(self.put_deployed(&deployed, old.as_ref().map_or(0, |old| old.generation))?);
        let head = WorkflowHead {
            id: deployed.id.clone(),
            name: name.clone(),
            summary: deployment.workflow.summary.clone(),
            version: number,
            enabled: deployed.enabled,
            triggers: deployment.workflow.triggers.iter().map(trigger_word).collect(),
            steps: deployment.workflow.steps.len(),
            created_at: deployed.created_at,
            updated_at: now,
        };
        operations.push(plain(keys::head(owner, name), &head, Expect::Any)?);
        operations.extend(self.put_hook(&deployed, old_hook.as_ref())?);
        let none = Bindings::new();
        let before = old.as_ref().map_or(&none, |old| &old.value.bindings);
        operations.extend(use_operations(owner, name, before, &deployed.bindings)?);
        operations.extend(self.drop_schedules(owner, name).await?);
        if deployed.enabled {
            operations.extend(schedule_operations(owner, name, &deployment.due)?);
        }
        crate::killpoint::reach("workflow-before-deploy");
        self.commit(operations).await?;
        crate::killpoint::reach("workflow-deployed");
        Ok(Placed { deployed, is_new: true })
    }

    fn put_version(&self, name: &str, version: &Version) -> Result<Vec<Op>, WorkflowError> {
        let id = format!("{name}/{}", version.number);
        let key = keys::version(&version.owner, name, version.number);
        self.put_pieces(&version.owner, "workflow-version", &id, &key, version)
    }

    pub(super) fn put_deployed(&self, deployed: &Deployed, from: u64) -> Result<Vec<Op>, WorkflowError> {
        let (owner, name) = (&deployed.owner, &deployed.name);
        Ok(vec![self.rows.seal(owner, "workflow", name, keys::deployed(owner, name), deployed, from)?])
    }

    fn put_hook(&self, deployed: &Deployed, old: Option<&HookToken>) -> Result<Vec<Op>, WorkflowError> {
        let target = WorkflowRef { owner: deployed.owner.clone(), name: deployed.name.clone() };
        let mut operations = vec![plain(keys::hook_of(&deployed.id), &target, Expect::Any)?];
        if let Some(token) = &deployed.hook {
            operations.push(plain(keys::hook(&self.hook_fingerprint(token.reveal())), &target, Expect::Any)?);
        } else if let Some(old) = old {
            let key = keys::hook(&self.hook_fingerprint(old.reveal()));
            operations.push(Op::Delete { key, expect: Expect::Any });
        }
        Ok(operations)
    }

    fn hook_fingerprint(&self, token: &str) -> String {
        self.blind(&["hook", token])
    }

    /// What runs under a name, opened and held against its place.
    pub async fn deployed(&self, owner: &Owner, name: &str) -> Result<Option<At<Deployed>>, WorkflowError> {
        let found = self.rows.open::<Deployed>(owner, "workflow", name, &keys::deployed(owner, name)).await?;
        match found {
            Some(found) if found.value.owner != *owner || found.value.name != name => {
                Err(WorkflowError::Damaged(format!("the record of {name} is not used: it belongs to another workflow")))
            }
            found => Ok(found),
        }
    }

    /// As [`Records::deployed`]; a name that leads nowhere is an error with a guess.
    pub async fn must_be_deployed(&self, owner: &Owner, name: &str) -> Result<At<Deployed>, WorkflowError> {
        match self.deployed(owner, name).await? {
            Some(found) => Ok(found),
            None => Err(self.not_found(owner, name).await?),
        }
    }

    async fn not_found(&self, owner: &Owner, name: &str) -> Result<WorkflowError, WorkflowError> {
        let heads = self.workflows(owner, None, 200).await?;
        let near = deputy_declaration::nearest(name, heads.iter().map(|head| head.name.as_str()));
        let nearest = near.map(str::to_owned);
        Ok(WorkflowError::NotFound { name: name.chars().take(128).collect(), nearest })
    }

    pub async fn version(&self, owner: &Owner, name: &str, number: u64) -> Result<Version, WorkflowError> {
        let id = format!("{name}/{number}");
        let key = keys::version(owner, name, number);
        let version = self.read_pieces::<Version>(owner, "workflow-version", &id, &key).await?;
        match version {
            Some(version) if version.number == number && version.owner == *owner && version.workflow.name == name => {
                Ok(version)
            }
            Some(_) => Err(WorkflowError::Damaged(format!("the version {id} is not used: it is another one"))),
            None => Err(WorkflowError::NoVersion { name: name.to_owned(), number }),
        }
    }

    /// One page of heads, by name.
    pub async fn workflows(
        &self,
        owner: &Owner,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowHead>, WorkflowError> {
        let after = after.map(|name| keys::head(owner, name));
        let rows = self.rows.store.scan(&keys::heads(owner), after.as_deref(), limit).await?;
        rows.iter().map(|(_, row)| Ok(read_plain(row)?)).collect()
    }

    pub async fn workflow_head(&self, owner: &Owner, name: &str) -> Result<Option<WorkflowHead>, WorkflowError> {
        let row = self.rows.store.get(&keys::head(owner, name)).await?;
        Ok(row.as_ref().map(read_plain).transpose()?)
    }

    /// The workflow of a hook's secret. The sealed record has the last word.
    pub async fn by_hook(&self, token: &str) -> Result<Option<Deployed>, WorkflowError> {
        let Some(found) = self.follow(keys::hook(&self.hook_fingerprint(token))).await? else { return Ok(None) };
        Ok(Some(found).filter(|found| found.hook.as_ref().is_some_and(|hook| hook.is(token))))
    }

    pub async fn by_id(&self, id: &WorkflowId) -> Result<Option<Deployed>, WorkflowError> {
        let Some(found) = self.follow(keys::hook_of(id)).await? else { return Ok(None) };
        Ok(Some(found).filter(|found| found.id == *id))
    }

    async fn follow(&self, key: Vec<u8>) -> Result<Option<Deployed>, WorkflowError> {
        let Some(row) = self.rows.store.get(&key).await? else { return Ok(None) };
        let target: WorkflowRef = read_plain(&row)?;
        Ok(self.deployed(&target.owner, &target.name).await?.map(|found| found.value))
    }

    /// Switches triggers on or off. `due` is asked for when schedules begin again.
    pub async fn set_enabled(
        &self,
        owner: &Owner,
        name: &str,
        enabled: bool,
        due: &BTreeMap<usize, Time>,
    ) -> Result<Deployed, WorkflowError> {
        for _ in 0..MOST_TRIES {
            let At { value: mut deployed, generation } = self.must_be_deployed(owner, name).await?;
            if deployed.enabled == enabled {
                return Ok(deployed);
            }
            (deployed.enabled, deployed.updated_at) = (enabled, self.now());
            let mut operations = self.put_deployed(&deployed, generation)?;
            if let Some(mut head) = self.workflow_head(owner, name).await? {
                (head.enabled, head.updated_at) = (enabled, deployed.updated_at);
                operations.push(plain(keys::head(owner, name), &head, Expect::Any)?);
            }
            operations.extend(self.drop_schedules(owner, name).await?);
            if enabled {
                operations.extend(schedule_operations(owner, name, due)?);
            }
            match self.commit(operations).await {
                Err(error) if error.is_conflict() => {}
                other => return other.map(|()| deployed),
            }
        }
        busy(name)
    }

    /// Forgets a workflow; its runs and versions stay to be looked at. Refused while runs have not ended.
    pub async fn remove(&self, owner: &Owner, name: &str) -> Result<Deployed, WorkflowError> {
        for _ in 0..MOST_TRIES {
            let At { value: deployed, generation } = self.must_be_deployed(owner, name).await?;
            let left = self.runs_left(owner, name).await?;
            if left.count > 0 {
                return Err(WorkflowError::RunsLeft { name: name.to_owned(), count: left.count });
            }
            let mut operations = left.checks;
            operations.extend([
                Op::Delete { key: keys::deployed(owner, name), expect: Expect::Generation(generation) },
                Op::Delete { key: keys::head(owner, name), expect: Expect::Any },
                Op::Delete { key: keys::hook_of(&deployed.id), expect: Expect::Any },
            ]);
            if let Some(token) = &deployed.hook {
                let key = keys::hook(&self.hook_fingerprint(token.reveal()));
                operations.push(Op::Delete { key, expect: Expect::Any });
            }
            operations.extend(use_operations(owner, name, &deployed.bindings, &Bindings::new())?);
            operations.extend(self.drop_schedules(owner, name).await?);
            match self.commit(operations).await {
                Err(error) if error.is_conflict() => {}
                other => return other.map(|()| deployed),
            }
        }
        busy(name)
    }

    /// Takes every schedule of a workflow back.
    async fn drop_schedules(&self, owner: &Owner, name: &str) -> Result<Vec<Op>, WorkflowError> {
        let rows = self.rows.store.scan(&keys::schedules(owner, name), None, 100).await?;
        let mut operations = Vec::new();
        for (key, row) in rows {
            let trigger = super::last_part(&key)?.parse().unwrap_or(0);
            let at: Time = read_plain(&row)?;
            operations.push(Op::Delete { key: key.to_vec(), expect: Expect::Generation(row.generation) });
            operations.push(Op::Delete { key: keys::due(at, owner, name, trigger), expect: Expect::Any });
        }
        Ok(operations)
    }
}

fn trigger_word(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Http(_) => "http".to_owned(),
        Trigger::Schedule(schedule) => format!("{} {}", schedule.cron, schedule.zone),
    }
}

pub(super) fn schedule_operations(
    owner: &Owner,
    name: &str,
    due: &BTreeMap<usize, Time>,
) -> Result<Vec<Op>, WorkflowError> {
    let target = WorkflowRef { owner: owner.clone(), name: name.to_owned() };
    let mut operations = Vec::new();
    for (&trigger, at) in due {
        operations.push(plain(keys::schedule(owner, name, trigger), at, Expect::Any)?);
        operations.push(plain(keys::due(*at, owner, name, trigger), &target, Expect::Any)?);
    }
    Ok(operations)
}

/// Where-used rows of one workflow, from one set of bindings to another.
pub(super) fn use_operations(
    owner: &Owner,
    name: &str,
    before: &Bindings,
    after: &Bindings,
) -> Result<Vec<Op>, WorkflowError> {
    let after = by_account(after);
    let gone: BTreeSet<_> = by_account(before).into_keys().filter(|account| !after.contains_key(account)).collect();
    let mut operations = Vec::new();
    for account in &gone {
        operations.push(Op::Delete { key: keys::used(owner, account, "workflow", name), expect: Expect::Any });
    }
    for (account, props) in &after {
        operations.push(plain(keys::used(owner, account, "workflow", name), props, Expect::Any)?);
    }
    Ok(operations)
}

fn by_account(bindings: &Bindings) -> BTreeMap<AccountId, Vec<UsedProp>> {
    let mut accounts: BTreeMap<AccountId, Vec<UsedProp>> = BTreeMap::new();
    for (step, props) in bindings {
        for (prop, binding) in props {
            let used = UsedProp { step: step.clone(), prop: prop.clone(), scopes: binding.scopes.clone() };
            accounts.entry(binding.account.clone()).or_default().push(used);
        }
    }
    accounts
}
