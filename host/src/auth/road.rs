//! The one road as this room sees it: a token call gives bytes, or says whether anything was sent at all.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use zeroize::Zeroizing;

use super::reply::MAX_REPLY_BYTES;
use crate::egress::{Answer, Credential, Egress, EgressError, Request, TokenCall, Who};

/// What a token endpoint answered. The body may be a secret.
pub struct TokenAnswer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// Some providers put the token into one.
    pub headers: HeaderMap,
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

    /// What the app's hook `identity` says of an answer to the test request.
    fn identify<'a>(
        &'a self,
        _app: &'a str,
        _version: &'a str,
        _inputs: &'a BTreeMap<String, String>,
        _answer: &'a ProbeAnswer,
    ) -> BoxFuture<'a, Result<Who, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("this road has no hooks".to_owned())) })
    }
}

impl TokenRoad for Egress {
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>> {
        Box::pin(async move {
            let answer = self.send(Credential::TokenCall(call), request).await.map_err(|error| road_error(&error))?;
            let status = answer.status.as_u16();
            let retry_after = retry_after(&answer);
            let headers = answer.headers;
            let body = match answer.body.collect(MAX_REPLY_BYTES).await {
                Ok(body) => Zeroizing::new(body),
                Err(EgressError::TooLarge { .. }) => Zeroizing::default(),
                Err(error) => return Err(RoadError::Ambiguous(error.to_string())),
            };
            let body = match &call.reply_hook {
                // A refusal is the provider's own, and nothing for the hook to read.
                Some(version) if (200..300).contains(&status) => {
                    let read =
                        self.hooks(&call.app).map(|hooks| hooks.read_reply(&call.app, version, status, &headers, body));
                    match read {
                        Ok(read) => read.await.map_err(|error| RoadError::Ambiguous(error.to_string()))?,
                        Err(error) => return Err(RoadError::Ambiguous(error.to_string())),
                    }
                }
                _ => body,
            };
            Ok(TokenAnswer { status, retry_after, headers, body })
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

    fn identify<'a>(
        &'a self,
        app: &'a str,
        version: &'a str,
        inputs: &'a BTreeMap<String, String>,
        answer: &'a ProbeAnswer,
    ) -> BoxFuture<'a, Result<Who, EgressError>> {
        Box::pin(async move { self.hooks(app)?.identify(app, version, answer.status, &answer.body, inputs).await })
    }
}

/// Everything that is not known to have failed before the first byte counts as sent.
fn road_error(error: &EgressError) -> RoadError {
    match error {
        EgressError::Invalid { .. } | EgressError::Denied { .. } | EgressError::Unreachable { .. } => {
            RoadError::NotSent(error.to_string())
        }
        EgressError::Timeout { what: "did not accept a connection", .. } => RoadError::NotSent(error.to_string()),
        _ => RoadError::Ambiguous(error.to_string()),
    }
}

/// Seconds only; a date is rare, and the default wait covers it.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::caller::Caller;
    use crate::egress::{Body, MemoryAudit, Policy};

    /// What the real road says of a token server that answers one connection with these bytes.
    async fn call(answer: Option<&'static [u8]>) -> Result<TokenAnswer, RoadError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = answer.map(|answer| {
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 16 << 10];
                let mut read = 0;
                while !request[..read].ends_with(b"refresh_token=rt") {
                    read += stream.read(&mut request[read..]).await.unwrap();
                }
                stream.write_all(answer).await.unwrap();
            })
        });
        let policy = Policy { allow: vec![address], ..Policy::default() };
        let egress = Egress::new(policy, Arc::new(MemoryAudit::default())).unwrap();
        let call = TokenCall {
            caller: Caller::local(),
            app: "as".into(),
            account: None,
            purpose: "refresh",
            endpoint: format!("http://{address}/token").parse().unwrap(),
            reply_hook: None,
        };
        let mut request = Request::new(Method::POST, call.endpoint.as_str());
        request.body = Body::Bytes(Bytes::from_static(b"grant_type=refresh_token&refresh_token=rt"));
        let answer = egress.call(&call, request).await;
        if let Some(server) = server {
            server.await.unwrap();
        }
        answer
    }

    #[tokio::test]
    async fn a_closed_port_saw_nothing() {
        assert!(matches!(call(None).await, Err(RoadError::NotSent(_))));
    }

    #[tokio::test]
    async fn a_server_that_reads_and_goes_away_may_have_acted() {
        for cut in
            [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access", b"nonsense\r\n\r\n"]
        {
            let answer = call(Some(cut)).await.map(|answer| answer.status);
            assert!(matches!(answer, Err(RoadError::Ambiguous(_))), "{cut:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_arrives_with_its_wait() {
        let text = b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}";
        let answer = call(Some(text)).await.unwrap();
        assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(7))));
        assert_eq!(&answer.body[..], b"{}");
    }
}
