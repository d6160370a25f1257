//! What the provider remembers: codes, tokens, grants, and every secret it ever saw.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;

use crate::fault::Faults;
use crate::together::Gatherings;

pub const CLIENT_ID: &str = "demo-client";
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// What happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// API calls, answered or refused.
    pub requests: u64,
    /// API calls refused with 401.
    pub refused: u64,
    /// Calls to the token endpoint, whatever came of them.
    pub token_calls: u64,
    /// Codes redeemed.
    pub exchanges: u64,
    /// Refresh tokens redeemed.
    pub refreshes: u64,
    /// Times a used refresh token or code came again; each revokes its grant.
    pub reuses: u64,
    /// Grants ended by a call to the revocation endpoint.
    pub revocations: u64,
}

pub struct State {
    pub issuer: String,
    pub client_secret: String,
    pub gatherings: Gatherings,
    grants: Mutex<Grants>,
    faults: Mutex<Faults>,
}

impl State {
    pub fn new(issuer: String) -> io::Result<Self> {
        let client_secret = random("demo_cs_")?;
        let grants = Grants { secrets: vec![client_secret.clone()], access_lifetime_s: 3600, ..Grants::default() };
        Ok(Self {
            issuer,
            client_secret,
            gatherings: Gatherings::default(),
            grants: Mutex::new(grants),
            faults: Mutex::default(),
        })
    }

    pub fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One consent of one person: revoking it ends every token below it.
struct Grant {
    scope: String,
    revoked: bool,
}

struct Code {
    grant: usize,
    redirect_uri: String,
    challenge: String,
    expires: Instant,
    used: bool,
}

struct Access {
    grant: usize,
    expires: Instant,
}

struct Refresh {
    grant: usize,
    used: bool,
}

#[derive(Default)]
pub struct Grants {
    pub counters: Counters,
    pub secrets: Vec<String>,
    pub access_lifetime_s: u64,
    grants: Vec<Grant>,
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
}

/// A successful token reply (RFC 6749 section 5.1).
#[derive(Debug, serde::Serialize)]
pub struct Tokens {
    pub access_token: String,
    pub token_type: &'static str,
    pub expires_in: u64,
    pub refresh_token: String,
    pub scope: String,
}

/// Why a token call is refused: the `error_description` beside `invalid_grant`.
pub type Refused = &'static str;

/// What a bearer token is worth.
#[derive(Debug, PartialEq, Eq)]
pub enum Bearer {
    Valid { grant: usize },
    Expired,
    Revoked,
    Unknown,
}

impl Grants {
    /// Consent was given: a new grant and its code.
    pub fn authorize(&mut self, redirect_uri: &str, challenge: &str, scope: &str) -> io::Result<String> {
        let code = self.secret("demo_code_")?;
        self.grants.push(Grant { scope: scope.to_owned(), revoked: false });
        self.codes.insert(
            code.clone(),
            Code {
                grant: self.grants.len() - 1,
                redirect_uri: redirect_uri.to_owned(),
                challenge: challenge.to_owned(),
                expires: Instant::now() + CODE_LIFETIME,
                used: false,
            },
        );
        Ok(code)
    }

    /// Redeems a code once. A code that comes again ends its grant (RFC 6749 section 4.1.2).
    pub fn exchange(&mut self, code: &str, redirect_uri: &str, verifier: &str) -> io::Result<Result<Tokens, Refused>> {
        self.saw(verifier);
        let Some(known) = self.codes.get_mut(code) else { return Ok(Err("no such code")) };
        let grant = known.grant;
        if known.used {
            self.counters.reuses += 1;
            self.grants[grant].revoked = true;
            return Ok(Err("the code was used before; its tokens are revoked"));
        }
        if known.expires <= Instant::now() {
            return Ok(Err("the code is expired"));
        }
        if known.redirect_uri != redirect_uri {
            return Ok(Err("the redirect_uri is not the one of the authorization request"));
        }
        if known.challenge != challenge_of(verifier) {
            return Ok(Err("the code_verifier does not belong to the code_challenge"));
        }
        known.used = true;
        self.counters.exchanges += 1;
        self.issue(grant).map(Ok)
    }

    /// Redeems a refresh token once. One that comes again ends its grant.
    pub fn refresh(&mut self, token: &str) -> io::Result<Result<Tokens, Refused>> {
        let Some(known) = self.refresh.get_mut(token) else { return Ok(Err("no such refresh token")) };
        let grant = known.grant;
        if known.used {
            self.counters.reuses += 1;
            self.grants[grant].revoked = true;
            return Ok(Err("the refresh token was used before; the grant is revoked"));
        }
        if self.grants[grant].revoked {
            return Ok(Err("the grant is revoked"));
        }
        known.used = true;
        self.counters.refreshes += 1;
        self.issue(grant).map(Ok)
    }

    /// RFC 7009: the whole grant goes with any of its tokens; an unknown token is no error.
    pub fn revoke(&mut self, token: &str) {
        let grant = self.refresh.get(token).map(|known| known.grant);
        let grant = grant.or_else(|| self.access.get(token).map(|known| known.grant));
        if let Some(grant) = grant
            && !self.grants[grant].revoked
        {
            self.grants[grant].revoked = true;
            self.counters.revocations += 1;
        }
    }

    pub fn bearer(&self, token: &str) -> Bearer {
        match self.access.get(token) {
            None => Bearer::Unknown,
            Some(known) if self.grants[known.grant].revoked => Bearer::Revoked,
            Some(known) if known.expires <= Instant::now() => Bearer::Expired,
            Some(known) => Bearer::Valid { grant: known.grant },
        }
    }

    pub fn scope(&self, grant: usize) -> &str {
        &self.grants[grant].scope
    }

    pub fn expire_access_tokens(&mut self) {
        let now = Instant::now();
        self.access.values_mut().for_each(|access| access.expires = now);
    }

    pub fn expire_codes(&mut self) {
        let now = Instant::now();
        self.codes.values_mut().for_each(|code| code.expires = now);
    }

    fn issue(&mut self, grant: usize) -> io::Result<Tokens> {
        let access_token = self.secret("demo_at_")?;
        let refresh_token = self.secret("demo_rt_")?;
        let expires = Instant::now() + Duration::from_secs(self.access_lifetime_s);
        self.access.insert(access_token.clone(), Access { grant, expires });
        self.refresh.insert(refresh_token.clone(), Refresh { grant, used: false });
        Ok(Tokens {
            access_token,
            token_type: "Bearer",
            expires_in: self.access_lifetime_s,
            refresh_token,
            scope: self.grants[grant].scope.clone(),
        })
    }

    fn secret(&mut self, prefix: &str) -> io::Result<String> {
        let secret = random(prefix)?;
        self.secrets.push(secret.clone());
        Ok(secret)
    }

    fn saw(&mut self, secret: &str) {
        if !secret.is_empty() && !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_owned());
        }
    }
}

/// RFC 7636 section 4.2, method S256.
fn challenge_of(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()).as_ref())
}

/// 192 random bits behind a prefix.
fn random(prefix: &str) -> io::Result<String> {
    let mut bytes = [0u8; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(format!("{prefix}{}", BASE64URL_NOPAD.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "http://127.0.0.1:7878/oauth/callback/c";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"; // RFC 7636 appendix B

    fn grants() -> Grants {
        Grants { access_lifetime_s: 60, ..Grants::default() }
    }

    fn connected() -> (Grants, Tokens) {
        let mut grants = grants();
        let code = grants.authorize(URI, CHALLENGE, "read").unwrap();
        let tokens = grants.exchange(&code, URI, VERIFIER).unwrap().unwrap();
        (grants, tokens)
    }

    #[test]
    fn a_code_needs_its_verifier_and_its_redirect_uri() {
        let mut grants = grants();
        let code = grants.authorize(URI, CHALLENGE, "read").unwrap();
        assert!(grants.exchange(&code, URI, "another").unwrap().is_err());
        assert!(grants.exchange(&code, "http://127.0.0.1:1/", VERIFIER).unwrap().is_err());
        assert!(grants.exchange(&code, URI, VERIFIER).unwrap().is_ok());
    }

    #[test]
    fn a_code_that_comes_again_ends_its_grant() {
        let mut grants = grants();
        let code = grants.authorize(URI, CHALLENGE, "read").unwrap();
        let tokens = grants.exchange(&code, URI, VERIFIER).unwrap().unwrap();
        assert!(grants.exchange(&code, URI, VERIFIER).unwrap().is_err());
        assert_eq!(grants.bearer(&tokens.access_token), Bearer::Revoked);
        assert_eq!(grants.counters.reuses, 1);
    }

    #[test]
    fn a_used_refresh_token_ends_its_grant() {
        let (mut grants, first) = connected();
        let second = grants.refresh(&first.refresh_token).unwrap().unwrap();
        assert_eq!(grants.bearer(&second.access_token), Bearer::Valid { grant: 0 });
        assert!(grants.refresh(&first.refresh_token).unwrap().is_err());
        assert_eq!(grants.bearer(&second.access_token), Bearer::Revoked);
        assert!(grants.refresh(&second.refresh_token).unwrap().is_err());
    }

    #[test]
    fn expiry_and_revocation_end_access() {
        let (mut grants, tokens) = connected();
        grants.expire_access_tokens();
        assert_eq!(grants.bearer(&tokens.access_token), Bearer::Expired);
        let tokens = grants.refresh(&tokens.refresh_token).unwrap().unwrap();
        grants.revoke(&tokens.refresh_token);
        assert_eq!(grants.bearer(&tokens.access_token), Bearer::Revoked);
        assert_eq!(grants.counters.revocations, 1);
    }

    #[test]
    fn every_secret_is_remembered() {
        let (grants, tokens) = connected();
        for secret in [tokens.access_token.as_str(), tokens.refresh_token.as_str(), VERIFIER] {
            assert!(grants.secrets.iter().any(|known| known == secret), "{secret}");
        }
    }
}
