//! https://core.telegram.org/bots/api: the token stands in the path.

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

const PATH: &str = "/bot123456:AAplanted0planted0planted0planted0pl";

pub fn app() -> App {
    App {
        slug: "telegram",
        method: "bot",
        key: "123456:AAplanted0planted0planted0planted0pl",
        inputs: &[],
        hosts: &["api.telegram.org"],
        headers: Vec::new(),
        test: Exchange::get(format!("{PATH}/getMe"))
            .answers(200, json!({"ok": true, "result": {"id": 1, "username": "bot"}})),
    }
}

pub fn owed() -> Vec<Owed> {
    let message = json!({"message_id": 7, "text": "Hi"});
    vec![
        Owed {
            action: "telegram/send-message",
            props: json!({"chat": "@news", "text": "<b>Hi</b>", "format": "HTML", "silent": true}),
            sends: vec![
                Exchange::post(
                    format!("{PATH}/sendMessage"),
                    json!({"chat_id": "@news", "text": "<b>Hi</b>", "parse_mode": "HTML", "disable_notification": true}),
                )
                .answers(200, json!({"ok": true, "result": message})),
            ],
            gives: Gives::Value(message.clone()),
        },
        Owed {
            action: "telegram/send-message",
            props: json!({"chat": "42", "text": "Hi"}),
            sends: vec![
                Exchange::post(format!("{PATH}/sendMessage"), json!({"chat_id": "42", "text": "Hi"}))
                    .answers(200, json!({"ok": true, "result": message})),
            ],
            gives: Gives::Value(message),
        },
    ]
}
