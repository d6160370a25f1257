//! `[methods.*]`: tokens, rules and OAuth, with the defaults of most services.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::app::{label, params};
use super::marker::{Known, marker};
use super::reader::{DECLARE_INPUT, Entry, Names, Reader, Table, join};
use crate::types::{
    AuthKind, AuthMethod, BasicRule, ClientAuth, ErrorClass, ErrorMeaning, Expiry, NamedTemplate, OAuth2, Part, Pkce,
    Placeholder, Redirect, ReplyToken, Rotation, Rule, RuleSet, Scope, ScopeList, Template, Token, TokenBody,
};

const METHOD: [&str; 8] = ["label", "help", "tokens", "oauth2", "header", "query", "basic", "rule-sets"];
const RULES: [&str; 3] = ["header", "query", "basic"];
const KEY_TOKEN: [&str; 6] = ["label", "help", "example", "pattern", "optional", "marker"];
const OAUTH_TOKEN: [&str; 12] = [
    "label",
    "help",
    "example",
    "pattern",
    "optional",
    "marker",
    "at",
    "access",
    "refresh",
    "expires-in",
    "scope",
    "lifetime-s",
];
const OAUTH2: [&str; 18] = [
    "authorize-url",
    "token-url",
    "refresh-url",
    "revoke-url",
    "authorize-params",
    "token-params",
    "refresh-params",
    "scopes",
    "scope-separator",
    "scope-lists",
    "pkce",
    "client-auth",
    "body",
    "issuer",
    "error",
    "errors",
    "rotation",
    "redirect",
];

pub(super) fn methods(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, inputs: &[String]) -> Vec<AuthMethod> {
    reader.at("methods", value.span());
    let Some(table) = reader.names(value, "methods") else { return Vec::new() };
    let any_oauth = table.entries.iter().any(|entry| entry.value.get_ref().get("oauth2").is_some());
    let mut methods = Vec::new();
    for entry in &table.entries {
        let path = format!("methods[{}]", methods.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(format!("{path}.id"), entry.key_span.clone());
        if let Some(method) = method(reader, entry, &path, inputs, any_oauth) {
            methods.push(method);
        }
    }
    methods
}

fn method(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    path: &str,
    inputs: &[String],
    any_oauth: bool,
) -> Option<AuthMethod> {
    let table = reader.table(entry.value, "a method", &METHOD)?;
    let oauth = table.has("oauth2");
    let tokens = tokens(reader, &table, path, oauth, any_oauth);
    let token_names: Vec<String> = tokens.iter().map(|token| token.name.clone()).collect();
    let names = Names { inputs, tokens: &token_names, declare: DECLARE_INPUT };
    let kind = match table.get("oauth2") {
        Some(value) => AuthKind::OAuth2Code(oauth2(reader, value, &format!("{path}.kind.oauth2-code"), names)?),
        None => AuthKind::Keys,
    };
    Some(AuthMethod {
        id: entry.key.to_owned(),
        label: reader
            .optional(&table, "label", path)
            .unwrap_or_else(|| if oauth { "OAuth".to_owned() } else { label(entry.key) }),
        help: reader.optional(&table, "help", path),
        docs: None,
        setup: None,
        kind,
        rule_sets: rule_sets(reader, entry, &table, path, names, oauth),
        tokens,
        revoke: Vec::new(),
    })
}

fn tokens(reader: &mut Reader<'_>, method: &Table<'_>, path: &str, oauth: bool, any_oauth: bool) -> Vec<Token> {
    let path = format!("{path}.tokens");
    let Some(value) = method.get("tokens") else {
        let name = if oauth { "access_token" } else { "token" };
        return vec![Token {
            name: name.to_owned(),
            label: label(name),
            help: None,
            example: None,
            pattern: None,
            optional: false,
            once: false,
            reply: oauth.then(|| reply_token("")),
            marker: marker(reader, None, name, "", Known { oauth, any_oauth, all: &[name] }),
        }];
    };
    reader.at(&*path, value.span());
    let Some(table) = reader.names(value, "tokens") else { return Vec::new() };
    let all: Vec<&str> = table.entries.iter().map(|entry| entry.key).collect();
    let mut tokens = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}[{}]", tokens.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(format!("{path}.name"), entry.key_span.clone());
        let (what, allowed) = if oauth { ("an OAuth token", &OAUTH_TOKEN[..]) } else { ("a token", &KEY_TOKEN[..]) };
        let Some(table) = reader.table(entry.value, what, allowed) else { continue };
        tokens.push(Token {
            name: entry.key.to_owned(),
            label: reader.optional(&table, "label", &path).unwrap_or_else(|| label(entry.key)),
            help: reader.optional(&table, "help", &path),
            example: reader.optional(&table, "example", &path),
            pattern: reader.optional(&table, "pattern", &path),
            optional: reader.flag(&table, "optional", false),
            once: false,
            reply: oauth.then(|| reply(reader, &table, &format!("{path}.reply"))),
            marker: marker(reader, Some(&table), entry.key, &path, Known { oauth, any_oauth, all: &all }),
        });
    }
    tokens
}

/// RFC 6749 section 5.1, below `at`.
fn reply_token(at: &str) -> ReplyToken {
    ReplyToken {
        call: 0,
        access: format!("{at}/access_token"),
        access_header: None,
        refresh: Some(format!("{at}/refresh_token")),
        expiry: Some(Expiry::Seconds(format!("{at}/expires_in"))),
        scope: Some(format!("{at}/scope")),
        lifetime_s: None,
    }
}

fn reply(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> ReplyToken {
    let at = reader.optional(table, "at", &join(path, "access")).unwrap_or_default();
    let mut reply = reply_token(&at);
    if let Some(value) = table.get("at") {
        reader.at(path, value.span());
    }
    if let Some(access) = reader.optional(table, "access", path) {
        reply.access = access;
    }
    match table.get("expires-in").map(|value| value.get_ref().as_bool()) {
        None => {}
        Some(Some(false)) => reply.expiry = None,
        Some(_) => reply.expiry = reader.optional(table, "expires-in", path).map(Expiry::Seconds),
    }
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

fn rule_sets(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    method: &Table<'_>,
    path: &str,
    names: Names<'_>,
    oauth: bool,
) -> Vec<RuleSet> {
    let path = format!("{path}.rule-sets");
    let own = method.entries.iter().any(|entry| RULES.contains(&entry.key));
    match method.get("rule-sets") {
        Some(value) if own => {
            let message = "a method has rules of its own or `rule-sets`, not both";
            let help = "move header, query and basic into [….rule-sets.default]";
            reader.fault(value.span(), message, Some(help.into()));
            Vec::new()
        }
        Some(value) => {
            reader.at(&*path, value.span());
            let Some(table) = reader.names(value, "rule-sets") else { return Vec::new() };
            let mut sets = Vec::new();
            for entry in &table.entries {
                let path = format!("{path}[{}]", sets.len());
                reader.at(&*path, entry.key_span.clone());
                reader.at(format!("{path}.name"), entry.key_span.clone());
                let Some(table) = reader.table(entry.value, "a rule set", &RULES) else { continue };
                sets.push(RuleSet { name: entry.key.to_owned(), rules: rules(reader, &table, &path, names) });
            }
            sets
        }
        None if own => {
            let path = format!("{path}[0]");
            reader.at(&*path, entry.key_span.clone());
            vec![RuleSet { name: "default".into(), rules: rules(reader, method, &path, names) }]
        }
        None => match (oauth, names.tokens) {
            // RFC 6750 section 2.1.
            (true, [token]) => {
                let placeholder = Placeholder { name: token.clone(), encodings: Vec::new() };
                let value = vec![Part::Text("Bearer ".into()), Part::Token(placeholder)];
                let rule = Rule::Header(NamedTemplate { name: "Authorization".into(), value });
                vec![RuleSet { name: "default".into(), rules: vec![rule] }]
            }
            _ => {
                let token = names.tokens.first().map_or("token", String::as_str);
                let help = format!("header.Authorization = \"Bearer {{{token}}}\"");
                let message = format!("the method `{}` does not say where its token goes", entry.key);
                reader.fault(entry.key_span.clone(), message, Some(help));
                Vec::new()
            }
        },
    }
}

fn rules(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, names: Names<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in &table.entries {
        match entry.key {
            "header" | "query" => {
                let Some(named) = reader.names(entry.value, entry.key) else { continue };
                for slot in &named.entries {
                    let path = format!("{path}.rules[{}]", rules.len());
                    reader.at(&*path, slot.key_span.clone());
                    let path = format!("{path}.{}", entry.key);
                    reader.at(format!("{path}.name"), slot.key_span.clone());
                    let value = reader.template(slot.value, slot.key, &format!("{path}.value"), names);
                    let named = NamedTemplate { name: slot.key.to_owned(), value };
                    rules.push(if entry.key == "header" { Rule::Header(named) } else { Rule::Query(named) });
                }
            }
            "basic" => {
                let path = format!("{path}.rules[{}]", rules.len());
                reader.at(&*path, entry.key_span.clone());
                let Some(table) = reader.table(entry.value, "basic", &["username", "password"]) else { continue };
                let mut field = |key: &str| {
                    table.get(key).map(|value| reader.template(value, key, &format!("{path}.basic.{key}"), names))
                };
                let (username, password) = (field("username"), field("password"));
                let rule = BasicRule { username: username.unwrap_or_default(), password: password.unwrap_or_default() };
                rules.push(Rule::Basic(rule));
            }
            // The other keys of a method.
            _ => {}
        }
    }
    rules
}

fn oauth2(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str, names: Names<'_>) -> Option<OAuth2> {
    reader.at(path, value.span());
    let table = reader.table(value, "oauth2", &OAUTH2)?;
    let mut url = |key: &'static str, required: bool| match table.get(key) {
        Some(value) => Some(reader.template(value, key, &join(path, key), names)),
        None => {
            if required {
                reader.missing(&table, "oauth2", key);
            }
            None
        }
    };
    let authorize_url: Template = url("authorize-url", true).unwrap_or_default();
    let token_url = url("token-url", true).unwrap_or_default();
    let (refresh_url, revoke_url) = (url("refresh-url", false), url("revoke-url", false));
    let auth = [
        ("basic", ClientAuth::Basic),
        ("basic-raw", ClientAuth::BasicRaw),
        ("post", ClientAuth::Post),
        ("none", ClientAuth::None),
    ];
    let redirects = [
        ("loopback-any-port", Redirect::LoopbackAnyPort),
        ("loopback", Redirect::Loopback),
        ("https-only", Redirect::HttpsOnly),
    ];
    Some(OAuth2 {
        authorize_url: Some(authorize_url),
        device_url: None,
        token_url,
        refresh_url,
        revoke_url,
        authorize_params: params(reader, &table, "authorize-params", path),
        token_params: params(reader, &table, "token-params", path),
        refresh_params: params(reader, &table, "refresh-params", path),
        token_headers: Vec::new(),
        names: Vec::new(),
        callback_code: None,
        then: Vec::new(),
        refresh: Vec::new(),
        scope_lists: scope_lists(reader, &table, path),
        pkce: reader.choice_or(&table, "pkce", &[("s256", Pkce::S256), ("off", Pkce::Off)], Pkce::S256),
        client_auth: reader.choice_or(&table, "client-auth", &auth, ClientAuth::Basic),
        body: reader.choice_or(
            &table,
            "body",
            &[("form", TokenBody::Form), ("json", TokenBody::Json)],
            TokenBody::Form,
        ),
        issuer: reader.optional(&table, "issuer", path),
        error: reader.optional(&table, "error", path).unwrap_or_else(|| "/error".into()),
        errors: errors(reader, &table, path),
        rotation: rotation(reader, &table, path),
        redirect: reader.choice_or(&table, "redirect", &redirects, Redirect::Loopback),
    })
}

fn scope_lists(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Vec<ScopeList> {
    let path = format!("{path}.scope-lists");
    if let Some(value) = oauth2.get("scope-lists") {
        if oauth2.has("scopes") || oauth2.has("scope-separator") {
            let help = "move them into scope-lists.scope";
            reader.fault(value.span(), "`scopes` and `scope-lists` exclude each other", Some(help.into()));
        }
        let Some(table) = reader.names(value, "scope-lists") else { return Vec::new() };
        let mut lists = Vec::new();
        for entry in &table.entries {
            let path = format!("{path}[{}]", lists.len());
            reader.at(&*path, entry.key_span.clone());
            let Some(table) = reader.table(entry.value, "a scope list", &["separator", "scopes"]) else { continue };
            let separator = reader.optional(&table, "separator", &path).unwrap_or_else(|| " ".into());
            let scopes = scopes(reader, &table, &path);
            lists.push(ScopeList { param: entry.key.to_owned(), separator, scopes });
        }
        return lists;
    }
    let path = format!("{path}[0]");
    let separator = match oauth2.get("scope-separator") {
        Some(value) => reader.text_of(value, "scope-separator", &format!("{path}.separator")),
        None => None,
    };
    if !oauth2.has("scopes") {
        if let Some(value) = oauth2.get("scope-separator") {
            reader.fault(value.span(), "a separator without `scopes` separates nothing", None);
        }
        return Vec::new();
    }
    let scopes = scopes(reader, oauth2, &path);
    vec![ScopeList { param: "scope".into(), separator: separator.unwrap_or_else(|| " ".into()), scopes }]
}

fn scopes(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> Vec<Scope> {
    let Some(value) = table.get("scopes") else { return Vec::new() };
    let Some(table) = reader.names(value, "scopes") else { return Vec::new() };
    let mut scopes = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}.scopes[{}]", scopes.len());
        reader.at(&*path, entry.key_span.clone());
        let (text, default) = match entry.value.get_ref() {
            DeValue::Table(_) => {
                let Some(table) = reader.table(entry.value, "a scope", &["text", "default"]) else { continue };
                (reader.required(&table, "the scope", "text", &path), reader.flag(&table, "default", false))
            }
            _ => (reader.text_of(entry.value, entry.key, &format!("{path}.text")).unwrap_or_default(), false),
        };
        scopes.push(Scope { name: entry.key.to_owned(), text, default });
    }
    scopes
}

fn errors(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Vec<ErrorMeaning> {
    let Some(value) = oauth2.get("errors") else { return Vec::new() };
    let Some(table) = reader.names(value, "errors") else { return Vec::new() };
    let classes = [
        ("permanent", ErrorClass::Permanent),
        ("configuration", ErrorClass::Configuration),
        ("throttle", ErrorClass::Throttle),
        ("transient", ErrorClass::Transient),
    ];
    let mut errors = Vec::new();
    for entry in &table.entries {
        reader.at(format!("{path}.errors[{}]", errors.len()), entry.key_span.clone());
        if let Some(class) = reader.choice(entry.value, entry.key, &classes) {
            errors.push(ErrorMeaning { code: entry.key.to_owned(), class });
        }
    }
    errors
}

fn rotation(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Rotation {
    let Some(value) = oauth2.get("rotation") else { return Rotation::Rotating };
    reader.at(format!("{path}.rotation"), value.span());
    if value.get_ref().is_table() {
        let Some(table) = reader.table(value, "rotation", &["grace-s"]) else { return Rotation::Rotating };
        let Some(seconds) = table.get("grace-s") else {
            reader.missing(&table, "rotation", "grace-s");
            return Rotation::Rotating;
        };
        return reader.number(seconds, "grace-s").map_or(Rotation::Rotating, Rotation::Grace);
    }
    let words = [("none", Rotation::None), ("rotating", Rotation::Rotating), ("strict", Rotation::Strict)];
    reader.choice(value, "rotation", &words).unwrap_or(Rotation::Rotating)
}
