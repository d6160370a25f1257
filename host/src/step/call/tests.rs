//! Calls against a road made here, which answers what it was told to and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;
use deputy_declaration::types::{App, Counter, Cursor, NamedTemplate, Pagination, Rule};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::*;
use crate::caller::Caller;
use crate::egress::{Answer, AnswerBody, Body, EgressError, Grant, Request, Throttled};
use crate::ids::AccountId;
use crate::step::{Bound, LogLevel, Ran, Road, RunLimits};
use crate::wasm::fixtures;

/// What the road does with one request.
enum Told {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
        failed: bool,
        throttled: Option<Throttled>,
    },
    Error(EgressError),
    /// The body ends with this error.
    Breaks(EgressError),
    Never,
}

/// One request as it came: `GET /x?a=b`, and its body.
type Came = (String, String);

#[derive(Default)]
struct Fake {
    told: Mutex<VecDeque<Told>>,
    came: Mutex<Vec<Came>>,
}

impl Fake {
    fn new(told: impl IntoIterator<Item = Told>) -> Self {
        Self { told: Mutex::new(told.into_iter().collect()), came: Mutex::default() }
    }

    fn came(&self) -> Vec<String> {
        self.came.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    fn bodies(&self) -> Vec<String> {
        self.came.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

impl Road for Fake {
    fn send<'a>(&'a self, _grant: &'a Grant, request: Request) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async move {
            let body = match request.body {
                Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Body::Empty => String::new(),
                Body::Stream { .. } => panic!("a call sends no streams"),
            };
            self.came.lock().unwrap().push((format!("{} {}", request.method, request.url), body));
            let told = self.told.lock().unwrap().pop_front().expect("a request that nobody expected");
            let answer = |status: u16, body| Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body,
                failed: false,
                renewed: false,
                throttled: None,
            };
            match told {
                Told::Answer { status, headers, body, failed, throttled } => {
                    let body = AnswerBody::from_stream(stream::iter([Ok(Bytes::from(body))]));
                    let mut answer = Answer { failed, throttled, ..answer(status, body) };
                    for (name, value) in headers {
                        answer.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
                    }
                    Ok(answer)
                }
                Told::Error(error) => Err(error),
                Told::Breaks(error) => {
                    let pieces = [Ok(Bytes::from_static(b"begun")), Err(error)];
                    Ok(answer(200, AnswerBody::from_stream(stream::iter(pieces))))
                }
                Told::Never => std::future::pending().await,
            }
        })
    }

    fn send_plain<'a>(&'a self, _caller: &'a Caller, _request: Request) -> BoxFuture<'a, Result<Answer, EgressError>> {
        panic!("a call names its account")
    }
}

fn status(status: u16, body: &str) -> Told {
    Told::Answer { status, headers: Vec::new(), body: body.to_owned(), failed: false, throttled: None }
}

fn ok(body: Value) -> Told {
    status(200, &body.to_string())
}

fn with(told: Told, name: &'static str, value: &str) -> Told {
    match told {
        Told::Answer { status, mut headers, body, failed, throttled } => {
            headers.push((name, value.to_owned()));
            Told::Answer { status, headers, body, failed, throttled }
        }
        other => other,
    }
}

fn throttled(after_ms: Option<u64>) -> Told {
    let throttled = Some(Throttled { after: after_ms.map(Duration::from_millis) });
    Told::Answer { status: 429, headers: Vec::new(), body: String::new(), failed: false, throttled }
}

fn interrupted() -> EgressError {
    EgressError::Interrupted { host: "api.demo.example".to_owned(), reason: "reset".to_owned() }
}

fn call(method: &str, path: &str) -> Call {
    Call {
        method: method.to_owned(),
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: CallBody::None,
        identity: None,
        answer: AnswerRules::default(),
    }
}

fn place_of(app: App) -> CallPlace {
    let bound = Bound {
        account: AccountId::new(),
        app: "demo".to_owned(),
        name: "demo/work".to_owned(),
        identity: None,
        scopes: Vec::new(),
        inputs: BTreeMap::new(),
        origins: vec!["https://api.demo.example".to_owned()],
        declaration: std::sync::Arc::new(app),
        method: 0,
    };
    // Tests wait for nothing that they need not.
    CallPlace { first_wait: Duration::from_millis(1), ..CallPlace::new(bound, RunLimits::default()) }
}

fn place() -> CallPlace {
    place_of((*fixtures::declaration()).clone())
}

async fn run_in(fake: &Fake, call: &Call, place: &CallPlace) -> Ran {
    let grant = Grant::whole(Caller::local(), place.bound.account.clone());
    perform(fake, &grant, call, place).await
}

async fn run(fake: &Fake, call: &Call) -> Ran {
    run_in(fake, call, &place()).await
}

#[track_caller]
fn value(ran: Ran) -> Value {
    ran.result.unwrap_or_else(|error| panic!("{error}")).value
}

#[track_caller]
fn refusal(ran: Ran) -> (&'static str, String) {
    let error = ran.result.expect_err("the call succeeds");
    (error.code(), error.to_string())
}

fn paged(next: NextPage) -> Call {
    let pages = Pages { items: Some("/items".to_owned()), next: Some(next), ..Pages::default() };
    Call { answer: AnswerRules { pages: Some(pages), ..AnswerRules::default() }, ..call("GET", "/list?q=x") }
}

fn cursor() -> NextPage {
    NextPage::Cursor(Cursor { at: "/next".to_owned(), field: "cursor".to_owned(), more: None })
}

fn page(items: &[u32], next: Option<&str>) -> Told {
    ok(json!({ "items": items, "next": next }))
}

#[tokio::test]
async fn one_request_gives_status_headers_and_body_and_is_accounted_for() {
    let fake = Fake::new([with(ok(json!({"id": 7})), "content-type", "application/json")]);
    let ran = run(&fake, &Call { query: vec![("q".into(), "secret".into())], ..call("GET", "/x") }).await;
    assert_eq!(fake.came(), ["GET /x?q=secret"]);
    let [summary] = ran.requests.as_slice() else { panic!("{:?}", ran.requests) };
    let told = (summary.account.as_str(), summary.method.as_str(), summary.origin.as_str(), summary.path.as_str());
    assert_eq!(told, ("demo/work", "GET", "https://api.demo.example", "/x"));
    assert_eq!((summary.status, &summary.error), (Some(200), &None));
    let [line] = ran.logs.as_slice() else { panic!("{:?}", ran.logs) };
    assert!(line.message.starts_with("GET /x: 200 in ") && !line.message.contains("secret"), "{line:?}");
    let expected = json!({"status": 200, "headers": {"content-type": "application/json"}, "body": {"id": 7}});
    assert_eq!(value(ran), expected);
}

#[tokio::test]
async fn what_is_not_expected_is_an_error_with_the_providers_words() {
    let not_found = || status(404, r#"{"message":"Not Found"}"#);
    let (code, message) = refusal(run(&Fake::new([not_found()]), &call("GET", "/x?token=t")).await);
    assert_eq!((code, message.as_str()), ("call_status", "GET /x through demo/work was answered with 404: Not Found"));
    let rules = |expect: &[u16]| AnswerRules { expect: expect.to_vec(), ..AnswerRules::default() };
    let expecting = Call { answer: rules(&[404]), ..call("GET", "/x") };
    assert_eq!(value(run(&Fake::new([not_found()]), &expecting).await)["status"], 404);
    let created = Call { answer: rules(&[201]), ..call("POST", "/x") };
    assert_eq!(refusal(run(&Fake::new([ok(json!({}))]), &created).await).0, "call_status");
    assert_eq!(refusal(run(&Fake::new([status(302, "")]), &call("GET", "/x")).await).0, "call_status");
}

#[tokio::test]
async fn an_error_behind_a_good_status_is_an_error() {
    let body = r#"{"ok":false,"error":"channel_not_found"}"#.to_owned();
    let told = Told::Answer { status: 200, headers: Vec::new(), body, failed: true, throttled: None };
    let (code, message) = refusal(run(&Fake::new([told]), &call("POST", "/x")).await);
    assert_eq!(code, "call_failed");
    assert!(message.ends_with("channel_not_found"), "{message}");
}

#[tokio::test]
async fn a_get_is_tried_again_and_a_post_only_where_it_was_not_carried_out() {
    let outages = || [status(503, ""), Told::Error(interrupted()), ok(json!(1))];
    let fake = Fake::new(outages());
    let ran = run(&fake, &call("GET", "/x")).await;
    assert_eq!(ran.requests.iter().map(|request| request.status).collect::<Vec<_>>(), [Some(503), None, Some(200)]);
    assert_eq!(value(ran)["body"], 1);
    let fake = Fake::new(outages());
    assert_eq!(refusal(run(&fake, &call("POST", "/x")).await).0, "call_status");
    assert_eq!(fake.came().len(), 1, "it may have been carried out");
    let fake = Fake::new([throttled(Some(1)), throttled(None), ok(json!(1))]);
    assert_eq!(value(run(&fake, &call("POST", "/x")).await)["body"], 1);
    assert_eq!(fake.came().len(), 3);
    let retry = CallRetry { unsafe_too: true, ..CallRetry::default() };
    let bold = Call { answer: AnswerRules { retry, ..AnswerRules::default() }, ..call("POST", "/x") };
    assert_eq!(value(run(&Fake::new(outages()), &bold).await)["body"], 1);
}

#[tokio::test]
async fn the_last_attempt_tells_why() {
    let fake = Fake::new([status(503, ""), status(503, ""), status(502, r#"{"message":"sleeping"}"#)]);
    let (code, message) = refusal(run(&fake, &call("GET", "/x")).await);
    assert_eq!(code, "call_status");
    assert!(message.contains("502: sleeping"), "{message}");
    assert_eq!(fake.came().len(), 3);
}

#[tokio::test]
async fn a_body_that_breaks_is_asked_for_again() {
    let fake = Fake::new([Told::Breaks(interrupted()), ok(json!("whole"))]);
    assert_eq!(value(run(&fake, &call("GET", "/x")).await)["body"], "whole");
    let fake = Fake::new([Told::Breaks(interrupted())]);
    assert_eq!(refusal(run(&fake, &call("POST", "/x")).await).0, "interrupted");
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_an_error_that_says_when() {
    let fake = Fake::new([throttled(Some(3_600_000))]);
    let ran = run(&fake, &call("GET", "/x")).await;
    let error = ran.result.unwrap_err();
    assert_eq!(error.code(), "call_throttled");
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert!(error.fix().unwrap().contains("try again at 2"), "{:?}", error.fix());
    // Within what one wait may take, but past the deadline of the whole.
    let fake = Fake::new([throttled(Some(20_000))]);
    let limits = RunLimits { deadline: Duration::from_secs(10), ..RunLimits::default() };
    let ran = run_in(&fake, &call("GET", "/x"), &CallPlace { limits, ..place() }).await;
    assert_eq!(refusal(ran).0, "call_throttled");
}

#[tokio::test]
async fn what_the_road_refuses_is_told_as_the_road_tells_it() {
    let denied = EgressError::Denied { rule: "path", message: "may not".to_owned(), fix: Some("ask".to_owned()) };
    let fake = Fake::new([Told::Error(denied)]);
    let ran = run(&fake, &call("GET", "/x")).await;
    assert_eq!(ran.requests[0].error.as_deref(), Some("denied"));
    let error = ran.result.unwrap_err();
    assert_eq!((error.code(), error.fix().as_deref()), ("denied", Some("ask")));
    assert_eq!(fake.came().len(), 1);
}

#[tokio::test]
async fn the_deadline_ends_a_call_and_leaves_what_it_did() {
    let limits = RunLimits { deadline: Duration::from_millis(20), ..RunLimits::default() };
    let ran = run_in(&Fake::new([Told::Never]), &call("GET", "/x"), &CallPlace { limits, ..place() }).await;
    assert_eq!(ran.requests[0].error.as_deref(), Some("abandoned"));
    assert_eq!(refusal(ran).0, "step_deadline");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let limits = RunLimits { output_bytes: 10, ..RunLimits::default() };
    let fake = Fake::new([ok(json!("longer than ten"))]);
    let ran = run_in(&fake, &call("GET", "/x"), &CallPlace { limits: limits.clone(), ..place() }).await;
    assert_eq!(refusal(ran).0, "too_large");
    let pages = [page(&[1, 2, 3], Some("a")), page(&[100_000, 100_000], None)];
    let ran = run_in(&Fake::new(pages), &paged(cursor()), &CallPlace { limits, ..place() }).await;
    assert_eq!(refusal(ran).0, "too_large");
}

#[tokio::test]
async fn an_answer_without_the_output_says_that_the_request_took_effect() {
    let rules = AnswerRules { output: Some("/id".to_owned()), ..AnswerRules::default() };
    let wanted = Call { answer: rules, ..call("POST", "/x") };
    assert_eq!(value(run(&Fake::new([ok(json!({"id": 5}))]), &wanted).await), 5);
    let (code, message) = refusal(run(&Fake::new([status(201, "{}")]), &wanted).await);
    assert_eq!(code, "call_answer");
    assert!(message.contains("was carried out (status 201)"), "{message}");
}

#[tokio::test]
async fn cursors_are_followed_to_the_end() {
    let fake = Fake::new([page(&[1, 2], Some("a b")), page(&[], Some("c")), page(&[3], None)]);
    let ran = run(&fake, &paged(cursor())).await;
    assert_eq!(fake.came(), ["GET /list?q=x", "GET /list?q=x&cursor=a+b", "GET /list?q=x&cursor=c"]);
    assert!(ran.logs[1].message.starts_with("page 2: "), "{:?}", ran.logs);
    assert_eq!(value(ran), json!([1, 2, 3]));
}

#[tokio::test]
async fn a_cursor_goes_into_a_json_body_where_there_is_one() {
    let fake = Fake::new([page(&[1], Some("a")), page(&[2], None)]);
    let call = Call { method: "POST".to_owned(), body: CallBody::Json(json!({"q": 1})), ..paged(cursor()) };
    assert_eq!(value(run(&fake, &call).await), json!([1, 2]));
    assert_eq!(fake.came(), ["POST /list?q=x", "POST /list?q=x"]);
    assert_eq!(fake.bodies(), [r#"{"q":1}"#, r#"{"cursor":"a","q":1}"#]);
}

#[tokio::test]
async fn counted_pages_end_at_an_empty_one() {
    let counter = |first| NextPage::Page(Counter { field: "page".to_owned(), first });
    let pages = || [page(&[1], None), page(&[2], None), page(&[], None)];
    let fake = Fake::new(pages());
    assert_eq!(value(run(&fake, &paged(counter(0))).await), json!([1, 2]));
    assert_eq!(fake.came(), ["GET /list?q=x", "GET /list?q=x&page=1", "GET /list?q=x&page=2"]);
    let fake = Fake::new(pages());
    assert_eq!(value(run(&fake, &paged(NextPage::Offset("skip".to_owned()))).await), json!([1, 2]));
    assert_eq!(fake.came(), ["GET /list?q=x", "GET /list?q=x&skip=1", "GET /list?q=x&skip=2"]);
}

#[tokio::test]
async fn links_are_followed_as_they_are_and_scrubbed_keys_are_dropped() {
    let mut app = (*fixtures::declaration()).clone();
    let named = NamedTemplate { name: "api_key".to_owned(), value: Vec::new() };
    app.methods[0].rule_sets[0].rules = vec![Rule::Query(named)];
    let link = "<https://api.demo.example/list?page=2&api_key=%5Bscrubbed%5D>; rel=\"next\"";
    let fake = Fake::new([with(page(&[1], None), "link", link), page(&[2], None)]);
    let ran = run_in(&fake, &paged(NextPage::LinkHeader), &place_of(app)).await;
    assert_eq!(value(ran), json!([1, 2]));
    assert_eq!(fake.came(), ["GET /list?q=x", "GET https://api.demo.example/list?page=2"]);
}

#[tokio::test]
async fn pages_that_go_round_in_a_circle_are_refused() {
    let fake = Fake::new([page(&[1], Some("a")), page(&[2], Some("b")), page(&[3], Some("a"))]);
    let (code, message) = refusal(run(&fake, &paged(cursor())).await);
    assert_eq!(code, "call_loop");
    assert!(message.contains("page 3"), "{message}");
    assert_eq!(fake.came().len(), 3);
}

#[tokio::test]
async fn pages_end_at_the_bounds_and_say_so() {
    let bounded = |most_pages, most_items| {
        let mut call = paged(cursor());
        call.answer.pages = call.answer.pages.map(|pages| Pages { most_pages, most_items, ..pages });
        call
    };
    let fake = Fake::new([page(&[1, 2], Some("a")), page(&[3, 4], Some("b"))]);
    let ran = run(&fake, &bounded(20, 3)).await;
    let last = ran.logs.last().unwrap();
    assert!(last.level == LogLevel::Warn && last.message.contains("ends after 2 pages and 3 items"), "{last:?}");
    assert_eq!(value(ran), json!([1, 2, 3]));
    let fake = Fake::new([page(&[1], Some("a")), page(&[2], Some("b"))]);
    let ran = run(&fake, &bounded(2, 100)).await;
    assert!(ran.logs.last().unwrap().message.contains("ends after 2 pages"), "{:?}", ran.logs);
    assert_eq!(value(ran), json!([1, 2]));
    // The end itself is no bound.
    let ran = run(&Fake::new([page(&[1], None)]), &bounded(1, 1)).await;
    assert_eq!(ran.logs.len(), 1, "{:?}", ran.logs);
    let limits = RunLimits { requests: 1, ..RunLimits::default() };
    let fake = Fake::new([page(&[1], Some("a"))]);
    assert_eq!(refusal(run_in(&fake, &bounded(9, 9), &CallPlace { limits, ..place() }).await).0, "call_requests");
}

#[tokio::test]
async fn an_apps_pagination_is_used_and_a_page_is_tried_again_like_any_request() {
    let mut app = (*fixtures::declaration()).clone();
    app.pagination = Some(Pagination { items: Some("/items".to_owned()), next: cursor() });
    let mut call = paged(cursor());
    call.answer.pages = Some(Pages::default());
    let fake = Fake::new([page(&[1], Some("a")), throttled(Some(1)), page(&[2], None)]);
    assert_eq!(value(run_in(&fake, &call, &place_of(app)).await), json!([1, 2]));
    assert_eq!(fake.came()[1..], ["GET /list?q=x&cursor=a", "GET /list?q=x&cursor=a"]);
    let (code, message) = refusal(run(&Fake::default(), &call).await);
    assert_eq!(code, "call_pages", "{message}");
}

#[tokio::test]
async fn only_a_good_answer_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let files = || Some(Files { folder: folder.path().to_owned(), taken: Taken::Number });
    let saving = |name: &str| AnswerRules { save: Some(name.to_owned()), ..AnswerRules::default() };
    let call = Call { answer: saving("a.txt"), ..call("GET", "/x") };
    let ran = run_in(&Fake::new([status(404, "none")]), &call, &CallPlace { files: files(), ..place() }).await;
    assert_eq!(refusal(ran).0, "call_status");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let told = [Told::Breaks(interrupted()), status(200, "abc")];
    let ran = run_in(&Fake::new(told), &call, &CallPlace { files: files(), ..place() }).await;
    let facts = value(ran);
    assert_eq!((&facts["bytes"], &facts["content_type"]), (&json!(3), &Value::Null));
    assert_eq!(std::fs::read_to_string(folder.path().join("a.txt")).unwrap(), "abc");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // Refused before anything is sent.
    assert_eq!(refusal(run(&Fake::default(), &call).await).0, "call_invalid");
    let out = Call { answer: saving("../a"), ..call.clone() };
    let ran = run_in(&Fake::default(), &out, &CallPlace { files: files(), ..place() }).await;
    assert_eq!(refusal(ran).0, "call_invalid");
}

#[tokio::test]
async fn rules_that_exclude_each_other_send_nothing() {
    let both = |rules: AnswerRules| Call { answer: rules, ..call("GET", "/x") };
    let pages = || Some(Pages::default());
    let output = || Some("/x".to_owned());
    for rules in [
        AnswerRules { output: output(), pages: pages(), ..AnswerRules::default() },
        AnswerRules { save: Some("a".to_owned()), output: output(), ..AnswerRules::default() },
        AnswerRules { save: Some("a".to_owned()), pages: pages(), ..AnswerRules::default() },
        AnswerRules { retry: CallRetry { attempts: 0, ..CallRetry::default() }, ..AnswerRules::default() },
    ] {
        assert_eq!(refusal(run(&Fake::default(), &both(rules)).await).0, "call_invalid");
    }
}
