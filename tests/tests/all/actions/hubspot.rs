//! https://developers.hubspot.com/docs/api-reference, contacts of version 3.

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "pat-eu1-00000000-0000-4000-8000-000000000000";
    App {
        slug: "hubspot",
        method: "token",
        key: KEY,
        inputs: &[],
        hosts: &["api.hubapi.com"],
        headers: vec![("authorization", format!("Bearer {KEY}"))],
        test: Exchange::get("/account-info/v3/details")
            .answers(200, json!({"portalId": 1, "uiDomain": "app.hubspot.com"})),
    }
}

pub fn owed() -> Vec<Owed> {
    let contact = json!({"id": "1", "properties": {"email": "ann@example.com"}});
    vec![
        Owed {
            action: "hubspot/create-contact",
            props: json!({"email": "ann@example.com", "firstname": "Ann", "company": "Ann & Co"}),
            sends: vec![
                Exchange::post(
                    "/crm/v3/objects/contacts",
                    json!({"properties": {"email": "ann@example.com", "firstname": "Ann", "company": "Ann & Co"}}),
                )
                .answers(201, contact.clone()),
            ],
            gives: Gives::Answer(201, contact.clone()),
        },
        Owed {
            action: "hubspot/search-contacts",
            props: json!({"query": "ann", "properties": ["email", "phone"]}),
            sends: vec![
                Exchange::post(
                    "/crm/v3/objects/contacts/search",
                    json!({"query": "ann", "properties": ["email", "phone"], "limit": 100}),
                )
                .answers(200, json!({"total": 1, "results": [contact]})),
            ],
            gives: Gives::Value(json!([contact])),
        },
    ]
}
