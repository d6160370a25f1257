//! Template strings: `Bearer {bot}`, `{key|base64}`, `{{` and `}}` for braces.

use std::ops::Range;

use super::reader::Names;
use crate::suggest;
use crate::types::{Encoding, Part, Placeholder};

const ENCODINGS: [(&str, Encoding); 3] =
    [("base64", Encoding::Base64), ("base64url", Encoding::Base64url), ("percent", Encoding::Percent)];

/// A range of the decoded string, what is wrong there, and the way out.
pub(super) type PlaceholderFault = (Range<usize>, String, Option<String>);

/// The parts with their ranges in the decoded string.
pub(super) fn parse(text: &str, names: Names<'_>) -> (Vec<(Part, Range<usize>)>, Vec<PlaceholderFault>) {
    let mut parts: Vec<(Part, Range<usize>)> = Vec::new();
    let mut faults = Vec::new();
    let mut literal = String::new();
    let mut literal_start = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let next = text.as_bytes().get(at + 1).copied();
        match c {
            '{' if next == Some(b'{') => {
                literal.push('{');
                at += 2;
            }
            '}' if next == Some(b'}') => {
                literal.push('}');
                at += 2;
            }
            '}' => {
                faults.push((at..at + 1, "`}` closes nothing".into(), Some("write `}}` for the character".into())));
                at += 1;
            }
            '{' => {
                let Some(end) = text[at..].find('}').map(|end| at + end) else {
                    let help = "write `{{` for the character".to_owned();
                    faults.push((at..text.len(), "`{` is never closed".into(), Some(help)));
                    break;
                };
                if !literal.is_empty() {
                    parts.push((Part::Text(std::mem::take(&mut literal)), literal_start..at));
                }
                match placeholder(&text[at + 1..end], names) {
                    Ok(part) => parts.push((part, at..end + 1)),
                    Err((message, help)) => faults.push((at..end + 1, message, help)),
                }
                at = end + 1;
                literal_start = at;
            }
            c => {
                literal.push(c);
                at += c.len_utf8();
            }
        }
    }
    if !literal.is_empty() {
        parts.push((Part::Text(literal), literal_start..text.len()));
    }
    (parts, faults)
}

fn placeholder(body: &str, names: Names<'_>) -> Result<Part, (String, Option<String>)> {
    let mut pieces = body.split('|');
    let name = pieces.next().unwrap_or_default();
    let mut encodings = Vec::new();
    for piece in pieces {
        match ENCODINGS.iter().find(|(word, _)| *word == piece) {
            Some((_, encoding)) => encodings.push(*encoding),
            None => {
                let words = ENCODINGS.map(|(word, _)| word);
                let help = suggest::nearest(piece, words).map_or_else(
                    || format!("encodings: {}", words.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err((format!("`{piece}` is no encoding"), Some(help)));
            }
        }
    }
    let placeholder = Placeholder { name: name.to_owned(), encodings };
    if names.tokens.iter().any(|token| token == name) {
        return Ok(Part::Token(placeholder));
    }
    if names.inputs.iter().any(|input| input == name) {
        return Ok(Part::Input(placeholder));
    }
    if names.host.contains(&name) {
        return Ok(Part::Host(placeholder));
    }
    let declared = names.tokens.iter().chain(names.inputs).map(String::as_str);
    let known: Vec<&str> = declared.chain(names.host.iter().copied()).collect();
    let help = match suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{{{near}}}`?"),
        None if known.is_empty() => format!("no name is declared here: {}", names.declare),
        None => format!("declared here: {}", known.join(", ")),
    };
    Err((format!("`{{{name}}}` is not declared"), Some(help)))
}

/// Where each byte of a decoded TOML string stands in the file.
pub struct Offsets {
    whole: Range<usize>,
    /// One offset per decoded byte, and one for the end; none when the string could not be followed.
    bytes: Option<Vec<usize>>,
}

impl Offsets {
    pub fn new(raw: &str, decoded: &str, whole: Range<usize>) -> Self {
        let bytes = follow(raw, decoded).map(|mut bytes| {
            bytes.iter_mut().for_each(|offset| *offset += whole.start);
            bytes
        });
        Self { whole, bytes }
    }

    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        match &self.bytes {
            Some(bytes) => match (bytes.get(range.start), bytes.get(range.end)) {
                (Some(start), Some(end)) => *start..*end,
                _ => self.whole.clone(),
            },
            None => self.whole.clone(),
        }
    }
}

/// Decodes a TOML string again, keeping offsets. None when the result is not `decoded`.
fn follow(raw: &str, decoded: &str) -> Option<Vec<usize>> {
    let (quote, escapes) = match raw.as_bytes() {
        [b'"', b'"', b'"', _, ..] if raw.len() >= 6 => (3, true),
        [b'\'', b'\'', b'\'', _, ..] if raw.len() >= 6 => (3, false),
        [b'"', ..] => (1, true),
        [b'\'', ..] => (1, false),
        _ => return None,
    };
    let end = raw.len().checked_sub(quote)?;
    let mut at = quote;
    if quote == 3 {
        at += ["\r\n", "\n"].iter().find(|line| raw[at..].starts_with(**line)).map_or(0, |line| line.len());
    }
    let (mut text, mut offsets) = (String::new(), Vec::new());
    while at < end {
        let c = raw[at..end].chars().next()?;
        let (decoded, length) = if c == '\\' && escapes { escape(&raw[at..end])? } else { (Some(c), c.len_utf8()) };
        if let Some(c) = decoded {
            text.push(c);
            offsets.resize(text.len(), at);
        }
        at += length;
    }
    offsets.push(at);
    (text == decoded).then_some(offsets)
}

/// What an escape stands for (nothing, for a line continuation), and how many bytes it takes.
fn escape(raw: &str) -> Option<(Option<char>, usize)> {
    let kind = raw[1..].chars().next()?;
    let hex = |digits: usize| {
        let code = u32::from_str_radix(raw.get(2..2 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), 2 + digits))
    };
    match kind {
        'b' => Some((Some('\u{8}'), 2)),
        't' => Some((Some('\t'), 2)),
        'n' => Some((Some('\n'), 2)),
        'f' => Some((Some('\u{c}'), 2)),
        'r' => Some((Some('\r'), 2)),
        'e' => Some((Some('\u{1b}'), 2)),
        '"' | '\\' => Some((Some(kind), 2)),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        _ => {
            let skipped = raw[1..].len() - raw[1..].trim_start_matches([' ', '\t', '\r', '\n']).len();
            (skipped > 0).then_some((None, 1 + skipped))
        }
    }
}
