//! A step of our own world that leaves its requests to a client that knows nothing of accounts: the client is handed an
//! account's marker where it expects a token.

use std::io::Read;

use deputy_sdk::bindings::deputy::step::accounts;
use deputy_sdk::prelude::*;
use wstd::http::{Client, Request};

#[derive(Deserialize)]
struct Input {
    url: String,
    /// Which prop's marker goes where; none: no marker.
    marker: Option<String>,
    /// The header it goes into.
    #[serde(default = "authorization")]
    header: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}

struct Marked;

impl Step for Marked {
    type Input = Input;
    type Output = Value;

    fn props() -> Vec<Prop> {
        vec![
            Prop::app("demo", "demo"),
            Prop::app("other", "demo").optional(),
            Prop::text("url"),
            Prop::text("marker").optional(),
            Prop::text("header").optional(),
        ]
    }

    fn run(input: Input) -> Result<Value, Error> {
        println!("a line for people");
        eprintln!("a line for people who worry");
        let mut typed = String::new();
        std::io::stdin().read_to_string(&mut typed).map_err(|error| Error::new(error.to_string()))?;
        let mut request = Request::get(&input.url);
        if let Some(prop) = &input.marker {
            let fields = accounts::get(prop)?.markers();
            let marker = fields.first().ok_or_else(|| Error::new("the account has no marker"))?;
            request = request.header(&input.header, format!("Bearer {}", marker.value));
        }
        let answer = wstd::runtime::block_on(async {
            let mut answer = Client::new().send(request.body(())?).await?;
            let status = answer.status().as_u16();
            let body = answer.body_mut().str_contents().await?.to_owned();
            Ok::<_, wstd::http::Error>(json!({ "status": status, "body": body }))
        });
        match answer {
            Ok(answer) => Ok(json!({ "typed": typed, "answer": answer })),
            Err(error) => Ok(json!({ "typed": typed, "error": format!("{error:#}") })),
        }
    }
}

deputy_sdk::step!(Marked);
