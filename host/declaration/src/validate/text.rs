//! Grammars of names, and what every text of a declaration must keep to.

use std::str::FromStr;

use serde_json::Value;

use super::{Check, MAX_DECLARATION_BYTES};

/// `[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?`: a slug that begins with a hyphen would be read as a flag.
pub fn is_slug(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `[a-z][a-z0-9_]*`, at most 40: inputs, tokens and props.
pub fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `[a-z][a-z0-9-]*`, at most 40: methods, rule sets and actions.
pub fn is_id(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn bad_name(name: &str) -> String {
    format!("`{name}` is no name: a letter, then at most 39 of a-z, 0-9 and `_`")
}

pub(super) fn bad_id(id: &str) -> String {
    format!("`{id}` is no id: a letter, then at most 39 of a-z, 0-9 and hyphens")
}

/// `token` of RFC 9110 section 5.6.2.
pub fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Headers that decide where a message goes, where it ends, or how the host reads the answer: no app and no caller
/// sets them.
pub fn is_host_owned_header(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "cookie2",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || name.starts_with("proxy-") || name.starts_with(':')
}

/// What a header value may hold: visible ASCII and spaces within (RFC 9110 section 5.5, without obs-text).
pub(super) fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
}

/// RFC 6901 section 3.
pub(super) fn is_pointer(text: &str) -> bool {
    let mut rest = text.split('~');
    (text.is_empty() || text.starts_with('/'))
        && rest.next().is_some()
        && rest.all(|after| after.starts_with(['0', '1']))
}

/// A path or path prefix, in the one form that URL parsers give it.
pub(super) fn path_fault(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("`{path}` does not begin with `/`"));
    }
    let base = url::Url::parse("https://a.example").ok()?;
    match base.join(path) {
        Ok(url) if url.host_str() == Some("a.example") && url.path() == path => None,
        Ok(url) if url.host_str() == Some("a.example") => {
            Some(format!("`{path}` is no plain path: it would be read as `{}`", &url[url::Position::BeforePath..]))
        }
        _ => Some(format!("`{path}` is no plain path")),
    }
}

/// A day of the calendar, `YYYY-MM-DD`.
pub(super) struct Day;

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = |range: std::ops::Range<usize>| {
            let part = text.get(range).ok_or(())?;
            if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse::<u32>().map_err(|_| ()) } else { Err(()) }
        };
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(()),
        };
        let bytes = text.as_bytes();
        let sound = text.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' && (1..=days).contains(&day);
        sound.then_some(Self).ok_or(())
    }
}

/// Size, and characters that would let a text look like another one on a screen.
pub(super) fn texts(check: &mut Check<'_>) {
    match serde_json::to_value(check.app) {
        Ok(value) => {
            let bytes = value.to_string().len();
            if bytes > MAX_DECLARATION_BYTES {
                check.fail("", format!("the declaration is {bytes} bytes, more than {MAX_DECLARATION_BYTES}"));
            }
            walk(check, "", &value);
        }
        Err(error) => check.fail("", format!("the declaration cannot be written down: {error}")),
    }
}

fn walk(check: &mut Check<'_>, path: &str, value: &Value) {
    match value {
        Value::String(text) => {
            let lines = path.ends_with("help")
                || path == "test.body"
                || path.ends_with("].work.script")
                || path == "logo"
                || path.contains("].work.request.body.")
                || path.contains("].body.text.value");
            let bad = text.chars().find(|c| (c.is_control() && !(lines && matches!(c, '\n' | '\t'))) || disguises(*c));
            if let Some(bad) = bad {
                check.fail(path, format!("it holds the character U+{:04X}, which cannot be seen", u32::from(bad)));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(check, &format!("{path}[{index}]"), item);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(check, &path, field);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Zero-width and direction-changing characters.
fn disguises(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
