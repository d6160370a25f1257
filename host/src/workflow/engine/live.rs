//! What happens in this process, as it happens. For people who watch; whoever falls behind reads the records.

use serde::Serialize;
use tokio::sync::broadcast;

use crate::ids::RunId;
use crate::step::LogLine;
use crate::workflow::records::{Attempt, RunState};

/// Events that a slow listener may be behind.
const BACKLOG: usize = 1024;

#[derive(Debug, Clone, Serialize)]
pub struct Event {
    pub run: RunId,
    #[serde(flatten)]
    pub what: Happened,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// An attempt begins.
    Begun {
        step: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        attempt: u32,
    },
    Log {
        step: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        line: LogLine,
    },
    /// An attempt has ended, and is stored.
    Left(Box<Attempt>),
    /// The run has ended.
    Ended { state: RunState },
}

#[derive(Clone)]
pub struct Live {
    sender: broadcast::Sender<Event>,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }
}

impl Live {
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub fn tell(&self, run: &RunId, what: impl FnOnce() -> Happened) {
        if self.is_heard() {
            // The last listener may have gone just now.
            let _ = self.sender.send(Event { run: run.clone(), what: what() });
        }
    }
}
