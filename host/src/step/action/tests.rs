//! Actions made here, and what becomes of them.

use deputy_declaration::types::{
    ActionBody, ActionField, ActionList, ActionPart, ActionProp, ActionRequest, ActionValue, NextPage,
};

use super::*;
use crate::step::CallBody;
use crate::wasm::fixtures;

fn prop(name: &str, kind: ActionPropKind) -> ActionProp {
    ActionProp {
        name: name.to_owned(),
        label: name.to_owned(),
        help: None,
        example: None,
        kind,
        optional: false,
        default: None,
        choices: Vec::new(),
    }
}

fn optional(name: &str, kind: ActionPropKind) -> ActionProp {
    ActionProp { optional: true, ..prop(name, kind) }
}

fn request() -> ActionRequest {
    ActionRequest {
        method: "POST".to_owned(),
        path: vec![ActionPart::Text("/x".to_owned())],
        query: Vec::new(),
        headers: Vec::new(),
        body: ActionBody::None,
        identity: None,
        output: None,
        lists: None,
    }
}

fn action(props: Vec<ActionProp>, request: ActionRequest) -> Action {
    Action {
        name: "do-it".to_owned(),
        label: "Do it".to_owned(),
        summary: "Does it.".to_owned(),
        docs: None,
        props,
        scopes: Vec::new(),
        work: ActionWork::Request(request),
    }
}

fn text(text: &str) -> ActionPart {
    ActionPart::Text(text.to_owned())
}

fn from(name: &str) -> ActionPart {
    ActionPart::Prop(name.to_owned())
}

fn field(name: &str, value: ActionValue) -> ActionField {
    ActionField { name: name.to_owned(), value }
}

fn its(name: &str) -> ActionValue {
    ActionValue::Prop(name.to_owned())
}

fn made(action: &Action, props: Value) -> Result<Call, StepError> {
    match work(&fixtures::declaration(), action, &props)? {
        Work::Call(call) => Ok(*call),
        Work::Script { .. } => panic!("a script"),
    }
}

#[test]
fn a_prop_is_one_segment_whatever_it_holds() {
    let path = vec![text("/repos/"), from("owner"), text("/"), from("repo"), text("/issues")];
    let props = vec![prop("owner", ActionPropKind::Text), prop("repo", ActionPropKind::Text)];
    let action = action(props, ActionRequest { path, ..request() });
    let path = |owner: &str, repo: &str| made(&action, json!({"owner": owner, "repo": repo})).map(|call| call.path);
    assert_eq!(path("ada", "a.b_c-d~e").unwrap(), "/repos/ada/a.b_c-d~e/issues");
    assert_eq!(path("a/b", "c?d#e%f g\\ü").unwrap(), "/repos/a%2Fb/c%3Fd%23e%25f%20g%5C%C3%BC/issues");
    for (owner, repo) in [("..", "x"), ("x", "."), ("", "x")] {
        let error = path(owner, repo).unwrap_err();
        assert!(error.to_string().contains("`owner`") && error.fix().is_some(), "{error}");
    }
}

#[test]
fn dots_of_two_props_do_not_meet() {
    let path = vec![text("/a/"), from("x"), from("y"), text("/b")];
    let props = vec![prop("x", ActionPropKind::Text), prop("y", ActionPropKind::Text)];
    let action = action(props, ActionRequest { path, ..request() });
    assert!(made(&action, json!({"x": ".", "y": "."})).is_err());
}

#[test]
fn pointers_build_the_body_and_numbers_stay_numbers() {
    let fields = vec![
        field("/to/0/email", its("email")),
        field("/to/0/name", its("name")),
        field("/count", its("count")),
        field("/price", its("price")),
        field("/subject", ActionValue::Text(vec![text("Hi "), from("email"), text("!")])),
        field("/greeting", ActionValue::Text(vec![text("Dear "), from("name")])),
        field("/kind", ActionValue::Constant("\"mail\"".to_owned())),
        field("/track", ActionValue::Constant("false".to_owned())),
        field("/tags", its("tags")),
        field("/extra", its("extra")),
    ];
    let props = vec![
        prop("email", ActionPropKind::Text),
        optional("name", ActionPropKind::Text),
        prop("count", ActionPropKind::Integer),
        prop("price", ActionPropKind::Number),
        optional("tags", ActionPropKind::TextList),
        optional("extra", ActionPropKind::Object),
    ];
    let action = action(props, ActionRequest { body: ActionBody::Json(fields), ..request() });
    let call = made(&action, json!({"email": "a@b.c", "count": 3, "price": 1.5, "name": null, "tags": ["x"]}));
    let expected = json!({
        "to": [{"email": "a@b.c"}], "count": 3, "price": 1.5, "subject": "Hi a@b.c!", "kind": "mail",
        "track": false, "tags": ["x"],
    });
    assert_eq!(call.unwrap().body, CallBody::Json(expected));
}

#[test]
fn a_json_body_without_fields_is_an_empty_object() {
    let fields = vec![field("/query", its("query"))];
    let action = action(
        vec![optional("query", ActionPropKind::Text)],
        ActionRequest { body: ActionBody::Json(fields), ..request() },
    );
    assert_eq!(made(&action, json!({})).unwrap().body, CallBody::Json(json!({})));
}

#[test]
fn forms_and_queries_are_texts() {
    let fields = vec![
        field("amount", its("amount")),
        field("expand[]", its("expand")),
        field("metadata", its("metadata")),
        field("labels", ActionValue::Text(vec![from("expand")])),
        field("confirm", ActionValue::Constant("true".to_owned())),
        field("note", its("note")),
    ];
    let declared = vec![
        prop("amount", ActionPropKind::Integer),
        prop("expand", ActionPropKind::TextList),
        prop("metadata", ActionPropKind::Object),
        optional("note", ActionPropKind::Text),
    ];
    let request = ActionRequest { query: fields.clone(), body: ActionBody::Form(fields), ..request() };
    let props = json!({"amount": 5, "expand": ["a", "b"], "metadata": {"order": "7", "more": [{"x": 1}]}});
    let call = made(&action(declared, request), props).unwrap();
    let expected: Vec<_> = [
        ("amount", "5"),
        ("expand[]", "a"),
        ("expand[]", "b"),
        ("metadata[more][0][x]", "1"),
        ("metadata[order]", "7"),
        ("labels", "a,b"),
        ("confirm", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!((call.query, call.body), (expected.clone(), CallBody::Form(expected)));
}

#[test]
fn props_are_checked_with_a_guess_before_anything_else() {
    let channel =
        ActionProp { choices: vec!["\"a\"".to_owned(), "\"b\"".to_owned()], ..prop("channel", ActionPropKind::Text) };
    let limit = ActionProp { default: Some("10".to_owned()), ..prop("limit", ActionPropKind::Integer) };
    let fields = vec![field("/limit", its("limit")), field("/channel", its("channel"))];
    let action = action(vec![channel, limit], ActionRequest { body: ActionBody::Json(fields), ..request() });
    let refusal = |props: Value| {
        let error = made(&action, props).unwrap_err();
        (error.to_string(), error.fix().unwrap_or_default())
    };
    let body = made(&action, json!({"channel": "a"})).unwrap().body;
    assert_eq!(body, CallBody::Json(json!({"limit": 10, "channel": "a"})));
    let body = made(&action, json!({"channel": "a", "limit": null})).unwrap().body;
    assert_eq!(body, CallBody::Json(json!({"limit": 10, "channel": "a"})));
    let (message, fix) = refusal(json!({"chanel": "a"}));
    assert!(message.contains("`chanel`") && fix.contains("`channel`"), "{message} {fix}");
    let (message, _) = refusal(json!({}));
    assert!(message.contains("`channel`"), "{message}");
    let (message, _) = refusal(json!({"channel": "a", "limit": "10"}));
    assert!(message.contains("`limit` wants a whole number"), "{message}");
    let (message, fix) = refusal(json!({"channel": "c"}));
    assert!(message.contains("no option \"c\"") && fix.contains("\"a\", \"b\""), "{message} {fix}");
    assert!(refusal(json!([1])).0.contains("object"));
}

#[test]
fn a_list_reads_pages() {
    let lists = Some(ActionList { items: Some("/data".to_owned()), next: Some(NextPage::LinkHeader) });
    let action = action(Vec::new(), ActionRequest { lists, output: Some("/x".to_owned()), ..request() });
    let answer = made(&action, json!({})).unwrap().answer;
    let pages = answer.pages.unwrap();
    assert_eq!((pages.items.as_deref(), pages.next), (Some("/data"), Some(NextPage::LinkHeader)));
    assert_eq!(answer.output, None);
}

#[test]
fn scopes_are_any_of_several_lists() {
    let scopes = |lists: &[&[&str]]| Action {
        scopes: lists.iter().map(|list| list.iter().map(|scope| (*scope).to_owned()).collect()).collect(),
        ..action(Vec::new(), request())
    };
    let granted = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    let missing = |lists: &[&[&str]], have: &[&str]| missing_scopes(&scopes(lists), &granted(have));
    assert_eq!(missing(&[&["repo"], &["public_repo"]], &["public_repo"]), None);
    assert_eq!(missing(&[&["repo"]], &["gist"]), Some(vec!["repo".to_owned()]));
    assert_eq!(missing(&[&["a", "b", "c"], &["d", "e"]], &["a", "b"]), Some(vec!["c".to_owned()]));
    assert_eq!(missing(&[], &["gist"]), None, "nothing is known to be needed");
    assert_eq!(missing(&[&["repo"]], &[]), None, "what the account has is not known");
    let app = fixtures::declaration();
    let error = check_scopes(&app, &scopes(&[&["a", "b"]]), "demo/work", &granted(&["c"])).unwrap_err();
    assert_eq!(error.code(), "scope_missing");
    assert!(error.to_string().contains("demo/do-it needs the scopes a, b"), "{error}");
    let fix = error.fix().unwrap();
    assert!(fix.contains("deputy account reconnect demo/work --add-scope a --add-scope b"), "{fix}");
}

#[test]
fn texts_become_values_of_the_props_kind() {
    let typed = |kind: PropKind, texts: &[&str]| {
        let prop = Prop {
            name: "p".to_owned(),
            kind,
            label: None,
            help: None,
            optional: false,
            default: None,
            options: Vec::new(),
            secret: false,
        };
        typed(&prop, texts).ok()
    };
    let list = || PropKind::List { of: ItemKind::Text };
    assert_eq!(typed(PropKind::Text, &["5"]), Some(json!("5")));
    assert_eq!(typed(PropKind::Integer, &["-5"]), Some(json!(-5)));
    assert_eq!(typed(PropKind::Integer, &["5.0"]), None);
    assert_eq!(typed(PropKind::Number, &["5.5"]), Some(json!(5.5)));
    assert_eq!(typed(PropKind::Number, &["x"]), None);
    assert_eq!(typed(PropKind::Boolean, &["true"]), Some(json!(true)));
    assert_eq!(typed(PropKind::Boolean, &["yes"]), None);
    assert_eq!(typed(PropKind::Json, &["[1]"]), Some(json!([1])));
    assert_eq!(typed(PropKind::Object, &["{"]), None);
    assert_eq!(typed(list(), &["a,b"]), Some(json!(["a,b"])));
    assert_eq!(typed(list(), &["a", "b"]), Some(json!(["a", "b"])));
    assert_eq!(typed(list(), &["[\"a\",\"b\"]"]), Some(json!(["a", "b"])));
    assert_eq!(typed(PropKind::Text, &["a", "b"]), None);
}

#[test]
fn a_script_carries_its_name_and_the_checked_props() {
    let script = Action {
        work: ActionWork::Script("export default () => 1".to_owned()),
        ..action(vec![prop("n", ActionPropKind::Integer)], request())
    };
    match work(&fixtures::declaration(), &script, &json!({"n": 1})).unwrap() {
        Work::Script { script, input } => {
            assert_eq!(script.name, "demo/do-it.js");
            let props = r#"{"account":{"app":"demo","type":"app"},"n":{"optional":false,"type":"integer"}}"#;
            assert_eq!(&*script.source, format!("export default () => 1\nexport const props = {props};\n"));
            assert_eq!(Value::Object(input), json!({"n": 1}));
        }
        Work::Call(call) => panic!("{call:?}"),
    }
}

#[test]
fn an_unknown_action_is_told_with_a_guess() {
    let mut app = (*fixtures::declaration()).clone();
    assert!(find(&app, "x").unwrap_err().fix().unwrap().contains("deputy request"));
    app.actions = vec![action(Vec::new(), request())];
    assert_eq!(find(&app, "do-it").unwrap().name, "do-it");
    assert!(find(&app, "do-itt").unwrap_err().fix().unwrap().contains("`demo/do-it`"));
}
