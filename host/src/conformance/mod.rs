//! A provider made from a declaration. It answers only what the declaration describes, and refuses everything else
//! with a reason: a request with a credential in another place is as wrong as one without.
//!
//! Pure but for the socket: what a request must look like is a function over declaration, state and request.

mod fake;
mod report;
mod resource;
mod server;
mod token;
mod values;

pub use fake::{Answering, Client, Expected, Fake, Seen, State, conditions, oauth2_urls};
pub use report::{Check, Outcome, Report};
pub use server::Server;
pub use values::{Unmakeable, inputs, pasted};
