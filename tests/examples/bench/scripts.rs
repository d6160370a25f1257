//! JavaScript steps: from the start of a fresh sandbox to the result, beside Node; and a thousand runs that wait.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deputy::caller::Caller;
use deputy::egress::{Answer, AnswerBody, EgressError, Grant, Request};
use deputy::ids::{AccountId, RunId};
use deputy::step::{Bound, Program, Road, Run, RunLimits, Script, Step, Steps, StepsConfig};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::{NoRoad, ROUNDS, Result, median, resident, row};

const TRIVIAL: &str = "export const props = { n: { type: 'integer' } };\n\
                       export default (input) => ({ n: input.n + 1 });\n";

fn script(source: &str) -> Program {
    Program::Script(Script { name: "bench.js".to_owned(), source: source.into() })
}

pub fn run(input: serde_json::Value, bindings: BTreeMap<String, Bound>, road: Arc<dyn Road>) -> Run {
    Run {
        id: RunId::new(),
        caller: Caller::local(),
        input,
        context: serde_json::Value::Null,
        bindings,
        ambient: Vec::new(),
        road,
        limits: RunLimits::default(),
        log: None,
    }
}

/// A trivial script in a fresh sandbox, beside a Node process and a Node worker thread that compute the same.
pub async fn trivial() -> Result<()> {
    const RUNS: usize = 100;
    let steps = Steps::new(StepsConfig::default())?;
    let step = steps.load(&script(TRIVIAL)).await?;
    let (mut ours, mut process) = (Vec::new(), Vec::new());
    let before = resident();
    for _ in 0..ROUNDS {
        for _ in 0..RUNS {
            let began = Instant::now();
            once(&steps, &step).await?;
            ours.push(began.elapsed());
        }
        let began = Instant::now();
        let said = Command::new("node").args(["-e", "console.log(JSON.stringify({ n: 1 + 1 }))"]).output()?;
        assert_eq!(said.stdout, b"{\"n\":2}\n");
        process.push(began.elapsed());
    }
    let grown = resident().saturating_sub(before) / 1024;
    let ours = median(ours);
    row("a trivial JavaScript step, beside `node -e`", ours, median(process), "1/50");
    row("the same, beside a Node worker thread", ours, worker()?, "1/5");
    println!("{:<44} {grown} KiB more resident after {} runs", "", ROUNDS * RUNS);
    Ok(())
}

async fn once(steps: &Steps, step: &Step) -> Result<()> {
    let ran = steps.run(step, run(serde_json::json!({ "n": 1 }), BTreeMap::new(), Arc::new(NoRoad))).await;
    assert_eq!(ran.result?.value, serde_json::json!({ "n": 2 }));
    Ok(())
}

/// From `new Worker` to its message, in a Node process that is warm.
fn worker() -> Result<Duration> {
    let program = "
        const { Worker } = require('node:worker_threads');
        const source = 'require(\"node:worker_threads\").parentPort.postMessage({ n: 1 + 1 })';
        const once = () => new Promise((done) => {
            const began = process.hrtime.bigint();
            new Worker(source, { eval: true }).once('message', () => done(Number(process.hrtime.bigint() - began)));
        });
        (async () => {
            const all = [];
            for (let n = 0; n < 200; n += 1) all.push(await once());
            console.log(all.sort((a, b) => a - b)[100]);
        })();";
    let said = Command::new("node").args(["-e", program]).output()?;
    Ok(Duration::from_nanos(String::from_utf8(said.stdout)?.trim().parse()?))
}

/// A thousand runs that all wait for a slow server at once: what each of them holds meanwhile.
pub async fn waiting(app: &Arc<deputy_declaration::types::App>) -> Result<()> {
    const RUNS: usize = 1_000;
    let source = "export const props = { it: { type: 'app', app: 'bench' } };\n\
                  export default async (input, { accounts }) => (await accounts.it.fetch('/json')).status;\n";
    let steps = Arc::new(Steps::new(StepsConfig::default())?);
    let step = steps.load(&script(source)).await?;
    let slow = Arc::new(Slow { arrived: AtomicUsize::new(0), all: Notify::new(), go: Notify::new() });
    let bound = Bound {
        account: AccountId::new(),
        app: "bench".to_owned(),
        name: "bench/default".to_owned(),
        identity: None,
        scopes: Vec::new(),
        inputs: BTreeMap::new(),
        origins: Vec::new(),
        declaration: app.clone(),
        method: 0,
    };
    let before = resident();
    let began = Instant::now();
    let runs: Vec<_> = (0..RUNS)
        .map(|_| {
            let (steps, step) = (steps.clone(), step.clone());
            let bindings = BTreeMap::from([("it".to_owned(), bound.clone())]);
            let run = run(serde_json::json!({}), bindings, slow.clone());
            tokio::spawn(async move { steps.run(&step, run).await.result.map(|output| output.value) })
        })
        .collect();
    slow.all.notified().await;
    let (held, waited) = (resident().saturating_sub(before) / 1024 / RUNS, began.elapsed());
    slow.go.notify_waiters();
    for run in runs {
        assert_eq!(run.await??, serde_json::json!(200));
    }
    println!(
        "{:<44} {held} KiB resident a run; all began within {} ms",
        "1,000 runs that wait at once",
        waited.as_millis()
    );
    Ok(())
}

/// Answers when all have arrived.
struct Slow {
    arrived: AtomicUsize,
    all: Notify,
    go: Notify,
}

impl Road for Slow {
    fn send<'a>(&'a self, _: &'a Grant, _: Request) -> BoxFuture<'a, std::result::Result<Answer, EgressError>> {
        Box::pin(async move {
            let go = self.go.notified();
            if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == 1_000 {
                self.all.notify_one();
            }
            go.await;
            let body = AnswerBody::from_stream(futures_util::stream::empty());
            let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
            Ok(Answer { status, headers, body, failed: false, renewed: false, throttled: None })
        })
    }

    fn send_plain<'a>(&'a self, _: &'a Caller, _: Request) -> BoxFuture<'a, std::result::Result<Answer, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("nothing plain is measured".to_owned())) })
    }
}
