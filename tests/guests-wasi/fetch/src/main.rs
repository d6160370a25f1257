//! Reads `{"url", "method", "headers", "body"}` from standard input, sends it with an ordinary client, and prints the
//! answer as JSON. Nothing in it knows of accounts.

use std::error::Error;
use std::io::{self, Write};

use serde_json::{Value, json};
use wstd::http::{Body, Client, Request};

#[wstd::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let input: Value = serde_json::from_reader(io::stdin())?;
    let text = |name: &str| input[name].as_str();
    let mut request = Request::builder().method(text("method").unwrap_or("GET")).uri(text("url").ok_or("no url")?);
    for (name, value) in input["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().ok_or("a header is no text")?);
    }
    let body = match &input["body"] {
        Value::Null => Body::empty(),
        Value::String(text) => Body::from(text.clone()),
        other => Body::from_json(other)?,
    };
    let mut answer = Client::new().send(request.body(body)?).await?;
    let status = answer.status().as_u16();
    let headers: serde_json::Map<String, Value> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body = answer.body_mut().str_contents().await?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    writeln!(io::stdout(), "{}", json!({ "status": status, "headers": headers, "body": body }))?;
    Ok(())
}
