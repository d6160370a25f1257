//! https://docs.github.com/en/rest, version 2022-11-28.

use serde_json::{Value, json};

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "ghp_planted0planted0planted0planted0plan";
    App {
        slug: "github",
        method: "token",
        key: KEY,
        inputs: &[],
        hosts: &["api.github.com"],
        headers: vec![
            ("authorization", format!("Bearer {KEY}")),
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", "2022-11-28".to_owned()),
            ("user-agent", "deputy".to_owned()),
        ],
        test: Exchange::get("/user").answers(200, json!({"id": 1, "login": "ada"})),
    }
}

fn at(mut more: Value) -> Value {
    more["owner"] = json!("ada");
    more["repo"] = json!("engine");
    more
}

fn next(to: &str) -> String {
    format!("<https://api.github.com{to}>; rel=\"next\", <https://api.github.com{to}9>; rel=\"last\"")
}

pub fn owed() -> Vec<Owed> {
    let whole = |status, body: Value| Gives::Answer(status, body);
    vec![
        Owed {
            action: "github/list-repositories",
            props: json!({}),
            sends: vec![
                Exchange::get("/user/repos?per_page=100")
                    .answers(200, json!([{"id": 1}]))
                    .with("link", &next("/user/repos?per_page=100&page=2")),
                Exchange::get("/user/repos?per_page=100&page=2").answers(200, json!([{"id": 2}])),
            ],
            gives: Gives::Value(json!([{"id": 1}, {"id": 2}])),
        },
        Owed {
            action: "github/list-repositories",
            props: json!({"visibility": "private", "sort": "full_name"}),
            sends: vec![
                Exchange::get("/user/repos?visibility=private&sort=full_name&per_page=100").answers(200, json!([])),
            ],
            gives: Gives::Value(json!([])),
        },
        Owed {
            action: "github/get-repository",
            props: at(json!({})),
            sends: vec![Exchange::get("/repos/ada/engine").answers(200, json!({"id": 7}))],
            gives: whole(200, json!({"id": 7})),
        },
        Owed {
            action: "github/list-issues",
            props: at(json!({"labels": "bug,help wanted", "assignee": "*", "since": "2026-01-31T00:00:00Z"})),
            sends: vec![
                Exchange::get(
                    "/repos/ada/engine/issues?state=open&labels=bug%2Chelp+wanted&assignee=*\
                     &since=2026-01-31T00%3A00%3A00Z&per_page=100",
                )
                .answers(200, json!([{"number": 1}])),
            ],
            gives: Gives::Value(json!([{"number": 1}])),
        },
        Owed {
            action: "github/get-issue",
            props: at(json!({"number": 42})),
            sends: vec![Exchange::get("/repos/ada/engine/issues/42").answers(200, json!({"number": 42}))],
            gives: whole(200, json!({"number": 42})),
        },
        Owed {
            action: "github/create-issue",
            props: at(json!({"title": "It \"smokes\" ä", "body": "a\nb", "labels": ["bug"], "assignees": ["ada"]})),
            sends: vec![
                Exchange::post(
                    "/repos/ada/engine/issues",
                    json!({"title": "It \"smokes\" ä", "body": "a\nb", "labels": ["bug"], "assignees": ["ada"]}),
                )
                .answers(201, json!({"number": 43})),
            ],
            gives: whole(201, json!({"number": 43})),
        },
        Owed {
            action: "github/create-issue",
            props: json!({"owner": "a/b", "repo": "c?d", "title": "x"}),
            sends: vec![
                Exchange::post("/repos/a%2Fb/c%3Fd/issues", json!({"title": "x"})).answers(201, json!({"number": 1})),
            ],
            gives: whole(201, json!({"number": 1})),
        },
        Owed {
            action: "github/update-issue",
            props: at(json!({"number": 42, "state": "closed", "state_reason": "not_planned", "labels": []})),
            sends: vec![
                Exchange::json(
                    "PATCH",
                    "/repos/ada/engine/issues/42",
                    json!({"state": "closed", "state_reason": "not_planned", "labels": []}),
                )
                .answers(200, json!({"number": 42})),
            ],
            gives: whole(200, json!({"number": 42})),
        },
        Owed {
            action: "github/comment-on-issue",
            props: at(json!({"number": 42, "body": "Done."})),
            sends: vec![
                Exchange::post("/repos/ada/engine/issues/42/comments", json!({"body": "Done."}))
                    .answers(201, json!({"id": 5})),
            ],
            gives: whole(201, json!({"id": 5})),
        },
        Owed {
            action: "github/list-pull-requests",
            props: at(json!({"state": "all", "base": "release/1"})),
            sends: vec![
                Exchange::get("/repos/ada/engine/pulls?state=all&base=release%2F1&per_page=100")
                    .answers(200, json!([{"number": 3}])),
            ],
            gives: Gives::Value(json!([{"number": 3}])),
        },
        Owed {
            action: "github/search-issues",
            props: json!({"query": "repo:ada/engine is:open"}),
            sends: vec![
                Exchange::get("/search/issues?q=repo%3Aada%2Fengine+is%3Aopen&per_page=100")
                    .answers(200, json!({"total_count": 1, "items": [{"number": 3}]})),
            ],
            gives: Gives::Value(json!([{"number": 3}])),
        },
        Owed {
            action: "github/star-repository",
            props: at(json!({})),
            sends: vec![Exchange::bare("PUT", "/user/starred/ada/engine").answers(204, Value::Null)],
            gives: whole(204, Value::Null),
        },
        // A new file: the look before it finds nothing. The standard `fetch` accepts anything, unless told otherwise.
        Owed {
            action: "github/write-file",
            props: at(json!({"path": "docs/a b.md", "content": "Ä", "message": "Add", "branch": "main"})),
            sends: vec![
                Exchange::get("/repos/ada/engine/contents/docs/a%20b.md?ref=main")
                    .carrying("accept", "*/*")
                    .answers(404, json!({"message": "Not Found"})),
                Exchange::text(
                    "PUT",
                    "/repos/ada/engine/contents/docs/a%20b.md",
                    "application/json",
                    r#"{"message":"Add","content":"w4Q=","branch":"main"}"#,
                )
                .carrying("accept", "*/*")
                .answers(201, written()),
            ],
            gives: Gives::Value(json!({
                "path": "docs/a b.md", "sha": "f00", "url": "https://github.com/x", "commit": "c0", "created": true,
            })),
        },
        // One that is there already: its SHA goes along.
        Owed {
            action: "github/write-file",
            props: at(json!({"path": "README.md", "content": "x", "message": "Change"})),
            sends: vec![
                Exchange::get("/repos/ada/engine/contents/README.md")
                    .carrying("accept", "*/*")
                    .answers(200, json!({"sha": "b4r"})),
                Exchange::text(
                    "PUT",
                    "/repos/ada/engine/contents/README.md",
                    "application/json",
                    r#"{"message":"Change","content":"eA==","sha":"b4r"}"#,
                )
                .carrying("accept", "*/*")
                .answers(200, written()),
            ],
            gives: Gives::Value(json!({
                "path": "docs/a b.md", "sha": "f00", "url": "https://github.com/x", "commit": "c0", "created": false,
            })),
        },
    ]
}

fn written() -> Value {
    json!({
        "content": {"path": "docs/a b.md", "sha": "f00", "html_url": "https://github.com/x"},
        "commit": {"sha": "c0"},
    })
}
