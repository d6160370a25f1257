//! Reading source as text: files, code without comments, what ships, and the rooms a file names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub struct File {
    /// Below the workspace, with `/`.
    pub path: String,
    pub text: String,
    /// Without comment lines.
    pub code: String,
    /// `code` without the tests at its end; empty for a file that is all tests.
    pub shipped: String,
}

pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_path_buf()
}

/// All files below a folder with one of these extensions (or names, such as `run`), in order; what tools make is left
/// out.
pub fn files(folder: &Path, extensions: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    walk(folder, extensions, &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn walk(folder: &Path, extensions: &[&str], found: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", ".git"].contains(&name.as_str()) {
                walk(&path, extensions, found);
            }
            continue;
        }
        let extension = name.rsplit('.').next().unwrap_or_default();
        if extensions.contains(&extension)
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            found.push(File::new(path, text));
        }
    }
}

impl File {
    pub fn new(path: String, text: String) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let all_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
        // By the house's habit a file's tests stand at its end.
        let end = if all_tests { 0 } else { code.find("#[cfg(test)]\nmod ").unwrap_or(code.len()) };
        let shipped = code[..end].to_owned();
        Self { path, text, code, shipped }
    }
}

/// Modules that their parent declares under `#[cfg(test)]` do not ship either.
pub fn leave_out_test_modules(files: &mut [File]) {
    let stems: Vec<_> = files.iter().flat_map(test_modules).collect();
    for file in files {
        let below =
            |stem: &String| file.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
        if stems.iter().any(below) {
            file.shipped.clear();
        }
    }
}

/// Paths, without extension, of the modules that a file declares for tests.
fn test_modules(file: &File) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let folder = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => file.path.trim_end_matches(".rs").to_owned(),
    };
    let declared = file.code.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().next()?.trim();
        line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| format!("{folder}/{name}"))
    });
    declared.collect()
}

/// The first names behind `crate::`, groups included.
pub fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        // `deputy_crate::` is another word.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.extend(head(rest)),
        }
    }
    names
}

fn head(text: &str) -> Option<String> {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// `a::{b, c}, d}` → a, d
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn crate_paths_are_found_wherever_they_stand() {
    let code = "use crate::egress::Egress;\nuse crate::{\n    ids::{A, B},\n    time,\n};\nfn f(_: &crate::vault::Secret) {}\n\
                pub(in crate::step) fn g() {}\nuse other_crate::no;";
    let found: Vec<_> = crate_paths(code).into_iter().collect();
    assert_eq!(found, ["egress", "ids", "step", "time", "vault"]);
}

#[test]
fn comments_and_tests_do_not_ship() {
    let text = "//! .unwrap()\nfn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { h().unwrap() }\n}\n";
    let file = File::new("host/src/x.rs".into(), text.into());
    assert!(!file.shipped.contains(".unwrap()") && file.code.contains(".unwrap()"));
    assert!(File::new("host/src/x/tests.rs".into(), "a.unwrap()".into()).shipped.is_empty());
    let parent = "#[cfg(test)]\npub(crate) mod fixtures;\nmod used;\n";
    let files = [("host/src/x/mod.rs", parent), ("host/src/x/fixtures.rs", "f()"), ("host/src/x/used.rs", "g()")];
    let mut files = files.map(|(path, text)| File::new(path.into(), text.into()));
    leave_out_test_modules(&mut files);
    assert_eq!(files.map(|file| file.shipped.is_empty()), [false, true, false]);
}
