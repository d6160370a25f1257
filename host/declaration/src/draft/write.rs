//! A draft as the text of an `app.toml`.

use std::fmt::Write;

use super::{Draft, DraftAuth, DraftInput, DraftMethod, DraftOAuth2, DraftScope, DraftSlot, Place};

/// Scopes in a draft: more are no longer read by anybody.
const MAX_SCOPES: usize = 60;
const MAX_PATHS: usize = 12;

impl Draft {
    /// Always TOML; sound where the draft is complete.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            line(&mut text, format_args!("# To do: {}", note.replace(char::is_control, " ")));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        pair(&mut text, "slug", &self.slug);
        pair(&mut text, "name", &self.name);
        pair(&mut text, "summary", &self.summary);
        for (key, value) in [("homepage", &self.homepage), ("docs", &self.docs)] {
            if let Some(value) = value {
                pair(&mut text, key, value);
            }
        }
        match &self.base {
            Some(base) => pair(&mut text, "base", base),
            None => text.push_str("# base = \"https://api.example.com\"\n"),
        }
        if let Some(test) = &self.test {
            let mut keys = format!("path = {}", quoted(&test.path));
            for (key, value) in [("id", &test.id), ("label", &test.label)] {
                if let Some(value) = value {
                    let _ = write!(keys, ", {key} = {}", quoted(value));
                }
            }
            line(&mut text, format_args!("test = {{ {keys} }}"));
        }
        if self.paths.len() > 1 {
            let paths: Vec<String> = self.paths.iter().take(MAX_PATHS).map(|(path, _)| quoted(path)).collect();
            let more = if self.paths.len() > MAX_PATHS { ", …" } else { "" };
            line(&mut text, format_args!("# Paths described: reach.paths = [{}{more}]", paths.join(", ")));
        }
        text.push_str("\n[evidence]\nlevel = \"facts\"\n");
        pair(&mut text, "date", &self.date);
        pair(&mut text, "source", &self.source);
        for input in &self.inputs {
            write_input(&mut text, input);
        }
        for method in &self.methods {
            write_method(&mut text, method);
        }
        if self.methods.is_empty() {
            text.push_str(
                "\n# [methods.token]\n# label = \"Access token\"\n# header.Authorization = \"Bearer {token}\"\n",
            );
        }
        text
    }
}

fn write_input(text: &mut String, input: &DraftInput) {
    line(text, format_args!("\n[inputs.{}]", input.name));
    if let Some(kind) = input.kind {
        pair(text, "kind", kind);
    }
    if let Some(help) = &input.help {
        pair(text, "help", help);
    }
    if !input.choices.is_empty() {
        let choices: Vec<String> = input.choices.iter().map(|choice| quoted(choice)).collect();
        line(text, format_args!("choices = [{}]", choices.join(", ")));
    }
    if let Some(default) = &input.default {
        pair(text, "default", default);
    }
}

fn write_method(text: &mut String, method: &DraftMethod) {
    let id = &method.id;
    let header = |text: &mut String| {
        line(text, format_args!("\n[methods.{id}]"));
        if let Some(label) = &method.label {
            pair(text, "label", label);
        }
    };
    match &method.auth {
        DraftAuth::Keys(slots) => {
            header(text);
            if slots.len() > 1 {
                for slot in slots {
                    line(text, format_args!("tokens.{} = {{}}", slot.token));
                }
            }
            slots.iter().for_each(|slot| write_slot(text, slot));
        }
        DraftAuth::Basic => {
            header(text);
            text.push_str("tokens.username = { label = \"User name\" }\ntokens.password = { label = \"Password\" }\n");
            text.push_str("basic = { username = \"{username}\", password = \"{password}\" }\n");
        }
        DraftAuth::OAuth2(oauth2) => {
            if method.label.is_some() {
                header(text);
            }
            write_oauth2(text, id, oauth2);
        }
    }
}

fn write_slot(text: &mut String, slot: &DraftSlot) {
    let place = match slot.place {
        Place::Header => "header",
        Place::Query => "query",
    };
    let value = format!("{}{{{}}}", slot.prefix.replace('{', "{{").replace('}', "}}"), slot.token);
    line(text, format_args!("{place}.{} = {}", key(&slot.name), quoted(&value)));
}

fn write_oauth2(text: &mut String, id: &str, oauth2: &DraftOAuth2) {
    let scopes = &oauth2.scopes[..oauth2.scopes.len().min(MAX_SCOPES)];
    let Some(authorize) = &oauth2.authorize_url else {
        line(text, format_args!("\n[methods.{id}.client-credentials]"));
        pair(text, "token-url", &oauth2.token_url);
        if !scopes.is_empty() {
            let names: Vec<String> = scopes.iter().map(|scope| quoted(&scope.name)).collect();
            line(text, format_args!("scopes = [{}]", names.join(", ")));
        }
        return;
    };
    line(text, format_args!("\n[methods.{id}.oauth2]"));
    pair(text, "authorize-url", authorize);
    pair(text, "token-url", &oauth2.token_url);
    if let Some(url) = oauth2.refresh_url.as_ref().filter(|url| **url != oauth2.token_url) {
        pair(text, "refresh-url", url);
    }
    if !scopes.is_empty() {
        line(text, format_args!("\n[methods.{id}.oauth2.scopes]"));
        for DraftScope { name, text: about, default } in scopes {
            match default {
                true => line(text, format_args!("{} = {{ text = {}, default = true }}", key(name), quoted(about))),
                false => line(text, format_args!("{} = {}", key(name), quoted(about))),
            }
        }
    }
}

fn pair(text: &mut String, name: &str, value: &str) {
    line(text, format_args!("{name} = {}", quoted(value)));
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if bare { name.to_owned() } else { quoted(name) }
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}
