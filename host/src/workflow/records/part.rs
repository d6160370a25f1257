//! What a run leaves, sealed: its trigger, every attempt of every step, its end.
//!
//! A part is written once and never changed. It lies in pieces of at most [`PIECE_BYTES`], each sealed for its own
//! place: run, part, which piece of how many. So a part that is cut, mixed or replaced does not open.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Records, TriggerKind, keys};
use crate::caller::Owner;
use crate::ids::RunId;
use crate::step::{LogLine, RequestSummary};
use crate::store::{Expect, MAX_VALUE_BYTES, Op, Row, parts};
use crate::time::Time;
use crate::vault::Place;
use crate::workflow::WorkflowError;
use crate::workflow::expression::TriggerFacts;

/// Below the store's limit, with room for the seal.
const PIECE_BYTES: usize = MAX_VALUE_BYTES - 4096;
/// Pieces of one part; a commit holds one part and little else.
const MOST_PIECES: usize = 6;
/// Rows read at once: at most this many MiB in memory beside what they say.
const PAGE: usize = 8;

/// The most that one attempt of a step may give back (output, exports and answer together, as JSON).
pub const MAX_OUTPUT_BYTES: usize = 768 << 10;
/// The most that a trigger may hand over, as JSON. A body of 1 MiB in base64 fits.
pub const MAX_TRIGGER_BYTES: usize = 2 << 20;
/// Of the log of one attempt; what is beyond is counted, not kept.
const MAX_LOG_BYTES: usize = 256 << 10;
/// Requests of one attempt that are kept.
const MAX_REQUESTS: usize = 200;

/// What a run was started with. Sealed, so that nobody can forge a run in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStart {
    pub run: RunId,
    pub owner: Owner,
    pub workflow: String,
    pub version: u64,
    pub kind: TriggerKind,
    /// `trigger` in expressions.
    pub trigger: TriggerFacts,
    pub created_at: Time,
}

/// One attempt of one step, or of one item of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Which step of the version, from 0.
    pub index: u32,
    pub step: String,
    /// Of a step with `for_each`; none: the step as a whole.
    pub item: Option<u32>,
    /// From 1; 0 for a step that was skipped and for the end of a `for_each`.
    pub attempt: u32,
    /// Nothing follows for this step or item.
    pub is_last: bool,
    pub state: AttemptState,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub exports: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// For the end of a `for_each`: how many items there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// Lines that were too much to keep.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub logs_left_out: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestSummary>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests_left_out: usize,
    pub started_at: Time,
    pub ended_at: Time,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    Done,
    Failed,
    /// `when` was false.
    Skipped,
}

/// What went wrong, for people and for `steps.NAME.error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a run ended, beyond its state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunEnd {
    /// The step that failed, or that ended the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The reason that `$.flow.exit` gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Attempt {
    /// Keeps the beginning of a long log and of many requests, and says how much is missing.
    pub fn keep_logs(&mut self, mut logs: Vec<LogLine>, mut requests: Vec<RequestSummary>) {
        let mut bytes = 0;
        // As JSON a character takes up to six bytes.
        let kept = logs.iter().take_while(|line| {
            bytes += 80 + serde_json::to_string(&line.message).map_or(line.message.len() * 6, |text| text.len());
            bytes <= MAX_LOG_BYTES
        });
        let kept = kept.count();
        self.logs_left_out = logs.len() - kept;
        logs.truncate(kept);
        self.requests_left_out = requests.len().saturating_sub(MAX_REQUESTS);
        requests.truncate(MAX_REQUESTS);
        for request in &mut requests {
            let end = request.path.floor_char_boundary(1024);
            request.path.truncate(end);
        }
        (self.logs, self.requests) = (logs, requests);
    }

    fn name(&self) -> String {
        // The end of a `for-each` sorts behind its items.
        let item = self.item.map_or_else(|| "~".to_owned(), |item| format!("{item:06}"));
        format!("step/{:04}/{item}/{:03}", self.index, self.attempt)
    }
}

/// All parts of a run, in their order.
#[derive(Debug)]
pub struct RunParts {
    pub start: RunStart,
    pub attempts: Vec<Attempt>,
    pub end: Option<RunEnd>,
}

impl Records {
    pub(super) fn put_start(&self, start: &RunStart) -> Result<Vec<Op>, WorkflowError> {
        let size = serde_json::to_vec(&start.trigger).map_err(internal)?.len();
        if size > MAX_TRIGGER_BYTES {
            let what = "what the trigger hands over".to_owned();
            return Err(WorkflowError::TooLarge { what, size, limit: MAX_TRIGGER_BYTES });
        }
        self.put_part(&start.owner, &start.run, "start", start)
    }

    pub(super) fn put_attempt(&self, owner: &Owner, run: &RunId, attempt: &Attempt) -> Result<Vec<Op>, WorkflowError> {
        self.put_part(owner, run, &attempt.name(), attempt)
    }

    pub(super) fn put_end(&self, owner: &Owner, run: &RunId, end: &RunEnd) -> Result<Vec<Op>, WorkflowError> {
        self.put_part(owner, run, "end", end)
    }

    fn put_part<T: Serialize>(
        &self,
        owner: &Owner,
        run: &RunId,
        name: &str,
        value: &T,
    ) -> Result<Vec<Op>, WorkflowError> {
        let id = format!("{run}/{name}");
        self.put_pieces(owner, "run", &id, &keys::part(owner, run, name), value)
    }

    /// The start of a run, or none where there is no such run.
    pub async fn start_of(&self, owner: &Owner, run: &RunId) -> Result<Option<RunStart>, WorkflowError> {
        let id = format!("{run}/start");
        let start = self.read_pieces::<RunStart>(owner, "run", &id, &keys::part(owner, run, "start")).await?;
        start.map(|start| belongs(start, owner, run)).transpose()
    }

    /// Everything of a run. Read page by page; the whole of it is in memory afterwards.
    pub async fn parts_of(&self, owner: &Owner, run: &RunId) -> Result<Option<RunParts>, WorkflowError> {
        let prefix = keys::parts(owner, run);
        let (mut start, mut attempts, mut end) = (None, Vec::new(), None);
        let mut gathered = Pieces::default();
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.rows.store.scan(&prefix, after.as_deref(), PAGE).await?;
            for (key, row) in &page {
                let segments = parts(key).unwrap_or_default();
                let [_, _, _, name, piece] = segments.as_slice() else {
                    return Err(damaged(run));
                };
                let Some(plain) = gathered.take(self, owner, "run", &format!("{run}/{name}"), piece, row)? else {
                    continue;
                };
                match name.as_str() {
                    "start" => start = Some(belongs(read(&plain, run)?, owner, run)?),
                    "end" => end = Some(read(&plain, run)?),
                    _ => attempts.push(read(&plain, run)?),
                }
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => after = Some(key.clone()),
                _ => break,
            }
        }
        gathered.is_done(run.as_str())?;
        Ok(start.map(|start| RunParts { start, attempts, end }))
    }

    /// An immutable sealed value of any size up to [`MOST_PIECES`] pieces, below `key`.
    pub(super) fn put_pieces<T: Serialize>(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        key: &[u8],
        value: &T,
    ) -> Result<Vec<Op>, WorkflowError> {
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(internal)?);
        let total = plain.len().div_ceil(PIECE_BYTES);
        if total > MOST_PIECES {
            let what = format!("the record {id}");
            return Err(WorkflowError::TooLarge { what, size: plain.len(), limit: MOST_PIECES * PIECE_BYTES });
        }
        let pieces = plain.chunks(PIECE_BYTES).enumerate();
        let sealed = pieces.map(|(number, piece)| {
            let name = format!("{number:02}/{total:02}");
            let place = Place { owner: owner.as_str(), kind, id: &format!("{id}/{name}"), generation: 1 };
            let value = self.rows.vault.seal(&place, piece)?;
            let mut key = key.to_vec();
            key.extend_from_slice(&crate::store::key(&[&name]));
            Ok(Op::Put { key, value, expect: Expect::Absent })
        });
        sealed.collect()
    }

    pub(super) async fn read_pieces<T: DeserializeOwned>(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        key: &[u8],
    ) -> Result<Option<T>, WorkflowError> {
        let rows = self.rows.store.scan(key, None, MOST_PIECES).await?;
        let mut gathered = Pieces::default();
        for (key, row) in &rows {
            let piece = super::last_part(key)?;
            if let Some(plain) = gathered.take(self, owner, kind, id, &piece, row)? {
                return Ok(Some(read(&plain, id)?));
            }
        }
        gathered.is_done(id)?;
        Ok(None)
    }
}

/// Pieces of the part that is being read.
#[derive(Default)]
struct Pieces {
    plain: Zeroizing<Vec<u8>>,
    /// How many are there already, of how many.
    read: usize,
    total: usize,
    id: String,
}

impl Pieces {
    /// One piece more; the whole part with its last one.
    fn take(
        &mut self,
        records: &Records,
        owner: &Owner,
        kind: &str,
        id: &str,
        piece: &str,
        row: &Row,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, WorkflowError> {
        let (number, total) = piece.split_once('/').ok_or_else(|| damaged(id))?;
        let (number, total): (usize, usize) =
            (number.parse().map_err(|_| damaged(id))?, total.parse().map_err(|_| damaged(id))?);
        if self.read == 0 {
            (self.total, self.id) = (total, id.to_owned());
        }
        if number != self.read || total != self.total || self.id != id || number >= total {
            return Err(damaged(id));
        }
        let place = Place { owner: owner.as_str(), kind, id: &format!("{id}/{piece}"), generation: row.generation };
        self.plain.extend_from_slice(&records.rows.vault.open_sealed(&place, &row.value)?);
        self.read += 1;
        if self.read < self.total {
            return Ok(None);
        }
        self.read = 0;
        Ok(Some(std::mem::take(&mut self.plain)))
    }

    /// Nothing is left open.
    fn is_done(&self, id: &str) -> Result<(), WorkflowError> {
        if self.read == 0 { Ok(()) } else { Err(damaged(id)) }
    }
}

/// A run's start that names another run is no start of it.
fn belongs(start: RunStart, owner: &Owner, run: &RunId) -> Result<RunStart, WorkflowError> {
    if start.run == *run && start.owner == *owner { Ok(start) } else { Err(damaged(run)) }
}

/// Without serde's sentence, which may quote the value.
fn read<T: DeserializeOwned>(plain: &[u8], id: impl std::fmt::Display) -> Result<T, WorkflowError> {
    serde_json::from_slice(plain).map_err(|error| {
        WorkflowError::Damaged(format!(
            "the record of {id} cannot be read (byte {}): is it of another version?",
            error.column()
        ))
    })
}

fn damaged(id: impl std::fmt::Display) -> WorkflowError {
    WorkflowError::Damaged(format!("the record of {id} is incomplete, and is not used"))
}

fn internal(error: serde_json::Error) -> WorkflowError {
    WorkflowError::Internal(format!("a record cannot be written as JSON ({:?})", error.classify()))
}
