//! https://www.twilio.com/docs/messaging/api: forms below the account.

use base64::Engine as _;
use serde_json::json;

use super::wire::{App, Exchange, Gives, Owed};

const BASE: &str = "/2010-04-01/Accounts/AC00000000000000000000000000000001";

pub fn app() -> App {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("AC00000000000000000000000000000001:{KEY}"));
    App {
        slug: "twilio",
        method: "account",
        key: KEY,
        inputs: &[("account_sid", "AC00000000000000000000000000000001")],
        hosts: &["api.twilio.com"],
        headers: vec![("authorization", format!("Basic {basic}"))],
        test: Exchange::get(format!("{BASE}/IncomingPhoneNumbers.json?PageSize=1"))
            .answers(200, json!({"incoming_phone_numbers": []})),
    }
}

pub fn owed() -> Vec<Owed> {
    let message = json!({"sid": "SM1", "status": "queued"});
    vec![
        Owed {
            action: "twilio/send-sms",
            props: json!({"to": "+15558675310", "from": "+15557122661", "body": "Hi & bye"}),
            sends: vec![
                Exchange::form(
                    format!("{BASE}/Messages.json"),
                    "To=%2B15558675310&From=%2B15557122661&Body=Hi+%26+bye",
                )
                .answers(201, message.clone()),
            ],
            gives: Gives::Answer(201, message.clone()),
        },
        Owed {
            action: "twilio/get-message",
            props: json!({"message": "SM1"}),
            sends: vec![Exchange::get(format!("{BASE}/Messages/SM1.json")).answers(200, message.clone())],
            gives: Gives::Answer(200, message),
        },
    ]
}
