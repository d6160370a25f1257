//! A provider made from a declaration. It answers only what the declaration describes, and refuses everything else
//! with a reason: a request with a credential in another place is as wrong as one without.
//!
//! [`Fake`] lists the requests that the declaration and its own state allow at this moment; what comes must be one of
//! them, part for part. It shares no code with the rooms that make these requests, only the declaration's templates.
//! Pure but for the socket.

mod api;
mod calls;
mod fake;
mod login;
mod recorded;
mod report;
mod server;
mod signatures;
mod values;
mod wanted;

pub use fake::{Answering, Client, Expected, Fake, Refused, Seen, State, conditions};
pub use login::hosts;
pub use recorded::{Fixture, Meaning, To, read as read_fixtures};
pub use report::{Check, Outcome, Report};
pub use server::Server;
pub use values::{Unmakeable, inputs, pasted};
