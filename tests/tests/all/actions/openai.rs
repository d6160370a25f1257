//! https://platform.openai.com/docs/api-reference

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "sk-proj-planted0planted0planted0planted0";
    App {
        slug: "openai",
        method: "key",
        key: KEY,
        inputs: &[],
        hosts: &["api.openai.com"],
        headers: vec![("authorization", format!("Bearer {KEY}"))],
        test: Exchange::get("/v1/models").answers(200, json!({"object": "list", "data": []})),
    }
}

pub fn owed() -> Vec<Owed> {
    let answer = json!({"id": "resp_1", "output": [{"type": "message"}]});
    vec![
        Owed {
            action: "openai/respond",
            props: json!({"model": "m1", "input": "Hi", "instructions": "Be brief.", "max_output_tokens": 50}),
            sends: vec![
                Exchange::post(
                    "/v1/responses",
                    json!({"model": "m1", "input": "Hi", "instructions": "Be brief.", "max_output_tokens": 50}),
                )
                .answers(200, answer.clone()),
            ],
            gives: Gives::Answer(200, answer),
        },
        Owed {
            action: "openai/create-embedding",
            props: json!({"model": "m1", "input": "Hi"}),
            sends: vec![
                Exchange::post("/v1/embeddings", json!({"model": "m1", "input": "Hi"}))
                    .answers(200, json!({"data": [{"embedding": [0.5, 1.0]}]})),
            ],
            gives: Gives::Value(json!([0.5, 1.0])),
        },
    ]
}
