//! https://developers.notion.com/reference, version 2026-03-11.

use serde_json::{Value, json};

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "ntn_planted0planted0planted0planted0planted0plan";
    App {
        slug: "notion",
        method: "token",
        key: KEY,
        inputs: &[],
        hosts: &["api.notion.com"],
        headers: vec![("authorization", format!("Bearer {KEY}")), ("notion-version", "2026-03-11".to_owned())],
        test: Exchange::get("/v1/users/me")
            .answers(200, json!({"object": "user", "id": "u1", "bot": {"workspace_name": "Acme"}})),
    }
}

fn page(id: &str) -> Value {
    json!({"object": "page", "id": id})
}

fn list(items: Value, next: Option<&str>) -> Value {
    json!({"object": "list", "results": items, "next_cursor": next, "has_more": next.is_some()})
}

pub fn owed() -> Vec<Owed> {
    let paragraph = json!({"paragraph": {"rich_text": [{"text": {"content": "x"}}]}});
    vec![
        Owed {
            action: "notion/create-page",
            props: json!({"parent": "p0", "title": "Plan \"B\"", "markdown": "# Hi", "icon": "🐙"}),
            sends: vec![
                Exchange::post(
                    "/v1/pages",
                    json!({
                        "parent": {"page_id": "p0"},
                        "properties": {"title": {"title": [{"text": {"content": "Plan \"B\""}}]}},
                        "markdown": "# Hi",
                        "icon": {"emoji": "🐙"},
                    }),
                )
                .answers(200, page("p1")),
            ],
            gives: Gives::Answer(200, page("p1")),
        },
        Owed {
            action: "notion/create-page",
            props: json!({"parent": "p0", "title": "Plan", "children": [paragraph]}),
            sends: vec![
                Exchange::post(
                    "/v1/pages",
                    json!({
                        "parent": {"page_id": "p0"},
                        "properties": {"title": {"title": [{"text": {"content": "Plan"}}]}},
                        "children": [paragraph],
                    }),
                )
                .answers(200, page("p1")),
            ],
            gives: Gives::Answer(200, page("p1")),
        },
        Owed {
            action: "notion/create-entry",
            props: json!({"data_source": "d1", "properties": {"Count": {"number": 1.5}}}),
            sends: vec![
                Exchange::post(
                    "/v1/pages",
                    json!({"parent": {"data_source_id": "d1"}, "properties": {"Count": {"number": 1.5}}}),
                )
                .answers(200, page("p2")),
            ],
            gives: Gives::Answer(200, page("p2")),
        },
        Owed {
            action: "notion/get-page",
            props: json!({"page": "p1"}),
            sends: vec![Exchange::get("/v1/pages/p1").answers(200, page("p1"))],
            gives: Gives::Answer(200, page("p1")),
        },
        Owed {
            action: "notion/update-page",
            props: json!({"page": "p1", "in_trash": true}),
            sends: vec![Exchange::json("PATCH", "/v1/pages/p1", json!({"in_trash": true})).answers(200, page("p1"))],
            gives: Gives::Answer(200, page("p1")),
        },
        Owed {
            action: "notion/append-blocks",
            props: json!({"block": "b1", "children": [paragraph]}),
            sends: vec![
                Exchange::json("PATCH", "/v1/blocks/b1/children", json!({"children": [paragraph]}))
                    .answers(200, list(json!([{"id": "b2"}]), None)),
            ],
            gives: Gives::Value(json!([{"id": "b2"}])),
        },
        // The cursor of a GET stands in the query.
        Owed {
            action: "notion/list-blocks",
            props: json!({"block": "b1"}),
            sends: vec![
                Exchange::get("/v1/blocks/b1/children?page_size=100")
                    .answers(200, list(json!([{"id": "b2"}]), Some("c 1"))),
                Exchange::get("/v1/blocks/b1/children?page_size=100&start_cursor=c+1")
                    .answers(200, list(json!([{"id": "b3"}]), None)),
            ],
            gives: Gives::Value(json!([{"id": "b2"}, {"id": "b3"}])),
        },
        // That of a POST in the body.
        Owed {
            action: "notion/query-database",
            props: json!({"data_source": "d1", "filter": {"property": "Done", "checkbox": {"equals": true}}}),
            sends: vec![
                Exchange::post(
                    "/v1/data_sources/d1/query",
                    json!({"filter": {"property": "Done", "checkbox": {"equals": true}}, "page_size": 100}),
                )
                .answers(200, list(json!([page("p1")]), Some("c1"))),
                Exchange::post(
                    "/v1/data_sources/d1/query",
                    json!({"filter": {"property": "Done", "checkbox": {"equals": true}}, "page_size": 100,
                           "start_cursor": "c1"}),
                )
                .answers(200, list(json!([page("p2")]), None)),
            ],
            gives: Gives::Value(json!([page("p1"), page("p2")])),
        },
        Owed {
            action: "notion/search",
            props: json!({}),
            sends: vec![Exchange::post("/v1/search", json!({"page_size": 100})).answers(200, list(json!([]), None))],
            gives: Gives::Value(json!([])),
        },
        Owed {
            action: "notion/search",
            props: json!({"query": "plan", "filter": {"property": "object", "value": "page"}}),
            sends: vec![
                Exchange::post(
                    "/v1/search",
                    json!({"query": "plan", "filter": {"property": "object", "value": "page"}, "page_size": 100}),
                )
                .answers(200, list(json!([page("p1")]), None)),
            ],
            gives: Gives::Value(json!([page("p1")])),
        },
        Owed {
            action: "notion/comment",
            props: json!({"page": "p1", "text": "Good."}),
            sends: vec![
                Exchange::post(
                    "/v1/comments",
                    json!({"parent": {"page_id": "p1"}, "rich_text": [{"text": {"content": "Good."}}]}),
                )
                .answers(200, json!({"object": "comment", "id": "k1"})),
            ],
            gives: Gives::Answer(200, json!({"object": "comment", "id": "k1"})),
        },
    ]
}
