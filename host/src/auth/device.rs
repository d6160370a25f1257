//! The device flow (RFC 8628): a code that a person enters on whatever device has a browser, while we ask for tokens.
//!
//! Promises: nothing is asked more often than the server allows, and for good less often after each `slow_down`; what a
//! person is shown is short plain text and a page of https (or of this machine); a code is used until it is answered,
//! denied or over.

use std::time::{Duration, Instant};

use deputy_declaration::template;
use url::Url;

use super::apps::PinnedApp;
use super::error::AuthError;
use super::errors::Class;
use super::exchange::Received;
use super::flow::{DeviceCode, Flow};
use super::oauth2;
use super::obtain::{Obtained, Parties, granted, redeemed, refusal};
use super::refusal::read_refusal;
use super::reply::Reply;
use super::road::{RoadError, TokenAnswer, TokenRoad};
use super::rows::Rows;
use crate::caller::Caller;
use crate::egress::TokenCall;
use crate::killpoint::reach;
use crate::vault::Secret;

/// RFC 8628 section 3.2.
const DEFAULT_INTERVAL_S: u64 = 5;
/// RFC 8628 section 3.5.
const SLOW_DOWN_S: u64 = 5;
/// The longest pause between two questions, whatever the server says.
const MAX_INTERVAL_S: u64 = 300;
/// The longest that a code is waited for.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// Where the server does not say it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
const MAX_USER_CODE: usize = 64;

/// What the server gave for a person and for us.
#[derive(Debug)]
pub struct Given {
    pub device: DeviceCode,
    pub user_code: String,
    pub verification_uri: String,
    /// With the code in it.
    pub verification_uri_complete: Option<String>,
    pub lifetime: Duration,
}

/// One answer of the token endpoint.
#[derive(Debug)]
pub enum Polled {
    Obtained(Obtained),
    /// Ask again, after this long and never more often.
    Wait(u64),
}

/// RFC 8628 sections 3.1 and 3.2. `flow` is the one that will be stored: it has everything but the code.
pub async fn begin(
    rows: &Rows,
    road: &dyn TokenRoad,
    caller: &Caller,
    flow: &Flow,
    pinned: &PinnedApp,
) -> Result<Given, AuthError> {
    let parties = Parties::of(rows, caller, flow, pinned).await?;
    let Parties { app, declared, .. } = parties;
    let refused = |reason: String| AuthError::DeviceRefused { app: app.slug.clone(), reason };
    let url = declared.device_url.as_ref().ok_or_else(|| refused("it declares no device URL".to_owned()))?;
    let credentials = parties.credentials(flow)?;
    let endpoint = template::url(app, url, &flow.inputs, "device-url")?;
    let request = oauth2::device(app, declared, &endpoint, credentials, &flow.asked)?;
    let answer = road.call(&call(caller, &parties, "device", endpoint), request).await;
    let answer = answer.map_err(|error| refused(error.to_string()))?;
    if let Some(reply) = granted(declared, &answer) {
        return given(&reply).map_err(|reason| refused(reason.to_owned()));
    }
    let secrets: Vec<&[u8]> = credentials.secret.into_iter().map(Secret::expose).collect();
    let (class, reason) = read_refusal(&answer, declared, &declared.errors, &secrets);
    Err(match class {
        Class::Configuration => refusal(app, class, reason),
        _ => refused(reason),
    })
}

fn call(caller: &Caller, parties: &Parties<'_>, purpose: &'static str, endpoint: Url) -> TokenCall {
    // What gives a device code is no reply with tokens.
    let reply_hook = if purpose == "token" { parties.reply_hook() } else { None };
    TokenCall { caller: caller.clone(), app: parties.app.slug.clone(), account: None, purpose, endpoint, reply_hook }
}

fn given(reply: &Reply) -> Result<Given, &'static str> {
    let code = reply.text("/device_code").and_then(|code| Secret::entered(code.into_bytes()).ok());
    let user_code = reply.text("/user_code").filter(|code| {
        (1..=MAX_USER_CODE).contains(&code.len()) && code.bytes().all(|byte| (b' '..0x7f).contains(&byte))
    });
    // Some servers keep to a draft of the RFC.
    let page = reply.text("/verification_uri").or_else(|| reply.text("/verification_url"));
    let complete = reply.text("/verification_uri_complete").or_else(|| reply.text("/verification_url_complete"));
    let seconds = |pointer| reply.text(pointer).and_then(|text| text.parse::<f64>().ok()).filter(|s| *s >= 1.0);
    // `as` saturates.
    let interval_s = seconds("/interval").map_or(DEFAULT_INTERVAL_S, |s| (s.ceil() as u64).min(MAX_INTERVAL_S));
    let lifetime = seconds("/expires_in").map_or(DEFAULT_LIFETIME, |s| Duration::from_secs(s as u64).min(MAX_LIFETIME));
    Ok(Given {
        device: DeviceCode { code: code.ok_or("its reply holds no device code")?, interval_s },
        user_code: user_code.ok_or("its reply holds no usable user code")?,
        verification_uri: page.and_then(safe_page).ok_or("its reply names no page that is safe to open")?,
        verification_uri_complete: complete.and_then(safe_page),
        lifetime,
    })
}

/// A page that a person is sent to.
fn safe_page(text: String) -> Option<String> {
    let url = Url::parse(&text).ok()?;
    let loopback = match url.host()? {
        url::Host::Domain(host) => host == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    let safe = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    (safe && url.username().is_empty() && url.password().is_none()).then(|| url.to_string())
}

/// RFC 8628 sections 3.4 and 3.5: asks once.
pub async fn poll(
    rows: &Rows,
    road: &dyn TokenRoad,
    caller: &Caller,
    flow: &Flow,
    pinned: &PinnedApp,
    interval_s: u64,
) -> Result<Polled, AuthError> {
    let parties = Parties::of(rows, caller, flow, pinned).await?;
    let Parties { app, declared, .. } = parties;
    let device = flow.device.as_ref().ok_or(AuthError::StateUnknown)?;
    let credentials = parties.credentials(flow)?;
    let endpoint = template::url(app, &declared.token_url, &flow.inputs, "token-url")?;
    let request = oauth2::device_token(app, declared, &endpoint, credentials, &device.code)?;
    let began = Instant::now();
    let answer = road.call(&call(caller, &parties, "token", endpoint), request).await;
    let received = Received { at: rows.now(), took: began.elapsed() };
    let answer = match answer {
        Ok(answer) => answer,
        // RFC 8628 section 3.5: less often after a connection that timed out.
        Err(RoadError::NotSent(_) | RoadError::Ambiguous(_)) => {
            return Ok(Polled::Wait((interval_s * 2).min(MAX_INTERVAL_S)));
        }
    };
    reach("connect-after-reply");
    if granted(declared, &answer).is_some() {
        return Ok(Polled::Obtained(redeemed(rows, road, caller, &parties, flow, answer, received).await?));
    }
    match code_of(declared, &answer).as_deref() {
        Some("authorization_pending") => return Ok(Polled::Wait(interval_s)),
        Some("slow_down") => return Ok(Polled::Wait((interval_s + SLOW_DOWN_S).min(MAX_INTERVAL_S))),
        Some("access_denied") => return Err(AuthError::Denied { app: app.slug.clone() }),
        Some("expired_token") => return Err(AuthError::DeviceExpired { app: app.slug.clone() }),
        _ => {}
    }
    let secrets: Vec<&[u8]> =
        [Some(&device.code), credentials.secret].into_iter().flatten().map(Secret::expose).collect();
    let (class, reason) = read_refusal(&answer, declared, &declared.errors, &secrets);
    match class {
        Class::Throttle(wait) => Ok(Polled::Wait(wait.as_secs().clamp(interval_s, MAX_INTERVAL_S))),
        Class::Transient | Class::Ambiguous if answer.status >= 500 => {
            Ok(Polled::Wait((interval_s * 2).min(MAX_INTERVAL_S)))
        }
        class => Err(refusal(app, class, reason)),
    }
}

fn code_of(declared: &deputy_declaration::types::OAuth2, answer: &TokenAnswer) -> Option<String> {
    Reply::parse(&answer.body).ok()?.error(&declared.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Given, &'static str> {
        given(&Reply::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_device_reply_is_read_leniently_and_bounded() {
        let full = read(
            r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://as.example/device",
                "verification_uri_complete":"https://as.example/device?user_code=WDJB-MJHT","expires_in":1800,"interval":7}"#,
        )
        .unwrap();
        assert_eq!((full.user_code.as_str(), full.device.interval_s, full.lifetime.as_secs()), ("WDJB-MJHT", 7, 1800));
        assert!(full.verification_uri_complete.unwrap().ends_with("user_code=WDJB-MJHT"));
        let old =
            read(r#"{"device_code":"d","user_code":"1","verification_url":"https://as.example/d","expires_in":"9e9"}"#);
        let old = old.unwrap();
        assert_eq!((old.device.interval_s, old.lifetime), (DEFAULT_INTERVAL_S, MAX_LIFETIME));
        assert_eq!(old.verification_uri_complete, None);
    }

    #[test]
    fn what_a_person_is_shown_is_safe() {
        let with = |code: &str, page: &str| {
            let reply = serde_json::json!({"device_code": "d", "user_code": code, "verification_uri": page});
            read(&reply.to_string()).map(|_| ())
        };
        assert_eq!(with("A-1", "http://127.0.0.1:1/d"), Ok(()));
        for (code, page) in [
            ("A\u{1b}[31m", "https://as.example/d"),
            ("", "https://as.example/d"),
            ("A", "http://as.example/d"),
            ("A", "javascript:alert(1)"),
            ("A", "https://u:p@as.example/d"),
            ("A", "nonsense"),
        ] {
            assert!(with(code, page).is_err(), "{code:?} {page}");
        }
        assert_eq!(with(&"A".repeat(65), "https://as.example/d").unwrap_err(), "its reply holds no usable user code");
    }
}
