//! Templates made into bytes.
//!
//! A template is a list of typed parts, so nothing is ever parsed out of a rendered text, and a value cannot bring a
//! placeholder of its own. [`render`] writes into a buffer that the caller owns and wipes: it reserves what it needs
//! before the first value goes in, and keeps every intermediate form inside that buffer, so no copy of a secret is left
//! in freed memory. What goes into a URL is checked again after rendering (see [`base`], [`origins`],
//! [`token_endpoints`]): a declaration was validated at install, the values of an account come later.

mod address;
mod input;

use std::collections::BTreeMap;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::types::{App, Encoding, Part};

pub(crate) use address::{
    Authority, Fault, check_authority, check_host_bound, check_label, declared_origin, fixed_path, shape,
};
pub use address::{base, origins, token_endpoints, url, with_client};
pub use input::{MAX_INPUT_BYTES, check_input, cut};
pub(crate) use input::{is_host_label, whole};

/// RFC 3986 section 2.3: what `percent` leaves as it is.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a placeholder asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'n> {
    Input(&'n str),
    Token(&'n str),
    /// Known to the host alone, such as `client_id`.
    Host(&'n str),
}

/// Why a template has no value. No variant holds a token's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the account has no {kind} `{name}`")]
    Missing { kind: &'static str, name: String },
    /// A secret was asked for where everybody can read it.
    #[error("the token `{name}` may not stand in {place}")]
    TokenInPublic { name: String, place: &'static str },
    #[error("the value of `{name}` does not fit: {reason}")]
    Input { name: String, reason: String },
    #[error("{place} is no usable URL for these inputs: {reason}")]
    Url { place: String, reason: String },
}

impl RenderError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "template_value_missing",
            Self::TokenInPublic { .. } => "template_token_in_public",
            Self::Input { .. } => "input_invalid",
            Self::Url { .. } => "template_url_invalid",
        }
    }

    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Missing { name, .. } => Some(format!("reconnect the account and give `{name}`")),
            Self::Input { name, .. } => Some(format!("give another value for `{name}`")),
            Self::TokenInPublic { .. } | Self::Url { .. } => None,
        }
    }
}

/// Appends the rendered template to `out`. On error `out` is as long as before, but its spare capacity may hold parts
/// of values: wipe the whole capacity (as `zeroize` does for a `Vec`).
pub fn render<'v>(
    template: &[Part],
    out: &mut Vec<u8>,
    lookup: impl Fn(Name<'_>) -> Option<&'v [u8]>,
) -> Result<(), RenderError> {
    // Two passes: all the room first, so that no growth leaves a copy behind.
    let mut room = 0;
    for part in template {
        room += match part {
            Part::Text(text) => text.len(),
            Part::Input(placeholder) | Part::Token(placeholder) | Part::Host(placeholder) => {
                let mut step = find(part, &lookup)?.len();
                let mut all = step;
                for encoding in &placeholder.encodings {
                    step = bound(*encoding, step);
                    all += step;
                }
                all
            }
        };
    }
    out.reserve(room);
    for part in template {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Input(placeholder) | Part::Token(placeholder) | Part::Host(placeholder) => {
                let start = out.len();
                out.extend_from_slice(find(part, &lookup)?);
                for encoding in &placeholder.encodings {
                    encode_tail(out, start, *encoding);
                }
            }
        }
    }
    Ok(())
}

/// Renders a template that everybody may read: no tokens.
pub fn render_public(template: &[Part], inputs: &BTreeMap<String, String>) -> Result<String, RenderError> {
    if let Some(Part::Token(placeholder)) = template.iter().find(|part| matches!(part, Part::Token(_))) {
        return Err(RenderError::TokenInPublic { name: placeholder.name.clone(), place: "a public text" });
    }
    let mut out = Vec::new();
    render(template, &mut out, |name| match name {
        Name::Input(name) => inputs.get(name).map(|value| value.as_bytes()),
        Name::Token(_) | Name::Host(_) => None,
    })?;
    // Texts and inputs are UTF-8, and every encoding gives ASCII.
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The account's inputs, checked again, with the declared defaults where the account has none.
pub fn checked_inputs(app: &App, inputs: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, RenderError> {
    let mut checked = BTreeMap::new();
    for input in &app.inputs {
        let Some(value) = inputs.get(&input.name).or(input.default.as_ref()) else { continue };
        let value =
            check_input(input, value).map_err(|reason| RenderError::Input { name: input.name.clone(), reason })?;
        checked.insert(input.name.clone(), value);
    }
    Ok(checked)
}

/// The names a template mentions.
pub fn names(template: &[Part]) -> impl Iterator<Item = Name<'_>> {
    template.iter().filter_map(|part| match part {
        Part::Text(_) => None,
        Part::Input(placeholder) => Some(Name::Input(&placeholder.name)),
        Part::Token(placeholder) => Some(Name::Token(&placeholder.name)),
        Part::Host(placeholder) => Some(Name::Host(&placeholder.name)),
    })
}

fn find<'v>(part: &Part, lookup: &impl Fn(Name<'_>) -> Option<&'v [u8]>) -> Result<&'v [u8], RenderError> {
    let (kind, name) = match part {
        Part::Input(placeholder) => ("input", Name::Input(&placeholder.name)),
        Part::Token(placeholder) => ("token", Name::Token(&placeholder.name)),
        Part::Host(placeholder) => ("value of the host", Name::Host(&placeholder.name)),
        Part::Text(_) => return Ok(&[]),
    };
    lookup(name).ok_or_else(|| {
        let (Name::Input(name) | Name::Token(name) | Name::Host(name)) = name;
        RenderError::Missing { kind, name: name.to_owned() }
    })
}

/// At most this many bytes come out of `length` bytes.
fn bound(encoding: Encoding, length: usize) -> usize {
    match encoding {
        Encoding::Base64 => BASE64.encode_len(length),
        Encoding::Base64url => BASE64URL_NOPAD.encode_len(length),
        Encoding::Percent => length * 3,
    }
}

/// Replaces `out[start..]` by its encoded form, without leaving `out`: the encoded bytes are written behind the raw
/// ones, then moved to the front.
fn encode_tail(out: &mut Vec<u8>, start: usize, encoding: Encoding) {
    let raw_end = out.len();
    out.resize(raw_end + bound(encoding, raw_end - start), 0);
    let (head, encoded) = out.split_at_mut(raw_end);
    let raw = &head[start..];
    let length = match encoding {
        Encoding::Base64 => {
            BASE64.encode_mut(raw, encoded);
            encoded.len()
        }
        Encoding::Base64url => {
            BASE64URL_NOPAD.encode_mut(raw, encoded);
            encoded.len()
        }
        Encoding::Percent => {
            let mut length = 0;
            for piece in percent_encoding::percent_encode(raw, NOT_UNRESERVED) {
                encoded[length..length + piece.len()].copy_from_slice(piece.as_bytes());
                length += piece.len();
            }
            length
        }
    };
    out.copy_within(raw_end..raw_end + length, start);
    out.truncate(start + length);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Placeholder;

    fn token(name: &str, encodings: &[Encoding]) -> Part {
        Part::Token(Placeholder { name: name.into(), encodings: encodings.to_vec() })
    }

    fn rendered(template: &[Part], value: &[u8]) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::new();
        render(template, &mut out, |name| (name == Name::Token("key")).then_some(value))?;
        Ok(out)
    }

    #[test]
    fn encodings_apply_in_order() {
        let template =
            [Part::Text("a ".into()), token("key", &[Encoding::Base64, Encoding::Percent]), Part::Text(" z".into())];
        assert_eq!(rendered(&template, b"key:").unwrap(), b"a a2V5Og%3D%3D z");
        assert_eq!(rendered(&[token("key", &[Encoding::Base64url])], &[0xfb, 0xff]).unwrap(), b"-_8");
        assert_eq!(rendered(&[token("key", &[Encoding::Percent])], "ü/~.-_".as_bytes()).unwrap(), b"%C3%BC%2F~.-_");
    }

    #[test]
    fn a_missing_value_is_named_and_nothing_is_written() {
        let mut out = b"before".to_vec();
        let error = render(&[Part::Text("x".into()), token("bot", &[])], &mut out, |_| None).unwrap_err();
        assert_eq!(error.to_string(), "the account has no token `bot`");
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_public_text_takes_no_token() {
        let error = render_public(&[token("key", &[])], &BTreeMap::new()).unwrap_err();
        assert_eq!(error.code(), "template_token_in_public");
    }

    proptest! {
        #[test]
        fn the_buffer_never_moves_once_a_value_is_in(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            encodings in proptest::collection::vec(
                prop_oneof![Just(Encoding::Base64), Just(Encoding::Base64url), Just(Encoding::Percent)], 0..4),
        ) {
            let template = [token("key", &encodings), Part::Text("|".into()), token("key", &encodings)];
            let mut room = Vec::new();
            render(&template, &mut room, |_| Some(&value)).unwrap();
            // Rendered again into a buffer of the same first reservation, the address stays.
            let mut again = Vec::with_capacity(room.capacity());
            let address = again.as_ptr();
            render(&template, &mut again, |_| Some(&value)).unwrap();
            prop_assert_eq!(address, again.as_ptr());
            prop_assert_eq!(&room, &again);
            // Decoding in reverse order gives the value back.
            let mut decoded = room[..room.iter().rposition(|b| *b == b'|').unwrap()].to_vec();
            for encoding in encodings.iter().rev() {
                decoded = match encoding {
                    Encoding::Base64 => BASE64.decode(&decoded).unwrap(),
                    Encoding::Base64url => BASE64URL_NOPAD.decode(&decoded).unwrap(),
                    Encoding::Percent => percent_encoding::percent_decode(&decoded).collect(),
                };
            }
            if !encodings.is_empty() || !value.contains(&b'|') {
                prop_assert_eq!(decoded, value);
            }
        }
    }
}
