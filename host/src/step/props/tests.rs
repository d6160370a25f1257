//! What fits the props of a step, and what is said of what does not.

use serde_json::json;

use super::*;
use crate::ids::AccountId;

pub(in crate::step) fn prop(name: &str, kind: PropKind) -> Prop {
    Prop {
        name: name.to_owned(),
        kind,
        label: None,
        help: None,
        optional: false,
        default: None,
        options: Vec::new(),
        secret: false,
    }
}

pub(in crate::step) fn app(slug: &str) -> PropKind {
    PropKind::App(AppNeed { app: slug.to_owned(), ..AppNeed::default() })
}

fn bound(app: &str) -> Bound {
    let name = format!("{app}/work");
    Bound {
        account: AccountId::new(),
        app: app.to_owned(),
        name,
        identity: None,
        scopes: Vec::new(),
        inputs: BTreeMap::new(),
        origins: Vec::new(),
        declaration: crate::wasm::fixtures::declaration(),
        method: 0,
    }
}

pub(in crate::step) fn props() -> Vec<Prop> {
    vec![prop("slack", app("slack")), prop("channel", PropKind::Text)]
}

fn refusal(input: Value, bindings: &[(&str, &str)]) -> (String, Option<String>) {
    let bindings = bindings.iter().map(|(name, app)| ((*name).to_owned(), bound(app))).collect();
    match fit(&props(), input, &bindings) {
        Err(error) => {
            assert_eq!(error.code(), "step_input");
            (error.to_string(), error.fix())
        }
        Ok(_) => panic!("it fits"),
    }
}

#[test]
fn a_run_that_fits_is_let_through() {
    let bindings = BTreeMap::from([("slack".to_owned(), bound("slack"))]);
    let input = json!({ "channel": "general" });
    assert_eq!(fit(&props(), input.clone(), &bindings).unwrap(), input);
}

#[test]
fn what_does_not_fit_is_named_with_the_fix() {
    let slack = [("slack", "slack")];
    let (message, fix) = refusal(json!({ "channel": "x" }), &[]);
    assert!(message.contains("`slack`") && fix.unwrap().contains("--bind slack=slack/"), "{message}");
    let (message, fix) = refusal(json!({ "channel": "x" }), &[("slack", "github")]);
    assert!(message.contains("github/work") && fix.unwrap().contains("--bind slack=slack/"), "{message}");
    let (message, fix) = refusal(json!({ "chanel": "x" }), &slack);
    assert!(message.contains("`chanel`") && fix.unwrap().contains("`channel`"), "{message}");
    let (message, _) = refusal(json!({ "channel": 5 }), &slack);
    assert!(message.contains("`channel` wants a text"), "{message}");
    let (message, _) = refusal(json!({}), &slack);
    assert!(message.contains("lacks prop `channel`"), "{message}");
    let (message, _) = refusal(json!({ "channel": null }), &slack);
    assert!(message.contains("gives null"), "{message}");
    let (message, fix) = refusal(json!({ "channel": "x", "slack": "xoxb" }), &slack);
    assert!(message.contains("is an account") && fix.unwrap().contains("--bind"), "{message}");
    let (message, _) = refusal(json!(["channel"]), &slack);
    assert!(message.contains("not a JSON object"), "{message}");
    let (message, _) = refusal(json!({ "channel": "x" }), &[("slack", "slack"), ("channel", "slack")]);
    assert!(message.contains("not an account"), "{message}");
}

pub(in crate::step) fn text_with(change: impl FnOnce(&mut Prop)) -> Prop {
    let mut prop = prop("a", PropKind::Text);
    change(&mut prop);
    prop
}

pub(in crate::step) fn choice(value: Value) -> Choice {
    Choice { label: "One".to_owned(), value }
}

#[test]
fn defaults_stand_where_the_input_says_nothing() {
    let props = [
        text_with(|prop| prop.default = Some(json!("general"))),
        Prop { optional: true, default: Some(json!([1])), ..prop("b", PropKind::List { of: ItemKind::Integer }) },
        Prop { optional: true, ..prop("c", PropKind::Json) },
    ];
    let filled = |input| fit(&props, input, &BTreeMap::new()).unwrap();
    assert_eq!(filled(Value::Null), json!({ "a": "general", "b": [1] }));
    assert_eq!(filled(json!({ "a": "x", "b": null, "c": null })), json!({ "a": "x", "b": null, "c": null }));
    let error = fit(&props, json!({ "a": null }), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("`a` wants a text, but the input gives null"), "{error}");
}

#[test]
fn options_are_the_only_values() {
    let one = Prop { options: vec![choice(json!("red")), choice(json!("blue"))], ..prop("a", PropKind::Text) };
    let list = PropKind::List { of: ItemKind::Number };
    let many = Prop { options: vec![choice(json!(1)), choice(json!(2))], optional: true, ..prop("b", list) };
    let props = [one, many];
    let fits = |input| fit(&props, input, &BTreeMap::new());
    assert!(fits(json!({ "a": "red", "b": [2.0, 1] })).is_ok());
    assert!(fits(json!({ "a": "red", "b": null })).is_ok());
    let error = fits(json!({ "a": "green" })).unwrap_err();
    assert_eq!(error.to_string(), "prop `a` has no option \"green\"");
    assert_eq!(error.fix().as_deref(), Some("its options are \"red\", \"blue\""));
    let error = fits(json!({ "a": "red", "b": [1, 3] })).unwrap_err();
    assert_eq!(error.to_string(), "prop `b` has no option 3");
}
