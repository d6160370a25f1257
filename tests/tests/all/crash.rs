//! What the store acknowledged survives kill -9, at random moments and at named points; and a store that died while it
//! was being made is made at the next start.
//!
//! The victim is the example `crash_writer` of the host. A kill loses nothing that the kernel holds, so this proves
//! atomicity, recovery and order, not that bytes reached a disk: for that the store syncs, and a failed sync is tested
//! beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use deputy::store::{Row, SledStore, Store, StoreError, key, parts};
use deputy::vault::{KeySource, Place, Vault};

const SIGKILL: i32 = 9;
const WRITERS: u32 = 3;

struct World {
    folder: tempfile::TempDir,
    /// How many commits each writer was told are durable.
    acknowledged: BTreeMap<String, u64>,
    /// The store's id, once the victim said it.
    id: Option<String>,
}

/// One victim, and what it says.
struct Victim {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temp dir"), acknowledged: BTreeMap::new(), id: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn start(&self, kill_at: Option<&str>) -> Victim {
        let mut command = Command::new(example("crash_writer"));
        command.arg(self.data()).arg(self.keys()).arg(WRITERS.to_string());
        command.env_remove("DEPUTY_KILL_AT").stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(point) = kill_at {
            command.env("DEPUTY_KILL_AT", point);
        }
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Victim { child, out }
    }

    /// Takes one line in; false at the end.
    fn hear(&mut self, victim: &mut Victim) -> bool {
        let mut line = String::new();
        // A line without its end was cut by the kill: not an acknowledgement.
        if victim.out.read_line(&mut line).expect("readable") == 0 || !line.ends_with('\n') {
            return false;
        }
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["ready", id] => {
                let known = self.id.get_or_insert_with(|| (*id).to_owned());
                assert_eq!(known, id, "the store became another one");
            }
            ["ack", writer, number] => {
                let number: u64 = number.parse().expect("a number");
                let next = self.acknowledged.entry((*writer).to_owned()).or_default();
                assert!(number >= *next, "writer {writer} wrote {number} again: it was lost");
                *next = number + 1;
            }
            other => panic!("the victim says {other:?}"),
        }
        true
    }

    fn hear_out(&mut self, victim: &mut Victim) {
        while self.hear(victim) {}
    }

    fn total(&self) -> u64 {
        self.acknowledged.values().sum()
    }

    /// Lets a victim acknowledge `count` more commits, then kills it.
    fn run_and_kill(&mut self, count: u64) {
        let mut victim = self.start(None);
        let enough = self.total() + count;
        while self.total() < enough {
            if !self.hear(&mut victim) {
                panic!("the victim ended by itself: {}", victim.last_words());
            }
        }
        victim.child.kill().expect("ours");
        self.hear_out(&mut victim);
        assert_eq!(victim.child.wait().expect("ours").signal(), Some(SIGKILL));
    }

    /// Every acknowledged commit is there, each commit is whole, and every sealed row opens.
    fn examine(&self, when: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = SledStore::open(&self.data()).unwrap_or_else(|error| panic!("{when}: {error}"));
            let source = KeySource::File { folder: self.keys(), data: self.data() };
            let vault = Vault::open(&store, &source).await.unwrap_or_else(|error| panic!("{when}: {error}"));
            if let Some(id) = &self.id {
                assert_eq!(vault.store_id().as_str(), id, "{when}");
            }
            let files: Vec<_> = std::fs::read_dir(self.keys()).expect("there").flatten().collect();
            assert_eq!(files.len(), 1, "{when}: {files:?}");
            let mut counted = 0;
            for writer in (0..WRITERS).map(|writer| writer.to_string()) {
                let rows = all(&store, &key(&["row", &writer])).await;
                let twins = all(&store, &key(&["twin", &writer])).await;
                let latest = store.get(&key(&["latest", &writer])).await.expect("readable");
                let written = latest.map_or(0, |row| row.generation);
                let acknowledged = self.acknowledged.get(&writer).copied().unwrap_or(0);
                assert!(written >= acknowledged, "{when}: writer {writer} has {written} of {acknowledged} commits");
                let numbers: Vec<u64> = (0..written).collect();
                assert_eq!(sorted(rows.keys()), numbers, "{when}: rows of writer {writer}");
                assert_eq!(sorted(twins.keys()), numbers, "{when}: twins of writer {writer}");
                for (number, row) in &rows {
                    let id = number.to_string();
                    let place = Place { owner: &writer, kind: "row", id: &id, generation: row.generation };
                    let plain = vault.open_sealed(&place, &row.value).unwrap_or_else(|error| panic!("{when}: {error}"));
                    assert_eq!(*plain, content(*number).into_bytes(), "{when}: row {writer}/{number}");
                }
                counted += written;
            }
            let count = store.get(&key(&["count"])).await.expect("readable");
            let count = count.map_or(0, |row| i64::from_le_bytes((*row.value).try_into().expect("a counter")));
            assert_eq!(count, counted as i64, "{when}: the counter");
        });
    }
}

impl Victim {
    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut text).expect("text");
        text
    }
}

/// A failed test leaves no writer behind.
impl Drop for Victim {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rows by the number in their key, read page by page.
async fn all(store: &SledStore, prefix: &[u8]) -> BTreeMap<u64, Row> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.scan(prefix, after.as_deref(), 100).await.expect("readable");
        let Some((last, _)) = page.last() else { return found };
        after = Some(last.to_vec());
        for (key, row) in page {
            let parts = parts(&key).expect("a key of ours");
            assert!(found.insert(parts[2].parse().expect("a number"), row).is_none());
        }
    }
}

fn sorted<'a>(numbers: impl Iterator<Item = &'a u64>) -> Vec<u64> {
    numbers.copied().collect()
}

/// As the victim writes it.
fn content(number: u64) -> String {
    format!("{number};").repeat(1 + (number as usize * 131) % 1500)
}

fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let folder = own.parent().and_then(Path::parent).expect("target/debug/deps/…");
    let binary = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `cargo build --workspace --examples`", binary.display());
    binary
}

/// Numbers that differ from run to run; a failure names the seed.
struct Random(u64);

impl Random {
    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// `DEPUTY_CRASH_ROUNDS=500` for a long one, `DEPUTY_CRASH_SEED` to repeat one.
#[test]
fn what_was_acknowledged_survives_kill_9_at_random() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let rounds = number("DEPUTY_CRASH_ROUNDS").unwrap_or(12_u64);
    let seed = number("DEPUTY_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut random = Random(seed);
    let mut world = World::new();
    for round in 0..rounds {
        let count = 1 + random.below(60);
        world.run_and_kill(count);
        world.examine(&format!("seed {seed}, round {round}"));
    }
    assert!(world.total() >= rounds);
}

/// The points stand in debug builds only.
#[cfg(debug_assertions)]
#[test]
fn what_was_acknowledged_survives_a_kill_at_every_named_point() {
    // Making the store takes one commit for its id and one for the keyring: the passes hit those, and rows behind them.
    for point in [
        "store-before-create",
        "store-created",
        "vault-id-written",
        "vault-key-unfinished",
        "vault-key-linked",
        "vault-key-written",
        "vault-keyring-written",
        "store-before-apply",
        "store-before-flush",
        "store-after-flush",
        "store-before-apply:2",
        "store-before-flush:2",
        "store-after-flush:2",
        "store-before-apply:9",
        "store-before-flush:9",
        "store-after-flush:9",
    ] {
        let mut world = World::new();
        let mut victim = world.start(Some(point));
        world.hear_out(&mut victim);
        let words = victim.last_words();
        assert_eq!(victim.child.wait().expect("ours").signal(), Some(SIGKILL), "{point}: {words}");
        let name = point.split(':').next().expect("a name");
        assert!(words.contains(&format!("killed at {name}")), "{point}: {words}");
        world.examine(&format!("after {point}"));
        world.run_and_kill(5);
        world.examine(&format!("after {point} and another run"));
    }
}

#[test]
fn a_store_in_use_names_its_owner_and_is_free_when_the_owner_is_dead() {
    let mut world = World::new();
    let mut victim = world.start(None);
    assert!(world.hear(&mut victim), "{}", victim.last_words());
    match SledStore::open(&world.data()).err() {
        Some(StoreError::InUse { pid, .. }) => assert_eq!(pid, victim.child.id().to_string()),
        other => panic!("{other:?}"),
    }
    victim.child.kill().expect("ours");
    victim.child.wait().expect("ours");
    world.hear_out(&mut victim);
    world.examine("after the owner's death");
}
