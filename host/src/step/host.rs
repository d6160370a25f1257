//! What the host keeps for one running guest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi_io::IoView;

use super::grants::Through;
use super::log::Log;
use super::requests::{Ask, Pending, Refusal, RefusalCode, Requests};
use super::secrets::Secrets;
use super::wasi::Door;
use super::{Bound, LogLevel, LogLine, RequestSummary, RunLimits};
use crate::time::Time;
use crate::wasm::{CpuMeter, Limits, Meter, Metered};

/// The store's data. It holds accounts by the props of this run and nothing that opens them.
pub struct Host {
    pub meter: Meter,
    pub table: ResourceTable,
    pub log: Log,
    pub cpu: Arc<CpuMeter>,
    /// None while the component is only asked for its props.
    way: Option<Way>,
    /// Only where the component imports WASI.
    pub door: Option<Box<Door>>,
}

/// The run's requests, with all that it may use. The WASI door has one as well, because it may begin a request while
/// the guest waits.
#[derive(Clone)]
pub struct Way {
    requests: Arc<Mutex<Requests>>,
    log: Log,
}

impl Way {
    pub fn new(requests: Requests, log: Log) -> Self {
        Self { requests: Arc::new(Mutex::new(requests)), log }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Starts one request of the guest, through whichever door it came. Markers that stand in the wrong place are told
    /// in the log, once for each place.
    pub fn send(&self, through: Through<'_>, ask: Ask) -> Result<Pending, Refusal> {
        let mut requests = self.requests();
        let started = requests.start(through, ask);
        for warning in requests.take_warnings() {
            self.log.write(Time::now(), LogLevel::Warn, warning);
        }
        started
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // A panic under the lock leaves at most a request that counts and was not sent.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account as the guest holds it: the prop's name. What it stands for stays with the run's grants.
pub struct AccountHandle {
    prop: String,
}

impl Host {
    /// For a run.
    pub fn new(limits: &Limits, way: Way, cpu: Arc<CpuMeter>, door: Option<Box<Door>>) -> Self {
        let log = way.log().clone();
        Self { meter: Meter::new(limits), table: table(limits), log, cpu, way: Some(way), door }
    }

    /// For the question which props there are: no account, no request.
    pub fn asking(limits: &Limits, cpu: Arc<CpuMeter>, wasi: bool) -> Self {
        let run_limits = RunLimits { log_lines: 100, ..RunLimits::default() };
        let log = Log::new(&run_limits, None, Secrets::default());
        let door = wasi.then(|| Box::new(Door::asking(&log, &run_limits)));
        Self { meter: Meter::new(limits), table: table(limits), log, cpu, way: None, door }
    }

    pub fn requests(&self) -> Vec<RequestSummary> {
        self.way.as_ref().map(|way| way.requests().summaries()).unwrap_or_default()
    }

    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.log.take()
    }

    /// The account bound to a prop.
    pub fn account(&mut self, prop: String) -> wasmtime::Result<Result<Resource<AccountHandle>, Refusal>> {
        if self.of_run(&prop).is_none() {
            let prop = super::props::short(&prop);
            let refusal = Refusal::new(RefusalCode::NotBound, format!("no account is bound to prop `{prop}`"))
                .fix(format!("add `--bind {prop}=ACCOUNT`"));
            return Ok(Err(refusal));
        }
        Ok(Ok(self.table.push(AccountHandle { prop })?))
    }

    /// What a handle stands for. A handle that the guest made up is a trap.
    pub fn bound(&self, account: &Resource<AccountHandle>) -> wasmtime::Result<Bound> {
        let prop = &self.table.get(account)?.prop;
        self.of_run(prop).ok_or_else(not_of_this_run)
    }

    fn of_run(&self, prop: &str) -> Option<Bound> {
        self.way.as_ref()?.requests().grants().bound(prop).cloned()
    }

    /// The stand-ins for the account's tokens, by the names under which code knows them.
    pub fn markers_of(&self, account: &Resource<AccountHandle>) -> wasmtime::Result<BTreeMap<String, String>> {
        let prop = &self.table.get(account)?.prop;
        let way = self.way.as_ref().ok_or_else(not_of_this_run)?;
        Ok(way.requests().grants().markers_of(prop))
    }

    pub fn start(
        &mut self,
        account: Option<&Resource<AccountHandle>>,
        ask: Ask,
    ) -> wasmtime::Result<Result<Resource<Pending>, Refusal>> {
        let prop = account.map(|account| self.table.get(account).map(|handle| handle.prop.clone())).transpose()?;
        let Some(way) = &self.way else {
            let message = "a step sends nothing while it is asked for its props";
            return Ok(Err(Refusal::new(RefusalCode::Denied, message)));
        };
        match way.send(prop.as_deref().map_or(Through::Nobody, Through::Prop), ask) {
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
