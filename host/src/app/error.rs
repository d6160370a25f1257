//! What can go wrong with apps.

use std::path::PathBuf;

use deputy_declaration::inspect::Refusal;
use deputy_declaration::pack::PackError;
use deputy_declaration::validate::Finding;

use super::Difference;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("there is no app `{slug}`")]
    Unknown { slug: String, nearest: Option<String> },
    #[error("no version {hash} of an app is stored here")]
    UnknownVersion { hash: String },
    #[error("this is no app: {}", list(.0))]
    Refused(Vec<Refusal>),
    #[error("the app cannot be asked what it declares: {0}")]
    Declare(String),
    /// Lifted, but not of the contract's shape.
    #[error("the app declares something unreadable: {0}")]
    Unreadable(String),
    #[error("the app's declaration is unsound: {}", list(.0))]
    Unsound(Vec<Finding>),
    #[error("`{rule}` wants the hook `{hook}`, and the component has none")]
    HookMissing { hook: &'static str, rule: &'static str },
    #[error("the component has the hook `{hook}`, and nothing in the declaration calls for it")]
    HookUnused { hook: &'static str },
    /// A stranger's component under the name of a built-in app.
    #[error("`{slug}` is a built-in app: its name is reserved")]
    Reserved { slug: String },
    #[error("the new version of `{slug}` asks for more:\n{}", lines(.changes))]
    Widens { slug: String, changes: Vec<Difference> },
    #[error("`{slug}` is built in and cannot be removed")]
    BuiltIn { slug: String },
    /// A file in the data folder is not what its name says.
    #[error("{} was changed: it no longer fits its hash", path.display())]
    Tampered { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{}: {message}", path.display())]
    Catalog { path: PathBuf, message: String },
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl AppError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "app_unknown",
            Self::UnknownVersion { .. } => "app_version_unknown",
            Self::Refused(refusals) => refusals.first().map_or("app_refused", Refusal::code),
            Self::Declare(_) => "app_declare_failed",
            Self::Unreadable(_) => "app_declaration_unreadable",
            Self::Unsound(_) => "app_declaration_unsound",
            Self::HookMissing { .. } => "app_hook_missing",
            Self::HookUnused { .. } => "app_hook_unused",
            Self::Reserved { .. } => "app_reserved",
            Self::Widens { .. } => "app_widens",
            Self::BuiltIn { .. } => "app_built_in",
            Self::Tampered { .. } => "app_tampered",
            Self::Io { .. } => "app_io",
            Self::Catalog { .. } => "app_catalog",
            Self::Pack(error) => error.code(),
        }
    }

    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Unknown { nearest: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::Unknown { nearest: None, .. } => Some("see which there are: deputy app list".into()),
            Self::UnknownVersion { .. } => {
                Some("restore the apps folder from a backup, or reconnect the account".into())
            }
            Self::Refused(refusals) => refusals.iter().find_map(Refusal::fix),
            Self::Declare(_) | Self::Unreadable(_) => Some("rebuild the app against the WIT of this host".into()),
            Self::Unsound(findings) => findings.iter().find_map(|finding| finding.help.clone()),
            Self::HookMissing { .. } => {
                Some("write the hook in a crate `hooks` beside the app.toml, run `deputy app build`, and take the component \
                      that it writes".into())
            }
            Self::HookUnused { .. } => Some("declare it (`sign.hook`, `reply-hook`, `test.identity-hook`), or remove it".into()),
            Self::Widens { .. } => Some("read it; if you agree, install it with --yes".into()),
            Self::Reserved { slug } => Some(format!("choose another slug, such as `my-{slug}`")),
            Self::BuiltIn { .. } | Self::Io { .. } => None,
            Self::Tampered { .. } => Some("restore it from a backup, or install the app again".into()),
            Self::Catalog { path, .. } => Some(format!("restore {} from a backup", path.display())),
            Self::Pack(error) => error.fix(),
        }
    }
}

fn lines(changes: &[Difference]) -> String {
    changes.iter().map(|change| format!("  {change}")).collect::<Vec<_>>().join("\n")
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
