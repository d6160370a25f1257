//! The check against a small world: two apps, three accounts, two programs.

mod bad;

use std::sync::LazyLock;

use deputy_declaration::types::{Action, ActionProp, ActionPropKind, ActionWork};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::step::{AppNeed, Choice, ItemKind, PropKind};
use crate::workflow::{StepWhat, Trigger, Verify};

const GITHUB: &str = r#"
slug = "github"
name = "GitHub"
summary = "Code."
base = "https://api.github.com"
reach.methods = ["GET", "POST"]
evidence = { level = "facts", date = "2026-11-23", source = "https://docs.github.com" }
[methods.oauth]
tokens.access_token = { label = "Token" }
[methods.oauth.oauth2]
authorize-url = "https://github.com/login/oauth/authorize"
token-url = "https://github.com/login/oauth/access_token"
scopes.repo = "Repositories"
scopes.gist = "Gists"
"#;

const SLACK: &str = r#"
slug = "slack"
name = "Slack"
summary = "Chat."
base = "https://slack.com/api"
evidence = { level = "facts", date = "2026-11-23", source = "https://api.slack.com" }
[methods.token]
tokens.bot = {}
header.Authorization = "Bearer {bot}"
"#;

fn prop(name: &str, kind: ActionPropKind, optional: bool, choices: &[&str]) -> ActionProp {
    ActionProp {
        name: name.to_owned(),
        label: name.to_owned(),
        help: None,
        example: None,
        kind,
        optional,
        default: None,
        choices: choices.iter().map(|choice| format!("{choice:?}")).collect(),
    }
}

fn app(text: &str) -> App {
    deputy_declaration::source::parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

static APPS: LazyLock<[Arc<App>; 2]> = LazyLock::new(|| {
    let mut github = app(GITHUB);
    github.actions = vec![Action {
        name: "create-issue".to_owned(),
        label: "Create an issue".to_owned(),
        summary: "Creates an issue.".to_owned(),
        docs: None,
        props: vec![
            prop("owner", ActionPropKind::Text, false, &[]),
            prop("title", ActionPropKind::Text, false, &[]),
            prop("labels", ActionPropKind::TextList, true, &[]),
            prop("milestone", ActionPropKind::Integer, true, &[]),
            prop("state", ActionPropKind::Text, true, &["open", "closed"]),
            prop("draft", ActionPropKind::Boolean, true, &[]),
            prop("extra", ActionPropKind::Object, true, &[]),
        ],
        scopes: vec![vec!["repo".to_owned()], vec!["public_repo".to_owned(), "gist".to_owned()]],
        work: ActionWork::Script("export default async () => null".to_owned()),
    }];
    [Arc::new(github), Arc::new(app(SLACK))]
});

struct World;

impl World {
    fn account(&self, slug: &str, nickname: &str, scopes: Option<&[&str]>) -> AccountFacts {
        let app = APPS.iter().find(|app| app.slug == slug).unwrap().clone();
        let origin = if slug == "github" { "https://api.github.com" } else { "https://slack.com" };
        AccountFacts {
            id: AccountId::new(),
            name: format!("{slug}/{nickname}"),
            app: slug.to_owned(),
            scopes: scopes.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect()),
            origins: vec![origin.to_owned()],
            declaration: app,
            method: 0,
        }
    }
}

impl Known for World {
    fn app(&self, slug: &str) -> Result<Arc<App>, Unknown> {
        APPS.iter()
            .find(|app| app.slug == slug)
            .cloned()
            .ok_or_else(|| Unknown { message: format!("there is no app `{slug}`"), help: None })
    }

    fn account(&self, name: &str) -> Result<AccountFacts, Unknown> {
        match name {
            "github/work" | "github" => Ok(self.account("github", "work", Some(&["repo"]))),
            "github/small" => Ok(self.account("github", "small", Some(&["gist"]))),
            "slack/work" => Ok(self.account("slack", "work", None)),
            "slack" => Err(Unknown {
                message: "`slack` has several accounts".to_owned(),
                help: Some("name one of slack/home, slack/work".to_owned()),
            }),
            _ => Err(Unknown { message: format!("there is no account `{name}`"), help: None }),
        }
    }

    fn program(&self, path: &str) -> Result<ProgramFacts, Unknown> {
        let prop = |name: &str, kind| Prop {
            name: name.to_owned(),
            kind,
            label: None,
            help: None,
            optional: true,
            default: None,
            options: Vec::new(),
            secret: false,
        };
        let need = |app: &str, scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            PropKind::App(AppNeed { app: app.to_owned(), scopes, ..AppNeed::default() })
        };
        let props = match path {
            "plain.js" => vec![prop("n", PropKind::Json), prop("x", PropKind::Json)],
            "notify.js" => vec![
                Prop { optional: false, ..prop("slack", need("slack", &[])) },
                prop("hub", need("github", &["repo"])),
                Prop { optional: false, ..prop("channel", PropKind::Text) },
                Prop { default: Some(json!(3)), optional: false, ..prop("times", PropKind::Integer) },
                Prop { secret: true, ..prop("password", PropKind::Text) },
                prop("numbers", PropKind::List { of: ItemKind::Number }),
                Prop {
                    options: vec![
                        Choice { label: "Low".to_owned(), value: json!("low") },
                        Choice { label: "High".to_owned(), value: json!("high") },
                    ],
                    ..prop("level", PropKind::Text)
                },
            ],
            _ => return Err(Unknown { message: format!("cannot read {path}"), help: None }),
        };
        Ok(ProgramFacts { hash: "ab".repeat(32), props })
    }
}

pub(super) fn problems(text: &str) -> Vec<Problem> {
    check(Source::read(text), "w.toml", &World).err().unwrap_or_default()
}

const GOOD: &str = r##"
name = "welcome"
summary = "Greets new issues in Slack"
concurrency = 4

[trigger.http]
verify = { signature = { header = "X-Hub-Signature-256", prefix = "sha256=", key-env = "GITHUB_WEBHOOK_KEY" } }
answer = "result"
idempotency = "X-GitHub-Delivery"

[[trigger.schedule]]
cron = "0 9 * * 1-5"
zone = "Europe/Berlin"

[[trigger.schedule]]
cron = "@hourly"

[accounts]
chat = "slack/work"

[[steps]]
name = "issue"
action = "github/create-issue"
account = "github/work"
input = { owner = "acme", title = "{{ trigger.body.title }}", labels = ["bug", "{{ trigger.kind }}"], milestone = "{{ trigger.body.tags | length }}", state = "open" }
on-error = "continue"

[[steps]]
name = "notify"
script = "notify.js"
accounts = { slack = "chat" }
input = { channel = "general", password = "{{ trigger.body.password }}", numbers = "{{ trigger.body.numbers }}", level = "high" }
when = "steps.issue.output.number > 3 and steps.issue.error is none"
retry = { attempts = 3, delay = "2s" }
timeout = "30s"

[[steps]]
name = "pages"
account = "chat"
for-each = { items = "{{ trigger.body.items }}", parallel = 4 }

[steps.http]
method = "POST"
path = "/chat/{{ item.id }}"
query = { a = ["1", "{{ index }}"] }
headers = { X-Kind = "{{ trigger.headers['x-github-event'] }}" }
json = { text = "#{{ steps.issue.output.number }}" }
expect = [200, 201]
parse = "json"
output = "/items"
retry = { attempts = 5, longest-wait = "1m", unsafe-too = true }
paginate = { items = "/items", max-items = 100, next = { cursor = { at = "/next", field = "cursor" } } }

[[steps]]
name = "last"
script = "plain.js"
input.x = "{% for page in steps.pages.output %}{{ page.id }}, {{ steps.pages.output[0] }}{% endfor %}"
"##;

#[test]
fn a_good_file_passes_with_all_that_it_says() {
    let checked = check(Source::read(GOOD), "w.toml", &World).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let Checked { workflow, bindings } = checked;
    assert_eq!((workflow.name.as_str(), workflow.concurrency, workflow.steps.len()), ("welcome", Some(4), 4));
    assert_eq!(workflow.triggers.len(), 3);
    let Trigger::Http(http) = &workflow.triggers[0] else { panic!("{:?}", workflow.triggers) };
    assert!(matches!(&http.verify, Verify::Signature(signature) if signature.prefix == "sha256="));
    let Trigger::Schedule(hourly) = &workflow.triggers[2] else { panic!("{:?}", workflow.triggers) };
    assert_eq!(hourly.zone, "UTC");
    let notify = &workflow.steps[1];
    assert_eq!(notify.accounts["slack"], "slack/work", "a name of [accounts] is the account it stands for");
    assert_eq!((notify.retry.attempts, notify.timeout.as_secs()), (3, 30));
    let StepWhat::Program { hash, .. } = &notify.what else { panic!("{notify:?}") };
    assert_eq!(hash.len(), 64);
    let StepWhat::Http(call) = &workflow.steps[2].what else { panic!("{:?}", workflow.steps[2]) };
    assert_eq!(call.query.len(), 2);
    assert_eq!(call.answer.retry.longest_wait.as_secs(), 60);
    assert_eq!(bindings[0]["account"].name, "github/work");
    assert_eq!(bindings[1]["slack"].name, "slack/work");
    assert!(bindings[3].is_empty());

    // A version's record is this value written down.
    let record = serde_json::to_string(&workflow).unwrap();
    assert_eq!(serde_json::from_str::<Workflow>(&record).unwrap(), workflow);
}

#[test]
fn many_faults_are_told_together_in_the_order_of_the_file() {
    let text = "name = \"W\"\nsumary = 1\n[[steps]]\nname = \"a\"\nscript = \"plain.js\"\ninput.x = \"{{ stes.b }}\"\n\
                timeout = \"fast\"\n[[steps]]\nname = \"b\"\nscript = \"gone.js\"\nwhen = \"steps.c.output\"\n";
    let places: Vec<_> = problems(text).iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 8), (2, 1), (6, 15), (7, 11), (10, 10), (11, 15)]);
}

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in "(\\[\\[steps\\]\\]\n|name = |script = |http = |input = |\"[a-z{}. é]{0,9}\"|\\{ | \\}|[a-z-]{1,9} = |[0-9]|\n|=|,|\\[|\\]){0,30}") {
        let _ = problems(&text);
    }

    /// A good file with a piece cut out, or put in twice.
    #[test]
    fn a_broken_file_is_told(start in 0..GOOD.len(), length in 0..60_usize, twice: bool) {
        let end = (start + length).min(GOOD.len());
        if let (Some(before), Some(piece), Some(after)) = (GOOD.get(..start), GOOD.get(start..end), GOOD.get(end..)) {
            let text = if twice { format!("{before}{piece}{piece}{after}") } else { format!("{before}{after}") };
            for problem in problems(&text) {
                prop_assert!(problem.line <= text.lines().count() + 1, "{:?}", problem);
            }
        }
    }
}

/// The example that people copy, and what the page says of filters.
#[test]
fn the_page_tells_the_truth() {
    let page = include_str!("../../../../../docs/workflows.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let checked = check(Source::read(example), "welcome.toml", &World);
    assert!(checked.is_ok(), "{:#?}", checked.err());
    let filters = page.split("Filters: ").nth(1).and_then(|rest| rest.split(". Functions").next()).unwrap();
    let told: Vec<&str> = filters.split('`').skip(1).step_by(2).collect();
    let mut known = crate::workflow::expression::filter_names();
    known.sort_unstable();
    assert_eq!(told, known);
}
