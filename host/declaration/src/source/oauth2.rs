//! `oauth2` of a method, with the defaults of RFC 6749.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::app::params;
use super::calls::calls;
use super::reader::{Names, Reader, Table, join};
use crate::types::{
    ClientAuth, ErrorClass, ErrorMeaning, OAuth2, Pkce, Redirect, Rename, Rotation, Scope, ScopeList, TokenBody,
};

const OAUTH2: [&str; 24] = [
    "authorize-url",
    "device-url",
    "token-url",
    "refresh-url",
    "revoke-url",
    "authorize-params",
    "token-params",
    "refresh-params",
    "token-headers",
    "names",
    "callback-code",
    "then",
    "refresh",
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

pub(super) fn oauth2(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    names: Names<'_>,
) -> Option<OAuth2> {
    reader.at(path, value.span());
    let table = reader.table(value, "oauth2", &OAUTH2)?;
    let device = table.has("device-url");
    let public = Names { tokens: &[], ..names };
    let mut url = |key: &'static str, required: bool| match table.get(key) {
        Some(value) => Some(reader.template(value, key, &join(path, key), public)),
        None => {
            if required {
                reader.missing(&table, "oauth2", key);
            }
            None
        }
    };
    let (authorize_url, device_url) = (url("authorize-url", !device), url("device-url", false));
    let token_url = url("token-url", true).unwrap_or_default();
    let (refresh_url, revoke_url) = (url("refresh-url", false), url("revoke-url", false));
    let auth = [
        ("basic", ClientAuth::Basic),
        ("basic-raw", ClientAuth::BasicRaw),
        ("basic-secret", ClientAuth::BasicSecret),
        ("post", ClientAuth::Post),
        ("none", ClientAuth::None),
    ];
    let client_auth = reader.choice_or(&table, "client-auth", &auth, ClientAuth::Basic);
    let secret = client_auth != ClientAuth::None;
    let then = calls(reader, &table, "then", path, names.with_host(super::method::client_values(secret, true, false)));
    let refresh =
        calls(reader, &table, "refresh", path, names.with_host(super::method::client_values(secret, true, true)));
    let bodies = [("form", TokenBody::Form), ("json", TokenBody::Json), ("query", TokenBody::Query)];
    let redirects = [
        ("loopback-any-port", Redirect::LoopbackAnyPort),
        ("loopback", Redirect::Loopback),
        ("https-only", Redirect::HttpsOnly),
    ];
    Some(OAuth2 {
        authorize_url,
        device_url,
        token_url,
        refresh_url,
        revoke_url,
        authorize_params: params(reader, &table, "authorize-params", path),
        token_params: params(reader, &table, "token-params", path),
        refresh_params: params(reader, &table, "refresh-params", path),
        token_headers: params(reader, &table, "token-headers", path),
        names: renames(reader, &table, path),
        callback_code: reader.optional(&table, "callback-code", path),
        then,
        refresh,
        scope_lists: scope_lists(reader, &table, path),
        pkce: reader.choice_or(&table, "pkce", &[("s256", Pkce::S256), ("off", Pkce::Off)], Pkce::S256),
        client_auth,
        body: reader.choice_or(&table, "body", &bodies, TokenBody::Form),
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
        let (text, default, required) = match entry.value.get_ref() {
            DeValue::Table(_) => {
                let Some(table) = reader.table(entry.value, "a scope", &["text", "default", "required"]) else {
                    continue;
                };
                let required = reader.flag(&table, "required", false);
                let text = reader.required(&table, "the scope", "text", &path);
                (text, reader.flag(&table, "default", required), required)
            }
            _ => (reader.text_of(entry.value, entry.key, &format!("{path}.text")).unwrap_or_default(), false, false),
        };
        scopes.push(Scope { name: entry.key.to_owned(), text, default, required });
    }
    scopes
}

pub(super) fn errors(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Vec<ErrorMeaning> {
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

pub(super) fn rotation(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Rotation {
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

/// `names = { client_id = "client_key", scope = false }`
fn renames(reader: &mut Reader<'_>, oauth2: &Table<'_>, path: &str) -> Vec<Rename> {
    let Some(value) = oauth2.get("names") else { return Vec::new() };
    let Some(table) = reader.names(value, "names") else { return Vec::new() };
    let mut renames = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}.names[{}]", renames.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(join(&path, "name"), entry.key_span.clone());
        let to = match entry.value.get_ref().as_bool() {
            Some(false) => None,
            _ => match reader.text_of(entry.value, entry.key, &join(&path, "to")) {
                Some(to) => Some(to),
                None => continue,
            },
        };
        renames.push(Rename { name: entry.key.to_owned(), to });
    }
    renames
}
