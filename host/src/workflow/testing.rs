//! What the tests of this room stand on: a store with a clock of its own that counts what is read, and workflows made
//! in code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::expression::TriggerFacts;
use super::records::{Binding, Bindings, Deployment, Records, Submission, TriggerKind};
use super::{OnError, Retry, Step, StepWhat, Workflow};
use crate::ids::AccountId;
use crate::store::{MemoryStore, Op, Row, Store, StoreError};
use crate::time::Time;
use crate::vault::Vault;

#[derive(Default)]
pub struct TestStore {
    /// Shared by the nodes of one world.
    pub rows: Arc<MemoryStore>,
    /// Rows that readers were given, and reads that found none.
    pub read: AtomicUsize,
    /// Ahead of the machine's clock, in milliseconds.
    pub ahead_ms: AtomicI64,
    pub exclusive: AtomicBool,
    /// Commits fail from now on.
    pub broken: AtomicBool,
    /// Commits until then, where there is an end.
    pub left: Mutex<Option<u32>>,
}

impl TestStore {
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as i64, SeqCst);
    }

    pub fn set_time(&self, time: Time) {
        self.ahead_ms.store(time.as_ms() - Time::now().as_ms(), SeqCst);
    }

    /// How many rows `work` read.
    pub async fn reads_of<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.read.load(SeqCst);
        let result = work.await;
        (result, self.read.load(SeqCst) - before)
    }

    /// Every value there is, as one text.
    pub async fn everything(&self) -> Vec<u8> {
        let rows = self.rows.scan(b"", None, usize::MAX).await.unwrap();
        rows.iter().flat_map(|(key, row)| key.iter().chain(row.value.iter()).copied().collect::<Vec<_>>()).collect()
    }
}

impl Store for TestStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        self.read.fetch_add(1, SeqCst);
        self.rows.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>> {
        Box::pin(async move {
            let found = self.rows.scan(prefix, after, limit).await?;
            self.read.fetch_add(found.len().max(1), SeqCst);
            Ok(found)
        })
    }

    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>> {
        if let Some(left) = self.left.lock().unwrap().as_mut() {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.broken.store(true, SeqCst),
            }
        }
        if self.broken.load(SeqCst) {
            return Box::pin(async { Err(StoreError::Failed("the disk is gone".to_owned())) });
        }
        self.rows.commit(operations)
    }

    fn now(&self) -> Time {
        Time(Time::now().as_ms() + self.ahead_ms.load(SeqCst))
    }

    fn is_exclusive(&self) -> bool {
        self.exclusive.load(SeqCst)
    }
}

pub fn records() -> (Arc<TestStore>, Records) {
    let store = Arc::new(TestStore::default());
    let records = Records::new(store.clone(), Arc::new(Vault::ephemeral()));
    (store, records)
}

/// A step that the fake of the engine's tests understands: its input says what it does.
pub fn step(name: &str, input: Value) -> Step {
    Step {
        name: name.to_owned(),
        what: StepWhat::Action { app: "fake".to_owned(), action: "do".to_owned() },
        accounts: BTreeMap::new(),
        input,
        when: None,
        for_each: None,
        retry: Retry { attempts: 1, delay: Duration::from_millis(1) },
        timeout: Duration::from_secs(10),
        on_error: OnError::Fail,
    }
}

pub fn workflow(name: &str, steps: Vec<Step>) -> Workflow {
    Workflow { name: name.to_owned(), summary: None, triggers: Vec::new(), steps, concurrency: None }
}

pub fn deployment(workflow: Workflow) -> Deployment {
    Deployment { source: format!("{workflow:?}"), workflow, bindings: Bindings::new(), due: BTreeMap::new() }
}

pub fn bound(account: &AccountId, scopes: &[&str]) -> Binding {
    Binding { account: account.clone(), scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() }
}

pub fn facts(kind: TriggerKind, body: Value) -> TriggerFacts {
    TriggerFacts {
        kind: kind.word().to_owned(),
        body,
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
        method: None,
        time: Time(0).to_string(),
    }
}

pub fn by_hand(body: Value) -> Submission {
    Submission { kind: TriggerKind::Hand, trigger: facts(TriggerKind::Hand, body), idempotency: None }
}

pub fn with_key(key: &str) -> Submission {
    let trigger = facts(TriggerKind::Http, Value::Null);
    Submission { kind: TriggerKind::Http, trigger, idempotency: Some(key.to_owned()) }
}
