//! A new app from a few answers: the smallest `app.toml` of its kind, with words where an author goes on.

use super::slug_of;
use crate::types::App;

/// How the accounts of an API prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bearer,
    Header,
    Query,
    Basic,
    OAuth,
    ClientCredentials,
    Tenant,
    TwoTokens,
    Aws,
    Hook,
}

/// Each kind by its word, and what it is for.
pub const KINDS: &[(&str, Kind, &str)] = &[
    ("bearer", Kind::Bearer, "a pasted token in `Authorization: Bearer …`"),
    ("header", Kind::Header, "a pasted key in a header of its own"),
    ("query", Kind::Query, "a pasted key in the query"),
    ("basic", Kind::Basic, "a user name and a password"),
    ("oauth", Kind::OAuth, "OAuth 2.0 with a consent in the browser"),
    ("client-credentials", Kind::ClientCredentials, "a client id and secret that are traded for tokens"),
    ("tenant", Kind::Tenant, "a pasted token, and a host of each customer's own"),
    ("two-tokens", Kind::TwoTokens, "OAuth 2.0 that brings a bot's and a user's token"),
    ("aws", Kind::Aws, "AWS Signature Version 4"),
    ("hook", Kind::Hook, "a signature of the service's own, made by a Rust crate beside the app.toml"),
];

/// What an author answers.
#[derive(Debug, Clone)]
pub struct New {
    /// As the vendor writes it.
    pub name: String,
    /// None: made from the name.
    pub slug: Option<String>,
    /// Where the API lives: `https://api.acme.com/v1`. A tenant's host is put before its registrable part.
    pub base: String,
    pub docs: Option<String>,
    /// The path of the request that shows whose account it is; none: `/me`.
    pub test: Option<String>,
    /// Of OAuth; none: `/oauth/authorize` and `/oauth/token` where the API lives.
    pub authorize_url: Option<String>,
    pub token_url: Option<String>,
    pub kind: Kind,
    /// Today, `2026-11-23`.
    pub date: String,
}

/// The files of a new app, each with its path below the app's folder.
pub type Files = Vec<(&'static str, String)>;

/// The slug and the files of the new app.
///
/// # Errors
/// In words: the base is no https URL, the slug is none, or a URL of OAuth stands beside a kind that has none.
pub fn new(new: &New) -> Result<(String, Files), String> {
    let slug = new.slug.clone().unwrap_or_else(|| slug_of(&new.name));
    let base = url::Url::parse(new.base.trim()).map_err(|error| format!("`{}` is no URL: {error}", new.base))?;
    if base.scheme() != "https" || base.host_str().is_none() || base.query().is_some() || base.fragment().is_some() {
        return Err(format!("`{}` is no https address without a query", new.base));
    }
    let origin = base.origin().ascii_serialization();
    let docs = new.docs.clone().unwrap_or_else(|| origin.clone());
    let written = match new.kind {
        Kind::Tenant => tenant(&base)?,
        _ => base.as_str().trim_end_matches('/').to_owned(),
    };
    let body = match new.kind {
        Kind::Bearer => include_str!("templates/bearer.toml"),
        Kind::Header => include_str!("templates/header.toml"),
        Kind::Query => include_str!("templates/query.toml"),
        Kind::Basic => include_str!("templates/basic.toml"),
        Kind::OAuth => include_str!("templates/oauth.toml"),
        Kind::ClientCredentials => include_str!("templates/client-credentials.toml"),
        Kind::Tenant => include_str!("templates/tenant.toml"),
        Kind::TwoTokens => include_str!("templates/two-tokens.toml"),
        Kind::Aws => include_str!("templates/aws.toml"),
        Kind::Hook => include_str!("templates/hook.toml"),
    };
    let summary = format!("What {} is for, in one sentence.", new.name);
    for (given, place, what) in
        [(&new.authorize_url, "{authorize_url}", "authorize URL"), (&new.token_url, "{token_url}", "token URL")]
    {
        if given.is_some() && !body.contains(place) {
            return Err(format!("an app of this kind has no {what}"));
        }
    }
    let endpoint = |given: &Option<String>, path: &str| given.clone().unwrap_or_else(|| format!("{origin}{path}"));
    let mut text = format!("{}{body}", include_str!("templates/head.toml"));
    // Only these: placeholders of the declaration stand in braces too.
    for (name, value) in [
        ("slug", slug.as_str()),
        ("name", &new.name),
        ("summary", &summary),
        ("docs", &docs),
        ("base", &written),
        ("test", new.test.as_deref().unwrap_or("/me")),
        ("authorize_url", &endpoint(&new.authorize_url, "/oauth/authorize")),
        ("token_url", &endpoint(&new.token_url, "/oauth/token")),
        ("date", &new.date),
    ] {
        text = text.replace(&format!("{{{name}}}"), &escaped(value));
    }
    let mut files = vec![("app.toml", text)];
    if new.kind == Kind::Hook {
        files.push(("hooks/Cargo.toml", include_str!("../../../../sdk/hooks/example/hooks/Cargo.toml").to_owned()));
        let code = include_str!("../../../../sdk/hooks/example/hooks/src/lib.rs").replace("X-Acme-Date", "X-Date");
        files.push(("hooks/src/lib.rs", code));
        files.push((".gitignore", "hooks/target/\nhooks/deputy-hooks/\n*.wasm\n".to_owned()));
    }
    check(&files[0].1)?;
    Ok((slug, files))
}

/// `https://api.acme.com/v1` → `https://{tenant}.acme.com/v1`
fn tenant(base: &url::Url) -> Result<String, String> {
    let host = base.host_str().unwrap_or_default();
    let labels: Vec<&str> = host.split('.').collect();
    let suffix = match labels.as_slice() {
        [_, rest @ ..] if rest.len() >= 2 => rest.join("."),
        [_, _] => host.to_owned(),
        _ => return Err(format!("`{host}` has no place for a tenant before it")),
    };
    Ok(format!("https://{{tenant}}.{suffix}{}", base.path().trim_end_matches('/')))
}

/// Within a basic TOML string, and without braces that would be placeholders.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").chars().filter(|c| !c.is_control()).collect()
}

/// What is given to an author is an app.
fn check(text: &str) -> Result<App, String> {
    crate::source::parse("app.toml", text).map_err(|problems| match problems.0.first() {
        Some(problem) => problem.message.clone(),
        None => problems.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_an_app() {
        for (word, kind, _) in KINDS {
            let made = new(&New {
                name: "Acme \"Parcels\"".into(),
                slug: None,
                base: "https://api.acme-parcels.com/v2/".into(),
                docs: None,
                test: Some("/whoami".into()),
                authorize_url: None,
                token_url: None,
                kind: *kind,
                date: "2026-11-23".into(),
            });
            let (slug, files) = made.unwrap_or_else(|error| panic!("{word}: {error}"));
            assert_eq!(slug, "acme-parcels");
            assert!(files[0].1.contains("test = { path = \"/whoami\""), "{word}: {}", files[0].1);
            assert_eq!(files.len() > 1, *kind == Kind::Hook, "{word}");
        }
    }

    #[test]
    fn what_cannot_be_an_app_is_said() {
        let with = |name: &str, slug: Option<&str>, base: &str| {
            let slug = slug.map(str::to_owned);
            let (name, base, date) = (name.to_owned(), base.to_owned(), "2026-11-23".to_owned());
            let oauth = Some("https://acme.com/token".to_owned()).filter(|_| name == "Token");
            let (authorize_url, kind) = (None, Kind::Tenant);
            new(&New { name, slug, base, docs: None, test: None, authorize_url, token_url: oauth, kind, date })
                .unwrap_err()
        };
        assert!(with("Token", None, "https://api.acme.com").contains("has no token URL"));
        assert!(with("Acme", None, "http://api.acme.com").contains("https"));
        assert!(with("Acme", None, "nonsense").contains("no URL"));
        assert!(with("Acme", None, "https://localhost/").contains("tenant"));
        assert!(!with("Acme", Some("No Slug"), "https://api.acme.com").is_empty());
    }
}
