//! The slots of a rule: where code that knows the service puts the token, and how a marker is taken out there.
//!
//! In a signature a marker stands as the key id. Code has signed with the marker of the secret, so the whole signature
//! is worth nothing; it is dropped, and the egress signs anew.

use std::collections::BTreeMap;

use deputy_declaration::template;
use deputy_declaration::types::{Rule, RuleSet, Signer, Template};
use percent_encoding::percent_decode_str;
use url::Url;

use super::super::Bound;
use super::super::requests::{Ask, Refusal, RefusalCode};
use super::{Hit, Markers, folded, mentions};
use crate::egress::{fields, segments, sign};

/// Where a rule of an app puts a secret, or a key id. Names are folded as the egress folds them: `_` is `-`, case does
/// not matter; those of body fields are as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Header(String),
    Query(String),
    Body(String),
    Path,
}

const OAUTH1_KEYS: [&str; 2] = ["oauth_consumer_key", "oauth_token"];

pub(super) fn slots_of(rule: &Rule) -> Vec<Slot> {
    let authorization = || Slot::Header("authorization".to_owned());
    match rule {
        Rule::Header(rule) => vec![Slot::Header(folded(&rule.name))],
        Rule::Basic(_) => vec![authorization()],
        Rule::Query(rule) => vec![Slot::Query(folded(&rule.name))],
        Rule::Body(rule) => vec![Slot::Body(rule.name.clone())],
        Rule::Path(_) => vec![Slot::Path],
        Rule::Sign(Signer::AwsSigv4(_)) => vec![
            authorization(),
            Slot::Header("x-amz-security-token".to_owned()),
            Slot::Query("x-amz-credential".to_owned()),
            Slot::Query("x-amz-security-token".to_owned()),
        ],
        Rule::Sign(Signer::OAuth1(_)) => {
            let keys = OAUTH1_KEYS.iter();
            let places = keys.flat_map(|key| [Slot::Query(folded(key)), Slot::Body((*key).to_owned())]);
            std::iter::once(authorization()).chain(places).collect()
        }
        Rule::Sign(Signer::Hook) => Vec::new(),
    }
}

/// Does the rule put this token into its slots? Of a signature: is the token a key id, or sent beside it?
pub(super) fn uses(rule: &Rule, token: &str) -> bool {
    let any = |templates: &[&Template]| templates.iter().any(|template| mentions(template, token));
    match rule {
        Rule::Header(rule) | Rule::Query(rule) | Rule::Body(rule) => any(&[&rule.value]),
        Rule::Basic(rule) => any(&[&rule.username, &rule.password]),
        Rule::Path(rule) => any(&[rule]),
        Rule::Sign(Signer::AwsSigv4(rule)) => {
            any(&[&rule.access_key]) || rule.session_token.as_ref().is_some_and(|template| any(&[template]))
        }
        Rule::Sign(Signer::OAuth1(rule)) => any(&[&rule.consumer_key, &rule.token]),
        Rule::Sign(Signer::Hook) => false,
    }
}

/// The place of a rule, in words.
pub(super) fn place(rule: &Rule) -> String {
    match rule {
        Rule::Header(rule) => format!("the header `{}`", rule.name),
        Rule::Basic(_) => "the header `Authorization` (Basic)".to_owned(),
        Rule::Query(rule) => format!("the query field `{}`", rule.name),
        Rule::Body(rule) => format!("the body field `{}`", rule.name),
        Rule::Path(rule) => format!("the path behind the base, as `{}`", crate::app::words::template(rule)),
        Rule::Sign(_) => "the key id of the signature".to_owned(),
    }
}

/// Does a signature in `Authorization`, or a field that goes with one, name this key id?
pub(super) fn signed_with(slot: &Slot, value: &str, marker: &str) -> bool {
    match slot {
        Slot::Header(name) if name == "authorization" => sign::key_ids(value).iter().any(|id| id == marker),
        // `key/20261123/us-east-1/s3/aws4_request`
        Slot::Query(name) if name == "x-amz-credential" => value.split('/').next() == Some(marker),
        Slot::Header(_) | Slot::Query(_) | Slot::Body(_) => value == marker,
        Slot::Path => false,
    }
}

impl Markers {
    /// Takes fields out of a body that are those of a rule and hold its token's marker.
    pub(super) fn take_from_body(&self, bindings: &BTreeMap<String, Bound>, ask: &mut Ask, hits: &mut Vec<Hit>) {
        let Some(kind) = body_kind(ask) else { return };
        for (at, marker) in self.all.iter().enumerate() {
            let Some(bound) = bindings.get(&marker.prop) else { continue };
            for rule in
                super::rule_sets(bound).iter().flat_map(|set| &set.rules).filter(|rule| uses(rule, &marker.token))
            {
                for slot in slots_of(rule) {
                    let Slot::Body(name) = &slot else { continue };
                    let rendered = match rule {
                        Rule::Body(rule) => self.rendered(bound, &marker.prop, &rule.value),
                        _ => None,
                    };
                    let wanted = |text: &str| text == marker.value || rendered.as_deref() == Some(text);
                    if let Some(rest) = fields::without(kind, &ask.body, name, &wanted) {
                        ask.body = rest;
                        hits.push(Hit { marker: at, slot });
                    }
                }
            }
        }
    }

    /// Takes the segments out of a path that a rule writes there, with its tokens' markers in them.
    pub(super) fn take_from_path(&self, bindings: &BTreeMap<String, Bound>, url: &mut String, hits: &mut Vec<Hit>) {
        for (prop, bound) in bindings {
            for rule in super::rule_sets(bound).iter().flat_map(|set| &set.rules) {
                let Rule::Path(template) = rule else { continue };
                let Some(segments) = self.rendered(bound, prop, template) else { continue };
                let Some(rest) = without_segments(bound, &segments, url) else { continue };
                *url = rest;
                let named = self.all.iter().enumerate();
                let named = named.filter(|(_, marker)| marker.prop == *prop && mentions(template, &marker.token));
                hits.extend(named.map(|(marker, _)| Hit { marker, slot: Slot::Path }));
                return;
            }
        }
    }
}

/// The URL without these segments behind the base; none: they do not stand there.
fn without_segments(bound: &Bound, rendered: &str, url: &str) -> Option<String> {
    let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let (before, rest) = if path.starts_with('/') {
        (String::new(), path.to_owned())
    } else {
        let base = template::base(&bound.declaration, &bound.inputs).ok()?;
        let parsed = Url::parse(path).ok()?;
        // Only the plain spelling: whatever else it is, the egress judges it.
        let rest = segments::below(&base, &parsed).filter(|_| parsed.as_str() == path)?;
        (base.as_str().trim_end_matches('/').to_owned(), rest.to_owned())
    };
    let wanted: Vec<&str> = rendered.strip_prefix('/')?.split('/').collect();
    let asked: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
    let same = |one: &str, asked: &str| percent_decode_str(asked).decode_utf8().is_ok_and(|text| text == one);
    if asked.len() < wanted.len() || !wanted.iter().zip(&asked).all(|(one, asked)| same(one, asked)) {
        return None;
    }
    let left = asked[wanted.len()..].join("/");
    let slash = if asked.len() > wanted.len() || before.is_empty() { "/" } else { "" };
    Some(format!("{before}{slash}{left}{query}"))
}

fn body_kind(ask: &Ask) -> Option<fields::Kind> {
    let mut types = ask.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let (_, value) = types.next()?;
    types.next().is_none().then(|| fields::kind_of(std::str::from_utf8(value).ok()?)).flatten()
}

/// Drops what is left of a caller's signature where the rule set signs.
pub(super) fn drop_signature(set: &RuleSet, ask: &mut Ask) -> Result<(), Refusal> {
    for rule in &set.rules {
        match rule {
            Rule::Sign(Signer::AwsSigv4(_)) => {
                let chunks = |(name, value): &(String, Vec<u8>)| {
                    folded(name) == "x-amz-content-sha256" && value.to_ascii_uppercase().starts_with(b"STREAMING-")
                };
                if ask.headers.iter().any(chunks) {
                    return Err(Refusal::new(
                        RefusalCode::Invalid,
                        "the body is cut into chunks with signatures of their own, which the host cannot make anew",
                    )
                    .fix("send the body whole; in an AWS SDK set the checksum calculation to `WHEN_REQUIRED`"));
                }
                ask.headers.retain(|(name, _)| !sign::SIGV4_HEADERS.contains(&folded(name).as_str()));
                drop_query(&mut ask.url, &sign::SIGV4_FIELDS);
            }
            Rule::Sign(Signer::OAuth1(_)) => {
                drop_query(&mut ask.url, &sign::OAUTH1_FIELDS);
                if body_kind(ask) == Some(fields::Kind::Form) {
                    for name in sign::OAUTH1_FIELDS {
                        if let Some(rest) = fields::without(fields::Kind::Form, &ask.body, name, &|_| true) {
                            ask.body = rest;
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn drop_query(url: &mut String, names: &[&str]) {
    let Some(at) = url.find('?') else { return };
    let end = url[at..].find('#').map_or(url.len(), |from| at + from);
    let is_dropped = |pair: &&str| {
        let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| folded(&name));
        name.is_some_and(|name| names.contains(&name.as_str()))
    };
    let kept: Vec<&str> = url[at + 1..end].split('&').filter(|pair| !is_dropped(pair)).collect();
    if kept.len() < url[at + 1..end].split('&').count() {
        let query = kept.join("&");
        let query = if query.is_empty() { query } else { format!("?{query}") };
        url.replace_range(at..end, &query);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deputy_declaration::types::{AwsSigv4, NamedTemplate, OAuth1, OAuth1Signature, Part, Placeholder};

    use super::super::tests::{World, ask, bound, world};
    use super::*;

    fn token(name: &str) -> Template {
        vec![Part::Token(Placeholder { name: name.into(), encodings: Vec::new() })]
    }

    fn text(text: &str) -> Template {
        vec![Part::Text(text.into())]
    }

    /// An account whose one rule set has these rules.
    fn ruled(tokens: &str, rules: Vec<Rule>) -> World {
        // Validation wants every token in a rule; these give way to the rules under test.
        let headers: String = tokens
            .lines()
            .filter_map(|line| line.strip_prefix("tokens.")?.split(' ').next())
            .map(|name| format!("header.X-{name} = \"{{{name}}}\"\n"))
            .collect();
        let mut bound = bound("one", &format!("{tokens}\n{headers}"));
        let sets = &mut Arc::make_mut(&mut bound.declaration).methods[0].rule_sets;
        sets.truncate(1);
        sets[0].rules = rules;
        world(&[("app", bound)])
    }

    fn posted(body: &str, content_type: &str) -> Ask {
        Ask { body: body.into(), ..ask("https://api.one.example/v1/x", &[("Content-Type", content_type)]) }
    }

    #[test]
    fn a_body_slot_takes_the_text_of_its_field_alone() {
        let value = vec![Part::Text("Key ".into()), token("token").remove(0)];
        let world = ruled("tokens.token = {}", vec![Rule::Body(NamedTemplate { name: "/auth/key".into(), value })]);
        let marker = world.marker("app", "token");
        let after = |body: &str, content_type: &str| {
            let mut ask = posted(&body.replace('M', &marker), content_type);
            let chosen = world.take(&mut ask).unwrap();
            (chosen.is_some(), String::from_utf8(ask.body).unwrap().replace(&marker, "M"))
        };
        for (body, left) in [
            (r#"{"n":1.0,"auth":{"key":"M"}}"#, r#"{"n":1.0,"auth":{}}"#),
            (r#"{"auth":{"key":"Key M","x":[]}}"#, r#"{"auth":{"x":[]}}"#),
        ] {
            assert_eq!(after(body, "application/json; charset=utf-8"), (true, left.to_owned()));
            assert_eq!(after(body, "text/plain"), (false, body.to_owned()), "no body with fields");
        }
        for body in [r#"{"auth":{"key":"xM"}}"#, r#"{"auth":{"other":"M"}}"#, r#"{"key":"M"}"#, "M", r#"["M"]"#] {
            assert_eq!(after(body, "application/json"), (false, body.to_owned()));
        }
        let form = ruled(
            "tokens.token = {}",
            vec![Rule::Body(NamedTemplate { name: "api_key".into(), value: token("token") })],
        );
        let mut ask =
            posted(&format!("a=1&api_key={}", form.marker("app", "token")), "application/x-www-form-urlencoded");
        assert!(form.take(&mut ask).unwrap().is_some());
        assert_eq!(ask.body, b"a=1");
    }

    #[test]
    fn a_path_slot_is_behind_the_base() {
        let template = [text("/bot"), token("token")].concat();
        let world = ruled("tokens.token = {}", vec![Rule::Path(template)]);
        let marker = world.marker("app", "token");
        let escaped: String = marker.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let after = |url: &str| {
            let mut ask = ask(&url.replace('~', &escaped).replace('M', &marker), &[]);
            world.take(&mut ask).unwrap().map(|_| ask.url)
        };
        for (url, left) in [
            ("https://api.one.example/v1/botM/send?a=%20b", "https://api.one.example/v1/send?a=%20b"),
            ("https://api.one.example/v1/bot~/send", "https://api.one.example/v1/send"),
            ("https://api.one.example/v1/botM", "https://api.one.example/v1"),
            ("/botM/send?x", "/send?x"),
            ("/botM", "/"),
        ] {
            assert_eq!(after(url).as_deref(), Some(left), "{url}");
        }
        for url in [
            "https://api.one.example/botM/send",
            "https://api.one.example/v1/x/botM",
            "https://api.one.example/v1/botMx/send",
            "https://api.one.example/v1/botM;a/send",
            "https://api.one.example/v1/../v1/botM/send",
            "https://other.example/v1/botM/send",
            "https://api.one.example/v1/M/send",
            "/x/botM",
            "/x?/botM",
        ] {
            assert_eq!(after(url), None, "{url}");
        }
    }

    fn aws() -> World {
        let sign = AwsSigv4 {
            access_key: token("id"),
            secret_key: token("secret"),
            session_token: Some(token("session")),
            region: text("eu-west-1"),
            service: text("s3"),
        };
        ruled(
            "tokens.id = {}\ntokens.secret = {}\ntokens.session = { optional = true }",
            vec![Rule::Sign(Signer::AwsSigv4(sign))],
        )
    }

    #[test]
    fn a_signature_of_aws_with_a_markers_key_id_is_dropped_whole() {
        let world = aws();
        let (id, secret, session) =
            (world.marker("app", "id"), world.marker("app", "secret"), world.marker("app", "session"));
        let signature = |id: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential={id}/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
            )
        };
        let mut signed = ask(
            "https://api.one.example/v1/x?list-type=2",
            &[
                ("Authorization", &signature(&id)),
                ("X-Amz-Date", "20261123T000000Z"),
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                ("X-Amz-Security-Token", &session),
                ("x-amz-acl", "private"),
            ],
        );
        assert!(world.take(&mut signed).unwrap().is_some());
        assert_eq!(signed.headers, [("x-amz-acl".to_owned(), b"private".to_vec())]);
        let mut presigned = ask(
            &format!(
                "https://api.one.example/v1/x?a=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={id}%2F20261123%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=00&X-Amz-Date=1&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
            ),
            &[],
        );
        assert!(world.take(&mut presigned).unwrap().is_some());
        assert_eq!(presigned.url, "https://api.one.example/v1/x?a=1");
        for value in [signature("AKIAOTHER"), signature(&secret), signature(&format!("{id}x")), format!("Bearer {id}")]
        {
            let mut other = ask("/", &[("authorization", &value), ("x-amz-date", "1")]);
            assert_eq!(world.take(&mut other).unwrap(), None, "{value}");
            assert_eq!(other.headers.len(), 2, "left for the egress to refuse");
        }
        let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let mut chunks = ask("/", &[("authorization", &signature(&id)), ("x-amz-content-sha256", streaming)]);
        assert_eq!(world.take(&mut chunks).unwrap_err().code, RefusalCode::Invalid);
    }

    #[test]
    fn a_signature_of_oauth1_with_a_markers_key_is_dropped_whole() {
        let sign = OAuth1 {
            consumer_key: token("key"),
            consumer_secret: token("secret"),
            token: token("token"),
            token_secret: token("token_secret"),
            signature: OAuth1Signature::HmacSha1,
            realm: None,
        };
        let world = ruled(
            "tokens.key = {}\ntokens.secret = {}\ntokens.token = {}\ntokens.token_secret = {}",
            vec![Rule::Sign(Signer::OAuth1(sign))],
        );
        let (key, token) = (world.marker("app", "key"), world.marker("app", "token"));
        let header = format!(
            "OAuth realm=\"x\", oauth_consumer_key=\"{key}\", oauth_token=\"{token}\", oauth_signature=\"0%3D\""
        );
        let mut signed = ask("https://api.one.example/v1/x?a=1", &[("authorization", &header)]);
        assert!(world.take(&mut signed).unwrap().is_some());
        assert!(signed.headers.is_empty());
        let fields = format!("oauth_consumer_key={key}&b=2&oauth_signature=0&oauth_nonce=1&oauth_token={token}");
        let mut query = ask(&format!("https://api.one.example/v1/x?{fields}"), &[]);
        assert!(world.take(&mut query).unwrap().is_some());
        assert_eq!(query.url, "https://api.one.example/v1/x?b=2");
        let mut form = posted(&fields, "application/x-www-form-urlencoded");
        assert!(world.take(&mut form).unwrap().is_some());
        assert_eq!(form.body, b"b=2");
        let mut other = posted("oauth_consumer_key=mine&oauth_signature=0", "application/x-www-form-urlencoded");
        assert_eq!(world.take(&mut other).unwrap(), None);
        assert_eq!(other.body, b"oauth_consumer_key=mine&oauth_signature=0");
    }
}
