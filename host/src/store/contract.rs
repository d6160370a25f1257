//! What every backend promises, as tests over `&dyn Store`. A new backend adds one line at the end.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expect: Expect) -> Op {
    Op::Put { key: key.as_ref().to_vec(), value: value.as_ref().to_vec(), expect }
}

fn delete(key: impl AsRef<[u8]>, expect: Expect) -> Op {
    Op::Delete { key: key.as_ref().to_vec(), expect }
}

fn check(key: impl AsRef<[u8]>, expect: Expect) -> Op {
    Op::Check { key: key.as_ref().to_vec(), expect }
}

fn add(key: impl AsRef<[u8]>, delta: i64) -> Op {
    Op::Add { key: key.as_ref().to_vec(), delta }
}

/// Value and generation.
async fn row(store: &dyn Store, key: &[u8]) -> Option<(Vec<u8>, u64)> {
    store.get(key).await.expect("readable").map(|row| (row.value.to_vec(), row.generation))
}

async fn keys(store: &dyn Store, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    let rows = store.scan(prefix, after, limit).await.expect("readable");
    rows.into_iter().map(|(key, _)| key.to_vec()).collect()
}

#[track_caller]
fn conflict(result: Result<(), StoreError>) -> Vec<u8> {
    match result {
        Err(StoreError::Conflict { key }) => key,
        other => panic!("no conflict: {other:?}"),
    }
}

async fn generations_rise_by_one_and_start_anew_after_a_delete(store: &dyn Store) {
    assert_eq!(row(store, b"a").await, None);
    for generation in 1..=3 {
        store.commit(vec![put("a", "x", Expect::Any)]).await.expect("put");
        assert_eq!(row(store, b"a").await, Some((b"x".to_vec(), generation)));
    }
    store.commit(vec![delete("a", Expect::Generation(3))]).await.expect("delete");
    assert_eq!(row(store, b"a").await, None);
    store.commit(vec![put("a", "y", Expect::Absent)]).await.expect("put");
    assert_eq!(row(store, b"a").await, Some((b"y".to_vec(), 1)));
    store.commit(vec![delete("never there", Expect::Any)]).await.expect("deleting nothing is fine");
}

async fn an_expectation_that_fails_is_a_conflict_that_names_the_key(store: &dyn Store) {
    store.commit(vec![put("a", "1", Expect::Absent)]).await.expect("put");
    for operation in [
        put("a", "2", Expect::Absent),
        put("a", "2", Expect::Generation(2)),
        put("a", "2", Expect::Generation(0)),
        delete("a", Expect::Absent),
        delete("a", Expect::Generation(2)),
        check("a", Expect::Absent),
        check("a", Expect::Generation(2)),
    ] {
        assert_eq!(conflict(store.commit(vec![operation]).await), b"a");
    }
    assert_eq!(conflict(store.commit(vec![put("b", "", Expect::Generation(1))]).await), b"b");
    assert_eq!(row(store, b"a").await, Some((b"1".to_vec(), 1)));
    store.commit(vec![check("a", Expect::Generation(1)), check("b", Expect::Absent)]).await.expect("both hold");
    assert_eq!(row(store, b"a").await, Some((b"1".to_vec(), 1)), "a check changes nothing");
}

async fn a_commit_is_whole_or_not_at_all(store: &dyn Store) {
    let before = put("keep", "1", Expect::Absent);
    store.commit(vec![before, put("gone", "1", Expect::Absent)]).await.expect("put");
    let refused = vec![
        put("new", "1", Expect::Absent),
        put("keep", "2", Expect::Generation(1)),
        delete("gone", Expect::Any),
        add("count", 5),
        check("absent", Expect::Generation(1)),
    ];
    assert_eq!(conflict(store.commit(refused).await), b"absent");
    assert_eq!(row(store, b"new").await, None);
    assert_eq!(row(store, b"keep").await, Some((b"1".to_vec(), 1)));
    assert_eq!(row(store, b"gone").await, Some((b"1".to_vec(), 1)));
    assert_eq!(row(store, b"count").await, None);
}

async fn operations_see_those_before_them(store: &dyn Store) {
    let operations = vec![
        put("a", "1", Expect::Absent),
        put("a", "2", Expect::Generation(1)),
        delete("a", Expect::Generation(2)),
        put("a", "3", Expect::Absent),
        check("a", Expect::Generation(1)),
    ];
    store.commit(operations).await.expect("in order");
    assert_eq!(row(store, b"a").await, Some((b"3".to_vec(), 1)));
    store.commit(Vec::new()).await.expect("nothing to do is done");
}

async fn counters_add_up(store: &dyn Store) {
    store.commit(vec![add("n", 2), add("n", 3), add("n", -9)]).await.expect("add");
    assert_eq!(row(store, b"n").await, Some(((-4_i64).to_le_bytes().to_vec(), 3)));
    store.commit(vec![put("text", "seven..", Expect::Any)]).await.expect("put");
    for wrong in [vec![add("text", 1)], vec![add("n", i64::MIN), add("n", i64::MIN)]] {
        let error = store.commit(wrong).await.expect_err("no counter");
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
    assert_eq!(row(store, b"n").await, Some(((-4_i64).to_le_bytes().to_vec(), 3)));
    store.commit(vec![add("n", 4)]).await.expect("the store goes on");
    assert_eq!(row(store, b"n").await, Some((0_i64.to_le_bytes().to_vec(), 4)));
}

async fn scans_are_in_order_and_end_where_the_prefix_ends(store: &dyn Store) {
    let all: [&[u8]; 9] = [b"", b"a", b"b", b"b\0", b"ba", b"b\xff", b"b\xff\xff", b"c", b"\xff\xff"];
    let mut shuffled = all.map(|key| put(key, key, Expect::Absent));
    shuffled.reverse();
    store.commit(shuffled.to_vec()).await.expect("put");
    let mut sorted = all.map(<[u8]>::to_vec);
    sorted.sort();
    assert_eq!(keys(store, b"", None, 100).await, sorted);
    assert_eq!(keys(store, b"b", None, 100).await, [b"b".as_slice(), b"b\0", b"ba", b"b\xff", b"b\xff\xff"]);
    assert_eq!(keys(store, b"b\xff", None, 100).await, [b"b\xff".as_slice(), b"b\xff\xff"]);
    assert_eq!(keys(store, b"\xff", None, 100).await, [b"\xff\xff".as_slice()]);
    assert_eq!(keys(store, b"bb", None, 100).await, [b""; 0]);
    let rows = store.scan(b"ba", None, 1).await.expect("readable");
    assert_eq!((rows[0].1.value.as_ref(), rows[0].1.generation), (b"ba".as_slice(), 1));
}

async fn scans_go_on_behind_a_key(store: &dyn Store) {
    store.commit(["a", "b1", "b3", "b5", "c"].map(|key| put(key, "", Expect::Any)).to_vec()).await.expect("put");
    assert_eq!(keys(store, b"b", None, 2).await, [b"b1", b"b3"]);
    assert_eq!(keys(store, b"b", Some(b"b3"), 2).await, [b"b5"]);
    assert_eq!(keys(store, b"b", Some(b"b2"), 1).await, [b"b3"], "the key itself need not be there");
    assert_eq!(keys(store, b"b", Some(b"a"), 9).await, [b"b1", b"b3", b"b5"], "before the prefix");
    assert_eq!(keys(store, b"b", Some(b"b"), 9).await, [b"b1", b"b3", b"b5"]);
    assert_eq!(keys(store, b"b", Some(b"b5"), 9).await, [b""; 0]);
    assert_eq!(keys(store, b"b", Some(b"z"), 9).await, [b""; 0], "behind the prefix");
    assert_eq!(keys(store, b"b", None, 0).await, [b""; 0]);
}

async fn sizes_up_to_the_limit_come_back_and_larger_ones_are_refused(store: &dyn Store) {
    let long = vec![0xff; MAX_KEY_BYTES];
    let pattern = |length: usize| (0..length).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>();
    // Shrinking and growing over the same key leaves nothing of the longer value behind.
    for length in [0, 1, 4096, 4097, 8192, MAX_VALUE_BYTES, 70_000, 5000, 10, MAX_VALUE_BYTES] {
        store.commit(vec![put(&long, pattern(length), Expect::Any)]).await.expect("put");
        assert_eq!(row(store, &long).await.expect("there").0, pattern(length));
    }
    assert_eq!(keys(store, b"", None, 9).await, std::slice::from_ref(&long));
    store.commit(vec![delete(&long, Expect::Any)]).await.expect("delete");
    assert_eq!(keys(store, b"", None, 9).await, [b""; 0]);
    let many = vec![add("n", 1); MAX_OPERATIONS + 1];
    let heavy = vec![put("k", pattern(MAX_VALUE_BYTES), Expect::Any); 9];
    for (operations, what) in [
        (vec![put(vec![0; MAX_KEY_BYTES + 1], "", Expect::Any)], "key (in bytes)"),
        (vec![put("k", vec![0; MAX_VALUE_BYTES + 1], Expect::Any)], "value (in bytes)"),
        (many, "commit (in operations)"),
        (heavy, "commit (in bytes)"),
    ] {
        match store.commit(operations).await {
            Err(StoreError::TooLarge { what: refused, .. }) => assert_eq!(refused, what),
            other => panic!("{what}: {other:?}"),
        }
    }
}

async fn of_many_writers_exactly_one_wins(store: Arc<dyn Store>) {
    for round in 0..8_u64 {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16_u64 {
            let store = store.clone();
            let expect = if round == 0 { Expect::Absent } else { Expect::Generation(round) };
            let own = format!("own {round} {writer}");
            let operations = vec![put("one", writer.to_le_bytes(), expect), put(&own, "", Expect::Absent)];
            writers.spawn(async move { (writer, own, store.commit(operations).await) });
        }
        let outcomes = writers.join_all().await;
        let (value, generation) = row(&*store, b"one").await.expect("there");
        assert_eq!(generation, round + 1);
        let mut won = 0;
        for (writer, own, outcome) in outcomes {
            let wrote_own = row(&*store, own.as_bytes()).await.is_some();
            assert_eq!(wrote_own, outcome.is_ok(), "the whole commit wins or loses");
            match outcome {
                Ok(()) => {
                    won += 1;
                    assert_eq!(value, writer.to_le_bytes());
                }
                lost => assert_eq!(conflict(lost), b"one"),
            }
        }
        assert_eq!(won, 1);
    }
}

async fn counters_lose_nothing_among_many_writers(store: Arc<dyn Store>) {
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            for _ in 0..20 {
                store.commit(vec![add("n", 1)]).await.expect("add");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(row(&*store, b"n").await, Some((160_i64.to_le_bytes().to_vec(), 160)));
}

/// A scan sees a commit whole or not at all, while it is being written.
async fn a_scan_sees_one_state(store: Arc<dyn Store>) {
    let pair = |value: u64| {
        let value = value.to_le_bytes();
        vec![put("pair a", value, Expect::Any), put("pair b", value, Expect::Any)]
    };
    store.commit(pair(0)).await.expect("put");
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for value in 1..200 {
                store.commit(pair(value)).await.expect("put");
            }
        }
    });
    while !writer.is_finished() {
        let rows = store.scan(b"pair", None, 9).await.expect("readable");
        assert_eq!(rows[0].1, rows[1].1);
    }
    writer.await.expect("no panic");
}

fn small_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(0xff)], 0..3)
}

fn operation() -> impl Strategy<Value = Op> {
    let expect =
        || prop_oneof![4 => Just(Expect::Any), 1 => Just(Expect::Absent), 2 => (0..3_u64).prop_map(Expect::Generation)];
    let value = prop_oneof![Just(Vec::new()), Just(vec![7; 8]), Just(vec![9; 5000]), Just(vec![9; 9000])];
    prop_oneof![
        3 => (small_key(), value, expect()).prop_map(|(key, value, expect)| Op::Put { key, value, expect }),
        1 => (small_key(), expect()).prop_map(|(key, expect)| Op::Delete { key, expect }),
        1 => (small_key(), expect()).prop_map(|(key, expect)| Op::Check { key, expect }),
        1 => (small_key(), -2..3_i64).prop_map(|(key, delta)| Op::Add { key, delta }),
    ]
}

/// Whatever a store is told, it does what a plain map does.
fn it_behaves_like_the_store_in_memory(store: &dyn Store) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let commits = prop::collection::vec(prop::collection::vec(operation(), 0..5), 1..12);
    let scans = prop::collection::vec((small_key(), prop::option::of(small_key()), 0..4_usize), 4);
    proptest!(config, |(commits in commits, scans in scans)| {
        runtime.block_on(async {
            let model = MemoryStore::new();
            for (key, _) in store.scan(b"", None, usize::MAX).await.expect("readable") {
                store.commit(vec![delete(&key, Expect::Any)]).await.expect("emptied");
            }
            for operations in &commits {
                let (real, expected) = (store.commit(operations.clone()).await, model.commit(operations.clone()).await);
                prop_assert_eq!(format!("{real:?}"), format!("{expected:?}"));
            }
            for (prefix, after, limit) in scans.into_iter().chain([(Vec::new(), None, usize::MAX)]) {
                let real = store.scan(&prefix, after.as_deref(), limit).await.expect("readable");
                prop_assert_eq!(real, model.scan(&prefix, after.as_deref(), limit).await.expect("readable"));
            }
            Ok(())
        })?;
    });
}

macro_rules! contract {
    ($backend:ident, $open:expr) => {
        mod $backend {
            use super::*;
            contract!(@alone $open,
                generations_rise_by_one_and_start_anew_after_a_delete,
                an_expectation_that_fails_is_a_conflict_that_names_the_key,
                a_commit_is_whole_or_not_at_all,
                operations_see_those_before_them,
                counters_add_up,
                scans_are_in_order_and_end_where_the_prefix_ends,
                scans_go_on_behind_a_key,
                sizes_up_to_the_limit_come_back_and_larger_ones_are_refused,
            );
            contract!(@together $open,
                of_many_writers_exactly_one_wins,
                counters_lose_nothing_among_many_writers,
                a_scan_sees_one_state,
            );

            #[test]
            fn it_behaves_like_the_store_in_memory() {
                let (store, _kept) = $open;
                super::it_behaves_like_the_store_in_memory(&store);
            }
        }
    };
    (@alone $open:expr, $($rule:ident,)*) => {$(
        #[tokio::test]
        async fn $rule() {
            let (store, _kept) = $open;
            super::$rule(&store).await;
        }
    )*};
    (@together $open:expr, $($rule:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $rule() {
            let (store, _kept) = $open;
            super::$rule(Arc::new(store)).await;
        }
    )*};
}

contract!(memory, (MemoryStore::new(), ()));
contract!(sled, {
    let folder = tempfile::tempdir().expect("temp dir");
    (SledStore::open(folder.path()).expect("a new store"), folder)
});
