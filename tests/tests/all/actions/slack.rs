//! https://docs.slack.dev/reference/methods: JSON bodies, queries for what reads, errors behind status 200.

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "xoxb-000000000000-0000000000000-planted0planted0planted0";
    App {
        slug: "slack",
        method: "token",
        key: KEY,
        inputs: &[],
        hosts: &["slack.com"],
        headers: vec![("authorization", format!("Bearer {KEY}"))],
        test: Exchange::get("/api/auth.test").answers(200, json!({"ok": true, "user_id": "U1", "team": "Acme"})),
    }
}

pub fn owed() -> Vec<Owed> {
    let posted = json!({"ok": true, "channel": "C1", "ts": "1.2"});
    vec![
        Owed {
            action: "slack/post-message",
            props: json!({"channel": "#general", "text": "Hi & ä", "unfurl_links": false,
                          "blocks": [{"type": "divider"}]}),
            sends: vec![
                Exchange::post(
                    "/api/chat.postMessage",
                    json!({"channel": "#general", "text": "Hi & ä", "unfurl_links": false,
                           "blocks": [{"type": "divider"}]}),
                )
                .answers(200, posted.clone()),
            ],
            gives: Gives::Answer(200, posted.clone()),
        },
        Owed {
            action: "slack/post-message",
            props: json!({"channel": "C1", "text": "Hi"}),
            sends: vec![
                Exchange::post("/api/chat.postMessage", json!({"channel": "C1", "text": "Hi"}))
                    .answers(200, posted.clone()),
            ],
            gives: Gives::Answer(200, posted.clone()),
        },
        Owed {
            action: "slack/reply-in-thread",
            props: json!({"channel": "C1", "thread_ts": "1712345678.123456", "text": "Yes"}),
            sends: vec![
                Exchange::post(
                    "/api/chat.postMessage",
                    json!({"channel": "C1", "thread_ts": "1712345678.123456", "text": "Yes",
                           "reply_broadcast": false}),
                )
                .answers(200, posted.clone()),
            ],
            gives: Gives::Answer(200, posted.clone()),
        },
        Owed {
            action: "slack/update-message",
            props: json!({"channel": "C1", "ts": "1.2", "text": "Better"}),
            sends: vec![
                Exchange::post("/api/chat.update", json!({"channel": "C1", "ts": "1.2", "text": "Better"}))
                    .answers(200, posted.clone()),
            ],
            gives: Gives::Answer(200, posted),
        },
        Owed {
            action: "slack/add-reaction",
            props: json!({"channel": "C1", "timestamp": "1.2", "name": "thumbsup"}),
            sends: vec![
                Exchange::post("/api/reactions.add", json!({"channel": "C1", "timestamp": "1.2", "name": "thumbsup"}))
                    .answers(200, json!({"ok": true})),
            ],
            gives: Gives::Answer(200, json!({"ok": true})),
        },
        Owed {
            action: "slack/list-channels",
            props: json!({"types": "public_channel,private_channel"}),
            sends: vec![
                Exchange::get(
                    "/api/conversations.list?types=public_channel%2Cprivate_channel&exclude_archived=true&limit=200",
                )
                .answers(
                    200,
                    json!({"ok": true, "channels": [{"id": "C1"}],
                           "response_metadata": {"next_cursor": "dGVhbTpD="}}),
                ),
                Exchange::get(
                    "/api/conversations.list?types=public_channel%2Cprivate_channel&exclude_archived=true&limit=200\
                     &cursor=dGVhbTpD%3D",
                )
                .answers(
                    200,
                    json!({"ok": true, "channels": [{"id": "C2"}], "response_metadata": {"next_cursor": ""}}),
                ),
            ],
            gives: Gives::Value(json!([{"id": "C1"}, {"id": "C2"}])),
        },
        Owed {
            action: "slack/list-messages",
            props: json!({"channel": "C1", "oldest": "1712345678.123456"}),
            sends: vec![
                Exchange::get("/api/conversations.history?channel=C1&oldest=1712345678.123456&limit=200")
                    .answers(200, json!({"ok": true, "messages": [{"ts": "2.0"}], "has_more": false})),
            ],
            gives: Gives::Value(json!([{"ts": "2.0"}])),
        },
        Owed {
            action: "slack/list-users",
            props: json!({}),
            sends: vec![
                Exchange::get("/api/users.list?limit=200").answers(200, json!({"ok": true, "members": [{"id": "U1"}]})),
            ],
            gives: Gives::Value(json!([{"id": "U1"}])),
        },
        Owed {
            action: "slack/find-user-by-email",
            props: json!({"email": "ann+x@example.com"}),
            sends: vec![
                Exchange::get("/api/users.lookupByEmail?email=ann%2Bx%40example.com")
                    .answers(200, json!({"ok": true, "user": {"id": "U7"}})),
            ],
            gives: Gives::Value(json!({"id": "U7"})),
        },
    ]
}
