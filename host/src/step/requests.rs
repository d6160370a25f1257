//! Requests of a run: started at once, waited for in `poll`, ended with the run.
//!
//! A request is a task of its own. It counts as in flight until its answer's body is read to the end or dropped, so
//! the host never keeps more connections open for a guest than [`super::RunLimits::in_flight`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

use super::grants::{Grants, Through};
use super::outcome::RequestSummary;
use super::secrets::Secrets;
use super::{Road, RunLimits};
use crate::caller::Caller;
use crate::egress::{Answer, AnswerBody, Body, EgressError, Grant, Request, TokensError};

/// Why the host refused or failed something; the WIT error of every version of the contract is made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    pub message: String,
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    Invalid,
    Denied,
    NotBound,
    NeedsReconnect,
    Unreachable,
    Timeout,
    Limit,
    Protocol,
    Internal,
}

impl RefusalCode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotBound => "not-bound",
            Self::NeedsReconnect => "needs-reconnect",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

impl Refusal {
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: None }
    }

    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl From<EgressError> for Refusal {
    fn from(error: EgressError) -> Self {
        let message = match &error {
            EgressError::Denied { rule, .. } => format!("{error} (rule `{rule}`)"),
            _ => error.to_string(),
        };
        let (code, fix) = match error {
            EgressError::Invalid { fix, .. } => (RefusalCode::Invalid, fix),
            EgressError::Denied { fix, .. } => (RefusalCode::Denied, fix),
            EgressError::Unreachable { .. } | EgressError::Interrupted { .. } => (RefusalCode::Unreachable, None),
            EgressError::Timeout { .. } => (RefusalCode::Timeout, None),
            EgressError::TooLarge { .. } => (RefusalCode::Limit, None),
            EgressError::Protocol { .. } => (RefusalCode::Protocol, None),
            // Its sentence is for the operator's log.
            EgressError::Internal(detail) => {
                tracing::error!(%detail, "a request of a step failed inside the host");
                return Self::new(RefusalCode::Internal, "the host failed; its log says why");
            }
            EgressError::Tokens(error) => match error {
                TokensError::NeedsReconnect { name, .. } => {
                    (RefusalCode::NeedsReconnect, Some(crate::egress::reconnect(&name)))
                }
                TokensError::NotFound => {
                    (RefusalCode::NotBound, Some("the account is gone: bind another with `--bind`".to_owned()))
                }
                TokensError::Disabled { name } => {
                    (RefusalCode::Denied, Some(format!("run `deputy account enable {name}`")))
                }
                TokensError::Client { app, .. } => {
                    (RefusalCode::Denied, Some(format!("run `deputy client set {app}` with the right id and secret")))
                }
                TokensError::NotRenewable { name } => {
                    (RefusalCode::NeedsReconnect, Some(crate::egress::reconnect(&name)))
                }
                TokensError::Transient { .. } => (RefusalCode::Unreachable, Some("try again later".to_owned())),
                TokensError::Internal(detail) => {
                    tracing::error!(%detail, "the tokens of a step's account failed inside the host");
                    return Self::new(RefusalCode::Internal, "the host failed; its log says why");
                }
            },
        };
        Self { code, message, fix }
    }
}

/// What a guest asks for, already lifted from its memory.
pub struct Ask {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub timeout_ms: Option<u32>,
    pub rule_set: Option<String>,
}

/// All requests of one run.
pub struct Requests {
    road: Arc<dyn Road>,
    caller: Caller,
    limits: RunLimits,
    grants: Grants,
    /// Overwritten in summaries.
    secrets: Secrets,
    /// For the log, not written yet.
    warnings: Vec<String>,
    /// The prop and the place of each marker that was told to be worth nothing there.
    told: BTreeSet<(String, String)>,
    started: usize,
    in_flight: Arc<Semaphore>,
    /// In KiB.
    bodies: Arc<Semaphore>,
    /// Dropped with the run: what is still on its way ends.
    tasks: JoinSet<()>,
    summaries: Arc<Mutex<Vec<RequestSummary>>>,
}

impl Requests {
    pub fn new(road: Arc<dyn Road>, caller: Caller, limits: RunLimits, grants: Grants, secrets: Secrets) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        let bodies = Arc::new(Semaphore::new(limits.body_bytes_in_flight / 1024));
        Self {
            road,
            caller,
            limits,
            grants,
            secrets,
            warnings: Vec::new(),
            told: BTreeSet::new(),
            started: 0,
            in_flight,
            bodies,
            tasks: JoinSet::new(),
            summaries: Arc::default(),
        }
    }

    /// What the run may use.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Sentences for the run's log, each given once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    pub fn summaries(&self) -> Vec<RequestSummary> {
        // A panic while the lock is held cannot leave half a summary.
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts one and returns at once.
    pub fn start(&mut self, through: Through<'_>, mut ask: Ask) -> Result<Pending, Refusal> {
        if self.started >= self.limits.requests {
            return Err(Refusal::new(
                RefusalCode::Limit,
                format!("a run may send {} requests, and this one has", self.limits.requests),
            )
            .fix("split the work over several runs"));
        }
        let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
            return Err(Refusal::new(
                RefusalCode::Limit,
                format!("{} requests are on their way or unread", self.limits.in_flight),
            )
            .fix("read or drop an answer before the next request"));
        };
        let body_kib = u32::try_from(ask.body.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(body_permit) = self.bodies.clone().try_acquire_many_owned(body_kib) else {
            return Err(Refusal::new(
                RefusalCode::Limit,
                format!("the bodies on their way have more than {} bytes together", self.limits.body_bytes_in_flight),
            )
            .fix("wait for an answer before the next large request"));
        };
        let timeout = match ask.timeout_ms {
            Some(ms) => Duration::from_millis(ms.into()).min(self.limits.request_timeout),
            None => self.limits.request_timeout,
        };
        // Behind the limits: reading a request costs the host time.
        let prop = self.grants.choose(through, &mut ask)?;
        self.warn(&ask);
        let body_bytes = ask.body.len();
        let request = request(ask, timeout)?;
        let grant = match &prop {
            Some(prop) => Some(self.grant(prop, body_bytes)?),
            None => None,
        };
        // Where only an account leads, the refusal of a plain request says which.
        let instead = if grant.is_none() { self.grants.instead(through, &request.url) } else { None };
        self.started += 1;
        let summary = RequestSummary {
            account: prop
                .as_ref()
                .and_then(|prop| self.grants.bound(prop))
                .map(|bound| bound.name.clone())
                .unwrap_or_default(),
            method: self.secrets.text(request.method.to_string()),
            origin: self.secrets.text(self.grants.origin(prop.as_deref(), &request.url)),
            path: path_of(&request.url, &self.secrets),
            status: None,
            error: Some("abandoned".to_owned()),
            duration_ms: 0,
            renewed: false,
        };
        let at = {
            let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
            summaries.push(summary);
            summaries.len() - 1
        };
        // Those that are done need not be kept until the end of the run.
        while self.tasks.try_join_next().is_some() {}
        let (sender, receiver) = oneshot::channel();
        let road = self.road.clone();
        let caller = self.caller.clone();
        let summaries = self.summaries.clone();
        let idle = self.limits.idle_timeout;
        let task = self.tasks.spawn(async move {
            let start = Instant::now();
            let sent = match &grant {
                Some(grant) => road.send(grant, request),
                None => road.send_plain(&caller, request),
            };
            let result = match tokio::time::timeout(timeout, sent).await {
                Ok(result) => result.map_err(|error| refused(error, instead)),
                Err(_) => {
                    Err(Refusal::new(RefusalCode::Timeout, format!("no answer within {} ms", timeout.as_millis())))
                }
            };
            drop(body_permit);
            if let Some(summary) = summaries.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                summary.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                summary.status = result.as_ref().ok().map(|answer| answer.status.as_u16());
                summary.error = result.as_ref().err().map(|refusal| refusal.code.as_str().to_owned());
                summary.renewed = result.as_ref().is_ok_and(|answer| answer.renewed);
            }
            // The guest may have dropped its handle; then nobody wants the answer.
            let _ = sender.send(result.map(|answer| Response::new(answer, permit, idle)));
        });
        Ok(Pending { state: State::Waiting(receiver), task })
    }

    /// What the egress needs to know, counted against what the step declares.
    fn grant(&mut self, prop: &str, body_bytes: usize) -> Result<Grant, Refusal> {
        self.grants.spend(prop, body_bytes)?;
        let not_bound = || Refusal::new(RefusalCode::NotBound, format!("no account is bound to prop `{prop}`"));
        let bound = self.grants.bound(prop).ok_or_else(not_bound)?;
        let narrow = self.grants.narrow(prop).ok_or_else(not_bound)?;
        Ok(Grant { caller: self.caller.clone(), account: bound.account.clone(), narrow: Some(narrow) })
    }

    fn warn(&mut self, ask: &Ask) {
        /// A guest chooses the names of headers, and so how many places there are.
        const MAX_PLACES: usize = 64;
        for (place, sentence) in self.grants.strays(ask) {
            if self.told.len() < MAX_PLACES && self.told.insert(place) {
                self.warnings.push(sentence);
            }
        }
    }
}

/// The refusal of the road; `instead`: what an author may do where only an account leads.
fn refused(error: EgressError, instead: Option<String>) -> Refusal {
    let plain = matches!(error, EgressError::Denied { rule: "plain-host", .. });
    let refusal = Refusal::from(error);
    match instead {
        Some(fix) if plain => refusal.fix(fix),
        _ => refusal,
    }
}

/// An answer on its way.
pub struct Pending {
    state: State,
    task: AbortHandle,
}

enum State {
    Waiting(oneshot::Receiver<Result<Response, Refusal>>),
    Ready(Box<Result<Response, Refusal>>),
    Taken,
}

impl Pending {
    /// None while the answer is on its way.
    pub fn take(&mut self) -> Option<Result<Response, Refusal>> {
        if let State::Waiting(receiver) = &mut self.state {
            match receiver.try_recv() {
                Ok(answer) => self.state = State::Ready(Box::new(answer)),
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Err(oneshot::error::TryRecvError::Closed) => self.state = State::Ready(Box::new(Err(lost()))),
            }
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(answer) => Some(*answer),
            State::Waiting(_) | State::Taken => {
                Some(Err(Refusal::new(RefusalCode::Invalid, "the answer was already taken: each is given once")))
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // A dropped handle ends its request; one that is done does not mind.
        self.task.abort();
    }
}

#[async_trait]
impl Pollable for Pending {
    async fn ready(&mut self) {
        if let State::Waiting(receiver) = &mut self.state {
            let answer = receiver.await.unwrap_or_else(|_| Err(lost()));
            self.state = State::Ready(Box::new(answer));
        }
    }
}

fn lost() -> Refusal {
    Refusal::new(RefusalCode::Internal, "the host lost the request")
}

/// An answer whose body is given once.
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    body: Option<BodyStream>,
}

impl Response {
    fn new(answer: Answer, permit: OwnedSemaphorePermit, idle: Duration) -> Self {
        let body = BodyStream { body: Some(answer.body), chunk: Bytes::new(), error: None, idle, permit: Some(permit) };
        Self { status: answer.status.as_u16(), headers: answer.headers, body: Some(body) }
    }

    pub fn body(&mut self) -> Result<BodyStream, Refusal> {
        self.body
            .take()
            .ok_or_else(|| Refusal::new(RefusalCode::Invalid, "the body was already taken: it is given once"))
    }
}

/// A body as a `wasi:io` stream. It reads one piece ahead and no more, so a slow guest slows the provider down.
pub struct BodyStream {
    /// None at the end.
    body: Option<AnswerBody>,
    chunk: Bytes,
    error: Option<String>,
    idle: Duration,
    /// Given back at the end of the body, or when the guest drops the stream.
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyStream {
    /// The guest wants to wait less than the host would.
    pub fn at_most_idle(&mut self, idle: Duration) {
        self.idle = self.idle.min(idle);
    }

    fn end(&mut self) {
        self.body = None;
        self.permit = None;
    }
}

#[async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        while self.chunk.is_empty() {
            let Some(body) = &mut self.body else { return };
            match tokio::time::timeout(self.idle, body.next()).await {
                Ok(Some(Ok(chunk))) => self.chunk = chunk,
                Ok(None) => self.end(),
                Ok(Some(Err(error))) => {
                    self.error = Some(Refusal::from(error).message);
                    self.end();
                }
                Err(_) => {
                    self.error = Some(format!("the body stood still for {} ms", self.idle.as_millis()));
                    self.end();
                }
            }
        }
    }
}

#[async_trait]
impl InputStream for BodyStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if !self.chunk.is_empty() {
            // As wasmtime's own streams: the host allocates what the guest asks for.
            const MAX_READ_BYTES: usize = 64 << 10;
            let size = size.min(self.chunk.len()).min(MAX_READ_BYTES);
            return Ok(self.chunk.split_to(size));
        }
        if let Some(message) = self.error.take() {
            return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(message)));
        }
        if self.body.is_none() {
            return Err(StreamError::Closed);
        }
        Ok(Bytes::new())
    }
}

/// The request as the egress takes it. The egress checks it against reach and rules; here only its form.
fn request(ask: Ask, timeout: Duration) -> Result<Request, Refusal> {
    let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message);
    let method = Method::from_bytes(ask.method.as_bytes())
        .map_err(|_| invalid(format!("`{}` is no HTTP method", super::props::short(&ask.method))))?;
    let mut headers = HeaderMap::new();
    for (name, value) in ask.headers {
        let shown = super::props::short(&name);
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("`{shown}` is no header name")))?;
        let value = HeaderValue::from_bytes(&value)
            .map_err(|_| invalid(format!("the value of header `{shown}` holds a control byte")))?;
        headers.append(name, value);
    }
    let body = if ask.body.is_empty() { Body::Empty } else { Body::Bytes(ask.body.into()) };
    let mut request = Request::new(method, ask.url);
    request.headers = headers;
    request.body = body;
    request.rule_set = ask.rule_set;
    request.timeout = Some(timeout);
    Ok(request)
}

/// The path of a URL for the summary: a query may hold what nobody should log.
fn path_of(url: &str, secrets: &Secrets) -> String {
    const MAX_CHARS: usize = 256;
    let path = match url::Url::parse(url) {
        Ok(url) => url.path().to_owned(),
        Err(_) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    secrets.text(path).chars().take(MAX_CHARS).filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_no_query() {
        let path_of = |url: &str| path_of(url, &Secrets::default());
        assert_eq!(path_of("/items?token=secret#x"), "/items");
        assert_eq!(path_of("https://user:pass@example.com/a/b?c=d"), "/a/b");
        assert_eq!(path_of("\u{1b}[2J?x"), "[2J");
    }

    #[test]
    fn every_refusal_of_the_road_keeps_its_kind_and_its_fix() {
        let denied = EgressError::Denied { rule: "reach", message: "no".to_owned(), fix: Some("ask".to_owned()) };
        let refusal = Refusal::from(denied);
        assert_eq!((refusal.code, refusal.fix.as_deref()), (RefusalCode::Denied, Some("ask")));

        let gone = TokensError::NeedsReconnect { name: "slack/work".to_owned(), reason: "revoked".to_owned() };
        let refusal = Refusal::from(EgressError::Tokens(gone));
        assert_eq!(refusal.code, RefusalCode::NeedsReconnect);
        assert!(refusal.fix.unwrap().contains("deputy account reconnect slack/work"));

        let refusal = Refusal::from(EgressError::Internal("the disk says /secret/place".to_owned()));
        assert!(!refusal.message.contains("place"), "a guest learns nothing of the host");
    }

    #[test]
    fn malformed_requests_are_refused_by_name() {
        let ask = |method: &str, name: &str, value: &[u8]| Ask {
            method: method.to_owned(),
            url: "/".to_owned(),
            headers: vec![(name.to_owned(), value.to_vec())],
            body: Vec::new(),
            timeout_ms: None,
            rule_set: None,
        };
        let refusal = |ask| request(ask, Duration::from_secs(1)).unwrap_err();
        assert!(refusal(ask("G ET", "x", b"")).message.contains("`G ET`"));
        assert!(refusal(ask("GET", "a b", b"")).message.contains("`a b`"));
        assert!(refusal(ask("GET", "x", b"1\r\nx-evil: 2")).message.contains("`x`"));
    }
}
