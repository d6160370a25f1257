//! https://airtable.com/developers/web/api

use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "patplanted0planted0planted0planted0planted0planted0planted0";
    App {
        slug: "airtable",
        method: "token",
        key: KEY,
        inputs: &[],
        hosts: &["api.airtable.com"],
        headers: vec![("authorization", format!("Bearer {KEY}"))],
        test: Exchange::get("/v0/meta/whoami").answers(200, json!({"id": "usr1", "email": "ann@example.com"})),
    }
}

pub fn owed() -> Vec<Owed> {
    let record = json!({"id": "rec1", "fields": {"Name": "Ann & Co"}});
    vec![
        Owed {
            action: "airtable/list-records",
            props: json!({"base": "app1", "table": "Big Tasks", "view": "Grid", "formula": "{Status} = 'Done'"}),
            sends: vec![
                Exchange::get("/v0/app1/Big%20Tasks?view=Grid&filterByFormula=%7BStatus%7D+%3D+%27Done%27")
                    .answers(200, json!({"records": [{"id": "rec1"}], "offset": "itr/rec1"})),
                Exchange::get(
                    "/v0/app1/Big%20Tasks?view=Grid&filterByFormula=%7BStatus%7D+%3D+%27Done%27&offset=itr%2Frec1",
                )
                .answers(200, json!({"records": [{"id": "rec2"}]})),
            ],
            gives: Gives::Value(json!([{"id": "rec1"}, {"id": "rec2"}])),
        },
        Owed {
            action: "airtable/create-record",
            props: json!({"base": "app1", "table": "tbl1", "fields": {"Name": "Ann & Co"}}),
            sends: vec![
                Exchange::post("/v0/app1/tbl1", json!({"fields": {"Name": "Ann & Co"}})).answers(200, record.clone()),
            ],
            gives: Gives::Answer(200, record.clone()),
        },
        Owed {
            action: "airtable/update-record",
            props: json!({"base": "app1", "table": "tbl1", "record": "rec1", "fields": {"Name": "Ann & Co"},
                          "typecast": true}),
            sends: vec![
                Exchange::json(
                    "PATCH",
                    "/v0/app1/tbl1/rec1",
                    json!({"fields": {"Name": "Ann & Co"}, "typecast": true}),
                )
                .answers(200, record.clone()),
            ],
            gives: Gives::Answer(200, record),
        },
    ]
}
