//! Typed identifiers: a prefix that says what it names, then a UUIDv7 in lower-case base32hex (RFC 4648 section 7),
//! so that ids sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
    specification.encoding().expect("the alphabet is valid")
});

/// The text is no identifier of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an identifier of the form {prefix}_…")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, unlike any other.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(format!("{}_{}", $prefix, BASE32.encode(uuid::Uuid::now_v7().as_bytes())))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let body = text.strip_prefix($prefix).and_then(|rest| rest.strip_prefix('_'));
                match body.map(|body| BASE32.decode(body.as_bytes())) {
                    Some(Ok(bytes)) if bytes.len() == 16 => Ok(Self(text.to_owned())),
                    _ => Err(InvalidId { text: text.chars().take(64).collect(), prefix: $prefix }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One connected identity at one app.
    AccountId, "acc"
);
id!(
    /// An OAuth client registration.
    ClientId, "oac"
);
id!(
    /// One execution of a step.
    RunId, "run"
);
id!(
    /// A workflow, from its first deployment to its removal; stands in the address of a signed hook.
    WorkflowId, "wfl"
);
id!(
    /// One attempt to connect an account.
    FlowId, "flw"
);
id!(
    /// One store, from its creation on; names the key file.
    StoreId, "sto"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_by_time() {
        let first = AccountId::new();
        let second = AccountId::new();
        assert!(first.as_str() < second.as_str(), "{first} {second}");
        assert_eq!(first.as_str().parse::<AccountId>(), Ok(first.clone()));
        assert_eq!(first.as_str().len(), "acc_".len() + 26);
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let run = RunId::new();
        assert!(run.as_str().parse::<AccountId>().is_err());
        for text in ["", "acc", "acc_", "acc_zzz", "acc_!"] {
            assert!(text.parse::<AccountId>().is_err(), "{text}");
        }
    }
}
