//! https://www.twilio.com/docs/sendgrid/api-reference

use serde_json::{Value, json};

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "SG.planted0planted0planted0.planted0planted0planted0planted0";
    App {
        slug: "sendgrid",
        method: "key",
        key: KEY,
        inputs: &[],
        hosts: &["api.sendgrid.com"],
        headers: vec![("authorization", format!("Bearer {KEY}"))],
        test: Exchange::get("/v3/scopes").answers(200, json!({"scopes": ["mail.send"]})),
    }
}

pub fn owed() -> Vec<Owed> {
    vec![
        Owed {
            action: "sendgrid/send-mail",
            props: json!({"to": "ann@example.com", "from": "news@example.com", "subject": "Hi", "content": "Ä"}),
            sends: vec![
                Exchange::post(
                    "/v3/mail/send",
                    json!({
                        "personalizations": [{"to": [{"email": "ann@example.com"}]}],
                        "from": {"email": "news@example.com"},
                        "subject": "Hi",
                        "content": [{"type": "text/plain", "value": "Ä"}],
                    }),
                )
                .answers(202, Value::Null),
            ],
            gives: Gives::Answer(202, Value::Null),
        },
        Owed {
            action: "sendgrid/send-mail",
            props: json!({
                "to": "ann@example.com", "to_name": "Ann", "from": "news@example.com", "from_name": "News",
                "reply_to": "re@example.com", "cc": "c@example.com", "bcc": "b@example.com", "subject": "Hi",
                "content": "<p>", "content_type": "text/html", "categories": ["a", "b"], "send_at": 1893456000,
            }),
            sends: vec![
                Exchange::post(
                    "/v3/mail/send",
                    json!({
                        "personalizations": [{
                            "to": [{"email": "ann@example.com", "name": "Ann"}],
                            "cc": [{"email": "c@example.com"}],
                            "bcc": [{"email": "b@example.com"}],
                        }],
                        "from": {"email": "news@example.com", "name": "News"},
                        "reply_to": {"email": "re@example.com"},
                        "subject": "Hi",
                        "content": [{"type": "text/html", "value": "<p>"}],
                        "categories": ["a", "b"],
                        "send_at": 1893456000,
                    }),
                )
                .answers(202, Value::Null),
            ],
            gives: Gives::Answer(202, Value::Null),
        },
        Owed {
            action: "sendgrid/send-template",
            props: json!({"to": "ann@example.com", "from": "news@example.com", "template_id": "d-1",
                          "data": {"name": "Ann", "total": 5}}),
            sends: vec![
                Exchange::post(
                    "/v3/mail/send",
                    json!({
                        "personalizations": [{
                            "to": [{"email": "ann@example.com"}],
                            "dynamic_template_data": {"name": "Ann", "total": 5},
                        }],
                        "from": {"email": "news@example.com"},
                        "template_id": "d-1",
                    }),
                )
                .answers(202, Value::Null),
            ],
            gives: Gives::Answer(202, Value::Null),
        },
        Owed {
            action: "sendgrid/add-contact",
            props: json!({"email": "ann@example.com", "first_name": "Ann", "list_ids": ["l1"],
                          "custom_fields": {"e1_T": "x"}}),
            sends: vec![
                Exchange::json(
                    "PUT",
                    "/v3/marketing/contacts",
                    json!({
                        "list_ids": ["l1"],
                        "contacts": [{
                            "email": "ann@example.com", "first_name": "Ann", "custom_fields": {"e1_T": "x"},
                        }],
                    }),
                )
                .answers(202, json!({"job_id": "j1"})),
            ],
            gives: Gives::Answer(202, json!({"job_id": "j1"})),
        },
        Owed {
            action: "sendgrid/list-contact-lists",
            props: json!({}),
            sends: vec![
                Exchange::get("/v3/marketing/lists?page_size=100").answers(
                    200,
                    json!({"result": [{"id": "l1"}], "_metadata": {
                        "next": "https://api.sendgrid.com/v3/marketing/lists?page_size=100&page_token=abc",
                    }}),
                ),
                Exchange::get("/v3/marketing/lists?page_size=100&page_token=abc")
                    .answers(200, json!({"result": [{"id": "l2"}], "_metadata": {"count": 2}})),
            ],
            gives: Gives::Value(json!([{"id": "l1"}, {"id": "l2"}])),
        },
        Owed {
            action: "sendgrid/list-bounces",
            props: json!({"start_time": 1700000000}),
            sends: vec![
                Exchange::get("/v3/suppression/bounces?start_time=1700000000&limit=500")
                    .answers(200, json!([{"email": "a@example.com"}, {"email": "b@example.com"}])),
                Exchange::get("/v3/suppression/bounces?start_time=1700000000&limit=500&offset=2")
                    .answers(200, json!([])),
            ],
            gives: Gives::Value(json!([{"email": "a@example.com"}, {"email": "b@example.com"}])),
        },
    ]
}
