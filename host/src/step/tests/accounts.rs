//! Which account a request of a guest goes through, what it may do there, and what is kept of its secrets.

use super::*;

/// A run of the hostile guest with these props bound, each to an account of its own, and what it said.
async fn sent(road: &Arc<Fake>, props: &[&str], input: Value) -> Outcome {
    let bound = |prop: &&str| {
        let bound = Bound { origins: vec!["https://api.demo.example".to_owned()], ..demo() };
        ((*prop).to_owned(), Bound { name: format!("demo/{prop}"), ..bound })
    };
    let run = Run { bindings: props.iter().map(bound).collect(), ..run_on(input, road.clone()) };
    execute(&steps(), &fixtures::guest("hostile"), run).await.unwrap()
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    let warnings = outcome.logs.iter().filter(|line| line.level == LogLevel::Warn);
    warnings.map(|line| line.message.as_str()).collect()
}

#[tokio::test]
async fn a_marker_in_its_slot_is_dropped_and_names_its_account() {
    for (authorization, prop) in [
        ("Bearer {other.token}", None),
        ("{other.token}", None),
        ("Basic {other.token|basic}", None),
        ("token {other.token}", Some("other")),
    ] {
        let road = Arc::new(Fake::default());
        let url = "https://api.demo.example/x";
        let headers = json!([["Authorization", authorization], ["X-Mine", "1"]]);
        let input = json!({ "do": "send", "prop": prop, "url": url, "headers": headers, "body": "text" });
        let outcome = sent(&road, &["demo", "other"], input).await;
        assert_eq!(outcome.output["ok"]["status"], 200, "{}", outcome.output);
        let summary = &outcome.requests[0];
        assert_eq!((summary.account.as_str(), summary.origin.as_str()), ("demo/other", "https://api.demo.example"));
        let (seen, grants) = (road.requests.lock().unwrap(), road.grants.lock().unwrap());
        assert_eq!((seen.len(), grants.len(), seen[0].plain), (1, 1, false));
        assert_eq!(seen[0].url, url);
        assert_eq!(seen[0].headers.keys().collect::<Vec<_>>(), ["x-mine"]);
        assert_eq!((seen[0].body.as_str(), seen[0].rule_set.as_deref()), ("text", Some("default")));
        assert_eq!(grants[0].narrow.as_ref().unwrap().prop, "other");
        assert!(warnings(&outcome).is_empty(), "{:?}", outcome.logs);
    }
}

#[tokio::test]
async fn markers_of_two_accounts_in_one_request_are_refused_by_name() {
    for (prop, headers) in [
        (Some("demo"), json!([["authorization", "Bearer {other.token}"]])),
        (None, json!([["authorization", "Bearer {other.token}"], ["authorization", "Bearer {demo.token}"]])),
    ] {
        let road = Arc::new(Fake::default());
        let input = json!({ "do": "send", "prop": prop, "url": "https://api.demo.example/x", "headers": headers });
        let output = sent(&road, &["demo", "other"], input).await.output;
        assert_eq!(output["code"], "Denied", "{output}");
        let message = output["message"].as_str().unwrap();
        assert!(
            message.contains("`demo`") && message.contains("`other`") && message.contains("one-account"),
            "{message}"
        );
        assert!(road.requests.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_marker_elsewhere_is_text_and_the_log_says_so() {
    for (input, place) in [
        (json!({ "headers": [["X-Token", "{demo.token}"]] }), "the header `x-token`"),
        (json!({ "headers": [["authorization", "Bearer {demo.token}!"]] }), "the header `authorization`"),
        (json!({ "headers": [["x-b", "{demo.token|basic}"]] }), "the header `x-b`"),
        (json!({ "body": "{demo.token}" }), "the body"),
        (json!({ "body": "a={demo.token|basic}" }), "the body"),
        (json!({ "url": "https://plain.example/{demo.token}" }), "the path"),
        (json!({ "url": "https://plain.example/?access_token={demo.token}" }), "the query"),
    ] {
        let road = Arc::new(Fake::default());
        let mut whole = json!({ "do": "send", "url": "https://plain.example/x" });
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let outcome = sent(&road, &["demo"], whole).await;
        assert_eq!(outcome.output["ok"]["body"], "plain", "{}", outcome.output);
        assert_eq!(outcome.requests[0].account, "");
        let seen = &road.requests.lock().unwrap()[0];
        assert!(seen.plain && seen.rule_set.is_none());
        let told = warnings(&outcome);
        assert_eq!(told.len(), 1, "{input}: {told:?}");
        assert!(told[0].contains(&format!("the marker of prop `demo` stands in {place}, where it is worth nothing")));
        assert!(told[0].contains("the header `Authorization`"), "{}", told[0]);
    }
}

#[tokio::test]
async fn a_url_alone_earns_no_credentials() {
    let road = Arc::new(Fake::default());
    let bindings =
        BTreeMap::from([("demo".to_owned(), Bound { origins: vec!["https://api.demo.example".to_owned()], ..demo() })]);
    let input = json!({ "do": "send", "url": "https://api.demo.example/me" });
    // Not even through an ambient account: that is for code that speaks `wasi:http`.
    let run = Run { bindings, ambient: vec!["demo".to_owned()], ..run_on(input, road.clone()) };
    let output = execute(&steps(), &fixtures::guest("hostile"), run).await.unwrap().output;
    assert_eq!(output["code"], "Denied", "{output}");
    assert!(output["message"].as_str().unwrap().contains("rule `plain-host`"), "{output}");
    assert!(output["fix"].as_str().unwrap().contains("the account of prop `demo` reaches it"), "{output}");
    assert!(road.grants.lock().unwrap().is_empty() && road.requests.lock().unwrap()[0].plain);
    let input = json!({ "do": "send", "url": "https://refused.example/" });
    let output = sent(&road, &["demo"], input).await.output;
    assert!(output["fix"].as_str().unwrap().contains("[egress] plain"), "{output}");
}

#[tokio::test]
async fn what_a_step_declares_travels_with_every_request_and_is_counted() {
    let road = Arc::new(Fake::default());
    let input = json!({ "do": "send", "prop": "narrow", "url": "/me", "method": "POST", "body": "0123456789" });
    let outcome = sent(&road, &["narrow"], input).await;
    assert_eq!(outcome.output["ok"]["status"], 200, "{}", outcome.output);
    assert_eq!(outcome.requests[0].origin, "https://api.demo.example");
    let narrow = road.grants.lock().unwrap()[0].narrow.clone().unwrap();
    let declared = crate::egress::Narrow {
        prop: "narrow".to_owned(),
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        paths: vec!["/echo".to_owned()],
    };
    assert_eq!(*narrow, declared);
    let input = json!({ "do": "send", "prop": "narrow", "url": "/me", "method": "POST", "body": "0123456789a" });
    let output = sent(&road, &["narrow"], input).await.output;
    assert_eq!(output["code"], "Limit", "{output}");
    assert!(output["message"].as_str().unwrap().contains("`grant-bytes`"), "{output}");
    assert!(output["fix"].as_str().unwrap().contains("`bytes` of prop `narrow`"), "{output}");
}

#[tokio::test]
async fn a_secret_prop_is_kept_out_of_log_output_error_and_summary() {
    let secret = "hunter22-canary";
    for how in ["log", "output", "failure", "path"] {
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        let input = json!({ "do": "tell", "secret": secret, "how": how });
        let run = Run { log: Some(sender), ..run(input) };
        let step = steps();
        let step_ready = step.load(&component(&fixtures::guest("hostile"))).await.unwrap();
        let ran = step.run(&step_ready, run).await;
        let live: Vec<String> = std::iter::from_fn(|| lines.try_recv().ok()).map(|line| line.message).collect();
        let all = format!("{ran:?} {live:?}");
        assert!(!all.contains("hunter22") && !all.contains("canary"), "{how}: {all}");
        let told = match how {
            "log" => live[0].clone(),
            "output" => ran.result.unwrap().value.to_string(),
            "failure" => ran.result.unwrap_err().to_string(),
            _ => ran.requests[0].path.clone(),
        };
        assert!(told.contains("[redacted]*****"), "{how}: {told}");
    }
    let error = hostile(json!({ "do": "tell", "secret": secret, "how": "loudly" })).await.unwrap_err();
    assert!(error.to_string().contains("`how` has no option \"loudly\""), "{error}");
}
