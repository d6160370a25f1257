//! Asking a person, and reading what a program pipes in. Secrets are never echoed and never an argument.

use std::io::{IsTerminal, Read};

use super::output::printable;
use crate::deputy::{Error, Input, Secret};

/// A person sits at the terminal and can be asked.
pub fn interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Everything on standard input, up to `limit` bytes.
pub fn stdin_bytes(limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::new("input_failed", format!("cannot read standard input: {error}")))?;
    if bytes.len() as u64 > limit {
        return Err(Error::new("input_too_large", format!("standard input holds more than {limit} bytes")));
    }
    Ok(bytes)
}

/// A secret from the keyboard, without echo.
pub fn secret(label: &str) -> Result<Secret, Error> {
    let typed = dialoguer::Password::new().with_prompt(label).report(false).interact();
    let typed = typed.map_err(|error| Error::new("input_failed", format!("cannot read the terminal: {error}")))?;
    entered(label, typed.into_bytes())
}

pub fn text(label: &str, default: Option<&str>) -> Result<String, Error> {
    let mut prompt = dialoguer::Input::<String>::new().with_prompt(label);
    if let Some(default) = default {
        prompt = prompt.default(default.to_owned());
    }
    prompt.interact_text().map_err(|error| Error::new("input_failed", format!("cannot read the terminal: {error}")))
}

/// A value that an app asks for.
pub fn input(input: &Input) -> Result<String, Error> {
    if let Some(help) = &input.help {
        eprintln!("{}", printable(help));
    }
    let example = match (&input.example, &input.choices[..]) {
        (Some(example), _) => format!(" (such as {example})"),
        (None, []) => String::new(),
        (None, choices) => format!(" (one of {})", choices.join(", ")),
    };
    text(&printable(&format!("{}{example}", input.label)), input.default.as_deref())
}

pub fn confirm(question: &str) -> Result<bool, Error> {
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    answer.map_err(|error| Error::new("input_failed", format!("cannot read the terminal: {error}")))
}

/// Bytes that a person gave as a secret, checked for what cannot be one.
pub fn entered(label: &str, bytes: Vec<u8>) -> Result<Secret, Error> {
    Secret::entered(bytes).map_err(|error| {
        Error::new("key_invalid", format!("{label}: {error}")).with_fix("copy it again from the provider, as one line")
    })
}
