//! What an update changes, and whether it asks for more than before.
//!
//! Accounts follow an update by themselves only when nothing widens; everything here that cannot be shown to be
//! narrower counts as wider.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use deputy_declaration::types::{App, AuthKind, AuthMethod};
use serde::Serialize;

use super::words::{action, origin, rule, template};

/// One part of a declaration that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `origins`, `method oauth: token-url`, …
    pub part: String,
    /// Absent: new.
    pub before: Option<String>,
    /// Absent: gone.
    pub after: Option<String>,
    /// Asks for more, or for something else, than the owners of the accounts agreed to.
    pub widens: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} → {after}", self.part)?,
            (None, Some(after)) => write!(f, "{}: new: {after}", self.part)?,
            (Some(before), None) => write!(f, "{}: gone: {before}", self.part)?,
            (None, None) => f.write_str(&self.part)?,
        }
        if self.widens { f.write_str(" (asks for more)") } else { Ok(()) }
    }
}

/// From `old` to `new`, in the order of their names.
pub fn differences(old: &App, new: &App) -> Vec<Difference> {
    let (old, new) = (facts(old), facts(new));
    let parts: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut differences = Vec::new();
    for part in parts {
        let (before, after) = (old.get(part), new.get(part));
        if before.map(|fact| &fact.text) == after.map(|fact| &fact.text) {
            continue;
        }
        let shape = [before, after].into_iter().flatten().all(|fact| fact.weight == Weight::Shape);
        if shape && (before.is_none() || after.is_none()) {
            continue;
        }
        let widens = match (before.map(|fact| fact.weight), after.map(|fact| fact.weight)) {
            (_, None) => before.is_some_and(|fact| matches!(fact.weight, Weight::Limit | Weight::Needed)),
            (None, Some(weight)) => matches!(weight, Weight::Power),
            (Some(_), Some(weight)) => !matches!(weight, Weight::Words),
        };
        differences.push(Difference {
            part: part.clone(),
            before: before.map(|fact| fact.text.clone()),
            after: after.map(|fact| fact.text.clone()),
            widens,
        });
    }
    differences
}

/// What it means that a fact comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Only shown to people.
    Words,
    /// Having it allows more; losing it is narrower.
    Power,
    /// Having it allows less; losing it is wider.
    Limit,
    /// Accounts live by it.
    Needed,
    /// Coming and going means nothing that other facts do not tell; being another is wider.
    Shape,
}

struct Fact {
    text: String,
    weight: Weight,
}

fn facts(app: &App) -> BTreeMap<String, Fact> {
    let mut facts = BTreeMap::new();
    let mut put = |part: String, text: String, weight| {
        facts.insert(part, Fact { text, weight });
    };
    put("name".into(), app.name.clone(), Weight::Words);
    put("summary".into(), app.summary.clone(), Weight::Words);
    put("base".into(), template(&app.base), Weight::Power);
    for declared in &app.reach.origins {
        let text = origin(declared);
        put(format!("origin {text}"), text, Weight::Power);
    }
    // An empty list allows everything: from a list to none, and back, the whole is the fact.
    for (part, list) in [("reach methods", &app.reach.methods), ("reach paths", &app.reach.paths)] {
        if !list.is_empty() {
            put(part.into(), list.join(", "), Weight::Limit);
        }
    }
    for path in &app.reach.denied_paths {
        put(format!("denied path {path}"), path.clone(), Weight::Limit);
    }
    for header in &app.headers {
        let locked = if header.locked { " (locked)" } else { "" };
        put(format!("header {}", header.name), format!("{}{locked}", header.value), Weight::Power);
    }
    for input in &app.inputs {
        let needed = if input.default.is_some() { Weight::Words } else { Weight::Power };
        put(
            format!("input {}", input.name),
            if input.default.is_some() { "optional" } else { "needed" }.into(),
            needed,
        );
        let shape = (input.kind, &input.pattern, &input.choices, &input.hosts, &input.source);
        put(format!("input {}: shape", input.name), json(&shape), Weight::Shape);
    }
    if let Some(test) = &app.test {
        let body = test.body.as_deref().unwrap_or_default();
        put("test".into(), format!("{} {} {body}", test.method, test.path), Weight::Power);
    }
    put("signals".into(), format!("{:?}", app.signals), Weight::Words);
    if let Some(pagination) = &app.pagination {
        put("pagination".into(), format!("{pagination:?}"), Weight::Words);
    }
    // An action can do what reach and scopes allow, and those are facts of their own: it widens nothing by itself.
    for declared in &app.actions {
        put(format!("action {}", declared.name), action(declared), Weight::Words);
    }
    for method in &app.methods {
        self::method(method, &mut put);
    }
    facts
}

fn method(method: &AuthMethod, put: &mut impl FnMut(String, String, Weight)) {
    let id = format!("method {}", method.id);
    let kind = method.kind.word();
    // A new way to connect concerns no account that there is.
    put(id.clone(), kind.into(), Weight::Needed);
    for token in &method.tokens {
        let optional = if token.optional { " (optional)" } else { "" };
        let text = format!("{}{optional}", token.reply.as_ref().map_or("pasted", |reply| &reply.access));
        put(format!("{id}: token {}", token.name), text, Weight::Needed);
        // What code sees; it is worth nothing, whatever its shape.
        put(format!("{id}: marker {}", token.name), format!("{:?}", token.marker), Weight::Words);
    }
    if method.reply_hook {
        put(format!("{id}: reply-hook"), "reads replies".into(), Weight::Power);
    }
    for set in &method.rule_sets {
        for text in set.rules.iter().map(rule) {
            put(format!("{id}: rules {}: {text}", set.name), text, Weight::Power);
        }
    }
    for (at, call) in method.revoke.iter().enumerate() {
        put(format!("{id}: revoke {at}"), json(call), Weight::Power);
    }
    let oauth2 = match &method.kind {
        AuthKind::Keys => return,
        AuthKind::Exchange(exchange) => {
            for (part, calls) in [("call", &exchange.calls), ("refresh", &exchange.refresh)] {
                for (at, call) in calls.iter().enumerate() {
                    put(format!("{id}: {part} {at}"), json(call), Weight::Power);
                }
            }
            return;
        }
        AuthKind::OAuth2Code(oauth2) => oauth2,
    };
    for (part, calls) in [("then", &oauth2.then), ("refresh", &oauth2.refresh)] {
        for (at, call) in calls.iter().enumerate() {
            put(format!("{id}: {part} {at}"), json(call), Weight::Power);
        }
    }
    let wire = (&oauth2.names, &oauth2.token_headers, &oauth2.callback_code, oauth2.body);
    put(format!("{id}: wire"), json(&wire), Weight::Shape);
    for (part, url) in [
        ("authorize-url", oauth2.authorize_url.as_ref()),
        ("device-url", oauth2.device_url.as_ref()),
        ("token-url", Some(&oauth2.token_url)),
        ("refresh-url", oauth2.refresh_url.as_ref()),
        ("revoke-url", oauth2.revoke_url.as_ref()),
    ] {
        if let Some(url) = url {
            put(format!("{id}: {part}"), template(url), Weight::Power);
        }
    }
    for (part, params) in [
        ("authorize-params", &oauth2.authorize_params),
        ("token-params", &oauth2.token_params),
        ("refresh-params", &oauth2.refresh_params),
    ] {
        for param in params {
            put(format!("{id}: {part} {}", param.name), param.value.clone(), Weight::Power);
        }
    }
    put(format!("{id}: client-auth"), format!("{:?}, {:?}", oauth2.client_auth, oauth2.pkce), Weight::Power);
    if let Some(issuer) = &oauth2.issuer {
        put(format!("{id}: issuer"), issuer.clone(), Weight::Limit);
    }
    for list in &oauth2.scope_lists {
        for scope in &list.scopes {
            let asked = match (scope.required, scope.default) {
                (true, _) => "always asked for",
                (false, true) => "asked for by default",
                (false, false) => "offered",
            };
            put(format!("{id}: {} {}", list.param, scope.name), asked.into(), Weight::Power);
        }
    }
}

/// As it is written down; of parts that no words are made for.
fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use deputy_declaration::source::parse;

    use super::*;

    fn app(more: &str) -> App {
        let text = format!(
            "slug = \"acme\"\nname = \"Acme\"\nsummary = \"An example.\"\nbase = \"https://api.acme.example\"\n\
             evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n{more}\n\
             [methods.key]\nheader.Authorization = \"Bearer {{token}}\"\n"
        );
        parse("app.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn found(old: &str, new: &str) -> Vec<(String, bool)> {
        differences(&app(old), &app(new)).into_iter().map(|found| (found.part, found.widens)).collect()
    }

    const OAUTH: &str = "[methods.oauth.oauth2]\nauthorize-url = \"https://a.example/a\"\n\
                         token-url = \"https://a.example/t\"\nscopes.read = \"Read\"";

    const ACTION: &str = "actions.look = { summary = \"Looks.\", request.path = \"/look\" }";

    #[test]
    fn what_asks_for_more_widens_and_what_asks_for_less_does_not() {
        let origins = "reach.origins = [\"https://api.acme.example\", \"https://files.acme.example\"]";
        let files = "origin https://files.acme.example";
        for (old, new, part, forth, back) in [
            ("", origins, files, true, false),
            ("", "reach.paths = [\"/v1\"]", "reach paths", false, true),
            ("", "reach.denied-paths = [\"/admin\"]", "denied path /admin", false, true),
            ("", "inputs.a = {}", "input a", true, false),
            (
                "inputs.a = { default = \"x\" }",
                "inputs.a = { default = \"y\", pattern = \"x|y\" }",
                "input a: shape",
                true,
                true,
            ),
            ("", "test = { path = \"/me\" }", "test", true, false),
            ("", "headers.X-Version = \"1\"", "header X-Version", true, false),
            ("", "signals.revoked = [{ status = 410 }]", "signals", false, false),
            ("", "pagination.next = \"link-header\"", "pagination", false, false),
            ("", ACTION, "action look", false, false),
        ] {
            assert_eq!(found(old, new), [(part.to_owned(), forth)], "{new}");
            assert_eq!(found(new, old), [(part.to_owned(), back)], "{new}, taken back");
        }
        assert_eq!(found("", ""), []);
    }

    #[test]
    fn a_method_that_goes_and_a_token_endpoint_that_moves_widen() {
        let gone = found(OAUTH, "");
        assert!(gone.contains(&("method oauth".to_owned(), true)), "{gone:?}");
        assert_eq!(
            found(OAUTH, &OAUTH.replace("a.example/t", "b.example/t")),
            [("method oauth: token-url".to_owned(), true)]
        );
        let more = OAUTH.replace("scopes.read = \"Read\"", "scopes.read = \"Read\"\nscopes.admin = \"All\"");
        assert_eq!(found(OAUTH, &more), [("method oauth: scope admin".to_owned(), true)]);
        assert_eq!(found(&more, OAUTH), [("method oauth: scope admin".to_owned(), false)]);
    }

    #[test]
    fn an_action_is_compared_as_a_whole_and_widens_only_by_the_scope_that_it_brings() {
        let scoped = |scopes: &str, needs: &str| {
            let oauth = OAUTH.replace("scopes.read = \"Read\"", scopes);
            let look = "actions.look = { summary = \"Looks.\", request.path = \"/look\", scopes = [\"S\"] }";
            format!("{}\n{oauth}", look.replace("\"S\"", needs))
        };
        let old = scoped("scopes.read = \"Read\"", "\"read\"");
        let new = scoped("scopes.read = \"Read\"\nscopes.admin = \"All\"", "\"read\", \"admin\"");
        assert_eq!(
            found(&old, &new),
            [("action look".to_owned(), false), ("method oauth: scope admin".to_owned(), true)]
        );
        let changes = differences(&app(ACTION), &app(&ACTION.replace("\"/look\"", "\"/see\"")));
        assert_eq!(changes[0].to_string(), "action look: GET /look → GET /see");
        let marker = "[methods.other]\nheader.A = \"{token}\"\n[methods.other.tokens.token]\nmarker.length = 60";
        assert_eq!(found(marker, &marker.replace("60", "61")), [("method other: marker token".to_owned(), false)]);
    }
}
