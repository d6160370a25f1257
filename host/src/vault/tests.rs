//! A record opens in its own place and nowhere else; keys come from where they should, or the error says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::{Expect, MemoryStore, Op, key};

const PLACE: Place<'static> = Place { owner: "user:local", kind: "account", id: "acc_1", generation: 3 };

mod places {
    use super::*;

    #[track_caller]
    fn refused(vault: &Vault, place: &Place<'_>, sealed: &[u8]) {
        match vault.open_sealed(place, sealed) {
            Err(VaultError::Refused { kind, id }) => assert_eq!((kind.as_str(), id.as_str()), (place.kind, place.id)),
            other => panic!("opened or refused otherwise: {other:?}"),
        }
    }

    #[test]
    fn a_record_opens_in_its_place() {
        let vault = Vault::ephemeral();
        for plain in [b"".as_slice(), b"x", &[0xff; 100_000]] {
            let sealed = vault.seal(&PLACE, plain).expect("sealed");
            assert_eq!(vault.open_sealed(&PLACE, &sealed).expect("opens").as_slice(), plain);
        }
    }

    #[test]
    fn the_same_record_never_looks_the_same() {
        let vault = Vault::ephemeral();
        let [one, two] = [(); 2].map(|()| vault.seal(&PLACE, b"canary-canary").expect("sealed"));
        assert_ne!(one, two);
        assert!(!one.windows(6).any(|window| window == b"canary"));
        // Everything behind format, algorithm and key id is new: data key, nonces, text.
        assert!(one[8..].chunks(12).zip(two[8..].chunks(12)).all(|(one, two)| one != two));
    }

    #[test]
    fn a_swapped_row_is_refused() {
        let vault = Vault::ephemeral();
        let other = Place { id: "acc_2", ..PLACE };
        let sealed = vault.seal(&other, b"theirs").expect("sealed");
        refused(&vault, &PLACE, &sealed);
    }

    #[test]
    fn every_field_of_the_place_is_bound() {
        let vault = Vault::ephemeral();
        let sealed = vault.seal(&PLACE, b"mine").expect("sealed");
        for place in [
            Place { owner: "user:other", ..PLACE },
            Place { kind: "client", ..PLACE },
            Place { id: "acc_12", ..PLACE },
            Place { generation: 2, ..PLACE },
            Place { generation: 4, ..PLACE },
            // The same bytes, cut elsewhere.
            Place { owner: "user:localaccount", kind: "", ..PLACE },
        ] {
            refused(&vault, &place, &sealed);
        }
    }

    #[test]
    fn every_byte_is_held() {
        let vault = Vault::ephemeral();
        let sealed = vault.seal(&PLACE, b"plain").expect("sealed");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open_sealed(&PLACE, &changed).is_err(), "byte {at}");
            assert!(vault.open_sealed(&PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        refused(&vault, &PLACE, &longer);
    }

    #[test]
    fn parts_of_two_records_make_no_third() {
        let vault = Vault::ephemeral();
        let [one, two] = ["one", "two"].map(|plain| vault.seal(&PLACE, plain.as_bytes()).expect("sealed"));
        // The data key of one, the text of the other.
        let spliced = [&one[..68], &two[68..]].concat();
        refused(&vault, &PLACE, &spliced);
    }

    #[test]
    fn another_store_opens_nothing() {
        let sealed = Vault::ephemeral().seal(&PLACE, b"plain").expect("sealed");
        refused(&Vault::ephemeral(), &PLACE, &sealed);
    }

    #[test]
    fn what_is_not_sealed_is_told_apart_from_what_was_changed() {
        let vault = Vault::ephemeral();
        for text in [b"".as_slice(), b"DV1", b"{\"token\":\"plain\"}", &[b'x'; 200]] {
            assert!(matches!(vault.open_sealed(&PLACE, text), Err(VaultError::NotSealed { .. })));
        }
        let mut sealed = vault.seal(&PLACE, b"plain").expect("sealed");
        sealed[4] = 9;
        assert!(matches!(vault.open_sealed(&PLACE, &sealed), Err(VaultError::UnknownKey { key: 9, .. })));
    }

    #[test]
    fn fingerprints_are_equal_for_equal_texts_of_one_store() {
        let (vault, other) = (Vault::ephemeral(), Vault::ephemeral());
        assert_eq!(vault.blind(b"a"), vault.blind(b"a"));
        assert_ne!(vault.blind(b"a"), vault.blind(b"b"));
        assert_ne!(vault.blind(b"a"), other.blind(b"a"));
    }
}

mod records {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;

    /// As an account's sealed record: what decides where secrets go lies beside them.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Record {
        pinned: String,
        #[serde(with = "crate::vault::sealed::secret")]
        key: Secret,
        #[serde(with = "crate::vault::sealed::option", default)]
        refresh: Option<Secret>,
        tokens: BTreeMap<String, Token>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Token {
        #[serde(with = "crate::vault::sealed::secret")]
        value: Secret,
    }

    fn record(pinned: &str) -> Record {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Record {
            pinned: pinned.to_owned(),
            key: Secret::new((0..=255).collect()),
            refresh: Some(secret("re\"fr\\esh\u{1}")),
            tokens: [("bot", "xoxb"), ("user", "xoxp")]
                .map(|(name, text)| (name.to_owned(), Token { value: secret(text) }))
                .into(),
        }
    }

    #[test]
    fn secrets_in_a_record_come_back() {
        let vault = Vault::ephemeral();
        let sealed = vault.seal_json(&PLACE, &record("https://a.example")).expect("sealed");
        let opened: Record = vault.open_json(&PLACE, &sealed).expect("opens");
        assert_eq!(opened.pinned, "https://a.example");
        assert_eq!(opened.key.expose(), (0..=255).collect::<Vec<u8>>());
        assert_eq!(opened.refresh.expect("there").expose(), "re\"fr\\esh\u{1}".as_bytes());
        assert_eq!(opened.tokens["user"].value.expose(), b"xoxp");
        let none = Record { refresh: None, tokens: BTreeMap::new(), ..record("x") };
        let sealed = vault.seal_json(&PLACE, &none).expect("sealed");
        let opened: Record = vault.open_json(&PLACE, &sealed).expect("opens");
        assert!(opened.refresh.is_none() && opened.tokens.is_empty());
    }

    /// Whoever can write the database copies the record of an account with another pinned host over this one.
    #[tokio::test]
    async fn a_moved_pinned_host_is_refused() {
        let (vault, store) = (Vault::ephemeral(), MemoryStore::new());
        let place = |id: &'static str| Place { owner: "user:local", kind: "account", id, generation: 1 };
        for (id, host) in [("mine", "https://shop.example"), ("theirs", "https://evil.example")] {
            let value = vault.seal_json(&place(id), &record(host)).expect("sealed");
            let put = Op::Put { key: key(&["account", id]), value, expect: Expect::Absent };
            store.commit(vec![put]).await.expect("put");
        }
        let stolen = store.get(&key(&["account", "theirs"])).await.expect("readable").expect("there").value;
        let put = Op::Put { key: key(&["account", "mine"]), value: stolen.to_vec(), expect: Expect::Any };
        store.commit(vec![put]).await.expect("put");
        let moved = store.get(&key(&["account", "mine"])).await.expect("readable").expect("there").value;
        let opened = vault.open_json::<Record>(&place("mine"), &moved);
        assert!(matches!(&opened, Err(VaultError::Refused { id, .. }) if id == "mine"), "{opened:?}");
    }

    #[test]
    fn outside_the_vault_a_secret_is_neither_written_nor_read() {
        let error = serde_json::to_string(&record("x")).expect_err("refused").to_string();
        assert_eq!(error, "a secret is written by the vault alone");
        let text = r#"{"pinned":"x","key":"AAAA","tokens":{}}"#;
        let error = serde_json::from_str::<Record>(text).expect_err("refused").to_string();
        assert!(error.starts_with("a secret is read by the vault alone"), "{error}");
        // And not after the vault was at work either.
        Vault::ephemeral().seal_json(&PLACE, &record("x")).expect("sealed");
        assert!(serde_json::to_string(&record("x")).is_err());
    }

    #[test]
    fn an_error_about_a_record_quotes_nothing_of_it() {
        let vault = Vault::ephemeral();
        for text in [r#"{"pinned":"canary""#, r#"{"canary":1}"#, r#"{"pinned":"x","key":"canary?","tokens":{}}"#] {
            let sealed = vault.seal(&PLACE, text.as_bytes()).expect("sealed");
            let error = vault.open_json::<Record>(&PLACE, &sealed).expect_err("malformed");
            assert!(!format!("{error} {error:?} {:?}", error.fix()).contains("canary"), "{error}");
            assert_eq!(error.code(), "record_malformed");
        }
    }

    #[test]
    fn a_large_record_grows_without_losing_a_byte() {
        let vault = Vault::ephemeral();
        let sealed = vault.seal_json(&PLACE, &record(&"x".repeat(50_000))).expect("sealed");
        assert_eq!(vault.open_json::<Record>(&PLACE, &sealed).expect("opens").pinned.len(), 50_000);
    }
}

mod keys {
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        store: MemoryStore,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("temp dir"), store: MemoryStore::new() }
        }

        fn keys(&self) -> PathBuf {
            self.folder.path().join("config/keys")
        }

        fn source(&self) -> KeySource {
            KeySource::File { folder: self.keys(), data: self.folder.path().join("data") }
        }

        async fn open(&self) -> Result<Vault, VaultError> {
            Vault::open(&self.store, &self.source()).await
        }

        /// The key file of the made store.
        fn file(&self) -> PathBuf {
            let names: Vec<_> = fs::read_dir(self.keys()).expect("made").flatten().map(|entry| entry.path()).collect();
            assert_eq!(names.len(), 1, "{names:?}");
            names[0].clone()
        }

        async fn put(&self, key: Vec<u8>, value: &[u8]) {
            let put = Op::Put { key, value: value.to_vec(), expect: Expect::Any };
            self.store.commit(vec![put]).await.expect("put");
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    fn variable(byte: u8) -> KeySource {
        use base64::Engine;
        KeySource::Variable(Secret::new(base64::engine::general_purpose::STANDARD.encode([byte; 32]).into_bytes()))
    }

    #[tokio::test]
    async fn an_empty_store_gets_a_key_that_opens_it_again() {
        let world = World::new();
        let vault = world.open().await.expect("made");
        let sealed = vault.seal(&PLACE, b"plain").expect("sealed");
        let file = world.file();
        assert_eq!(
            file.file_name().map(|name| name.to_string_lossy().into_owned()),
            Some(format!("{}.key", vault.store_id()))
        );
        assert_eq!((mode(&file), mode(&world.keys())), (0o600, 0o700));
        let again = world.open().await.expect("opens");
        assert_eq!(again.store_id(), vault.store_id());
        assert_eq!(again.open_sealed(&PLACE, &sealed).expect("opens").as_slice(), b"plain");
        assert_eq!(again.blind(b"x"), vault.blind(b"x"));
        let rows = world.store.scan(b"", None, 9).await.expect("readable");
        assert_eq!(rows.len(), 1, "the keyring alone: nothing of the creation is left");
    }

    #[tokio::test]
    async fn no_key_is_made_beside_a_store_that_holds_something() {
        // Its keyring is there, its key is not.
        let world = World::new();
        world.open().await.expect("made");
        let file = world.file();
        fs::remove_file(&file).expect("ours");
        let error = world.open().await.expect_err("no key");
        assert!(matches!(&error, VaultError::KeyMissing { path, .. } if *path == file), "{error:?}");
        assert!(error.fix().is_some_and(|fix| fix.contains(&file.display().to_string())));
        assert!(!file.exists());
        // Its keyring is gone.
        let world = World::new();
        world.put(key(&["account", "x"]), b"").await;
        let error = world.open().await.expect_err("no keyring");
        assert_eq!(error.code(), "keyring_missing");
        assert!(!world.keys().exists());
        // Also when it looks as if the creation had not ended.
        let world = World::new();
        world.put(key(&["vault", "creating"]), StoreId::new().as_str().as_bytes()).await;
        world.put(key(&["zebra"]), b"").await;
        assert_eq!(world.open().await.expect_err("no keyring").code(), "keyring_missing");
    }

    #[tokio::test]
    async fn a_foreign_key_file_is_refused_by_the_store_it_names() {
        let (world, other) = (World::new(), World::new());
        let own = world.open().await.expect("made");
        let foreign = other.open().await.expect("made");
        fs::copy(other.file(), world.file()).expect("copied");
        match world.open().await.expect_err("foreign") {
            VaultError::KeyForeign { expected, found, .. } => {
                assert_eq!((&expected, &found), (own.store_id(), foreign.store_id()));
            }
            other => panic!("{other:?}"),
        }
        // With the name of this store forged into it.
        let text = fs::read_to_string(other.file()).expect("read");
        let forged = text.replace(foreign.store_id().as_str(), own.store_id().as_str());
        fs::write(world.file(), forged).expect("write");
        let error = world.open().await.expect_err("another key");
        assert!(matches!(&error, VaultError::KeyWrong { store, .. } if store == own.store_id()), "{error:?}");
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let world = World::new();
        world.open().await.expect("made");
        let file = world.file();
        for open in [0o644, 0o640, 0o604, 0o602] {
            set_mode(&file, open);
            let error = world.open().await.expect_err("open to others");
            assert!(matches!(error, VaultError::KeyFileOpen { mode, .. } if mode == open), "{error:?}");
            assert_eq!(error.fix(), Some(format!("chmod 600 {}", file.display())));
        }
        set_mode(&file, 0o400);
        world.open().await.expect("read-only is fine");
        set_mode(&world.keys(), 0o755);
        let error = world.open().await.expect_err("open to others");
        assert_eq!(error.fix(), Some(format!("chmod 700 {}", world.keys().display())));
    }

    #[tokio::test]
    async fn a_key_never_lies_inside_the_data_folder() {
        let world = World::new();
        let data = world.folder.path().join("data");
        fs::create_dir(&data).expect("made");
        let link = world.folder.path().join("link");
        std::os::unix::fs::symlink(&data, &link).expect("linked");
        for folder in [data.clone(), data.join("keys"), link.join("deep/keys"), data.join("../data/keys")] {
            let source = KeySource::File { folder: folder.clone(), data: data.clone() };
            let error = Vault::open(&world.store, &source).await.expect_err("inside");
            assert!(matches!(&error, VaultError::KeyInsideData { .. }), "{}: {error:?}", folder.display());
        }
        let beside = KeySource::File { folder: world.folder.path().join("data-keys"), data };
        Vault::open(&world.store, &beside).await.expect("a neighbour of a similar name");
    }

    #[tokio::test]
    async fn a_malformed_key_file_is_told_by_line_and_never_quoted() {
        let world = World::new();
        let vault = world.open().await.expect("made");
        let id = vault.store_id().as_str();
        let good = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
        for (text, line, part) in [
            (String::new(), 1, "`store <id>` is missing"),
            (format!("store {id}\n"), 2, "`key <base64>` is missing"),
            (format!("store acc_1\nkey {good}\n"), 1, "no store id"),
            (format!("store {id}\nkey QUFB\n"), 2, "it has 3 bytes; a key has 32"),
            (format!("store {id}\nkey {good}{good}{good}\n"), 2, "malformed"),
            (format!("store {id}\nkey QUFB?UFB\n"), 2, "character 5 is not base64"),
            (format!("store {id}\nkey\n"), 2, "it is empty"),
            (format!("# note\nstore {id}\nkey {good}\nkey {good}\n"), 4, "once each"),
            (format!("{good}\n"), 1, "neither"),
            ("x".repeat(5000), 1, "no key file"),
        ] {
            fs::write(world.file(), &text).expect("write");
            let error = world.open().await.expect_err("malformed");
            match &error {
                VaultError::KeyFile { line: at, reason, .. } => {
                    assert!(*at == line && reason.contains(part), "{text}: {error}");
                }
                _ => panic!("{text}: {error:?}"),
            }
            assert!(!format!("{error} {error:?}").contains("QUFB"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_from_the_environment_needs_no_file() {
        let world = World::new();
        let vault = Vault::open(&world.store, &variable(1)).await.expect("made");
        let sealed = vault.seal(&PLACE, b"plain").expect("sealed");
        let again = Vault::open(&world.store, &variable(1)).await.expect("opens");
        assert_eq!(again.open_sealed(&PLACE, &sealed).expect("opens").as_slice(), b"plain");
        assert!(!world.keys().exists());
        let error = Vault::open(&world.store, &variable(2)).await.expect_err("another key");
        assert!(
            matches!(&error, VaultError::KeyWrong { place, made_with, .. }
            if place == "DEPUTY_KEY" && *made_with == "DEPUTY_KEY"),
            "{error:?}"
        );
        // The file is asked for by name, and not made.
        let error = world.open().await.expect_err("no file");
        assert_eq!(error.code(), "key_missing");
        assert!(error.fix().is_some_and(|fix| fix.starts_with("set DEPUTY_KEY")), "{error:?}");
        assert!(!world.keys().exists());
        for (text, part) in [("QUFB", "3 bytes"), ("not base64!", "character 4"), ("QUFBQ", "cut off"), (" ", "empty")]
        {
            let source = KeySource::Variable(Secret::new(text.as_bytes().to_vec()));
            let error = Vault::open(&world.store, &source).await.expect_err("malformed");
            assert!(error.code() == "key_malformed" && error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn the_key_of_a_file_works_as_variable() {
        let world = World::new();
        let vault = world.open().await.expect("made");
        let text = fs::read_to_string(world.file()).expect("read");
        let word = text.lines().find_map(|line| line.strip_prefix("key ")).expect("there").to_owned();
        fs::remove_file(world.file()).expect("ours");
        let source = KeySource::Variable(Secret::new(format!("{word}\n").into_bytes()));
        let again = Vault::open(&world.store, &source).await.expect("opens");
        assert_eq!(again.blind(b"x"), vault.blind(b"x"));
    }

    /// Every state that a crash can leave behind opens at the next start, with one key file and no clutter.
    #[tokio::test]
    async fn a_creation_that_was_cut_short_is_finished() {
        let id = StoreId::new();
        for state in ["id", "unfinished file", "both files", "file"] {
            let world = World::new();
            world.put(key(&["vault", "creating"]), id.as_str().as_bytes()).await;
            let file = keyfile::path(&world.keys(), &id);
            let unfinished = file.with_extension("key.new");
            let mut made = None;
            if state != "id" {
                keyfile::obtain(&world.keys(), &id).expect("made");
                made = Some(fs::read(&file).expect("read"));
            }
            match state {
                "unfinished file" => {
                    fs::remove_file(&file).expect("ours");
                    fs::write(&unfinished, "half a k").expect("write");
                }
                "both files" => fs::hard_link(&file, &unfinished).expect("linked"),
                _ => {}
            }
            let vault = world.open().await.unwrap_or_else(|error| panic!("{state}: {error}"));
            assert_eq!(vault.store_id(), &id, "{state}");
            assert_eq!(world.file(), file, "{state}");
            if ["both files", "file"].contains(&state) {
                assert_eq!(made, fs::read(&file).ok(), "{state}: the key is used, not replaced");
            }
            world.open().await.unwrap_or_else(|error| panic!("{state}, again: {error}"));
        }
    }

    #[tokio::test]
    async fn a_keyring_changed_from_outside_is_refused() {
        let world = World::new();
        world.open().await.expect("made");
        let place = key(&["vault", "keyring"]);
        let row = world.store.get(&place).await.expect("readable").expect("there");
        let stored: serde_json::Value = serde_json::from_slice(&row.value).expect("JSON");
        let mut without = stored.clone();
        without["keys"] = serde_json::json!([]);
        let mut swapped = stored.clone();
        swapped["blind"] = stored["keys"][0]["wrapped"].clone();
        let mut newer = stored.clone();
        newer["format"] = 2.into();
        for (changed, part) in [
            (without.to_string(), "changed outside"),
            (swapped.to_string(), "changed outside"),
            (newer.to_string(), "newer version"),
            ("{}".to_owned(), "cannot be read"),
        ] {
            world.put(place.clone(), changed.as_bytes()).await;
            let error = world.open().await.expect_err("changed");
            assert!(error.code() == "keyring_damaged" && error.to_string().contains(part), "{error}");
        }
        world.put(place, &row.value).await;
        world.open().await.expect("as it was");
    }

    #[tokio::test]
    async fn two_that_open_an_empty_store_at_once_get_one_keyring() {
        let world = World::new();
        let (one, two) = tokio::join!(world.open(), world.open());
        let (one, two) = (one.expect("made"), two.expect("opened"));
        let sealed = one.seal(&PLACE, b"plain").expect("sealed");
        assert_eq!(two.open_sealed(&PLACE, &sealed).expect("opens").as_slice(), b"plain");
    }
}
