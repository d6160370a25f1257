//! The made provider's API: the credential must stand where the rules say, in that form, and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{AuthMethod, Rule, RuleSet, Template};
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use super::fake::{self, Answering, Expected, Fake, Reply, Seen, State};

/// Headers that any client may send.
const TRANSPORT: &[&str] = &["host", "accept", "accept-encoding", "content-length", "user-agent"];

pub(super) fn call(fake: &Fake, state: &mut State, method: &AuthMethod, seen: &Seen) -> Result<Reply, String> {
    let expected = state.expected.clone().ok_or("no request was asked for")?;
    let base = template::base(&fake.app, &state.inputs).map_err(|error| error.to_string())?;
    let wanted = rule_set(method, state, expected.rule_set.as_deref())?;
    let (mut headers, mut query) = (expected_headers(fake, &expected), Vec::new());
    for rule in &wanted.rules {
        match rule {
            Rule::Header(header) => headers.push((header.name.to_lowercase(), render(state, &header.value)?)),
            Rule::Basic(basic) => {
                let pair = format!("{}:{}", render(state, &basic.username)?, render(state, &basic.password)?);
                headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair))));
            }
            Rule::Query(field) => query.push((field.name.clone(), render(state, &field.value)?)),
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => return Err("the kit cannot check such a rule".to_owned()),
        }
    }
    line(&base, &expected, seen, &query)?;
    check_headers(&headers, seen, state)?;
    if seen.body != expected.body {
        return Err("the body is not the one that was asked for".to_owned());
    }
    let answering = state.answering.clone();
    match answering {
        Answering::Well => Ok(well(fake)),
        Answering::Signal(conditions) => Ok(fake::signal(&conditions)),
        Answering::Once(conditions) => {
            state.answering = Answering::Well;
            // What was refused once stays refused: only a new token helps.
            for (at, value) in state.tokens.values_mut().enumerate() {
                *value = format!("ended-{at}-{value}");
            }
            Ok(fake::signal(&conditions))
        }
        Answering::Echo => {
            let secrets: Vec<_> = state.tokens.values().chain(state.refresh.values()).collect();
            Ok(fake::json(200, &json!({ "echo": secrets, "sent": headers })))
        }
    }
}

/// Method, host, path and query.
fn line(base: &Url, expected: &Expected, seen: &Seen, query: &[(String, String)]) -> Result<(), String> {
    if seen.method != expected.method {
        return Err(format!("the method must be {}", expected.method));
    }
    if seen.host != fake::authority(base) {
        return Err(format!("the host must be {}", fake::authority(base)));
    }
    let (own_path, own_query) = expected.path.split_once('?').unwrap_or((&expected.path, ""));
    let (path, sent) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let wanted = format!("{}{own_path}", base.path().trim_end_matches('/'));
    if path != wanted {
        return Err(format!("the path must be {wanted}"));
    }
    let pairs = |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>();
    let mut wanted = pairs(own_query);
    wanted.extend(query.iter().cloned());
    let mut sent = pairs(sent);
    wanted.sort();
    sent.sort();
    if wanted != sent {
        let names =
            |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("the query must hold [{}] and these values; it holds [{}]", names(&wanted), names(&sent)));
    }
    Ok(())
}

fn expected_headers(fake: &Fake, expected: &Expected) -> Vec<(String, String)> {
    let own = expected.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let mut headers: Vec<_> = own.collect();
    for default in &fake.app.headers {
        let name = default.name.to_lowercase();
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, default.value.clone()));
        }
    }
    headers
}

fn check_headers(wanted: &[(String, String)], seen: &Seen, state: &State) -> Result<(), String> {
    for (name, value) in wanted {
        let sent: Vec<_> = seen.headers.iter().filter(|(known, _)| known == name).collect();
        match sent.as_slice() {
            [(_, sent)] if sent == value => {}
            [] => return Err(format!("the header `{name}` is missing")),
            [_] => return Err(format!("the header `{name}` has not the value that the declaration makes")),
            _ => return Err(format!("the header `{name}` stands there twice")),
        }
    }
    let secrets: Vec<_> =
        state.tokens.values().chain(state.refresh.values()).filter(|value| value.len() >= 4).collect();
    for (name, value) in &seen.headers {
        if wanted.iter().any(|(known, _)| known == name) {
            continue;
        }
        if secrets.iter().any(|secret| value.contains(secret.as_str())) {
            return Err(format!("a credential stands in the header `{name}`, which no rule names"));
        }
        if !TRANSPORT.contains(&name.as_str()) {
            return Err(format!("nobody asked for the header `{name}`"));
        }
    }
    Ok(())
}

/// The set asked for, else the first whose tokens are there.
fn rule_set<'a>(method: &'a AuthMethod, state: &State, name: Option<&str>) -> Result<&'a RuleSet, String> {
    let found = match name {
        Some(name) => method.rule_sets.iter().find(|set| set.name == name),
        None => method.rule_sets.iter().find(|set| has_tokens(set, state)),
    };
    found.ok_or_else(|| "the method has no such rule set".to_owned())
}

fn has_tokens(set: &RuleSet, state: &State) -> bool {
    let has = |template: &Template| {
        template::names(template).all(|name| !matches!(name, Name::Token(token) if !state.tokens.contains_key(token)))
    };
    set.rules.iter().all(|rule| match rule {
        Rule::Header(rule) | Rule::Query(rule) | Rule::Body(rule) => has(&rule.value),
        Rule::Basic(rule) => has(&rule.username) && has(&rule.password),
        Rule::Path(path) => has(path),
        Rule::Sign(_) => true,
    })
}

fn render(state: &State, template: &Template) -> Result<String, String> {
    let mut out = Vec::new();
    let lookup = |name: Name<'_>| match name {
        Name::Input(name) => state.inputs.get(name).map(String::as_bytes),
        Name::Token(name) => state.tokens.get(name).map(String::as_bytes),
        Name::Host("client_id") => state.client.as_ref().map(|client| client.id.as_bytes()),
        Name::Host(_) => None,
    };
    template::render(template, &mut out, lookup).map_err(|error| error.to_string())?;
    String::from_utf8(out).map_err(|error| error.to_string())
}

/// A good answer, with the identity where the declaration looks for it.
fn well(fake: &Fake) -> Reply {
    let mut body = json!({});
    if let Some(test) = &fake.app.test {
        let places = [(&test.label, "Ada of the conformance kit"), (&test.id, "conformance-1")];
        for (place, value) in places {
            if let Some(place) = place {
                fake::put(&mut body, place, Value::from(value));
            }
        }
    }
    fake::json(200, &body)
}
