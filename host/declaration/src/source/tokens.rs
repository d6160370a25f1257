//! `tokens.*` of a method: what a person pastes, and where the others stand in a reply.

use super::app::label;
use super::marker::{Known, marker};
use super::reader::{Reader, Table, join};
use crate::types::{Expiry, ReplyToken, Token};

const PASTED: [&str; 7] = ["label", "help", "example", "pattern", "optional", "once", "marker"];
const ALL: [&str; 18] = [
    "label",
    "help",
    "example",
    "pattern",
    "optional",
    "once",
    "marker",
    "call",
    "at",
    "access",
    "access-header",
    "refresh",
    "expires-in",
    "expires-unit",
    "expires-at",
    "expires",
    "scope",
    "lifetime-s",
];
/// One of them makes a token of an exchange an obtained one.
const OBTAINED: [&str; 11] = [
    "call",
    "at",
    "access",
    "access-header",
    "refresh",
    "expires-in",
    "expires-unit",
    "expires-at",
    "expires",
    "scope",
    "lifetime-s",
];

/// How a method's tokens come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All are pasted.
    Keys,
    /// All stand in a reply.
    OAuth,
    /// Pasted ones are traded for others.
    Exchange,
    /// The same, with names that are known.
    ClientCredentials,
}

/// What is known of a method before its tokens are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    pub way: Way,
    /// The call whose reply holds a token that does not say otherwise.
    pub last_call: u32,
    /// A refresh token would be used.
    pub refresh: bool,
    /// Some method of the app is OAuth.
    pub any_oauth: bool,
}

pub(super) fn tokens(reader: &mut Reader<'_>, method: &Table<'_>, path: &str, grant: Grant) -> Vec<Token> {
    let path = format!("{path}.tokens");
    let table = method.get("tokens").and_then(|value| {
        reader.at(&*path, value.span());
        reader.names(value, "tokens")
    });
    if method.has("tokens") && table.is_none() {
        return Vec::new();
    }
    let mut entries: Vec<(&str, Option<Table<'_>>)> = Vec::new();
    for entry in table.iter().flat_map(|table| &table.entries) {
        let path = format!("{path}[{}]", entries.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(format!("{path}.name"), entry.key_span.clone());
        let (what, allowed) = match grant.way {
            Way::Keys => ("a token", &PASTED[..]),
            Way::OAuth => ("an OAuth token", &ALL[..]),
            Way::Exchange | Way::ClientCredentials => ("a token of an exchange", &ALL[..]),
        };
        let Some(table) = reader.table(entry.value, what, allowed) else { continue };
        entries.push((entry.key, Some(table)));
    }
    implied(&mut entries, grant);
    let obtained = |(name, table): &(&str, Option<Table<'_>>)| is_obtained(name, table.as_ref(), grant.way);
    // Those that code asks for first.
    let (mut all, pasted): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| obtained(entry));
    if grant.way != Way::OAuth && grant.way != Way::Keys {
        all.extend(pasted);
    } else {
        all = entries.iter().collect();
    }
    let all: Vec<&str> = all.into_iter().map(|(name, _)| *name).collect();
    let known = Known { oauth: grant.way != Way::Keys, any_oauth: grant.any_oauth, all: &all };
    let none = Table { span: 0..0, entries: Vec::new() };
    let mut tokens = Vec::new();
    for entry in &entries {
        let (name, given) = entry;
        let path = format!("{path}[{}]", tokens.len());
        let table = given.as_ref().unwrap_or(&none);
        tokens.push(Token {
            name: (*name).to_owned(),
            label: reader.optional(table, "label", &path).unwrap_or_else(|| words(name)),
            help: reader.optional(table, "help", &path),
            example: reader.optional(table, "example", &path),
            pattern: reader.optional(table, "pattern", &path),
            optional: reader.flag(table, "optional", false),
            once: reader.flag(table, "once", false),
            reply: obtained(entry).then(|| reply(reader, table, &format!("{path}.reply"), grant)),
            marker: marker(reader, given.as_ref(), name, &path, known),
        });
    }
    tokens
}

/// The tokens that a method has without saying so.
fn implied<'t>(entries: &mut Vec<(&'t str, Option<Table<'t>>)>, grant: Grant) {
    match grant.way {
        Way::Keys | Way::Exchange if entries.is_empty() => entries.push(("token", None)),
        Way::OAuth if entries.is_empty() => entries.push(("access_token", None)),
        Way::ClientCredentials => {
            for name in ["client_id", "client_secret"] {
                if !entries.iter().any(|(known, _)| *known == name) {
                    entries.push((name, None));
                }
            }
            if !entries.iter().any(|(name, table)| is_obtained(name, table.as_ref(), grant.way)) {
                entries.push(("access_token", None));
            }
        }
        Way::Keys | Way::OAuth | Way::Exchange => {}
    }
}

fn is_obtained(name: &str, table: Option<&Table<'_>>, way: Way) -> bool {
    match way {
        Way::Keys => false,
        Way::OAuth => true,
        Way::ClientCredentials if name == "access_token" => true,
        Way::Exchange | Way::ClientCredentials => table.is_some_and(|table| OBTAINED.iter().any(|key| table.has(key))),
    }
}

fn words(name: &str) -> String {
    match name {
        "client_id" => "Client ID".to_owned(),
        name => label(name),
    }
}

/// RFC 6749 section 5.1, below `at`.
fn standard(at: &str, grant: Grant) -> ReplyToken {
    ReplyToken {
        call: grant.last_call,
        access: format!("{at}/access_token"),
        access_header: None,
        refresh: grant.refresh.then(|| format!("{at}/refresh_token")),
        expiry: Some(Expiry::Seconds(format!("{at}/expires_in"))),
        scope: Some(format!("{at}/scope")),
        lifetime_s: None,
    }
}

fn reply(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, grant: Grant) -> ReplyToken {
    let at = reader.optional(table, "at", &join(path, "access")).unwrap_or_default();
    let mut reply = standard(&at, grant);
    if let Some(value) = table.get("at") {
        reader.at(path, value.span());
    }
    if let Some(value) = table.get("call") {
        reader.at(join(path, "call"), value.span());
        reply.call = reader.number(value, "call").unwrap_or(reply.call);
    }
    if let Some(access) = reader.optional(table, "access", path) {
        reply.access = access;
    }
    reply.access_header = reader.optional(table, "access-header", path);
    if reply.access_header.is_some() {
        if let Some(value) = table.get("access") {
            reader.fault(value.span(), "a token stands in the body or in a header, not in both", None);
        }
        reply.access = String::new();
    }
    // A body that is the token, or is not looked at, has no fields.
    if reply.access.is_empty() && !table.has("at") {
        (reply.refresh, reply.expiry, reply.scope) = (None, None, None);
    }
    expiry(reader, table, path, &mut reply.expiry);
    for (key, field) in [("refresh", &mut reply.refresh), ("scope", &mut reply.scope)] {
        match table.get(key).map(|value| value.get_ref().as_bool()) {
            None => {}
            Some(Some(false)) => *field = None,
            Some(_) => *field = reader.optional(table, key, path),
        }
    }
    if let Some(value) = table.get("lifetime-s") {
        reader.at(join(path, "lifetime-s"), value.span());
        reply.lifetime_s = reader.number(value, "lifetime-s");
    }
    reply
}

/// `expires-in`, `expires-at` or `expires`: one of the three.
fn expiry(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, expiry: &mut Option<Expiry>) {
    let keys = ["expires-in", "expires-at", "expires"];
    let mut given = table.entries.iter().filter(|entry| keys.contains(&entry.key));
    let first = given.next();
    if let Some(second) = given.next() {
        let message = "a lifetime is said once: `expires-in`, `expires-at` or `expires`";
        reader.fault(second.key_span.clone(), message, None);
    }
    let path = join(path, "expiry");
    let units = [("seconds", false), ("milliseconds", true)];
    let unit = table.get("expires-unit").and_then(|value| reader.choice(value, "expires-unit", &units));
    match first {
        None => {}
        Some(entry) if entry.key == "expires-in" && entry.value.get_ref().as_bool() == Some(false) => *expiry = None,
        Some(entry) if entry.key == "expires-in" => {
            *expiry = reader.text_of(entry.value, entry.key, &path).map(Expiry::Seconds);
        }
        Some(entry) if entry.key == "expires-at" => {
            *expiry = reader.text_of(entry.value, entry.key, &path).map(Expiry::At);
        }
        Some(entry) => {
            reader.at(path, entry.value.span());
            *expiry = reader.choice(entry.value, "expires", &[("jwt", ())]).map(|()| Expiry::Jwt);
        }
    }
    match (expiry.take(), unit) {
        (Some(Expiry::Seconds(pointer)), Some(true)) => *expiry = Some(Expiry::Milliseconds(pointer)),
        (Some(Expiry::Seconds(pointer)), _) => *expiry = Some(Expiry::Seconds(pointer)),
        (other, unit) => {
            if let (Some(_), Some(value)) = (unit, table.get("expires-unit")) {
                reader.fault(value.span(), "`expires-unit` is the unit of `expires-in`, which is not there", None);
            }
            *expiry = other;
        }
    }
}
