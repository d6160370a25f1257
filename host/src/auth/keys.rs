//! The keys that a person pastes at connect, held against the declaration.

use std::collections::BTreeMap;

use deputy_declaration::template::check_input;
use deputy_declaration::types::{AuthMethod, Input, InputKind, InputSource, Token};

use super::error::AuthError;
use crate::vault::Secret;

/// What a person pastes; the other tokens come from the provider.
pub fn pasted(method: &AuthMethod) -> impl Iterator<Item = &Token> {
    method.tokens.iter().filter(|token| token.reply.is_none())
}

/// Every required key that a person pastes is there, none is unknown, and each has its declared form. Says which one is wrong, never its
/// value.
pub fn check_keys(method: &AuthMethod, given: &BTreeMap<String, Secret>) -> Result<(), AuthError> {
    for name in given.keys() {
        if !pasted(method).any(|token| token.name == *name) {
            let known = pasted(method).map(|token| token.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(AuthError::KeyUnknown { method: method.id.clone(), name: name.clone(), known });
        }
    }
    for token in pasted(method) {
        let Some(secret) = given.get(&token.name) else {
            if token.optional {
                continue;
            }
            return Err(AuthError::KeyMissing { name: token.name.clone(), label: token.label.clone() });
        };
        let wrong = |reason: String| AuthError::Key {
            name: token.name.clone(),
            reason,
            help: token.help.clone().or_else(|| method.help.clone()),
        };
        // Checked again here: a caller inside the process may have built the secret from raw bytes.
        let entered = Secret::entered(secret.expose().to_vec()).map_err(|error| wrong(error.to_string()))?;
        if entered.len() != secret.len() {
            return Err(wrong("it has white space around it".to_owned()));
        }
        if let Some(pattern) = &token.pattern {
            let text = std::str::from_utf8(secret.expose()).map_err(|_| wrong("it is not text".to_owned()))?;
            // The pattern alone, as for an input: the sentence it gives holds the example, never the value.
            let shape = Input {
                name: token.name.clone(),
                label: token.label.clone(),
                help: None,
                example: token.example.clone(),
                kind: InputKind::Text,
                pattern: Some(pattern.clone()),
                choices: Vec::new(),
                default: None,
                source: InputSource::Account,
                hosts: Vec::new(),
            };
            check_input(&shape, text).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_key_has_its_declared_form() {
        let app = testing::app();
        let (_, method) = testing::pinned(&app).method("token").map(|(at, method)| (at, method.clone())).unwrap();
        let check = |keys: &[(&str, &str)]| {
            let keys = keys.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect();
            check_keys(&method, &keys).map_err(|error| (error.code(), error.to_string()))
        };
        assert_eq!(check(&[("key", "tk_abc")]), Ok(()));
        for (keys, code) in [
            (vec![], "key_missing"),
            (vec![("key", "xx_hunter2")], "key_invalid"),
            (vec![("key", "tk_a\nhunter2")], "key_invalid"),
            (vec![("key", "tk_abc ")], "key_invalid"),
            (vec![("key", "tk_abc"), ("kee", "hunter2")], "key_unknown"),
        ] {
            let (found, message) = check(&keys).unwrap_err();
            assert_eq!(found, code, "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
