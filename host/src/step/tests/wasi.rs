//! Programs of other languages: what they find behind WASI, and where their requests go.

use super::*;

fn program(name: &str) -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("target/guests/components").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", path.display()))
}

const API: &str = "https://api.demo.example";

/// A run with accounts of the demo app bound to these props, those with an `*` marked ambient.
fn run_with(road: &Arc<Fake>, props: &[&str], input: Value) -> Run {
    let bound = |prop: &&str| {
        let prop = prop.trim_start_matches('*');
        let bound = Bound { name: format!("demo/{prop}"), origins: vec![API.to_owned()], ..demo() };
        (prop.to_owned(), bound)
    };
    let ambient = props.iter().filter_map(|prop| prop.strip_prefix('*')).map(str::to_owned).collect();
    Run { bindings: props.iter().map(bound).collect(), ambient, ..run_on(input, road.clone()) }
}

async fn fetch(road: &Arc<Fake>, props: &[&str], input: Value) -> Ran {
    run_program("wasi_fetch", run_with(road, props, input)).await
}

async fn run_program(name: &str, run: Run) -> Ran {
    let steps = steps();
    let step = steps.load(&component(&program(name))).await.unwrap();
    steps.run(&step, run).await
}

async fn probe(input: Value) -> Ran {
    run_program("wasi_probe", Run { bindings: BTreeMap::new(), ..run(input) }).await
}

fn warnings(ran: &Ran) -> String {
    let warnings = ran.logs.iter().filter(|line| line.level == LogLevel::Warn);
    warnings.map(|line| line.message.as_str()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_command_says_what_it_is_and_declares_nothing() {
    let step = steps().load(&component(&program("wasi_fetch"))).await.unwrap();
    assert!(step.is_command() && step.props().is_empty());
    assert!(step.wasi().iter().any(|name| name.starts_with("wasi:http/outgoing-handler@0.2.")), "{:?}", step.wasi());
    let native = steps().load(&component(&fixtures::guest("ten"))).await.unwrap();
    assert!(!native.is_command() && native.wasi().is_empty());
}

#[tokio::test]
async fn a_client_that_knows_no_accounts_goes_through_the_ambient_one() {
    let road = Arc::new(Fake::default());
    let body = json!({ "x": "y".repeat(100_000) });
    let headers = json!({ "x-mine": "1", "accept-encoding": "br" });
    let input = json!({ "method": "POST", "url": format!("{API}/me?q=1"), "headers": headers, "body": body });
    let ran = fetch(&road, &["*demo", "other"], input).await;
    let output = ran.result.as_ref().unwrap().value.clone();
    assert_eq!((&output["status"], &output["body"]), (&json!(200), &json!("hello")), "{output}");
    let summary = &ran.requests[0];
    assert_eq!(
        (summary.account.as_str(), summary.method.as_str(), summary.origin.as_str(), summary.path.as_str()),
        ("demo/demo", "POST", API, "/me")
    );
    let (seen, grants) = (road.requests.lock().unwrap(), road.grants.lock().unwrap());
    assert_eq!((seen.len(), grants.len(), seen[0].plain), (1, 1, false));
    assert_eq!(seen[0].url, format!("{API}/me?q=1"));
    assert_eq!(seen[0].body, body.to_string());
    // What frames the message is the host's; nothing else is lost.
    let names: Vec<_> = seen[0].headers.keys().map(http::HeaderName::as_str).collect();
    assert!(names.contains(&"x-mine"), "{names:?}");
    assert!(!["host", "content-length", "accept-encoding"].iter().any(|name| names.contains(name)), "{names:?}");
    assert_eq!(grants[0].narrow.as_ref().unwrap().prop, "demo");
}

#[tokio::test]
async fn without_an_ambient_account_a_request_is_plain_and_told_what_reaches_the_url() {
    let road = Arc::new(Fake::default());
    let ran = fetch(&road, &["demo"], json!({ "url": format!("{API}/me") })).await;
    assert_eq!(ran.result.as_ref().unwrap_err().code(), "step_failed");
    assert!(road.grants.lock().unwrap().is_empty(), "no account was chosen");
    let said = warnings(&ran);
    assert!(said.contains(&format!("GET {API}/me: nothing may be sent to")), "{said}");
    assert!(said.contains("the account of prop `demo` reaches it") && said.contains("--ambient demo"), "{said}");
    // The guest is told with a code, and says it in its own words.
    assert!(ran.result.unwrap_err().to_string().contains("HttpRequestDenied"), "{said}");

    // An ambient account elsewhere changes nothing, and a host that the operator allows is reached without any.
    let ran = fetch(&road, &["*demo"], json!({ "url": "https://open.example/x" })).await;
    assert_eq!(ran.result.unwrap().value["body"], "plain");
    assert!(road.requests.lock().unwrap().last().unwrap().plain);
    assert_eq!(ran.requests[0].account, "");
}

#[tokio::test]
async fn two_ambient_accounts_that_reach_a_url_are_an_error_that_lists_them() {
    let road = Arc::new(Fake::default());
    let ran = fetch(&road, &["*demo", "*other"], json!({ "url": format!("{API}/me") })).await;
    let said = warnings(&ran);
    assert!(said.contains("props `demo`, `other`") && said.contains("one-account"), "{said}");
    assert!(said.contains("mark only one of them ambient"), "{said}");
    assert!(ran.result.unwrap_err().to_string().contains("HttpRequestDenied"));
    assert!(road.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_marker_in_the_place_of_the_token_names_its_account() {
    let road = Arc::new(Fake::default());
    let input = json!({ "url": format!("{API}/me"), "marker": "other" });
    let ran = run_program("wasi_marked", run_with(&road, &["demo", "other"], input)).await;
    let output = &ran.result.as_ref().unwrap().value;
    assert_eq!(output["answer"], json!({ "status": 200, "body": "{\"login\":\"ada\"}" }), "{output}");
    assert_eq!(output["typed"], "", "standard input is empty");
    assert_eq!(road.grants.lock().unwrap()[0].narrow.as_ref().unwrap().prop, "other");
    assert!(!road.requests.lock().unwrap()[0].headers.contains_key("authorization"));
    let lines: Vec<_> = ran.logs.iter().map(|line| (line.level, line.message.as_str())).collect();
    assert_eq!(
        lines,
        [(LogLevel::Info, "a line for people"), (LogLevel::Warn, "a line for people who worry")],
        "what a step writes is its log"
    );
}

#[tokio::test]
async fn a_marker_in_another_place_is_text_and_told_so() {
    let road = Arc::new(Fake::default());
    let input = json!({ "url": "https://open.example/x", "marker": "demo", "header": "x-token" });
    let ran = run_program("wasi_marked", run_with(&road, &["demo"], input)).await;
    assert!(ran.result.is_ok());
    assert!(road.grants.lock().unwrap().is_empty());
    assert!(warnings(&ran).contains("the marker of prop `demo` stands in"), "{:?}", ran.logs);
}

#[tokio::test]
async fn files_environment_arguments_and_sockets_are_empty() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ran = probe(json!({ "do": "look", "address": address, "name": "localhost:80" })).await;
    let seen = ran.result.unwrap().value;
    assert_eq!((&seen["environment"], &seen["arguments"]), (&json!([]), &json!([])), "{seen:#}");
    for attempt in ["read", "read_here", "list", "write", "make", "tcp", "listen", "udp", "name", "resolve"] {
        assert!(seen[attempt]["error"].is_string(), "{attempt}: {seen:#}");
    }
    // The code of a lookup that the host did not even begin.
    assert_eq!(seen["resolve"]["error"], "permanent-resolver-failure", "{seen:#}");
    for denied in ["tcp", "listen", "udp"] {
        assert!(seen[denied]["error"].as_str().unwrap().contains("denied"), "{denied}: {seen:#}");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nothing reached the network");
    assert!(!std::path::Path::new("/tmp/planted").exists());
    assert!(ran.requests.is_empty());
}

#[tokio::test]
async fn standard_input_is_the_input_and_standard_output_the_output() {
    for input in [json!({ "do": "echo", "ä": [1, null] }), json!({ "do": "echo", "large": "x".repeat(1 << 20) })] {
        assert_eq!(probe(input.clone()).await.result.unwrap().value, input);
    }
    assert_eq!(probe(json!({ "do": "nothing" })).await.result.unwrap().value, Value::Null);
    for bad in ["prose", "not-utf8"] {
        let error = probe(json!({ "do": bad })).await.result.unwrap_err();
        assert_eq!(error.code(), "step_output_invalid", "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_command_that_fails_is_told_by_its_last_words() {
    let ran = probe(json!({ "do": "exit" })).await;
    let error = ran.result.as_ref().unwrap_err();
    assert_eq!(error.code(), "step_failed");
    assert!(error.to_string().ends_with(": the reason"), "{error}");
    assert!(error.to_string().contains("it ended with exit code"), "{error}");
    assert_eq!(warnings(&ran), "first\nthe reason");
    let error = probe(json!({ "do": "fail" })).await.result.unwrap_err();
    assert!(error.to_string().contains("exit code 1, and it wrote nothing to standard error"), "{error}");
    let ran = probe(json!({ "do": "panic" })).await;
    assert_eq!(ran.result.as_ref().unwrap_err().code(), "step_trap");
    assert!(warnings(&ran).contains("the author's own words"), "{:?}", ran.logs);
}

#[tokio::test]
async fn what_a_command_writes_is_bounded() {
    let error = probe(json!({ "do": "flood" })).await.result.unwrap_err();
    assert_eq!(error.code(), "step_output_invalid");
    assert!(error.to_string().contains("more than 8388608 bytes"), "{error}");

    let ran = probe(json!({ "do": "noise" })).await;
    assert!(ran.result.is_ok());
    assert_eq!(ran.logs.len(), 10_001);
    assert!(ran.logs[10_000].message.contains("the log ends here"));

    let limits = RunLimits { cpu: Duration::from_millis(400), log_bytes: 100_000, ..RunLimits::default() };
    let endless = Run { limits, bindings: BTreeMap::new(), ..run(json!({ "do": "one-line" })) };
    let ended = run_program("wasi_probe", endless).await;
    assert_eq!(ended.result.unwrap_err().code(), "step_cpu");
    assert!(ended.logs.iter().map(|line| line.message.len()).sum::<usize>() < 200_000);
}

#[tokio::test]
async fn what_a_guest_makes_the_host_hold_is_bounded() {
    let error = probe(json!({ "do": "fields", "each": 20 })).await.result.unwrap_err();
    assert_eq!(error.code(), "step_handles", "{error}");
    let error = probe(json!({ "do": "fields", "each": 40 })).await.result.unwrap_err();
    assert!(error.to_string().contains("total size of fields exceeds limit"), "{error}");

    // A body that is larger than the host would keep is refused while it is written.
    let road = Arc::new(Fake::default());
    let limits = RunLimits { body_bytes_in_flight: 1 << 20, ..RunLimits::default() };
    let upload = |bytes: u64| {
        let input = json!({ "do": "upload", "url": "https://open.example/x", "bytes": bytes });
        Run { limits: limits.clone(), ..run_with(&road, &[], input) }
    };
    let large = run_program("wasi_probe", upload(1 << 40)).await;
    let said = large.result.as_ref().unwrap().value["error"].as_str().unwrap().to_owned();
    assert!(warnings(&large).contains("more than 1048576 bytes together"), "{said} {:?}", large.logs);
    assert!(road.requests.lock().unwrap().is_empty());
    let small = run_program("wasi_probe", upload(1 << 19)).await;
    assert_eq!(small.result.unwrap().value, json!({ "ok": 200 }));
    assert_eq!(road.requests.lock().unwrap()[0].body.len(), 1 << 19);
}

#[tokio::test]
async fn limits_of_requests_hold_through_this_door_too() {
    let road = Arc::new(Fake::default());
    let limits = RunLimits { requests: 0, ..RunLimits::default() };
    let run = Run { limits, ..run_with(&road, &["*demo"], json!({ "url": format!("{API}/me") })) };
    let ended = run_program("wasi_fetch", run).await;
    assert!(warnings(&ended).contains("a run may send 0 requests"), "{:?}", ended.logs);

    for (path, word) in
        [("/never", "no answer within 20 ms"), ("/broken", "cut short"), ("/stands-still", "stood still")]
    {
        let limits = RunLimits {
            request_timeout: Duration::from_millis(20),
            idle_timeout: Duration::from_millis(20),
            ..RunLimits::default()
        };
        let run = Run { limits, ..run_with(&road, &["*demo"], json!({ "url": format!("{API}{path}") })) };
        let ended = run_program("wasi_fetch", run).await;
        assert_eq!(ended.result.as_ref().unwrap_err().code(), "step_failed");
        assert!(warnings(&ended).contains(word), "{path}: {:?}", ended.logs);
    }
}

#[tokio::test]
async fn requests_through_this_door_end_with_the_run() {
    let road = Arc::new(Fake::default());
    let limits = RunLimits { deadline: Duration::from_millis(500), ..RunLimits::default() };
    let run = Run { limits, ..run_with(&road, &["*demo"], json!({ "url": format!("{API}/never") })) };
    assert_eq!(run_program("wasi_fetch", run).await.result.unwrap_err().code(), "step_deadline");
    let let_go = async {
        while Arc::strong_count(&road) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), let_go).await.expect("the run still holds the road");
    assert_eq!(road.given_up.load(Ordering::SeqCst), road.arrived.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_step_in_python_runs_with_its_props_and_its_client() {
    // An interpreter of 20 MB takes a minute to compile: kept beside the built guests.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cache = Some(root.join("target/guests/compiled"));
    let steps = Steps::new(StepsConfig { slots: 2, cache, ..StepsConfig::default() }).unwrap();
    let step = steps.load(&component(&program("wasi_python"))).await.unwrap();
    let PropKind::App(need) = &step.props()[0].kind else { panic!("{:?}", step.props()) };
    assert!(need.ambient && need.app == "demo", "{need:?}");

    let road = Arc::new(Fake::default());
    let ran = steps.run(&step, run_with(&road, &["demo"], json!({ "url": format!("{API}/me") }))).await;
    assert_eq!(ran.result.unwrap().value, json!({ "status": 200, "body": { "login": "ada" } }), "{:?}", ran.logs);
    assert_eq!(road.grants.lock().unwrap()[0].narrow.as_ref().unwrap().prop, "demo");
    assert_eq!(ran.logs[0].message, "a line for people");

    let look = async || steps.run(&step, run_with(&road, &["demo"], json!({}))).await.result.unwrap().value;
    let (one, two) = (look().await, look().await);
    assert_eq!((&one["arguments"], &one["environment"]), (&json!([]), &json!({})), "{one:#}");
    for attempt in ["write", "tcp", "name"] {
        assert!(one[attempt]["error"].is_string(), "{attempt}: {one:#}");
    }
    assert_ne!(one["random"], two["random"], "each run has randomness of its own");
}
