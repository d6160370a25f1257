//! Budgets, ambient accounts, and what a summary says of a request.

use super::super::markers::tests::bound;
use super::*;

const BEARER: &str = "tokens.token = {}\nheader.Authorization = \"Bearer {token}\"";

fn prop(name: &str, app: &str, change: impl FnOnce(&mut AppNeed)) -> Prop {
    let mut need = AppNeed { app: app.to_owned(), ..AppNeed::default() };
    change(&mut need);
    Prop {
        name: name.to_owned(),
        kind: PropKind::App(need),
        label: None,
        help: None,
        optional: false,
        default: None,
        options: Vec::new(),
        secret: false,
    }
}

fn grants(props: &[Prop], ambient: &[&str]) -> Result<Grants, StepError> {
    let bindings =
        props.iter().filter_map(|prop| Some((prop.name.clone(), bound(&app_need(prop)?.app, BEARER)))).collect();
    let ambient: Vec<String> = ambient.iter().map(|name| (*name).to_owned()).collect();
    Grants::new(props, bindings, &ambient)
}

fn ask(url: &str) -> Ask {
    Ask {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
        rule_set: None,
    }
}

#[test]
fn each_prop_has_a_budget_of_its_own() {
    let mut grants = grants(
        &[
            prop("few", "one", |need| need.requests = Some(2)),
            prop("small", "one", |need| need.bytes = Some(10)),
            prop("free", "one", |_| ()),
        ],
        &[],
    )
    .unwrap();
    for _ in 0..2 {
        grants.spend("few", 1 << 20).unwrap();
    }
    let refusal = grants.spend("few", 0).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Limit);
    assert!(refusal.message.contains("prop `few` declares 2 requests") && refusal.message.contains("`grant-requests`"));
    assert!(refusal.fix.unwrap().contains("`requests` of prop `few`"));
    grants.spend("small", 6).unwrap();
    let refusal = grants.spend("small", 5).unwrap_err();
    assert!(refusal.message.contains("10 bytes") && refusal.message.contains("6 were sent, and this one has 5"));
    assert!(refusal.message.contains("`grant-bytes`") && refusal.fix.unwrap().contains("`bytes` of prop `small`"));
    grants.spend("small", 4).unwrap();
    grants.spend("small", 0).unwrap();
    for _ in 0..100 {
        grants.spend("free", 1 << 20).unwrap();
    }
    assert_eq!(grants.spend("other", 0).unwrap_err().code, RefusalCode::NotBound);
}

#[test]
fn an_ambient_account_is_the_only_one_that_reaches_the_url() {
    let props = [
        prop("a", "one", |need| need.ambient = true),
        prop("b", "two", |_| ()),
        prop("c", "two", |_| ()),
        prop("d", "three", |_| ()),
    ];
    let one = grants(&props, &["b"]).unwrap();
    assert_eq!(one.ambient("https://api.one.example/x?y"), Ok(Some("a")));
    assert_eq!(one.ambient("https://api.two.example:443/"), Ok(Some("b")), "c is not ambient");
    for url in [
        "https://api.three.example/",
        "http://api.one.example/",
        "https://api.one.example:8443/",
        "https://api.one.example.evil.test/",
        "https://evil.test/?https://api.one.example/",
        "/x",
        "data:,x",
        "",
    ] {
        assert_eq!(one.ambient(url), Ok(None), "{url}");
    }
    let both = grants(&props, &["b", "c"]).unwrap();
    let refusal = both.ambient("https://api.two.example/").unwrap_err();
    assert!(refusal.message.contains("`b`, `c`") && refusal.fix.unwrap().contains("only one"), "{}", refusal.message);
    assert_eq!(both.ambient("https://api.one.example/"), Ok(Some("a")), "elsewhere nobody is in doubt");
    let error = grants(&props, &["e"]).unwrap_err();
    assert!(error.to_string().contains("`e`") && error.fix().unwrap().contains("a, b, c, d"), "{error}");
}

#[test]
fn only_the_wasi_door_is_ambient_and_a_marker_goes_first() {
    let props = [prop("a", "one", |need| need.ambient = true), prop("b", "one", |_| ())];
    let grants = grants(&props, &[]).unwrap();
    let url = "https://api.one.example/x";
    assert_eq!(grants.choose(Through::Nobody, &mut ask(url)), Ok(None), "a URL alone never earns credentials");
    assert_eq!(grants.choose(Through::Ambient, &mut ask(url)), Ok(Some("a".to_owned())));
    assert_eq!(grants.choose(Through::Prop("b"), &mut ask(url)), Ok(Some("b".to_owned())));
    for through in [Through::Nobody, Through::Ambient, Through::Prop("b")] {
        let mut asked = ask(url);
        let marker = grants.markers_of("b")["token"].clone();
        asked.headers.push(("Authorization".to_owned(), format!("Bearer {marker}").into_bytes()));
        assert_eq!(grants.choose(through, &mut asked), Ok(Some("b".to_owned())));
        assert_eq!((asked.headers.len(), asked.rule_set.as_deref()), (0, Some("default")));
    }
}

#[test]
fn a_summary_names_the_origin() {
    let grants = grants(&[prop("a", "one", |_| ())], &[]).unwrap();
    for (prop, url, origin) in [
        (Some("a"), "/x", "https://api.one.example"),
        (Some("a"), "https://Files.one.example:8443/x?y", "https://files.one.example:8443"),
        (None, "https://x.example:443/", "https://x.example"),
        (None, "/x", ""),
        (None, "data:,x", ""),
    ] {
        assert_eq!(grants.origin(prop, url), origin, "{url}");
    }
    assert!(grants.instead(Through::Nobody, "https://api.one.example/x").unwrap().contains("prop `a`"));
    assert_eq!(grants.instead(Through::Nobody, "https://other.example/x"), None);
    // Code that knows nothing of accounts cannot name one.
    assert!(grants.instead(Through::Ambient, "https://api.one.example/x").unwrap().contains("`--ambient a`"));
}

#[test]
fn a_step_cannot_widen_what_it_declares() {
    let props = [prop("a", "one", |need| (need.methods, need.paths) = (vec!["GET".into()], vec!["/v1".into()]))];
    let narrow = grants(&props, &[]).unwrap().narrow("a").unwrap();
    assert_eq!(
        (narrow.prop.as_str(), &*narrow.methods, &*narrow.paths),
        ("a", &["GET".to_owned()][..], &["/v1".to_owned()][..])
    );
}
