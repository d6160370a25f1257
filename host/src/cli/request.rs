//! `deputy request`: one HTTP call through an account, as curl would make it, without the credential.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::output::{Output, stdout_failed};
use super::{Done, Error, prompt};
use crate::deputy::{Body, Caller, Deputy, HttpRequest};

const AFTER_HELP: &str = "\
Examples:
  deputy request github GET /user
  deputy request stripe/acme POST /v1/customers -H 'content-type: application/x-www-form-urlencoded' -d 'email=a@b.c'
  deputy request slack/bot POST /chat.postMessage --json-body '{\"channel\":\"C1\",\"text\":\"hi\"}'
  deputy request http/files GET /backup.tar > backup.tar

Exit code: 0 for an answer of class 2 or 3; 4 or 5 for those classes, and 4 for an error that the app hides behind a\ngood status; 1 when no answer came.";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// `app/nickname`, an account id, or the bare app if it has one account
    account: String,
    /// GET, POST, …
    #[arg(value_parser = method)]
    method: http::Method,
    /// A path below the app's base URL, or an absolute URL within the app's reach
    url: String,
    /// A header; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The body: text, @FILE, or @- for standard input
    #[arg(short = 'd', long, value_name = "TEXT|@FILE|@-", conflicts_with = "json_body")]
    body: Option<String>,
    /// A JSON body; sets the content type
    #[arg(long, value_name = "JSON", value_parser = json)]
    json_body: Option<serde_json::Value>,
    /// Print the status line and the headers first
    #[arg(short, long)]
    include: bool,
    /// Which of the app's identities to use, such as `user` for Slack's user token
    #[arg(long = "as", value_name = "RULE-SET")]
    rule_set: Option<String>,
    /// Write the answer's body to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long to wait for the answer's headers
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub async fn run(args: Args, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    if output.is_json() && (args.output.is_some() || args.include) {
        return Err(Error::new("usage", "--json prints status, headers and body as one object: leave out -o and -i"));
    }
    let mut request = HttpRequest::new(args.method, args.url);
    request.headers.extend(args.headers);
    request.rule_set = args.rule_set;
    request.timeout = args.timeout.map(Duration::from_secs);
    request.body = match (args.body, args.json_body) {
        (Some(data), _) => Body::Bytes(body(data, deputy.config().egress.limits.request_bytes)?.into()),
        (None, Some(json)) => {
            request.headers.entry("content-type").or_insert(http::HeaderValue::from_static("application/json"));
            Body::Bytes(json.to_string().into())
        }
        (None, None) => Body::Empty,
    };

    // Before anything is sent: a request whose answer cannot be kept should not be made.
    let file = match &args.output {
        Some(path) => Some(
            tokio::fs::File::create(path)
                .await
                .map_err(|error| Error::new("output_failed", format!("cannot write {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let answer = deputy.request(caller, &args.account, request).await?;
    let status = answer.status;
    let failed = answer.failed;
    if output.is_json() {
        json_answer(answer, output).await?;
    } else {
        if args.include {
            let mut head = format!("HTTP {status}\n");
            for (name, value) in &answer.headers {
                head.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            output.line(&head)?;
        }
        let mut body = answer.body;
        let mut sink: Box<dyn tokio::io::AsyncWrite + Unpin + Send> = match file {
            Some(file) => Box::new(file),
            None => Box::new(tokio::io::stdout()),
        };
        while let Some(chunk) = body.next().await {
            sink.write_all(&chunk?).await.map_err(|error| stdout_failed(&error))?;
        }
        sink.flush().await.map_err(|error| stdout_failed(&error))?;
    }
    Ok(match status.as_u16() / 100 {
        4 => Done::Answered(4),
        5 => Done::Answered(5),
        _ if failed => Done::Answered(4),
        _ => Done::Ok,
    })
}

/// Status, headers, and the body as JSON, text or base64, whichever it is.
async fn json_answer(answer: crate::deputy::Answer, output: &Output) -> Result<(), Error> {
    use base64::Engine;
    let headers: serde_json::Map<_, _> = answer
        .headers
        .keys()
        .map(|name| {
            let values: Vec<_> =
                answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (name.to_string(), values.join(", ").into())
        })
        .collect();
    let (status, failed, renewed) = (answer.status.as_u16(), answer.failed, answer.renewed);
    let bytes = answer.body.collect(usize::MAX).await?;
    let mut value = serde_json::json!({ "status": status, "failed": failed, "renewed": renewed, "headers": headers });
    match (serde_json::from_slice::<serde_json::Value>(&bytes), String::from_utf8(bytes)) {
        (Ok(json), _) => value["body"] = json,
        (_, Ok(text)) => value["body"] = text.into(),
        (_, Err(error)) => {
            value["body_base64"] = base64::engine::general_purpose::STANDARD.encode(error.as_bytes()).into();
        }
    }
    output.emit(&value, String::new)
}

/// Read whole, so that it can be sent again after a refresh.
fn body(data: String, limit: u64) -> Result<Vec<u8>, Error> {
    let Some(path) = data.strip_prefix('@') else { return Ok(data.into_bytes()) };
    if path == "-" {
        return prompt::stdin_bytes(limit);
    }
    let failed = |error: std::io::Error| Error::new("input_failed", format!("cannot read {path}: {error}"));
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > limit {
        return Err(Error::new("input_too_large", format!("{path} has {length} bytes; a request may have {limit}"))
            .with_fix("raise `[egress.limits] request_bytes` in deputy.toml"));
    }
    std::fs::read(path).map_err(failed)
}

fn method(text: &str) -> Result<http::Method, String> {
    match text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        true => text.to_ascii_uppercase().parse().map_err(|_| "an HTTP method such as GET".to_owned()),
        false => Err("an HTTP method such as GET; the order is: request ACCOUNT METHOD PATH".to_owned()),
    }
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header has the form `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{}` is no header name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| "the value holds a control character".to_owned())?;
    Ok((name, value))
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))
}
