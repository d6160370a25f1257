//! Inputs and pasted credentials that fit a declaration.

use std::collections::BTreeMap;

use deputy_declaration::template;
use deputy_declaration::types::{Alphabet, App, AuthMethod, Input, InputKind, InputSource, Token};

/// A value that the kit cannot make up.
#[derive(Debug, thiserror::Error)]
#[error("no value for `{name}` fits its pattern; give it an `example` that does")]
pub struct Unmakeable {
    pub name: String,
}

/// One value for each input that a person gives.
pub fn inputs(app: &App) -> Result<BTreeMap<String, String>, Unmakeable> {
    let asked = app.inputs.iter().filter(|input| matches!(input.source, InputSource::Account));
    asked.map(|input| Ok((input.name.clone(), input_value(input)?))).collect()
}

fn input_value(input: &Input) -> Result<String, Unmakeable> {
    let own = match input.kind {
        InputKind::BaseUrl => "https://tenant.conformance.example",
        InputKind::HostLabel | InputKind::Text => "acme",
    };
    let numbers = ["12345678", "1", "acme@example.com", "0123456789abcdef0123456789abcdef"];
    let known = input.choices.first().into_iter().chain(&input.default).chain(&input.example).map(String::as_str);
    let mut candidates = known.chain([own]).chain(numbers);
    let fits = |value: &&str| template::check_input(input, value).is_ok();
    candidates.find(fits).map(str::to_owned).ok_or_else(|| Unmakeable { name: input.name.clone() })
}

/// Credentials as a person would paste them. `seed` makes them differ.
pub fn pasted(method: &AuthMethod, seed: u64) -> Result<BTreeMap<String, String>, Unmakeable> {
    let made = method.tokens.iter().enumerate();
    made.map(|(at, token)| Ok((token.name.clone(), pasted_token(token, seed * 64 + at as u64)?))).collect()
}

fn pasted_token(token: &Token, seed: u64) -> Result<String, Unmakeable> {
    let Some(pattern) = &token.pattern else {
        return Ok(shaped(&token.marker.prefix, 40, Alphabet::Alphanumeric, seed));
    };
    let missing = || Unmakeable { name: token.name.clone() };
    let pattern = regex_lite::Regex::new(&format!("^(?:{pattern})$")).map_err(|_| missing())?;
    let mut prefixes = vec![token.marker.prefix.clone(), String::new()];
    if let Some(example) = &token.example {
        let head = example.trim_end_matches(|c: char| c == 'x' || c == '.');
        prefixes.insert(0, head.to_owned());
    }
    let lengths = std::iter::once(token.marker.length as usize).chain(8..=128);
    for length in lengths {
        for prefix in &prefixes {
            for alphabet in [Alphabet::Hex, Alphabet::Alphanumeric] {
                let value = shaped(prefix, length, alphabet, seed);
                if pattern.is_match(&value) {
                    return Ok(value);
                }
            }
        }
    }
    token.example.clone().filter(|example| pattern.is_match(example)).ok_or_else(missing)
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
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(letters[(state >> 33) as usize % letters.len()]));
    }
    text
}
