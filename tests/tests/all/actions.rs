//! Every action of every built-in app against a provider under its real names that knows each byte it is owed.
//!
//! What an action owes is written by hand in `actions/`, one file an app, from the provider's documentation and not
//! from the `app.toml`. An action without such an entry fails the test, and so does an entry without its action.

mod airtable;
mod anthropic;
mod github;
mod hubspot;
mod notion;
mod openai;
mod sendgrid;
mod shopify;
mod slack;
mod stripe;
mod telegram;
mod twilio;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deputy::deputy::{ActionRun, Caller, Deputy as Facade, Overrides};
use serde_json::{Value, json};

use crate::support::apps::{begin, open, with_parameter};
use crate::support::deputy::Deputy;
use crate::support::provider::Provider;
use crate::support::text;
use wire::{App, Exchange, Gives, Owed, Wire};

fn apps() -> Vec<App> {
    vec![
        airtable::app(),
        anthropic::app(),
        github::app(),
        hubspot::app(),
        notion::app(),
        openai::app(),
        sendgrid::app(),
        shopify::app(),
        slack::app(),
        stripe::app(),
        telegram::app(),
        twilio::app(),
    ]
}

fn owed() -> Vec<Owed> {
    [
        airtable::owed(),
        anthropic::owed(),
        github::owed(),
        hubspot::owed(),
        notion::owed(),
        openai::owed(),
        sendgrid::owed(),
        shopify::owed(),
        slack::owed(),
        stripe::owed(),
        telegram::owed(),
        twilio::owed(),
    ]
    .concat()
}

/// A machine with one account of each app, called `work`, behind a provider that answers for all of them.
struct World {
    provider: Provider,
    wire: Arc<Wire>,
    deputy: Deputy,
}

impl World {
    fn new(apps: &[App], more_hosts: &[&str]) -> Self {
        let wire = Arc::new(Wire::new(apps));
        let hosts: Vec<&str> = apps.iter().flat_map(|app| app.hosts).chain(more_hosts).copied().collect();
        let answering = wire.clone();
        let provider = Provider::start(&hosts, move |seen| answering.answer(seen));
        let deputy = Deputy::new(&[provider.address]);
        let config = deputy.folder().join("config");
        let file = config.join("deputy.toml");
        let before = std::fs::read_to_string(&file).expect("deputy.toml");
        let after = before.replace("[egress]\n", &format!("[egress]\n{}", provider.egress(&config)));
        std::fs::write(&file, after).expect("deputy.toml");
        Self { provider, wire, deputy }
    }

    fn connect(&self, app: &App) {
        self.wire.expect(vec![app.test.clone()]);
        let inputs: Vec<String> = app.inputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["connect", app.slug, "--method", app.method, "--name", "work"];
        for input in &inputs {
            arguments.extend(["--input", input]);
        }
        self.deputy.json_with(&arguments, app.key.as_bytes());
        self.wire.settled(&format!("connecting {}", app.slug));
    }

    /// The same machine, opened in this process.
    fn facade(&self) -> Facade {
        let folder = self.deputy.folder();
        let overrides = Overrides { data: Some(folder.join("data")), config: Some(folder.join("config")) };
        Facade::open(overrides).expect("the facade opens")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_of_every_app_sends_exactly_what_it_owes() {
    let apps = apps();
    let world = World::new(&apps, &[]);
    for app in &apps {
        world.connect(app);
    }
    let facade = world.facade();
    let caller = Caller::local();
    let there: BTreeSet<String> = facade
        .action_list(&caller, None)
        .await
        .expect("a list")
        .actions
        .into_iter()
        .map(|action| action.name)
        .collect();
    assert!(there.len() >= 20, "there are {} actions", there.len());
    let owed = owed();
    let written: BTreeSet<String> = owed.iter().map(|owed| owed.action.to_owned()).collect();
    let missing: Vec<_> = there.difference(&written).collect();
    assert!(missing.is_empty(), "nobody wrote down what these send: {missing:?}");
    let stale: Vec<_> = written.difference(&there).collect();
    assert!(stale.is_empty(), "these are no actions any more: {stale:?}");
    let keys: Vec<String> = apps.iter().map(|app| app.key.to_owned()).collect();

    let mut faults = Vec::new();
    for owed in owed {
        let what = format!("{} with {}", owed.action, owed.props);
        if let Err(fault) = one(&facade, &world.wire, owed, &keys).await {
            faults.push(format!("{what}\n{fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert_eq!(world.provider.take().len(), world.wire.answered(), "a request that no one looked at");
    facade.close().await;
}

/// One run of an action: what came, what it gave, and that no key is in what it left.
async fn one(facade: &Facade, wire: &Wire, owed: Owed, keys: &[String]) -> Result<(), String> {
    let Owed { action, props, sends, gives } = owed;
    let count = sends.len();
    wire.expect(sends);
    let run = ActionRun { action: action.to_owned(), props, ..ActionRun::default() };
    let ran = facade.action_run(&Caller::local(), run).await.map_err(|error| error.to_string())?;
    wire.state_of()?;
    let whole = serde_json::to_value(&ran).map_err(|error| error.to_string())?;
    if keys.iter().any(|key| whole.to_string().contains(key)) {
        return Err(format!("a key stands in what it left: {whole}"));
    }
    if whole["requests"].as_array().map(Vec::len) != Some(count) {
        return Err(format!("its requests are told otherwise: {whole}"));
    }
    let output = ran.result().map_err(|error| format!("{error} {:?}", error.fix))?.value;
    let (gave, wanted) = match gives {
        Gives::Value(value) => (output, value),
        Gives::Answer(status, body) => (json!([output["status"], output["body"]]), json!([status, body])),
    };
    if gave == wanted { Ok(()) } else { Err(format!("it gave {gave} instead of {wanted}")) }
}

#[test]
fn the_provider_of_these_tests_refuses_what_it_is_not_owed() {
    let apps = [github::app()];
    let world = World::new(&apps, &[]);
    world.connect(&apps[0]);
    let issue = json!({"title": "It smokes"});
    let owed = || vec![Exchange::post("/repos/ada/engine/issues", issue.clone()).answers(201, json!({"number": 7}))];
    let run = |title: &str, repo: &str| {
        world.wire.expect(owed());
        let input = json!({"owner": "ada", "repo": repo, "title": title}).to_string();
        world.deputy.run(&["action", "run", "github/create-issue", "--input", &input, "--json"]).code()
    };
    assert_eq!(run("It smokes", "engine"), Some(0));
    world.wire.settled("the issue");
    for (title, repo) in [("It smokes!", "engine"), ("It smokes", "engines")] {
        assert_eq!(run(title, repo), Some(1));
        assert!(!world.wire.faults().is_empty(), "{title} in {repo} was accepted");
    }
}

#[test]
fn the_command_line_lists_shows_and_runs_actions() {
    let apps = [github::app()];
    let world = World::new(&apps, &[]);
    let deputy = &world.deputy;
    let list = deputy.json(&["action", "list", "github"]);
    let names: Vec<_> = list["actions"].as_array().expect("a list").iter().map(|action| text(action, "name")).collect();
    assert!(names.contains(&"github/create-issue".to_owned()), "{names:?}");
    let shown = deputy.json(&["action", "show", "github/create-issue"]);
    assert_eq!((&shown["sends"]["method"], &shown["sends"]["body"]["/title"]), (&json!("POST"), &json!("{title}")));
    assert_eq!(shown["sends"]["url"], "https://api.github.com/repos/{owner}/{repo}/issues");
    let plain = deputy.run(&["action", "show", "github/create-issue"]);
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    for word in ["title", "required", "POST https://api.github.com/repos/{owner}/{repo}/issues", "repo, or public_repo"]
    {
        assert!(plain.contains(word), "no `{word}` in {plain}");
    }
    let error = deputy.fails(&["action", "show", "github/create-isue"]);
    assert_eq!(
        (text(&error, "code"), text(&error, "fix")),
        ("action_unknown".into(), "did you mean `github/create-issue`?".into())
    );

    world.connect(&apps[0]);
    // Texts become what the props are: lists from several, and numbers.
    let issue = json!({"title": "5", "labels": ["bug", "a,b"]});
    world.wire.expect(vec![Exchange::post("/repos/ada/engine/issues", issue).answers(201, json!({"number": 7}))]);
    let props = ["owner=ada", "repo=engine", "title=5", "labels=bug", "labels=a,b"];
    let mut arguments = vec!["action", "run", "github/create-issue"];
    arguments.extend(props.iter().flat_map(|prop| ["--prop", prop]));
    assert_eq!(deputy.json(&arguments)["output"]["body"]["number"], 7);
    world.wire.settled("create-issue");
    world.wire.expect(vec![Exchange::get("/repos/ada/engine/issues/7").answers(200, json!({"number": 7}))]);
    let props = ["--prop", "owner=ada", "--prop", "repo=engine", "--prop", "number=7"];
    deputy.json(&[&["action", "run", "github/get-issue"], &props[..]].concat());
    world.wire.settled("get-issue");

    // Refused before anything is sent, with what would be right.
    world.wire.expect(Vec::new());
    let refused = |arguments: &[&str]| {
        let ended = deputy.run(&[&["action", "run", "github/get-issue", "--json"], arguments].concat());
        assert_eq!(ended.code(), Some(1), "{ended}");
        ended.last_json()["error"].clone()
    };
    let error = refused(&["--prop", "owner=ada", "--prop", "repo=engine", "--prop", "number=seven"]);
    assert!(text(&error, "message").contains("`number` wants a whole number"), "{error}");
    let error = refused(&["--prop", "owner=ada", "--prop", "repos=engine", "--prop", "number=7"]);
    assert!(text(&error, "fix").contains("`repo`"), "{error}");
    let error = refused(&["--prop", "owner=..", "--prop", "repo=engine", "--prop", "number=7"]);
    assert!(text(&error, "message").contains("`owner`"), "{error}");
    world.wire.settled("refusals");
}

#[test]
fn nobody_chooses_between_two_accounts() {
    let apps = [github::app()];
    let world = World::new(&apps, &[]);
    let error = world.deputy.fails(&["action", "run", "github/list-repositories"]);
    assert_eq!(text(&error, "code"), "account_not_found", "{error}");
    world.connect(&apps[0]);
    world.wire.expect(vec![apps[0].test.clone()]);
    let second = ["connect", "github", "--method", "token", "--name", "home"];
    world.deputy.json_with(&second, apps[0].key.as_bytes());
    world.wire.expect(Vec::new());
    let error = world.deputy.fails(&["action", "run", "github/list-repositories"]);
    assert_eq!(error["candidates"], json!(["github/home", "github/work"]), "{error}");
    world.wire.settled("the choice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_the_scope_is_refused_before_anything_is_sent() {
    let world = World::new(&[github::app()], &["github.com"]);
    let deputy = &world.deputy;
    deputy.json_with(&["client", "set", "github", "--method", "oauth", "--id", "client"], b"client-secret-planted");
    let token = json!({"access_token": "gho_granted0granted0granted0granted0gran", "scope": "read:user,gist", "token_type": "bearer"});
    world.wire.expect_loosely(vec![
        ("github.com", "/login/oauth/access_token", token),
        ("api.github.com", "/user", json!({"id": 1, "login": "ada"})),
    ]);
    let (running, authorize_url) = begin(deputy, &["github", "--method", "oauth", "--name", "narrow"]);
    let asked = reqwest::Url::parse(&authorize_url).expect("a URL");
    let parameters: BTreeMap<String, String> = asked.query_pairs().into_owned().collect();
    let callback = reqwest::Url::parse(&parameters["redirect_uri"]).expect("a URL");
    let mut callback = callback;
    callback.query_pairs_mut().append_pair("code", "the-code").append_pair("state", "none");
    let (status, page) = open(with_parameter(&callback, "state", &parameters["state"])).await;
    assert_eq!(status, 200, "{page}");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");

    world.wire.expect(Vec::new());
    let input = json!({"owner": "ada", "repo": "engine", "title": "x"}).to_string();
    let ended = deputy.run(&["action", "run", "github/create-issue", "--input", &input, "--json"]);
    assert_eq!(ended.code(), Some(1), "{ended}");
    let error = ended.last_json()["error"].clone();
    assert_eq!(text(&error, "code"), "scope_missing");
    assert!(text(&error, "message").contains("repo, which github/narrow lacks"), "{error}");
    assert!(text(&error, "fix").contains("deputy account reconnect github/narrow --add-scope"), "{error}");
    world.wire.settled("the refusal");
}

#[test]
fn a_request_with_retries_pages_and_files() {
    let apps = [github::app()];
    let world = World::new(&apps, &[]);
    let deputy = &world.deputy;
    world.connect(&apps[0]);
    // Throttled as GitHub tells it, then carried out: also for a POST.
    let busy = || {
        let limited = Exchange::post("/repos/ada/engine/issues", json!({"title": "x"}));
        limited
            .answers(403, json!({"message": "rate limit"}))
            .with("x-ratelimit-remaining", "0")
            .with("retry-after", "0")
    };
    let done = Exchange::post("/repos/ada/engine/issues", json!({"title": "x"})).answers(201, json!({"number": 1}));
    world.wire.expect(vec![busy(), done.clone()]);
    let post = ["request", "github", "POST", "/repos/ada/engine/issues", "--json-body", "{\"title\":\"x\"}"];
    let answer = deputy.json(&[&post[..], &["--retry", "2"]].concat());
    assert_eq!((&answer["status"], &answer["body"]["number"]), (&json!(201), &json!(1)));
    world.wire.settled("throttled");
    // An outage may have carried the POST out: it is not sent again.
    world.wire.expect(vec![Exchange::post("/repos/ada/engine/issues", json!({"title": "x"})).answers(503, json!({}))]);
    let ended = deputy.run(&[&post[..], &["--retry", "2", "--json"]].concat());
    assert_eq!(ended.code(), Some(5), "{ended}");
    world.wire.settled("down");
    // Pages by the app's declaration, and no more than asked for.
    let link = "<https://api.github.com/user/repos?page=2>; rel=\"next\", <https://api.github.com/user/repos?page=9>; rel=\"last\"";
    let first = || Exchange::get("/user/repos").answers(200, json!([{"id": 1}, {"id": 2}])).with("link", link);
    let second = Exchange::get("/user/repos?page=2").answers(200, json!([{"id": 3}]));
    world.wire.expect(vec![first(), second]);
    let list = deputy.json(&["request", "github", "GET", "/user/repos", "--paginate"]);
    assert_eq!(list, json!({"items": [{"id": 1}, {"id": 2}, {"id": 3}]}));
    world.wire.expect(vec![first()]);
    let list = deputy.json(&["request", "github", "GET", "/user/repos", "--paginate", "--max-items", "1"]);
    assert_eq!(list, json!({"items": [{"id": 1}]}));
    world.wire.settled("pages");
    // A page that leads out of reach is refused like any other URL.
    let out = first().with("link", "<https://evil.example/next>; rel=\"next\"");
    world.wire.expect(vec![Exchange {
        reply_headers: vec![("link", "<https://evil.example/next>; rel=\"next\"".into())],
        ..out
    }]);
    let error = deputy.fails(&["request", "github", "GET", "/user/repos", "--paginate"]);
    assert_eq!(text(&error, "code"), "denied", "{error}");
    world.wire.settled("out of reach");
    // Expectations, in both directions.
    let missing = || Exchange::get("/repos/ada/none").answers(404, json!({"message": "Not Found"}));
    world.wire.expect(vec![missing(), missing()]);
    let found = deputy.json(&["request", "github", "GET", "/repos/ada/none", "--expect", "200,404"]);
    assert_eq!(found["status"], 404);
    let ended = deputy.run(&["request", "github", "GET", "/repos/ada/none", "--expect", "200", "--json"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(text(&ended.last_json()["error"], "message").ends_with("404: Not Found"), "{ended}");
    world.wire.settled("expectations");
    // A body as a file: whole, and with its hash.
    world.wire.expect(vec![Exchange::get("/repos/ada/engine").answers(200, json!({"id": 7}))]);
    let ended = deputy.run(&["request", "github", "GET", "/repos/ada/engine", "--retry", "1", "-o", "repo.json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let kept = std::fs::read_to_string(deputy.folder().join("home/repo.json")).expect("the file");
    assert_eq!(kept, "{\"id\":7}");
    world.wire.settled("a file");
}

/// What a workflow executes its steps by: an action and a call, through accounts by their ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_executes_actions_and_calls_of_workflows() {
    use deputy::ids::RunId;
    use deputy::step::{AnswerRules, Call, CallBody};
    use deputy::workflow::{Task, TaskKind, Work};

    let apps = [github::app(), slack::app()];
    let world = World::new(&apps, &[]);
    apps.iter().for_each(|app| world.connect(app));
    let facade = world.facade();
    let caller = Caller::local();
    let id = |name: &'static str| async { facade.account_show(&caller, name).await.expect("an account").account.id };
    let (github, slack) = (id("github/work").await, id("slack/work").await);
    let worker = facade.worker().await.expect("a worker");
    let run = RunId::new();
    let task = |what, account, input: Value| Task {
        run: run.clone(),
        step: "first".to_owned(),
        what,
        accounts: [("account".to_owned(), account)].into(),
        input,
        context: Value::Null,
        timeout: std::time::Duration::from_secs(30),
        log: None,
    };
    let get_issue = || TaskKind::Action { app: "github".to_owned(), action: "get-issue".to_owned() };
    let issue = json!({"owner": "ada", "repo": "engine", "number": 7});
    world.wire.expect(vec![Exchange::get("/repos/ada/engine/issues/7").answers(200, json!({"number": 7}))]);
    let ran = worker.perform(&caller, task(get_issue(), github.clone(), issue.clone())).await;
    assert_eq!(ran.result.expect("it runs").value["body"]["number"], 7);
    world.wire.settled("the action");
    // An account of another app is refused, and nothing is sent.
    let ran = worker.perform(&caller, task(get_issue(), slack, issue)).await;
    assert_eq!(ran.result.expect_err("it runs").code(), "step_input");
    let call = |save: &str| {
        let answer = AnswerRules { save: Some(save.to_owned()), ..AnswerRules::default() };
        let call = Call {
            method: "GET".to_owned(),
            path: "/repos/ada/engine".to_owned(),
            query: vec![("ref".to_owned(), "a b".to_owned())],
            headers: Vec::new(),
            body: CallBody::None,
            identity: None,
            answer,
        };
        TaskKind::Call(Arc::new(call))
    };
    let whole = || Exchange::get("/repos/ada/engine?ref=a+b").answers(200, json!({"id": 7}));
    world.wire.expect(vec![whole(), whole()]);
    let first = worker.perform(&caller, task(call("a.json"), github.clone(), Value::Null)).await;
    let again = worker.perform(&caller, task(call("a.json"), github.clone(), Value::Null)).await;
    let path = |ran: deputy::step::Ran| text(&ran.result.expect("it runs").value, "path");
    let (first, again) = (path(first), path(again));
    assert_ne!(first, again, "a step that runs again loses nothing of the first time");
    assert!(first.contains(run.as_str()), "{first}");
    assert_eq!(std::fs::read_to_string(first).expect("the file"), "{\"id\":7}");
    // Deleted in the middle of a run.
    world.wire.settled("the calls");
    facade.account_delete(&caller, "github/work", false).await.expect("deleted");
    let ran = worker.perform(&caller, task(call("b.json"), github, Value::Null)).await;
    let error = ran.result.expect_err("it runs");
    assert_eq!(error.code(), "account_not_found", "{error}");
    facade.close().await;
}
