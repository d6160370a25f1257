use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::syntax::{self, Gives, Shape};
use super::*;
use crate::step::CallBody;
use crate::workflow::source::Source;
use crate::workflow::types::Step;

fn scope() -> Scope {
    let trigger = TriggerFacts {
        kind: "http".to_owned(),
        body: json!({ "title": "It breaks", "count": 3, "tags": ["a", "b"], "empty": "", "nothing": null,
                      "user": { "name": "Ada Löwe", "id": 12345678901_u64 }, "evil": "../admin?x=1#", "dots": ".." }),
        headers: BTreeMap::from([("x-github-event".to_owned(), "issues".to_owned())]),
        query: BTreeMap::new(),
        method: Some("POST".to_owned()),
        time: "2026-11-23T08:00:00Z".to_owned(),
    };
    let left = |output: Value| StepLeft { output, ..StepLeft::default() };
    let steps = BTreeMap::from([
        (
            "issue".to_owned(),
            left(json!({ "number": 7, "labels": [{ "name": "bug" }, { "name": "ui" }], "ratio": 0.5 })),
        ),
        ("skipped".to_owned(), StepLeft { skipped: true, ..StepLeft::default() }),
        (
            "failed".to_owned(),
            StepLeft {
                error: Some(StepError { code: "step_failed".to_owned(), message: "no".to_owned() }),
                ..StepLeft::default()
            },
        ),
    ]);
    Scope::new("welcome", "run_1", "2026-11-23T08:00:01Z", &trigger, &steps)
}

/// A step of a file, which is the only way that steps come to be.
fn step(keys: &str) -> Step {
    let text = format!("name = \"w\"\n[[steps]]\nname = \"now\"\n{keys}\n");
    let source = Source::read(&text);
    let step = source.workflow.as_ref().unwrap().steps[0].clone();
    let problems = source.problems("w.toml");
    assert!(problems.is_empty(), "{problems:?}");
    step
}

fn input(value: &str) -> Result<Value, EvalError> {
    let step = step(&format!("script = \"a.js\"\ninput = {{ x = {value} }}"));
    evaluate_step(&step, &scope()).map(|evaluated| evaluated.input["x"].clone())
}

fn http(keys: &str) -> Result<crate::step::Call, EvalError> {
    let step = step(&format!("account = \"github/work\"\n[steps.http]\n{keys}"));
    evaluate_step(&step, &scope()).map(|evaluated| evaluated.call.unwrap())
}

#[test]
fn a_text_that_is_one_expression_keeps_its_type() {
    for (text, value) in [
        ("'{{ steps.issue.output.number }}'", json!(7)),
        (
            "'{{ steps.issue.output }}'",
            json!({ "number": 7, "labels": [{ "name": "bug" }, { "name": "ui" }], "ratio": 0.5 }),
        ),
        ("'{{ trigger.body.tags }}'", json!(["a", "b"])),
        ("'{{trigger.body.nothing}}'", json!(null)),
        ("'{{- steps.issue.output.number > 3 -}}'", json!(true)),
        ("' {{ steps.issue.output.ratio }} '", json!(0.5)),
        ("\"\"\"\n{{ trigger.body.user.id }}\n\"\"\"", json!(12345678901_u64)),
        ("'{{ steps.issue.output.labels | map(attribute=\"name\") }}'", json!(["bug", "ui"])),
        ("'{{ trigger.headers[\"x-github-event\"] }}'", json!("issues")),
        ("'{{ {\"a\": [1, trigger.body.count]} }}'", json!({ "a": [1, 3] })),
        ("'{{ steps.skipped.skipped }}'", json!(true)),
        ("'{{ steps.failed.error.message }}'", json!("no")),
        ("'{{ -trigger.body.count }}'", json!(-3)),
        ("'{{ trigger.body.missing | default(\"none\") }}'", json!("none")),
        ("'{{ \"}}\" }}'", json!("}}")),
        ("12", json!(12)),
        ("[1, '{{ run.id }}']", json!([1, "run_1"])),
    ] {
        assert_eq!(input(text).unwrap(), value, "{text}");
    }
}

#[test]
fn any_other_text_gives_a_text() {
    for (text, value) in [
        ("'#{{ steps.issue.output.number }}'", "#7"),
        ("'{{ trigger.body.count }}{{ trigger.body.count }}'", "33"),
        ("'<{{ trigger.body.nothing }}>'", "<>"),
        ("'{{ trigger.body.tags }} {{ true }}'", "[\"a\",\"b\"] true"),
        ("'{{ trigger.body.user }}!'", "{\"id\":12345678901,\"name\":\"Ada Löwe\"}!"),
        ("'<b>{{ \"<i>\" }}</b>'", "<b><i></b>"),
        ("'{% for label in steps.issue.output.labels %}{{ loop.index }}{{ label.name }} {% endfor %}'", "1bug 2ui "),
        ("\"{{ workflow.name }}!\\n\"", "welcome!\n"),
        ("'{% if trigger.kind == \"http\" %}yes{% endif %}'", "yes"),
        ("'{% set n = 2 %}{{ n + 1 }}'", "3"),
        ("'plain { text }'", "plain { text }"),
        ("'{{ \"{{\" }}x'", "{{x"),
    ] {
        assert_eq!(input(text).unwrap(), json!(value), "{text}");
    }
}

#[test]
fn filters_do_what_the_page_says() {
    for (text, value) in [
        ("'{{ run.started_at | date(\"%d.%m.%Y %H:%M\", zone=\"Europe/Berlin\") }}'", json!("23.11.2026 09:00")),
        ("'{{ 1700000000 | date }}'", json!("2023-11-14T22:13:20+00:00")),
        ("'{{ \"a b&c\" | urlencode }}'", json!("a%20b%26c")),
        ("'{{ \"user:pass\" | b64 }}'", json!("dXNlcjpwYXNz")),
        ("'{{ \"dXNlcjpwYXNz\" | b64decode }}'", json!("user:pass")),
        ("'{{ \"[1, 2]\" | fromjson }}'", json!([1, 2])),
        ("'{{ trigger.body.tags | tojson }}'", json!("[\"a\",\"b\"]")),
        ("'{{ {\"a\": \"<&>\"} | tojson }}'", json!("{\"a\":\"<&>\"}")),
        ("'{{ trigger.body.tags | join(\", \") | upper }}'", json!("A, B")),
        ("'{{ trigger.body.tags | length }}'", json!(2)),
    ] {
        assert_eq!(input(text).unwrap(), value, "{text}");
    }
    // Every name that the check knows is one of the engine's.
    for name in filters::names() {
        assert_eq!(input(&format!("'{{{{ \"{name}\" is filter }}}}'")).unwrap(), json!(true), "{name}");
    }
    for name in filters::TESTS {
        assert_eq!(input(&format!("'{{{{ \"{name}\" is test }}}}'")).unwrap(), json!(true), "{name}");
    }
}

#[test]
fn a_name_without_a_value_is_an_error_that_says_where() {
    for (text, message, help, part) in [
        (
            "'{{ steps.issue.output.numbr }}'",
            "`steps.issue.output.numbr` has no value",
            "`number`",
            "steps.issue.output.numbr",
        ),
        ("'a {{ trigger.body.user.nam }}'", "`trigger.body.user.nam` has no value", "`name`", "trigger.body.user.nam"),
        (
            "'{{ steps.skipped.output.id }}'",
            "`steps.skipped.output` is null: it has no `id`",
            "when",
            "steps.skipped.output.id",
        ),
        ("'{{ trigger.body.tags.id ~ \"x\" }}'", "`trigger.body.tags` is a list", "default", "trigger.body.tags.id"),
        ("'{{ trigger.body.title.id }}'", "`trigger.body.title` is a string", "default", "trigger.body.title.id"),
        ("'{{ item }}'", "`item` has no value", "", "item"),
        ("'{{ trigger.body.tags[5] }}'", "has no `5`", "default", "trigger.body.tags[5"),
        (
            "'{% if steps.issue.output.x %}1{% endif %}'",
            "`steps.issue.output.x` has no value",
            "default",
            "steps.issue.output.x",
        ),
    ] {
        let error = input(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert!(error.help.clone().unwrap_or_default().contains(help), "{text}: {:?}", error.help);
        assert_eq!(&error.text[error.at.clone()], part, "{text}");
        assert_eq!((&*error.step, &*error.key, error.code()), ("now", "input.x", "workflow_expression"));
        assert!(error.to_string().starts_with("`input.x` of step `now`: "), "{error}");
    }
}

#[test]
fn an_error_of_a_run_can_be_shown_in_its_file() {
    let file =
        "name = \"w\"\n[[steps]]\nname = \"now\"\nscript = \"a.js\"\ninput.x = \"\\u00e9\\t{{ trigger.body.gone }}\"\n";
    let source = Source::read(file);
    let step = source.workflow.as_ref().unwrap().steps[0].clone();
    let error = evaluate_step(&step, &scope()).unwrap_err();
    let place = source.place(&format!("steps[0].{}", error.key), &error.text, error.at.clone());
    assert_eq!(place, (5, 23));
}

#[test]
fn when_wants_true_or_false() {
    for (text, result) in [
        ("steps.issue.output.number > 3", Some(true)),
        ("{{ steps.issue.output.number > 30 }}", Some(false)),
        ("not steps.skipped.skipped", Some(false)),
        ("trigger.body.gone is defined", Some(false)),
        ("trigger.body.tags | bool", Some(true)),
        ("trigger.body.tags", None),
        ("\"false\"", None),
        ("trigger.body.gone", None),
        ("a {{ true }}", None),
        ("", None),
    ] {
        let step = step(&format!("script = \"a.js\"\nwhen = '{text}'"));
        assert_eq!(when(&step, &scope()).ok(), result, "{text}");
    }
    assert_eq!(when(&step("script = \"a.js\""), &scope()), Ok(true));
}

#[test]
fn for_each_gives_its_items_to_the_texts() {
    let step =
        step("script = \"a.js\"\nfor-each = \"steps.issue.output.labels\"\ninput.x = '{{ index }}: {{ item.name }}'");
    let all = items(&step, &scope()).unwrap().unwrap();
    let inputs: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(at, item)| evaluate_step(&step, &scope().with_item(at, item)).unwrap().input["x"].clone())
        .collect();
    assert_eq!(inputs, [json!("0: bug"), json!("1: ui")]);

    for (text, message) in [
        ("trigger.body.user", "an object, not a list"),
        ("range(10001)", "10001 items"),
        ("[0] * 100000000", "grows beyond"),
    ] {
        let step = self::step(&format!("script = \"a.js\"\nfor-each = '{text}'"));
        let error = items(&step, &scope()).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn a_value_in_a_path_stays_within_its_segment() {
    let call = http("path = '/repos/{{ trigger.body.user.name }}/{{ trigger.body.evil }}?q={{ \"a&b=c\" }}'").unwrap();
    assert_eq!(call.path, "/repos/Ada%20L%C3%B6we/..%2Fadmin%3Fx%3D1%23?q=a%26b%3Dc");
    let call = http("path = '/{{ \"a/b\" | safe }}/{{ 7 }}'").unwrap();
    assert_eq!(call.path, "/a/b/7");
    assert_eq!(http("path = '/{{ trigger.body.user.id }}'").unwrap().path, "/12345678901");
    for (path, message) in [
        ("/x/{{ trigger.body.dots }}/y", "`.` or `..`"),
        ("/x/{{ \".\" }}{{ \".\" }}", "`.` or `..`"),
        ("/x/{{ \"%2e%2E\" | safe }}", "`.` or `..`"),
        ("/x/{{ trigger.body.empty }}", "is empty"),
        ("/x/{{ trigger.body.nothing }}", "is null"),
        ("/x/{{ trigger.body.tags }}", "cannot stand in a path"),
        ("/x/{{ trigger.body.gone }}", "has no value"),
    ] {
        let error = http(&format!("path = '{path}'")).unwrap_err();
        assert!(error.message.contains(message), "{path}: {error}");
    }
}

#[test]
fn a_request_is_filled_in() {
    let call = http(
        r#"
        method = "POST"
        path = "/pages"
        query = { tag = "{{ trigger.body.tags }}", gone = "{{ trigger.body.nothing }}", n = 3, s = ["x", "{{ run.id }}"] }
        headers = { X-Number = "{{ steps.issue.output.number }}" }
        json = { title = "T: {{ trigger.body.title }}", labels = "{{ trigger.body.tags }}", deep = [{ n = "{{ trigger.body.count }}" }] }
        save = "{{ run.id }}.json"
        "#,
    )
    .unwrap();
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(call.query, pairs(&[("tag", "a"), ("tag", "b"), ("n", "3"), ("s", "x"), ("s", "run_1")]));
    assert_eq!(call.headers, pairs(&[("X-Number", "7")]));
    let body = json!({ "title": "T: It breaks", "labels": ["a", "b"], "deep": [{ "n": 3 }] });
    assert_eq!(call.body, CallBody::Json(body));
    assert_eq!(call.answer.save.as_deref(), Some("run_1.json"));

    for (keys, message) in [
        ("path = '/'\nheaders.X = '{{ \"a\\nb\" }}'", "line break"),
        ("path = '/'\nquery.x = '{{ trigger.body.user }}'", "not an object"),
        ("path = '/'\nsave = '{{ trigger.body.evil }}'", "no file's name"),
        ("path = '/'\nsave = '{{ \"..\" }}'", "no file's name"),
    ] {
        let error = http(keys).unwrap_err();
        assert!(error.message.contains(message), "{keys}: {error}");
    }
}

/// Loops, doubling texts, lazy lists and large results all end by their fuel or by the bound on what comes out.
#[test]
fn bombs_end() {
    let nested = "{% for a in range(9999) %}".repeat(4) + "x" + &"{% endfor %}".repeat(4);
    let doubling = "{% set a = \"0123456789\" %}".to_owned() + &"{% set a = a ~ a %}".repeat(40) + "{{ a }}";
    for text in [
        &*nested,
        &*doubling,
        "{{ \"x\" * 100000000 }}",
        "{{ \"%0999999999d\" | format(1) }}",
        "{{ [[0] * 100000000] * 100000000 }}",
        "{{ [0] * 100000000 }}!",
        "{{ range(100000) | list * 1000 }}",
        "{{ (\"a\" * 1000000) | replace(\"a\", \"b\" * 1000000) }}",
        "{{ \"x\" | indent(999999999, true) }}",
        "{{ 10 ** 999999999 }}",
    ] {
        let step = step(&format!("script = \"a.js\"\ninput.x = '''{text}'''"));
        let error = evaluate_step(&step, &scope()).unwrap_err();
        assert!(error.message.len() < 300, "{error}");
    }
    let deep = format!("{{{{ 1{} }}}}", "+1".repeat(600));
    assert!(input(&format!("'{deep}'")).unwrap_err().message.contains("1000 words"));
    let chain = format!("{{{{ run{} }}}}", ".id".repeat(30_000));
    assert!(input(&format!("'{chain}'")).unwrap_err().message.contains("65536 bytes"));
}

/// There is no file, no other template, no environment.
#[test]
fn nothing_reaches_outside() {
    for text in [
        "{% include \"/etc/passwd\" %}",
        "{% import \"x\" as x %}",
        "{{ debug() }}",
        "{{ namespace() }}",
        "{% extends \"x\" %}",
    ] {
        let step = step(&format!("script = \"a.js\"\ninput.x = '''{text}'''"));
        assert!(evaluate_step(&step, &scope()).is_err(), "{text}");
    }
}

#[test]
fn the_type_of_a_text_is_known_where_it_can_be() {
    for (text, shape, gives) in [
        ("plain", false, Gives::Text),
        ("a {{ run.id }}", false, Gives::Text),
        ("{{ run.id }}", true, Gives::Text),
        ("{{ trigger.body.x }}", true, Gives::Any),
        ("{{ trigger.body.x | length }}", true, Gives::Integer),
        ("{{ trigger.body.x == 1 }}", true, Gives::Boolean),
        ("{{ 1.5 }}", true, Gives::Number),
        ("{{ [1] }}", true, Gives::List),
        ("{{ 'a' if trigger.body.x else 'b' }}", true, Gives::Text),
        ("{{ 'a' if trigger.body.x else 1 }}", true, Gives::Any),
        ("{{ trigger.body.x | default(1) }}", true, Gives::Any),
    ] {
        let analysis = syntax::template(text).unwrap();
        assert_eq!((matches!(analysis.shape, Shape::Whole(_)), analysis.gives), (shape, gives), "{text}");
    }
}

proptest! {
    /// Whatever stands in a text, both the check and a run answer.
    #[test]
    fn no_text_panics(text in "(\\{\\{|\\}\\}|\\{%|%\\}|[a-z. |()\\[\\]{}~'\"+*,:0-9é-]|steps|trigger.body|for x in|endfor|if|endif|set|filter|is|not){0,40}") {
        let _ = syntax::template(&text);
        let _ = syntax::expression(&text);
        let toml = toml::Value::String(text).to_string();
        let file = format!("name = \"w\"\n[[steps]]\nname = \"now\"\nscript = \"a.js\"\nwhen = {toml}\nfor-each = {toml}\ninput.x = {toml}\n");
        if let Some(step) = Source::read(&file).workflow.and_then(|workflow| workflow.steps.into_iter().next()) {
            let _ = when(&step, &scope());
            let _ = items(&step, &scope());
            let _ = evaluate_step(&step, &scope());
        }
    }
}
