//! The one road as this room sees it: a token call gives bytes, or says whether anything was sent at all.

use std::time::Duration;

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use super::reply::MAX_REPLY_BYTES;
use crate::egress::{Answer, Credential, Egress, EgressError, Request, TokenCall};

/// What a token endpoint answered. The body may be a secret.
pub struct TokenAnswer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Zeroizing<Vec<u8>>,
}

/// Why a token call brought no answer. No variant holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoadError {
    /// Refused, or no connection: the provider saw nothing.
    #[error("{0}")]
    NotSent(String),
    /// The request may have arrived, and its answer is lost. It must not be sent again without thought.
    #[error("{0}")]
    Ambiguous(String),
}

/// What an app's test request gave.
pub struct ProbeAnswer {
    pub status: u16,
    /// The app's `failed` signal holds.
    pub failed: bool,
    /// At most 1 MiB.
    pub body: Vec<u8>,
}

/// The road, so that tests can put a strict server at its end.
pub trait TokenRoad: Send + Sync + 'static {
    /// Sent once: never again after the body may have been written.
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>>;

    /// The app's test request, through an account that may not be stored yet.
    fn probe<'a>(
        &'a self,
        credential: Credential<'a>,
        request: Request,
    ) -> BoxFuture<'a, Result<ProbeAnswer, EgressError>>;
}

impl TokenRoad for Egress {
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>> {
        Box::pin(async move {
            let answer = self.send(Credential::TokenCall(call), request).await.map_err(|error| road_error(&error))?;
            let status = answer.status.as_u16();
            let retry_after = retry_after(&answer);
            let body = match answer.body.collect(MAX_REPLY_BYTES).await {
                Ok(body) => Zeroizing::new(body),
                Err(EgressError::TooLarge { .. }) => Zeroizing::default(),
                Err(error) => return Err(RoadError::Ambiguous(error.to_string())),
            };
            Ok(TokenAnswer { status, retry_after, body })
        })
    }

    fn probe<'a>(
        &'a self,
        credential: Credential<'a>,
        request: Request,
    ) -> BoxFuture<'a, Result<ProbeAnswer, EgressError>> {
        Box::pin(async move {
            let answer = self.send(credential, request).await?;
            let (status, failed) = (answer.status.as_u16(), answer.failed);
            Ok(ProbeAnswer { status, failed, body: answer.body.collect(MAX_REPLY_BYTES).await? })
        })
    }
}

/// Everything that is not known to have happened before the first byte counts as sent.
fn road_error(error: &EgressError) -> RoadError {
    match error {
        EgressError::Invalid { .. } | EgressError::Denied { .. } | EgressError::Unreachable { .. } => {
            RoadError::NotSent(error.to_string())
        }
        EgressError::Timeout { what, .. } if what.contains("connect") => RoadError::NotSent(error.to_string()),
        _ => RoadError::Ambiguous(error.to_string()),
    }
}

/// Seconds only; a date is rare, and the default wait covers it.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
