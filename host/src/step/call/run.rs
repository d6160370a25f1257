//! Drives a call: attempts, waits, pages. The rules are `retry`'s and `pages`'; every byte goes through the road.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use deputy_declaration::template;
use deputy_declaration::types::Rule;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use url::Url;

use super::answer::{self, Whole};
use super::pages::{Plan, Read, Turn};
use super::request::Prepared;
use super::retry::{self, What};
use super::save::{self, Files};
use super::{Call, CallError, Pages};
use crate::egress::{self, Answer, EgressError, Grant};
use crate::step::log::Log;
use crate::step::secrets::Secrets;
use crate::step::{Bound, LogLevel, LogLine, Output, Ran, RequestSummary, Road, RunLimits, StepError};
use crate::time::Time;

/// An error's own words are looked for in so much of its body.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The account that a call goes through, and what bounds it.
#[derive(Debug)]
pub struct CallPlace {
    pub bound: Bound,
    pub limits: RunLimits,
    /// Log lines as they come; they stand in what the call leaves as well.
    pub log: Option<UnboundedSender<LogLine>>,
    /// Where `save` writes; none: it is refused.
    pub files: Option<Files>,
    /// Before the second attempt, where the app asks for no wait; doubles with each.
    pub first_wait: Duration,
}

impl CallPlace {
    pub fn new(bound: Bound, limits: RunLimits) -> Self {
        Self { bound, limits, log: None, files: None, first_wait: Duration::from_millis(500) }
    }
}

/// Executes one call. It goes out under the grant; the place must name the same account.
///
/// Its value is what [`super::AnswerRules`] says. Dropping the future ends the request under way.
pub async fn perform(road: &dyn Road, grant: &Grant, call: &Call, place: &CallPlace) -> Ran {
    let start = Instant::now();
    let mut trace = Trace { log: Log::new(&place.limits, place.log.clone(), Secrets::default()), requests: Vec::new() };
    let driver = Driver { road, grant, call, place, start };
    let result = match tokio::time::timeout(place.limits.deadline, driver.drive(&mut trace)).await {
        Ok(result) => result.map_err(StepError::from),
        Err(_) => Err(StepError::Deadline { limit_ms: ms(place.limits.deadline) }),
    };
    Ran {
        result: result.map(Output::of),
        logs: trace.log.take(),
        requests: trace.requests,
        duration_ms: ms(start.elapsed()),
        cpu_ms: 0,
        memory_peak_bytes: 0,
    }
}

/// What stays when the call fails, or runs out of time.
struct Trace {
    log: Log,
    requests: Vec<RequestSummary>,
}

struct Driver<'a> {
    road: &'a dyn Road,
    grant: &'a Grant,
    call: &'a Call,
    place: &'a CallPlace,
    start: Instant,
}

/// What a good answer gave.
enum Got {
    Whole(Whole),
    /// The facts of a file.
    Saved(Value),
}

/// An attempt that did not succeed.
struct Failure {
    error: CallError,
    what: What,
}

impl Driver<'_> {
    async fn drive(&self, trace: &mut Trace) -> Result<Value, CallError> {
        let rules = &self.call.answer;
        if rules.retry.attempts == 0 {
            return Err(CallError::invalid("a call of no attempts sends nothing", "set `attempts` to 1 or more"));
        }
        if let Some(name) = &rules.save {
            save::check_name(name)?;
            if rules.output.is_some() || rules.pages.is_some() {
                return Err(exclusive("save"));
            }
            match &self.place.files {
                Some(files) => files.prepare().await?,
                None => return Err(CallError::invalid("there is no folder to save into here", "leave out `save`")),
            }
        }
        let request = Prepared::new(self.call)?;
        if let Some(pages) = &rules.pages {
            if rules.output.is_some() {
                return Err(exclusive("pages"));
            }
            return self.pages(trace, request, pages).await;
        }
        match self.send(trace, &request, 1).await? {
            Got::Saved(facts) => Ok(facts),
            Got::Whole(whole) => {
                let status = whole.status.as_u16();
                whole.value(rules).map_err(|problem| self.unexpected(&request, status, problem))
            }
        }
    }

    /// Page after page until the end, or a bound.
    async fn pages(&self, trace: &mut Trace, mut request: Prepared, pages: &Pages) -> Result<Value, CallError> {
        let app = &self.place.bound.declaration;
        let plan = Plan::new(pages, app)?;
        let base = template::base(app, &self.place.bound.inputs).ok();
        let most_items = usize::try_from(pages.most_items).unwrap_or(usize::MAX);
        let mut all = Vec::new();
        let mut bytes = 0;
        let mut seen: HashSet<Turn> = HashSet::new();
        for page in 1.. {
            let whole = match self.send(trace, &request, page).await? {
                Got::Whole(whole) => whole,
                Got::Saved(_) => return Err(exclusive("pages")),
            };
            let status = whole.status.as_u16();
            let mut body = whole.json().map_err(|problem| self.unexpected(&request, status, problem))?;
            let count = plan.items(&body).len();
            let read = Read { pages: page.into(), items: (all.len() + count) as u64 };
            let next = plan.next(&body, &whole.headers, &request, base.as_ref(), read)?;
            for item in plan.take_items(&mut body)?.into_iter().take(most_items - all.len()) {
                bytes += size(&item);
                let limit = self.place.limits.output_bytes;
                if bytes > limit {
                    return Err(EgressError::TooLarge { what: "list", limit: limit as u64 }.into());
                }
                all.push(item);
            }
            let Some(turn) = next else { break };
            if all.len() >= most_items || page >= pages.most_pages {
                let items = all.len();
                let line = format!("ends after {page} pages and {items} items; the app has more");
                trace.log.write(Time::now(), LogLevel::Warn, line);
                break;
            }
            if seen.contains(&turn) {
                return Err(CallError::Loop { what: self.what(&request), page });
            }
            turn.apply(&mut request)?;
            request.drop_query(&self.injected_query(&turn));
            seen.insert(turn);
        }
        Ok(Value::Array(all))
    }

    /// A next page's URL may hold, scrubbed, the key of this request: it is put there anew, so it is dropped here.
    fn injected_query(&self, turn: &Turn) -> BTreeSet<&str> {
        if !matches!(turn, Turn::Url(_)) {
            return BTreeSet::new();
        }
        let method = self.place.bound.declaration.methods.get(self.place.bound.method);
        let rules = method.into_iter().flat_map(|method| &method.rule_sets).flat_map(|set| &set.rules);
        rules
            .filter_map(|rule| match rule {
                Rule::Query(named) => Some(named.name.as_str()),
                Rule::Header(_) | Rule::Basic(_) | Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => None,
            })
            .collect()
    }

    /// One page: attempt after attempt.
    async fn send(&self, trace: &mut Trace, request: &Prepared, page: u32) -> Result<Got, CallError> {
        let rules = &self.call.answer.retry;
        for attempt in 1.. {
            let Failure { error, what } = match self.attempt(trace, request, page).await {
                Ok(got) => return Ok(got),
                Err(failure) => failure,
            };
            let wait = retry::wait(rules, &request.method, attempt, what, self.place.first_wait, jitter());
            let left = self.place.limits.deadline.saturating_sub(self.start.elapsed());
            match wait {
                // A wait past the deadline would only hide why the call failed.
                Some(wait) if wait < left => {
                    let again = format!("again in {} ms: {error}", wait.as_millis());
                    trace.log.write(Time::now(), LogLevel::Warn, again);
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
        Err(EgressError::Internal("attempts without an end".to_owned()).into())
    }

    async fn attempt(&self, trace: &mut Trace, request: &Prepared, page: u32) -> Result<Got, Failure> {
        let limit = self.place.limits.requests;
        if trace.requests.len() >= limit {
            return Err(Failure { error: CallError::Requests { limit }, what: What::Final });
        }
        let started = Instant::now();
        let at = trace.requests.len();
        trace.requests.push(self.summary(request));
        let mut wire = request.request();
        wire.timeout = Some(self.place.limits.request_timeout);
        let sent = self.road.send(self.grant, wire).await;
        let summary = &mut trace.requests[at];
        summary.duration_ms = ms(started.elapsed());
        summary.status = sent.as_ref().ok().map(|answer| answer.status.as_u16());
        summary.error = sent.as_ref().err().map(|error| error.code().to_owned());
        summary.renewed = sent.as_ref().is_ok_and(|answer| answer.renewed);
        let (status, took) = (summary.status, summary.duration_ms);
        let got = match sent {
            Ok(answer) => self.judge(request, answer).await,
            Err(error) => Err(Failure { what: What::of_error(&error), error: error.into() }),
        };
        let ended = match status {
            Some(status) => format!("{status} in {took} ms"),
            None => format!("no answer after {took} ms"),
        };
        let page = if page > 1 { format!("page {page}: ") } else { String::new() };
        let level = if got.is_ok() { LogLevel::Info } else { LogLevel::Warn };
        let line = format!("{page}{} {}: {ended}", request.method, request.shown_path());
        trace.log.write(Time::now(), level, line);
        got
    }

    /// Is it what the call expects? Then its body is read, or kept.
    async fn judge(&self, request: &Prepared, answer: Answer) -> Result<Got, Failure> {
        let rules = &self.call.answer;
        let Answer { status, headers, body, failed, throttled, .. } = answer;
        let good = match rules.expect.as_slice() {
            [] => status.is_success() && throttled.is_none(),
            // Behind a good status it is the signal that counts.
            expected => expected.contains(&status.as_u16()) && !(status.is_success() && throttled.is_some()),
        };
        if good && !failed {
            let read = async {
                Ok(match (&rules.save, &self.place.files) {
                    (Some(name), Some(files)) => Got::Saved(files.keep(name, &headers, body).await?),
                    _ => {
                        let bytes = body.collect(self.place.limits.output_bytes).await?;
                        Got::Whole(Whole { status, headers, bytes })
                    }
                })
            };
            return read.await.map_err(|error: CallError| Failure {
                what: match &error {
                    CallError::Road(error) => What::of_error(error),
                    _ => What::Final,
                },
                error,
            });
        }
        let what = self.what(request);
        if let Some(throttled) = throttled {
            let (after, longest) = (throttled.after, rules.retry.longest_wait);
            let error = CallError::Throttled { what, after, longest };
            return Err(Failure { error, what: What::Throttled { after } });
        }
        let after = egress::retry_after(&headers, Time::now());
        // Its own words are a help, not a need: an error whose body breaks is still told by its status.
        let said = match body.collect(MAX_ERROR_BYTES).await {
            Ok(bytes) => answer::said(&headers, &bytes),
            Err(_) => String::new(),
        };
        let code = status.as_u16();
        let error = match good {
            true => CallError::Failed { what, status: code, said },
            false => CallError::Status { what, status: code, said },
        };
        Err(Failure { error, what: What::of_status(status, after) })
    }

    fn summary(&self, request: &Prepared) -> RequestSummary {
        let bound = &self.place.bound;
        let origin = match Url::parse(request.url()) {
            Ok(url) => Some(url.origin()),
            Err(_) => template::base(&bound.declaration, &bound.inputs).ok().map(|base| base.origin()),
        };
        RequestSummary {
            account: bound.name.clone(),
            method: request.method.to_string(),
            origin: origin.map(|origin| origin.ascii_serialization()).unwrap_or_default(),
            path: request.shown_path(),
            status: None,
            // Until it ends.
            error: Some("abandoned".to_owned()),
            duration_ms: 0,
            renewed: false,
        }
    }

    /// `GET /user through github/work`
    fn what(&self, request: &Prepared) -> String {
        format!("{} {} through {}", request.method, request.shown_path(), self.place.bound.name)
    }

    fn unexpected(&self, request: &Prepared, status: u16, problem: String) -> CallError {
        CallError::Answer { what: self.what(request), status, problem }
    }
}

fn exclusive(which: &str) -> CallError {
    CallError::invalid(
        format!("`{which}` decides alone what the call gives"),
        "keep one of `output`, `save` and `pages`",
    )
}

/// Its length as JSON, without writing it anywhere.
fn size(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // A value that cannot be written is over every bound.
        Err(_) => usize::MAX / 2,
    }
}

/// From 0 to 1.
fn jitter() -> f64 {
    let mut bytes = [0_u8; 2];
    // Only jitter hangs on it: without random bytes there is none.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
