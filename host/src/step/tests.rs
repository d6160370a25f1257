//! Real guests against a road made here. The guests are those of `tests/guests`, and a few made in place.

mod accounts;
mod wasi;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::Barrier;

use super::*;
use crate::caller::Via;
use crate::egress::{AnswerBody, TokensError};
use crate::wasm::fixtures;

/// Answers by path.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) together: Option<Barrier>,
    pub(super) arrived: AtomicUsize,
    /// Requests that somebody gave up.
    pub(super) given_up: Arc<AtomicUsize>,
    pub(super) grants: std::sync::Mutex<Vec<Grant>>,
    /// As they came; the grants stand in the same order. Plain ones have none.
    pub(super) requests: std::sync::Mutex<Vec<Seen>>,
}

/// What came of a request.
pub(super) struct Seen {
    plain: bool,
    url: String,
    headers: HeaderMap,
    body: String,
    rule_set: Option<String>,
}

impl Seen {
    fn new(plain: bool, request: &Request) -> Self {
        let body = match &request.body {
            crate::egress::Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let (url, headers, rule_set) = (request.url.clone(), request.headers.clone(), request.rule_set.clone());
        Self { plain, url, headers, body, rule_set }
    }
}

struct GiveUp(Arc<AtomicUsize>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Road for Fake {
    fn send<'a>(&'a self, grant: &'a Grant, request: Request) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async move {
            self.arrived.fetch_add(1, Ordering::SeqCst);
            self.grants.lock().unwrap().push(grant.clone());
            self.requests.lock().unwrap().push(Seen::new(false, &request));
            // A client that knows nothing of accounts gives whole URLs.
            let path = request.url.strip_prefix("https://api.demo.example").unwrap_or(&request.url);
            let body = match path {
                "/me" => json!({ "login": "ada" }),
                "/items?page=1" => json!({ "items": [1, 2, 3] }),
                "/items?page=2" => json!([4]),
                "/denied" => {
                    let fix = Some("ask the operator".to_owned());
                    return Err(EgressError::Denied { rule: "reach", message: "not within reach".to_owned(), fix });
                }
                "/gone" => {
                    let (name, reason) = ("demo/work".to_owned(), "revoked".to_owned());
                    return Err(TokensError::NeedsReconnect { name, reason }.into());
                }
                "/never" => {
                    let _held = GiveUp(self.given_up.clone());
                    std::future::pending().await
                }
                "/large" => {
                    let pieces = (0..100).map(|_| Ok(Bytes::from(vec![b'x'; 1 << 20])));
                    return Ok(answer(stream::iter(pieces)));
                }
                "/broken" => {
                    let error = EgressError::Protocol { host: "demo".to_owned(), reason: "cut short".to_owned() };
                    return Ok(answer(stream::iter([Ok(Bytes::from("begun")), Err(error)])));
                }
                "/stands-still" => return Ok(answer(stream::pending())),
                _ => {
                    if let Some(together) = &self.together {
                        together.wait().await;
                    }
                    json!("hello")
                }
            };
            Ok(answer(stream::iter([Ok(Bytes::from(body.to_string()))])))
        })
    }

    fn send_plain<'a>(&'a self, _caller: &'a Caller, request: Request) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async move {
            self.requests.lock().unwrap().push(Seen::new(true, &request));
            if request.url.contains("refused") || request.url.contains("api.demo.example") {
                return Err(crate::egress::plain_refusal(&[], &request.url));
            }
            Ok(answer(stream::iter([Ok(Bytes::from("\"plain\""))])))
        })
    }
}

fn answer(body: impl futures_util::Stream<Item = Result<Bytes, EgressError>> + Send + 'static) -> Answer {
    let body = AnswerBody::from_stream(body);
    Answer { status: StatusCode::OK, headers: HeaderMap::new(), body, failed: false, renewed: true, throttled: None }
}

fn steps() -> Steps {
    steps_with(4)
}

/// Each guest is compiled once for all tests.
pub(super) fn steps_with(slots: usize) -> Steps {
    static CACHE: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let cache = Some(CACHE.path().join("cache"));
    Steps::new(StepsConfig { slots, cache, ..StepsConfig::default() }).unwrap()
}

pub(super) fn demo() -> Bound {
    Bound {
        account: AccountId::new(),
        app: "demo".to_owned(),
        name: "demo/work".to_owned(),
        identity: Some("ada".to_owned()),
        scopes: vec!["read".to_owned()],
        inputs: BTreeMap::new(),
        origins: Vec::new(),
        declaration: fixtures::declaration(),
        method: 0,
    }
}

fn run(input: Value) -> Run {
    run_on(input, Arc::new(Fake::default()))
}

pub(super) fn run_on(input: Value, road: Arc<Fake>) -> Run {
    Run {
        id: RunId::new(),
        caller: Caller::local(),
        input,
        context: Value::Null,
        bindings: BTreeMap::from([("demo".to_owned(), demo())]),
        ambient: Vec::new(),
        road,
        limits: RunLimits::default(),
        log: None,
    }
}

fn component(bytes: &[u8]) -> Program {
    Program::Component(bytes.into())
}

/// A run that ended well.
#[derive(Debug)]
struct Outcome {
    output: Value,
    logs: Vec<LogLine>,
    requests: Vec<RequestSummary>,
    memory_peak_bytes: u64,
}

async fn execute(steps: &Steps, bytes: &[u8], run: Run) -> Result<Outcome, StepError> {
    let step = steps.load(&component(bytes)).await?;
    let Ran { result, logs, requests, memory_peak_bytes, .. } = steps.run(&step, run).await;
    result.map(|output| Outcome { output: output.value, logs, requests, memory_peak_bytes })
}

async fn hostile(input: Value) -> Result<Outcome, StepError> {
    execute(&steps(), &fixtures::guest("hostile"), run(input)).await
}

#[tokio::test]
async fn props_are_read_from_the_component() {
    let props = steps().check(&component(&fixtures::guest("demo_step"))).await.unwrap();
    let names: Vec<_> = props.iter().map(|prop| (prop.name.as_str(), prop.kind.clone())).collect();
    assert_eq!(
        names,
        [("demo", PropKind::App(AppNeed { app: "demo".to_owned(), ..AppNeed::default() })), ("note", PropKind::Text)]
    );
}

#[tokio::test]
async fn a_step_calls_its_app_and_says_what_it_found() {
    let road = Arc::new(Fake::default());
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let run = Run { log: Some(sender), ..run_on(json!({}), road.clone()) };
    let (id, account) = (run.id.clone(), run.bindings["demo"].account.clone());
    let outcome = execute(&steps(), &fixtures::guest("demo_step"), run).await.unwrap();

    assert_eq!(outcome.output, json!({ "login": "ada", "account": "demo/work", "pages": [3, 1], "items": 4 }));
    let paths: Vec<_> = outcome.requests.iter().map(|request| (request.path.as_str(), request.status)).collect();
    assert_eq!(paths, [("/me", Some(200)), ("/items", Some(200)), ("/items", Some(200))], "no query in a summary");
    assert!(outcome.requests.iter().all(|request| request.renewed && request.error.is_none()));
    assert!(outcome.memory_peak_bytes > 0);
    assert!(outcome.logs.iter().any(|line| line.message.contains("ada has 4 items")), "{:?}", outcome.logs);
    assert_eq!(lines.try_recv().unwrap(), outcome.logs[0]);

    // Every request carries the owner, this run, and no other account.
    for grant in road.grants.lock().unwrap().iter() {
        assert_eq!(grant.account, account);
        assert_eq!(grant.caller, Caller { owner: crate::caller::Owner::local(), via: Via::Run(id.clone()) });
    }
}

#[tokio::test]
async fn ten_requests_are_on_their_way_at_once() {
    let road = Fake { together: Some(Barrier::new(10)), ..Fake::default() };
    let run = run_on(json!({}), Arc::new(road));
    let outcome = execute(&steps(), &fixtures::guest("ten"), run).await.unwrap();
    assert_eq!(outcome.output, json!({ "statuses": vec![200; 10] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_guest_ends_in_its_own_error_while_a_good_one_goes_on() {
    let steps = Arc::new(steps());
    let (bad, good) = (fixtures::guest("hostile"), fixtures::guest("demo_step"));
    steps.check(&component(&good)).await.unwrap();
    steps.check(&component(&bad)).await.unwrap();
    for (deed, code) in [
        (json!({ "do": "loop" }), "step_cpu"),
        (json!({ "do": "memory" }), "step_out_of_memory"),
        (json!({ "do": "handles" }), "step_handles"),
        (json!({ "do": "recursion" }), "step_stack_overflow"),
        (json!({ "do": "large-recursion" }), "step_stack_overflow"),
        (json!({ "do": "strings" }), "step_hostcall_bytes"),
        (json!({ "do": "trap" }), "step_trap"),
        (json!({ "do": "panic" }), "step_trap"),
        (json!({ "do": "random", "bytes": 65_537 }), "step_trap"),
        (json!({ "do": "output", "bytes": 9 << 20 }), "step_output_invalid"),
        (json!({ "do": "fail" }), "step_failed"),
        (json!({ "do": "sleep", "ms": 3_600_000 }), "step_deadline"),
    ] {
        let limits = RunLimits {
            cpu: Duration::from_millis(400),
            deadline: Duration::from_millis(if code == "step_deadline" { 200 } else { 60_000 }),
            ..RunLimits::default()
        };
        let bad_run = execute(&steps, &bad, Run { limits, ..run(deed.clone()) });
        let good_run = execute(&steps, &good, run(json!({})));
        let (bad_end, good_end) = tokio::join!(bad_run, good_run);
        let error = bad_end.unwrap_err();
        assert_eq!(error.code(), code, "{deed}: {error}");
        assert_eq!(good_end.unwrap().output["items"], 4, "beside {deed}");
    }
    assert_eq!(steps.free_slots(), 4, "every slot is back");
}

#[tokio::test]
async fn a_panic_tells_its_place_in_the_log() {
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let run = Run { log: Some(sender), ..run(json!({ "do": "panic" })) };
    assert_eq!(execute(&steps(), &fixtures::guest("hostile"), run).await.unwrap_err().code(), "step_trap");
    let line = lines.try_recv().unwrap();
    assert_eq!(line.level, LogLevel::Error);
    assert!(line.message.contains("the author's own words") && line.message.contains("lib.rs"), "{line:?}");
}

#[tokio::test]
async fn refusals_reach_the_step_with_code_and_fix() {
    let said = |outcome: Result<Outcome, StepError>| outcome.unwrap().output;
    let denied = said(hostile(json!({ "do": "get", "url": "/denied" })).await);
    assert_eq!((&denied["code"], &denied["fix"]), (&json!("Denied"), &json!("ask the operator")));
    let gone = said(hostile(json!({ "do": "get", "url": "/gone" })).await);
    assert_eq!(gone["code"], "NeedsReconnect");
    assert!(gone["fix"].as_str().unwrap().contains("deputy account reconnect demo/work"));
    let unbound = said(hostile(json!({ "do": "account", "prop": "other" })).await);
    assert_eq!(unbound["code"], "NotBound");
    assert!(unbound["fix"].as_str().unwrap().contains("--bind other="));
    let broken = said(hostile(json!({ "do": "drain", "url": "/broken" })).await);
    assert!(broken["message"].as_str().unwrap().contains("cut short"), "{broken}");
    let flood = said(hostile(json!({ "do": "flood", "url": "/never", "count": 33 })).await);
    assert_eq!(flood["code"], "Limit", "{flood}");
    let heavy = said(hostile(json!({ "do": "upload", "url": "/never", "count": 2, "bytes": 9 << 20 })).await);
    assert_eq!(heavy["code"], "Limit", "{heavy}");
    let slow = said(hostile(json!({ "do": "get", "url": "/never", "timeout_ms": 20 })).await);
    assert_eq!(slow["code"], "Timeout", "{slow}");
}

#[tokio::test]
async fn an_account_is_what_its_prop_is_bound_to() {
    let outcome = hostile(json!({ "do": "account", "prop": "demo" })).await.unwrap();
    assert_eq!(outcome.output, json!({ "ok": "demo/work" }));
}

#[tokio::test]
async fn the_hosts_limits_hold_whatever_the_guest_asks() {
    let limits = RunLimits {
        request_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_millis(20),
        requests: 2,
        ..RunLimits::default()
    };
    let with = async |input: Value| {
        let run = Run { limits: limits.clone(), ..run(input) };
        execute(&steps(), &fixtures::guest("hostile"), run).await.unwrap().output
    };
    let late = with(json!({ "do": "get", "url": "/never", "timeout_ms": 3_600_000 })).await;
    assert_eq!(late["code"], "Timeout", "{late}");
    let still = with(json!({ "do": "drain", "url": "/stands-still" })).await;
    assert!(still["message"].as_str().unwrap().contains("stood still"), "{still}");
    let many = with(json!({ "do": "flood", "url": "/x", "count": 3 })).await;
    assert!(many["message"].as_str().unwrap().contains("a run may send 2"), "{many}");
}

#[tokio::test]
async fn a_body_larger_than_memory_streams_through() {
    let outcome = hostile(json!({ "do": "drain", "url": "/large" })).await.unwrap();
    assert_eq!(outcome.output, json!({ "ok": 100 << 20 }));
    assert!(outcome.memory_peak_bytes < 4 << 20, "{}", outcome.memory_peak_bytes);
}

#[tokio::test]
async fn logs_are_bounded() {
    let outcome = hostile(json!({ "do": "logs", "lines": 10_005, "bytes": 100 })).await.unwrap();
    assert_eq!(outcome.logs.len(), 10_001);
    assert!(outcome.logs[10_000].message.contains("the log ends here"));
    let outcome = hostile(json!({ "do": "logs", "lines": 1_000, "bytes": 10_000 })).await.unwrap();
    assert!(outcome.logs[0].message.ends_with("(1808 more bytes)"), "{}", outcome.logs[0].message.len());
    let bytes: usize = outcome.logs.iter().map(|line| line.message.len()).sum();
    assert!(bytes < 5 << 20, "{bytes}");
}

#[tokio::test]
async fn input_that_does_not_fit_starts_nothing() {
    let error = hostile(json!({ "do": "echo", "other": 1 })).await.unwrap_err();
    assert_eq!(error.code(), "step_input");
    let run = Run { bindings: BTreeMap::new(), ..run(json!({})) };
    let error = execute(&steps(), &fixtures::guest("demo_step"), run).await.unwrap_err();
    assert!(error.fix().unwrap().contains("--bind demo=demo/"), "{error}");
}

#[tokio::test]
async fn requests_end_with_their_handle_and_with_the_run() {
    for input in [json!({ "do": "abandon", "url": "/never" }), json!({ "do": "get", "url": "/never" })] {
        let road = Arc::new(Fake::default());
        let limits = RunLimits { deadline: Duration::from_millis(100), ..RunLimits::default() };
        let run = Run { limits, ..run_on(input.clone(), road.clone()) };
        let ended = execute(&steps(), &fixtures::guest("hostile"), run).await;
        if input["do"] == "get" {
            assert_eq!(ended.unwrap_err().code(), "step_deadline");
        } else {
            assert_eq!(ended.unwrap().requests[0].error.as_deref(), Some("abandoned"));
        }
        // An aborted task is dropped by the runtime a moment later.
        let let_go = async {
            while Arc::strong_count(&road) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), let_go).await.expect("the run still holds the road");
        // One that never began sent nothing; every other was given up.
        assert_eq!(road.given_up.load(Ordering::SeqCst), road.arrived.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_the_slot() {
    let steps = steps_with(1);
    let guest = fixtures::guest("hostile");
    steps.check(&component(&guest)).await.unwrap();
    for input in [json!({ "do": "get", "url": "/never" }), json!({ "do": "loop" })] {
        let road = Arc::new(Fake::default());
        let gone =
            tokio::time::timeout(Duration::from_millis(100), execute(&steps, &guest, run_on(input.clone(), road)));
        assert!(gone.await.is_err(), "{input} does not end by itself");
        assert_eq!(steps.free_slots(), 1, "{input}");
    }
    // And the slot is as good as new.
    let outcome = execute(&steps, &guest, run(json!({ "do": "echo", "value": [1] }))).await.unwrap();
    assert_eq!(outcome.output, json!([1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_runs_than_slots_wait_their_turn() {
    let steps = Arc::new(steps_with(2));
    let guest = Arc::new(fixtures::guest("hostile"));
    let runs: Vec<_> = (0..20)
        .map(|n| {
            let (steps, guest) = (steps.clone(), guest.clone());
            tokio::spawn(async move { execute(&steps, &guest, run(json!({ "do": "echo", "value": n }))).await })
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        assert_eq!(run.await.unwrap().unwrap().output, json!(n));
    }
    assert_eq!(steps.free_slots(), 2);
}

#[tokio::test]
async fn what_is_no_step_is_said_in_words() {
    let steps = steps();
    let code = async |bytes: &[u8]| steps.check(&component(bytes)).await.unwrap_err().code();
    assert_eq!(code(b"export default 1").await, "step_not_wasm");
    assert_eq!(code(b"\0asm\x01\0\0\0").await, "step_core_module");
    assert_eq!(code(&fixtures::empty_component()).await, "step_wrong_world");
    assert_eq!(code(&fixtures::importing_component("wasi:cli/environment@0.2.6")).await, "step_wrong_world");
    assert_eq!(code(&fixtures::app(fixtures::TRAP)).await, "step_wrong_world");
    assert_eq!(code(&fixtures::step(fixtures::LOOP)).await, "step_cpu", "props that never end");
    assert_eq!(code(&fixtures::step(fixtures::TRAP)).await, "step_trap");
    assert_eq!(code(&fixtures::step(fixtures::MEMORY)).await, "step_out_of_memory");
    let mut torn = fixtures::guest("ten");
    torn.truncate(torn.len() / 2);
    assert_eq!(code(&torn).await, "step_invalid_wasm");
}

#[tokio::test]
async fn a_step_is_compiled_once_for_all_processes() {
    let folder = tempfile::tempdir().unwrap();
    let config = StepsConfig { cache: Some(folder.path().join("cache")), slots: 1, ..StepsConfig::default() };
    let files = || std::fs::read_dir(folder.path().join("cache")).unwrap().count();
    let guest = fixtures::guest("ten");
    Steps::new(config.clone()).unwrap().check(&component(&guest)).await.unwrap();
    assert_eq!(files(), 1);
    Steps::new(config).unwrap().check(&component(&guest)).await.unwrap();
    assert_eq!(files(), 1);
}

#[tokio::test]
async fn inspection_finds_what_is_planted_and_nothing_else() {
    let steps = steps();
    let guest = fixtures::guest("hostile");
    let planted = "canary-4f1d";
    let holds = |needle: &'static str| {
        move |memory: &[u8]| memory.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    let seen = async |input: Value, needle: &'static str| {
        let (ran, seen) = steps.run_inspected(&component(&guest), run(input), &holds(needle)).await;
        (ran.result.map(|output| output.value).map_err(|error| error.code()), seen)
    };
    let plant = json!({ "do": "plant", "text": planted });
    assert_eq!(seen(plant.clone(), "canary-4f1d").await, (Ok(Value::Null), true));
    assert_eq!(seen(plant, "canary-0000").await, (Ok(Value::Null), false));
    let trap = json!({ "do": "plant-and-trap", "text": planted });
    assert_eq!(seen(trap, "canary-4f1d").await, (Err("step_trap"), true), "also when the run traps");
    let echo = json!({ "do": "get", "url": "/me" });
    assert!(seen(echo, "ada").await.1, "what an answer brings is in memory and output");
}
