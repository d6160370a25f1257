//! `fixtures.toml`: requests that a service documents, and answers that it really gave. What a made provider says comes
//! from the declaration; what stands here does not, so a declaration that misreads the service fails.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deputy_declaration::source::reader::Fault;
use deputy_declaration::source::{Problems, problems};
use deputy_declaration::types::App;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use url::{Url, form_urlencoded};

use super::fake::{Reply, Seen, State};
use super::wanted::{Difference, authority};

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// What brings the tokens when an account is made.
    Token,
    Refresh,
    /// The app's test request.
    Test,
    /// A request that finds out inputs.
    Inputs,
    /// Any other.
    Api,
}

/// What an answer of the API means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    Good,
    Expired,
    Revoked,
    Failed,
    Throttled,
}

/// What the host must read in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reads {
    pub id: Option<String>,
    pub label: Option<String>,
    pub lifetime_s: Option<i64>,
    pub scopes: Option<Vec<String>>,
    /// The code of the error that whoever connects gets.
    pub error: Option<String>,
    pub is: Option<Meaning>,
}

/// A request as it is documented. What is left out is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    pub method: Option<String>,
    pub url: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub basic: Option<Basic>,
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    #[serde(default)]
    pub json: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub username: String,
    #[serde(default)]
    pub password: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fixture {
    pub to: To,
    /// The auth method; none: all of them.
    pub method: Option<String>,
    /// Of several calls, from 0.
    #[serde(default)]
    pub call: usize,
    /// The page or the recording that it is from.
    pub source: String,
    pub date: String,
    #[serde(default)]
    pub request: Request,
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub reads: Reads,
    /// `fixtures.toml:12`
    #[serde(skip)]
    pub place: String,
}

fn ok() -> u16 {
    200
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    answer: Vec<Spanned<Fixture>>,
}

/// Reads the text of a `fixtures.toml`. `file` stands in the problems.
///
/// # Errors
/// Each fault at its line and column.
pub fn read(file: &str, text: &str, app: &App) -> Result<Vec<Fixture>, Problems> {
    let read: File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        problems(file, text, vec![Fault { span, message: error.message().to_owned(), help: None }])
    })?;
    let (mut fixtures, mut faults) = (Vec::new(), Vec::new());
    for answer in read.answer {
        let span = answer.span();
        let mut fixture = answer.into_inner();
        let line = text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
        fixture.place = format!("{file}:{line}");
        if let Some(message) = fault(&fixture, app) {
            faults.push(Fault { span, message, help: None });
        }
        fixtures.push(fixture);
    }
    match faults.is_empty() {
        true => Ok(fixtures),
        false => Err(problems(file, text, faults)),
    }
}

fn fault(fixture: &Fixture, app: &App) -> Option<String> {
    let Fixture { to, reads, .. } = fixture;
    if let Some(name) = &fixture.method
        && !app.methods.iter().any(|method| method.id == *name)
    {
        return Some(format!("the app has no method `{name}`"));
    }
    if *to == To::Test && app.test.is_none() {
        return Some("the app declares no test request".to_owned());
    }
    let identity = reads.id.is_some() || reads.label.is_some();
    let grant = reads.lifetime_s.is_some() || reads.scopes.is_some();
    let fits = match to {
        To::Api => reads.is.is_some() && !identity && !grant && reads.error.is_none(),
        To::Test => reads.is.is_none() && !grant,
        To::Token => reads.is.is_none() && !identity,
        To::Refresh | To::Inputs => reads.is.is_none() && !identity && !grant && reads.error.is_none(),
    };
    (!fits).then(|| {
        "`reads` holds `is` of an answer to `api`, `id` and `label` of one to `test`, `lifetime-s` and `scopes` of one \
         to `token`, `error` of one to `token` or `test`"
            .to_owned()
    })
}

impl Fixture {
    /// Nothing goes wrong with it.
    pub fn connects(&self) -> bool {
        self.reads.error.is_none() && self.to != To::Api
    }

    /// # Errors
    /// What the documented request has and the one that came has not.
    pub(super) fn check(&self, state: &State, seen: &Seen, code: Option<&str>) -> Result<(), Difference> {
        let fill = |text: &str| state.filled(&text.replace("{code}", code.unwrap_or("{code}")));
        let differs = |depth: u8, what: String| {
            Err(Difference::new(depth, format!("{} documents another request: {what}", self.place)))
        };
        let Request { method, url, headers, basic, form, json } = &self.request;
        let line = 0;
        if let Some(method) = method.as_ref().filter(|method| **method != seen.method) {
            return differs(line, format!("the method is {method}"));
        }
        if let Some(url) = url {
            let url = Url::parse(&fill(url))
                .map_err(|error| Difference::new(line, format!("{}: the URL: {error}", self.place)))?;
            let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
            if authority(&url) != seen.host || url.path() != path {
                return differs(line, format!("it goes to https://{}{}", authority(&url), url.path()));
            }
            let sent: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            if let Some((name, _)) = url.query_pairs().find(|pair| !sent.contains(pair)) {
                return differs(line, format!("its query says `{name}` otherwise"));
            }
        }
        for (name, value) in headers {
            let value = fill(value);
            if !seen.headers.iter().any(|(known, sent)| known.eq_ignore_ascii_case(name) && *sent == value) {
                return differs(Difference::HEADERS, format!("its header `{name}` is another"));
            }
        }
        if let Some(basic) = basic {
            let (username, password) = (fill(&basic.username), fill(&basic.password));
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            // RFC 6749 section 2.3.1 encodes both first, and few pages say whether a service does.
            let pairs = [format!("{username}:{password}"), format!("{}:{}", encoded(&username), encoded(&password))];
            let values = pairs.map(|pair| format!("Basic {}", STANDARD.encode(pair)));
            if !seen.headers.iter().any(|(name, sent)| name == "authorization" && values.contains(sent)) {
                return differs(Difference::HEADERS, "it is authenticated by Basic, with these parts".to_owned());
            }
        }
        let sent: Vec<(String, String)> = form_urlencoded::parse(&seen.body).into_owned().collect();
        for (name, value) in form {
            if !sent.contains(&(name.clone(), fill(value))) {
                return differs(Difference::HEADERS, format!("its form says `{name}` otherwise"));
            }
        }
        let sent: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        for (name, value) in json {
            let value = value.as_str().map_or_else(|| value.clone(), |text| Value::from(fill(text)));
            if sent.get(name) != Some(&value) {
                return differs(Difference::HEADERS, format!("its JSON says `{name}` otherwise"));
            }
        }
        Ok(())
    }

    /// The recorded answer, with this run's values where credentials stood.
    pub(super) fn reply(&self, state: &State) -> Reply {
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), state.filled(value))).collect();
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        (self.status, headers, state.filled(&self.body).into_bytes())
    }
}
