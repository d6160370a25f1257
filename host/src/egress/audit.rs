//! The audit: one line for each request, also for refused ones.
//!
//! [`FileAudit`] writes JSON lines to `<folder>/<day>.jsonl`, append-only, in groups: a request never waits for the
//! disk. The loss window: lines are on disk at most a second after they were written (flush and fsync), and at once
//! when the audit is dropped; a crash of the machine can lose that second. If the disk refuses or the queue is full,
//! lines are dropped rather than requests held, and how many were lost is itself a line: `{"lost":n}`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ids::AccountId;

/// Where the one line per request goes.
pub trait Audit: Send + Sync + 'static {
    fn write(&self, line: AuditLine);
}

/// One request as the audit keeps it: names and numbers; no header, query or body.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AuditLine {
    pub at: crate::time::Time,
    pub owner: crate::caller::Owner,
    pub via: crate::caller::Via,
    pub app: String,
    pub account: Option<AccountId>,
    /// `request`, or the purpose of a token call.
    pub purpose: String,
    pub method: String,
    /// Scheme, host and port.
    pub origin: String,
    /// Without the query.
    pub path: String,
    pub status: Option<u16>,
    /// The code of the error, when nothing came back.
    pub error: Option<String>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration_ms: u64,
    /// Secrets found in the answer and replaced.
    pub scrubbed: u64,
}

/// Lines that wait for the writer.
const QUEUE: usize = 8192;
/// Bytes that wait while the disk refuses.
const MOST_WAITING_BYTES: usize = 8 << 20;
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The audit in files. See the module's header for what can be lost.
pub struct FileAudit {
    /// None only while dropping.
    queue: Option<SyncSender<AuditLine>>,
    writer: Option<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

impl FileAudit {
    /// Writes into `folder`, which is made (0700) when it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let lost = Arc::new(AtomicU64::new(0));
        let (queue, lines) = sync_channel(QUEUE);
        let writer = Writer {
            folder: folder.to_owned(),
            open: None,
            waiting: Vec::new(),
            waiting_lines: 0,
            lost: lost.clone(),
            refused: false,
        };
        // The file of today is opened now, so that a folder that cannot be written is an error at start.
        let mut writer = writer;
        writer.file(&day(crate::time::Time::now()))?;
        let writer = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue: Some(queue), writer: Some(writer), lost })
    }

    /// Lines lost so far and not yet told in a file.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Audit for FileAudit {
    fn write(&self, line: AuditLine) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for FileAudit {
    fn drop(&mut self) {
        self.queue = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit writer ended in a panic; its last lines may be lost");
        }
    }
}

struct Writer {
    folder: PathBuf,
    open: Option<(String, File)>,
    /// Whole lines of one day that are not in the file yet.
    waiting: Vec<u8>,
    waiting_lines: u64,
    lost: Arc<AtomicU64>,
    /// The disk refused last time: said once in the log.
    refused: bool,
}

impl Writer {
    fn run(mut self, lines: &Receiver<AuditLine>) {
        let mut waiting_day = day(crate::time::Time::now());
        let mut unsynced_since: Option<Instant> = None;
        loop {
            let left = unsynced_since.map_or(SYNC_EVERY, |since| SYNC_EVERY.saturating_sub(since.elapsed()));
            let ended = match lines.recv_timeout(left) {
                Ok(line) => {
                    for line in std::iter::once(line).chain(lines.try_iter().take(QUEUE)) {
                        let day = day(line.at);
                        if day != waiting_day {
                            self.write(&waiting_day, true);
                            waiting_day = day;
                        }
                        self.add(&line);
                    }
                    unsynced_since.get_or_insert_with(Instant::now);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            let due = unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_EVERY);
            if due || ended {
                if self.lost.load(Ordering::Relaxed) > 0 {
                    self.waiting.extend_from_slice(
                        format!("{{\"lost\":{}}}\n", self.lost.swap(0, Ordering::Relaxed)).as_bytes(),
                    );
                }
                self.write(&waiting_day, true);
                unsynced_since = (!self.waiting.is_empty()).then(Instant::now);
            } else if self.waiting.len() > 1 << 16 && !self.refused {
                self.write(&waiting_day, false);
            }
            if ended {
                return;
            }
        }
    }

    fn add(&mut self, line: &AuditLine) {
        let before = self.waiting.len();
        if before >= MOST_WAITING_BYTES || serde_json::to_writer(&mut self.waiting, line).is_err() {
            self.waiting.truncate(before);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.push(b'\n');
        self.waiting_lines += 1;
    }

    /// Writes what waits; keeps it when the disk refuses.
    fn write(&mut self, day: &str, sync: bool) {
        let waiting = std::mem::take(&mut self.waiting);
        let outcome = self.file(day).and_then(|file| {
            // One call for whole lines: with O_APPEND a second process cannot cut them.
            file.write_all(&waiting)?;
            if sync { file.sync_data() } else { Ok(()) }
        });
        match outcome {
            Ok(()) => {
                self.waiting_lines = 0;
                self.refused = false;
            }
            Err(error) => {
                if !self.refused {
                    tracing::error!(%error, lines = self.waiting_lines, "the audit cannot be written");
                }
                self.refused = true;
                // What a failed call wrote may stand twice: better than not at all. The torn line is ended at reopen.
                self.open = None;
                self.waiting = waiting;
            }
        }
    }

    fn file(&mut self, day: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != day) {
            let file = open_day(&self.folder.join(format!("{day}.jsonl")))?;
            self.open = Some((day.to_owned(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::Error::other("no audit file")),
        }
    }
}

/// `2026-11-23`, UTC.
fn day(at: crate::time::Time) -> String {
    let text = at.to_string();
    match text.get(..10) {
        Some(day) if text.contains('T') => day.to_owned(),
        _ => "undated".to_owned(),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Opens for appending; a line that a crash cut short is ended first.
fn open_day(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The audit in memory, for tests and the demo.
#[derive(Debug, Default)]
pub struct MemoryAudit(Mutex<Vec<AuditLine>>);

impl MemoryAudit {
    pub fn lines(&self) -> Vec<AuditLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Audit for MemoryAudit {
    fn write(&self, line: AuditLine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Owner, Via};
    use crate::time::Time;

    fn line(at: i64) -> AuditLine {
        AuditLine {
            at: Time(at),
            owner: Owner::local(),
            via: Via::Cli,
            app: "slack".into(),
            account: Some(AccountId::new()),
            purpose: "request".into(),
            method: "GET".into(),
            origin: "https://slack.com".into(),
            path: "/api/\"x\"\n".into(),
            status: Some(200),
            error: None,
            request_bytes: 0,
            response_bytes: 2,
            duration_ms: 1,
            scrubbed: 0,
        }
    }

    fn read(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_go_to_the_file_of_their_day_and_are_there_after_drop() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("audit");
        let audit = FileAudit::open(&folder).unwrap();
        for n in 0..1000 {
            audit.write(line(if n < 600 { 0 } else { 86_400_000 }));
        }
        drop(audit);
        assert_eq!(read(&folder.join("1970-01-01.jsonl")).len(), 600);
        let second = read(&folder.join("1970-01-02.jsonl"));
        assert_eq!(second.len(), 400);
        assert_eq!(second[0]["path"], "/api/\"x\"\n");
        assert_eq!(second[0]["at"], "1970-01-02T00:00:00Z");
    }

    #[test]
    fn a_torn_last_line_is_ended_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1970-01-01.jsonl");
        std::fs::write(&path, "{\"whole\":1}\n{\"to").unwrap();
        let audit = FileAudit::open(folder.path()).unwrap();
        audit.write(line(0));
        drop(audit);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"whole\":1}\n{\"to\n{\"at\":"), "{text}");
        assert!(text.ends_with("}\n"));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("audit");
        drop(FileAudit::open(&folder).unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_at_start() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(FileAudit::open(&folder.path().join("file/audit")).is_err());
    }

    #[test]
    fn a_full_queue_loses_lines_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, lines) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            folder: folder.path().to_owned(),
            open: None,
            waiting: Vec::new(),
            waiting_lines: 0,
            lost: lost.clone(),
            refused: false,
        };
        writer.waiting.clear();
        let audit = FileAudit { queue: Some(queue), writer: None, lost };
        for _ in 0..3 {
            audit.write(line(0));
        }
        assert_eq!(audit.lost(), 2);
        drop(audit);
        writer.run(&lines);
        let all = read(&folder.path().join("1970-01-01.jsonl"));
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["lost"], 2);
    }
}
