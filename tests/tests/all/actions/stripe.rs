//! https://docs.stripe.com/api: forms with bracketed names, the key as the user of Basic.

use base64::Engine as _;
use serde_json::{Value, json};

use super::wire::{App, Exchange, Gives, Owed};

pub fn app() -> App {
    const KEY: &str = "sk_test_planted0planted0planted0";
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{KEY}:"));
    App {
        slug: "stripe",
        method: "key",
        key: KEY,
        inputs: &[],
        hosts: &["api.stripe.com"],
        headers: vec![("authorization", format!("Basic {basic}"))],
        test: Exchange::get("/v1/account")
            .answers(200, json!({"id": "acct_1", "settings": {"dashboard": {"display_name": "Acme"}}})),
    }
}

fn list(items: Value, has_more: bool) -> Value {
    json!({"object": "list", "data": items, "has_more": has_more})
}

pub fn owed() -> Vec<Owed> {
    let customer = json!({"id": "cus_1", "object": "customer"});
    vec![
        Owed {
            action: "stripe/create-customer",
            props: json!({"email": "ann@example.com", "name": "Ann & Co", "idempotency_key": "k-1",
                          "metadata": {"order": "1001", "big one": "ä"}}),
            sends: vec![
                Exchange::form(
                    "/v1/customers",
                    "email=ann%40example.com&name=Ann+%26+Co&metadata%5Bbig+one%5D=%C3%A4&metadata%5Border%5D=1001",
                )
                .carrying("idempotency-key", "k-1")
                .answers(200, customer.clone()),
            ],
            gives: Gives::Answer(200, customer.clone()),
        },
        Owed {
            action: "stripe/create-customer",
            props: json!({"description": "nobody"}),
            sends: vec![Exchange::form("/v1/customers", "description=nobody").answers(200, customer.clone())],
            gives: Gives::Answer(200, customer.clone()),
        },
        Owed {
            action: "stripe/list-customers",
            props: json!({"email": "ann@example.com"}),
            sends: vec![
                Exchange::get("/v1/customers?email=ann%40example.com&limit=100")
                    .answers(200, list(json!([{"id": "cus_1"}, {"id": "cus_2"}]), true)),
                Exchange::get("/v1/customers?email=ann%40example.com&limit=100&starting_after=cus_2")
                    .answers(200, list(json!([{"id": "cus_3"}]), false)),
            ],
            gives: Gives::Value(json!([{"id": "cus_1"}, {"id": "cus_2"}, {"id": "cus_3"}])),
        },
        Owed {
            action: "stripe/get-customer",
            props: json!({"customer": "cus_1"}),
            sends: vec![Exchange::get("/v1/customers/cus_1").answers(200, customer.clone())],
            gives: Gives::Answer(200, customer),
        },
        Owed {
            action: "stripe/create-payment-intent",
            props: json!({"amount": 1000, "currency": "usd"}),
            sends: vec![
                Exchange::form(
                    "/v1/payment_intents",
                    "amount=1000&currency=usd&confirm=false&automatic_payment_methods%5Benabled%5D=true\
                     &automatic_payment_methods%5Ballow_redirects%5D=never",
                )
                .answers(200, json!({"id": "pi_1"})),
            ],
            gives: Gives::Answer(200, json!({"id": "pi_1"})),
        },
        Owed {
            action: "stripe/create-payment-intent",
            props: json!({"amount": 1000, "currency": "eur", "customer": "cus_1", "payment_method": "pm_1",
                          "confirm": true, "off_session": true, "receipt_email": "a@b.c", "idempotency_key": "k-2",
                          "metadata": {"order": "7"}}),
            sends: vec![
                Exchange::form(
                    "/v1/payment_intents",
                    "amount=1000&currency=eur&customer=cus_1&payment_method=pm_1&confirm=true&off_session=true\
                     &receipt_email=a%40b.c&metadata%5Border%5D=7&automatic_payment_methods%5Benabled%5D=true\
                     &automatic_payment_methods%5Ballow_redirects%5D=never",
                )
                .carrying("idempotency-key", "k-2")
                .answers(200, json!({"id": "pi_1", "status": "succeeded"})),
            ],
            gives: Gives::Answer(200, json!({"id": "pi_1", "status": "succeeded"})),
        },
        Owed {
            action: "stripe/list-payment-intents",
            props: json!({"customer": "cus_1", "created_after": 1700000000}),
            sends: vec![
                Exchange::get("/v1/payment_intents?customer=cus_1&created%5Bgt%5D=1700000000&limit=100")
                    .answers(200, list(json!([{"id": "pi_1"}]), false)),
            ],
            gives: Gives::Value(json!([{"id": "pi_1"}])),
        },
        Owed {
            action: "stripe/list-charges",
            props: json!({"payment_intent": "pi_1"}),
            sends: vec![
                Exchange::get("/v1/charges?payment_intent=pi_1&limit=100")
                    .answers(200, list(json!([{"id": "ch_1"}]), false)),
            ],
            gives: Gives::Value(json!([{"id": "ch_1"}])),
        },
        Owed {
            action: "stripe/refund",
            props: json!({"payment_intent": "pi_1", "amount": 50, "reason": "requested_by_customer"}),
            sends: vec![
                Exchange::form("/v1/refunds", "payment_intent=pi_1&amount=50&reason=requested_by_customer")
                    .answers(200, json!({"id": "re_1"})),
            ],
            gives: Gives::Answer(200, json!({"id": "re_1"})),
        },
        Owed {
            action: "stripe/get-balance",
            props: json!({}),
            sends: vec![Exchange::get("/v1/balance").answers(200, json!({"object": "balance"}))],
            gives: Gives::Answer(200, json!({"object": "balance"})),
        },
    ]
}
