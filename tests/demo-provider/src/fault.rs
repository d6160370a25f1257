//! Ways in which a server can misbehave, queued per place and used up one by one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

/// Where the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The redirect back to the client.
    Authorize,
    /// The token endpoint.
    Token,
    /// Any API path.
    Api,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A page of HTML with status 200.
    Html,
    /// No answer, ever; the connection stays open.
    Hang,
    /// Headers at once, then one byte a second, for ever.
    Drip,
    /// 10 GB of JSON white space, as fast as it goes.
    Huge,
    /// An empty JSON object under this status.
    Status(u16),
    /// A successful JSON reply that lacks what it should hold.
    Empty,
    /// The request is carried out and its answer never leaves: what a client sees when the network breaks between
    /// the server's commit and the reply.
    LostReply,
    /// The callback names another issuer (RFC 9207). Only at [`Place::Authorize`].
    WrongIssuer,
}

#[derive(Default)]
pub struct Faults {
    queue: VecDeque<(Place, Fault)>,
}

impl Faults {
    pub fn push(&mut self, place: Place, fault: Fault) {
        self.queue.push_back((place, fault));
    }

    pub fn take(&mut self, place: Place) -> Option<Fault> {
        let at = self.queue.iter().position(|(queued, _)| *queued == place)?;
        self.queue.remove(at).map(|(_, fault)| fault)
    }
}

const CHUNK: &[u8] = &[b' '; 64 * 1024];
const HUGE_BYTES: u64 = 10_000_000_000;

/// The faulty answer itself.
pub async fn answer(fault: Fault) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match fault {
        Fault::Html => {
            ([(header::CONTENT_TYPE, "text/html")], "<!doctype html><title>Maintenance</title><h1>Back soon</h1>")
                .into_response()
        }
        Fault::Hang | Fault::LostReply => std::future::pending().await,
        Fault::Drip => {
            let bytes = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
            });
            (json, Body::from_stream(bytes)).into_response()
        }
        Fault::Huge => {
            let chunks = stream::unfold(HUGE_BYTES, |left| async move {
                let take = left.min(CHUNK.len() as u64);
                (take > 0).then(|| (Ok::<_, Infallible>(Bytes::from_static(&CHUNK[..take as usize])), left - take))
            });
            (json, Body::from_stream(chunks)).into_response()
        }
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, json, "{}").into_response()
        }
        Fault::Empty | Fault::WrongIssuer => (json, "{}").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order_and_per_place() {
        let mut faults = Faults::default();
        faults.push(Place::Token, Fault::Html);
        faults.push(Place::Api, Fault::Hang);
        faults.push(Place::Token, Fault::Empty);
        assert_eq!(faults.take(Place::Token), Some(Fault::Html));
        assert_eq!(faults.take(Place::Token), Some(Fault::Empty));
        assert_eq!(faults.take(Place::Token), None);
        assert_eq!(faults.take(Place::Authorize), None);
        assert_eq!(faults.take(Place::Api), Some(Fault::Hang));
    }
}
