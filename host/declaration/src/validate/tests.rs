//! Each rule: one declaration broken in one place, and the path that says so.

mod actions;

use serde_json::{Value, json};

use super::*;
use crate::source::parse;

/// An app with every part, sound.
fn sound() -> Value {
    let text = r#"
        slug = "example"
        name = "Example"
        summary = "An example."
        categories = ["productivity"]
        homepage = "https://example.com"
        base = "https://{shop}.example.com/v1"
        headers.X-Version = "1"
        test = { path = "/me", id = "/id", label = "/name" }
        reach.origins = ["https://{shop}.example.com", "https://files.example.com"]
        reach.paths = ["/v1", "/files"]
        reach.denied-paths = ["/v1/admin"]
        reach.methods = ["GET", "POST"]
        [evidence]
        level = "checked"
        date = "2024-02-29"
        source = "https://example.com/docs"
        [inputs.shop]
        kind = "host-label"
        [inputs.region]
        choices = ["eu", "us"]
        default = "eu"
        [methods.oauth]
        oauth2.authorize-url = "https://{shop}.example.com/authorize?region={region|percent}"
        oauth2.token-url = "https://login.example.com/token"
        oauth2.scopes.read = "Read"
        oauth2.errors.gone = "permanent"
        oauth2.authorize-params.prompt = "consent"
        oauth2.issuer = "https://login.example.com"
        [methods.key]
        tokens.user = {}
        tokens.pass = { pattern = "[a-z]+" }
        basic = { username = "{user}", password = "{pass}" }
        query.region = "{region}"
        [signals]
        expired = [{ status = 401 }, { status = 200, body = { "/error" = "expired" } }]
        retry-after.header = "X-Reset"
        [pagination]
        items = "/data"
        next.cursor = { at = "/next", field = "cursor", more = "/more" }
        [actions.add]
        summary = "Adds a thing."
        docs = "https://example.com/docs/add"
        scopes = ["read"]
        props.name = { choices = ["a", "b"], default = "a" }
        props.tags = { kind = "text-list", optional = true, choices = ["x", "y"], default = ["x"] }
        props.size = { kind = "integer", optional = true }
        props.meta = { kind = "object", optional = true }
        [actions.add.request]
        method = "POST"
        path = "/things/{name}"
        query.size = "{size}"
        headers.X-Key = "n-{name}"
        json = { name = "{name}", tags = ["{name}", "fixed"], deep = { size = "{size}", meta = "{meta}", tags = "{tags}" } }
        identity = "default"
        output = "/id"
        [actions.list]
        summary = "Lists things."
        request = { path = "/things", query.n = 5, lists = { items = "/things", next = { page = { field = "page" } } } }
        [actions.look]
        summary = "Looks."
        script = "export default async () => 1"
    "#;
    let app = parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    serde_json::to_value(app).unwrap()
}

/// Replaces the value at a JSON Pointer and gives the findings as `path: message`.
fn broken(pointer: &str, value: Value) -> Vec<String> {
    let mut app = sound();
    *app.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    let app: App = serde_json::from_value(app).unwrap_or_else(|error| panic!("{pointer}: {error}"));
    validate(&app).iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

fn reply_json() -> Value {
    json!({
        "call": 0, "access": "/a", "access-header": null, "refresh": null, "expiry": null, "scope": null,
        "lifetime-s": null
    })
}

fn token(name: &str) -> Value {
    json!([{ "token": { "name": name, "encodings": [] } }])
}

fn input(name: &str) -> Value {
    json!([{ "input": { "name": name, "encodings": [] } }])
}

fn sigv4(access_key: Value, secret_key: Value, region: Value) -> Value {
    json!({ "sign": { "aws-sigv4": {
        "access-key": access_key, "secret-key": secret_key, "session-token": null, "region": region,
        "service": [{ "text": "s3" }],
    } } })
}

#[test]
fn the_sound_one_is_sound() {
    assert_eq!(validate(&serde_json::from_value(sound()).unwrap()), []);
}

#[test]
fn each_rule_names_its_field() {
    let oauth = "/methods/0/kind/oauth2-code";
    let at = |path: &str| format!("{oauth}{path}");
    let long = "x".repeat(301);
    let cases: Vec<(String, Value, &str)> = vec![
        ("/slug".into(), json!("-x"), "slug: `-x` is no slug"),
        ("/slug".into(), json!(""), "slug: "),
        ("/slug".into(), json!("A"), "slug: "),
        ("/name".into(), json!(" "), "name: the name is empty"),
        ("/name".into(), json!("Exam\u{202e}ple"), "name: it holds the character U+202E"),
        ("/summary".into(), json!("a\nb"), "summary: it holds the character U+000A"),
        ("/summary".into(), json!(long), "summary: the summary is longer than 300"),
        ("/categories/0".into(), json!("Two Words"), "categories[0]: "),
        ("/homepage".into(), json!("http://example.com"), "homepage: "),
        ("/evidence/date".into(), json!("2023-02-29"), "evidence.date: `2023-02-29` is no day"),
        ("/evidence/date".into(), json!("2023-2-9"), "evidence.date: "),
        ("/evidence/source".into(), json!(""), "evidence.source: "),
        // Inputs.
        (
            "/inputs/1/name".into(),
            json!("shop"),
            "inputs[1].name: the input `shop` is declared twice, first at inputs[0].name",
        ),
        ("/inputs/1/name".into(), json!("Region"), "inputs[1].name: `Region` is no name"),
        ("/inputs/1/pattern".into(), json!("("), "inputs[1].pattern: the pattern does not compile"),
        ("/inputs/1/default".into(), json!("de"), "inputs[1].default: `de` would be refused"),
        ("/inputs/0/default".into(), json!("Shop"), "inputs[0].default: `Shop` would be stored as `shop`"),
        ("/inputs/0/default".into(), json!("a.b"), "inputs[0].default: `a.b` would be refused"),
        // Base and reach.
        ("/base".into(), json!([]), "base: the URL is empty"),
        ("/base".into(), json!([{ "text": "http://example.com" }]), "base[0]: only https://"),
        ("/base".into(), json!([{ "text": "ftp://example.com" }]), "base[0]: the URL does not begin with https://"),
        ("/base".into(), json!([{ "text": "https://u@files.example.com" }]), "base[0]: a URL may not hold"),
        ("/base".into(), json!([{ "text": "https://files.example.com/" }]), "base: the base ends with `/`"),
        ("/base".into(), json!([{ "text": "https://files.example.com/a?b=c" }]), "base: the base holds a query"),
        ("/base".into(), json!([{ "text": "https://files.example.com/a/../b" }]), "base: URL parsers would change"),
        ("/base".into(), json!([{ "text": "https://other.example.com" }]), "base: the base lies outside reach.origins"),
        ("/base".into(), token("user"), "base[0]: `{user}` is a secret"),
        ("/base".into(), input("shop"), "base[0]: `{shop}` may not begin a URL"),
        ("/base".into(), input("nobody"), "base[0]: `{nobody}` names no input"),
        ("/base/2".into(), json!({ "text": "evil.com/" }), "base[2]: `evil.com` must begin with a dot"),
        ("/base/2".into(), json!({ "text": ".co.uk/" }), "base[2]: `.co.uk` is a public suffix"),
        (
            "/base/2".into(),
            json!({ "input": { "name": "shop", "encodings": [] } }),
            "base[2]: `{shop}` would decide the whole host",
        ),
        ("/base/1/input/name".into(), json!("region"), "base: the base lies outside reach.origins"),
        ("/inputs/0/kind".into(), json!("text"), "base[1]: `{shop}` may not become part of a host"),
        ("/base/1/input/encodings".into(), json!(["percent"]), "base[1]: `{shop}` may not become part of a host"),
        ("/base/0".into(), json!({ "text": "https://a." }), "base: the base lies outside reach.origins"),
        ("/base/0".into(), json!({ "text": "https://A-" }), "base[2]: `A-` is no beginning of a host name"),
        ("/inputs/0/hosts".into(), json!([".example.com"]), "inputs[0].hosts: only an input of kind `base-url`"),
        ("/inputs/0/hosts".into(), json!([".com"]), "inputs[0].hosts[0]: `.com` is open to everybody"),
        (
            "/reach/origins/1".into(),
            json!({ "choice": [{ "text": "https://" }, input("region")[0]] }),
            "reach.origins[1]: ",
        ),
        (
            "/reach/origins/1".into(),
            json!({ "choice": [{ "text": "https://api.example.com/" }, input("region")[0]] }),
            "reach.origins[1]: it is no origin with choices",
        ),
        ("/reach/origins".into(), json!([]), "reach.origins: the app reaches nothing"),
        (
            "/reach/origins/1".into(),
            json!({ "exact": "https://Files.example.com" }),
            "reach.origins[1]: `https://Files.example.com` is written",
        ),
        ("/reach/origins/1".into(), json!({ "exact": "https://files.example.com/x" }), "reach.origins[1]: "),
        ("/reach/origins/1".into(), json!({ "exact": "https://*.example.com" }), "reach.origins[1]: "),
        (
            "/reach/origins/1".into(),
            json!({ "pinned": "shop" }),
            "reach.origins[1]: `shop` is no input of kind `base-url`",
        ),
        (
            "/reach/origins/1".into(),
            json!({ "label": { "prefix": "", "input": "region", "suffix": ".example.com" } }),
            "reach.origins[1]: `region` is no input of kind `host-label`",
        ),
        ("/reach/origins/0/label/suffix".into(), json!(".com"), "reach.origins[0]: `.com` is open to everybody"),
        ("/reach/methods/0".into(), json!("get"), "reach.methods[0]: "),
        ("/reach/methods/0".into(), json!("CONNECT"), "reach.methods[0]: CONNECT is never sent"),
        ("/reach/methods".into(), json!(["POST"]), "test.method: GET lies outside reach.methods"),
        ("/reach/paths/0".into(), json!("v1"), "reach.paths[0]: `v1` does not begin with `/`"),
        ("/reach/paths/0".into(), json!("/a/%2e%2e"), "reach.paths[0]: "),
        ("/reach/paths".into(), json!(["/v10"]), "test.path: `/v1/me` lies outside reach.paths"),
        ("/reach/denied-paths/0".into(), json!("/v1/me"), "test.path: `/v1/me` lies within reach.denied-paths"),
        // Headers and test.
        ("/headers/0/name".into(), json!("Host"), "headers[0].name: the header `Host` belongs to the host"),
        ("/headers/0/name".into(), json!("Proxy-Authorization"), "headers[0].name: "),
        ("/headers/0/name".into(), json!("Authorization"), "headers[0].name: a credential rule writes"),
        ("/headers/0/name".into(), json!("X Y"), "headers[0].name: `X Y` is no header name"),
        ("/headers/0/value".into(), json!("ä"), "headers[0].value: "),
        ("/test/path".into(), json!("https://evil.com/"), "test.path: `https://evil.com/` lies outside reach.origins"),
        ("/test/path".into(), json!("https://evil.com"), "test.path: `https://evil.com` is sent in another form"),
        ("/test/path".into(), json!("https://files.example.com/me"), "test.path: `/me` lies outside reach.paths"),
        ("/test/path".into(), json!("https://x@files.example.com/files"), "test.path: a URL holds no user"),
        ("/test/path".into(), json!("http://files.example.com/files"), "test.path: "),
        ("/test/path".into(), json!("//evil.com"), "test.path: `//evil.com` is no plain path"),
        ("/test/path".into(), json!("/me#x"), "test.path: a request has no fragment"),
        ("/test/body".into(), json!("{}"), "test.body: a GET request has no body"),
        ("/test/id".into(), json!("id"), "test.id: `id` is no JSON Pointer"),
        ("/test/label".into(), json!("/a~2"), "test.label: `/a~2` is no JSON Pointer"),
        (
            "/test/headers".into(),
            json!([{ "name": "Cookie", "value": "a" }]),
            "test.headers[0].name: the header `Cookie` belongs",
        ),
        // Signals.
        ("/signals/expired/0".into(), json!([]), "signals.expired[0]: an empty list"),
        ("/signals/expired/0".into(), json!([{ "status": 200 }]), "signals.expired[0]: a good status alone"),
        ("/signals/expired/0/0".into(), json!({ "status": 99 }), "signals.expired[0][0].status: 99 is no status"),
        (
            "/signals/expired/0/0".into(),
            json!({ "header": { "name": "", "value": "" } }),
            "signals.expired[0][0].header.name: ",
        ),
        (
            "/signals/expired/1/1".into(),
            json!({ "body": { "name": "error", "value": "" } }),
            "signals.expired[1][1].body.name: ",
        ),
        // Methods and tokens.
        ("/methods".into(), json!([]), "methods: the app has no auth method"),
        ("/methods/1/id".into(), json!("oauth"), "methods[1].id: the method `oauth` is declared twice"),
        ("/methods/1/id".into(), json!("Key"), "methods[1].id: `Key` is no id"),
        ("/methods/1/label".into(), json!(""), "methods[1].label: "),
        (
            "/methods/1/tokens/0/name".into(),
            json!("pass"),
            "methods[1].tokens[1].name: the token `pass` is declared twice",
        ),
        (
            "/methods/1/tokens/0/name".into(),
            json!("shop"),
            "methods[1].tokens[0].name: the token `shop` is declared twice, first at the inputs",
        ),
        ("/methods/1/tokens/1/pattern".into(), json!("["), "methods[1].tokens[1].pattern: "),
        ("/methods/1/tokens".into(), json!([]), "methods[1].tokens: the method has no token"),
        ("/methods/0/tokens/0/optional".into(), json!(true), "methods[0].tokens: all tokens are optional"),
        ("/methods/0/tokens/0/reply".into(), json!(null), "methods[0].tokens[0].reply: where the token stands"),
        ("/methods/0/tokens/0/reply/access".into(), json!(""), "methods[0].tokens[0].reply.access: "),
        ("/methods/0/tokens/0/reply/refresh".into(), json!("x"), "methods[0].tokens[0].reply.refresh: "),
        ("/methods/0/tokens/0/reply/lifetime-s".into(), json!(0), "methods[0].tokens[0].reply.lifetime-s: "),
        ("/methods/1/tokens/0/reply".into(), reply_json(), "methods[1].tokens[0].reply: a token that a person pastes"),
        // Rules.
        ("/methods/1/rule-sets".into(), json!([]), "methods[1].rule-sets: no rule says"),
        ("/methods/1/rule-sets/0/name".into(), json!("A b"), "methods[1].rule-sets[0].name: "),
        (
            "/methods/1/rule-sets/0/rules/0/basic/username".into(),
            token("nobody"),
            "methods[1].rule-sets[0].rules[0].basic.username[0]: `{nobody}` names no token",
        ),
        (
            "/methods/1/rule-sets/0/rules/0/basic/username".into(),
            json!([{ "text": "a:" }, { "token": { "name": "user", "encodings": [] } }]),
            "methods[1].rule-sets[0].rules[0].basic.username[0]: a Basic user name",
        ),
        (
            "/methods/1/rule-sets/0/rules/0/basic/password".into(),
            json!([]),
            "methods[1].tokens[1]: no rule uses the token `pass`",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "header": { "name": "Authorization", "value": input("region") } }),
            "methods[1].rule-sets[0].rules[1]: the place of a rule: `header authorization` is declared twice",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "header": { "name": "Transfer-Encoding", "value": input("region") } }),
            "methods[1].rule-sets[0].rules[1].header.name: ",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "header": { "name": "X", "value": [{ "text": "ä" }] } }),
            "methods[1].rule-sets[0].rules[1].header.value[0]: ",
        ),
        (
            "/methods/1/rule-sets/0/rules/1/query/name".into(),
            json!("a=b"),
            "methods[1].rule-sets[0].rules[1].query.name: ",
        ),
        (
            "/methods/0/rule-sets/0/rules/0/header/value".into(),
            json!([{ "text": "x" }]),
            "methods[0].rule-sets[0]: no rule of `default` holds a token",
        ),
        // Bodies, paths, signatures.
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "body": { "name": "a&b", "value": input("region") } }),
            "methods[1].rule-sets[0].rules[1].body.name: ",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "body": { "name": "/a~2", "value": input("region") } }),
            "methods[1].rule-sets[0].rules[1].body.name: `/a~2` is no JSON Pointer",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "path": token("user") }),
            "methods[1].rule-sets[0].rules[1].path: `x` is no row of path segments",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            sigv4(input("region"), token("pass"), token("user")),
            "methods[1].rule-sets[0].rules[1].sign.aws-sigv4.region: it stands in the clear",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            sigv4(token("user"), input("region"), input("region")),
            "methods[1].rule-sets[0].rules[1].sign.aws-sigv4.secret-key: the key that signs is a secret",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "sign": { "hook": { "headers": [], "query": [] } } }),
            "methods[1].rule-sets[0].rules[1].sign.hook: the hook has no place to write its signature to",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "sign": { "hook": { "headers": ["Host"], "query": [] } } }),
            "methods[1].rule-sets[0].rules[1].sign.hook.headers[0]: the header `Host` belongs to the host",
        ),
        (
            "/methods/1/rule-sets/0/rules/1".into(),
            json!({ "sign": { "hook": { "headers": [], "query": ["a&b"] } } }),
            "methods[1].rule-sets[0].rules[1].sign.hook.query[0]: `a&b` is no query name",
        ),
        (
            "/methods/1/rule-sets/0/rules".into(),
            json!([
                { "query": { "name": "key", "value": token("user") } },
                { "sign": { "hook": { "headers": ["x-signature"], "query": [] } } },
            ]),
            "methods[1].rule-sets[0].rules[0]: the hook would see the secret in a query field",
        ),
        // OAuth.
        (
            at("/authorize-url"),
            token("access_token"),
            "methods[0].kind.oauth2-code.authorize-url[0]: `{access_token}` is a secret",
        ),
        (
            at("/token-url"),
            json!([{ "text": "http://login.example.com/token" }]),
            "methods[0].kind.oauth2-code.token-url[0]: only https://",
        ),
        (
            at("/token-url"),
            json!([{ "text": "https://login.example.com/token#x" }]),
            "methods[0].kind.oauth2-code.token-url: the URL holds a fragment",
        ),
        (at("/refresh-url"), json!([]), "methods[0].kind.oauth2-code.refresh-url: the URL is empty"),
        (at("/revoke-url"), input("shop"), "methods[0].kind.oauth2-code.revoke-url[0]: "),
        (
            at("/authorize-params/0/name"),
            json!("state"),
            "methods[0].kind.oauth2-code.authorize-params[0].name: the parameter `state` belongs to the host",
        ),
        (at("/authorize-params/0/name"), json!("scope"), "methods[0].kind.oauth2-code.authorize-params[0].name: "),
        (
            at("/token-params"),
            json!([{ "name": "code_verifier", "value": "x" }]),
            "methods[0].kind.oauth2-code.token-params[0].name: ",
        ),
        (
            at("/refresh-params"),
            json!([{ "name": "a", "value": "" }, { "name": "a", "value": "" }]),
            "methods[0].kind.oauth2-code.refresh-params[1].name: the parameter `a` is declared twice",
        ),
        (
            at("/scope-lists/0/scopes/0/required"),
            json!(true),
            "methods[0].kind.oauth2-code.scope-lists[0].scopes[0].default: a required scope",
        ),
        (at("/scope-lists/0/separator"), json!(""), "methods[0].kind.oauth2-code.scope-lists[0].separator: "),
        (at("/scope-lists/0/param"), json!(""), "methods[0].kind.oauth2-code.scope-lists[0].param: "),
        (
            at("/scope-lists/0/scopes/0/name"),
            json!("a b"),
            "methods[0].kind.oauth2-code.scope-lists[0].scopes[0].name: ",
        ),
        (at("/issuer"), json!("login.example.com"), "methods[0].kind.oauth2-code.issuer: "),
        (at("/issuer"), json!("https://login.example.com?x"), "methods[0].kind.oauth2-code.issuer: "),
        (at("/error"), json!("error"), "methods[0].kind.oauth2-code.error: "),
        (at("/rotation"), json!({ "grace": 0 }), "methods[0].kind.oauth2-code.rotation: "),
        (
            at("/errors"),
            json!([{ "code": "a", "class": "permanent" }, { "code": "a", "class": "throttle" }]),
            "methods[0].kind.oauth2-code.errors[1].code: ",
        ),
    ];
    for (pointer, value, expected) in cases {
        let findings = broken(&pointer, value.clone());
        assert!(findings.iter().any(|finding| finding.starts_with(expected)), "{pointer} = {value}: {findings:#?}");
    }
}

#[test]
fn loopback_may_speak_plain_http() {
    for origin in ["http://127.0.0.1:3910", "http://localhost:3910", "http://[::1]:3910"] {
        assert_eq!(broken("/reach/origins/1", json!({ "exact": origin })), [] as [&str; 0], "{origin}");
    }
}

#[test]
fn a_pinned_base_is_whole_and_its_own() {
    let text =
        |base: &str| crate::source::tests::text(&format!("base = \"{base}\"\ninputs.url = {{ kind = \"base-url\" }}"));
    assert!(parse("app.toml", &text("{url}")).is_ok());
    assert!(parse("app.toml", &text("{url}/v2")).is_ok());
    let problems = parse("app.toml", &text("{url}.example.com")).unwrap_err().to_string();
    assert!(problems.contains("would become part of its host"), "{problems}");
    let problems = parse("app.toml", &text("https://{url}/v2")).unwrap_err().to_string();
    assert!(problems.contains("may not become part of a host"), "{problems}");
}

#[test]
fn a_declaration_has_a_size() {
    let many: Vec<_> = (0..40_000).map(|at| json!(format!("/a-long-path-{at}"))).collect();
    assert!(broken("/reach/paths", json!(many)).iter().any(|finding| finding.contains("the declaration is")));
}

#[test]
fn patterns_are_bounded() {
    assert!(!broken("/inputs/1/pattern", json!("((a{100}){100}){100}")).is_empty());
    assert!(!broken("/inputs/1/pattern", json!("a".repeat(600))).is_empty());
}
