//! The log of a run: bounded in lines, in the length of each, and in all.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::RunLimits;
use super::secrets::Secrets;
use crate::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Time,
    pub level: LogLevel,
    pub message: String,
}

/// Keeps the lines and passes them on. A handle: all of one run write into the same log.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    lines: Vec<LogLine>,
    bytes: usize,
    /// The last line says that the rest is missing.
    ended: bool,
    max_lines: usize,
    max_line_bytes: usize,
    max_bytes: usize,
    live: Option<UnboundedSender<LogLine>>,
    /// Overwritten in every line.
    secrets: Secrets,
}

impl Log {
    pub fn new(limits: &RunLimits, live: Option<UnboundedSender<LogLine>>, secrets: Secrets) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            lines: Vec::new(),
            bytes: 0,
            ended: false,
            max_lines: limits.log_lines,
            max_line_bytes: limits.log_line_bytes,
            max_bytes: limits.log_bytes,
            live,
            secrets,
        })))
    }

    /// One line more, or, once, the line that says why there are no more.
    pub fn write(&self, at: Time, level: LogLevel, message: String) {
        self.inner().write(at, level, message);
    }

    /// All lines; the log is empty afterwards.
    pub fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.inner().lines)
    }

    /// Does this hold for any line?
    #[cfg(any(test, feature = "demo"))]
    pub fn any(&self, found: impl Fn(&LogLine) -> bool) -> bool {
        self.inner().lines.iter().any(found)
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Lines> {
        // A panic under the lock leaves at most a line that was not kept.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, at: Time, level: LogLevel, message: String) {
        if self.ended {
            return;
        }
        // Before anything is cut off: half a secret would not be recognised.
        let mut message = self.secrets.text(message);
        if message.len() > self.max_line_bytes {
            let kept = message.floor_char_boundary(self.max_line_bytes);
            let missing = message.len() - kept;
            message.truncate(kept);
            message.push_str(&format!("… ({missing} more bytes)"));
        }
        self.bytes = self.bytes.saturating_add(message.len());
        if self.lines.len() == self.max_lines || self.bytes > self.max_bytes {
            self.ended = true;
            let (lines, bytes) = (self.max_lines, self.max_bytes);
            let message = format!("the log ends here: a run may write {lines} lines and {bytes} bytes");
            return self.push(LogLine { at, level: LogLevel::Warn, message });
        }
        self.push(LogLine { at, level, message });
    }

    fn push(&mut self, line: LogLine) {
        if let Some(live) = &self.live
            && live.send(line.clone()).is_err()
        {
            // Whoever listened went away; the outcome still has every line.
            self.live = None;
        }
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_and_long_logs_say_what_is_missing() {
        let limits = RunLimits { log_lines: 2, log_line_bytes: 5, ..RunLimits::default() };
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let log = Log::new(&limits, Some(sender), Secrets::default());
        for message in ["äää", "fits!", "gone", "gone too"] {
            log.write(Time(0), LogLevel::Info, message.to_owned());
        }
        let lines = log.take();
        let messages: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(
            messages,
            ["ää… (2 more bytes)", "fits!", "the log ends here: a run may write 2 lines and 4194304 bytes"]
        );
        for line in &lines {
            assert_eq!(receiver.try_recv().as_ref(), Ok(line));
        }
    }

    #[test]
    fn many_long_lines_are_too_much_together() {
        let limits = RunLimits { log_bytes: 10, ..RunLimits::default() };
        let log = Log::new(&limits, None, Secrets::default());
        for _ in 0..4 {
            log.write(Time(0), LogLevel::Info, "12345".to_owned());
        }
        let lines = log.take();
        assert_eq!(lines.len(), 3);
        assert!(lines[2].message.contains("10 bytes"), "{lines:?}");
    }
}
