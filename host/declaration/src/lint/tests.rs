use super::*;

const HEAD: &str = "slug = \"acme\"\nname = \"Acme\"\n";
const KEY: &str = "[methods.key]\nheader.Authorization = \"Bearer {token}\"\n";

fn text(more: &str, methods: &str) -> String {
    let with = |key: &str, line: &str| match more.lines().any(|had| had.starts_with(key)) {
        true => String::new(),
        false => format!("{line}\n"),
    };
    let summary = with("summary", "summary = \"Things of a kind.\"");
    let base = with("base", "base = \"https://api.acme.com/v1\"");
    let test = with("test", "test = { path = \"/me\" }");
    let evidence =
        with("evidence", "evidence = { level = \"facts\", date = \"2026-11-23\", source = \"https://acme.com/docs\" }");
    format!("{HEAD}{summary}{base}{test}{evidence}{more}\n{methods}")
}

fn rules(more: &str, methods: &str) -> Vec<String> {
    let text = text(more, methods);
    let app = crate::source::parse("app.toml", &text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    let found = one(Source { file: "app.toml", text: &text, app: &app });
    let rule = |problem: Problem| {
        let (_, rule) = problem.message.rsplit_once('(').unwrap();
        rule.trim_end_matches(')').to_owned()
    };
    found.into_iter().map(rule).collect()
}

#[test]
fn each_rule_finds_what_it_is_for_and_nothing_else() {
    assert_eq!(rules("", KEY), Vec::<String>::new());
    let double = format!("{KEY}[methods.other]\nheader.Authorization = \"Bearer {{token}}\"\n");
    let oauth = "[methods.oauth.oauth2]\nauthorize-url = \"https://accounts.google.com/o/oauth2/v2/auth\"\n\
                 token-url = \"https://oauth2.googleapis.com/token\"\n";
    let scoped = format!("{oauth}scopes.read = \"Read\"");
    let unknown = oauth.replace("oauth2.googleapis.com", "id.acme.com");
    for (more, methods, expected) in [
        ("summary = \"No full stop\"", KEY, &["summary"][..]),
        ("summary = \"small letters.\"", KEY, &["summary"]),
        ("summary = \"One thing. Another thing.\"", KEY, &["summary"]),
        ("summary = \"Node.js and v1.2 of things.\"", KEY, &[]),
        ("evidence = { level = \"facts\", date = \"2026-11-23\", source = \"some-list; other-list\" }", KEY, &[]),
        (
            "evidence = { level = \"facts\", date = \"2026-11-23\", source = \"somebody told me\" }",
            KEY,
            &["evidence-source"],
        ),
        ("evidence = { level = \"facts\", date = \"2026-11-23\", source = \"some-list\" }", KEY, &[]),
        ("evidence = { level = \"facts\", date = \"2026-11-23\", source = \"RFC 6750\" }", KEY, &[]),
        ("base = \"https://api.acme.exampel\"", KEY, &["origin", "origin"]),
        ("base = \"https://api.acme.test\"", KEY, &["origin", "origin"]),
        ("reach.origins = [\"https://github.io\"]\nbase = \"https://github.io\"", KEY, &["public-suffix"]),
        ("base = \"https://{tenant}.github.io\"\ninputs.tenant = { kind = \"host-label\" }", KEY, &["public-suffix"]),
        ("base = \"{url}\"\ninputs.url = { kind = \"base-url\", hosts = [\".vercel.app\"] }", KEY, &["public-suffix"]),
        ("base = \"{url}\"\ninputs.url = { kind = \"base-url\" }", KEY, &["host-suffixes"]),
        ("test = { method = \"POST\", path = \"/query\" }", KEY, &["test-writes"]),
        ("", double.as_str(), &["unreachable-method"]),
        ("", oauth, &["no-scopes"]),
        ("", scoped.as_str(), &[]),
        ("", unknown.as_str(), &[]),
    ] {
        assert_eq!(rules(more, methods), expected, "{more}\n{methods}");
    }
}

#[test]
fn without_a_test_request_nothing_notices_a_wrong_key() {
    let text = text("", KEY).replace("test = { path = \"/me\" }\n", "");
    let found = |text: &str| {
        let app = crate::source::parse("app.toml", text).unwrap();
        one(Source { file: "app.toml", text, app: &app })
    };
    // Facts may know of none, and the listing shows the level; who checked an app by hand has one.
    assert_eq!(found(&text), []);
    let found = found(&text.replace("\"facts\"", "\"checked\""));
    assert!(found[0].message.ends_with("(no-test)"), "{found:?}");
}

#[test]
fn a_waiver_with_a_reason_silences_its_rule_and_no_other() {
    let waiver = "summary = \"No stop\"\ntest = { method = \"POST\", path = \"/query\" }\n\
                  lint.allow = [{ rule = \"summary\", reason = \"a brand's own words\" }]";
    assert_eq!(rules(waiver, KEY), ["test-writes"]);
    let unneeded = "lint.allow = [{ rule = \"summary\", reason = \"once it was long\" }]";
    assert_eq!(rules(unneeded, KEY), ["unneeded-waiver"]);
    // Whether an app doubles another is known only beside the others.
    assert_eq!(rules("lint.allow = [{ rule = \"duplicate\", reason = \"two tiers\" }]", KEY), Vec::<String>::new());
}

#[test]
fn a_waiver_written_wrongly_is_a_problem_of_the_source() {
    for (waiver, message) in [
        ("lint.allow = [{ rule = \"sumary\", reason = \"x\" }]", "`rule` cannot be `sumary`"),
        ("lint.allow = [{ rule = \"summary\" }]", "a waiver lacks `reason`"),
        ("lint.allow = [{ rule = \"summary\", reason = \" \" }]", "a waiver says why"),
        ("lint.deny = []", "lint has no key `deny`"),
    ] {
        let problems = crate::source::parse("app.toml", &text(waiver, KEY)).unwrap_err();
        assert_eq!(problems.0[0].message, message);
    }
}

#[test]
fn a_warning_stands_at_its_line() {
    let text = text("test = { method = \"POST\", path = \"/query\" }", KEY);
    let app = crate::source::parse("app.toml", &text).unwrap();
    let found = one(Source { file: "app.toml", text: &text, app: &app });
    let line = text.lines().position(|line| line.starts_with("test")).unwrap() + 1;
    assert_eq!((found[0].line, found[0].column), (line, 1));
}

#[test]
fn the_same_app_twice_is_found_by_name_and_by_what_it_sends() {
    let first = text("", KEY);
    let renamed = first.replace("slug = \"acme\"", "slug = \"acme-two\"").replace("\"Acme\"", "\"A C-M E\"");
    let other =
        renamed.replace("A C-M E", "Other").replace("api.acme.com", "api.other.com").replace("acme-two", "other");
    let texts = [&first, &renamed, &other];
    let apps: Vec<_> = texts.iter().map(|text| crate::source::parse("app.toml", text).unwrap()).collect();
    let sources = texts.iter().zip(&apps).map(|(text, app)| Source { file: &app.slug, text, app });
    let found: Vec<_> = catalogue(sources).into_iter().map(|problem| (problem.file, problem.message)).collect();
    let at = |message: &str| ("acme-two".to_owned(), format!("{message} (duplicate)"));
    assert_eq!(
        found,
        [
            at("`acme` has the same name, but for case, spaces and signs"),
            at("`acme` sends the same credentials to the same base")
        ]
    );
}

#[test]
fn a_base_that_is_an_input_is_told_apart_by_what_may_stand_there() {
    let regional = |slug: &str, name: &str, hosts: &str| {
        let text =
            text(&format!("[inputs.region]\nchoices = [{hosts}]\n"), KEY).replace("//api.acme.com", "//{region}");
        text.replace("slug = \"acme\"", &format!("slug = \"{slug}\"")).replace("\"Acme\"", &format!("\"{name}\""))
    };
    let texts = [
        regional("acme", "Acme", "\"api.acme.com\", \"api.acme.eu\""),
        regional("other", "Other", "\"api.other.com\", \"api.other.eu\""),
        regional("again", "Again", "\"api.acme.com\", \"api.acme.eu\""),
    ];
    let apps: Vec<_> = texts.iter().map(|text| crate::source::parse("app.toml", text).unwrap()).collect();
    let sources = texts.iter().zip(&apps).map(|(text, app)| Source { file: &app.slug, text, app });
    let found: Vec<_> = catalogue(sources).into_iter().filter(|found| found.message.contains("duplicate")).collect();
    assert_eq!(found.iter().map(|found| found.file.as_str()).collect::<Vec<_>>(), ["again"]);
}
