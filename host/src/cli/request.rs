//! `deputy request`: one HTTP call through an account, as curl would make it, without the credential.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::output::{Output, stdout_failed};
use super::step::print_log;
use super::{Done, Error, prompt};
use deputy_declaration::types::{Counter, Cursor, NextPage};

use crate::deputy::{
    AnswerRules, Body, Call, CallBody, CallRetry, CallRun, Caller, Deputy, Files, HttpRequest, Pages, Parse, Taken,
};

const AFTER_HELP: &str = "\
Examples:
  deputy request github GET /user
  deputy request stripe/acme POST /v1/customers -H 'content-type: application/x-www-form-urlencoded' -d 'email=a@b.c'
  deputy request slack/bot POST /chat.postMessage --json-body '{\"channel\":\"C1\",\"text\":\"hi\"}'
  deputy request http/files GET /backup.tar > backup.tar
  deputy request github GET /user/repos --paginate --max-items 200
  deputy request http/files GET /report.pdf --retry 3 -o report.pdf

With --expect, --retry, --paginate or --timeout-total the answer is read to its end before anything is printed, and \
one that is not a success is an error with the provider's own words. --retry heeds what the app asks for (429, \
Retry-After) and sends a POST again only where it was certainly not carried out. --paginate follows the app's own way \
of listing and prints one JSON list.

Exit code: 0 for an answer of class 2 or 3; 4 or 5 for those classes, and 4 for an error that the app hides behind a \
good status; 1 when no answer came.";

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
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["expect", "retry", "paginate"])]
    timeout: Option<u64>,
    /// The statuses that are a success [default: 200 to 299]
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(100..600))]
    expect: Vec<u16>,
    /// How often to try again when the app is throttled or down
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..100))]
    retry: Option<u32>,
    /// Read page after page, and print one JSON list
    #[arg(long, conflicts_with = "output")]
    paginate: bool,
    /// Where an answer holds the list, as a JSON Pointer [default: as the app declares, else the whole answer]
    #[arg(long, value_name = "POINTER", requires = "paginate")]
    items: Option<String>,
    /// How lists go on, where the app does not say: link-header, url:/next, page:FIELD, offset:FIELD or cursor:/at:FIELD
    #[arg(long, value_name = "HOW", requires = "paginate", value_parser = next_page)]
    next: Option<NextPage>,
    /// How many items to read [default: 1000, on at most 20 pages]
    #[arg(long, value_name = "N", requires = "paginate", value_parser = clap::value_parser!(u32).range(1..))]
    max_items: Option<u32>,
    /// How long all attempts and pages may take together, such as 90s [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = super::step::duration)]
    timeout_total: Option<Duration>,
}

impl Args {
    /// One of the flags is given that a bare request knows nothing of.
    fn is_call(&self) -> bool {
        !self.expect.is_empty() || self.retry.is_some() || self.paginate || self.timeout_total.is_some()
    }
}

/// `cursor:/meta/next:cursor`
fn next_page(text: &str) -> Result<NextPage, String> {
    let field = |name: &str| match name.is_empty() || name.contains(['&', '=', '#', ' ']) {
        true => Err(format!("`{name}` is no query field")),
        false => Ok(name.to_owned()),
    };
    let pointer = |text: &str| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no JSON Pointer: it begins with a /")),
    };
    match text.split_once(':') {
        None if text == "link-header" => Ok(NextPage::LinkHeader),
        Some(("url", at)) => Ok(NextPage::Url(pointer(at)?)),
        Some(("page", name)) => Ok(NextPage::Page(Counter { field: field(name)?, first: 1 })),
        Some(("offset", name)) => Ok(NextPage::Offset(field(name)?)),
        Some(("cursor", rest)) => match rest.rsplit_once(':') {
            Some((at, name)) => Ok(NextPage::Cursor(Cursor { at: pointer(at)?, field: field(name)?, more: None })),
            None => Err("write cursor:/at:FIELD".to_owned()),
        },
        _ => Err("link-header, url:/next, page:FIELD, offset:FIELD or cursor:/at:FIELD".to_owned()),
    }
}

pub async fn run(args: Args, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    if output.is_json() && (args.output.is_some() || args.include) {
        return Err(Error::new("usage", "--json prints status, headers and body as one object: leave out -o and -i"));
    }
    if args.is_call() {
        return call(args, deputy, caller, output).await;
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

/// With retries, pages or expectations: the engine of the HTTP step.
async fn call(args: Args, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    if args.include {
        return Err(Error::new("usage", "-i prints an answer as it comes: leave it out, or use --json"));
    }
    let body = match (args.body, args.json_body) {
        (Some(data), _) => {
            let bytes = body(data, deputy.config().egress.limits.request_bytes)?;
            let text = String::from_utf8(bytes).map_err(|_| {
                Error::new("usage", "the body is not UTF-8, and a request that may be repeated sends text")
                    .with_fix("leave out --expect, --retry and --paginate")
            })?;
            CallBody::Text { content_type: String::new(), text }
        }
        (None, Some(json)) => CallBody::Json(json),
        (None, None) => CallBody::None,
    };
    let headers = args.headers.iter().map(|(name, value)| match value.to_str() {
        Ok(value) => Ok((name.to_string(), value.to_owned())),
        Err(_) => Err(Error::new("usage", format!("the value of header `{name}` is not ASCII"))),
    });
    let (save, files) = match &args.output {
        Some(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| Error::new("usage", format!("{} names no file", path.display())))?;
            let folder = path.parent().map(PathBuf::from).filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or_else(|| PathBuf::from("."));
            (Some(name.to_owned()), Some(Files { folder, taken: Taken::Replace }))
        }
        None => (None, None),
    };
    let pages = args.paginate.then(|| {
        let pages = Pages { items: args.items, next: args.next, ..Pages::default() };
        match args.max_items {
            Some(most_items) => Pages { most_items, most_pages: u32::MAX, ..pages },
            None => pages,
        }
    });
    let saved = save.is_some();
    let retry = CallRetry { attempts: args.retry.unwrap_or(0) + 1, ..CallRetry::default() };
    // For people the body is printed byte for byte.
    let parse = if output.is_json() { Parse::Auto } else { Parse::Base64 };
    let call = Call {
        method: args.method.to_string(),
        path: args.url,
        query: Vec::new(),
        headers: headers.collect::<Result<_, Error>>()?,
        body,
        identity: args.rule_set,
        answer: AnswerRules { parse, expect: args.expect, output: None, save, retry, pages },
    };
    let (log, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let show = !output.is_json();
    let printer = tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if show {
                print_log(&line);
            }
        }
    });
    let run = CallRun { account: args.account, call, timeout: args.timeout_total, files, log: Some(log) };
    let result = deputy.call(caller, run).await;
    let _ = printer.await;
    let ran = result?;
    let status = ran.requests.last().and_then(|request| request.status);
    let value = match ran.result() {
        Ok(returned) => returned.value,
        Err(error) => {
            output.error(&error);
            return Ok(match (error.code.as_ref(), status) {
                ("call_status" | "call_throttled" | "call_failed", Some(500..)) => Done::Answered(5),
                ("call_status" | "call_throttled" | "call_failed", Some(_)) => Done::Answered(4),
                _ => Done::Failed,
            });
        }
    };
    if output.is_json() {
        let value = if args.paginate { serde_json::json!({ "items": value }) } else { value };
        output.emit(&value, String::new)?;
    } else if args.paginate {
        output.line(&format!("{value:#}"))?;
    } else if saved {
        output.note(&format!("{} bytes, sha256 {}", value["bytes"], value["sha256"].as_str().unwrap_or_default()));
    } else {
        use base64::Engine;
        let body = value["body"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(body)
            .map_err(|error| Error::new("internal", format!("the body was not kept whole: {error}")))?;
        let mut sink = tokio::io::stdout();
        sink.write_all(&bytes).await.map_err(|error| stdout_failed(&error))?;
        sink.flush().await.map_err(|error| stdout_failed(&error))?;
    }
    Ok(Done::Ok)
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
