//! Inputs and pasted credentials that fit a declaration.

use std::collections::BTreeMap;

use deputy_declaration::template::{check_input, cut};
use deputy_declaration::types::{
    Alphabet, App, AuthMethod, Discovery, Input, InputKind, InputSource, Token, TokenPart,
};
use regex_syntax::hir::{Class, Hir, HirKind};

/// A value that the kit cannot make up.
#[derive(Debug, thiserror::Error)]
#[error("no value for `{name}` can be made from its pattern; give it an `example` that fits")]
pub struct Unmakeable {
    pub name: String,
}

/// Every input of the app, whoever says it. What a token says stands in `tokens`.
///
/// # Errors
/// A pattern that nothing fits.
pub fn inputs(app: &App, tokens: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Unmakeable> {
    let value = |input: &Input| match &input.source {
        InputSource::Discovered(Discovery::Token(part)) => match tokens.get(&part.token) {
            Some(token) => cut(&part.pattern, token).ok().flatten(),
            None => made(input),
        },
        _ => made(input),
    };
    let named = |input: &Input| {
        let missing = || Unmakeable { name: input.name.clone() };
        Ok((input.name.clone(), value(input).ok_or_else(missing)?))
    };
    app.inputs.iter().map(named).collect()
}

fn made(input: &Input) -> Option<String> {
    let mut candidates: Vec<String> =
        input.choices.first().into_iter().chain(&input.default).chain(&input.example).cloned().collect();
    candidates.extend(input.hosts.iter().map(|host| match host.starts_with('.') {
        true => format!("https://acme{host}"),
        false => format!("https://{host}"),
    }));
    candidates.push(match input.kind {
        InputKind::BaseUrl => "https://tenant.conformance.example".to_owned(),
        InputKind::HostLabel | InputKind::Text => "acme".to_owned(),
    });
    candidates.extend(input.pattern.as_deref().and_then(|pattern| sample(pattern, 1)));
    candidates.iter().find_map(|value| check_input(input, value).ok())
}

/// Credentials as a person would paste them, or as the provider gives them. `seed` makes them differ.
///
/// # Errors
/// A pattern that nothing fits.
pub fn pasted(app: &App, method: &AuthMethod, seed: u64) -> Result<BTreeMap<String, String>, Unmakeable> {
    let wanted = method.tokens.iter().enumerate().filter(|(_, token)| token.reply.is_none());
    wanted.map(|(at, token)| Ok((token.name.clone(), token_value(app, token, seed * 64 + at as u64)?))).collect()
}

/// What an input is cut out of.
fn part<'a>(app: &'a App, token: &Token) -> Option<&'a TokenPart> {
    app.inputs.iter().find_map(|input| match &input.source {
        InputSource::Discovered(Discovery::Token(part)) if part.token == token.name => Some(part),
        _ => None,
    })
}

pub(super) fn token_value(app: &App, token: &Token, seed: u64) -> Result<String, Unmakeable> {
    let missing = || Unmakeable { name: token.name.clone() };
    let Some(pattern) = &token.pattern else {
        let mut value = shaped(&token.marker.prefix, 40, Alphabet::Alphanumeric, seed);
        if let Some(part) = part(app, token) {
            value += &sample(&part.pattern, seed).ok_or_else(missing)?;
        }
        return Ok(value);
    };
    let fits = regex_lite::Regex::new(&format!("^(?:{pattern})$")).map_err(|_| missing())?;
    let candidates = [sample(pattern, seed), token.example.clone()];
    candidates.into_iter().flatten().find(|value| fits.is_match(value)).ok_or_else(missing)
}

/// A text that the pattern matches: long where it may be, of letters and digits where it may be.
fn sample(pattern: &str, seed: u64) -> Option<String> {
    let hir = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).ok()?;
    let (mut out, mut state) = (Vec::new(), seed.wrapping_add(1));
    walk(&hir, &mut state, &mut out)?;
    String::from_utf8(out).ok()
}

/// Where no bound says how often, a class is repeated so many times.
const LONG: u32 = 40;

fn walk(hir: &Hir, state: &mut u64, out: &mut Vec<u8>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => {
            let allowed = |byte: &u8| match class {
                Class::Bytes(class) => class.iter().any(|range| (range.start()..=range.end()).contains(byte)),
                Class::Unicode(class) => {
                    class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(*byte)))
                }
            };
            let mut choices: Vec<u8> = (b'0'..=b'z').filter(u8::is_ascii_alphanumeric).filter(allowed).collect();
            if choices.is_empty() {
                choices = (b'!'..=b'~').chain([b' ']).filter(allowed).collect();
            }
            let at = usize::try_from(next(state)).ok()?;
            out.push(*choices.get(at.checked_rem(choices.len())?)?);
        }
        HirKind::Repetition(repetition) => {
            let long = if matches!(repetition.sub.kind(), HirKind::Class(_)) { LONG } else { 1 };
            let times = match repetition.max {
                Some(1) => repetition.min,
                Some(max) => repetition.min.max(long.min(max)),
                None => repetition.min.max(long),
            };
            for _ in 0..times {
                walk(&repetition.sub, state, out)?;
            }
        }
        HirKind::Capture(capture) => walk(&capture.sub, state, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| walk(part, state, out))?,
        HirKind::Alternation(choices) => walk(choices.first()?, state, out)?,
    }
    Some(())
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A text of `length` that begins with `prefix`; the same for the same seed.
pub(super) fn shaped(prefix: &str, length: usize, alphabet: Alphabet, seed: u64) -> String {
    let letters: &[u8] = match alphabet {
        Alphabet::Hex => b"0123456789abcdef",
        Alphabet::Alphanumeric | Alphabet::Base64url => {
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        }
    };
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut text = prefix.to_owned();
    while text.len() < length.max(prefix.len() + 8) {
        text.push(char::from(letters[usize::try_from(next(&mut state)).unwrap_or(0) % letters.len()]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_filled() {
        for pattern in [
            "[0-9a-f]{32}-[a-z]{2}[0-9]{1,3}",
            "(?:sk|rk)_(live|test)_[A-Za-z0-9]+",
            r"\d{4,}",
            "x?y+z*",
            r"\S+",
            ".+",
            "[^/ ]+",
        ] {
            let (one, two) = (sample(pattern, 1).unwrap(), sample(pattern, 2).unwrap());
            let fits = regex_lite::Regex::new(&format!("^(?:{pattern})$")).unwrap();
            assert!(fits.is_match(&one) && fits.is_match(&two), "{pattern}: {one} {two}");
        }
        assert_ne!(sample("[a-z]{20}", 1), sample("[a-z]{20}", 2));
    }
}
