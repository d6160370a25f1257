//! The road itself: target, fresh secrets, reach, injection, guarded dial, meaning, scrub, audit; always in this order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use super::answer::Received;
use super::dial::{Dialler, Line, Lookup, SystemLookup};
use super::entry::Entry;
use super::plain::Addresses;
use super::pool::{Holder, Pool};
use super::scrub::Scrubber;
use super::signals::{self, Meaning};
use super::{
    Answer, Audit, Body, Credential, EgressError, Grant, Hooks, Live, Narrow, Policy, Request, Throttled, TokenCall,
    Tokens, TokensError, caller_headers, failure, inject, outgoing, plain, reach, retry_after, target,
};
use crate::caller::Caller;
use crate::time::Time;

/// The only room that opens connections with credentials.
pub struct Egress {
    policy: Arc<Policy>,
    audit: Arc<dyn Audit>,
    pool: Pool,
    /// None: an app whose own code signs cannot be used.
    hooks: Option<Arc<Hooks>>,
}

/// What an attempt needs of a request, apart from its body.
struct Parts {
    method: Method,
    url: String,
    headers: HeaderMap,
    rule_set: Option<String>,
    timeout: Option<Duration>,
}

/// One exchange, judged and built: what goes on the wire.
struct Outbound<'a> {
    holder: Holder,
    method: &'a Method,
    url: Url,
    origin: String,
    headers: HeaderMap,
    body: Body,
    timeout: Option<Duration>,
}

/// An answer through an account, and what it means.
struct Understood {
    received: Received,
    meaning: Meaning,
    /// How long the app asks to wait.
    after: Option<Duration>,
    scrubber: Option<Arc<Scrubber>>,
}

impl Egress {
    /// Fails when the policy holds an unreadable certificate or a malformed override.
    pub fn new(policy: Policy, audit: Arc<dyn Audit>) -> Result<Self, EgressError> {
        Self::with_lookup(policy, audit, Arc::new(SystemLookup))
    }

    pub(super) fn with_lookup(
        policy: Policy,
        audit: Arc<dyn Audit>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, EgressError> {
        let policy = Arc::new(policy);
        let pool = Pool::new(Dialler::new(policy.clone(), lookup)?);
        Ok(Self { policy, audit, pool, hooks: None })
    }

    /// What runs the hooks of apps.
    pub fn hooks(&self, app: &str) -> Result<&Arc<Hooks>, EgressError> {
        self.hooks
            .as_ref()
            .ok_or_else(|| EgressError::Internal(format!("{app} has a hook, and this process runs none")))
    }

    /// With the hooks of apps, for those that sign by code of their own.
    pub fn with_hooks(self, hooks: Arc<Hooks>) -> Self {
        Self { hooks: Some(hooks), ..self }
    }

    /// Sends one request and gives the answer as soon as its headers (and, where the app's signals need it, up to
    /// 64 KiB of its body) are there. Redirects are answers like others and are never followed.
    ///
    /// Dropping the future or the body ends the exchange; the audit line is written in every case.
    pub async fn send(&self, credential: Credential<'_>, request: Request) -> Result<Answer, EgressError> {
        match credential {
            Credential::Account { grant, tokens } => self.through_account(grant, tokens, request).await,
            Credential::Plain(caller) => self.plain(caller, request).await,
            Credential::TokenCall(call) => self.token_call(call, request).await,
        }
    }

    async fn through_account(
        &self,
        grant: &Grant,
        tokens: &dyn Tokens,
        request: Request,
    ) -> Result<Answer, EgressError> {
        let Request { method, url, headers, body, rule_set, timeout } = request;
        let parts = Parts { method, url, headers, rule_set, timeout };
        let mut entry = self.entry(grant, &parts.method);
        let again = match &body {
            Body::Empty => Some(Body::Empty),
            Body::Bytes(bytes) => Some(Body::Bytes(bytes.clone())),
            Body::Stream { .. } => None,
        };
        let first = self.first_attempt(&mut entry, grant, tokens, &parts, body).await;
        let (live, first) = first.inspect_err(|error| entry.failed(error))?;
        if !first.meaning.expired {
            if first.meaning.revoked {
                tokens.revoked(grant, live.generation).await;
            }
            return Ok(answer(first, entry, false));
        }
        // Renewed even where the body cannot be sent again: the caller's next request then works.
        match (tokens.renew(grant, live.generation).await, again) {
            (Ok(live), Some(body)) => {
                entry.status(first.received.status, first.received.pipe.decoded_bytes());
                drop((first, entry));
                let mut entry = self.entry(grant, &parts.method);
                let second = self.attempt(&mut entry, &live, grant.narrow.as_deref(), &parts, body).await;
                let second = second.inspect_err(|error| entry.failed(error))?;
                if second.meaning.revoked {
                    tokens.revoked(grant, live.generation).await;
                }
                Ok(answer(second, entry, true))
            }
            (Ok(_), None) => Ok(answer(first, entry, true)),
            // A pasted key: the provider's own answer says more than we can.
            (Err(TokensError::NotRenewable { .. }), _) => {
                if first.meaning.revoked {
                    tokens.revoked(grant, live.generation).await;
                }
                Ok(answer(first, entry, false))
            }
            (Err(error), _) => {
                let error = EgressError::from(error);
                entry.status(first.received.status, first.received.pipe.decoded_bytes());
                entry.failed(&error);
                Err(error)
            }
        }
    }

    fn entry(&self, grant: &Grant, method: &Method) -> Entry {
        Entry::new(&self.audit, &grant.caller, Some(grant.account.clone()), "request", method)
    }

    async fn first_attempt(
        &self,
        entry: &mut Entry,
        grant: &Grant,
        tokens: &dyn Tokens,
        parts: &Parts,
        body: Body,
    ) -> Result<(Arc<Live>, Understood), EgressError> {
        // Malformed requests are refused before an account is opened for them.
        target::check(&parts.url)?;
        outgoing::check_length(&body, self.policy.limits.request_bytes)?;
        let live = tokens.live(grant).await?;
        let understood = self.attempt(entry, &live, grant.narrow.as_deref(), parts, body).await?;
        Ok((live, understood))
    }

    async fn attempt(
        &self,
        entry: &mut Entry,
        live: &Live,
        narrow: Option<&Narrow>,
        parts: &Parts,
        body: Body,
    ) -> Result<Understood, EgressError> {
        entry.app(&live.declaration.slug);
        let url = target::resolve(target::check(&parts.url)?, &live.base, &live.origins)?;
        let origin = url.origin().ascii_serialization();
        entry.target(&url, &origin);
        reach::check(live, narrow, &parts.method, &url)?;
        let limit = self.policy.limits.header_bytes;
        let draft = inject::Draft { method: &parts.method, url, headers: &parts.headers, body };
        let mut injected = inject::inject(live, parts.rule_set.as_deref(), draft, limit)?;
        if let Some(declared) = injected.hook.take() {
            let hooks = self.hooks(&live.declaration.slug)?;
            hooks.sign(live, &declared, &parts.method, &mut injected, Time::now()).await?;
        }
        if let Some(path) = injected.shown_path {
            entry.path(path);
        }
        let outbound = Outbound {
            holder: Holder::Account(live.account.clone()),
            method: &parts.method,
            url: injected.url,
            origin,
            headers: injected.headers,
            body: injected.body,
            timeout: parts.timeout,
        };
        let line = self.pool.line(&outbound.holder, &outbound.origin, &outbound.url)?;
        let mut received = self.exchange(entry, &line, outbound).await?;
        let signals = &live.declaration.signals;
        let body = if signals::wants_body(signals, received.status, &received.headers) {
            received.pipe.peek_json().await?
        } else {
            None
        };
        let meaning = signals::read(signals, received.status, &received.headers, body.as_ref());
        let after = retry_after::read(signals.retry_after.as_ref(), &received.headers, Time::now());
        let scrubber = line.keeper.scrubber(live.tokens.values(), &injected.forms);
        Ok(Understood { received, meaning, after, scrubber })
    }

    /// Without any credential: the operator's list instead of an app's reach, and nothing of ours to scrub.
    async fn plain(&self, caller: &Caller, request: Request) -> Result<Answer, EgressError> {
        let mut entry = Entry::new(&self.audit, caller, None, "plain", &request.method);
        let received = self.plain_exchange(&mut entry, caller, request).await;
        let received = received.inspect_err(|error| entry.failed(error))?;
        let status = received.status;
        let (headers, body) = received.pass_on(None, entry);
        Ok(Answer { status, headers, body, failed: false, renewed: false, throttled: None })
    }

    async fn plain_exchange(
        &self,
        entry: &mut Entry,
        caller: &Caller,
        request: Request,
    ) -> Result<Received, EgressError> {
        if request.rule_set.is_some() {
            return Err(EgressError::invalid(
                "the request names an identity of an account, but no account",
                "send it through the account, or leave the identity out",
            ));
        }
        outgoing::check_length(&request.body, self.policy.limits.request_bytes)?;
        let (url, addresses) = plain::check(&self.policy.plain, &request.method, &request.url)?;
        let origin = url.origin().ascii_serialization();
        entry.target(&url, &origin);
        caller_headers::check_host_headers(&request.headers, self.policy.limits.header_bytes)?;
        let mut headers = request.headers;
        inject::add_host_headers(&mut headers);
        let holder = match addresses {
            Addresses::Allowed => Holder::Plain(caller.owner.clone()),
            Addresses::Public => Holder::Public(caller.owner.clone()),
        };
        let outbound = Outbound {
            holder,
            method: &request.method,
            url,
            origin,
            headers,
            body: request.body,
            timeout: request.timeout,
        };
        let line = self.pool.line(&outbound.holder, &outbound.origin, &outbound.url)?;
        self.exchange(entry, &line, outbound).await
    }

    async fn token_call(&self, call: &TokenCall, request: Request) -> Result<Answer, EgressError> {
        let mut entry = Entry::new(&self.audit, &call.caller, call.account.clone(), call.purpose, &request.method);
        entry.app(&call.app);
        let received = self.token_exchange(&mut entry, call, request).await;
        let received = received.inspect_err(|error| entry.failed(error))?;
        let status = received.status;
        let (headers, body) = received.pass_on(None, entry);
        Ok(Answer { status, headers, body, failed: false, renewed: false, throttled: None })
    }

    async fn token_exchange(
        &self,
        entry: &mut Entry,
        call: &TokenCall,
        request: Request,
    ) -> Result<Received, EgressError> {
        let url = target::resolve(target::check(&request.url)?, &call.endpoint, &[call.endpoint.origin()])?;
        let origin = url.origin().ascii_serialization();
        entry.target(&url, &origin);
        if !call.is_for(&url) {
            return Err(EgressError::denied(
                "token-endpoint",
                format!("a {} call goes only to the endpoint that {} declares", call.purpose, call.app),
                "send it to exactly that URL",
            ));
        }
        outgoing::check_length(&request.body, self.policy.limits.request_bytes)?;
        caller_headers::check_host_headers(&request.headers, self.policy.limits.header_bytes)?;
        let mut headers = request.headers;
        inject::add_host_headers(&mut headers);
        let holder = match &call.account {
            Some(account) => Holder::Account(account.clone()),
            None => Holder::App(call.app.clone()),
        };
        let outbound = Outbound {
            holder,
            method: &request.method,
            url,
            origin,
            headers,
            body: request.body,
            timeout: request.timeout,
        };
        let line = self.pool.line(&outbound.holder, &outbound.origin, &outbound.url)?;
        self.exchange(entry, &line, outbound).await
    }

    /// Dials and waits for the head of the answer.
    async fn exchange(&self, entry: &mut Entry, line: &Line, outbound: Outbound<'_>) -> Result<Received, EgressError> {
        let Outbound { method, mut url, mut headers, body, timeout, .. } = outbound;
        let limits = &self.policy.limits;
        let host = url.host_str().unwrap_or_default().to_owned();
        if let Some(port) = line.redirected_port {
            let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
            let authority = HeaderValue::from_str(&authority)
                .map_err(|_| EgressError::Internal("a host that is no header value".to_owned()))?;
            headers.insert(header::HOST, authority);
            if url.set_port(Some(port)).is_err() {
                return Err(EgressError::Internal("a URL that takes no port".to_owned()));
            }
        }
        // RFC 9110 section 8.6: where a body has a meaning, its absence is told; some services insist.
        if matches!(body, Body::Empty) && matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut wire = reqwest::Request::new(method.clone(), url);
        *wire.headers_mut() = headers;
        *wire.body_mut() = outgoing::client_body(body, limits.request_bytes, &entry.progress);
        let deadline = Instant::now() + Duration::from_millis(limits.total_ms);
        let most = Duration::from_millis(limits.first_byte_ms.min(limits.total_ms));
        let patience = timeout.map_or(most, |timeout| timeout.min(most));
        let response = match tokio::time::timeout(patience, line.client.execute(wire)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let broken = entry.progress.error(limits.request_bytes);
                return Err(broken.unwrap_or_else(|| failure::from_client(&error, &host, limits)));
            }
            Err(_) => {
                let limit_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                return Err(EgressError::Timeout { host, what: "did not answer", limit_ms });
            }
        };
        Received::new(response, method, &host, limits, deadline)
    }
}

fn answer(understood: Understood, entry: Entry, renewed: bool) -> Answer {
    let Understood { received, meaning, after, scrubber } = understood;
    let status = received.status;
    let throttled = meaning.throttled.then_some(Throttled { after });
    let (headers, body) = received.pass_on(scrubber, entry);
    Answer { status, headers, body, failed: meaning.failed, renewed, throttled }
}
