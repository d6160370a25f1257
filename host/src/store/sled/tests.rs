//! What the embedded store promises beyond the contract: it lasts, it stops at the first failure, it hides what is not
//! durable yet.

use std::fs;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use sled::Batch;

use super::*;
use crate::store::{Expect, MAX_KEY_BYTES, MAX_VALUE_BYTES};

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Op {
    Op::Put { key: key.as_ref().to_vec(), value: value.as_ref().to_vec(), expect: Expect::Any }
}

fn open(folder: &tempfile::TempDir) -> SledStore {
    SledStore::open(folder.path()).expect("it opens")
}

/// Once, without a task behind it.
fn poll<T>(future: &mut BoxFuture<'_, T>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("temp dir")
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = folder();
    let large = vec![7; 100_000];
    for round in 0..3_u64 {
        let store = open(&folder);
        assert_eq!(store.get(b"rounds").await.expect("readable").map_or(0, |row| row.generation), round);
        store.commit(vec![Op::Add { key: b"rounds".to_vec(), delta: 1 }]).await.expect("add");
        store.commit(vec![put(format!("row {round}"), &large)]).await.expect("put");
    }
    let rows = open(&folder).scan(b"row ", None, 9).await.expect("readable");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|(_, row)| row.value == large && row.generation == 1));
}

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_is() {
    let folder = folder();
    let first = open(&folder);
    match SledStore::open(folder.path()).err() {
        Some(StoreError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    first.commit(vec![put("a", "")]).await.expect("the first goes on");
    drop(first);
    open(&folder);
}

#[tokio::test]
async fn a_new_data_folder_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let data = folder.path().join("deep/data");
    drop(SledStore::open(&data).expect("made"));
    for path in [data.clone(), data.join("store")] {
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("write");
    match SledStore::open(&file.join("data")).err() {
        Some(StoreError::Open { path, .. }) => assert_eq!(path, file.join("data")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pieces_that_a_crash_left_are_cleared_away() {
    let folder = folder();
    let left = folder.path().join("store.new");
    fs::create_dir_all(left.join("blobs")).expect("made");
    fs::write(left.join("conf"), "half a con").expect("write");
    let store = open(&folder);
    store.commit(vec![put("a", "1")]).await.expect("put");
    drop(store);
    assert!(!left.exists());
    // sled 0.34 would read this as a snapshot.
    let snapshot = folder.path().join("store/snap.00000000FFFFFFFF.generating");
    fs::write(&snapshot, "half a snapshot").expect("write");
    let store = open(&folder);
    assert_eq!(store.get(b"a").await.expect("readable").map(|row| row.value), Some(Bytes::from_static(b"1")));
    assert!(!snapshot.exists());
}

#[tokio::test]
async fn the_largest_rows_make_no_blobs() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..40_u32 {
        // Keys that share no prefix with each other, at full length, and values of the two worst sizes.
        let mut key = vec![0; MAX_KEY_BYTES];
        key[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let length = if number % 8 == 0 { MAX_VALUE_BYTES } else { 4096 };
        store.commit(vec![put(&key, vec![number as u8; length])]).await.expect("put");
    }
    drop(store);
    let store = open(&folder);
    assert_eq!(store.scan(b"", None, 99).await.expect("readable").len(), 40);
    let blobs = fs::read_dir(folder.path().join("store/blobs")).expect("the folder is there").count();
    assert_eq!(blobs, 0);
}

/// Between a batch and its sync, readers get the rows as they were; then all of it at once.
#[tokio::test]
async fn what_is_not_durable_yet_is_not_seen() {
    let folder = folder();
    let store = open(&folder);
    store.commit(["b", "d", "f"].map(|key| put(key, "old")).to_vec()).await.expect("put");
    let seen = async || {
        let rows = store.scan(b"", None, 9).await.expect("readable");
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        rows.iter().map(|(key, row)| format!("{}={}", text(key), text(&row.value))).collect::<Vec<_>>().join(" ")
    };
    // As the writer does it: a new row before, between and behind, a changed one, a deleted one.
    let old = |value: &'static str| Row { value: Bytes::from_static(value.as_bytes()), generation: 1 };
    let mut batch = Batch::default();
    for key in ["a", "c", "g"] {
        rows::replace(&mut batch, key.as_bytes(), None, Some(&old("new")));
    }
    rows::replace(&mut batch, b"d", Some(&old("old")), Some(&old("new")));
    rows::replace(&mut batch, b"f", Some(&old("old")), None);
    let before = [("a", None), ("c", None), ("g", None), ("d", Some(old("old"))), ("f", Some(old("old")))];
    *store.shared.hidden.write().expect("sound") =
        before.into_iter().map(|(key, row)| (key.as_bytes().to_vec(), row)).collect();
    store.shared.db.apply_batch(batch).expect("applied");
    assert_eq!(seen().await, "b=old d=old f=old");
    assert_eq!(store.get(b"a").await.expect("readable"), None);
    assert_eq!(store.get(b"d").await.expect("readable"), Some(old("old")));
    let two = store.scan(b"", Some(b"b"), 1).await.expect("readable");
    assert_eq!(two, [(Bytes::from_static(b"d"), old("old"))], "hidden rows do not count");
    store.shared.hidden.write().expect("sound").clear();
    assert_eq!(seen().await, "a=new b=old c=new d=new g=new");
}

/// Commits that arrive while the disk is busy share the next sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_one_sync() {
    let folder = folder();
    let store = Arc::new(open(&folder));
    let before = store.shared.syncs.load(Ordering::SeqCst);
    let mut writers = tokio::task::JoinSet::new();
    {
        // The writer cannot apply while somebody reads.
        let _reading = store.shared.hidden.read().expect("sound");
        for number in 0..100 {
            let store = store.clone();
            let commit = async move { store.commit(vec![put(format!("{number}"), "")]).await };
            let mut commit = commit.boxed();
            // The first poll hands the commit over.
            assert!(poll(&mut commit).is_pending());
            writers.spawn(commit);
        }
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
    let syncs = store.shared.syncs.load(Ordering::SeqCst) - before;
    assert!((1..=2).contains(&syncs), "{syncs} syncs for 100 commits");
}

#[tokio::test]
async fn a_commit_whose_caller_left_happens_whole() {
    let folder = folder();
    let store = open(&folder);
    {
        let mut commit = store.commit(vec![put("a", "1"), put("b", "1")]);
        assert!(poll(&mut commit).is_pending());
    }
    drop(store);
    assert_eq!(open(&folder).scan(b"", None, 9).await.expect("readable").len(), 2);
}

/// A store over a file that cannot be synced: fsync(2) refuses a device without a disk behind it.
fn over_a_broken_disk(folder: &tempfile::TempDir) -> SledStore {
    folder::make_data(folder.path()).expect("made");
    let lock = Lock::take(folder.path(), None).expect("free");
    let (db, _) = folder::open(folder.path()).expect("it opens");
    let file = File::open("/dev/null").expect("there");
    assert!(file.sync_all().is_err(), "this system syncs /dev/null: the test needs another broken file");
    SledStore::start(db, file, lock).expect("started")
}

/// fsync that failed once may succeed the second time although the pages are gone.
#[tokio::test]
async fn after_a_failed_sync_the_store_refuses_everything() {
    let folder = folder();
    let healthy = open(&folder);
    healthy.commit(vec![put("a", "1")]).await.expect("put");
    drop(healthy);
    let store = over_a_broken_disk(&folder);
    assert!(store.get(b"a").await.expect("readable").is_some());
    let failed = store.commit(vec![put("b", "1")]).await.expect_err("not durable");
    assert!(matches!(failed, StoreError::Failed(_)), "{failed:?}");
    for refused in [
        store.get(b"a").await.err(),
        store.scan(b"", None, 1).await.err(),
        store.commit(vec![put("c", "1")]).await.err(),
        store.commit(Vec::new()).await.err(),
    ] {
        assert_eq!(refused.map(|error| error.to_string()), Some(failed.to_string()));
    }
    drop(store);
    assert!(open(&folder).get(b"a").await.expect("readable").is_some(), "what was acknowledged is kept");
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_not_an_empty_one() {
    let folder = folder();
    let store = open(&folder);
    store.commit(vec![put("a", vec![1; 9000])]).await.expect("put");
    store.shared.db.insert(rows::item(b"short"), &[1, 2][..]).expect("written");
    let error = store.get(b"short").await.expect_err("damaged");
    assert!(matches!(&error, StoreError::Corrupt(reason) if reason.contains("short")), "{error:?}");
}

/// As sled's own threads do with a store that was dropped a moment ago.
#[tokio::test]
async fn a_store_that_is_still_closing_is_waited_for() {
    let folder = folder();
    drop(open(&folder));
    let held = File::open(folder.path().join("store/db")).expect("there");
    held.lock().expect("free");
    let closing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
    });
    open(&folder);
    closing.join().expect("closed");
}
