//! A step that does one bad thing, as its input says: `{"do": "loop"}`. The host names the end of each.

use std::cell::RefCell;
use std::hint::black_box;

use deputy_sdk::bindings::deputy::step as wit;
use deputy_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Deed {
    /// Nothing bad: the value comes back.
    Echo { value: Value },
    /// Never end.
    Loop,
    /// Take memory until there is none.
    Memory,
    /// Hold ever more handles.
    Handles,
    /// Call itself without end: the engine's stack goes first.
    Recursion,
    /// The same with large frames: the stack in the guest's own memory goes first.
    LargeRecursion,
    /// Hand the host a huge string.
    Strings,
    /// A wasm trap.
    Trap,
    /// A Rust panic with a sentence.
    Panic,
    /// An ordinary failure.
    Fail,
    /// Wait this long, without using CPU.
    Sleep { ms: u64 },
    /// Log so many lines of so many bytes.
    Logs { lines: u32, bytes: usize },
    /// Output of so many bytes.
    Output { bytes: usize },
    /// More random bytes than one call gives.
    Random { bytes: u32 },
    /// Keep a text in memory until the run ends; say nothing about it.
    Plant { text: String },
    /// Keep a text in memory, then trap.
    PlantAndTrap { text: String },
    /// The account of a prop that may not be bound.
    Account { prop: String },
    /// One GET through prop `demo`, and what the host said.
    Get { url: String, timeout_ms: Option<u64> },
    /// Start so many requests and read none.
    Flood { url: String, count: u32 },
    /// Start so many requests with bodies of so many bytes.
    Upload { url: String, count: u32, bytes: usize },
    /// Start one request and end without waiting.
    Abandon { url: String },
    /// Read a body in pieces and say how long it was.
    Drain { url: String },
    /// The markers of a prop's account, by name.
    Markers { prop: String },
    /// One request with anything in it. `{prop.name}` in url, headers and body becomes that marker, and
    /// `{prop.name|basic}` the Basic pair of it and nothing. Without `prop` it names no account.
    Send(Sending),
    /// Tell the secret that was given: in the `log`, the `output`, a `failure` or a `path`.
    Tell { secret: String, how: String },
}

#[derive(Deserialize)]
struct Sending {
    prop: Option<String>,
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    identity: Option<String>,
}

thread_local! {
    static KEPT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Hostile;

impl Step for Hostile {
    type Input = Deed;
    type Output = Value;

    fn props() -> Vec<Prop> {
        vec![
            Prop::text("do").help("Which bad thing"),
            Prop::app("demo", "demo").optional(),
            Prop::app("other", "demo").optional(),
            Prop::app("narrow", "demo").methods(&["GET", "POST"]).paths(&["/echo"]).requests(4).bytes(10).optional(),
            Prop::json("value").optional(),
            Prop::text("text").optional(),
            Prop::text("prop").optional(),
            Prop::text("url").optional(),
            Prop::integer("ms").optional(),
            Prop::integer("timeout_ms").optional(),
            Prop::integer("count").optional(),
            Prop::integer("lines").optional(),
            Prop::integer("bytes").optional(),
            Prop::text("method").optional(),
            Prop::json("headers").default(json!([])),
            Prop::text("body").default(""),
            Prop::text("identity").optional(),
            Prop::text("secret").secret().optional(),
            Prop::text("how")
                .option("Log", "log")
                .option("Output", "output")
                .option("Failure", "failure")
                .option("Path", "path")
                .optional(),
        ]
    }

    fn run(deed: Deed) -> Result<Value, Error> {
        match deed {
            Deed::Echo { value } => return Ok(value),
            Deed::Loop => loop {
                black_box(());
            },
            Deed::Memory => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            Deed::Handles => {
                let mut kept = Vec::new();
                loop {
                    kept.push(wit::clock::after_ms(60_000));
                }
            }
            Deed::Recursion => return Ok(json!(deeper(0))),
            Deed::LargeRecursion => return Ok(json!(larger(0))),
            Deed::Strings => {
                let text = "x".repeat(20 << 20);
                wit::log::write(wit::log::Level::Info, &text);
            }
            Deed::Trap =>
            {
                #[cfg(target_arch = "wasm32")]
                core::arch::wasm32::unreachable()
            }
            Deed::Panic => panic!("the author's own words"),
            Deed::Fail => return Err(Error::new("this step never works")),
            Deed::Sleep { ms } => clock::sleep(std::time::Duration::from_millis(ms)),
            Deed::Logs { lines, bytes } => {
                let line = "l".repeat(bytes);
                for _ in 0..lines {
                    log::info!("{line}");
                }
            }
            Deed::Output { bytes } => return Ok(Value::String("o".repeat(bytes))),
            Deed::Random { bytes } => return Ok(json!(deputy_sdk::random::bytes(bytes).len())),
            Deed::Plant { text } => KEPT.with_borrow_mut(|kept| kept.push(text)),
            Deed::PlantAndTrap { text } => {
                KEPT.with_borrow_mut(|kept| kept.push(text));
                #[cfg(target_arch = "wasm32")]
                core::arch::wasm32::unreachable()
            }
            Deed::Account { prop } => return said(Account::get(&prop).map(|account| json!(account.facts().name))),
            Deed::Get { url, timeout_ms } => return said(get(&url, timeout_ms)),
            Deed::Flood { url, count } => return said(flood(&url, count, 0)),
            Deed::Upload { url, count, bytes } => return said(flood(&url, count, bytes)),
            Deed::Abandon { url } => {
                // The answer's handle is dropped at once: the host ends the request.
                drop(Account::get("demo")?.request(Method::GET, url).start()?);
            }
            Deed::Drain { url } => return said(drain(&url)),
            Deed::Markers { prop } => return said(markers(&prop)),
            Deed::Send(sending) => return said(send(sending)),
            Deed::Tell { secret, how } => match how.as_str() {
                "log" => log::info!("it is {secret}, {}", "x".repeat(9_000)),
                "failure" => return Err(Error::new(format!("it is {secret}"))),
                "path" => return said(get(&format!("/echo/{secret}"), None)),
                _ => return Ok(json!({ "told": [secret] })),
            },
        }
        Ok(Value::Null)
    }
}

/// What the host answered, as data, so that a test can read code and fix.
fn said(result: Result<Value, Error>) -> Result<Value, Error> {
    Ok(match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "code": format!("{:?}", error.code), "message": error.message, "fix": error.fix }),
    })
}

fn get(url: &str, timeout_ms: Option<u64>) -> Result<Value, Error> {
    let account = Account::get("demo")?;
    let mut request = account.request(Method::GET, url);
    if let Some(ms) = timeout_ms {
        request = request.timeout(std::time::Duration::from_millis(ms));
    }
    let answer = request.send()?;
    Ok(json!({ "status": answer.status(), "body": answer.text()? }))
}

fn flood(url: &str, count: u32, bytes: usize) -> Result<Value, Error> {
    let account = Account::get("demo")?;
    let started = (0..count)
        .map(|_| account.request(Method::POST, url).body(vec![0; bytes]).start())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!(started.len()))
}

fn drain(url: &str) -> Result<Value, Error> {
    let mut total = 0;
    Account::get("demo")?.request(Method::GET, url).send()?.read(|chunk| {
        total += chunk.len();
        Ok(())
    })?;
    Ok(json!(total))
}

fn markers(prop: &str) -> Result<Value, Error> {
    let markers = wit::accounts::get(prop)?.markers();
    Ok(markers.into_iter().map(|field| (field.name, Value::String(field.value))).collect())
}

fn send(sending: Sending) -> Result<Value, Error> {
    let account = sending.prop.as_deref().map(wit::accounts::get).transpose()?;
    let headers = sending
        .headers
        .iter()
        .map(|(name, value)| Ok(wit::http::Header { name: name.clone(), value: filled(value)?.into_bytes() }))
        .collect::<Result<Vec<_>, Error>>()?;
    let request = wit::http::Request {
        method: sending.method.unwrap_or_else(|| "GET".to_owned()),
        url: filled(&sending.url)?,
        headers,
        body: filled(&sending.body)?.into_bytes(),
        timeout_ms: None,
        as_identity: sending.identity,
    };
    let pending = wit::http::start(account.as_ref(), &request)?;
    let answer = loop {
        if let Some(answer) = pending.take() {
            break answer?;
        }
        pending.subscribe().block();
    };
    let stream = answer.body()?;
    let mut body = Vec::new();
    while let Ok(bytes) = stream.blocking_read(64 << 10) {
        body.extend_from_slice(&bytes);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(
        json!({ "status": answer.status(), "body": deputy_sdk::serde_json::from_str(&body).unwrap_or(Value::String(body)) }),
    )
}

/// With markers where their names stand in braces.
fn filled(text: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        let Some((name, after)) = from.split_once('}') else { break };
        out.push_str(before);
        let (name, basic) = name.split_once('|').map_or((name, false), |(name, _)| (name, true));
        let (prop, name) = name.split_once('.').ok_or_else(|| Error::new("the form is {prop.name}"))?;
        let marker = wit::accounts::get(prop)?.markers().into_iter().find(|field| field.name == name);
        let marker = marker.ok_or_else(|| Error::new(format!("there is no marker `{name}`")))?.value;
        out.push_str(&if basic { base64(format!("{marker}:").as_bytes()) } else { marker });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(LETTERS[(word >> (18 - 6 * place)) as usize & 63]));
        }
        out.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    out
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return 0;
    }
    deeper(depth + 1).wrapping_mul(3)
}

#[inline(never)]
fn larger(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let here = black_box([depth; 64]);
    larger(black_box(depth + 1)).wrapping_add(here[3])
}

deputy_sdk::step!(Hostile);
