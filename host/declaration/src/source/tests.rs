use super::*;
use crate::types::{AuthKind, ClientAuth, Condition, Encoding, Part, Pkce, Rotation, Rule};

/// A small app; `top` are keys and inline tables of the first level.
pub(crate) fn app(top: &str) -> App {
    parse("app.toml", &text(top)).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn text(top: &str) -> String {
    format!(
        "slug = \"example\"\nname = \"Example\"\nsummary = \"An example.\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n{top}\n\
         [methods.key]\nheader.Authorization = \"Bearer {{token}}\"\n"
    )
}

/// What an author sees; `top` begins at line 5.
fn golden(top: &str) -> String {
    parse("app.toml", &text(top)).expect_err("it has a mistake").to_string()
}

const BASE: &str = "base = \"https://api.example.com\"\n";

#[test]
fn fifteen_lines_are_enough() {
    let app = app(BASE);
    assert_eq!(serde_json::to_value(&app.base).unwrap(), serde_json::json!([{ "text": "https://api.example.com" }]));
    assert_eq!(
        serde_json::to_value(&app.reach.origins).unwrap(),
        serde_json::json!([{ "exact": "https://api.example.com" }])
    );
    let method = &app.methods[0];
    assert_eq!((method.id.as_str(), method.label.as_str(), method.tokens[0].name.as_str()), ("key", "Key", "token"));
    assert_eq!(method.rule_sets[0].name, "default");
    assert_eq!(app.signals.expired, vec![vec![Condition::Status(401)]]);
}

#[test]
fn oauth_has_the_defaults_of_the_rfc() {
    let oauth = format!(
        "{BASE}[methods.oauth.oauth2]\nauthorize-url = \"https://a.example/authorize\"\n\
         token-url = \"https://a.example/token\"\nscopes.read = {{ text = \"Read\", default = true }}\n\
         scopes.offline = {{ text = \"Stay\", required = true }}\nscopes.admin = \"Everything\"\n"
    );
    let app = app(&oauth);
    let method = &app.methods[0];
    let AuthKind::OAuth2Code(oauth2) = &method.kind else { panic!("{method:?}") };
    assert_eq!((oauth2.pkce, oauth2.client_auth, oauth2.rotation), (Pkce::S256, ClientAuth::Basic, Rotation::Rotating));
    assert_eq!(oauth2.error, "/error");
    let list = &oauth2.scope_lists[0];
    assert_eq!((list.param.as_str(), list.separator.as_str()), ("scope", " "));
    // In the order of the text, not of the alphabet.
    assert_eq!(
        list.scopes.iter().map(|scope| (scope.name.as_str(), scope.default, scope.required)).collect::<Vec<_>>(),
        [("read", true, false), ("offline", true, true), ("admin", false, false)]
    );
    let reply = method.tokens[0].reply.as_ref().unwrap();
    assert_eq!(method.tokens[0].name, "access_token");
    assert_eq!((reply.access.as_str(), reply.refresh.as_deref()), ("/access_token", Some("/refresh_token")));
    let Rule::Header(header) = &method.rule_sets[0].rules[0] else { panic!() };
    assert_eq!(header.name, "Authorization");
    assert_eq!(header.value[0], Part::Text("Bearer ".into()));
}

#[test]
fn methods_keep_the_order_of_the_text() {
    let app = app(&format!("{BASE}[methods.zebra]\nheader.A = \"{{token}}\"\n"));
    assert_eq!(app.methods.iter().map(|method| method.id.as_str()).collect::<Vec<_>>(), ["zebra", "key"]);
}

#[test]
fn templates_are_typed() {
    let toml = format!(
        "{BASE}inputs.site = {{}}\n[methods.two]\ntokens.key = {{}}\nheader.A = \"{{{{x}}}} {{key|base64|percent}} {{site}}\"\n"
    );
    let app = app(&toml);
    let Rule::Header(header) = &app.methods[0].rule_sets[0].rules[0] else { panic!() };
    let [Part::Text(braces), Part::Token(key), Part::Text(space), Part::Input(site)] = &header.value[..] else {
        panic!("{:?}", header.value)
    };
    assert_eq!((braces.as_str(), space.as_str(), site.name.as_str()), ("{x} ", " ", "site"));
    assert_eq!(key.encodings, [Encoding::Base64, Encoding::Percent]);
}

#[test]
fn conditions_are_any_of_all_of() {
    let app = app(&format!(
        "{BASE}signals.expired = [{{ status = 401 }}, {{ status = 200, body = {{ \"/error\" = \"token_expired\", \"/ok\" = false }} }}]\n"
    ));
    assert_eq!(
        serde_json::to_value(&app.signals.expired).unwrap(),
        serde_json::json!([
            [{ "status": 401 }],
            [{ "status": 200 }, { "body": { "name": "/error", "value": "token_expired" } }, { "body": { "name": "/ok", "value": "false" } }],
        ])
    );
}

#[test]
fn an_unknown_name_is_shown_at_its_column() {
    assert_eq!(
        golden(&format!("{BASE}[methods.two]\ntokens.token = {{}}\nheader.Authorization = \"Bearer {{tokn}}\"")),
        "app.toml:8:32: `{tokn}` is not declared\n  help: did you mean `{token}`?"
    );
    // Behind escapes, in a literal string, and in a text of several lines.
    assert_eq!(
        golden(&format!("{BASE}[methods.two]\nheader.A = \"\\u0041\\t{{tokn}}\"")),
        "app.toml:7:21: `{tokn}` is not declared\n  help: did you mean `{token}`?"
    );
    assert_eq!(
        golden(&format!("{BASE}[methods.two]\nheader.A = '{{tokn}}'")),
        "app.toml:7:13: `{tokn}` is not declared\n  help: did you mean `{token}`?"
    );
    assert_eq!(
        golden(&format!("{BASE}[methods.two]\nheader.A = \"\"\"\nä \\\n   {{tokn}}\"\"\"")),
        "app.toml:9:4: `{tokn}` is not declared\n  help: did you mean `{token}`?"
    );
}

#[test]
fn template_mistakes_say_the_way_out() {
    let value = |value: &str| golden(&format!("{BASE}[methods.two]\nheader.A = \"{value}\""));
    assert_eq!(value("{token|base46}"), "app.toml:7:13: `base46` is no encoding\n  help: did you mean `base64`?");
    assert_eq!(value("{token"), "app.toml:7:13: `{` is never closed\n  help: write `{{` for the character");
    assert_eq!(value("token}"), "app.toml:7:18: `}` closes nothing\n  help: write `}}` for the character");
    assert_eq!(value("{}"), "app.toml:7:13: `{}` is not declared\n  help: declared here: token");
}

#[test]
fn unknown_keys_are_errors_with_the_nearest_or_all() {
    assert_eq!(
        golden(&format!("{BASE}sumary = \"x\"")),
        "app.toml:6:1: an app has no key `sumary`\n  help: did you mean `summary`?"
    );
    assert_eq!(
        golden(&format!("{BASE}test = {{ path = \"/me\", colour = 1 }}")),
        "app.toml:6:24: test has no key `colour`\n  help: the keys of test: method, path, headers, body, id, label, identity-hook"
    );
    assert_eq!(
        golden(&format!("{BASE}[methods.two]\nheaders.A = \"{{token}}\"")),
        "app.toml:6:10: the method `two` does not say where its token goes\n  help: header.Authorization = \"Bearer {token}\"\n\
         app.toml:7:1: a method has no key `headers`\n  help: did you mean `header`?",
    );
}

#[test]
fn all_mistakes_come_at_once_in_order() {
    let problems = parse("app.toml", "slug = 1\nnmae = \"x\"\n").unwrap_err();
    let lines: Vec<String> =
        problems.0.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message)).collect();
    assert_eq!(
        lines,
        [
            "1:1 the app lacks `base`",
            "1:1 the app lacks `methods`",
            "1:1 the app lacks `name`",
            "1:1 the app lacks `summary`",
            "1:1 the app lacks `evidence`",
            "1:8 `slug` is a string, not an integer",
            "2:1 an app has no key `nmae`",
        ]
    );
}

#[test]
fn malformed_toml_is_shown_where_it_breaks() {
    let problems = parse("app.toml", "slug = \"a\nname = [1,\n").unwrap_err();
    assert_eq!((problems.0[0].line, problems.0[0].file.as_str()), (1, "app.toml"));
    assert!(problems.0.len() > 1, "{problems}");
    for text in
        ["", "=", "\u{0}", "a.b.c", "[[methods]]", "methods = 3", "[methods]\nkey = 3", "slug = \"a\"\nslug = \"b\""]
    {
        assert!(!parse("app.toml", text).unwrap_err().0.is_empty(), "{text}");
    }
}

#[test]
fn wrong_words_and_types_are_told() {
    let oauth = |line: &str| {
        golden(&format!(
            "{BASE}[methods.oauth.oauth2]\nauthorize-url = \"https://a.example/a\"\ntoken-url = \"https://a.example/t\"\n{line}"
        ))
    };
    assert_eq!(oauth("pkce = \"S256\""), "app.toml:9:8: `pkce` cannot be `S256`\n  help: did you mean \"s256\"?");
    assert_eq!(
        oauth("client-auth = 1"),
        "app.toml:9:15: `client-auth` cannot be an integer\n  help: one of basic, basic-raw, basic-secret, post, none"
    );
    assert_eq!(oauth("rotation = { grace-s = -1 }"), "app.toml:9:24: `grace-s` is a whole number in range");
    assert_eq!(
        oauth("errors.gone = \"forever\""),
        "app.toml:9:15: `gone` cannot be `forever`\n  help: one of permanent, configuration, throttle, transient"
    );
    assert_eq!(oauth("scope-separator = \",\""), "app.toml:9:19: a separator without `scopes` separates nothing");
}

#[test]
fn findings_stand_at_their_line() {
    assert_eq!(
        golden("base = \"https://{shop}.com\"\ninputs.shop = { kind = \"host-label\" }"),
        "app.toml:5:23: `.com` is open to everybody: name a domain of the vendor, such as `.example.com`"
    );
    assert_eq!(
        golden("base = \"https://{site}.example.com\"\ninputs.site = {}"),
        "app.toml:5:17: `{site}` may not become part of a host\n  \
         help: only an input of kind `host-label`, or one with choices, without encodings, after https://"
    );
    assert_eq!(
        golden(&format!("{BASE}reach.methods = [\"GET\", \"post\"]")),
        "app.toml:6:25: `post` is no HTTP method in upper case\n  help: write POST"
    );
    assert_eq!(
        golden(&format!("{BASE}test = {{ path = \"/me\", id = \"$.user.id\" }}")),
        "app.toml:6:29: `$.user.id` is no JSON Pointer (RFC 6901)\n  help: write `/user/id`"
    );
    assert_eq!(
        golden(&format!("{BASE}headers.authorization = \"x\"")),
        "app.toml:6:9: a credential rule writes `authorization`: it cannot have a default too"
    );
}

#[test]
fn a_pointer_can_be_switched_off_and_moved() {
    let app = app(&format!(
        "{BASE}[methods.oauth]\ntokens.user = {{ at = \"/authed_user\", expires-in = false, lifetime-s = 60 }}\n\
         [methods.oauth.oauth2]\nauthorize-url = \"https://a.example/a\"\ntoken-url = \"https://a.example/t\"\n"
    ));
    let reply = app.methods[0].tokens[0].reply.as_ref().unwrap();
    assert_eq!(
        (reply.access.as_str(), reply.expiry.as_ref(), reply.lifetime_s),
        ("/authed_user/access_token", None, Some(60))
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}|[a-z.=\\[\\]{}\"'|\\\\ \n0-9]{0,80}") {
        let _ = parse("app.toml", &text);
        let _ = parse("app.toml", &self::text(&text));
        let _ = parse("app.toml", &self::text(&format!("base = \"{text}\"")));
        let _ = parse("app.toml", &self::text(&format!("base = '''{text}'''\ninputs.a = {{}}")));
    }
}

#[test]
fn the_examples_of_the_reference_page_are_an_app() {
    let page = include_str!("../../../../docs/app-toml.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split_once("```").map_or(rest, |(block, _)| block)).collect();
    let [whole, marker, action] = blocks[..] else { panic!("{} examples", blocks.len()) };
    let text = format!("{whole}[methods.key.tokens.token]\n{marker}{action}");
    let app = parse("app.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(app.slug, "sendgrid");
    assert_eq!(app.methods[0].tokens[0].marker.prefix, "xoxb-");
    assert_eq!(app.actions[0].name, "create-issue");
}
