//! Standard output and error of a guest: bounded, and never a file of the host.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::step::LogLevel;
use crate::step::log::Log;
use crate::time::Time;

/// What a guest may write at once; it is copied before it is taken.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// Takes what a guest writes, at once and without waiting.
pub(super) trait Taker: Send + Sync + 'static {
    fn take(&self, bytes: &[u8]) -> Result<(), TooMuch>;
}

/// A command wrote more than an output may have.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("standard output has more than {limit} bytes")]
pub(in crate::step) struct TooMuch {
    pub limit: usize,
}

/// All that a command writes to standard output.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Mutex<Vec<u8>>,
    limit: usize,
}

impl Whole {
    pub fn new(limit: usize) -> Self {
        Self { bytes: Mutex::default(), limit }
    }

    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.bytes))
    }
}

impl Taker for Whole {
    fn take(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        let mut all = lock(&self.bytes);
        if bytes.len() > self.limit - all.len() {
            return Err(TooMuch { limit: self.limit });
        }
        all.extend_from_slice(bytes);
        Ok(())
    }
}

/// Text that becomes log lines.
#[derive(Debug)]
pub(super) struct Lines {
    log: Log,
    level: LogLevel,
    /// Of a line that has not ended: what comes beyond is dropped, as the log would.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Not ended yet.
    line: Vec<u8>,
    /// The last one that says something.
    last: Option<String>,
}

impl Lines {
    pub fn new(log: Log, level: LogLevel, limit: usize) -> Self {
        Self { log, level, limit, state: Mutex::default() }
    }

    /// The last line that said something.
    pub fn last(&self) -> Option<String> {
        lock(&self.state).last.clone()
    }

    /// No more comes: what has no line end is a line too.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        if !state.line.is_empty() {
            self.line(&mut state);
        }
    }

    fn line(&self, state: &mut State) {
        let line = std::mem::take(&mut state.line);
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        if !line.trim().is_empty() {
            state.last = Some(line.clone());
        }
        self.log.write(Time::now(), self.level, line);
    }
}

impl Taker for Lines {
    fn take(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        let mut state = lock(&self.state);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = self.limit.saturating_sub(state.line.len()).min(text.len());
            state.line.extend_from_slice(&text[..room]);
            if ended {
                self.line(&mut state);
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is done under these locks that could leave something half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of the guest into a taker. All handles of one stream share it.
pub(super) fn stream<T: Taker>(taker: Arc<T>) -> impl StdoutStream + 'static {
    Stream(taker)
}

struct Stream<T>(Arc<T>);

impl<T: Taker> IsTerminal for Stream<T> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<T: Taker> StdoutStream for Stream<T> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Stream(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream(self.0.clone()))
    }
}

impl<T: Taker> OutputStream for Stream<T> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // A guest that writes on and on would not look at an error: it ends here.
        self.0.take(&bytes).map_err(|error| StreamError::Trap(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[async_trait]
impl<T: Taker> Pollable for Stream<T> {
    async fn ready(&mut self) {}
}

impl<T: Taker> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.take(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::RunLimits;
    use crate::step::secrets::Secrets;

    #[test]
    fn text_becomes_lines_however_it_is_cut() {
        let log = Log::new(&RunLimits::default(), None, Secrets::default());
        let lines = Lines::new(log.clone(), LogLevel::Warn, 10);
        for piece in ["one\r\ntw", "o", "\n\nlonger than ten", " bytes\n", "end"] {
            lines.take(piece.as_bytes()).unwrap();
        }
        assert_eq!(lines.last().as_deref(), Some("longer tha"), "what has not ended is no line yet");
        lines.end();
        lines.end();
        let written: Vec<_> = log.take().into_iter().map(|line| line.message).collect();
        assert_eq!(written, ["one", "two", "", "longer tha", "end"]);
        assert_eq!(lines.last().as_deref(), Some("end"));
    }

    #[test]
    fn output_ends_at_its_limit() {
        let whole = Whole::new(5);
        assert!(Taker::take(&whole, b"12345").is_ok());
        assert_eq!(Taker::take(&whole, b"6").unwrap_err().limit, 5);
        assert_eq!(whole.take(), b"12345");
    }
}
