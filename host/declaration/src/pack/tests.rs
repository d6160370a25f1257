use std::fs;

use super::*;

fn folder(apps: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in apps {
        let app = folder.path().join(&name[..1]).join(name);
        fs::create_dir_all(&app).unwrap();
        fs::write(app.join("app.toml"), text).unwrap();
    }
    fs::write(folder.path().join("README.md"), "not an app").unwrap();
    folder
}

fn text(slug: &str) -> String {
    crate::source::tests::text("base = \"https://api.example.com\"")
        .replace("slug = \"example\"", &format!("slug = \"{slug}\""))
}

#[test]
fn every_app_is_found_by_its_slug() {
    let texts: Vec<_> = ["mango", "apple", "zebra"].map(|slug| (slug, text(slug))).to_vec();
    let apps: Vec<_> = texts.iter().map(|(slug, text)| (*slug, text.as_str())).collect();
    let folder = folder(&apps);
    let built = build(folder.path()).unwrap();
    assert_eq!(built.bytes, build(folder.path()).unwrap().bytes, "the same sources give the same bytes");
    let pack = Pack::open(&built.bytes).unwrap();
    assert_eq!(pack.entries().map(|entry| entry.unwrap().slug).collect::<Vec<_>>(), ["apple", "mango", "zebra"]);
    for (slug, text) in &texts {
        let entry = pack.find(slug).unwrap().unwrap();
        let app = crate::source::parse("app.toml", text).unwrap();
        assert_eq!(entry.slug, *slug);
        assert_eq!(entry.methods().collect::<Vec<_>>(), ["key"]);
        assert_eq!(serde_json::from_slice::<crate::types::App>(&entry.declaration().unwrap()).unwrap(), app);
        assert_eq!(entry.kinds().collect::<Vec<_>>(), ["keys"]);
        assert_eq!(entry.component().unwrap(), crate::image::component(&app).unwrap());
    }
    for absent in ["", "a", "banana", "zzz"] {
        assert_eq!(pack.find(absent).unwrap(), None, "{absent}");
    }
}

#[test]
fn the_problems_of_all_apps_come_together() {
    let (bad, misplaced) = (text("bad").replace("summary", "sumary"), text("other"));
    let folder = folder(&[("bad", &bad), ("misplaced", &misplaced), ("good", &text("good"))]);
    let Err(BuildError::Problems(problems)) = build(folder.path()) else { panic!("it has problems") };
    let messages: Vec<_> = problems.0.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["the app lacks `summary`", "an app has no key `sumary`", "the app `other` stands in the folder `m/misplaced`"]
    );
}

#[test]
fn a_damaged_pack_is_refused_and_never_panics() {
    let built = build(folder(&[("acme", &text("acme"))]).path()).unwrap();
    assert_eq!(Pack::open(b"").unwrap_err().code(), "pack_damaged");
    assert_eq!(Pack::open(b"something else entirely").unwrap_err().code(), "pack_format");
    for length in 0..built.bytes.len().min(400) {
        if let Ok(pack) = Pack::open(&built.bytes[..length]) {
            assert!(pack.find("acme").is_err(), "{length}");
        }
    }
    for at in 0..super::HEADER_BYTES + super::ENTRY_BYTES {
        let mut bytes = built.bytes.clone();
        bytes[at] ^= 0xff;
        if let Ok(pack) = Pack::open(&bytes) {
            let _ = pack.find("acme");
            let _ = pack.entries().count();
        }
    }
}

#[test]
fn the_sidecar_tells_which_source_changed() {
    let folder = folder(&[("acme", &text("acme")), ("other", &text("other"))]);
    let out = tempfile::tempdir().unwrap();
    let built = build(folder.path()).unwrap();
    write(&built, out.path()).unwrap();
    let old = fs::read_to_string(out.path().join(sources::SIDECAR)).unwrap();
    let now = || sources::fingerprint(folder.path(), crate::PACKED_BY.as_bytes()).unwrap();
    assert_eq!(sources::first_difference(&old, &now()), None);
    fs::write(folder.path().join("o/other/app.toml"), "changed").unwrap();
    assert_eq!(sources::first_difference(&old, &now()).as_deref(), Some("o/other/app.toml"));
    fs::remove_file(folder.path().join("o/other/app.toml")).unwrap();
    assert_eq!(sources::first_difference(&old, &now()).as_deref(), Some("o/other/app.toml"));
    let wit = sources::fingerprint(folder.path(), b"another contract").unwrap();
    assert_eq!(sources::first_difference(&now(), &wit).as_deref(), Some("contract"));
}

#[test]
fn the_built_in_apps_are_sound_components() {
    let apps = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../app-plugins");
    let built = build(&apps).unwrap_or_else(|error| panic!("{error}"));
    let pack = Pack::open(&built.bytes).unwrap();
    let mut actions = 0;
    for entry in pack.entries() {
        let entry = entry.unwrap();
        assert_eq!(crate::inspect::inspect(&entry.component().unwrap()), Ok(()), "{}", entry.slug);
        let app: crate::types::App = serde_json::from_slice(&entry.declaration().unwrap()).unwrap();
        assert_eq!(entry.component().unwrap(), crate::image::component(&app).unwrap(), "{}", entry.slug);
        assert!(app.actions.iter().all(|action| action.docs.is_some()), "{}: each action names its page", entry.slug);
        actions += app.actions.len();
    }
    assert!(actions >= 24, "{actions}");
    let warnings: Vec<_> = built.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.is_empty(), "{}", warnings.join("\n"));
}

#[test]
fn a_script_beside_an_app_is_packed_and_remembered() {
    let text = format!("{}[actions.run]\nsummary = \"Runs.\"\nscript-file = \"run.mjs\"\n", text("acme"));
    let folder = folder(&[("acme", &text)]);
    let Err(BuildError::Problems(problems)) = build(folder.path()) else { panic!("the script is missing") };
    assert!(problems.0[0].message.starts_with("cannot read `run.mjs`"), "{problems}");

    let script = folder.path().join("a/acme/run.mjs");
    fs::write(&script, "export default async () => 1").unwrap();
    let built = build(folder.path()).unwrap();
    let entry = Pack::open(&built.bytes).unwrap().find("acme").unwrap().unwrap();
    let app: crate::types::App = serde_json::from_slice(&entry.declaration().unwrap()).unwrap();
    assert_eq!(app.actions[0].work, crate::types::ActionWork::Script("export default async () => 1".into()));
    assert_eq!(sources::first_difference(&built.sources, &build(folder.path()).unwrap().sources), None);
    fs::write(&script, "export default async () => 2").unwrap();
    let changed = build(folder.path()).unwrap().sources;
    assert_eq!(sources::first_difference(&built.sources, &changed).as_deref(), Some("a/acme/run.mjs"));
}

#[test]
fn an_app_under_the_wrong_letter_is_an_error_and_families_are_no_apps() {
    let folder = folder(&[("acme", &text("acme"))]);
    fs::create_dir_all(folder.path().join("_families/shared")).unwrap();
    fs::write(folder.path().join("_families/acme.toml"), "docs = \"https://acme.example\"").unwrap();
    fs::write(folder.path().join("_families/shared/app.toml"), "no app").unwrap();
    let built = build(folder.path()).unwrap();
    assert_eq!(built.apps, 1);
    fs::write(folder.path().join("_families/acme.toml"), "docs = \"https://other.example\"").unwrap();
    let changed = build(folder.path()).unwrap().sources;
    assert_eq!(sources::first_difference(&built.sources, &changed).as_deref(), Some("_families/acme.toml"));

    for wrong in ["b/acme", "acme", "a/other"] {
        let moved = folder.path().join(wrong);
        fs::create_dir_all(&moved).unwrap();
        fs::write(moved.join("app.toml"), text("acme")).unwrap();
        let Err(BuildError::Problems(problems)) = build(folder.path()) else { panic!("{wrong} is no place for it") };
        assert_eq!(problems.0[0].message, format!("the app `acme` stands in the folder `{wrong}`"));
        assert_eq!(problems.0[0].help.as_deref(), Some("move it to `a/acme`"));
        fs::remove_dir_all(moved).unwrap();
    }
}
