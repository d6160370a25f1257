//! The scripts that an `app.toml` names by `script-file`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use crate::validate::MAX_SCRIPT_BYTES;

/// What stands beside an `app.toml`: the text of each script that it names, or why it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    scripts: BTreeMap<String, Result<String, String>>,
}

impl Beside {
    /// Reads the scripts that `text` names from its folder, and no other file.
    pub fn read(text: &str, folder: &Path) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        let actions = root.get_ref().get("actions").and_then(|actions| actions.get_ref().as_table());
        let actions = actions.into_iter().flat_map(|actions| actions.values());
        let named =
            actions.filter_map(|action| action.get_ref().get("script-file").and_then(|name| name.get_ref().as_str()));
        let scripts = named.map(|name| (name.to_owned(), script(folder, name))).collect();
        Self { scripts }
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
    let path = folder.join(name);
    let fail = |error: std::io::Error| format!("cannot read `{name}`: {error}");
    let found = fs::symlink_metadata(&path).map_err(fail)?;
    if !found.is_file() {
        return Err(format!("`{name}` is no plain file"));
    }
    if found.len() > MAX_SCRIPT_BYTES as u64 {
        return Err(format!("`{name}` has {} bytes, more than {MAX_SCRIPT_BYTES}", found.len()));
    }
    fs::read_to_string(&path).map_err(fail)
}

fn file_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let script = name.ends_with(".js") || name.ends_with(".mjs");
    if script && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("`{name}` is no script beside the app.toml: a file name that ends with .js or .mjs"))
}
