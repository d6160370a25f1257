use super::*;
use crate::source::parse;

fn sound(draft: &Draft) {
    let text = draft.to_toml();
    if let Err(problems) = parse("draft/app.toml", &text) {
        panic!("{problems}\n{text}");
    }
    assert!(draft.is_complete(), "{draft:?}");
}

const PETS: &str = r##"
openapi: 3.0.3
info: { title: "Pets API (v2)", description: "Pets and their people. More words follow.\n\nAnd more." }
externalDocs: { url: "https://pets.example.com/docs" }
servers:
  - url: "{scheme}://{region}.pets.example.com/{version}"
    variables:
      scheme: { default: https, enum: [https] }
      region: { default: eu, enum: [eu, us] }
      version: { default: v2 }
security: [{ both: [], second: [] }, { oauth: [read] }, { cookie: [] }]
paths:
  /pets: { get: {} }
  /pets/{id}: { get: { parameters: [{ name: id, in: path, required: true }] } }
  /account:
    get: { responses: { "200": { content: { "application/json": { schema: { $ref: "#/components/schemas/Account" } } } } } }
  /users/me:
    get: { parameters: [{ $ref: "#/components/parameters/Needed" }] }
components:
  parameters: { Needed: { name: x, in: query, required: true } }
  schemas: { Account: { properties: { id: {}, email: {} } } }
  securitySchemes:
    both: { type: apiKey, in: header, name: X-Api-Key }
    second: { type: apiKey, in: query, name: userKey }
    cookie: { type: apiKey, in: cookie, name: session }
    oauth:
      type: oauth2
      flows:
        authorizationCode:
          authorizationUrl: https://pets.example.com/authorize
          tokenUrl: https://pets.example.com/token
          scopes: { read: "Read pets.", "write:all": "" }
    unused: { type: http, scheme: bearer }
"##;

#[test]
fn openapi_gives_servers_schemes_and_a_test() {
    let draft = openapi(PETS, "pets.yaml", "2026-11-23").unwrap();
    assert_eq!((draft.slug.as_str(), draft.name.as_str()), ("pets", "Pets"));
    assert_eq!(draft.summary, "Pets and their people.");
    assert_eq!(draft.base.as_deref(), Some("https://{region}.pets.example.com/v2"));
    let [region] = &draft.inputs[..] else { panic!("{:?}", draft.inputs) };
    assert_eq!((region.choices.len(), region.default.as_deref()), (2, Some("eu")));
    let ids: Vec<&str> = draft.methods.iter().map(|method| method.id.as_str()).collect();
    assert_eq!(ids, ["key", "oauth", "token"]);
    let DraftAuth::Keys(slots) = &draft.methods[0].auth else { panic!() };
    assert_eq!((slots[0].token.as_str(), slots[1].token.as_str()), ("api_key", "userkey"));
    let test = draft.test.clone().unwrap();
    assert_eq!(
        (test.path.as_str(), test.id.as_deref(), test.label.as_deref()),
        ("/account", Some("/id"), Some("/email"))
    );
    assert_eq!(draft.notes, ["a key in the cookie `session` has no place in an app"]);
    assert_eq!(draft.paths[0], ("/pets".to_owned(), 2));
    let text = draft.to_toml();
    assert!(text.starts_with("# To do: a key in the cookie"), "{text}");
    assert!(text.contains("\"write:all\" = \"write:all\""), "{text}");
    // Every operation asks for it.
    assert!(text.contains("read = { text = \"Read pets\", default = true }"), "{text}");
}

#[test]
fn swagger_2_gives_the_same_shape() {
    let text = r#"{"swagger":"2.0","info":{"title":"Swagger Acme"},"host":"api.acme.example.com","basePath":"/v1/",
        "securityDefinitions":{"a":{"type":"basic"},"b":{"type":"oauth2","flow":"accessCode",
        "authorizationUrl":"https://acme.example.com/a","tokenUrl":"https://acme.example.com/t","scopes":{"x":"See x"}},
        "c":{"type":"apiKey","in":"header","name":"Authorization","description":"Use `Token token=…`"}},
        "paths":{"/me":{"get":{"responses":{"200":{"schema":{"properties":{"uuid":{},"name":{}}}}}}}}}"#;
    let draft = openapi(text, "acme.json", "2026-11-23").unwrap();
    assert_eq!(draft.base.as_deref(), Some("https://api.acme.example.com/v1"));
    assert_eq!(draft.methods.len(), 3);
    assert_eq!(draft.notes.len(), 1, "{draft:?}");
    assert!(draft.notes[0].starts_with("no scope is asked for by default"), "{draft:?}");
    let asking = text.replace("\"get\":{", "\"get\":{\"security\":[{\"b\":[\"x\"]}],");
    let asking = openapi(&asking, "acme.json", "2026-11-23").unwrap();
    assert!(asking.notes.is_empty() && asking.to_toml().contains("x = { text = \"See x\", default = true }"));
    let toml = draft.to_toml();
    assert!(toml.contains("header.Authorization = \"Token token={token}\""), "{toml}");
    assert!(toml.contains("test = { path = \"/me\", id = \"/uuid\", label = \"/name\" }"), "{toml}");
    sound(&draft);
}

#[test]
fn what_is_not_known_is_said_and_nothing_is_made_up() {
    let draft = openapi("openapi: 3.1.0\ninfo: { title: API }\n", "x", "2026-11-23").unwrap();
    assert!(!draft.is_complete());
    assert_eq!(draft.notes.len(), 3, "{:?}", draft.notes);
    for wrong in ["", "[]", "just words", "{\"a\":1}", "a: [", "swagger: 1.2\n"] {
        openapi(wrong, "x", "2026-11-23").unwrap_err();
    }
    // Hosts that are none, or nobody's.
    for server in
        ["http://localhost:3000", "ftp://x.example.com", "/v1", "https://{host}.", "{", "https://a.example.com/?x"]
    {
        let text = format!("openapi: 3.0.0\ninfo: {{ title: A }}\nservers: [{{ url: \"{server}\" }}]\n");
        assert_eq!(openapi(&text, "x", "2026-11-23").unwrap().base, None, "{server}");
    }
    let relative = "openapi: 3.0.0\ninfo: { title: A }\nservers: [{ url: /v1 }]\n";
    let draft = openapi(relative, "https://api.acme.example.com/openapi.yaml", "2026-11-23").unwrap();
    assert_eq!(draft.base.as_deref(), Some("https://api.acme.example.com/v1"));
    // A reference that goes in a circle.
    let circle = "openapi: 3.0.0\ninfo: {title: A}\ncomponents: {securitySchemes: {a: {$ref: '#/components/securitySchemes/a'}}}\n";
    assert!(openapi(circle, "x", "2026-11-23").unwrap().methods.is_empty());
}

#[test]
fn a_curl_command_gives_an_app_without_its_secret() {
    let command = "curl -sS 'https://api.acme.example.com/v2/users/me' \\\n  -H 'Authorization: Bearer sk_live_123' -H \"Accept: application/json\"";
    let draft = curl(command, "2026-11-23").unwrap();
    assert_eq!((draft.slug.as_str(), draft.base.as_deref()), ("example", Some("https://api.acme.example.com/v2")));
    let text = draft.to_toml();
    assert!(!text.contains("sk_live"), "{text}");
    assert!(
        text.contains("header.Authorization = \"Bearer {token}\"") && text.contains("path = \"/users/me\""),
        "{text}"
    );
    sound(&draft);

    let key = curl("curl -XPOST https://acme.dev/api/things?api_key=s3cret&x=1 -d '{}'", "2026-11-23").unwrap();
    assert!(key.to_toml().contains("query.api_key = \"{token}\"") && !key.to_toml().contains("s3cret"));
    assert_eq!(key.test, None);
    sound(&key);
    for basic in [
        "curl -u me:pass https://acme.dev/me",
        "curl -ume:pass acme.dev/me",
        "curl acme.dev -H 'authorization: Basic YTpi'",
    ] {
        let draft = curl(basic, "2026-11-23").unwrap();
        assert_eq!(draft.methods[0].auth, DraftAuth::Basic, "{basic}");
        sound(&draft);
    }
    let odd = curl("curl https://acme.dev/me -H 'X-Auth-Token: abc'", "2026-11-23").unwrap();
    assert!(odd.to_toml().contains("header.X-Auth-Token = \"{token}\""), "{}", odd.to_toml());
    for wrong in ["", "curl", "curl http://acme.dev/me", "curl 'https://open"] {
        curl(wrong, "2026-11-23").unwrap_err();
    }
}

#[test]
fn a_postman_collection_gives_an_app() {
    let text = r#"{"info":{"name":"Acme REST API","description":"Things of Acme."},
        "variable":[{"key":"baseUrl","value":"https://{{host}}/v1"},{"key":"host","value":"api.acme.example.com"}],
        "auth":{"type":"apikey","apikey":[{"key":"key","value":"X-Acme-Key"},{"key":"value","value":"s3cret"}]},
        "item":[{"name":"folder","item":[{"name":"me","request":{"method":"GET","url":{"raw":"{{baseUrl}}/me"}}},
        {"name":"login","request":{"method":"POST","url":"{{baseUrl}}/x","auth":{"type":"bearer","bearer":[]}}}]}]}"#;
    let draft = postman(text, "acme.json", "2026-11-23").unwrap();
    assert_eq!((draft.slug.as_str(), draft.summary.as_str()), ("acme", "Things of Acme."));
    assert_eq!(draft.base.as_deref(), Some("https://api.acme.example.com"));
    assert_eq!(draft.test.as_ref().unwrap().path, "/v1/me");
    assert_eq!(draft.methods.len(), 2);
    assert!(!draft.to_toml().contains("s3cret"));
    sound(&draft);
    for wrong in ["", "{}", "[]", "{\"info\":{}}"] {
        postman(wrong, "x", "2026-11-23").unwrap_err();
    }
}

#[test]
fn names_of_apis_become_names_of_services() {
    for (title, name, slug) in [
        ("The Acme REST API (v2)", "Acme", "acme"),
        ("GitHub v3 REST API", "GitHub", "github"),
        ("Bob's Burgers — Public API", "Bob's Burgers", "bobs-burgers"),
        ("API", "API", "api"),
        ("Ünïcode Ärzte API v1.0", "Ünïcode Ärzte", "n-code-rzte"),
    ] {
        assert_eq!((name_of(title).as_str(), slug_of(&name_of(title)).as_str()), (name, slug));
    }
    assert_eq!(identifier("userKey"), "user_key");
    assert_eq!(identifier("3-X api.Key"), "x_api_key");
}

proptest::proptest! {
    /// Whatever the text says, the draft is TOML and holds no control character outside of its own lines.
    #[test]
    fn drafts_are_always_toml(title in "\\PC{0,40}", scheme in "\\PC{0,20}", about in "\\PC{0,60}", path in "\\PC{0,20}") {
        let document = serde_json::json!({
            "openapi": "3.0.0", "info": { "title": title, "description": about }, "paths": { (path.clone()): { "get": {} } },
            "servers": [{ "url": path }],
            "components": { "securitySchemes": { (scheme.clone()): { "type": "apiKey", "in": "header", "name": scheme } } },
        });
        if let Ok(draft) = openapi(&document.to_string(), "x", "2026-11-23") {
            let text = draft.to_toml();
            proptest::prop_assert!(text.parse::<toml::Table>().is_ok(), "{}", text);
        }
    }
}
