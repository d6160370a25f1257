//! Questions to the process that has the store: runs of workflows can be looked at and cancelled while it works.
//!
//! It listens at `control.sock` in the data folder, which is its user's alone; the peer's user is checked as well. One
//! question a connection: JSON until the writing side is closed, then the answer until the end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{Caller, Deputy, Error, RunView, WorkflowRuns};
use crate::workflow::expression::TriggerFacts;
use crate::workflow::records::RunHead;
use crate::workflow::records::part::{Attempt, RunEnd};

const SOCKET: &str = "control.sock";
/// Of a question, in bytes: names and ids.
const MAX_QUESTION: u64 = 4 << 10;
/// Of an answer: the largest record of a run, and room.
const MAX_ANSWER: u64 = 256 << 20;
/// For one question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Question {
    Runs { list: WorkflowRuns },
    Run { run: String },
    Cancel { what: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Value),
    Error { code: String, message: String, fix: Option<String> },
}

/// A run on its way: its parts side by side.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunParts {
    run: RunHead,
    input: TriggerFacts,
    attempts: Vec<Attempt>,
    output: Option<Value>,
    respond: Option<Value>,
    end: Option<RunEnd>,
}

impl From<RunView> for RunParts {
    fn from(view: RunView) -> Self {
        let RunView { run, input, attempts, output, respond, end } = view;
        Self { run, input, attempts, output, respond, end }
    }
}

impl From<RunParts> for RunView {
    fn from(parts: RunParts) -> Self {
        let RunParts { run, input, attempts, output, respond, end } = parts;
        Self { run, input, attempts, output, respond, end }
    }
}

/// Another process has the store.
pub(super) fn is_elsewhere(error: &Error) -> bool {
    error.code == "store_in_use"
}

/// Asks the process that has the store. Where it does not answer, `unanswered` says who it is.
pub(super) async fn ask<T: DeserializeOwned>(data: &Path, question: &Question, unanswered: Error) -> Result<T, Error> {
    let exchange = async {
        let mut stream = UnixStream::connect(data.join(SOCKET)).await?;
        stream.write_all(&serde_json::to_vec(question)?).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(serde_json::from_slice::<Answer>(&answer)?)
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(Answer::Ok(value))) => serde_json::from_value(value)
            .map_err(|error| Error::new("control_failed", format!("the answer of the process is unreadable: {error}"))),
        Ok(Ok(Answer::Error { code, message, fix })) => Err(Error { fix, ..Error::new(code, message) }),
        // A command that only holds the store for a moment does not listen.
        Ok(Err(_)) | Err(_) => Err(unanswered),
    }
}

impl Deputy {
    /// Answers other processes for as long as it is polled; never ends. The store must be open.
    pub async fn answer_others(&self) {
        let path = self.config.data.join(SOCKET);
        match listen(&path) {
            Ok(listener) => self.answer_at(&listener).await,
            Err(error) => {
                tracing::warn!("other commands cannot ask this process: {}: {error}", path.display());
                std::future::pending().await
            }
        }
    }

    async fn answer_at(&self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match tokio::time::timeout(PATIENCE, self.answer_one(stream)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!("a question was not answered: {error}"),
                    Err(_) => tracing::debug!("a question took too long"),
                },
                Err(error) => {
                    tracing::warn!("a question cannot be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer_one(&self, mut stream: UnixStream) -> std::io::Result<()> {
        if stream.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
            return Err(std::io::Error::other("it is another user's"));
        }
        let mut text = Vec::new();
        (&mut stream).take(MAX_QUESTION).read_to_end(&mut text).await?;
        let answer = match serde_json::from_slice::<Question>(&text) {
            Ok(question) => self.answer(question).await,
            Err(error) => Err(Error::new("control_failed", format!("the question is unreadable: {error}"))),
        };
        let answer = match answer {
            Ok(value) => Answer::Ok(value),
            Err(Error { code, message, fix, .. }) => Answer::Error { code: code.into_owned(), message, fix },
        };
        stream.write_all(&serde_json::to_vec(&answer)?).await?;
        stream.shutdown().await
    }

    async fn answer(&self, question: Question) -> Result<Value, Error> {
        // Who reaches the socket is the user whose store it is.
        let caller = Caller::local();
        let written = match question {
            Question::Runs { list } => serde_json::to_value(self.runs_here(&caller, list).await?),
            Question::Run { run } => serde_json::to_value(RunParts::from(self.run_here(&caller, &run).await?)),
            Question::Cancel { what } => serde_json::to_value(self.cancel_here(&caller, &what).await?),
        };
        written.map_err(|error| Error::new("control_failed", format!("the answer cannot be written: {error}")))
    }
}

/// In the place of one that a process left behind: whoever has the store is the only one to listen.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
