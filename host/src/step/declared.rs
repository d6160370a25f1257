//! Are a step's props well-formed? Asked once, when the step is loaded; each problem is a sentence for its author.

use super::props::{short, shown, what};
use super::{AppNeed, Prop, PropKind, StepError};

/// More than any form can show.
const MAX_PROPS: usize = 64;
/// Of methods, paths, scopes and options each.
const MAX_ENTRIES: usize = 256;
/// What a step may declare that it uses.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Are these props well-formed?
pub(super) fn validate(props: &[Prop]) -> Result<(), StepError> {
    let fail = |message: String| Err(StepError::Props(message));
    if props.len() > MAX_PROPS {
        return fail(format!("there are {}; the limit is {MAX_PROPS}", props.len()));
    }
    for (at, prop) in props.iter().enumerate() {
        let name = prop.name.as_bytes();
        let letters = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(letters) || name.len() > 40 {
            return fail(format!("`{}` is no name: [a-zA-Z][a-zA-Z0-9_]*, at most 40", short(&prop.name)));
        }
        if props[..at].iter().any(|earlier| earlier.name == prop.name) {
            return fail(format!("`{}` stands there twice", prop.name));
        }
        if let PropKind::App(need) = &prop.kind {
            need.validate().map_err(|problem| StepError::Props(format!("`{}` {problem}", prop.name)))?;
        }
        prop.validate_values().map_err(|problem| StepError::Props(format!("`{}` {problem}", prop.name)))?;
        for text in [&prop.label, &prop.help].into_iter().flatten() {
            if text.chars().any(char::is_control) {
                return fail(format!("label or help of `{}` holds a control character", prop.name));
            }
        }
    }
    Ok(())
}

impl AppNeed {
    /// A sentence about the prop, without its name.
    fn validate(&self) -> Result<(), String> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let slug = &self.app;
        if slug.is_empty() || slug.len() > 40 || !slug.bytes().all(letters) {
            return Err(format!("wants an account of `{}`, which is no app's slug", short(slug)));
        }
        if [&self.methods, &self.paths, &self.scopes].into_iter().any(|list| list.len() > MAX_ENTRIES) {
            return Err(format!("declares more than {MAX_ENTRIES} methods, paths or scopes"));
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(format!("declares the method `{}`, which is none of {}", short(method), METHODS.join(", ")));
        }
        for path in &self.paths {
            let problem = if !path.starts_with('/') {
                "begins with no slash"
            } else if path.len() > 1024 {
                "is longer than 1024 bytes"
            } else if path.contains(['?', '#', '\\']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
                "holds more than a path"
            } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
                "holds a dot segment"
            } else if crate::egress::is_ambiguous_path(path) {
                "holds what servers read in different ways, so no request could fit it"
            } else {
                continue;
            };
            return Err(format!("declares the path `{}`, which {problem}", short(path)));
        }
        let is_scope = |scope: &String| {
            !scope.is_empty() && scope.len() <= 256 && !scope.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if let Some(scope) = self.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(format!("declares the scope `{}`, which is none", short(scope)));
        }
        if self.requests == Some(0) {
            return Err("declares no requests at all: leave `requests` out, or the prop".to_owned());
        }
        Ok(())
    }
}

impl Prop {
    /// Default, options and secrecy: a sentence about the prop, without its name.
    fn validate_values(&self) -> Result<(), String> {
        if self.secret && self.kind != PropKind::Text {
            return Err(format!("is secret, but {}: only a text can be secret", self.kind.wants()));
        }
        if self.secret && (self.default.is_some() || !self.options.is_empty()) {
            return Err("is secret, but everybody who has the step could read its default or options".to_owned());
        }
        if matches!(self.kind, PropKind::App(_)) && (self.default.is_some() || !self.options.is_empty()) {
            return Err("is an account, which has neither default nor options".to_owned());
        }
        if self.options.len() > MAX_ENTRIES {
            return Err(format!("has more than {MAX_ENTRIES} options"));
        }
        for choice in &self.options {
            if choice.label.chars().any(char::is_control) {
                return Err("has an option whose label holds a control character".to_owned());
            }
            let fits = match &self.kind {
                PropKind::List { of } => of.takes(&choice.value),
                kind => kind.takes(&choice.value),
            };
            if !fits {
                return Err(format!("wants {}, but has the option {}", self.kind.wants(), shown(&choice.value)));
            }
        }
        match &self.default {
            Some(value) if !self.kind.takes(value) => {
                Err(format!("wants {}, but its default is {}", self.kind.wants(), what(value)))
            }
            Some(value) => match self.beyond_options(value) {
                Some(other) => Err(format!("has the default {}, which is none of its options", shown(other))),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::props::tests::{app, choice, prop, props, text_with};
    use super::*;

    #[test]
    fn defaults_options_and_secrecy_fit_the_kind() {
        let app_with = |change: fn(&mut Prop)| {
            let mut prop = prop("a", app("slack"));
            change(&mut prop);
            prop
        };
        for (bad, said) in [
            (text_with(|prop| prop.default = Some(json!(5))), "wants a text, but its default is a number"),
            (text_with(|prop| prop.options = vec![choice(json!(true))]), "has the option true"),
            (
                text_with(|prop| (prop.options, prop.default) = (vec![choice(json!("x"))], Some(json!("y")))),
                "has the default \"y\", which is none of its options",
            ),
            (Prop { secret: true, ..prop("a", PropKind::Json) }, "only a text can be secret"),
            (text_with(|prop| (prop.secret, prop.default) = (true, Some(json!("hunter22")))), "could read its default"),
            (text_with(|prop| (prop.secret, prop.options) = (true, vec![choice(json!("x"))])), "default or options"),
            (app_with(|prop| prop.default = Some(json!("slack/work"))), "neither default nor options"),
            (app_with(|prop| prop.secret = true), "only a text can be secret"),
            (Prop { default: Some(json!(1.5)), ..prop("a", PropKind::Integer) }, "wants a whole number"),
        ] {
            let error = validate(std::slice::from_ref(&bad)).unwrap_err();
            assert!(error.to_string().contains("`a`") && error.to_string().contains(said), "{error}");
            assert!(!error.to_string().contains("hunter22"));
        }
    }

    #[test]
    fn what_a_step_needs_of_an_account_is_well_formed() {
        let need = |change: fn(&mut AppNeed)| {
            let mut need = AppNeed { app: "slack".to_owned(), ..AppNeed::default() };
            change(&mut need);
            validate(&[prop("a", PropKind::App(need))])
        };
        assert!(need(|need| need.methods = METHODS.map(str::to_owned).to_vec()).is_ok());
        assert!(need(|need| need.paths = vec!["/".into(), "/api/chat.postMessage".into(), "/ü/%61".into()]).is_ok());
        assert!(need(|need| need.scopes = vec!["chat:write".into(), "https://x.example/auth".into()]).is_ok());
        assert!(need(|need| (need.requests, need.bytes) = (Some(1), Some(0))).is_ok());
        for method in ["get", "TRACE", "CONNECT", "", "G ET", "*"] {
            let methods = vec![method.to_owned()];
            let bad = AppNeed { app: "slack".to_owned(), methods, ..AppNeed::default() };
            let error = validate(&[prop("a", PropKind::App(bad))]).unwrap_err();
            assert!(error.to_string().contains("declares the method"), "{error}");
        }
        for path in
            ["", "api", "/a?b", "/a#b", "/a b", "/a\\b", "/../a", "/a/./b", "//a", "/a%2fb", "/a%2E", "/a;b", "/a\u{7}"]
        {
            let bad = AppNeed { app: "slack".to_owned(), paths: vec![path.to_owned()], ..AppNeed::default() };
            let error = validate(&[prop("a", PropKind::App(bad))]).unwrap_err();
            assert!(error.to_string().contains("declares the path"), "{path}: {error}");
        }
        assert!(need(|need| need.scopes = vec!["a b".into()]).is_err());
        assert!(need(|need| need.scopes = vec![String::new()]).is_err());
        assert!(need(|need| need.requests = Some(0)).is_err());
        assert!(need(|need| need.paths = vec!["/a".into(); 257]).is_err());
    }

    #[test]
    fn malformed_props_are_refused() {
        for bad in [
            vec![prop("1slack", PropKind::Text)],
            vec![prop("sl-ack", PropKind::Text)],
            vec![prop("", PropKind::Text)],
            vec![prop("a", PropKind::Text), prop("a", PropKind::Json)],
            vec![prop("a", app("Slack!"))],
            vec![Prop { help: Some("\u{1b}[2J".to_owned()), ..prop("a", PropKind::Text) }],
            (0..65).map(|n| prop(&format!("p{n}"), PropKind::Text)).collect(),
        ] {
            assert_eq!(validate(&bad).unwrap_err().code(), "step_props");
        }
        assert!(validate(&props()).is_ok());
    }
}
