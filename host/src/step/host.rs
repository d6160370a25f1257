//! What the host keeps for one running guest.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi_io::IoView;

use super::log::Log;
use super::requests::{Ask, Pending, Refusal, RefusalCode, Requests};
use super::{Bound, LogLine, RequestSummary, RunLimits};
use crate::wasm::{CpuMeter, Limits, Meter, Metered};

/// The store's data. It holds accounts by the props of this run and nothing that opens them.
pub struct Host {
    pub meter: Meter,
    pub table: ResourceTable,
    pub log: Log,
    pub cpu: Arc<CpuMeter>,
    bindings: BTreeMap<String, Bound>,
    /// None while the component is only asked for its props.
    requests: Option<Requests>,
}

/// An account as the guest holds it: the prop's name. What it stands for stays in [`Host::bindings`].
pub struct AccountHandle {
    prop: String,
}

impl Host {
    /// For a run.
    pub fn new(
        limits: &Limits,
        bindings: BTreeMap<String, Bound>,
        requests: Requests,
        log: Log,
        cpu: Arc<CpuMeter>,
    ) -> Self {
        Self { meter: Meter::new(limits), table: table(limits), log, cpu, bindings, requests: Some(requests) }
    }

    /// For the question which props there are: no account, no request.
    pub fn asking(limits: &Limits, cpu: Arc<CpuMeter>) -> Self {
        let log = Log::new(&RunLimits { log_lines: 100, ..RunLimits::default() }, None);
        Self { meter: Meter::new(limits), table: table(limits), log, cpu, bindings: BTreeMap::new(), requests: None }
    }

    pub fn requests(&self) -> Vec<RequestSummary> {
        self.requests.as_ref().map(Requests::summaries).unwrap_or_default()
    }

    pub fn take_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.log.lines)
    }

    /// The account bound to a prop.
    pub fn account(&mut self, prop: String) -> wasmtime::Result<Result<Resource<AccountHandle>, Refusal>> {
        if !self.bindings.contains_key(&prop) {
            let prop = super::props::short(&prop);
            let refusal = Refusal::new(RefusalCode::NotBound, format!("no account is bound to prop `{prop}`"))
                .fix(format!("add `--bind {prop}=ACCOUNT`"));
            return Ok(Err(refusal));
        }
        Ok(Ok(self.table.push(AccountHandle { prop })?))
    }

    /// What a handle stands for. A handle that the guest made up is a trap.
    pub fn bound(&self, account: &Resource<AccountHandle>) -> wasmtime::Result<&Bound> {
        let prop = &self.table.get(account)?.prop;
        self.bindings.get(prop).ok_or_else(not_of_this_run)
    }

    /// The stand-ins for the account's tokens, by the names under which code knows them.
    pub fn markers_of(&self, account: &Resource<AccountHandle>) -> wasmtime::Result<BTreeMap<String, String>> {
        self.bound(account)?;
        Ok(BTreeMap::new())
    }

    pub fn start(
        &mut self,
        account: Option<&Resource<AccountHandle>>,
        ask: Ask,
    ) -> wasmtime::Result<Result<Resource<Pending>, Refusal>> {
        let prop = account.map(|account| self.table.get(account).map(|handle| handle.prop.as_str())).transpose()?;
        let bound = prop.map(|prop| self.bindings.get(prop).ok_or_else(not_of_this_run)).transpose()?;
        let requests = self.requests.as_mut().ok_or_else(not_of_this_run)?;
        match requests.start(bound, ask) {
            Ok(pending) => Ok(Ok(self.table.push(pending)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

fn not_of_this_run() -> wasmtime::Error {
    wasmtime::Error::msg("the account is not of this run")
}

/// Two entries a handle: a pollable and what it waits for.
fn table(limits: &Limits) -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles.saturating_mul(2));
    table
}

impl Metered for Host {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}

impl IoView for Host {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}
