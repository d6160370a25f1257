//! The made provider's API: the credential must stand where the rules say, in that form, and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deputy_declaration::template;
use deputy_declaration::types::{App, AuthMethod, Discovery, InputSource, Part, Rule, RuleSet, Signer, Template};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::fake::{self, Answering, Candidates, Expected, Fake, Reply, Seen, State, Then};
use super::recorded::To;
use super::signatures;
use super::wanted::{Content, Pairs, Wanted, put};

/// What the host asks while it connects: whose account it is, and the inputs that the provider says.
pub(super) fn at_connect(app: &App, state: &State) -> Vec<Expected> {
    let mut asked: Vec<Expected> = Vec::new();
    for input in &app.inputs {
        let InputSource::Discovered(Discovery::Request(request)) = &input.source else { continue };
        let Ok(target) = template::render_public(&request.url, &state.inputs) else { continue };
        // One answer may say several things.
        let same = |known: &Expected| known.target == target && known.rule_set == request.identity;
        let at = asked.iter().position(same).unwrap_or_else(|| {
            asked.push(Expected {
                to: To::Inputs,
                method: "GET".to_owned(),
                target,
                headers: Vec::new(),
                body: Vec::new(),
                rule_set: request.identity.clone(),
                answer: json!({}),
            });
            asked.len() - 1
        });
        let item = |place: &str| {
            format!("{}{place}", request.items.as_ref().map(|items| format!("{items}/0")).unwrap_or_default())
        };
        let answer = &mut asked[at].answer;
        if let Some(label) = &request.label {
            put(answer, &item(label), Value::from("Conformance"));
        }
        if let Some(value) = state.inputs.get(&input.name) {
            put(answer, &item(&request.value), Value::from(value.as_str()));
        }
    }
    asked.extend(test(app));
    asked
}

fn test(app: &App) -> Option<Expected> {
    let test = app.test.as_ref()?;
    let mut answer = json!({});
    for (place, value) in [(&test.label, "Ada of the conformance kit"), (&test.id, "conformance-1")] {
        if let Some(place) = place {
            put(&mut answer, place, Value::from(value));
        }
    }
    Some(Expected {
        to: To::Test,
        method: test.method.clone(),
        target: test.path.clone(),
        headers: test.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        body: test.body.clone().unwrap_or_default().into_bytes(),
        rule_set: None,
        answer,
    })
}

pub(super) fn candidates(
    fake: &Fake,
    state: &State,
    method: &AuthMethod,
    candidates: &mut Candidates,
) -> Result<(), String> {
    for expected in &state.expected {
        // A base that hangs on what is still to be found is no place yet.
        let Ok(base) = template::base(&fake.app, &state.inputs) else { continue };
        // Before the login no rule has its tokens.
        let Some(set) = rule_set(method, state, expected.rule_set.as_deref()) else { continue };
        let (wanted, signers) = request(fake, state, &base, expected, set)?;
        candidates.push((wanted, Then::Api(expected.clone(), signers)));
    }
    Ok(())
}

/// The set asked for, else the first, of those whose tokens are there. The inner none: the method has no sets.
fn rule_set<'a>(method: &'a AuthMethod, state: &State, name: Option<&str>) -> Option<Option<&'a RuleSet>> {
    if name.is_none() && method.rule_sets.is_empty() {
        return Some(None);
    }
    let mut usable = method.rule_sets.iter().filter(|set| templates(set).iter().all(|template| state.has(template)));
    usable.find(|set| name.is_none_or(|name| set.name == name)).map(Some)
}

/// What a set cannot do without.
fn templates(set: &RuleSet) -> Vec<&Template> {
    set.rules.iter().flat_map(needs).collect()
}

fn needs(rule: &Rule) -> Vec<&Template> {
    match rule {
        Rule::Header(rule) | Rule::Query(rule) | Rule::Body(rule) => vec![&rule.value],
        Rule::Basic(rule) => vec![&rule.username, &rule.password],
        Rule::Path(path) => vec![path],
        Rule::Sign(Signer::AwsSigv4(sign)) => vec![&sign.access_key, &sign.secret_key, &sign.region, &sign.service],
        Rule::Sign(Signer::OAuth1(sign)) => {
            vec![&sign.consumer_key, &sign.consumer_secret, &sign.token, &sign.token_secret]
        }
        Rule::Sign(Signer::Hook(_)) => Vec::new(),
    }
}

fn request(
    fake: &Fake,
    state: &State,
    base: &Url,
    expected: &Expected,
    set: Option<&RuleSet>,
) -> Result<(Wanted, Vec<Signer>), String> {
    let render = |template: &[Part]| {
        state.render(template)?.ok_or_else(|| "the rules need a token that this account does not have".to_owned())
    };
    let (path, query) = expected.target.split_once('?').unwrap_or((&expected.target, ""));
    let mut url = match path.starts_with('/') {
        true => below(base, "", path),
        false => Url::parse(path).map_err(|error| error.to_string())?,
    };
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    let placed = |set: &RuleSet| {
        let method = fake.app.methods.get(state.method)?;
        let at = method.rule_sets.iter().position(|known| known.name == set.name)?;
        Some(format!("methods[{}].rule-sets[{at}]", state.method))
    };
    let about = match expected.to {
        To::Test => "test",
        To::Inputs => "inputs",
        To::Token | To::Refresh | To::Api => "base",
    };
    let mut wanted = Wanted::new(about.to_owned(), &expected.method, url);
    wanted.rules = set.and_then(placed);
    for (name, value) in &expected.headers {
        wanted.header(name, value);
    }
    for default in &fake.app.headers {
        if !wanted.has_header(&default.name) {
            wanted.header(&default.name, &default.value);
        }
    }
    wanted.content = Content::Bytes(expected.body.clone());
    let mut signers = Vec::new();
    for rule in set.map(|set| set.rules.as_slice()).unwrap_or_default() {
        match rule {
            Rule::Header(header) => wanted.header(&header.name, render(&header.value)?),
            Rule::Basic(basic) => {
                let pair = format!("{}:{}", render(&basic.username)?, render(&basic.password)?);
                wanted.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            Rule::Query(field) => {
                wanted.url.query_pairs_mut().append_pair(&field.name, &render(&field.value)?);
            }
            Rule::Body(field) => add_field(&mut wanted, &field.name, render(&field.value)?)?,
            Rule::Path(segments) => {
                if let Some(rest) = rest(base, &wanted.url) {
                    let mut moved = below(base, &render(segments)?, &rest);
                    moved.set_query(wanted.url.query());
                    wanted.url = moved;
                }
            }
            Rule::Sign(signer) => {
                wanted.signed.extend(signatures::places(signer));
                signers.push(signer.clone());
            }
        }
    }
    Ok((wanted, signers))
}

fn below(base: &Url, segments: &str, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{segments}{path}", base.path().trim_end_matches('/')));
    url
}

/// What follows the base in a URL.
fn rest(base: &Url, url: &Url) -> Option<String> {
    let rest = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    (url.origin() == base.origin()).then(|| rest.to_owned())
}

/// One more field in the body: in JSON where the body is JSON, or where a JSON Pointer names the place.
fn add_field(wanted: &mut Wanted, name: &str, value: String) -> Result<(), String> {
    let kind = wanted.headers.iter().find(|(known, _)| known == "content-type").map(|(_, value)| value.clone());
    let is_json = match &kind {
        Some(kind) => kind.contains("json"),
        None => name.starts_with('/'),
    };
    let bytes = match &wanted.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Form(pairs) => {
            let mut pairs = pairs.clone();
            pairs.push((name.to_owned(), value));
            wanted.content = Content::Form(pairs);
            return Ok(());
        }
        Content::Json(body) => {
            let mut body = body.clone();
            put(&mut body, &pointer(name), Value::from(value));
            wanted.content = Content::Json(body);
            return Ok(());
        }
    };
    if is_json {
        let mut body = match bytes.is_empty() {
            true => Value::Object(Map::new()),
            false => {
                serde_json::from_slice(&bytes).map_err(|error| format!("the declared body is no JSON: {error}"))?
            }
        };
        put(&mut body, &pointer(name), Value::from(value));
        wanted.content = Content::Json(body);
    } else {
        let mut pairs: Pairs = form_urlencoded::parse(&bytes).into_owned().collect();
        pairs.push((name.to_owned(), value));
        wanted.content = Content::Form(pairs);
    }
    if kind.is_none() {
        wanted.header("content-type", if is_json { "application/json" } else { "application/x-www-form-urlencoded" });
    }
    Ok(())
}

fn pointer(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
    }
}

pub(super) fn answer(state: &State, seen: &Seen, expected: &Expected, signers: &[Signer]) -> Result<Reply, String> {
    for signer in signers {
        signatures::verify(signer, state, seen)?;
    }
    let answering = state.answering.clone();
    Ok(match answering {
        Answering::Well => fake::json_reply(200, &expected.answer),
        Answering::Signal(conditions) | Answering::UntilRenewed(conditions) => fake::signal(&conditions),
        Answering::Recorded(fixture) => fixture.reply(state),
        Answering::Echo => fake::json_reply(200, &json!({ "echo": state.secrets() })),
    })
}
