//! Postman collections, version 2.0 and 2.1.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::curl::{is_secret_name, named_by_host, secret_prefix};
use super::{Draft, DraftAuth, DraftError, DraftMethod, DraftOAuth2, DraftScope, DraftTest, schemes, sentence};

pub fn postman(text: &str, source: &str, date: &str) -> Result<Draft, DraftError> {
    let root: Value = serde_json::from_str(text).map_err(|error| DraftError(format!("it is no JSON: {error}")))?;
    let root = root.get("collection").unwrap_or(&root);
    let Some(name) = root.pointer("/info/name").and_then(Value::as_str) else {
        return Err(DraftError("it has no `info.name`: export the collection as version 2.1".to_owned()));
    };
    let mut variables = BTreeMap::new();
    for variable in root.get("variable").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (variable.get("key").and_then(Value::as_str), variable.get("value")) {
            variables.insert(key.to_owned(), value.as_str().unwrap_or_default().to_owned());
        }
    }
    let mut requests = Vec::new();
    collect(root, &mut requests, 0);
    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    let mut urls = Vec::new();
    for request in &requests {
        if let Some(url) = url_of(request, &variables) {
            *hosts.entry(url.origin().ascii_serialization()).or_default() += 1;
            urls.push((url, *request));
        }
    }
    let mut draft = Draft::named(name);
    let origin = hosts.into_iter().max_by_key(|(_, count)| *count).map(|(origin, _)| origin);
    if draft.slug.is_empty()
        && let Some(host) = origin.as_ref().and_then(|origin| Url::parse(origin).ok()?.host_str().map(str::to_owned))
    {
        draft.slug = named_by_host(&host, date).slug;
    }
    (draft.source, draft.date) = (source.to_owned(), date.to_owned());
    let about =
        root.pointer("/info/description").and_then(|about| about.as_str().or_else(|| about.get("content")?.as_str()));
    draft.summary = about.and_then(sentence).unwrap_or_else(|| format!("The API of {}.", draft.name));
    match origin {
        Some(origin) => draft.base = Some(origin),
        None => draft.notes.push("no request has an https URL: write `base`".to_owned()),
    }
    let auths = std::iter::once(root).chain(requests.iter().copied()).filter_map(|item| item.get("auth"));
    for auth in auths {
        method(&mut draft, auth, &variables);
    }
    for (_, request) in &urls {
        if draft.methods.is_empty() {
            header_method(&mut draft, request);
        }
    }
    if draft.methods.is_empty() {
        draft.notes.push("the collection says nothing of how to authenticate: add a method".to_owned());
    }
    let base = draft.base.clone().unwrap_or_default();
    let reads =
        urls.iter().filter(|(_, request)| request.get("method").and_then(Value::as_str).unwrap_or("GET") == "GET");
    let who = |url: &&Url| {
        let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        matches!(last.as_str(), "me" | "whoami" | "self" | "account" | "profile" | "user" | "ping" | "status")
    };
    let test = reads.map(|(url, _)| url).filter(|url| url.query().is_none() && !url.path().contains(':')).find(who);
    match test.filter(|url| url.origin().ascii_serialization() == base) {
        Some(url) => draft.test = Some(DraftTest { path: url.path().to_owned(), ..DraftTest::default() }),
        None => {
            draft.notes.push("no request is known that any account may make: add `test` when there is one".to_owned())
        }
    }
    Ok(draft)
}

/// Requests of all folders.
fn collect<'c>(item: &'c Value, requests: &mut Vec<&'c Value>, depth: usize) {
    if let Some(request) = item.get("request").filter(|request| request.is_object()) {
        requests.push(request);
    }
    if depth < 32 {
        for child in item.get("item").and_then(Value::as_array).into_iter().flatten() {
            collect(child, requests, depth + 1);
        }
    }
}

fn url_of(request: &Value, variables: &BTreeMap<String, String>) -> Option<Url> {
    let url = request.get("url")?;
    let raw = filled(url.as_str().or_else(|| url.get("raw")?.as_str())?, variables);
    let raw = if raw.contains("://") { raw } else { format!("https://{raw}") };
    let url = Url::parse(&raw.replacen("http://", "https://", 1)).ok()?;
    url.host_str().is_some_and(|host| host.contains('.') && !raw.contains("{{")).then_some(url)
}

/// With the collection's own variables in place of `{{name}}`.
fn filled(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for _ in 0..3 {
        for (name, value) in variables {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
    }
    text
}

fn method(draft: &mut Draft, auth: &Value, variables: &BTreeMap<String, String>) {
    let Some(kind) = auth.get("type").and_then(Value::as_str) else { return };
    // 2.1 has a list of pairs, 2.0 an object.
    let part = |key: &str| -> Option<String> {
        let parts = auth.get(kind)?;
        let found = match parts.as_array() {
            Some(list) => list.iter().find(|pair| pair.get("key").and_then(Value::as_str) == Some(key))?.get("value"),
            None => parts.get(key),
        };
        found?.as_str().map(|text| filled(text, variables))
    };
    match kind {
        "bearer" => schemes::add(&mut draft.methods, schemes::keys(vec![schemes::bearer()])),
        "basic" => schemes::add(&mut draft.methods, schemes::basic()),
        "apikey" => {
            let place = part("in").unwrap_or_else(|| "header".to_owned());
            if let Some(slot) = part("key").and_then(|name| schemes::key(&place, &name, "")) {
                schemes::add(&mut draft.methods, schemes::keys(vec![slot]));
            }
        }
        "oauth2" => {
            let https = |key: &str| part(key).filter(|url| url.starts_with("https://") && !url.contains('{'));
            match (https("authUrl"), https("accessTokenUrl")) {
                (Some(authorize), Some(token_url)) => {
                    let scopes = part("scope").unwrap_or_default();
                    let scopes = scopes.split_whitespace().map(|scope| DraftScope {
                        name: scope.to_owned(),
                        text: scope.to_owned(),
                        default: true,
                    });
                    let scopes = scopes.collect();
                    let oauth2 = DraftOAuth2 { authorize_url: Some(authorize), token_url, refresh_url: None, scopes };
                    let auth = DraftAuth::OAuth2(oauth2);
                    schemes::add(&mut draft.methods, DraftMethod { id: "oauth".to_owned(), label: None, auth });
                }
                _ => draft.notes.push("OAuth is described without https endpoints: add them".to_owned()),
            }
        }
        "noauth" => {}
        other => draft.notes.push(format!("the scheme `{other}` is not taken over")),
    }
    draft.notes.dedup();
}

/// From a request's own headers and query, where nothing else is said.
fn header_method(draft: &mut Draft, request: &Value) {
    let mut slots = Vec::new();
    for header in request.get("header").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| header.get(key).and_then(Value::as_str).unwrap_or_default();
        if let Some(prefix) = secret_prefix(text("key"), text("value")) {
            let prefix = if prefix.contains("{{") { "" } else { prefix };
            slots.extend(schemes::key("header", text("key"), prefix));
        }
    }
    for field in request.pointer("/url/query").and_then(Value::as_array).into_iter().flatten() {
        let name = field.get("key").and_then(Value::as_str).unwrap_or_default();
        if is_secret_name(name) {
            slots.extend(schemes::key("query", name, ""));
        }
    }
    if !slots.is_empty() {
        schemes::add(&mut draft.methods, schemes::keys(slots));
    }
}
