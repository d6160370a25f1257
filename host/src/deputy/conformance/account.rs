//! What holds for a connected account, from its first request to its deletion.

use std::time::{Duration, Instant};

use deputy_declaration::template;
use deputy_declaration::types::{AuthKind, AuthMethod, Expiry, Rule, Signer, Token};
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::json;

use super::super::{Answer, Body, Error, HttpRequest};
use super::driver::{Driver, Found};
use crate::conformance::{Answering, Expected, To, conditions};

/// Where a check's own requests go, below the base.
const PROBE: &str = "/conformance-probe";

impl Driver<'_> {
    /// A request below the base, and what the provider must see of it.
    fn probe(&self, rules: &[Rule]) -> (HttpRequest, Expected) {
        let app = &self.fake.app;
        let field = rules.iter().find_map(|rule| match rule {
            Rule::Body(field) => Some(field.name.starts_with('/')),
            _ => None,
        });
        let allowed = |verb: &&str| app.reach.methods.is_empty() || app.reach.methods.iter().any(|known| known == verb);
        let preferred = if field.is_some() { ["POST", "PUT", "PATCH"] } else { ["GET", "POST", "PUT"] };
        let verb = preferred.into_iter().find(allowed).unwrap_or("GET");
        let (kind, body) = match field {
            Some(true) => (Some("application/json"), json!({ "probe": "a b" }).to_string()),
            Some(false) => (Some("application/x-www-form-urlencoded"), "probe=a+b".to_owned()),
            None => (None, String::new()),
        };
        let path = self.path();
        let mut request = HttpRequest::new(Method::from_bytes(verb.as_bytes()).unwrap_or(Method::GET), path.clone());
        if let Some(kind) = kind {
            request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            request.body = Body::Bytes(body.clone().into());
        }
        let expected = Expected {
            to: To::Api,
            method: verb.to_owned(),
            target: path,
            headers: kind.map(|kind| ("content-type".to_owned(), kind.to_owned())).into_iter().collect(),
            body: body.into_bytes(),
            rule_set: None,
            answer: json!({}),
        };
        (request, expected)
    }

    /// Within the app's paths, and like no test request where they leave the choice.
    fn path(&self) -> String {
        let app = &self.fake.app;
        let base = template::base(app, &self.spoken.inputs).map(|base| base.path().trim_end_matches('/').to_owned());
        let base = base.unwrap_or_default();
        let own = format!("{base}{PROBE}");
        if app.reach.paths.is_empty() || app.reach.paths.iter().any(|prefix| own.starts_with(prefix.as_str())) {
            return format!("{PROBE}?probe=a%20b");
        }
        let below = app.reach.paths.iter().find_map(|prefix| prefix.strip_prefix(&base));
        below.map_or_else(|| PROBE.to_owned(), |path| format!("{}{PROBE}?probe=a%20b", path.trim_end_matches('/')))
    }

    pub(super) async fn send(&self, account: &str, rules: &[Rule], rule_set: Option<&str>) -> Result<Answer, Error> {
        let (mut request, mut expected) = self.probe(rules);
        request.rule_set = rule_set.map(str::to_owned);
        expected.rule_set = rule_set.map(str::to_owned);
        self.fake.expect(expected);
        self.host.request(self.caller, account, request).await
    }

    /// What holds for a connected account, whatever connected it.
    pub(super) async fn account(&mut self, method: &AuthMethod, account: Option<String>) {
        let Some(account) = account else { return };
        let account = account.as_str();
        for (at, set) in method.rule_sets.iter().enumerate() {
            let begun = Instant::now();
            let found = good(self.send(account, &set.rules, Some(&set.name)).await).await.map(|_| ());
            let name = format!("`{}` puts the credentials in their place, and nowhere else", set.name);
            self.note(method, self.part(&format!(".rule-sets[{at}]")), name, begun, found);
            if set.rules.iter().any(|rule| matches!(rule, Rule::Sign(Signer::Hook(_)))) {
                let reason = "what a hook computes is known to it and its provider alone";
                self.skip(method, "the signature belongs to the request", reason);
            }
        }
        let rules = method.rule_sets.first().map(|set| set.rules.as_slice()).unwrap_or_default();
        self.own_credential(method, account, rules).await;
        self.answers(method, account, rules).await;
        self.borders(method, account).await;
        if !matches!(method.kind, AuthKind::Keys) {
            self.expiry(method, account, rules).await;
        }
        self.revoked(method, account, rules).await;
        self.end(method, account).await;
    }

    /// A caller who brings a credential for the same place is refused, and nothing is sent.
    async fn own_credential(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let (mut request, _) = self.probe(rules);
        let own = HeaderValue::from_static("of-the-caller");
        let placed = rules.iter().find_map(|rule| match rule {
            Rule::Header(field) => HeaderName::from_bytes(field.name.as_bytes()).ok().map(Place::Header),
            Rule::Basic(_) => Some(Place::Header(header::AUTHORIZATION)),
            Rule::Query(field) => Some(Place::Query(field.name.clone())),
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => None,
        });
        match placed {
            Some(Place::Header(name)) => drop(request.headers.insert(name, own)),
            Some(Place::Query(name)) => request.url += &format!("&{name}=of-the-caller"),
            None => return,
        }
        let begun = Instant::now();
        let result = self.host.request(self.caller, account, request).await;
        let found = unsent(result, &self.fake.take().0);
        self.note(method, self.part(".rule-sets"), "a caller's own credential in that place is refused", begun, found);
    }

    async fn answers(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let begun = Instant::now();
        let secrets = self.fake.with(|state| {
            state.answering = Answering::Echo;
            state.tokens.values().cloned().collect::<Vec<_>>()
        });
        let found = match good(self.send(account, rules, None).await).await {
            Ok(body) if secrets.iter().any(|secret| body.contains(secret.as_str())) => {
                Err("the caller got a credential back".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.note(method, self.part(".tokens"), "credentials in an answer are scrubbed", begun, found);
        let signals = self.fake.app.signals.clone();
        for (at, list) in conditions(&signals.throttled, 429).into_iter().enumerate() {
            let begun = Instant::now();
            self.fake.with(|state| state.answering = Answering::Signal(list));
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.throttled.is_some() => Ok(()),
                Ok(_) => Err("the answer was not seen as throttled".to_owned()),
                Err(error) => Err(error.message),
            };
            self.note(method, format!("signals.throttled[{at}]"), "a throttle is seen", begun, found);
        }
        for (at, list) in signals.failed.into_iter().enumerate() {
            let begun = Instant::now();
            self.fake.with(|state| state.answering = Answering::Signal(list));
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.failed => Ok(()),
                Ok(_) => Err("the answer was not seen as failed".to_owned()),
                Err(error) => Err(error.message),
            };
            self.note(method, format!("signals.failed[{at}]"), "a failure is seen", begun, found);
        }
        self.fake.with(|state| state.answering = Answering::Well);
    }

    async fn borders(&mut self, method: &AuthMethod, account: &str) {
        let begun = Instant::now();
        let outside = HttpRequest::new(Method::GET, "https://outside.conformance.example/");
        let result = self.host.request(self.caller, account, outside).await;
        let found = unsent(result, &self.fake.take().0);
        self.note(method, "reach".to_owned(), "nothing goes outside the reach", begun, found);
        let client = self.fake.with(|state| state.client());
        let id = client.as_ref().map(|client| client.id.as_str());
        let endpoints = template::token_endpoints(&self.fake.app, method, &self.spoken.inputs, id).unwrap_or_default();
        for endpoint in endpoints {
            let begun = Instant::now();
            let result = self.host.request(self.caller, account, HttpRequest::new(Method::POST, endpoint)).await;
            let found = unsent(result, &self.fake.take().0);
            self.note(method, self.part(".kind"), "no request reaches the token endpoint", begun, found);
        }
    }

    async fn expiry(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let name = "an expired token is renewed once, and the request made again";
        let renewable = match &method.kind {
            AuthKind::Keys => 0,
            // A login renews all of its tokens; a standard refresh renews its own.
            AuthKind::Exchange(_) => 1,
            AuthKind::OAuth2Code(oauth2) if !oauth2.refresh.is_empty() => 1,
            AuthKind::OAuth2Code(_) => self.fake.with(|state| state.refresh.len()) as u64,
        };
        if renewable == 0 {
            return self.skip(method, name, "the declared replies hold no refresh token");
        }
        if let AuthKind::Exchange(exchange) = &method.kind
            && exchange.refresh.is_empty()
            && method.tokens.iter().any(|token| token.once)
        {
            return self.skip(method, name, "its login needs what is not stored");
        }
        for (at, list) in conditions(&self.fake.app.signals.expired, 401).into_iter().enumerate() {
            let begun = Instant::now();
            let before = self.fake.with(|state| {
                state.answering = Answering::UntilRenewed(list);
                state.renewals
            });
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.renewed && answer.status.is_success() => Ok(()),
                Ok(answer) => Err(format!("it answered {}, renewed: {}", answer.status, answer.renewed)),
                Err(error) => Err(error.message),
            };
            let count = self.fake.with(|state| {
                state.answering = Answering::Well;
                state.renewals - before
            });
            let found = found.and_then(|()| match count == renewable {
                true => Ok(()),
                false => Err(format!("{count} renewals were made instead of {renewable}")),
            });
            self.note(method, format!("signals.expired[{at}]"), name, begun, found);
        }
        self.due(method, account, rules).await;
    }

    /// A token that is about to end is renewed first: the provider never sees it.
    async fn due(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let told = |token: &Token| token.reply.as_ref().is_some_and(|reply| reply.expiry.is_some());
        if !method.tokens.iter().any(told) {
            return self.skip(method, "a token is renewed before it ends", "no reply says how long its tokens last");
        }
        let signal = conditions(&self.fake.app.signals.expired, 401).swap_remove(0);
        // A point in time is written in whole seconds, and up to one of them is over when the host reads it.
        let counted = |token: &Token| {
            !matches!(token.reply.as_ref().and_then(|reply| reply.expiry.as_ref()), Some(Expiry::At(_) | Expiry::Jwt))
        };
        let (lifetime_s, due_ms) = if method.tokens.iter().all(counted) { (1, 600) } else { (2, 1600) };
        self.fake.with(|state| {
            state.answering = Answering::UntilRenewed(signal);
            state.lifetime_s = lifetime_s;
        });
        // Brings tokens that end soon.
        let short = good(self.send(account, rules, None).await).await;
        let _ = self.fake.take();
        // Half of its life is over: then it is due.
        tokio::time::sleep(Duration::from_millis(due_ms)).await;
        let begun = Instant::now();
        let before = self.fake.with(|state| {
            state.lifetime_s = 3600;
            state.renewals
        });
        let found = match (short, good(self.send(account, rules, None).await).await) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) if self.fake.with(|state| state.renewals) == before => Err("nothing was renewed".to_owned()),
            (Ok(_), Ok(_)) => Ok(()),
        };
        self.note(method, self.part(".tokens"), "a token is renewed before it ends", begun, found);
    }

    /// An answer that says so ends the account: nothing is sent with it any more.
    async fn revoked(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let Some(list) = self.fake.app.signals.revoked.first().cloned() else { return };
        let begun = Instant::now();
        self.fake.with(|state| state.answering = Answering::Signal(list));
        // What the first answer says is for whoever asked; the account shows it afterwards.
        let first = self.send(account, rules, None).await.map(|_| ());
        let _ = self.fake.take();
        let second = self.send(account, rules, None).await;
        let found = first.map_err(|error| error.message).and_then(|()| unsent(second, &self.fake.take().0));
        self.fake.with(|state| state.answering = Answering::Well);
        self.note(method, "signals.revoked[0]".to_owned(), "a revoked account sends nothing any more", begun, found);
    }

    async fn end(&mut self, method: &AuthMethod, account: &str) {
        let begun = Instant::now();
        let deleted = self.host.account_delete(self.caller, account, true).await;
        let standard = matches!(&method.kind, AuthKind::OAuth2Code(oauth2) if oauth2.revoke_url.is_some());
        let wanted = method.revoke.len() + usize::from(standard);
        let revoked = self.fake.with(|state| state.revoked.len());
        let found = match deleted {
            Err(error) => Err(error.message),
            Ok(_) if revoked < wanted => Err(format!("{revoked} calls that revoke came instead of {wanted}")),
            Ok(_) => Ok(()),
        };
        let name = match wanted {
            0 => "it is deleted",
            _ => "a deleted account is revoked at the provider",
        };
        self.note(method, self.part(".revoke"), name, begun, found);
    }
}

enum Place {
    Header(HeaderName),
    Query(String),
}

/// Refused, and nothing came to the provider.
pub(super) fn unsent(result: Result<Answer, Error>, sent: &[String]) -> Found {
    match (result, sent) {
        (Ok(_), _) => Err("it was sent".to_owned()),
        (Err(_), [first, ..]) => Err(format!("it was refused, and yet something was sent: {first}")),
        (Err(_), []) => Ok(()),
    }
}

/// The body of a good answer.
async fn good(answer: Result<Answer, Error>) -> Result<String, String> {
    let answer = answer.map_err(|error| error.message)?;
    let status = answer.status;
    let body = answer.body.collect(1 << 20).await.map_err(|error| error.to_string())?;
    match status.is_success() {
        true => Ok(String::from_utf8_lossy(&body).into_owned()),
        false => Err(format!("it answered {status}")),
    }
}
