//! https://docs.claude.com/en/api/messages, version 2023-06-01.

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "sk-ant-api03-planted0planted0planted0planted0";
    App {
        slug: "anthropic",
        method: "key",
        key: KEY,
        inputs: &[],
        hosts: &["api.anthropic.com"],
        headers: vec![("x-api-key", KEY.to_owned()), ("anthropic-version", "2023-06-01".to_owned())],
        test: Exchange::get("/v1/models?limit=1").answers(200, json!({"data": [{"id": "m1"}], "has_more": false})),
    }
}

pub fn owed() -> Vec<Owed> {
    let answer = json!({"id": "msg_1", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]});
    let messages = json!([{"role": "user", "content": "Hi"}]);
    vec![
        Owed {
            action: "anthropic/create-message",
            props: json!({"model": "m1", "messages": messages, "system": "Be brief."}),
            sends: vec![
                Exchange::post(
                    "/v1/messages",
                    json!({"model": "m1", "messages": messages, "system": "Be brief.", "max_tokens": 1024}),
                )
                .answers(200, answer.clone()),
            ],
            gives: Gives::Answer(200, answer.clone()),
        },
        Owed {
            action: "anthropic/create-message",
            props: json!({"model": "m1", "messages": messages, "max_tokens": 7}),
            sends: vec![
                Exchange::post("/v1/messages", json!({"model": "m1", "messages": messages, "max_tokens": 7}))
                    .answers(200, answer.clone()),
            ],
            gives: Gives::Answer(200, answer),
        },
    ]
}
