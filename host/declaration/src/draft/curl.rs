//! A curl command that works: one request says base, place of the secret and a path.

use url::Url;

use super::{Draft, DraftError, DraftTest, schemes, slug_of};

/// Flags of curl that take a value and say nothing about an app.
const SKIPPED: [&str; 14] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "-x",
    "--proxy",
    "--retry",
    "-c",
    "--cookie-jar",
    "-b",
    "--cookie",
    "-e",
    "--referer",
];
const DATA: [&str; 7] = ["-d", "--data", "--data-raw", "--data-binary", "--data-urlencode", "-F", "--form"];

/// The secret in the command is left out: only its place is kept.
pub fn curl(command: &str, date: &str) -> Result<Draft, DraftError> {
    let words = shell_words::split(&command.replace("\\\n", " ").replace("\\\r\n", " "))
        .map_err(|_| DraftError("a quotation mark is open".to_owned()))?;
    let mut words = words.into_iter().peekable();
    if words.peek().is_some_and(|word| word == "curl" || word.ends_with("/curl")) {
        words.next();
    }
    let (mut url, mut headers, mut user, mut method, mut body) = (None, Vec::new(), false, None, false);
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
            _ if word.starts_with('-')
                && !word.starts_with("--")
                && word.len() > 2
                && "HuXdFomxcbe".contains(&word[1..2]) =>
            {
                (word[..2].to_owned(), Some(word[2..].to_owned()))
            }
            _ => (word.clone(), None),
        };
        let mut value = || inline.clone().or_else(|| words.next()).unwrap_or_default();
        match flag.as_str() {
            "-H" | "--header" => headers.push(value()),
            "-u" | "--user" => {
                value();
                user = true;
            }
            "-X" | "--request" => method = Some(value()),
            "--url" => url = Some(value()),
            flag if DATA.contains(&flag) || flag == "--json" => {
                value();
                body = true;
            }
            flag if SKIPPED.contains(&flag) => {
                value();
            }
            flag if flag.starts_with('-') => {}
            _ if url.is_none() => url = Some(word),
            _ => {}
        }
    }
    let text = url.ok_or_else(|| DraftError("it names no URL".to_owned()))?;
    let text = if text.contains("://") { text } else { format!("https://{text}") };
    let url = Url::parse(&text).map_err(|error| DraftError(format!("its URL is none: {error}")))?;
    let host = url
        .host_str()
        .filter(|_| url.scheme() == "https")
        .ok_or_else(|| DraftError("its URL is not https: an app's credentials go nowhere else".to_owned()))?;
    if !host.contains('.') {
        return Err(DraftError(format!("`{host}` is no public host: name the URL of the API")));
    }
    let mut draft = named_by_host(host, date);
    let mut slots = Vec::new();
    for header in &headers {
        let Some((name, value)) = header.split_once(':') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if let Some(prefix) = secret_prefix(name, value) {
            slots.extend(schemes::key("header", name, prefix));
        }
    }
    let mut query = Vec::new();
    for (name, value) in url.query_pairs() {
        match is_secret_name(&name) {
            true => slots.extend(schemes::key("query", &name, "")),
            false => query.push(format!("{name}={value}")),
        }
    }
    if user || headers.iter().any(|header| is_basic(header)) {
        draft.methods.push(schemes::basic());
    } else if !slots.is_empty() {
        draft.methods.push(schemes::keys(slots));
    } else {
        draft.notes.push("the command carries no secret that is known: add a method".to_owned());
    }
    let segments: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    let version = |segment: &str| {
        segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) || segment == "api"
    };
    let in_base = segments.iter().take(3).take_while(|segment| version(segment)).count();
    let origin = url.origin().ascii_serialization();
    let base: String = segments[..in_base].iter().map(|segment| format!("/{segment}")).collect();
    let path: String = segments[in_base..].iter().map(|segment| format!("/{segment}")).collect();
    draft.base = Some(format!("{origin}{base}"));
    let reads = !body && method.is_none_or(|method| method.eq_ignore_ascii_case("get"));
    if segments.iter().any(|segment| may_be_secret(segment)) {
        draft.base = draft.base.filter(|_| !segments[..in_base].iter().any(|segment| may_be_secret(segment)));
        draft.notes.push("the path may hold a secret: if so, write `path = \"/{token}\"` in a method".to_owned());
    } else if reads && path.len() > 1 && query.is_empty() {
        draft.test = Some(DraftTest { path, ..DraftTest::default() });
    } else {
        draft.notes.push("no request is known that any account may make: add `test` when there is one".to_owned());
    }
    Ok(draft)
}

/// A long word of letters and digits, or an id with its key (`bot123:ABC`): no part of a path that all accounts share.
fn may_be_secret(segment: &str) -> bool {
    let has = |what: fn(&u8) -> bool| segment.bytes().any(|byte| what(&byte));
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    segment.contains(':') || segment.contains("%3A") || (segment.len() >= 16 && mixed)
}

pub(super) fn named_by_host(host: &str, date: &str) -> Draft {
    let generic = ["api", "www", "rest", "app", "public", "gateway", "com", "net", "org", "io", "co", "dev", "ai"];
    let word = host.split('.').rev().find(|label| label.len() > 2 && !generic.contains(label)).unwrap_or(host);
    let mut chars = word.chars();
    let name: String = chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default();
    Draft {
        slug: slug_of(word),
        summary: format!("The API of {name}."),
        name,
        source: format!("https://{host}"),
        date: date.to_owned(),
        ..Draft::default()
    }
}

fn is_basic(header: &str) -> bool {
    header.split_once(':').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("authorization") && value.trim().to_ascii_lowercase().starts_with("basic ")
    })
}

/// What stands before the secret of a header that holds one.
pub(super) fn secret_prefix<'v>(name: &str, value: &'v str) -> Option<&'v str> {
    if name.eq_ignore_ascii_case("authorization") {
        let secret = value.rsplit([' ', '=']).next()?;
        let prefix = &value[..value.len() - secret.trim_matches('"').len() - if secret.ends_with('"') { 1 } else { 0 }];
        return (!prefix.to_ascii_lowercase().starts_with("basic")).then_some(prefix);
    }
    is_secret_name(name).then_some("")
}

pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    ["apikey", "appkey", "accesskey", "token", "secret", "authkey", "appid", "accesstoken", "apitoken"]
        .iter()
        .any(|word| name.ends_with(word))
        || name == "key"
        || name == "auth"
}
