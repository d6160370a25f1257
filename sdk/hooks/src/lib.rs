//! Write the hooks of a Deputy app in Rust.
//!
//! Most apps are data: an `app.toml`. Where a provider wants something that no declaration says, such as a signature of
//! its own making, a crate beside the `app.toml` exports a hook. A hook is a pure function: no clock, no network, no
//! state; what it may know stands in its arguments. Secrets come as handles ([`Secret`]): a hook computes with them, and
//! the host puts the result where the declaration says. No operation shows the bytes behind a handle.
//!
//! ```no_run
//! use deputy_hooks::prelude::*;
//!
//! struct Acme;
//!
//! impl Signing for Acme {
//!     fn sign(request: Request) -> Result<Signature, Error> {
//!         let date = request.now_s().to_string();
//!         let body = request.body()?;
//!         let text = join(&[&request.method, &"\n", &request.path, &"\n", &date, &"\n", &body.sha256]);
//!         let signature = request.token("secret")?.hmac(Hash::Sha256, &text).encode(Encoding::Hex);
//!         Ok(Signature::new().header("X-Acme-Date", &date).header("X-Acme-Signature", &signature))
//!     }
//! }
//!
//! deputy_hooks::export_hooks!(Acme: signing);
//! # fn main() {}
//! ```
//!
//! In the `app.toml`, `sign.hook = { headers = ["X-Acme-Date", "X-Acme-Signature"] }` names the places that the hook may
//! fill. `deputy app build` builds the crate and puts it beside the declaration.
//!
//! Bounds of a call: 16 MiB of memory, a quarter of a second of CPU time, 90 handles, and as many bytes behind them as
//! three times the body and 1 MiB. A panic ends the call, and the request is not sent.

mod identity;
mod secret;
mod signing;
mod token_reply;

#[doc(hidden)]
pub mod reply_bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "token-reply-hook",
        pub_export_macro: true,
        export_macro_name: "__export_token_reply",
        default_bindings_module: "deputy_hooks::reply_bindings",
        with: { "deputy:app/secrets@0.1.0": crate::bindings::deputy::app::secrets },
    });
}

#[doc(hidden)]
pub mod identity_bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "identity-hook",
        pub_export_macro: true,
        export_macro_name: "__export_identity",
        default_bindings_module: "deputy_hooks::identity_bindings",
    });
}

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "signing-hook",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_signing",
        default_bindings_module: "deputy_hooks::bindings",
    });
}

#[doc(hidden)]
pub mod plumbing;

pub use bindings::deputy::app::secrets::{Encoding, Hash};
pub use identity::{Answer, Identify, Who};
pub use secret::{Bytes, Secret, join};
pub use signing::{Body, Request, Signature, Signing};
pub use token_reply::{Reply, TokenReply, Tokens};

/// Why a hook does not do what it was asked to. The sentence goes to whoever made the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<&str> for Error {
    fn from(sentence: &str) -> Self {
        Self::new(sentence)
    }
}

impl From<String> for Error {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

/// Exports hooks of this crate: `export_hooks!(MyApp: signing);`. `MyApp` has the trait of each.
#[macro_export]
macro_rules! export_hooks {
    ($app:ty: $($hook:ident),+ $(,)?) => { $( $crate::__export_hook!($app, $hook); )+ };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($app:ty, signing) => {
        const _: () = {
            struct Component;

            impl $crate::bindings::exports::deputy::app::signing::Guest for Component {
                fn sign(
                    request: $crate::bindings::exports::deputy::app::signing::Request,
                ) -> Result<$crate::bindings::exports::deputy::app::signing::Signed, String> {
                    $crate::plumbing::sign::<$app>(request)
                }
            }

    $crate::bindings::__export_signing!(Component with_types_in $crate::bindings);
        };
    };
    ($app:ty, token_reply) => {
        const _: () = {
            struct Component;

            impl $crate::reply_bindings::exports::deputy::app::token_reply::Guest for Component {
                fn read(
                    reply: $crate::reply_bindings::exports::deputy::app::token_reply::Reply,
                ) -> Result<Vec<$crate::reply_bindings::exports::deputy::app::token_reply::Item>, String> {
                    $crate::plumbing::read::<$app>(reply)
                }
            }

    $crate::reply_bindings::__export_token_reply!(Component with_types_in $crate::reply_bindings);
        };
    };
    ($app:ty, identity) => {
        const _: () = {
            struct Component;

            impl $crate::identity_bindings::exports::deputy::app::identity::Guest for Component {
                fn identify(
                    answer: $crate::identity_bindings::exports::deputy::app::identity::Answer,
                ) -> Result<$crate::identity_bindings::exports::deputy::app::identity::Who, String> {
                    $crate::plumbing::identify::<$app>(answer)
                }
            }

    $crate::identity_bindings::__export_identity!(Component with_types_in $crate::identity_bindings);
        };
    };
    ($app:ty, $other:ident) => {
        compile_error!(concat!("there is no hook `", stringify!($other), "`: take signing, token_reply or identity"));
    };
}

/// What almost every hook uses.
pub mod prelude {
    pub use crate::{
        Answer, Body, Bytes, Encoding, Error, Hash, Identify, Reply, Request, Secret, Signature, Signing, TokenReply,
        Tokens, Who, join,
    };
}
