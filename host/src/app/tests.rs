//! The catalog with a real engine behind `declare`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use deputy_declaration::{image, source};

use super::*;
use crate::wasm::Apps;

/// Of many kinds: keys, OAuth, exchanges, families, tenant hosts, signatures, scripts. The pack's own test opens all.
const SLUGS: [&str; 12] = [
    "aws-s3",
    "github",
    "google-sheets",
    "http",
    "jira",
    "notion",
    "salesforce",
    "shopify",
    "slack",
    "stripe",
    "telegram",
    "twilio",
];

fn engine() -> Apps {
    Apps::new(None).unwrap()
}

fn toml(slug: &str, more: &str) -> String {
    format!(
        "slug = \"{slug}\"\nname = \"Acme\"\nsummary = \"An example.\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n{more}\n"
    )
}

fn component(text: &str) -> Vec<u8> {
    let app = source::parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    image::component(&app).unwrap()
}

const FIRST: &str = "base = \"https://api.acme.example\"\n[methods.key]\nheader.Authorization = \"Bearer {token}\"";
const SECOND: &str = "base = \"https://api.acme.example\"\n\
    reach.origins = [\"https://api.acme.example\", \"https://evil.example\"]\n\
    [methods.key]\nheader.X-Key = \"{token}\"";

const AGREED: Terms<'_> = Terms { accept: true, from: None };

fn catalog(folder: &tempfile::TempDir) -> Catalog {
    Catalog::open(&folder.path().join("apps")).unwrap()
}

#[test]
fn every_built_in_app_declares_through_wasm_what_its_toml_says() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, engine) = (catalog(&folder), engine());
    let plugins = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../app-plugins");
    let listed: Vec<_> = catalog.list().unwrap().into_iter().map(|app| app.slug).collect();
    let letters = fs::read_dir(&plugins).unwrap().map(|letter| letter.unwrap().path());
    let folders = letters.filter(|letter| letter.is_dir() && !letter.ends_with("_families"));
    let apps = folders.flat_map(|letter| fs::read_dir(letter).unwrap());
    let mut there: Vec<_> = apps.map(|app| app.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(listed, there);
    assert!(listed.len() >= 1000, "{} apps", listed.len());
    for slug in SLUGS {
        let text = fs::read_to_string(plugins.join(&slug[..1]).join(slug).join("app.toml")).unwrap();
        let beside = source::Beside::read(&text, &plugins.join(&slug[..1]).join(slug));
        let app = source::parse_with(slug, &text, &beside).unwrap_or_else(|problems| panic!("{problems}"));
        let bytes = image::component(&app).unwrap();
        assert_eq!(declared(&bytes, &engine).unwrap(), app, "{slug}");
        let current = catalog.current(slug).unwrap();
        assert!(current.builtin);
        assert_eq!(*current.app, app, "{slug}");
        assert_eq!(current.hash, hash(&bytes, &app).unwrap(), "{slug}");
        assert_eq!(*catalog.pinned(&current.hash).unwrap().app, app, "{slug}");
        // Installing the very same bytes changes nothing.
        let installed = catalog.install(&bytes, &engine, AGREED).unwrap();
        assert_eq!(installed.previous, Some(installed.hash));
    }
    assert!(!folder.path().join("apps").exists(), "reading creates nothing");
}

#[test]
fn a_stranger_called_slack_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = catalog(&folder);
    let before = catalog.current("slack").unwrap().hash;
    let error = catalog.install(&component(&toml("slack", SECOND)), &engine(), AGREED).unwrap_err();
    assert_eq!(error.code(), "app_reserved");
    assert_eq!(error.to_string(), "`slack` is a built-in app: its name is reserved");
    assert_eq!(error.fix().as_deref(), Some("choose another slug, such as `my-slack`"));
    assert_eq!(catalog.current("slack").unwrap().hash, before);
    assert!(catalog.list().unwrap().iter().all(|app| app.builtin));
    assert_eq!(catalog.remove("slack").unwrap_err().code(), "app_built_in");
}

#[test]
fn a_name_planted_in_the_data_folder_does_not_shadow_a_built_in_app() {
    let folder = tempfile::tempdir().unwrap();
    let (first, engine) = (catalog(&folder), engine());
    first.install(&component(&toml("acme", SECOND)), &engine, AGREED).unwrap();
    let index = folder.path().join("apps/installed.json");
    let planted = fs::read_to_string(&index).unwrap().replace("\"acme\"", "\"slack\"");
    fs::write(&index, planted).unwrap();
    let catalog = catalog(&folder);
    assert!(catalog.current("slack").unwrap().builtin);
    assert!(catalog.list().unwrap().iter().all(|app| app.builtin));
}

#[test]
fn an_update_changes_the_name_and_never_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, engine) = (catalog(&folder), engine());
    let first = catalog.install(&component(&toml("acme", FIRST)), &engine, AGREED).unwrap();
    assert_eq!((first.previous.as_ref(), first.changes.len()), (None, 0));
    let again = catalog.install(&component(&toml("acme", FIRST)), &engine, AGREED).unwrap();
    assert_eq!((again.previous, again.changes.len()), (Some(first.hash.clone()), 0));

    let second = catalog.install(&component(&toml("acme", SECOND)), &engine, AGREED).unwrap();
    assert_eq!(second.previous.as_ref(), Some(&first.hash));
    let changes: Vec<String> = second.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "method key: rules default: header Authorization: Bearer {token}: gone: header Authorization: Bearer {token}",
            "method key: rules default: header X-Key: {token}: new: header X-Key: {token} (asks for more)",
            "origin https://evil.example: new: https://evil.example (asks for more)",
        ]
    );
    assert_eq!(catalog.current("acme").unwrap().hash, second.hash);
    assert!(catalog.list().unwrap().iter().any(|app| app.slug == "acme" && !app.builtin));

    // Another process, after the update and after the removal.
    catalog.remove("acme").unwrap();
    let later = self::catalog(&folder);
    assert_eq!(later.current("acme").unwrap_err().code(), "app_unknown");
    for (version, origins) in [(&first, 1), (&second, 2)] {
        let pinned = later.pinned(&version.hash).unwrap();
        assert!(!pinned.builtin);
        assert_eq!(pinned.app, version.app);
        assert_eq!(pinned.app.reach.origins.len(), origins);
    }
    assert_eq!(later.remove("acme").unwrap_err().code(), "app_unknown");
}

#[test]
fn the_largest_script_goes_through_the_component_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, engine) = (catalog(&folder), engine());
    let begin = "export default async () => 1 //";
    let most = deputy_declaration::validate::MAX_SCRIPT_BYTES;
    let script = |bytes: usize| {
        let script = format!("{begin}{}", "x".repeat(bytes - begin.len()));
        let text = format!("{FIRST}\n[actions.run]\nsummary = \"Runs.\"\nscript = \"{script}\"");
        source::parse("app.toml", &toml("acme", &text))
    };
    let app = script(most).unwrap_or_else(|problems| panic!("{problems}"));
    let installed = catalog.install(&image::component(&app).unwrap(), &engine, AGREED).unwrap();
    assert_eq!(*installed.app, app);
    assert_eq!(*self::catalog(&folder).pinned(&installed.hash).unwrap().app, app);
    assert!(script(most + 1).is_err());
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = catalog(&folder);
    assert_eq!(catalog.current("gihtub").unwrap_err().fix().as_deref(), Some("did you mean `github`?"));
    let error = catalog.current("zzzzzzz").unwrap_err();
    assert_eq!(error.fix().as_deref(), Some("see which there are: deputy app list"));
    for hash in ["", "x", &"0".repeat(64), "../../etc/passwd"] {
        assert_eq!(catalog.pinned(hash).unwrap_err().code(), "app_version_unknown", "{hash}");
    }
}

#[test]
fn an_edited_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let installed = catalog(&folder).install(&component(&toml("acme", FIRST)), &engine(), AGREED).unwrap();
    let apps = folder.path().join("apps");
    assert_eq!(fs::metadata(&apps).unwrap().permissions().mode() & 0o777, 0o700);
    for kind in ["json", "wasm"] {
        let path = apps.join(format!("{}.{kind}", installed.hash));
        let kept = fs::read(&path).unwrap();
        let mut edited = kept.clone();
        let at = edited.windows(8).position(|window| window == b"api.acme").unwrap();
        edited[at..at + 8].copy_from_slice(b"evl.acme");
        fs::write(&path, edited).unwrap();
        let catalog = catalog(&folder);
        assert_eq!(catalog.pinned(&installed.hash).unwrap_err().code(), "app_tampered", "{kind}");
        assert_eq!(catalog.current("acme").unwrap_err().code(), "app_tampered", "{kind}");
        fs::write(&path, kept).unwrap();
        assert_eq!(self::catalog(&folder).pinned(&installed.hash).unwrap().app, installed.app);
    }
}

#[test]
fn a_name_cannot_be_moved_to_another_apps_version() {
    let folder = tempfile::tempdir().unwrap();
    let (first, engine) = (catalog(&folder), engine());
    let acme = first.install(&component(&toml("acme", FIRST)), &engine, AGREED).unwrap();
    let other = first.install(&component(&toml("other", SECOND)), &engine, AGREED).unwrap();
    let index = folder.path().join("apps/installed.json");
    fs::write(&index, fs::read_to_string(&index).unwrap().replace(&acme.hash, &other.hash)).unwrap();
    assert_eq!(catalog(&folder).current("acme").unwrap_err().code(), "app_catalog");
    fs::write(&index, "{\"apps\": {}, \"colour\": 1}").unwrap();
    assert_eq!(catalog(&folder).list().unwrap_err().code(), "app_catalog");
}

#[test]
fn what_is_no_sound_app_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, engine) = (catalog(&folder), engine());
    let app = source::parse("app.toml", &toml("acme", FIRST)).unwrap();
    let mut value = serde_json::to_value(&app).unwrap();
    value["reach"]["origins"] = serde_json::json!([{ "label": { "prefix": "", "input": "shop", "suffix": ".com" } }]);
    let error = catalog.install(&image::of_value(&value).unwrap(), &engine, AGREED).unwrap_err();
    assert_eq!(error.code(), "app_declaration_unsound");
    assert!(error.to_string().contains("reach.origins[0]: `shop` is no input of kind `host-label`"), "{error}");

    for (bytes, code) in [
        (&b"<html>"[..], "app_not_wasm"),
        (b"", "app_not_wasm"),
        (b"\x7fELF\x02", "app_compiled_artifact"),
        (b"\0asm\x01\0\0\0", "app_core_module"),
        (b"\0asm\x0d\0\x01\0", "app_export_missing"),
    ] {
        assert_eq!(catalog.install(bytes, &engine, AGREED).unwrap_err().code(), code);
    }
    struct Broken;
    impl Declarer for Broken {
        fn declare(&self, _component: &[u8]) -> Result<serde_json::Value, String> {
            Ok(serde_json::json!({ "slug": "acme" }))
        }
    }
    let bytes = component(&toml("acme", FIRST));
    assert_eq!(catalog.install(&bytes, &Broken, AGREED).unwrap_err().code(), "app_declaration_unreadable");
    assert!(!folder.path().join("apps").exists());
}
