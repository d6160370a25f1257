use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::step::{LogLevel, LogLine, Output, Ran, StepError};
use crate::vault::Vault;
use crate::workflow::records::RunsPage;
use crate::workflow::records::part::{MAX_OUTPUT_BYTES, RunParts};
use crate::workflow::testing::{TestStore, by_hand, deployment, step, workflow};
use crate::workflow::{ForEach, OnError, Schedule, Step, Task, Workflow};

/// Does what a step's input says, and remembers what it was asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(String, Value)>>,
    now: AtomicUsize,
    most: AtomicUsize,
    dropped: AtomicUsize,
    /// Steps with `wait` go on when it is told.
    gate: Notify,
}

/// Counts work under way, also when it is cut off.
struct Under<'f>(&'f Fake, bool);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, SeqCst);
        }
    }
}

impl Fake {
    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.asked().into_iter().map(|(name, _)| name).collect()
    }

    async fn result(&self, task: &Task) -> Result<Output, StepError> {
        let input = &task.input;
        let mut under = Under(self, false);
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        if let Some(line) = input["log"].as_str() {
            let line = LogLine { at: Time(0), level: LogLevel::Info, message: line.to_owned() };
            if let Some(log) = &task.log {
                let _ = log.send(line);
            }
        }
        if let Some(ms) = input["sleep_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        if input["wait"] == json!(true) {
            self.gate.notified().await;
        }
        under.1 = true;
        let earlier = self.asked().iter().filter(|(name, other)| *name == task.step && other == input).count();
        if input["panic"] == json!(true) {
            panic!("a fault of ours");
        }
        if input["fail"].as_u64().is_some_and(|times| earlier as u64 <= times) {
            return Err(StepError::Failed { message: format!("attempt {earlier}") });
        }
        Ok(Output {
            value: input["give"].clone(),
            exports: input["export"].as_object().cloned().unwrap_or_default(),
            exit: input["exit"].as_str().map(str::to_owned),
            respond: input.get("respond").cloned(),
        })
    }
}

impl Work for Fake {
    fn perform<'a>(&'a self, _caller: &'a Caller, task: Task) -> BoxFuture<'a, Ran> {
        self.asked.lock().unwrap().push((task.step.clone(), task.input.clone()));
        Box::pin(async move {
            let result = self.result(&task).await;
            let line = LogLine { at: Time(0), level: LogLevel::Info, message: format!("log of {}", task.step) };
            Ran { result, logs: vec![line], ..Ran::unstarted(StepError::StackOverflow) }
        })
    }
}

struct World {
    store: Arc<TestStore>,
    vault: Arc<Vault>,
    fake: Arc<Fake>,
    engine: Engine,
}

fn owner() -> Owner {
    Owner::local()
}

fn config() -> EngineConfig {
    EngineConfig { max_runs: 8, margin: Duration::ZERO, tick: Duration::from_millis(5) }
}

impl World {
    fn new() -> Self {
        Self::with(Arc::default(), Arc::new(Vault::ephemeral()), config())
    }

    fn with(store: Arc<TestStore>, vault: Arc<Vault>, config: EngineConfig) -> Self {
        let fake = Arc::<Fake>::default();
        let records = Records::new(store.clone(), vault.clone());
        let programs = Programs::new(std::path::Path::new("nowhere"));
        let engine = Engine::new(records, programs, fake.clone(), config).unwrap();
        Self { store, vault, fake, engine }
    }

    /// Another process on the same rows.
    fn next(&self) -> Self {
        let store = TestStore { rows: self.store.rows.clone(), ..TestStore::default() };
        store.exclusive.store(true, SeqCst);
        Self::with(Arc::new(store), self.vault.clone(), config())
    }

    async fn deploy(&self, workflow: Workflow) {
        self.engine.deploy(&owner(), deployment(workflow), &BTreeMap::new()).await.unwrap();
    }

    async fn submit(&self, name: &str, input: Value) -> RunId {
        self.engine.submit(&owner(), name, &by_hand(input)).await.unwrap().run
    }

    fn serve(&self) {
        let engine = self.engine.clone();
        tokio::spawn(async move { engine.serve().await });
    }

    async fn ended(&self, run: &RunId) -> RunHead {
        let ended = self.engine.ended(&owner(), run, Duration::from_secs(30)).await.unwrap();
        ended.expect("the run ends")
    }

    async fn parts(&self, run: &RunId) -> RunParts {
        self.engine.records().parts_of(&owner(), run).await.unwrap().unwrap()
    }

    /// One run of these steps, to its end.
    async fn run(&self, steps: Vec<Step>, input: Value) -> (RunHead, RunParts) {
        self.deploy(workflow("w", steps)).await;
        let run = self.submit("w", input).await;
        let engine = self.engine.clone();
        let head = engine.drive(&owner(), "w", &run).await.unwrap();
        (head, self.parts(&run).await)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what} did not happen");
    }
}

fn each(items: &str, parallel: u32) -> Option<ForEach> {
    Some(ForEach { items: items.to_owned(), parallel })
}

#[tokio::test]
async fn steps_run_in_order_and_see_what_came_before() {
    let world = World::new();
    let steps = vec![
        step("first", json!({"give": {"id": "{{ trigger.body.id }}"}, "export": {"count": 2}})),
        Step { when: Some("{{ steps.first.output.id == 0 }}".to_owned()), ..step("skipped", json!({})) },
        step("last", json!({"give": "{{ steps.first.output.id + steps.first.exports.count }}"})),
    ];
    let (head, parts) = world.run(steps, json!({"id": 5})).await;
    assert_eq!(head.state, RunState::Done);
    assert_eq!(world.fake.names(), ["first", "last"]);
    let states: Vec<_> = parts.attempts.iter().map(|attempt| (attempt.step.as_str(), attempt.state)).collect();
    use crate::workflow::records::AttemptState::{Done, Skipped};
    assert_eq!(states, [("first", Done), ("skipped", Skipped), ("last", Done)]);
    assert_eq!(run::output(&parts.attempts), Some(json!(7)));
    assert_eq!(parts.attempts[0].logs[0].message, "log of first");
    assert!(world.engine.records().runs_in(&owner(), "w", RunState::Running).await.unwrap() == 0);
}

#[tokio::test]
async fn a_text_that_gives_no_value_fails_its_step_by_name() {
    let world = World::new();
    let (head, parts) =
        world.run(vec![step("one", json!({"give": "{{ trigger.body.missing.deep }}"}))], json!({})).await;
    assert_eq!((head.state, head.step.as_deref()), (RunState::Failed, Some("one")));
    let error = parts.end.unwrap().error.unwrap();
    assert_eq!(error.code, "workflow_expression");
    assert!(error.message.contains("missing"), "{}", error.message);
    assert!(world.fake.asked().is_empty());
}

#[tokio::test]
async fn items_run_side_by_side_within_their_limit_and_keep_their_order() {
    let world = World::new();
    let steps = vec![
        Step {
            for_each: each("{{ trigger.body }}", 3),
            ..step("each", json!({"give": "{{ item.n * 10 + index }}", "sleep_ms": "{{ item.ms }}"}))
        },
        step("last", json!({"give": "{{ steps.each.output | sum }}"})),
    ];
    let items =
        json!([{"n": 1, "ms": 60}, {"n": 2, "ms": 1}, {"n": 3, "ms": 30}, {"n": 4, "ms": 1}, {"n": 5, "ms": 1}]);
    let (head, parts) = world.run(steps, items).await;
    assert_eq!(head.state, RunState::Done, "{:?}", parts.end);
    assert_eq!(world.fake.most.load(SeqCst), 3, "three at a time, and no more");
    let each: Vec<_> = parts.attempts.iter().filter(|attempt| attempt.item.is_some()).collect();
    assert_eq!(each.len(), 5, "each item has a record of its own");
    let expected = json!([10, 21, 32, 43, 54]);
    let of_each: Vec<_> = parts.attempts.iter().filter(|attempt| attempt.step == "each").cloned().collect();
    assert_eq!(run::output(&of_each), Some(expected));
    assert_eq!(run::output(&parts.attempts), Some(json!(160)));
}

#[tokio::test]
async fn one_failed_item_ends_the_step_or_leaves_a_gap() {
    let world = World::new();
    let failing = |on_error| Step {
        for_each: each("{{ [0, 9, 0] }}", 1),
        on_error,
        ..step("each", json!({"give": "{{ index }}", "fail": "{{ item }}"}))
    };
    let (head, parts) = world.run(vec![failing(OnError::Fail)], json!({})).await;
    assert_eq!(head.state, RunState::Failed);
    assert_eq!(parts.end.unwrap().error.unwrap().message, "item 1: the step failed: attempt 1");
    assert_eq!(world.fake.asked().len(), 2, "nothing begins behind a failure");
    let world = World::new();
    let last = step("last", json!({"give": ["{{ steps.each.output }}", "{{ steps.each.error.code }}"]}));
    let (head, parts) = world.run(vec![failing(OnError::Continue), last], json!({})).await;
    assert_eq!(head.state, RunState::Done);
    assert_eq!(run::output(&parts.attempts), Some(json!([[0, null, 2], "step_failed"])));
}

#[tokio::test]
async fn a_step_is_tried_again_as_often_as_it_says_and_every_attempt_is_told() {
    let world = World::new();
    let mut flaky = step("flaky", json!({"fail": 2, "give": "in the end"}));
    flaky.retry.attempts = 3;
    let (head, parts) = world.run(vec![flaky.clone()], json!({})).await;
    assert_eq!(head.state, RunState::Done);
    let told: Vec<_> =
        parts.attempts.iter().map(|a| (a.attempt, a.is_last, a.error.as_ref().map(|e| e.message.clone()))).collect();
    let failed = |n: u32| Some(format!("the step failed: attempt {n}"));
    assert_eq!(told, [(1, false, failed(1)), (2, false, failed(2)), (3, true, None)]);
    let world = World::new();
    flaky.retry.attempts = 2;
    let (head, _) = world.run(vec![flaky], json!({})).await;
    assert_eq!((head.state, head.error.as_deref()), (RunState::Failed, Some("step_failed")));
    assert_eq!(world.fake.asked().len(), 2);
}

#[tokio::test]
async fn a_step_beyond_its_time_is_cut_off() {
    let world = World::new();
    let mut slow = step("slow", json!({"wait": true}));
    (slow.timeout, slow.on_error) = (Duration::from_millis(20), OnError::Continue);
    let (head, parts) =
        world.run(vec![slow, step("last", json!({"give": "{{ steps.slow.error.code }}"}))], json!({})).await;
    assert_eq!(head.state, RunState::Done);
    assert_eq!(run::output(&parts.attempts), Some(json!("step_deadline")));
    assert_eq!(world.fake.dropped.load(SeqCst), 1);
}

#[tokio::test]
async fn a_step_can_end_the_run_well_and_answer_its_trigger() {
    let world = World::new();
    let steps = vec![
        step("one", json!({"give": 1, "exit": "nothing to do", "respond": {"status": 204}})),
        step("never", json!({})),
    ];
    let (head, parts) = world.run(steps, json!({})).await;
    assert_eq!((head.state, head.step.as_deref()), (RunState::Done, Some("one")));
    assert_eq!(parts.end.unwrap().exit.as_deref(), Some("nothing to do"));
    assert_eq!(parts.attempts[0].respond, Some(json!({"status": 204})));
    assert_eq!(world.fake.names(), ["one"]);
}

#[tokio::test]
async fn more_than_a_run_keeps_is_refused_by_the_name_of_its_step() {
    let world = World::new();
    let large = "x".repeat(MAX_OUTPUT_BYTES);
    let (head, parts) = world.run(vec![step("large", json!({"give": "{{ trigger.body }}"}))], json!(large)).await;
    assert_eq!((head.state, head.error.as_deref()), (RunState::Failed, Some("step_output_too_large")));
    let message = parts.end.unwrap().error.unwrap().message;
    assert!(message.contains("`large`"), "{message}");
}

#[tokio::test]
async fn a_fault_of_ours_ends_its_run_and_no_other() {
    let world = World::new();
    world.deploy(workflow("w", vec![step("one", json!({"panic": "{{ trigger.body }}"}))])).await;
    let bad = world.submit("w", json!(true)).await;
    let good = world.submit("w", json!(false)).await;
    world.serve();
    assert_eq!(world.ended(&bad).await.error.as_deref(), Some("workflow_internal"));
    assert_eq!(world.ended(&good).await.state, RunState::Done);
    world.engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn no_more_runs_at_a_time_than_the_workflow_and_the_host_allow() {
    for (concurrency, max_runs, most) in [(Some(2), 8, 2), (None, 3, 3)] {
        let config = EngineConfig { max_runs, ..config() };
        let world = World::with(Arc::default(), Arc::new(Vault::ephemeral()), config);
        let steps = vec![step("one", json!({"sleep_ms": 10, "give": "{{ trigger.body }}"}))];
        world.deploy(Workflow { concurrency, ..workflow("w", steps) }).await;
        let mut runs = Vec::new();
        for n in 0..7 {
            runs.push(world.submit("w", json!(n)).await);
        }
        world.serve();
        for run in &runs {
            assert_eq!(world.ended(run).await.state, RunState::Done);
        }
        assert_eq!(world.fake.most.load(SeqCst), most, "concurrency {concurrency:?}, host {max_runs}");
        let order: Vec<_> = world.fake.asked().into_iter().map(|(_, input)| input["give"].clone()).collect();
        let mut sorted = order.clone();
        sorted.sort_by_key(Value::as_i64);
        assert_eq!(order, sorted, "first come, first served");
        world.engine.stop(Duration::from_secs(5)).await;
    }
}

/// The store stops taking commits after the n-th one, for every n: as a power cut between any two of them.
#[tokio::test]
async fn a_run_goes_on_behind_the_last_step_that_was_recorded_wherever_it_was_cut() {
    let steps = || {
        vec![
            step("one", json!({"give": 1})),
            Step { for_each: each("{{ [1, 2] }}", 1), ..step("each", json!({"give": "{{ item }}"})) },
            step("last", json!({"give": ["{{ steps.one.output }}", "{{ steps.each.output }}"]})),
        ]
    };
    let mut finished = false;
    for cut in 0.. {
        let world = World::new();
        world.store.exclusive.store(true, SeqCst);
        world.deploy(workflow("w", steps())).await;
        let run = world.submit("w", json!({})).await;
        *world.store.left.lock().unwrap() = Some(cut);
        let ended = world.engine.drive(&owner(), "w", &run).await;
        world.engine.stop(Duration::from_secs(5)).await;
        let before = world.parts(&run).await;
        let next = world.next();
        if ended.is_ok_and(|head| head.state == RunState::Done) {
            finished = true;
            break;
        }
        assert!(world.engine.health().is_some(), "cut {cut}: a store that failed is told");
        let head = next.engine.drive(&owner(), "w", &run).await.unwrap();
        assert_eq!(head.state, RunState::Done, "cut {cut}");
        let parts = next.parts(&run).await;
        assert_eq!(run::output(&parts.attempts), Some(json!([1, [1, 2]])), "cut {cut}");
        let recorded = before.attempts.iter().filter(|attempt| attempt.attempt > 0).count();
        assert_eq!(next.fake.asked().len(), 4 - recorded, "cut {cut}: nothing that was recorded runs again");
        for (old, new) in before.attempts.iter().zip(&parts.attempts) {
            assert_eq!((&old.step, old.item, old.started_at), (&new.step, new.item, new.started_at), "cut {cut}");
        }
        let page: RunsPage = next.engine.records().runs(&owner(), "w", None, None, 10).await.unwrap();
        assert_eq!((page.runs.len(), page.total), (1, 1), "cut {cut}");
    }
    assert!(finished);
}

#[tokio::test]
async fn attempts_that_were_made_before_a_crash_count() {
    let world = World::new();
    world.store.exclusive.store(true, SeqCst);
    let mut flaky = step("flaky", json!({"fail": 9}));
    (flaky.retry.attempts, flaky.retry.delay) = (3, Duration::from_secs(3600));
    world.deploy(workflow("w", vec![flaky])).await;
    let run = world.submit("w", json!({})).await;
    world.serve();
    let mut events = world.engine.listen();
    // The first attempt is recorded, and the wait for the second begins.
    while !matches!(events.recv().await.unwrap().what, Happened::Left(_)) {}
    world.engine.stop(Duration::from_secs(5)).await;
    assert_eq!(world.parts(&run).await.attempts.len(), 1);
    let next = world.next();
    next.serve();
    next.until("the second attempt", |next| next.fake.asked().len() == 1).await;
    next.engine.stop(Duration::from_secs(5)).await;
    let numbers: Vec<_> = next.parts(&run).await.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn stopping_lets_a_step_end_and_leaves_the_rest_for_later() {
    let world = World::new();
    world.store.exclusive.store(true, SeqCst);
    world.deploy(workflow("w", vec![step("one", json!({"wait": true, "give": 1})), step("two", json!({}))])).await;
    let run = world.submit("w", json!({})).await;
    world.serve();
    world.until("the first step", |world| world.fake.now.load(SeqCst) == 1).await;
    let engine = world.engine.clone();
    let stopping = tokio::spawn(async move { engine.stop(Duration::from_secs(20)).await });
    world.until("the stop", |world| world.engine.inner.stop.is_cancelled()).await;
    let refused = world.engine.submit(&owner(), "w", &by_hand(json!({}))).await.unwrap_err();
    assert_eq!(refused.code(), "stopping");
    world.fake.gate.notify_one();
    stopping.await.unwrap();
    assert_eq!(world.fake.names(), ["one"], "nothing new begins");
    assert_eq!(world.parts(&run).await.attempts.len(), 1, "what ended in time is kept");
    let next = world.next();
    assert_eq!(next.engine.drive(&owner(), "w", &run).await.unwrap().state, RunState::Done);
    assert_eq!(next.fake.names(), ["two"]);
}

#[tokio::test]
async fn a_step_that_does_not_end_in_time_is_cut_off_and_runs_again() {
    let world = World::new();
    world.store.exclusive.store(true, SeqCst);
    world.deploy(workflow("w", vec![step("one", json!({"wait": "{{ trigger.body }}"}))])).await;
    let run = world.submit("w", json!(true)).await;
    world.serve();
    world.until("the step", |world| world.fake.now.load(SeqCst) == 1).await;
    world.engine.stop(Duration::from_millis(1)).await;
    assert_eq!(world.fake.dropped.load(SeqCst), 1);
    let next = world.next();
    next.fake.gate.notify_one();
    assert_eq!(next.engine.drive(&owner(), "w", &run).await.unwrap().state, RunState::Done);
    assert_eq!(next.fake.names(), ["one"]);
}

#[tokio::test]
async fn a_cancelled_run_stops_where_it_is() {
    let world = World::new();
    world.deploy(workflow("w", vec![step("one", json!({"wait": true})), step("two", json!({}))])).await;
    let run = world.submit("w", json!({})).await;
    world.serve();
    world.until("the step", |world| world.fake.now.load(SeqCst) == 1).await;
    world.engine.cancel(&owner(), &run).await.unwrap();
    world.until("the cut", |world| world.fake.dropped.load(SeqCst) == 1).await;
    assert_eq!(world.ended(&run).await.state, RunState::Cancelled);
    assert!(world.parts(&run).await.attempts.is_empty());
    world.engine.stop(Duration::from_secs(5)).await;
}

/// Two nodes, one set of rows, and the first stops giving signs of life while it works.
#[tokio::test]
async fn another_node_goes_on_where_one_went_silent_and_the_silent_one_writes_nothing_more() {
    let world = World::new();
    world
        .deploy(workflow("w", vec![step("one", json!({"give": 1})), step("two", json!({"wait": true, "give": 2}))]))
        .await;
    let run = world.submit("w", json!({})).await;
    world.serve();
    world.until("the second step", |world| world.fake.names().len() == 2).await;
    let next = world.next();
    next.store.exclusive.store(false, SeqCst);
    next.store.advance(crate::workflow::records::nodes::NODE_LEASE + Duration::from_secs(1));
    next.fake.gate.notify_one();
    assert_eq!(next.engine.drive(&owner(), "w", &run).await.unwrap().state, RunState::Done);
    assert_eq!(next.fake.names(), ["two"], "what the first node recorded is not done again");
    world.fake.gate.notify_one();
    world.until("the silent node's end", |world| world.engine.inner.running().is_empty()).await;
    assert_eq!(world.parts(&run).await.attempts.len(), 2);
    assert_eq!(world.ended(&run).await.state, RunState::Done);
    world.engine.stop(Duration::from_secs(5)).await;
}

fn time(text: &str) -> Time {
    serde_json::from_value(json!(text)).unwrap()
}

#[tokio::test]
async fn a_schedule_fires_once_for_all_that_it_missed_and_follows_its_zone_across_a_clock_change() {
    let world = World::new();
    // A Saturday: the clocks in Berlin go back in the night to Sunday, from +02:00 to +01:00.
    world.store.set_time(time("2026-10-24T10:00:00Z"));
    let schedule = Schedule { cron: "0 9 * * *".to_owned(), zone: "Europe/Berlin".to_owned() };
    let steps = vec![step("one", json!({"give": "{{ trigger.time }}"}))];
    world.deploy(Workflow { triggers: vec![Trigger::Schedule(schedule)], ..workflow("w", steps) }).await;
    world.serve();
    // Down for a while: Sunday, Monday and Tuesday are missed.
    world.store.set_time(time("2026-10-27T12:00:00Z"));
    world.until("a run", |world| world.fake.asked().len() == 1).await;
    assert_eq!(world.fake.asked()[0].1["give"], json!("2026-10-25T08:00:00Z"), "nine o'clock in winter time");
    world.store.set_time(time("2026-10-28T07:59:58Z"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.fake.asked().len(), 1, "not before its time");
    world.store.set_time(time("2026-10-28T08:00:01Z"));
    world.until("the next run", |world| world.fake.asked().len() == 2).await;
    assert_eq!(world.fake.asked()[1].1["give"], json!("2026-10-28T08:00:00Z"));
    world.engine.set_enabled(&owner(), "w", false).await.unwrap();
    world.store.set_time(time("2026-11-28T08:00:01Z"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.fake.asked().len(), 2);
    let head = world.engine.records().runs(&owner(), "w", None, None, 9).await.unwrap().runs.remove(0);
    assert_eq!(head.trigger, crate::workflow::records::TriggerKind::Schedule);
    world.engine.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn who_listens_hears_attempts_logs_and_the_end() {
    let world = World::new();
    world.deploy(workflow("w", vec![step("one", json!({"log": "hello"}))])).await;
    let mut events = world.engine.listen();
    let run = world.submit("w", json!({})).await;
    world.engine.drive(&owner(), "w", &run).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        heard.push(match event.what {
            Happened::Begun { step, attempt, .. } => format!("{step} {attempt}"),
            Happened::Log { line, .. } => line.message,
            Happened::Left(attempt) => format!("{:?}", attempt.state),
            Happened::Ended { state } => state.word().to_owned(),
        });
    }
    assert_eq!(heard, ["one 1", "hello", "Done", "done"]);
}
