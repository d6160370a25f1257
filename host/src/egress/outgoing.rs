//! Request bodies on their way out: counted, bounded, and true to the length they announced.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};

use super::{Body, EgressError};

/// What became of a body, seen from outside while it is sent.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub sent: AtomicU64,
    ended: AtomicU8,
}

const TOO_LARGE: u8 = 1;
const SOURCE_FAILED: u8 = 2;
const OTHER_LENGTH: u8 = 3;

impl Progress {
    /// Why the body ended early, if it did.
    pub(super) fn error(&self, limit: u64) -> Option<EgressError> {
        match self.ended.load(Ordering::Acquire) {
            TOO_LARGE => Some(EgressError::TooLarge { what: "request body", limit }),
            SOURCE_FAILED => Some(EgressError::Invalid {
                message: "the request body could not be read to its end".to_owned(),
                fix: None,
            }),
            OTHER_LENGTH => Some(EgressError::invalid(
                "the request body is not as long as it was announced",
                "announce no length, or the true one",
            )),
            _ => None,
        }
    }
}

/// Refuses what is known to be too large before anything is dialled.
pub(super) fn check_length(body: &Body, limit: u64) -> Result<(), EgressError> {
    let length = match body {
        Body::Empty => 0,
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::Stream { length, .. } => length.unwrap_or_default(),
    };
    if length > limit { Err(EgressError::TooLarge { what: "request body", limit }) } else { Ok(()) }
}

/// The body as the client takes it.
pub(super) fn client_body(body: Body, limit: u64, progress: &Arc<Progress>) -> Option<reqwest::Body> {
    match body {
        Body::Empty => None,
        Body::Bytes(bytes) => {
            progress.sent.store(bytes.len() as u64, Ordering::Relaxed);
            Some(bytes.into())
        }
        Body::Stream { stream, length } => {
            let progress = progress.clone();
            Some(reqwest::Body::wrap(Upload { stream: Mutex::new(stream), length, limit, progress, done: false }))
        }
    }
}

struct Upload {
    /// The client wants `Sync`; the lock is only ever taken through `&mut`.
    stream: Mutex<BoxStream<'static, io::Result<Bytes>>>,
    length: Option<u64>,
    limit: u64,
    progress: Arc<Progress>,
    done: bool,
}

impl Upload {
    fn end(&mut self, why: u8) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.done = true;
        self.progress.ended.store(why, Ordering::Release);
        Poll::Ready(Some(Err(io::Error::other("the request body ended early"))))
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let stream = this.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let sent = this.progress.sent.load(Ordering::Relaxed);
        match ready!(stream.poll_next_unpin(cx)) {
            Some(Ok(chunk)) => {
                let sent = sent + chunk.len() as u64;
                if sent > this.limit {
                    return this.end(TOO_LARGE);
                }
                if this.length.is_some_and(|length| sent > length) {
                    return this.end(OTHER_LENGTH);
                }
                this.progress.sent.store(sent, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(_)) => this.end(SOURCE_FAILED),
            None if this.length.is_some_and(|length| sent < length) => this.end(OTHER_LENGTH),
            None => {
                this.done = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.progress.sent.load(Ordering::Relaxed))),
            None => SizeHint::default(),
        }
    }
}
