//! Write Deputy steps in Rust.
//!
//! A step is a small program that calls apps through people's accounts. It runs in a sandbox, names an account by the
//! prop it is bound to, and never sees a key: the host adds the credential to every request, keeps it fresh, and
//! scrubs it out of the answer.
//!
//! ```no_run
//! use deputy_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     channel: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Output {
//!     messages: usize,
//! }
//!
//! struct Count;
//!
//! impl Step for Count {
//!     type Input = Input;
//!     type Output = Output;
//!
//!     fn props() -> Vec<Prop> {
//!         vec![Prop::app("slack", "slack").help("Whose messages to count"), Prop::text("channel")]
//!     }
//!
//!     fn run(input: Input) -> Result<Output, Error> {
//!         let slack = Account::get("slack")?;
//!         let answer = slack
//!             .request(Method::GET, "/conversations.history")
//!             .query("channel", &input.channel)
//!             .send()?
//!             .error_for_status()?
//!             .json::<Value>()?;
//!         let messages = answer["messages"].as_array().map_or(0, Vec::len);
//!         log::info!("{messages} messages in {}", input.channel);
//!         Ok(Output { messages })
//!     }
//! }
//!
//! deputy_sdk::step!(Count);
//! # fn main() {}
//! ```
//!
//! Build it with `cargo build --release --target wasm32-unknown-unknown`, look at it with `deputy step check`, run it
//! with `deputy step run --bind slack=slack/work`. The host takes the core module that cargo writes; no other tool is
//! needed.
//!
//! Bounds of a run: 64 MiB of memory, 1,000 requests of which 32 at a time, 16 MiB of request bodies on their way,
//! 10,000 log lines of 8 KiB (4 MiB together), 8 MiB of output, and the time limits that `deputy step run` shows.

mod account;
mod error;
mod http;
mod prop;

pub mod clock;
pub mod log;
pub mod random;

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "step",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_step",
        default_bindings_module: "deputy_sdk::bindings",
    });
}

#[doc(hidden)]
pub mod plumbing;

pub use account::{Account, Facts};
pub use error::{Code, Error};
pub use http::{Method, Pending, Request, Response, join_all, wait_any};
pub use prop::Prop;
pub use {serde, serde_json};

/// What a step is.
pub trait Step {
    /// The run's input, read from its JSON object. Use [`serde_json::Value`] to take it as it is.
    type Input: serde::de::DeserializeOwned;
    /// The run's output, written as JSON.
    type Output: serde::Serialize;

    /// What the step needs: accounts and input fields. Pure: the host asks once, when it checks the step.
    fn props() -> Vec<Prop>;

    /// One run. The error's sentence goes to whoever started it.
    fn run(input: Self::Input) -> Result<Self::Output, Error>;
}

/// Makes a type that is a [`Step`] the step of this crate.
#[macro_export]
macro_rules! step {
    ($step:ty) => {
        const _: () = {
            struct Component;

            impl $crate::bindings::Guest for Component {
                fn props() -> Vec<$crate::bindings::Prop> {
                    $crate::plumbing::props::<$step>()
                }

                fn run(input: String) -> Result<String, String> {
                    $crate::plumbing::run::<$step>(input)
                }
            }

    $crate::bindings::__export_step!(Component with_types_in $crate::bindings);
        };
    };
}

/// What almost every step uses.
pub mod prelude {
    pub use crate::serde::{self, Deserialize, Serialize};
    pub use crate::serde_json::{Value, json};
    pub use crate::{Account, Error, Method, Prop, Response, Step, clock, join_all, log};
}
