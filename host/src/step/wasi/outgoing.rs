//! `wasi:http/outgoing-handler`: the requests of code that knows nothing of accounts.
//!
//! A request is collected and becomes an [`Ask`] on the run's own way: a marker in the place of a credential names the
//! account, else the one ambient account that reaches the URL does, else it goes out without a credential where the
//! operator allows the host. Limits, summaries and the checks of the egress are those of every request. What is refused
//! is an error code for the guest, which has no room for a sentence, and a warning with the sentence in the run's log.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::stream;
use http::{HeaderName, Request, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpHooks,
};

use crate::step::grants::Through;
use crate::step::host::Way;
use crate::step::log::Log;
use crate::step::requests::{Ask, BodyStream, Refusal, RefusalCode};
use crate::step::{LogLevel, RunLimits};
use crate::time::Time;

/// Pieces of a body that wait in the host for each request that a guest makes, sent or not.
const BODY_CHUNKS: usize = 1;
const BODY_CHUNK_BYTES: usize = 16 << 10;

/// What of an answer's body is handed on at once.
const ANSWER_CHUNK_BYTES: usize = 64 << 10;

/// Headers that frame the message or route it, whose values are the host's. Not `authorization`: a marker may stand
/// there, and anything else the egress refuses by name where an account was chosen.
static FORBIDDEN: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name: &HeaderName| DEFAULT_FORBIDDEN_HEADERS.contains(name)));

type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<()>> + Send>);

pub(super) struct Hooks {
    /// None while the component is only asked for its props.
    way: Option<Way>,
    bodies: Bodies,
}

impl Hooks {
    pub fn new(way: Option<Way>, limits: &RunLimits) -> Self {
        Self { way, bodies: Bodies { limit: limits.body_bytes_in_flight, used: Arc::default() } }
    }
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        FORBIDDEN.clone()
    }

    /// The egress sets it from the URL that it checked.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _transmitted: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer>> + Send> {
        let (way, bodies) = (self.way.clone(), self.bodies.clone());
        Box::new(async move {
            // Asked for its props, a step has nobody to send for.
            let Some(way) = way else { return Err(Error::HttpRequestDenied) };
            let place = Place::of(request.method().as_str(), request.uri());
            match send(&way, bodies, request, options.unwrap_or_default()).await {
                Ok(response) => {
                    let response = response.map(|body| stream_of(body, way.log().clone(), place));
                    let sent: Box<dyn Future<Output = Result<()>> + Send> = Box::new(async { Ok(()) });
                    Ok((response, sent))
                }
                Err(refused) => {
                    place.warn(way.log(), &refused.why);
                    Err(refused.code)
                }
            }
        })
    }
}

/// A sentence for the log, and a code for the guest.
struct Refused {
    why: Refusal,
    code: Error,
}

impl From<Refusal> for Refused {
    /// With the nearest code.
    fn from(why: Refusal) -> Self {
        let code = match why.code {
            RefusalCode::Invalid | RefusalCode::Denied | RefusalCode::NotBound | RefusalCode::NeedsReconnect => {
                Error::HttpRequestDenied
            }
            RefusalCode::Unreachable => Error::DestinationUnavailable,
            RefusalCode::Timeout => Error::ConnectionTimeout,
            RefusalCode::Limit => Error::ConnectionLimitReached,
            RefusalCode::Protocol => Error::HttpProtocolError,
            RefusalCode::Internal => Error::InternalError(None),
        };
        Self { why, code }
    }
}

async fn send(
    way: &Way,
    bodies: Bodies,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Response<BodyStream>, Refused> {
    let (parts, body) = request.into_parts();
    let (body, held) = bodies.collect(body).await?;
    let headers = parts
        .headers
        .iter()
        // The length is counted anew, and the guest is given a decoded answer whatever it says that it accepts.
        .filter(|(name, _)| **name != header::CONTENT_LENGTH && **name != header::ACCEPT_ENCODING)
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let ask = Ask {
        method: parts.method.as_str().to_owned(),
        url: parts.uri.to_string(),
        headers,
        body,
        timeout_ms: options.first_byte_timeout.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
        rule_set: None,
    };
    let mut pending = way.send(Through::Ambient, ask)?;
    // The run counts the body from here on.
    drop(held);
    pending.ready().await;
    let lost = || Refusal::new(RefusalCode::Internal, "the host lost the request");
    let mut answer = pending.take().ok_or_else(lost)??;
    let mut body = answer.body()?;
    if let Some(idle) = options.between_bytes_timeout {
        body.at_most_idle(idle);
    }
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| lost())?;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

/// Request bodies that are being collected, bounded together: the host holds each until it is whole.
#[derive(Debug, Clone)]
struct Bodies {
    limit: usize,
    used: Arc<Mutex<usize>>,
}

/// Gives back what a body counts.
struct Held {
    bodies: Bodies,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.bodies.used.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}

impl Bodies {
    async fn collect(self, mut body: WasiBody) -> Result<(Vec<u8>, Held), Refused> {
        let mut held = Held { bodies: self, bytes: 0 };
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error {
                // A guest drops a body instead of finishing it: nothing may be sent then.
                Error::HttpProtocolError => {
                    Refusal::new(RefusalCode::Invalid, "the request's body was dropped before it was finished")
                }
                other => Refusal::new(RefusalCode::Invalid, format!("the request's body failed: {other}")),
            })?;
            let Ok(data) = frame.into_data() else {
                let why = Refusal::new(RefusalCode::Invalid, "the request has trailers, which are not sent");
                return Err(why.fix("finish the body without trailers").into());
            };
            held.grow(data.len())?;
            all.extend_from_slice(&data);
        }
        Ok((all, held))
    }
}

impl Held {
    fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let limit = self.bodies.limit;
        let mut used = self.bodies.used.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > limit - *used {
            let message = format!("the bodies on their way have more than {limit} bytes together");
            return Err(Refused {
                why: Refusal::new(RefusalCode::Limit, message).fix("send less at once"),
                code: Error::HttpRequestBodySize(Some(limit as u64)),
            });
        }
        *used += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

/// The answer's body, piece by piece, as the guest reads it.
fn stream_of(body: BodyStream, log: Log, place: Place) -> WasiBody {
    let pieces = stream::unfold(Some((body, log, place)), |state| async move {
        let (mut body, log, place) = state?;
        loop {
            body.ready().await;
            match body.read(ANSWER_CHUNK_BYTES) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some((Ok::<_, Error>(Frame::data(piece)), Some((body, log, place)))),
                Err(StreamError::Closed) => return None,
                Err(StreamError::LastOperationFailed(error) | StreamError::Trap(error)) => {
                    place.warn(&log, &Refusal::new(RefusalCode::Protocol, error.to_string()));
                    return Some((Err(Error::HttpResponseIncomplete), None));
                }
            }
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

/// What a warning is about.
#[derive(Debug, Clone)]
struct Place(String);

impl Place {
    /// Without the query, which may hold what nobody should log.
    fn of(method: &str, uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or("https");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let path: String = uri.path().chars().take(256).collect();
        Self(format!("{method} {scheme}://{host}{port}{path}"))
    }

    fn warn(&self, log: &Log, refusal: &Refusal) {
        let fix = refusal.fix.as_ref().map(|fix| format!("; to change that: {fix}")).unwrap_or_default();
        log.write(Time::now(), LogLevel::Warn, format!("{}: {}{fix}", self.0, refusal.message));
    }
}
