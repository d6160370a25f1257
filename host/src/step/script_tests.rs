//! Scripts in the real runner, against a road made here.

use serde_json::json;
use tokio::sync::Barrier;

use super::tests::{Fake, demo, run_on};
use super::*;

/// The runner is compiled once for all tests, in whichever process they run.
fn steps() -> Steps {
    let cache = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-cache");
    Steps::new(StepsConfig { slots: 4, cache: Some(cache), ..StepsConfig::default() }).unwrap()
}

fn script(source: &str) -> Program {
    Program::Script(Script { name: "post.js".to_owned(), source: source.into() })
}

/// A script with an account, bound to prop `demo`.
fn with_account(body: &str) -> String {
    format!("export const props = {{ demo: {{ type: 'app', app: 'demo' }} }};\n{body}")
}

fn run() -> Run {
    Run { bindings: BTreeMap::new(), ..run_on(json!({}), Arc::new(Fake::default())) }
}

fn bound(road: Fake) -> Run {
    Run { bindings: BTreeMap::from([("demo".to_owned(), demo())]), ..run_on(json!({}), Arc::new(road)) }
}

async fn ran(source: &str, run: Run) -> Ran {
    let steps = steps();
    match steps.load(&script(source)).await {
        Ok(step) => steps.run(&step, run).await,
        Err(error) => Ran::unstarted(error),
    }
}

async fn execute(source: &str) -> Result<Value, StepError> {
    ran(source, run()).await.result.map(|output| output.value)
}

async fn value(source: &str) -> Value {
    execute(source).await.unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// With little time, so that a loop ends soon.
async fn failure(source: &str) -> (&'static str, String) {
    failure_within(Duration::from_millis(300), source).await
}

async fn failure_within(cpu: Duration, source: &str) -> (&'static str, String) {
    let limits = RunLimits { cpu, ..RunLimits::default() };
    let error = ran(source, Run { limits, ..run() }).await.result.unwrap_err();
    (error.code(), error.to_string())
}

#[tokio::test]
async fn what_a_script_returns_is_its_output() {
    assert_eq!(value("export default () => ({ n: 1 + 1, text: 'ä€😀' })").await, json!({ "n": 2, "text": "ä€😀" }));
    assert_eq!(value("export default () => {}").await, Value::Null);
    assert_eq!(value("export default async () => { await null; return [await 1] }").await, json!([1]));
    assert_eq!(value("const n = await Promise.resolve(3); export default () => n").await, json!(3));
    assert_eq!(value("export default () => '\\ud800'").await, json!("\u{fffd}"));
}

#[tokio::test]
async fn timers_come_in_order_and_need_no_other_wait() {
    let source = "export default () => new Promise((resolve) => {
        const seen = [];
        setTimeout(() => seen.push('late'), 20);
        setTimeout(() => seen.push('first'), 0);
        const never = setTimeout(() => seen.push('never'), 5);
        clearTimeout(never);
        setTimeout(() => Promise.resolve().then(() => seen.push('then')), 0);
        setTimeout(() => seen.push('after'), 1);
        setTimeout(() => resolve(seen), 30);
    });";
    assert_eq!(value(source).await, json!(["first", "then", "after", "late"]));
    // Far more than the host gives handles.
    let many = "export default async () => {
        const all = Array.from({ length: 5000 }, (_, n) => new Promise((r) => setTimeout(() => r(n), n % 7)));
        return (await Promise.all(all)).length;
    };";
    assert_eq!(value(many).await, json!(5_000));
}

#[tokio::test]
async fn ten_requests_of_a_script_are_on_their_way_at_once() {
    let road = Fake { together: Some(Barrier::new(10)), ..Fake::default() };
    let source = with_account(
        "export default async (input, { accounts }) => {
            const all = Array.from({ length: 10 }, (_, n) => accounts.demo.fetch(`/many/${n}`));
            const answers = await Promise.all(all);
            return Promise.all(answers.map(async (answer) => [answer.status, await answer.json()]));
        };",
    );
    let ran = ran(&source, bound(road)).await;
    assert_eq!(ran.result.unwrap().value, json!(vec![json!([200, "hello"]); 10]));
    assert_eq!(ran.requests.len(), 10);
}

#[tokio::test]
async fn refusals_reach_a_script_with_code_and_fix() {
    let source = with_account(
        "export default async (input, { accounts }) => {
            try { await accounts.demo.fetch('/denied'); } catch (error) { return [error.message, error.cause.code, error.cause.fix]; }
        };",
    );
    let told = ran(&source, bound(Fake::default())).await.result.unwrap().value;
    assert_eq!((&told[1], &told[2]), (&json!("denied"), &json!("ask the operator")), "{told}");
    let uncaught = with_account("export default (input, { accounts }) => accounts.demo.fetch('/denied');");
    let error = ran(&uncaught, bound(Fake::default())).await.result.unwrap_err();
    assert_eq!(error.code(), "script_thrown");
    assert!(error.to_string().contains("ask the operator"), "{error}");
}

#[tokio::test]
async fn a_large_body_streams_through_a_script() {
    let source = with_account(
        "export default async (input, { accounts }) => {
            const answer = await accounts.demo.fetch('/large');
            return (await answer.text()).length;
        };",
    );
    let ran = ran(&source, bound(Fake::default())).await;
    let error = ran.result.unwrap_err();
    assert_eq!(error.code(), "step_out_of_memory", "100 MiB do not fit as one text: {error}");
}

#[tokio::test]
async fn what_a_script_did_not_wait_for_is_driven_to_its_end() {
    let source = with_account(
        "export default (input, { accounts }) => {
            accounts.demo.fetch('/me').then((answer) => answer.json()).then((me) => console.log('late', me.login));
            setTimeout(() => console.log('a timer alone keeps nothing alive'), 3600000);
            return 'done';
        };",
    );
    let ran = ran(&source, bound(Fake::default())).await;
    assert_eq!(ran.result.unwrap().value, json!("done"));
    assert_eq!(ran.requests[0].status, Some(200));
    let lines: Vec<_> = ran.logs.iter().map(|line| line.message.as_str()).collect();
    assert!(lines[0].contains("await") && lines.contains(&"late ada"), "{lines:?}");
}

#[tokio::test]
async fn a_rejection_that_nobody_handles_is_told() {
    let lost = "export default () => {\n  Promise.reject(new TypeError('lost'));\n  return 1;\n}";
    let (code, text) = failure(lost).await;
    assert_eq!(code, "script_thrown");
    assert_eq!(text, "post.js:2:22: nobody handled this: TypeError: lost");
    let late = "export default async () => {
        const rejected = Promise.reject(new Error('handled later'));
        await new Promise((resolve) => setTimeout(resolve, 5));
        return rejected.catch(() => 'caught');
    }";
    assert_eq!(value(late).await, json!("caught"));
}

#[tokio::test]
async fn an_error_has_a_place_in_the_script() {
    for (source, code, text) in [
        ("export default () => {\n  null.x;\n}", "script_thrown", "post.js:2:3: TypeError: "),
        ("export default async () => {\n  await 1;\n  throw new RangeError('no');\n}", "script_thrown", "post.js:3:"),
        ("throw new Error('at the top');", "script_thrown", "post.js:1:"),
        ("export default () => { throw { a: 1 } }", "script_thrown", "post.js: threw {\"a\":1}"),
        ("export default () => { throw undefined }", "script_thrown", "post.js: threw "),
        ("export default () => JSON.parse('{')", "script_thrown", "post.js:1:"),
        ("export default () => {\n  const = 1;\n}", "script_syntax", "post.js:2:"),
        ("export default (", "script_syntax", "post.js:1:"),
        ("\n\nimport fs from 'node:fs';\nexport default 1", "script_syntax", "post.js:3:16: "),
        ("export default () =>\n  import(\"axios\")", "script_syntax", "post.js:2:"),
        ("import { nothing } from '@deputy/step'; export default 1", "script_syntax", "post.js"),
        ("export const x = 1", "script_shape", "post.js: "),
        ("export default 1", "script_shape", "post.js: "),
    ] {
        let (found, message) = failure(source).await;
        assert_eq!(found, code, "{source}: {message}");
        assert!(message.starts_with(text), "{source}: {message}");
    }
    let (_, message) = failure("import 'axios'; export default 1").await;
    assert!(message.contains("esbuild") && message.contains("deputy step new --js"), "{message}");
}

#[tokio::test]
async fn a_stack_shows_the_scripts_own_frames_and_stands_in_the_log() {
    let source = "function deep() { throw new Error('here') }\nexport default async () => { [1].map(() => deep()) }";
    let ran = ran(source, run()).await;
    let Err(StepError::Script { stack: Some(stack), line: Some(1), .. }) = &ran.result else {
        panic!("{:?}", ran.result)
    };
    assert_eq!(stack.lines().count(), 3, "{stack}");
    assert!(stack.lines().all(|line| line.contains("post.js:")), "{stack}");
    assert!(ran.logs.iter().any(|line| line.message.contains(stack.as_str())), "{:?}", ran.logs);
}

#[tokio::test]
async fn every_loop_ends_with_its_budget_and_says_where_it_was() {
    // QuickJS knows the places of most calls and accesses, and of each function; a bare loop has that of what stood
    // before it.
    for (source, line) in [
        ("export default () => {\n  for (;;);\n}", None),
        ("export default () => {\n  let n = 0;\n  for (;;) n += 1;\n}", Some(1)),
        ("export default async () => {\n  await 1;\n  while (true) Date.now()\n}", None),
        ("export default async () => {\n  for (;;) await null;\n}", None),
        ("export default () => {\n  for (;;) { try { for (;;); } catch {} }\n}", None),
        (
            "export default async () => {\n  for (;;) { try { await (async () => { for (;;); })() } catch {} }\n}",
            Some(2),
        ),
        ("const again = () => Promise.resolve().then(again);\nexport default again", None),
        ("export default () => {\n  return /^(a+)+$/.test('a'.repeat(40) + 'b');\n}", Some(2)),
        ("export default () => {\n  return new Promise(() => setTimeout(() => { for (;;); }, 1));\n}", Some(2)),
        ("export default () => ({\n  toJSON() { for (;;); } })", Some(2)),
    ] {
        let (code, message) = failure(source).await;
        assert_eq!(code, "step_cpu", "{source}: {message}");
        assert!(message.contains("more than 300 ms of processor time"), "{message}");
        if let Some(line) = line {
            assert!(message.starts_with(&format!("post.js:{line}:")), "{source}: {message}");
        }
    }
    let (code, message) = failure("for (;;);\nexport default 1").await;
    assert_eq!((code, message.starts_with("post.js:1:")), ("step_cpu", true), "{message}");
}

#[tokio::test]
async fn every_recursion_ends_as_an_error() {
    for source in [
        "const f = () => f(); export default f",
        "const f = (n) => 1 + f(n + 1); export default () => f(0)",
        "const f = (...all) => f(...all, 1, 2, 3); export default f",
        "export default () => { const o = { get x() { return this.x } }; return o.x }",
        "export default () => { const o = { toString() { return `${this}` } }; return `${o}` }",
        "export default () => { const o = { toJSON() { return JSON.stringify(this) } }; return JSON.stringify(o) }",
        "export default () => { let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep }",
        "export default () => JSON.parse('['.repeat(1e5) + ']'.repeat(1e5))",
        "export default () => { let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; return `${deep}` }",
        "export default () => new RegExp('(?:'.repeat(1e5) + ')'.repeat(1e5))",
        "export default () => eval('['.repeat(1e5))",
        "export default () => { let p = {}; for (let i = 0; i < 2e4; i++) p = new Proxy(p, {}); return p.x }",
        "export default () => { const f = () => [2, 1].sort(f); return f() }",
        "export default () => { const f = () => 'a'.replace(/a/, f); return f() }",
        "export default () => { class A { constructor() { new A() } } new A() }",
        "export default () => { function* g() { yield* g() } return [...g()] }",
        "export default () => Reflect.apply(function f() { Reflect.apply(f, null, []) }, null, [])",
        "export default async () => { const f = async () => { await f() }; await f() }",
    ] {
        let (code, message) = failure_within(Duration::from_secs(10), source).await;
        assert_eq!(code, "step_stack_overflow", "{source}: {message}");
        assert!(message.starts_with("post.js"), "{source}: {message}");
    }
    let (_, message) = failure("const f = () => {\n  f();\n};\nexport default f").await;
    assert!(message.starts_with("post.js:2:"), "{message}");
    // An ordinary depth is no matter, and neither is a caught overflow.
    let depth = "const f = (n) => n === 0 ? 0 : 1 + f(n - 1); export default () => f(400)";
    assert_eq!(value(depth).await, json!(400));
    let caught = "const f = () => f(); export default () => { try { f() } catch (error) { return error.name } }";
    assert_eq!(value(caught).await, json!("RangeError"));
}

#[tokio::test]
async fn too_much_memory_ends_as_an_error() {
    for source in [
        "export default () => 'x'.repeat(2 ** 30 - 2)",
        "export default () => 'x'.repeat(2 ** 30)",
        "export default () => { let s = 'xy'; for (;;) s += s }",
        "export default () => { const all = []; for (;;) all.push({ n: all.length }) }",
        "export default async () => { const all = []; for (;;) { await null; all.push(new Array(1000).fill(0)) } }",
        "export default () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20)) }",
        "export default () => new Array(2 ** 27).fill(1)",
        "export default () => 'x'.repeat(1 << 20).padStart(2 ** 29, 'y')",
        "export default () => JSON.stringify(Array(1 << 20).fill('x'.repeat(1000)))",
        "const m = new Map(); export default () => { for (let i = 0; ; i++) m.set(i, i) }",
    ] {
        let limits = RunLimits { cpu: Duration::from_secs(30), ..RunLimits::default() };
        let error = ran(source, Run { limits, ..run() }).await.result.unwrap_err();
        assert_eq!(error.code(), "step_out_of_memory", "{source}: {error}");
        assert!(error.to_string().starts_with("post.js"), "{source}: {error}");
    }
    let caught = "export default () => { try { 'x'.repeat(2 ** 29) } catch { return 'went on' } }";
    assert_eq!(value(caught).await, json!("went on"));
}

#[tokio::test]
async fn an_output_that_is_no_json_is_named() {
    for (source, word) in [
        ("export default () => { const o = {}; o.o = o; return o }", "circle"),
        ("export default () => 1n", "BigInt"),
        ("export default () => ({ deep: [1n] })", "BigInt"),
        ("export default () => () => 1", "function"),
        ("export default () => Symbol('s')", "symbol"),
    ] {
        let (code, message) = failure(source).await;
        assert_eq!(code, "script_output", "{source}: {message}");
        assert!(message.contains(word), "{source}: {message}");
    }
}

#[tokio::test]
async fn a_promise_that_can_never_settle_is_told_at_once() {
    for source in [
        "export default () => new Promise(() => {})",
        "await new Promise(() => {}); export default 1",
        "export default async () => { setTimeout(() => {}, 1); await new Promise(() => {}) }",
    ] {
        assert_eq!(failure(source).await.0, "script_stuck", "{source}");
    }
}

#[tokio::test]
async fn chance_and_time_are_of_the_run() {
    let source = "export default () => ({
        math: [Math.random(), Math.random()],
        bytes: Array.from(crypto.getRandomValues(new Uint8Array(16))),
        now: Date.now(), elapsed: performance.now(), origin: performance.timeOrigin,
    })";
    let before = crate::time::Time::now().as_ms();
    let (one, two) = (value(source).await, value(source).await);
    let after = crate::time::Time::now().as_ms();
    assert_ne!(one["math"], two["math"]);
    assert_ne!(one["math"][0], one["math"][1]);
    assert_ne!(one["bytes"], two["bytes"]);
    for said in [&one, &two] {
        let now = said["now"].as_i64().unwrap();
        assert!((before..=after).contains(&now), "{now}");
        assert!((before..=after).contains(&(said["origin"].as_f64().unwrap() as i64)));
        assert!(said["elapsed"].as_f64().unwrap() <= (after - before) as f64);
    }
}

#[tokio::test]
async fn input_that_does_not_fit_starts_no_script() {
    let source = "export const props = { count: { type: 'integer' } };\nexport default (input) => input.count + 1";
    let with = async |input: Value| ran(source, Run { input, ..run() }).await.result;
    assert_eq!(with(json!({ "count": 2 })).await.unwrap().value, json!(3));
    for input in [json!({ "count": "2" }), json!({}), json!({ "count": 2, "more": 1 }), json!([])] {
        assert_eq!(with(input.clone()).await.unwrap_err().code(), "step_input", "{input}");
    }
}

#[tokio::test]
async fn two_runs_share_nothing() {
    let source = "globalThis.count = (globalThis.count ?? 0) + 1;
        Object.prototype.leak ??= 'new';
        const before = Object.prototype.leak; Object.prototype.leak = 'old';
        export default () => [globalThis.count, before]";
    let steps = steps();
    let step = steps.load(&script(source)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(steps.run(&step, run()).await.result.unwrap().value, json!([1, "new"]));
    }
}

#[tokio::test]
async fn a_hostile_script_finds_no_native_and_breaks_only_itself() {
    let names = "export default () => {
        const all = new Set();
        const seen = new Set();
        const walk = (object, path) => {
            if ((typeof object !== 'object' && typeof object !== 'function') || object === null || seen.has(object)) return;
            seen.add(object);
            for (const key of Reflect.ownKeys(object)) {
                const property = Reflect.getOwnPropertyDescriptor(object, key);
                for (const value of [property.value, property.get, property.set]) {
                    if (typeof value === 'function') all.add(value.name);
                    walk(value, path);
                }
            }
            walk(Reflect.getPrototypeOf(object));
        };
        walk(globalThis);
        return [...all];
    }";
    let found: Vec<String> = serde_json::from_value(value(names).await).unwrap();
    assert!(found.len() > 300, "the walk finds little: {found:?}");
    for native in ["start", "clearTimer", "utf8Decode", "hmac", "account"] {
        assert!(!found.iter().any(|name| name == native), "{native} can be reached");
    }
    let gone = "export default () => [typeof globalThis.__host, typeof globalThis.__env, '__host' in globalThis]";
    assert_eq!(value(gone).await, json!(["undefined", "undefined", false]));
    // What the runner itself reads must hold whatever a script does to the objects that everybody shares.
    for source in [
        "Object.defineProperty(Object.prototype, 'kind', { get() { for (;;); } });\nexport default () => { throw 1 }",
        "Object.prototype.then = (r) => r('no'); export default () => 1",
        "Promise.prototype.then = () => { throw new Error('mine') }; export default async () => 1",
        "Error.prepareStackTrace = () => { for (;;); }; export default () => { null.x }",
        "globalThis.JSON = null; export default () => ({ a: 1 })",
        "Array.prototype[Symbol.iterator] = null; export default () => [1]",
        "Math.random = () => 4; export default () => Math.random()",
        "export default () => { throw new Proxy(new Error('x'), { get() { throw 1 } }) }",
        "const get = () => { for (;;); };
         export default () => { throw Object.defineProperty(new Error('x'), 'stack', { get }) }",
        "for (const key of Reflect.ownKeys(globalThis)) { try { delete globalThis[key] } catch {} } export default () => 1",
    ] {
        let limits = RunLimits { cpu: Duration::from_millis(300), ..RunLimits::default() };
        if let Err(error) = ran(source, Run { limits, ..run() }).await.result {
            let known = ["script_thrown", "step_cpu", "script_output", "script_stuck", "script_shape"];
            assert!(known.contains(&error.code()), "{source}: {} {error}", error.code());
        }
    }
}

/// The memory of a run before it begins: the data segments of the runner's module.
fn snapshot() -> Vec<u8> {
    use wasmparser::{DataKind, Operator, Parser, Payload};
    let mut image = Vec::new();
    for payload in Parser::new(0).parse_all(script::RUNNER) {
        let Payload::DataSection(section) = payload.unwrap() else { continue };
        for segment in section {
            let segment = segment.unwrap();
            // A passive segment of no bytes may stand for one that the snapshot has replaced.
            let DataKind::Active { offset_expr, .. } = segment.kind else {
                assert!(segment.data.is_empty(), "{} bytes have no place", segment.data.len());
                continue;
            };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read().unwrap() else {
                panic!("the snapshot knows its place")
            };
            let (start, end) = (value as usize, value as usize + segment.data.len());
            image.resize(image.len().max(end), 0);
            image[start..end].copy_from_slice(segment.data);
        }
    }
    image
}

/// The pages that a run writes are what it costs: each is a fault, and a copy of what the snapshot has there.
#[tokio::test]
async fn a_trivial_script_changes_little_of_the_snapshot() {
    const MAX_CHANGED_BYTES: usize = 768 << 10;
    let (before, changed) = (snapshot(), std::sync::atomic::AtomicUsize::new(0));
    assert!(before.len() > 1 << 20, "the snapshot has {} bytes", before.len());
    let look = |memory: &[u8]| {
        let zeros = [0; 4096];
        let then = before.chunks(4096).chain(std::iter::repeat(&zeros[..]));
        let pages = memory.chunks(4096).zip(then).filter(|(now, then)| !now.starts_with(then)).count();
        changed.fetch_max(pages * 4096, std::sync::atomic::Ordering::Relaxed);
        false
    };
    let program = script("export default () => ({ n: 1 })");
    let (ran, _) = steps().run_inspected(&program, run(), &look).await;
    ran.result.unwrap();
    let changed = changed.into_inner();
    println!("{} KiB of a snapshot of {} KiB", changed >> 10, before.len() >> 10);
    assert!(changed > 0 && changed <= MAX_CHANGED_BYTES, "{changed} bytes are changed");
}

#[tokio::test]
#[ignore = "a measurement"]
async fn time() {
    let steps = steps();
    let step = steps.load(&script("export default (input) => ({ n: 1 })")).await.unwrap();
    for _ in 0..5 {
        let mut times = Vec::new();
        for _ in 0..400 {
            let run = run();
            let start = std::time::Instant::now();
            steps.run(&step, run).await.result.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("p10 {:?} p50 {:?} p90 {:?}", times[40], times[200], times[360]);
    }
}
