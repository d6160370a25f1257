//! What stands beside an `app.toml`: the scripts that it names by `script-file`, its logo, what was recorded of the
//! service, and its family above it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use crate::validate::{MAX_LOGO_BYTES, MAX_SCRIPT_BYTES, is_slug};

/// What stands beside an `app.toml`: the text of each script that it names, or why it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    scripts: BTreeMap<String, Result<String, String>>,
    family: Option<Result<Family, String>>,
    /// The text of `logo.svg`; none where there is no such file.
    pub(super) logo: Option<Result<String, String>>,
    fixtures: Option<Result<String, String>>,
}

/// A file of facts that apps share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Family {
    file: String,
    text: String,
}

/// Beside the `app.toml`.
const LOGO: &str = "logo.svg";
/// No part of the app: `deputy app test` reads it.
pub const FIXTURES: &str = "fixtures.toml";
const MAX_FIXTURES_BYTES: u64 = 1 << 20;
/// The folder of families, in the app's folder or one not far above it.
const FAMILIES: &str = "_families";
/// An app stands in `<apps>/<letter>/<slug>`.
const FOLDERS_ABOVE: usize = 3;
const MAX_FAMILY_BYTES: u64 = 256 << 10;

impl Beside {
    /// Reads the scripts that `text` names from its folder, and no other file.
    pub fn read(text: &str, folder: &Path) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        let actions = root.get_ref().get("actions").and_then(|actions| actions.get_ref().as_table());
        let actions = actions.into_iter().flat_map(|actions| actions.values());
        let named =
            actions.filter_map(|action| action.get_ref().get("script-file").and_then(|name| name.get_ref().as_str()));
        let scripts = named.map(|name| (name.to_owned(), script(folder, name))).collect();
        let extends = root.get_ref().get("extends").and_then(|name| name.get_ref().as_str().map(str::to_owned));
        let optional = |name: &str, limit: u64| {
            let file = folder.join(name);
            fs::symlink_metadata(&file).is_ok().then(|| plain_file(&file, name, limit))
        };
        let logo = optional(LOGO, MAX_LOGO_BYTES as u64);
        let fixtures = optional(FIXTURES, MAX_FIXTURES_BYTES);
        Self { scripts, family: extends.map(|name| family(folder, &name)), logo, fixtures }
    }

    /// The text of `fixtures.toml`, where there is one.
    pub fn fixtures(&self) -> Option<Result<&str, &str>> {
        self.fixtures.as_ref().map(|read| read.as_deref().map_err(String::as_str))
    }

    /// The file and the text of the family that was found.
    pub(super) fn family_text(&self) -> Option<(&str, &str)> {
        let family = self.family.as_ref()?.as_ref().ok()?;
        Some((&family.file, &family.text))
    }

    pub(super) fn family(&self, name: &str) -> Result<(), String> {
        match &self.family {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(format!("the family `{name}` is not there: no folder `{FAMILIES}` was looked through")),
        }
    }

    pub(super) fn script(&self, name: &str) -> Result<&str, String> {
        match self.scripts.get(name) {
            Some(Ok(text)) => Ok(text),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(file_name(name).err().unwrap_or_else(|| format!("`{name}` is not beside the app.toml"))),
        }
    }
}

/// A plain file of the folder: a link could lead to any file of whoever builds the app.
fn script(folder: &Path, name: &str) -> Result<String, String> {
    file_name(name)?;
    plain_file(&folder.join(name), name, MAX_SCRIPT_BYTES as u64)
}

fn plain_file(path: &Path, name: &str, limit: u64) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("cannot read `{name}`: {error}");
    let found = fs::symlink_metadata(path).map_err(fail)?;
    if !found.is_file() {
        return Err(format!("`{name}` is no plain file"));
    }
    if found.len() > limit {
        return Err(format!("`{name}` has {} bytes, more than {limit}", found.len()));
    }
    fs::read_to_string(path).map_err(fail)
}

fn family(folder: &Path, name: &str) -> Result<Family, String> {
    if !is_slug(name) {
        return Err(format!("`{name}` is no family: lower-case letters, digits and hyphens"));
    }
    let whole = std::path::absolute(folder).map_err(|error| format!("cannot find the family `{name}`: {error}"))?;
    let file = format!("{name}.toml");
    let found =
        whole.ancestors().take(FOLDERS_ABOVE + 1).map(|above| above.join(FAMILIES)).find(|found| found.is_dir());
    let Some(families) = found else {
        return Err(format!("the family `{name}` is not there: no folder `{FAMILIES}` stands near the app"));
    };
    let text = plain_file(&families.join(&file), &format!("{FAMILIES}/{file}"), MAX_FAMILY_BYTES)?;
    // As near to what the author typed as the app's own file is.
    let shown = families.join(&file);
    let shown = std::env::current_dir()
        .ok()
        .and_then(|here| shown.strip_prefix(here).ok().map(Path::to_owned))
        .unwrap_or(shown);
    Ok(Family { file: shown.display().to_string(), text })
}

fn file_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let script = name.ends_with(".js") || name.ends_with(".mjs");
    if script && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("`{name}` is no script beside the app.toml: a file name that ends with .js or .mjs"))
}
