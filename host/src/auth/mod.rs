//! Keeping credentials: what an account's secrets are, how they are obtained, and how they stay fresh.
//!
//! Promises: a secret is stored durably before anybody uses it; one refresh per account at a time, also across
//! processes; a lost answer is told as such and never guessed away; an account is dead only when the provider says so.
//! Everything that decides stands in sealed records. This room makes token calls through the one road and never opens
//! a connection of its own; `egress` asks it through [`Tokens`](crate::egress::Tokens).

pub mod apps;
pub mod call;
pub mod client;
pub mod device;
pub mod discovered;
pub mod error;
pub mod errors;
pub mod exchange;
pub mod expiry;
pub mod flow;
pub mod keys;
pub mod login;
pub mod oauth2;
pub mod obtain;
pub mod record;
pub mod refresh;
pub mod refusal;
pub mod reply;
pub mod revoke;
pub mod road;
pub mod rows;
pub mod sequence;
#[cfg(test)]
pub(crate) mod testing;

pub use apps::{Apps, PinnedApp};
pub use client::RedirectUri;
pub use error::AuthError;
pub use record::{Health, Identity};
pub use refresh::Auth;
pub use road::TokenRoad;
