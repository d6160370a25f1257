//! Why there is no account, no flow or no token. No variant holds a secret or an upstream body.

use deputy_declaration::template::RenderError;

use super::rows::RowsError;
use crate::ids::AccountId;
use crate::store::StoreError;
use crate::vault::VaultError;

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A sealed record that stands in another place than it says, or leads elsewhere than its declaration.
    #[error("the record of {id} is not used: {reason}")]
    Refused { id: String, reason: &'static str },
    #[error("there is no such account")]
    NotFound,
    /// A version that is there and cannot be used: a file that was changed, or cannot be read.
    #[error("{message}")]
    Catalog { code: &'static str, message: String, fix: Option<String> },
    #[error("the app `{app}` is not installed")]
    AppMissing { app: String },
    /// An account whose declaration is gone.
    #[error("the declaration that {id} was connected with is not installed any more")]
    DeclarationMissing { id: AccountId, app: String },
    #[error("{app} has no auth method `{method}`; it has {known}")]
    MethodUnknown { app: String, method: String, known: String },
    #[error("{app} {method} is connected {how}")]
    MethodKind { app: String, method: String, how: &'static str },
    #[error(transparent)]
    Template(#[from] RenderError),
    #[error("`{name}`: {reason}")]
    Input { name: String, reason: String },
    #[error("`{name}` is missing: {label}")]
    InputMissing { name: String, label: String },
    #[error("{app} asks for no input `{name}`")]
    InputUnknown { app: String, name: String, nearest: Option<String> },
    /// Known, and given in the wrong place.
    #[error("`{name}` is not asked for here: {reason}")]
    InputElsewhere { name: String, reason: String },
    #[error("the OAuth client of {app} lacks `{name}`")]
    ClientInputMissing { app: String, name: String },
    #[error("the key `{name}` cannot be right: {reason}")]
    Key { name: String, reason: String, help: Option<String> },
    #[error("the key `{name}` is missing: {label}")]
    KeyMissing { name: String, label: String },
    #[error("{method} has no key `{name}`; it has {known}")]
    KeyUnknown { method: String, name: String, known: String },
    #[error("{app} has no scope `{scope}`")]
    ScopeUnknown { app: String, scope: String, nearest: Option<String> },
    #[error("no OAuth client is registered for {app}")]
    ClientMissing { app: String, redirect_uri: String },
    #[error("the client of {app} was registered for another version of it, with other endpoints, origins or rules")]
    ClientElsewhere { app: String },
    #[error("the client id cannot be right: {reason}")]
    ClientInvalid { reason: &'static str },
    #[error("{count} accounts still use the client of {app}")]
    ClientInUse { app: String, count: i64 },
    #[error("{app} asks for a client secret")]
    ClientSecretMissing { app: String },
    /// Foreign, replayed, or long gone: which of them is not told.
    #[error("this answer belongs to no connection that is waiting")]
    StateUnknown,
    #[error("the connection was begun more than ten minutes ago")]
    StateExpired,
    #[error("the answer came back at another address than the one it was sent for")]
    CallbackElsewhere { expected: String },
    #[error("this is no answer of an authorization server: {reason}")]
    CallbackMalformed { reason: &'static str },
    /// RFC 9207.
    #[error("the answer does not come from {expected}, which {app} names as its issuer")]
    Issuer { app: String, expected: String },
    #[error("access to {app} was denied")]
    Denied { app: String },
    #[error("{app} refused to ask for consent: {code}")]
    AuthorizeRefused { app: String, code: String },
    #[error("{app} did not take the code: {reason}")]
    CodeRefused { app: String, reason: String },
    #[error("{app} refuses the OAuth client: {reason}")]
    ClientRefused { app: String, reason: String },
    /// RFC 8628 section 3.2.
    #[error("{app} gave no device code: {reason}")]
    DeviceRefused { app: String, reason: String },
    #[error("nobody entered the code in time")]
    DeviceExpired { app: String },
    #[error("{app} does not accept what was pasted: {reason}")]
    SecretsRefused { app: String, reason: String },
    #[error("{app} gave no tokens: {reason}")]
    ExchangeFailed { app: String, reason: String },
    #[error("cannot build the call: {0}")]
    Internal(String),
}

impl From<RowsError> for AuthError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Store(error) => Self::Store(error),
            RowsError::Vault(error) => Self::Vault(error),
            RowsError::Refused { id, reason } => Self::Refused { id, reason },
            RowsError::Malformed(what) => Self::Internal(what),
        }
    }
}

impl AuthError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Refused { .. } => "record_refused",
            Self::NotFound => "account_not_found",
            Self::Catalog { code, .. } => code,
            Self::AppMissing { .. } => "app_not_installed",
            Self::DeclarationMissing { .. } => "declaration_missing",
            Self::MethodUnknown { .. } => "method_unknown",
            Self::MethodKind { .. } => "method_kind",
            Self::Template(error) => error.code(),
            Self::Input { .. } => "input_invalid",
            Self::InputMissing { .. } => "input_missing",
            Self::InputUnknown { .. } => "input_unknown",
            Self::InputElsewhere { .. } => "input_elsewhere",
            Self::ClientInputMissing { .. } => "client_input_missing",
            Self::Key { .. } => "key_invalid",
            Self::KeyMissing { .. } => "key_missing",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::ScopeUnknown { .. } => "scope_unknown",
            Self::ClientMissing { .. } => "client_missing",
            Self::ClientElsewhere { .. } => "client_endpoints_changed",
            Self::ClientInvalid { .. } => "client_invalid",
            Self::ClientInUse { .. } => "client_in_use",
            Self::ClientSecretMissing { .. } => "client_secret_missing",
            Self::StateUnknown => "state_unknown",
            Self::StateExpired => "state_expired",
            Self::CallbackElsewhere { .. } => "callback_elsewhere",
            Self::CallbackMalformed { .. } => "callback_malformed",
            Self::Issuer { .. } => "issuer_mismatch",
            Self::Denied { .. } => "connect_denied",
            Self::AuthorizeRefused { .. } => "authorize_refused",
            Self::CodeRefused { .. } => "code_refused",
            Self::ClientRefused { .. } => "client_refused",
            Self::DeviceRefused { .. } => "device_refused",
            Self::DeviceExpired { .. } => "device_code_expired",
            Self::SecretsRefused { .. } => "secrets_refused",
            Self::ExchangeFailed { .. } => "exchange_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> Option<String> {
        let again = |app: &str| Some(format!("run `deputy connect {app}` again"));
        match self {
            Self::Store(error) => error.fix(),
            Self::Vault(error) => error.fix(),
            Self::Template(error) => error.fix(),
            Self::Refused { .. } => Some("connect it again, or restore the data folder from a backup".to_owned()),
            Self::NotFound => Some("see `deputy account list`".to_owned()),
            Self::Catalog { fix, .. } => fix.clone(),
            Self::AppMissing { .. } => Some("see `deputy app list`, or `deputy app install`".to_owned()),
            Self::DeclarationMissing { app, .. } => Some(format!("install `{app}` as it was, or connect again")),
            Self::MethodUnknown { .. } => Some("name one of them with --method".to_owned()),
            Self::MethodKind { app, .. } => Some(format!("see `deputy app show {app}`")),
            Self::Input { name, .. } | Self::InputMissing { name, .. } => Some(format!("give --input {name}=…")),
            Self::InputUnknown { nearest, .. } | Self::ScopeUnknown { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"))
            }
            Self::InputElsewhere { name, .. } => Some(format!("leave --input {name}=… out")),
            Self::ClientInputMissing { app, name } => {
                Some(format!("run `deputy client set {app}` again, with --input {name}=…"))
            }
            Self::Key { help, .. } => help.clone(),
            Self::KeyMissing { .. } => Some("paste it at the prompt, or give it on standard input".to_owned()),
            Self::KeyUnknown { .. } => None,
            Self::ClientMissing { app, redirect_uri } if redirect_uri.is_empty() => {
                Some(format!("run `deputy client set {app}`"))
            }
            Self::ClientMissing { app, redirect_uri } => Some(format!(
                "register one at the provider with the redirect URI {redirect_uri}, then run `deputy client set {app}`"
            )),
            Self::ClientElsewhere { app } => {
                Some(format!("look at `deputy app show {app}`; if you trust it, run `deputy client set {app}`"))
            }
            Self::ClientInvalid { .. } => Some("copy it from the provider's page".to_owned()),
            Self::ClientInUse { .. } => Some("delete the accounts first".to_owned()),
            Self::ClientSecretMissing { app } => Some(format!("run `deputy client set {app}` with the secret")),
            Self::StateUnknown | Self::StateExpired => Some("run `deputy connect` again".to_owned()),
            Self::CallbackElsewhere { expected } => {
                Some(format!("paste the whole address of the page; it begins with {expected}"))
            }
            Self::CallbackMalformed { .. } => {
                Some("paste the whole address of the page the browser ended on, with everything behind `?`".to_owned())
            }
            Self::Issuer { app, .. } => {
                Some(format!("do not trust the page that sent you here; run `deputy connect {app}` again"))
            }
            Self::SecretsRefused { app, .. } => {
                Some(format!("look them up at the provider, then run `deputy connect {app}` again"))
            }
            Self::Denied { app } | Self::CodeRefused { app, .. } => again(app),
            Self::AuthorizeRefused { app, .. } | Self::ClientRefused { app, .. } => Some(format!(
                "compare client id, secret and redirect URI with the provider's page, then run `deputy client set {app}`"
            )),
            Self::DeviceRefused { app, .. } | Self::DeviceExpired { app } | Self::ExchangeFailed { app, .. } => {
                again(app)
            }
            Self::Internal(_) => None,
        }
    }
}
