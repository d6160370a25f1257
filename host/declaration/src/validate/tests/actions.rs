//! Actions, pagination, markers and throttling, broken in one place each.

use serde_json::{Value, json};

use super::{broken, sound};
use crate::validate::{MAX_SCRIPT_BYTES, validate};

const ADD: &str = "/actions/0";
const REQUEST: &str = "/actions/0/work/request";

/// What stands at the pointer, the value instead, and how a finding begins.
fn cases(cases: &[(&str, Value, &str)]) {
    for (pointer, value, expected) in cases {
        let findings = broken(pointer, value.clone());
        assert!(findings.iter().any(|finding| finding.starts_with(expected)), "{pointer} = {value}: {findings:#?}");
    }
}

fn text(text: &str) -> Value {
    json!({ "text": [{ "text": text }] })
}

fn prop(name: &str) -> Value {
    json!({ "prop": name })
}

#[test]
fn names_props_and_scopes() {
    let many: Vec<Value> = (0..64)
        .map(|at| {
            json!({ "name": format!("p{at}"), "label": "P", "help": null,
        "example": null, "kind": "text", "optional": true, "default": null, "choices": [] })
        })
        .collect();
    cases(&[
        ("/actions/0/name", json!("Add"), "actions[0].name: `Add` is no id"),
        (
            "/actions/1/name",
            json!("add"),
            "actions[1].name: the action `add` is declared twice, first at actions[0].name",
        ),
        ("/actions/0/label", json!(" "), "actions[0].label: the label is empty"),
        ("/actions/0/label", json!("x".repeat(81)), "actions[0].label: the label is longer than 80"),
        ("/actions/0/summary", json!(""), "actions[0].summary: the summary is empty"),
        ("/actions/0/summary", json!("a\nb"), "actions[0].summary: it holds the character U+000A"),
        ("/actions/0/docs", json!("http://example.com"), "actions[0].docs: `http://example.com` is no https link"),
        ("/actions/0/props/0/name", json!("size"), "actions[0].props[2].name: the prop `size` is declared twice"),
        ("/actions/0/props/0/name", json!("Name"), "actions[0].props[0].name: `Name` is no name"),
        ("/actions/0/props/0/name", json!("account"), "actions[0].props[0].name: every action has the prop `account`"),
        ("/actions/0/props/0/label", json!(""), "actions[0].props[0].label: the label is empty"),
        ("/actions/0/props", json!(many), "actions[0].props: there are 64 props"),
        (
            "/actions/0/props/0/default",
            json!("\"c\""),
            "actions[0].props[0].default: the default \"c\" is none of the choices",
        ),
        ("/actions/0/props/0/default", json!("1"), "actions[0].props[0].default: 1 is not a text"),
        ("/actions/0/props/0/default", json!("a"), "actions[0].props[0].default: `a` is no JSON"),
        (
            "/actions/0/props/0/choices/1",
            json!("\"a\""),
            "actions[0].props[0].choices[1]: the choice \"a\" stands there twice",
        ),
        ("/actions/0/props/0/choices/1", json!("true"), "actions[0].props[0].choices[1]: true is not a text"),
        ("/actions/0/props/1/default", json!("[\"z\"]"), "actions[0].props[1].default: the default \"z\" is none"),
        ("/actions/0/props/1/default", json!("\"x\""), "actions[0].props[1].default: \"x\" is not a list of texts"),
        ("/actions/0/props/1/choices/0", json!("[\"x\"]"), "actions[0].props[1].choices[0]: [\"x\"] is not a text"),
        ("/actions/0/props/2/default", json!("1.5"), "actions[0].props[2].default: 1.5 is not a whole number"),
        ("/actions/0/props/3/default", json!("[]"), "actions[0].props[3].default: [] is not an object"),
        ("/actions/0/scopes/0", json!([]), "actions[0].scopes[0]: an empty list of scopes"),
        ("/actions/0/scopes/0/0", json!("rea"), "actions[0].scopes[0][0]: no method of the app offers the scope `rea`"),
        ("/actions/0/scopes/0/0", json!(""), "actions[0].scopes[0][0]: the scope has no name"),
        ("/actions/0/scopes/0", json!(["read", "read"]), "actions[0].scopes[0][1]: the scope `read` is declared twice"),
        ("/actions/2/work/script", json!(" "), "actions[2].work.script: the script is empty"),
        ("/actions/2/work/script", json!("1"), "actions[2].work.script: the script exports no default"),
        (
            "/actions/2/work/script",
            json!("export default 1 // \u{202e}"),
            "actions[2].work.script: it holds the character U+202E",
        ),
        (
            "/actions/2/work/script",
            json!(format!("export default 1 //{}", "x".repeat(MAX_SCRIPT_BYTES))),
            "actions[2].work.script: the script has 262163 bytes",
        ),
    ]);
    let mut app = sound();
    let look = app["actions"][2].clone();
    let many: Vec<Value> = (0..201)
        .map(|at| {
            let mut look = look.clone();
            look["name"] = format!("a{at}").into();
            look
        })
        .collect();
    app["actions"] = many.into();
    let findings = validate(&serde_json::from_value(app).unwrap());
    assert_eq!(findings[0].to_string(), "actions: there are 201 actions; the limit is 200");
}

#[test]
fn a_request_stays_within_reach_and_away_from_credentials() {
    let at = |path: &str| format!("{REQUEST}{path}");
    let own = |name: &str| json!([{ "name": name, "value": text("x") }]);
    let list: Vec<(String, Value, &str)> = vec![
        (at("/method"), json!("PUT"), "actions[0].work.request.method: PUT lies outside reach.methods"),
        (at("/method"), json!("post"), "actions[0].work.request.method: `post` is no HTTP method"),
        (at("/method"), json!("GET"), "actions[0].work.request.body: a GET request has no body"),
        (at("/path"), json!([{ "text": "things" }]), "actions[0].work.request.path: `things` does not begin with `/`"),
        (at("/path"), json!([{ "prop": "name" }]), "actions[0].work.request.path: `0` does not begin"),
        (at("/path"), json!([{ "text": "/a/../b" }]), "actions[0].work.request.path: `/a/../b` is no plain path"),
        (at("/path"), json!([{ "text": "//evil.com" }]), "actions[0].work.request.path: "),
        (at("/path"), json!([{ "text": "/a?b=" }]), "actions[0].work.request.path[0]: a path holds no query"),
        (
            at("/path"),
            json!([{ "text": "/admin/x" }]),
            "actions[0].work.request.path: `/v1/admin/x` lies within reach.denied-paths",
        ),
        (at("/path/1"), prop("size"), "actions[0].work.request.path[1]: `{size}` is optional"),
        (at("/path/1"), prop("meta"), "actions[0].work.request.path[1]: `{meta}` may be an object"),
        (at("/path/1"), prop("nam"), "actions[0].work.request.path[1]: `{nam}` names no prop"),
        (
            at("/query"),
            own("region"),
            "actions[0].work.request.query[0].name: a credential rule writes the query field `region`",
        ),
        (at("/query"), own(""), "actions[0].work.request.query[0].name: a field of the query has no name"),
        (
            at("/query/0/value"),
            json!({ "constant": "{}" }),
            "actions[0].work.request.query[0].value: this place takes one text",
        ),
        (at("/query/0/value"), json!({ "constant": "{" }), "actions[0].work.request.query[0].value: `{` is no JSON"),
        (
            at("/headers"),
            own("authorization"),
            "actions[0].work.request.headers[0].name: a credential rule writes `authorization`",
        ),
        (
            at("/headers"),
            own("Cookie"),
            "actions[0].work.request.headers[0].name: the header `Cookie` belongs to the host",
        ),
        (at("/headers"), own("X Y"), "actions[0].work.request.headers[0].name: `X Y` is no header name"),
        (
            at("/headers"),
            own("Content-Type"),
            "actions[0].work.request.headers[0].name: the body says its content type",
        ),
        (
            at("/headers/0/value"),
            text("ä"),
            "actions[0].work.request.headers[0].value: a header value is visible ASCII",
        ),
        (at("/headers/0/value"), prop("meta"), "actions[0].work.request.headers[0].value: `{meta}` may be an object"),
        (
            at("/headers"),
            json!([{ "name": "X-A", "value": text("x") }, { "name": "x-a", "value": text("y") }]),
            "actions[0].work.request.headers[1].name: the header `x-a` is declared twice",
        ),
        (at("/identity"), json!("defalt"), "actions[0].work.request.identity: no method has the rule set `defalt`"),
        (at("/output"), json!("id"), "actions[0].work.request.output: `id` is no JSON Pointer"),
        (at("/lists"), json!({ "items": null, "next": null }), "actions[0].work.request.output: an action that lists"),
        (
            "/actions/1/work/request/lists/items".into(),
            json!("things"),
            "actions[1].work.request.lists.items: `things` is no JSON Pointer",
        ),
        (
            "/actions/1/work/request/lists/next/page/field".into(),
            json!(""),
            "actions[1].work.request.lists.next.page.field: ",
        ),
    ];
    for (pointer, value, expected) in &list {
        cases(&[(pointer, value.clone(), expected)]);
    }
    // A default header yields to an action, a locked one does not.
    let mut app = sound();
    app["actions"][0]["work"]["request"]["headers"] = own("x-version");
    assert_eq!(validate(&serde_json::from_value(app.clone()).unwrap()), []);
    app["headers"][0]["locked"] = true.into();
    let findings = validate(&serde_json::from_value(app).unwrap());
    let found = findings[0].to_string();
    assert_eq!(found, "actions[0].work.request.headers[0].name: the app's header `x-version` is locked");
}

#[test]
fn every_prop_is_used_and_a_body_has_one_value_at_each_place() {
    let json = format!("{REQUEST}/body/json");
    let field = |name: &str| json!({ "name": name, "value": text("x") });
    let body = |names: &[&str]| {
        let mut fields: Vec<Value> = names.iter().map(|name| field(name)).collect();
        // The props stay in use.
        fields.extend(["tags", "meta"].map(|name| json!({ "name": format!("/_{name}"), "value": prop(name) })));
        Value::from(fields)
    };
    let place = "actions[0].work.request.body.json";
    for (names, expected) in [
        (&["a"][..], format!("{place}[0].name: `a` is no JSON Pointer")),
        (&["/a~2"], format!("{place}[0].name: `/a~2` is no JSON Pointer")),
        (&["/a", "/a"], format!("{place}[1].name: the place in the body `/a` is declared twice")),
        (&["/a", "/a/b"], format!("{place}[1].name: `/a/b` lies within the value at `/a`")),
        (&["/a/b/c", "/a/b"], format!("{place}[0].name: `/a/b/c` lies within the value at `/a/b`")),
        (&["", "/a"], format!("{place}[1].name: `/a` lies within the value at ``")),
        (&["/a/0", "/a/2"], format!("{place}: `/a` is a list whose items are not counted")),
        (&["/a/0", "/a/b"], format!("{place}: `/a` is a list whose items are not counted")),
        (&["/a/00"], format!("{place}: `/a` is a list whose items are not counted")),
        (&["/0"], format!("{place}: `` is a list whose items are not counted")),
    ] {
        cases(&[(&json, body(names), &expected)]);
    }
    for names in [&["/a/0", "/a/1", "/ab"][..], &["/a/0/b", "/a/0/c", "/a/1"], &["/a/b", "/ab", "/a~1b"]] {
        assert_eq!(broken(&json, body(names)), [] as [&str; 0], "{names:?}");
    }
    let unused = broken(&json, json!([field("/x")]));
    assert_eq!(
        unused,
        [
            "actions[0].props[1]: the request does not use the prop `tags`",
            "actions[0].props[3]: the request does not use the prop `meta`",
        ]
    );
    cases(&[(
        &format!("{ADD}/work/request/body/json/0/value"),
        json!({ "constant": "nul" }),
        "actions[0].work.request.body.json[0].value: `nul` is no JSON",
    )]);
    // Within JSON a constant may be anything.
    let whole = json!({ "constant": "{\"0\": [null]}" });
    assert_eq!(broken(&format!("{json}/0/value"), whole), [] as [&str; 0]);
}

#[test]
fn lists_markers_and_signals() {
    let marker = "/methods/1/tokens/0/marker";
    let at = |path: &str| format!("{marker}{path}");
    let place = "methods[1].tokens[0].marker";
    for (pointer, value, expected) in [
        (at("/prefix"), json!("a b"), format!("{place}.prefix: a prefix is visible ASCII")),
        (at("/prefix"), json!("ä"), format!("{place}.prefix: a prefix is visible ASCII")),
        (at("/prefix"), json!("x".repeat(19)), format!("{place}.length: a marker has 41 to 512 characters")),
        (at("/length"), json!(21), format!("{place}.length: a marker has 22 to 512")),
        (at("/length"), json!(513), format!("{place}.length: ")),
        (at("/names"), json!([]), format!("{place}.names: code knows the token by no name")),
        (at("/names/0"), json!("Api"), format!("{place}.names[0]: `Api` is no name")),
        (
            at("/names/0"),
            json!("pass"),
            "methods[1].tokens[1].marker.names[0]: the name of a marker `pass` is declared twice".into(),
        ),
        ("/pagination/items".into(), json!("data"), "pagination.items: `data` is no JSON Pointer".into()),
        (
            "/pagination/next/cursor/at".into(),
            json!(""),
            "pagination.next.cursor.at: the pointer names the whole".into(),
        ),
        (
            "/pagination/next/cursor/at".into(),
            json!("a.b"),
            "pagination.next.cursor.at: `a.b` is no JSON Pointer".into(),
        ),
        (
            "/pagination/next/cursor/field".into(),
            json!("a=b"),
            "pagination.next.cursor.field: `a=b` is no query name".into(),
        ),
        ("/pagination/next/cursor/field".into(), json!("/a~"), "pagination.next.cursor.field: `/a~` is no JSON".into()),
        ("/pagination/next/cursor/more".into(), json!(""), "pagination.next.cursor.more: the pointer names".into()),
        ("/pagination/next".into(), json!({ "url": "" }), "pagination.next.url: the pointer names".into()),
        ("/pagination/next".into(), json!({ "offset": "" }), "pagination.next.offset: ".into()),
        (
            "/pagination/next".into(),
            json!({ "page": { "field": "a b", "first": 0 } }),
            "pagination.next.page.field: `a b` is no query name".into(),
        ),
        (
            "/signals/retry-after/header".into(),
            json!("a b"),
            "signals.retry-after.header: `a b` is no header name".into(),
        ),
        ("/signals/throttled/0".into(), json!([]), "signals.throttled[0]: an empty list".into()),
        ("/signals/throttled/0/0".into(), json!({ "status": 200 }), "signals.throttled[0]: a good status alone".into()),
    ] {
        cases(&[(&pointer, value, &expected)]);
    }
    assert_eq!(
        broken("/pagination/next", json!({ "last-item": { "at": "", "field": "after", "more": null } })),
        [] as [&str; 0]
    );
    // An action that lists needs a way to the items and to the next page: its own or the app's.
    let mut app = sound();
    app["pagination"] = Value::Null;
    assert_eq!(validate(&serde_json::from_value(app.clone()).unwrap()), []);
    app["actions"][1]["work"]["request"]["lists"] = json!({ "items": null, "next": null });
    let findings: Vec<String> =
        validate(&serde_json::from_value(app).unwrap()).into_iter().map(|finding| finding.message).collect();
    assert_eq!(
        findings,
        [
            "neither the action nor the app says where the items stand",
            "neither the action nor the app says how a list goes on",
        ]
    );
}
