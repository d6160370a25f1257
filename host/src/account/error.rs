//! Why there is no account for a name, or why it did not work. No variant holds a secret or an upstream body.

use std::net::SocketAddr;

use crate::auth::error::AuthError;
use crate::auth::rows::RowsError;
use crate::egress::EgressError;

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("there is no account `{name}`")]
    NotFound { name: String, nearest: Option<String> },
    #[error("`{name}` has several accounts")]
    Ambiguous { name: String, candidates: Vec<String> },
    /// An index row that leads elsewhere: the store was changed from outside.
    #[error("the name {name} leads to another account, and is not followed")]
    Moved { name: String },
    #[error("`{nickname}` cannot be a nickname")]
    Nickname { nickname: String },
    #[error("there is an account {name} already")]
    NameTaken { name: String },
    #[error("the list cannot go on behind `{cursor}`")]
    Cursor { cursor: String },
    /// The app's test request brought another answer than a working account gives.
    #[error("{app} refused the test request ({method} {path}): {reason}")]
    TestFailed { app: String, method: String, path: String, reason: String, stored: bool },
    /// An OAuth account that failed its test: its grant was not kept.
    #[error("{error}; {revoked}")]
    NotAdmitted { error: Box<AccountError>, revoked: String },
    #[error("{name} speaks for somebody else now: it was {was}, and the provider says {is}")]
    IdentityChanged { name: String, was: String, is: String },
    /// A reconnect that would make an account somebody else's.
    #[error("{name} belongs to {was}, and this is {is}")]
    OtherIdentity { name: String, was: String, is: String },
    #[error("{app} declares no test request")]
    NoTest { app: String },
    #[error("`{app}` was installed anew while you were asked")]
    AppChanged { app: String },
    #[error("credentials would go to {host}, which nobody confirmed")]
    HostUnconfirmed { host: String },
    /// Discovery brought nothing usable.
    #[error("{app}: `{name}` was not found out: {reason}")]
    InputUndiscovered { app: String, name: String, reason: String },
    #[error("{app} has several: which {label} is it?")]
    InputSeveral { app: String, name: String, label: String, offered: Vec<String> },
    #[error("{app} offers no `{name}` {value}")]
    InputNotOffered { app: String, name: String, value: String, offered: Vec<String> },
    #[error("{app} says that `{name}` is {found}, and it should be {expected}")]
    InputDiffers { app: String, name: String, expected: String, found: String },
    #[error("cannot listen at {address} for the browser's answer: {reason}")]
    CallbackListen { address: SocketAddr, reason: String },
    #[error("nobody allowed or denied the access within ten minutes")]
    CallbackTimeout,
    #[error("the account changed at the same moment")]
    Busy,
}

impl From<RowsError> for AccountError {
    fn from(error: RowsError) -> Self {
        if error.is_conflict() { Self::Busy } else { Self::Auth(error.into()) }
    }
}

impl AccountError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Auth(error) => error.code(),
            Self::Egress(error) => error.code(),
            Self::NotFound { .. } => "account_not_found",
            Self::Ambiguous { .. } => "account_ambiguous",
            Self::Moved { .. } => "account_moved",
            Self::Nickname { .. } => "nickname_invalid",
            Self::NameTaken { .. } => "nickname_taken",
            Self::Cursor { .. } => "cursor_invalid",
            Self::TestFailed { .. } => "test_failed",
            Self::NotAdmitted { error, .. } => error.code(),
            Self::IdentityChanged { .. } => "identity_changed",
            Self::NoTest { .. } => "no_test",
            Self::AppChanged { .. } => "app_changed",
            Self::HostUnconfirmed { .. } => "host_unconfirmed",
            Self::CallbackListen { .. } => "callback_unavailable",
            Self::OtherIdentity { .. } => "identity_other",
            Self::InputUndiscovered { .. } => "input_undiscovered",
            Self::InputSeveral { .. } => "input_several",
            Self::InputNotOffered { .. } => "input_not_offered",
            Self::InputDiffers { .. } => "input_differs",
            Self::CallbackTimeout => "connect_timeout",
            Self::Busy => "account_busy",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Auth(error) => error.fix(),
            Self::Egress(error) => error.fix(),
            Self::NotFound { nearest: Some(nearest), .. } => Some(format!("did you mean {nearest}?")),
            Self::NotFound { name, .. } if name.starts_with("acc_") => {
                Some("it was deleted: name another account, in a workflow's file too, and deploy that again".to_owned())
            }
            Self::NotFound { .. } => Some("see `deputy account list`, or `deputy connect`".to_owned()),
            Self::Ambiguous { .. } => Some("name one of them".to_owned()),
            Self::Moved { .. } => Some("the store was changed from outside: restore it from a backup".to_owned()),
            Self::Nickname { .. } => Some("use 1 to 40 of a-z, 0-9 and -, with no - at either end".to_owned()),
            Self::NameTaken { .. } => Some("take another nickname, or rename that account".to_owned()),
            Self::Cursor { .. } => Some("take the `next` of the page before".to_owned()),
            Self::TestFailed { stored: true, .. } => Some("reconnect it with `deputy account reconnect`".to_owned()),
            Self::TestFailed { .. } => {
                Some("nothing was stored; check the key and its scopes, or store it unchecked with --no-check".to_owned())
            }
            Self::NotAdmitted { error, .. } => error.fix(),
            Self::IdentityChanged { .. } => Some("run `deputy account reconnect` as the right person".to_owned()),
            Self::OtherIdentity { name, .. } => Some(format!(
                "sign in as the same person; connect the other one as an account of its own with `deputy connect`; or, \
                 if {name} shall be somebody else from now on, add --other-identity"
            )),
            Self::NoTest { .. } => Some("make a request of your own with `deputy request`".to_owned()),
            Self::AppChanged { app } => Some(format!("look at `deputy app show {app}`, then try again")),
            Self::HostUnconfirmed { .. } => Some("if the host is yours, add --confirm-host".to_owned()),
            Self::CallbackListen { .. } => Some(
                "close what uses the address (another `deputy connect`?), set `[callback] listen` in deputy.toml, or use \
                 --paste"
                    .to_owned(),
            ),
            Self::InputUndiscovered { app, .. } => {
                Some(format!("nothing was stored; see what `deputy app show {app}` says of it"))
            }
            Self::InputSeveral { name, .. } | Self::InputNotOffered { name, .. } => {
                Some(format!("nothing was stored; connect again with --input {name}=… and one of these"))
            }
            Self::InputDiffers { name, found, .. } => {
                Some(format!("if {found} is right, connect again with --input {name}={found}"))
            }
            Self::CallbackTimeout => Some("run `deputy connect` again".to_owned()),
            Self::Busy => Some("try again".to_owned()),
        }
    }

    /// What an ambiguous name could have meant.
    pub fn candidates(&self) -> Vec<String> {
        match self {
            Self::Ambiguous { candidates, .. } => candidates.clone(),
            Self::InputSeveral { offered, .. } | Self::InputNotOffered { offered, .. } => offered.clone(),
            Self::NotAdmitted { error, .. } => error.candidates(),
            _ => Vec::new(),
        }
    }
}
