//! `deputy step new`: a step that builds, with the SDK beside it.
//!
//! The SDK's sources are written next to the step, so that the new folder builds with nothing but the language's own tools
//! and registry, and against exactly the contract of this host.

use std::fs;
use std::path::{Path, PathBuf};

use super::StepError;

/// In what a new step is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
}

/// A new step: its own files, `{name}` replaced, and the SDK in a folder beside them, as it is.
struct Template {
    files: &'static [(&'static str, &'static str)],
    sdk_folder: &'static str,
    sdk: &'static [(&'static str, &'static str)],
    /// Names that would be taken for something else.
    reserved: &'static [&'static str],
}

impl Language {
    fn template(self) -> Template {
        match self {
            Self::Rust => Template {
                files: RUST,
                sdk_folder: "deputy-sdk",
                sdk: RUST_SDK,
                reserved: &["test", "core", "std", "alloc", "proc-macro", "deputy-sdk", "serde"],
            },
            Self::JavaScript => Template {
                files: JAVASCRIPT,
                sdk_folder: "deputy-step",
                sdk: JAVASCRIPT_SDK,
                reserved: &["node_modules", "deputy-step", "esbuild", "typescript", "unenv"],
            },
        }
    }
}

const JAVASCRIPT: &[(&str, &str)] = &[
    ("package.json", include_str!("../../../sdk/js/template/package.json")),
    ("tsconfig.json", include_str!("../../../sdk/js/template/tsconfig.json")),
    (".gitignore", "node_modules/\ndist/\n"),
    ("README.md", include_str!("../../../sdk/js/template/README.md")),
    ("src/step.ts", include_str!("../../../sdk/js/template/src/step.ts")),
    ("test/step.test.ts", include_str!("../../../sdk/js/template/test/step.test.ts")),
];

const JAVASCRIPT_SDK: &[(&str, &str)] = &[
    ("package.json", include_str!("../../../sdk/js/package.json")),
    ("index.js", include_str!("../../../sdk/js/index.js")),
    ("index.d.ts", include_str!("../../../sdk/js/index.d.ts")),
    ("globals.d.ts", include_str!("../../../sdk/js/globals.d.ts")),
    ("testing.js", include_str!("../../../sdk/js/testing.js")),
    ("testing.d.ts", include_str!("../../../sdk/js/testing.d.ts")),
    ("bundle.mjs", include_str!("../../../sdk/js/bundle.mjs")),
    ("node-globals.mjs", include_str!("../../../sdk/js/node-globals.mjs")),
];

const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../sdk/rust/template/Cargo.toml.txt")),
    (".cargo/config.toml", include_str!("../../../sdk/rust/template/config.toml.txt")),
    (".gitignore", "/target\n"),
    ("README.md", include_str!("../../../sdk/rust/template/README.md")),
    ("src/lib.rs", include_str!("../../../sdk/rust/template/src/lib.rs")),
];

const RUST_SDK: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../sdk/rust/Cargo.toml")),
    ("src/account.rs", include_str!("../../../sdk/rust/src/account.rs")),
    ("src/clock.rs", include_str!("../../../sdk/rust/src/clock.rs")),
    ("src/error.rs", include_str!("../../../sdk/rust/src/error.rs")),
    ("src/http.rs", include_str!("../../../sdk/rust/src/http.rs")),
    ("src/lib.rs", include_str!("../../../sdk/rust/src/lib.rs")),
    ("src/log.rs", include_str!("../../../sdk/rust/src/log.rs")),
    ("src/plumbing.rs", include_str!("../../../sdk/rust/src/plumbing.rs")),
    ("src/prop.rs", include_str!("../../../sdk/rust/src/prop.rs")),
    ("src/random.rs", include_str!("../../../sdk/rust/src/random.rs")),
    ("wit/step.wit", include_str!("../../../sdk/rust/wit/step.wit")),
    ("wit/deps/io.wit", include_str!("../../../sdk/rust/wit/deps/io.wit")),
];

/// Writes a new step named `name` into `dir`, which must not exist or be empty. Gives the files written.
///
/// # Errors
/// When the name is no package name, or the folder holds something.
pub fn write(dir: &Path, name: &str, language: Language) -> Result<Vec<PathBuf>, StepError> {
    let template = language.template();
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let starts = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts || !name.bytes().all(letters) || name.len() > 64 || template.reserved.contains(&name) {
        return Err(StepError::Input {
            message: format!("`{}` cannot be a step's name", super::props::short(name)),
            fix: Some("take lower-case letters, digits and `-`, beginning with a letter: `count-messages`".to_owned()),
        });
    }
    let fail = |what, path: &Path| {
        let path = path.to_owned();
        move |source| StepError::Template { what, path, source }
    };
    fs::create_dir_all(dir).map_err(fail("cannot make", dir))?;
    if fs::read_dir(dir).map_err(fail("cannot read", dir))?.next().is_some() {
        let source = std::io::Error::new(std::io::ErrorKind::DirectoryNotEmpty, "the folder is not empty");
        return Err(fail("will not write into", dir)(source));
    }
    let own = template.files.iter().map(|(path, text)| (dir.join(path), text.replace("{name}", name)));
    let sdk = template.sdk.iter().map(|(path, text)| (dir.join(template.sdk_folder).join(path), (*text).to_owned()));
    let mut written = Vec::new();
    for (path, text) in own.chain(sdk) {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(fail("cannot make", parent))?;
        }
        fs::write(&path, text).map_err(fail("cannot write", &path))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdks_contract_is_the_hosts() {
        let find = |path| RUST_SDK.iter().find(|(name, _)| *name == path).unwrap().1;
        assert_eq!(
            find("wit/step.wit"),
            include_str!("../../../wit/step/0.1.0/step.wit"),
            "copy wit/step to sdk/rust/wit"
        );
        assert_eq!(find("wit/deps/io.wit"), include_str!("../../../wit/step/0.1.0/deps/io.wit"));
    }

    #[test]
    fn every_source_of_the_sdk_is_written() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/rust/src");
        let mut on_disk: Vec<_> = fs::read_dir(sources)
            .unwrap()
            .map(|entry| format!("src/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        on_disk.sort();
        let embedded: Vec<_> = RUST_SDK.iter().map(|(path, _)| *path).filter(|path| path.starts_with("src/")).collect();
        assert_eq!(on_disk, embedded);
    }

    #[test]
    fn a_new_step_names_itself_and_its_sdk() {
        for (language, manifest, line) in [
            (Language::Rust, "Cargo.toml", "name = \"count-messages\""),
            (Language::JavaScript, "package.json", "\"name\": \"count-messages\""),
        ] {
            let template = language.template();
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("count-messages");
            let written = write(&target, "count-messages", language).unwrap();
            assert_eq!(written.len(), template.files.len() + template.sdk.len());
            let manifest = fs::read_to_string(target.join(manifest)).unwrap();
            assert!(manifest.contains(line), "{manifest}");
            for path in written.iter().filter(|path| !path.starts_with(target.join(template.sdk_folder))) {
                assert!(!fs::read_to_string(path).unwrap().contains("{name}"), "{}", path.display());
            }
        }
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.txt"), "mine").unwrap();
        let error = write(dir.path(), "fine", Language::Rust).unwrap_err();
        assert_eq!(error.code(), "step_template");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_the_tools_refuse_is_refused_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "9lives", "Upper", "a b", "a\"b", "test", "../x"] {
            assert_eq!(write(&dir.path().join("x"), name, Language::Rust).unwrap_err().code(), "step_input", "{name}");
        }
        assert!(!dir.path().join("x").exists());
    }
}
