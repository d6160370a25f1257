//! Actions, pagination, signals and markers as authors write them: one good source, and many bad ones with their place.

use serde_json::{Value, json};

use crate::source::{Beside, parse, parse_with, tests};
use crate::types::{App, Marker};

const BASE: &str = "base = \"https://api.example.com/v1\"";

/// An app whose text goes on with `more` from line 8, column 1 on.
fn text(more: &str) -> String {
    format!("{}{more}\n", tests::text(BASE))
}

fn app(more: &str) -> App {
    parse("app.toml", &text(more)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn golden(more: &str) -> String {
    parse("app.toml", &text(more)).expect_err("it has a mistake").to_string()
}

/// The first mistake of an action with these lines; they begin at line 10.
fn action(lines: &str) -> String {
    golden(&format!("[actions.look]\nsummary = \"Looks.\"\n{lines}"))
}

fn actions(app: &App) -> Value {
    serde_json::to_value(&app.actions).unwrap()
}

#[test]
fn a_request_becomes_typed_parts() {
    let app = app(r#"
[actions.create-issue]
label = "Create an issue"
summary = "Opens an issue."
docs = "https://example.com/docs"
scopes = [["repo"], ["public_repo", "user"]]
props.owner = {}
props.repo = { label = "Repository", help = "Its name.", example = "hello" }
props.labels = { kind = "text-list", optional = true, default = ["bug"], choices = ["bug", "help"] }
props.count = { kind = "integer", default = 1_000 }
props.meta = { kind = "object", optional = true }

[actions.create-issue.request]
method = "POST"
path = "/repos/{owner}/{repo}/issues"
query = { state = "open", page = 2, "expand[]" = ["a", "{repo}"] }
headers.X-Count = "n={count}"
output = "/id"

[actions.create-issue.request.json]
title = "{{literal}} {repo}"
labels = "{labels}"
nested = { "a/b~c" = [{ x = "{count}" }, "y", 1.5, true] }
empty = { list = [], table = {} }
meta = "{meta}"
"#);
    assert_eq!(
        actions(&app),
        json!([{
            "name": "create-issue",
            "label": "Create an issue",
            "summary": "Opens an issue.",
            "docs": "https://example.com/docs",
            "scopes": [["repo"], ["public_repo", "user"]],
            "props": [
                { "name": "owner", "label": "Owner", "help": null, "example": null, "kind": "text", "optional": false,
                  "default": null, "choices": [] },
                { "name": "repo", "label": "Repository", "help": "Its name.", "example": "hello", "kind": "text",
                  "optional": false, "default": null, "choices": [] },
                { "name": "labels", "label": "Labels", "help": null, "example": null, "kind": "text-list",
                  "optional": true, "default": "[\"bug\"]", "choices": ["\"bug\"", "\"help\""] },
                { "name": "count", "label": "Count", "help": null, "example": null, "kind": "integer",
                  "optional": false, "default": "1000", "choices": [] },
                { "name": "meta", "label": "Meta", "help": null, "example": null, "kind": "object",
                  "optional": true, "default": null, "choices": [] },
            ],
            "work": { "request": {
                "method": "POST",
                "path": [
                    { "text": "/repos/" }, { "prop": "owner" }, { "text": "/" }, { "prop": "repo" },
                    { "text": "/issues" },
                ],
                "query": [
                    { "name": "state", "value": { "text": [{ "text": "open" }] } },
                    { "name": "page", "value": { "constant": "2" } },
                    { "name": "expand[]", "value": { "text": [{ "text": "a" }] } },
                    { "name": "expand[]", "value": { "prop": "repo" } },
                ],
                "headers": [{ "name": "X-Count", "value": { "text": [{ "text": "n=" }, { "prop": "count" }] } }],
                "body": { "json": [
                    { "name": "/title", "value": { "text": [{ "text": "{literal} " }, { "prop": "repo" }] } },
                    { "name": "/labels", "value": { "prop": "labels" } },
                    { "name": "/nested/a~1b~0c/0/x", "value": { "prop": "count" } },
                    { "name": "/nested/a~1b~0c/1", "value": { "text": [{ "text": "y" }] } },
                    { "name": "/nested/a~1b~0c/2", "value": { "constant": "1.5" } },
                    { "name": "/nested/a~1b~0c/3", "value": { "constant": "true" } },
                    { "name": "/empty/list", "value": { "constant": "[]" } },
                    { "name": "/empty/table", "value": { "constant": "{}" } },
                    { "name": "/meta", "value": { "prop": "meta" } },
                ] },
                "identity": null,
                "output": "/id",
                "lists": null,
            } },
        }])
    );
}

#[test]
fn the_short_forms_have_their_defaults() {
    let app = app(r#"
[pagination]
items = "/data"
next = "link-header"
[actions.list-things]
summary = "Lists."
scopes = ["a", "b"]
request = { path = "/things", lists = true }
[actions.add]
summary = "Adds."
props.body = { kind = "json" }
request = { path = "/things", json = "{body}" }
[actions.touch]
summary = "Touches."
request = { method = "PUT", path = "/things", json = {} }
[actions.pay]
summary = "Pays."
props.order = {}
request = { path = "/pay", identity = "default", form = { "metadata[order]" = "{order}" }, lists = false }
"#);
    let actions = actions(&app);
    assert_eq!(actions[0]["label"], "List things");
    assert_eq!(actions[0]["scopes"], json!([["a", "b"]]));
    let request = |at: usize| &actions[at]["work"]["request"];
    assert_eq!((&request(0)["method"], &request(0)["body"]), (&json!("GET"), &json!("none")));
    assert_eq!(request(0)["lists"], json!({ "items": null, "next": null }));
    assert_eq!(request(1)["method"], "POST");
    assert_eq!(request(1)["body"], json!({ "json": [{ "name": "", "value": { "prop": "body" } }] }));
    assert_eq!((&request(2)["method"], &request(2)["body"]), (&json!("PUT"), &json!({ "json": [] })));
    let form = json!({ "form": [{ "name": "metadata[order]", "value": { "prop": "order" } }] });
    assert_eq!((&request(3)["body"], &request(3)["lists"]), (&form, &Value::Null));
    assert_eq!(request(3)["identity"], "default");
}

#[test]
fn every_way_to_the_next_page_can_be_written() {
    for (next, expected) in [
        ("\"link-header\"", json!("link-header")),
        (
            "{ cursor = { at = \"/meta/next\", field = \"cursor\" } }",
            json!({ "cursor": { "at": "/meta/next", "field": "cursor", "more": null } }),
        ),
        (
            "{ cursor = { at = \"/next\", field = \"/variables/after\", more = \"/more\" } }",
            json!({ "cursor": { "at": "/next", "field": "/variables/after", "more": "/more" } }),
        ),
        (
            "{ last-item = { at = \"/id\", field = \"starting_after\", more = \"/has_more\" } }",
            json!({ "last-item": { "at": "/id", "field": "starting_after", "more": "/has_more" } }),
        ),
        ("{ url = \"/next\" }", json!({ "url": "/next" })),
        ("{ page = { field = \"page\" } }", json!({ "page": { "field": "page", "first": 1 } })),
        ("{ page = { field = \"p\", first = 0 } }", json!({ "page": { "field": "p", "first": 0 } })),
        ("{ offset = \"skip\" }", json!({ "offset": "skip" })),
    ] {
        let own = app(&format!("[pagination]\nitems = \"\"\nnext = {next}"));
        let pagination = serde_json::to_value(own.pagination.unwrap()).unwrap();
        assert_eq!(pagination, json!({ "items": "", "next": expected }), "{next}");
        let of_action = app(&format!(
            "[actions.look]\nsummary = \"Looks.\"\nrequest = {{ path = \"/x\", lists = {{ items = \"/a\", next = {next} }} }}"
        ));
        let lists = &actions(&of_action)[0]["work"]["request"]["lists"];
        assert_eq!(*lists, json!({ "items": "/a", "next": expected }), "{next}");
    }
}

#[test]
fn throttling_is_429_unless_the_app_says_otherwise() {
    let signals = |more: &str| serde_json::to_value(app(more).signals).unwrap();
    assert_eq!(signals("")["throttled"], json!([[{ "status": 429 }]]));
    assert_eq!(signals("")["retry-after"], Value::Null);
    let own = signals(
        "[signals]\nthrottled = [{ status = 403, header.X-Left = \"0\" }]\n\
         retry-after = { header = \"X-Reset\", unit = \"epoch-seconds\" }",
    );
    assert_eq!(own["throttled"], json!([[{ "status": 403 }, { "header": { "name": "X-Left", "value": "0" } }]]));
    assert_eq!(own["retry-after"], json!({ "header": "X-Reset", "unit": "epoch-seconds" }));
    assert_eq!(signals("[signals]\nretry-after.header = \"X-After\"")["retry-after"]["unit"], "seconds");
}

#[test]
fn markers_have_the_names_that_code_asks_for() {
    let markers = |methods: &str| -> Vec<Vec<Marker>> {
        let app = app(methods);
        let of = |method: &crate::types::AuthMethod| method.tokens.iter().map(|token| token.marker.clone()).collect();
        app.methods.iter().map(of).collect()
    };
    let names = |methods: &str| -> Vec<Vec<Vec<String>>> {
        markers(methods).into_iter().map(|method| method.into_iter().map(|marker| marker.names).collect()).collect()
    };
    let oauth =
        "[methods.oauth.oauth2]\nauthorize-url = \"https://a.example/a\"\ntoken-url = \"https://a.example/t\"\n";
    assert_eq!(names(""), [[["token", "api_key"]]]);
    // Code for an app that speaks OAuth asks for the same name, however the account was connected.
    assert_eq!(
        names(oauth),
        [vec![vec!["token", "oauth_access_token", "api_key"]], vec![vec!["access_token", "oauth_access_token"]]]
    );
    let two = "[methods.two]\ntokens.oauth_access_token = {}\ntokens.b = {}\n\
               header.A = \"{oauth_access_token}\"\nheader.B = \"{b}\"\n";
    assert_eq!(names(two)[1], [["oauth_access_token"], ["b"]], "of two keys none is the key");
    let own = "[methods.own]\nheader.A = \"{key}\"\n[methods.own.tokens.key]\n\
               marker = { prefix = \"sk_\", length = 64, alphabet = \"hex\", names = [\"secret\"] }\n";
    let marker = markers(own)[1][0].clone();
    assert_eq!(
        serde_json::to_value(marker).unwrap(),
        json!({ "prefix": "sk_", "length": 64, "alphabet": "hex", "names": ["secret"] })
    );
    assert_eq!((markers("")[0][0].length, markers("")[0][0].prefix.as_str()), (40, ""));
}

#[test]
fn a_script_stands_in_the_file_or_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("post.js"), "export default async () => 1;\n").unwrap();
    std::fs::write(folder.path().join("secret.js"), "x").unwrap();
    let read = |name: &str| {
        let text = text(&format!("[actions.run]\nsummary = \"Runs.\"\nscript-file = \"{name}\""));
        parse_with("app.toml", &text, &Beside::read(&text, folder.path()))
    };
    let found = actions(&read("post.js").unwrap());
    assert_eq!(found[0]["work"], json!({ "script": "export default async () => 1;\n" }));
    let inline = app("[actions.run]\nsummary = \"Runs.\"\nscript = '''\nexport default\n  () => 1'''");
    assert_eq!(actions(&inline)[0]["work"], json!({ "script": "export default\n  () => 1" }));

    let no_name = |name: &str| {
        format!("app.toml:10:15: `{name}` is no script beside the app.toml: a file name that ends with .js or .mjs")
    };
    for name in ["../post.js", "/etc/passwd", "a/b.js", ".js", "post.txt", ""] {
        assert_eq!(read(name).unwrap_err().to_string(), no_name(name));
    }
    let missing = read("absent.js").unwrap_err().to_string();
    assert!(missing.starts_with("app.toml:10:15: cannot read `absent.js`: "), "{missing}");
    std::os::unix::fs::symlink(folder.path().join("secret.js"), folder.path().join("link.js")).unwrap();
    assert_eq!(read("link.js").unwrap_err().to_string(), "app.toml:10:15: `link.js` is no plain file");
    std::fs::write(folder.path().join("big.js"), vec![b' '; (256 << 10) + 1]).unwrap();
    assert_eq!(read("big.js").unwrap_err().to_string(), "app.toml:10:15: `big.js` has 262145 bytes, more than 262144");
    // Without its folder an app.toml has no files.
    let alone = golden("[actions.run]\nsummary = \"Runs.\"\nscript-file = \"post.js\"");
    assert_eq!(alone, "app.toml:10:15: `post.js` is not beside the app.toml");
}

#[test]
fn mistakes_of_an_action_stand_at_their_place() {
    for (lines, expected) in [
        (
            "",
            "8:10: the action `look` does nothing\n  help: request = { method = \"GET\", path = \"/…\" }, script = '''…''' or script-file = \"name.js\"",
        ),
        ("request.path = \"/x\"\nscript = \"x\"", "11:1: an action has `request` or `script`, not both"),
        ("request.path = \"/x\"\nscope = []", "11:1: an action has no key `scope`\n  help: did you mean `scopes`?"),
        ("request = {}", "10:11: the request lacks `path`"),
        (
            "request = { path = \"/x\", querry = {} }",
            "10:26: a request has no key `querry`\n  help: did you mean `query`?",
        ),
        (
            "request.path = \"/x/{owner}\"",
            "10:20: `{owner}` is not declared\n  help: no name is declared here: declare a prop, props.… of the action",
        ),
        (
            "props.owner = {}\nrequest.path = \"/x/{ownr}\"",
            "11:20: `{ownr}` is not declared\n  help: did you mean `{owner}`?",
        ),
        (
            "props.owner = {}\nrequest.path = \"/x/{owner|percent}\"",
            "11:20: the prop `owner` is encoded by its place: it takes no `|`\n  help: write {owner}",
        ),
        ("request = { path = \"/x\", json = {}, form = {} }", "10:44: a request has one body: `json` or `form`"),
        (
            "request = { path = \"/x\", form = { a = { b = 1 } } }",
            "10:39: `a` is one value, not a table\n  help: write nested fields as the service names them: \"a[…]\" = …",
        ),
        (
            "request = { path = \"/x\", json = { a = 2026-01-01 } }",
            "10:39: JSON has no dates\n  help: write it as a string",
        ),
        ("request = { path = \"/x\", json = { a = nan } }", "10:39: JSON has no such number"),
        (
            "request = { path = \"/x\", json = { a = 0xffff_ffff_ffff_ffff } }",
            "10:39: the number does not fit 64 bits\n  help: write it as a string",
        ),
        (
            "request = { path = \"/x\", json = { a = { 0 = 1 } } }",
            "10:41: `0` would be read as a place in a list\n  help: give the whole object as a prop of kind `object`",
        ),
        ("request = { path = \"/x\", json = { \"{a}\" = 1 } }", "10:35: `{a}` is a name: props stand in values only"),
        (
            "request = { path = \"/x\", lists = 1 }",
            "10:34: `lists` is true or a table of `items` and `next`, not an integer",
        ),
        (
            "props.a = { kind = \"string\" }\nrequest.path = \"/x\"",
            "10:20: `kind` cannot be `string`\n  help: one of text, integer, number, boolean, object, json, text-list",
        ),
        (
            "props.a = { default = 1979-05-27 }\nrequest.path = \"/x\"",
            "10:23: JSON has no dates\n  help: write it as a string",
        ),
        (
            "scopes = [\"a\", [\"b\"]]\nrequest.path = \"/x\"",
            "10:11: beside a list of scopes stands another list, not a string\n  help: [[\"a\", \"b\"], [\"c\"]]: a and b, or c",
        ),
    ] {
        let found = action(lines);
        assert!(found.starts_with(&format!("app.toml:{expected}")), "{lines}\n{found}");
    }
    assert_eq!(golden("[actions.look]\nrequest.path = \"/x\""), "app.toml:8:1: the action lacks `summary`");
}

#[test]
fn mistakes_of_pagination_and_markers_stand_at_their_place() {
    for (more, expected) in [
        ("[pagination]", "8:1: pagination lacks `next`\n"),
        ("[pagination]\nnext = \"link\"", "9:8: `next` cannot be `link`\n  help: one of link-header"),
        ("[pagination]\nnext = { curser = {} }", "9:10: next has no key `curser`\n  help: did you mean `cursor`?"),
        ("[pagination]\nnext = {}", "9:8: `next` says one way to go on\n"),
        ("[pagination]\nnext = { url = \"/a\", offset = \"b\" }", "9:8: `next` says one way to go on\n"),
        ("[pagination]\nnext.cursor.at = \"/a\"", "9:6: the cursor lacks `field`"),
        ("[pagination]\nnext.page = { field = \"p\", first = -1 }", "9:36: `first` is a whole number in range"),
        ("[signals]\nretry-after = { heder = \"X\" }", "9:15: retry-after lacks `header`\n"),
        ("[signals]\nretry-after = { header = \"X\", unit = \"minutes\" }", "9:38: `unit` cannot be `minutes`\n"),
        ("[methods.m]\nheader.A = \"{t}\"\ntokens.t.marker = \"x\"", "10:19: a marker is a table, not a string"),
        (
            "[methods.m]\nheader.A = \"{t}\"\ntokens.t.marker.alphabet = \"base64\"",
            "10:28: `alphabet` cannot be `base64`\n  help: did you mean \"base64url\"?",
        ),
    ] {
        let found = golden(more);
        assert!(found.starts_with(&format!("app.toml:{expected}")), "{more}\n{found}");
    }
}

proptest::proptest! {
    #[test]
    fn no_action_makes_it_panic(value in "[{}a-z\"'\\[\\]=., 0-9|/-]{0,60}") {
        let _ = parse("app.toml", &text(&format!("[actions.a]\nsummary = \"x\"\nprops.a = {{}}\nrequest = {value}")));
        let _ = parse("app.toml", &text(&format!("[actions.a]\nsummary = \"x\"\nrequest = {{ path = \"/x\", json = {value} }}")));
        let _ = parse("app.toml", &text(&format!("[pagination]\nnext = {value}\n[actions]\na = {value}")));
        let _ = Beside::read(&text(&format!("actions = {value}")), std::path::Path::new("."));
    }
}
