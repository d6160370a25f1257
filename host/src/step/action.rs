//! Actions: steps that ship inside an app as data.
//!
//! From an action and its props to a [`Call`], or to the script that the app brings. Pure: nothing here sends, so that
//! what an action is refused for (an unknown prop, a missing scope) is known before anything goes out.

use std::collections::BTreeMap;

use deputy_declaration::nearest;
use deputy_declaration::types::{
    Action, ActionBody, ActionField, ActionPart, ActionPropKind, ActionRequest, ActionValue, ActionWork, App,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::call::set_pointer;
use super::props::short;
use super::{
    AnswerRules, Call, CallBody, CallRetry, Choice, ItemKind, Pages, Parse, Prop, PropKind, Script, StepError, props,
};

/// The one app prop of every action.
pub const ACCOUNT: &str = "account";

/// All but the unreserved characters of RFC 3986 section 2.3: a value can never be more than a part of one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What an action does, with its props filled in.
#[derive(Debug)]
pub enum Work {
    Call(Box<Call>),
    /// A native step: its account is bound to [`ACCOUNT`], and its input is the props.
    Script {
        script: Script,
        input: Map<String, Value>,
    },
}

/// The action of that name.
pub fn find<'a>(app: &'a App, name: &str) -> Result<&'a Action, StepError> {
    app.actions.iter().find(|action| action.name == name).ok_or_else(|| {
        let names = || app.actions.iter().map(|action| action.name.as_str());
        let fix = match nearest(name, names()) {
            Some(near) => format!("did you mean `{}/{near}`?", app.slug),
            None if app.actions.is_empty() => format!("{} has none; call it with `deputy request`", app.slug),
            None => format!("see `deputy action list {}`", app.slug),
        };
        let message = format!("{} has no action `{}`", app.slug, short(name));
        StepError::Refused { code: "action_unknown", message, fix: Some(fix) }
    })
}

/// What the action lacks of the scopes that an account was granted; none: nothing, or nothing that is known. Of several
/// ways to be allowed, the one that lacks least.
pub fn missing_scopes(action: &Action, granted: &[String]) -> Option<Vec<String>> {
    if granted.is_empty() {
        return None;
    }
    let missing = |needed: &Vec<String>| -> Vec<String> {
        needed.iter().filter(|scope| !granted.contains(scope)).cloned().collect()
    };
    action.scopes.iter().map(missing).min_by_key(Vec::len).filter(|missing| !missing.is_empty())
}

/// Refuses an account without the scopes, before anything is sent. `account`: `app/nickname`.
pub fn check_scopes(app: &App, action: &Action, account: &str, granted: &[String]) -> Result<(), StepError> {
    let Some(missing) = missing_scopes(action, granted) else { return Ok(()) };
    let plural = if missing.len() == 1 { "the scope" } else { "the scopes" };
    let flags: Vec<_> = missing.iter().map(|scope| format!("--add-scope {scope}")).collect();
    Err(StepError::Refused {
        code: "scope_missing",
        message: format!("{}/{} needs {plural} {}, which {account} lacks", app.slug, action.name, missing.join(", ")),
        fix: Some(format!("run `deputy account reconnect {account} {}`", flags.join(" "))),
    })
}

/// The action's props as those of a step, without the account.
pub fn declared(action: &Action) -> Result<Vec<Prop>, StepError> {
    action
        .props
        .iter()
        .map(|prop| {
            let options = prop.choices.iter().map(|choice| {
                let value = constant(choice, &prop.name)?;
                Ok(Choice { label: plain(&value), value })
            });
            let default = prop.default.as_deref().map(|default| constant(default, &prop.name)).transpose()?;
            Ok(Prop {
                name: prop.name.clone(),
                kind: match prop.kind {
                    ActionPropKind::Text => PropKind::Text,
                    ActionPropKind::Integer => PropKind::Integer,
                    ActionPropKind::Number => PropKind::Number,
                    ActionPropKind::Boolean => PropKind::Boolean,
                    ActionPropKind::Object => PropKind::Object,
                    ActionPropKind::Json => PropKind::Json,
                    ActionPropKind::TextList => PropKind::List { of: ItemKind::Text },
                },
                label: Some(prop.label.clone()),
                help: prop.help.clone(),
                optional: prop.optional || default.is_some(),
                default,
                options: options.collect::<Result<_, StepError>>()?,
                secret: false,
            })
        })
        .collect()
}

/// The action with these props. Each is checked against its kind and choices; defaults stand for what is not given, and
/// `null` is not given.
pub fn work(app: &App, action: &Action, given: &Value) -> Result<Work, StepError> {
    let declared = declared(action)?;
    let mut input = match given {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        _ => return Err(wrong("the props are not a JSON object", Some("give them as {\"name\": value}".to_owned()))),
    };
    // What is optional and null is not given: its default stands for it.
    input.retain(|name, value| !value.is_null() || !declared.iter().any(|prop| prop.optional && prop.name == *name));
    let input = match props::fit(&declared, Value::Object(input), &BTreeMap::new())? {
        Value::Object(fields) => fields,
        other => return Err(StepError::Internal(format!("checked props are no object but {other}"))),
    };
    Ok(match &action.work {
        ActionWork::Request(request) => Work::Call(Box::new(call(request, &input)?)),
        ActionWork::Script(source) => {
            let name = format!("{}/{}.js", app.slug, action.name);
            // At the end, so that every line keeps its number; exports are known before a module runs.
            let source = format!("{source}\nexport const props = {};\n", script_props(app, &declared));
            Work::Script { script: Script { name, source: source.into() }, input }
        }
    })
}

/// What a text means as a value of the prop: the command line and forms have only texts.
pub fn typed(prop: &Prop, texts: &[&str]) -> Result<Value, StepError> {
    let fail = |what: &str| Err(wrong(format!("prop `{}` wants {what}", prop.name), None));
    let [text] = texts else {
        return match &prop.kind {
            PropKind::List { of: ItemKind::Text } => Ok(texts.iter().map(|text| Value::from(*text)).collect()),
            _ => fail("one value, and several are given"),
        };
    };
    match &prop.kind {
        PropKind::Text => Ok((*text).into()),
        PropKind::Boolean => match *text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => fail("true or false"),
        },
        PropKind::Integer => match serde_json::from_str::<Value>(text) {
            Ok(number) if number.is_i64() || number.is_u64() => Ok(number),
            _ => fail("a whole number"),
        },
        PropKind::Number => match serde_json::from_str::<Value>(text) {
            Ok(number) if number.is_number() => Ok(number),
            _ => fail("a number"),
        },
        PropKind::List { of: ItemKind::Text } if !text.trim_start().starts_with('[') => Ok(Value::from(vec![*text])),
        PropKind::Object | PropKind::Json | PropKind::List { .. } => serde_json::from_str(text).or_else(|error| {
            let message = format!("prop `{}` wants JSON: {error}", prop.name);
            Err(wrong(message, Some(format!("quote it for the shell: --prop '{}={{\"name\":\"value\"}}'", prop.name))))
        }),
        PropKind::App(_) => fail("an account, by `--account`"),
    }
}

/// The props as a script declares them. Defaults and choices were seen to.
fn script_props(app: &App, declared: &[Prop]) -> Value {
    let kind = |kind: &PropKind| match kind {
        PropKind::Text => "string",
        PropKind::Integer => "integer",
        PropKind::Number => "number",
        PropKind::Boolean => "boolean",
        PropKind::Object => "object",
        PropKind::List { of: ItemKind::Text } => "string[]",
        PropKind::Json | PropKind::List { .. } | PropKind::App(_) => "any",
    };
    let mut props = Map::new();
    props.insert(ACCOUNT.to_owned(), json!({ "type": "app", "app": app.slug }));
    for prop in declared {
        props.insert(prop.name.clone(), json!({ "type": kind(&prop.kind), "optional": prop.optional }));
    }
    Value::Object(props)
}

fn call(request: &ActionRequest, props: &Map<String, Value>) -> Result<Call, StepError> {
    let pages = request.lists.as_ref().map(|lists| Pages {
        items: lists.items.clone(),
        next: lists.next.clone(),
        ..Pages::default()
    });
    let mut query = Vec::new();
    pairs(&request.query, props, &mut query)?;
    let mut headers = Vec::new();
    for field in &request.headers {
        if let Some(value) = value(&field.value, props, &field.name)? {
            headers.push((field.name.clone(), plain(&value)));
        }
    }
    let body = match &request.body {
        ActionBody::None => CallBody::None,
        ActionBody::Json(fields) => CallBody::Json(json_body(fields, props)?),
        ActionBody::Form(fields) => {
            let mut form = Vec::new();
            pairs(fields, props, &mut form)?;
            CallBody::Form(form)
        }
    };
    Ok(Call {
        method: request.method.clone(),
        path: path(&request.path, props)?,
        query,
        headers,
        body,
        identity: request.identity.clone(),
        answer: AnswerRules {
            parse: Parse::Auto,
            expect: Vec::new(),
            output: request.output.clone().filter(|_| pages.is_none()),
            save: None,
            retry: CallRetry::default(),
            pages,
        },
    })
}

/// The path, with every prop percent-encoded whole.
fn path(parts: &[ActionPart], props: &Map<String, Value>) -> Result<String, StepError> {
    let mut path = String::new();
    for part in parts {
        match part {
            ActionPart::Text(text) => path.push_str(text),
            ActionPart::Prop(name) => {
                let value = props.get(name).map(plain).unwrap_or_default();
                if value.is_empty() {
                    let message = format!("prop `{name}` is empty, and the path needs it");
                    return Err(wrong(message, Some("give it a value".to_owned())));
                }
                path.extend(utf8_percent_encode(&value, SEGMENT));
            }
        }
    }
    // Dots are not encoded, and every parser would resolve them.
    if path.split('?').next().unwrap_or_default().split('/').any(|segment| segment == "." || segment == "..") {
        let names: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                ActionPart::Prop(name) => Some(format!("`{name}`")),
                ActionPart::Text(_) => None,
            })
            .collect();
        let message = format!("the path would hold a segment of dots alone; it is made of {}", names.join(", "));
        return Err(wrong(message, Some("give the names that are meant".to_owned())));
    }
    Ok(path)
}

/// A field's value; none: it is left out.
fn value(value: &ActionValue, props: &Map<String, Value>, place: &str) -> Result<Option<Value>, StepError> {
    Ok(match value {
        ActionValue::Prop(name) => props.get(name).cloned(),
        ActionValue::Constant(json) => Some(constant(json, place)?),
        ActionValue::Text(parts) => {
            let mut text = String::new();
            for part in parts {
                match part {
                    ActionPart::Text(fixed) => text.push_str(fixed),
                    ActionPart::Prop(name) => match props.get(name) {
                        Some(value) => text.push_str(&plain(value)),
                        None => return Ok(None),
                    },
                }
            }
            Some(text.into())
        }
    })
}

/// A value as text: a list is joined with commas, an object is JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Query or form fields. A list repeats the name; the fields of an object stand in brackets: `metadata[order]`.
fn pairs(
    fields: &[ActionField],
    props: &Map<String, Value>,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), StepError> {
    for field in fields {
        match value(&field.value, props, &field.name)? {
            None => {}
            Some(Value::Array(items)) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
                pairs.extend(items.iter().map(|item| (field.name.clone(), plain(item))));
            }
            Some(value) => bracketed(&field.name, &value, pairs),
        }
    }
    Ok(())
}

fn bracketed(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                bracketed(&format!("{name}[{key}]"), value, pairs);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                bracketed(&format!("{name}[{index}]"), item, pairs);
            }
        }
        scalar => pairs.push((name.to_owned(), plain(scalar))),
    }
}

/// The JSON body: each value at its pointer. An object even where nothing is given.
fn json_body(fields: &[ActionField], props: &Map<String, Value>) -> Result<Value, StepError> {
    let mut body = Value::Null;
    for field in fields {
        if let Some(value) = value(&field.value, props, &field.name)?
            && !set_pointer(&mut body, &field.name, value)
        {
            return Err(malformed(format!("`{}` is no place in the body", field.name)));
        }
    }
    Ok(if body.is_null() { Value::Object(Map::new()) } else { body })
}

fn constant(text: &str, place: &str) -> Result<Value, StepError> {
    serde_json::from_str(text).map_err(|error| malformed(format!("the constant of `{place}` is no JSON: {error}")))
}

/// The app's author made a mistake that its checks did not find.
fn malformed(problem: String) -> StepError {
    StepError::Refused {
        code: "action_malformed",
        message: format!("the action itself is malformed: {problem}"),
        fix: Some("check the app with `deputy app check`".to_owned()),
    }
}

fn wrong(message: impl Into<String>, fix: Option<String>) -> StepError {
    StepError::Input { message: message.into(), fix }
}

#[cfg(test)]
mod tests {
    use deputy_declaration::types::{ActionList, ActionProp, NextPage};

    use super::*;
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
        let channel = ActionProp {
            choices: vec!["\"a\"".to_owned(), "\"b\"".to_owned()],
            ..prop("channel", ActionPropKind::Text)
        };
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
}
