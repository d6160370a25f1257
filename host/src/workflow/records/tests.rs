use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::ids::{AccountId, RunId};
use crate::store::Expect;
use crate::workflow::testing::{TestStore, bound, by_hand, deployment, records, step, with_key, workflow};
use crate::workflow::{HttpTrigger, Trigger, TriggerAnswer, Verify};

fn owner() -> Owner {
    Owner::local()
}

fn target(name: &str) -> WorkflowRef {
    WorkflowRef { owner: owner(), name: name.to_owned() }
}

fn attempt(index: u32, output: Value) -> Attempt {
    Attempt {
        index,
        step: format!("s{index}"),
        item: None,
        attempt: 1,
        is_last: true,
        state: AttemptState::Done,
        output,
        exports: Default::default(),
        exit: None,
        respond: None,
        error: None,
        items: None,
        logs: Vec::new(),
        logs_left_out: 0,
        requests: Vec::new(),
        requests_left_out: 0,
        started_at: Time(1),
        ended_at: Time(2),
        cpu_ms: 0,
        memory_peak_bytes: 0,
    }
}

async fn deployed(name: &str) -> (Arc<TestStore>, Records) {
    let (store, records) = records();
    records.deploy(&owner(), &deployment(workflow(name, vec![step("s0", json!({}))]))).await.unwrap();
    (store, records)
}

#[tokio::test]
async fn the_same_content_is_deployed_once_and_other_content_is_a_new_version() {
    let (store, records) = records();
    let first = deployment(workflow("a", vec![step("s0", json!({"n": 1}))]));
    let placed = records.deploy(&owner(), &first).await.unwrap();
    assert!(placed.is_new && placed.deployed.version == 1);
    let rows = store.everything().await;
    assert!(!records.deploy(&owner(), &first).await.unwrap().is_new);
    assert_eq!(store.everything().await, rows, "nothing is written");
    let second = deployment(workflow("a", vec![step("s0", json!({"n": 2}))]));
    assert_eq!(records.deploy(&owner(), &second).await.unwrap().deployed.version, 2);
    assert_eq!(records.version(&owner(), "a", 1).await.unwrap().workflow, first.workflow, "versions never change");
    // Removed and deployed again, its numbers go on: runs of before keep naming what they ran.
    records.remove(&owner(), "a").await.unwrap();
    assert!(records.workflows(&owner(), None, 10).await.unwrap().is_empty());
    assert_eq!(records.deploy(&owner(), &first).await.unwrap().deployed.version, 3);
}

#[tokio::test]
async fn two_deployments_at_once_make_two_versions() {
    let (_, records) = records();
    let each = (0..8).map(|n| {
        let records = records.clone();
        async move { records.deploy(&owner(), &deployment(workflow("a", vec![step("s0", json!({"n": n}))]))).await }
    });
    let placed = futures_util::future::join_all(each).await;
    let mut numbers: Vec<_> = placed.into_iter().map(|placed| placed.unwrap().deployed.version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hooks_secret_stays_the_same_and_leads_to_its_workflow_alone() {
    let (store, records) = records();
    let http = HttpTrigger { verify: Verify::SecretPath, answer: TriggerAnswer::Accepted, idempotency: None };
    let mut hooked = workflow("a", vec![step("s0", json!({}))]);
    hooked.triggers.push(Trigger::Http(http));
    let first = records.deploy(&owner(), &deployment(hooked.clone())).await.unwrap().deployed;
    let token = first.hook.clone().unwrap();
    assert_eq!(token.reveal().len(), 32, "160 bits in base32");
    assert_eq!(records.by_hook(token.reveal()).await.unwrap().unwrap().name, "a");
    assert_eq!(records.by_hook("a").await.unwrap(), None);
    assert_eq!(records.by_id(&first.id).await.unwrap().unwrap().name, "a");
    let text = String::from_utf8_lossy(&store.everything().await).into_owned();
    assert!(!text.contains(token.reveal()), "the secret stands in the database in plain");
    assert!(!format!("{first:?}").contains(token.reveal()));
    hooked.summary = Some("changed".to_owned());
    let second = records.deploy(&owner(), &deployment(hooked.clone())).await.unwrap().deployed;
    assert_eq!(second.hook, Some(token.clone()), "providers keep the address");
    hooked.triggers.clear();
    records.deploy(&owner(), &deployment(hooked)).await.unwrap();
    assert_eq!(records.by_hook(token.reveal()).await.unwrap(), None);
}

#[tokio::test]
async fn where_used_follows_every_deployment_and_an_account_is_replaced_everywhere_at_once() {
    let (_, records) = records();
    let (slack, github, other) = (AccountId::new(), AccountId::new(), AccountId::new());
    for name in ["a", "b"] {
        let mut made = deployment(workflow(name, vec![step("s0", json!({})), step("s1", json!({}))]));
        made.bindings = BTreeMap::from([
            ("s0".to_owned(), BTreeMap::from([("slack".to_owned(), bound(&slack, &["chat:write"]))])),
            ("s1".to_owned(), BTreeMap::from([("gh".to_owned(), bound(&github, &[]))])),
        ]);
        records.deploy(&owner(), &made).await.unwrap();
    }
    records.note_step_use(&owner(), &slack, "post.js", Time(5)).await.unwrap();
    let uses = records.uses_of(&owner(), &slack).await.unwrap();
    let prop = UsedProp { step: "s0".to_owned(), prop: "slack".to_owned(), scopes: vec!["chat:write".to_owned()] };
    assert_eq!(
        uses,
        [
            Use::Step { name: "post.js".to_owned(), last_at: Time(5) },
            Use::Workflow { name: "a".to_owned(), props: vec![prop.clone()] },
            Use::Workflow { name: "b".to_owned(), props: vec![prop.clone()] },
        ]
    );
    let operations = records.rebind_ops(&owner(), &slack, &other).await.unwrap();
    // A deployment between reading and writing: nothing of the replacement happens.
    let changed = deployment(workflow("b", vec![step("s0", json!({}))]));
    records.deploy(&owner(), &changed).await.unwrap();
    assert!(records.commit(operations).await.unwrap_err().is_conflict());
    assert_eq!(records.uses_of(&owner(), &other).await.unwrap(), []);
    let operations = records.rebind_ops(&owner(), &slack, &other).await.unwrap();
    records.commit(operations).await.unwrap();
    assert_eq!(records.uses_of(&owner(), &other).await.unwrap().len(), 1);
    assert_eq!(records.uses_of(&owner(), &slack).await.unwrap().len(), 1, "what was done by hand stays told");
    let bindings = records.must_be_deployed(&owner(), "a").await.unwrap().value.bindings;
    assert_eq!(bindings["s0"]["slack"], bound(&other, &["chat:write"]));
    assert_eq!(bindings["s1"]["gh"], bound(&github, &[]));
    records.remove(&owner(), "a").await.unwrap();
    assert_eq!(records.uses_of(&owner(), &other).await.unwrap(), []);
}

#[tokio::test]
async fn payloads_and_outputs_stand_in_no_row_in_plain() {
    let (store, records) = deployed("a").await;
    let submitted = records.submit(&owner(), "a", &by_hand(json!({"mail": "canary-payload"}))).await.unwrap();
    let node = NodeId::generate().unwrap();
    let claim = records.claim_next(&node, &target("a"), 1).await.unwrap().unwrap();
    assert!(records.record(&claim, &attempt(0, json!("canary-output"))).await.unwrap());
    let error = Failure { code: "x".to_owned(), message: "canary-message".to_owned(), fix: None };
    let end = RunEnd { step: None, error: Some(error), exit: Some("canary-reason".to_owned()) };
    assert!(records.end(&claim, RunState::Failed, &end).await.unwrap());
    let text = String::from_utf8_lossy(&store.everything().await).into_owned();
    assert!(!text.contains("canary"), "a plain row holds what a run was given or left");
    let parts = records.parts_of(&owner(), &submitted.run).await.unwrap().unwrap();
    assert_eq!(parts.start.trigger.body, json!({"mail": "canary-payload"}));
    assert_eq!(parts.attempts[0].output, json!("canary-output"));
    assert_eq!(parts.end, Some(end));
}

/// Whoever can write the database can break a run, and cannot make one say something else.
#[tokio::test]
async fn a_part_that_was_moved_or_cut_is_not_believed() {
    let (store, records) = deployed("a").await;
    let one = records.submit(&owner(), "a", &by_hand(json!(1))).await.unwrap().run;
    let large = json!("x".repeat(1_500_000));
    let two = records.submit(&owner(), "a", &by_hand(large.clone())).await.unwrap().run;
    assert_eq!(records.start_of(&owner(), &two).await.unwrap().unwrap().trigger.body, large, "it lies in two pieces");
    let rows = store.rows.scan(&keys::part(&owner(), &two, "start"), None, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    store.rows.commit(vec![Op::Delete { key: rows[1].0.to_vec(), expect: Expect::Any }]).await.unwrap();
    assert!(records.start_of(&owner(), &two).await.is_err(), "half of it is none of it");
    let other = store.rows.scan(&keys::part(&owner(), &one, "start"), None, 10).await.unwrap();
    let value = rows[0].1.value.to_vec();
    let put = Op::Put { key: other[0].0.to_vec(), value, expect: Expect::Any };
    store.rows.commit(vec![put]).await.unwrap();
    assert!(records.start_of(&owner(), &one).await.is_err());
    let huge = by_hand(json!("x".repeat(part::MAX_TRIGGER_BYTES)));
    assert_eq!(records.submit(&owner(), "a", &huge).await.unwrap_err().code(), "too_large");
}

#[tokio::test]
async fn one_delivery_is_one_run_however_often_and_fast_it_comes() {
    let (store, records) = deployed("a").await;
    let each = (0..16).map(|_| {
        let records = records.clone();
        async move { records.submit(&owner(), "a", &with_key("delivery-1")).await.unwrap() }
    });
    let submitted = futures_util::future::join_all(each).await;
    assert_eq!(submitted.iter().filter(|submitted| submitted.is_new).count(), 1);
    assert!(submitted.iter().all(|other| other.run == submitted[0].run));
    assert_eq!(records.runs_in(&owner(), "a", RunState::Queued).await.unwrap(), 1);
    assert!(records.submit(&owner(), "a", &with_key("delivery-2")).await.unwrap().is_new);
    // After a week it is forgotten: a key that comes again then means something else.
    store.advance(queue::IDEMPOTENCY + Duration::from_secs(1));
    assert!(records.submit(&owner(), "a", &with_key("delivery-1")).await.unwrap().is_new);
    while records.sweep_idempotency().await.unwrap() > 0 {}
    let left = store.rows.scan(&crate::store::key(&["idem"]), None, 10).await.unwrap();
    assert_eq!(left.len(), 1, "the renewed one stays");
}

#[tokio::test]
async fn runs_begin_in_the_order_of_their_arrival_and_within_the_limit() {
    let (_, records) = deployed("a").await;
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(records.submit(&owner(), "a", &by_hand(json!(n))).await.unwrap().run);
    }
    let (node, other) = (NodeId::generate().unwrap(), NodeId::generate().unwrap());
    let a = target("a");
    let (one, two) = tokio::join!(records.claim_next(&node, &a, 2), records.claim_next(&other, &a, 2));
    let claims = [one.unwrap().unwrap(), two.unwrap().unwrap()];
    let mut claimed = claims.each_ref().map(|claim| claim.run().clone());
    claimed.sort();
    assert_eq!(claimed, [runs[0].clone(), runs[1].clone()]);
    assert!(records.claim_next(&node, &target("a"), 2).await.unwrap().is_none(), "two are running");
    assert!(records.end(&claims[0], RunState::Done, &RunEnd::default()).await.unwrap());
    assert_eq!(records.claim_next(&node, &target("a"), 2).await.unwrap().unwrap().run(), &runs[2]);
    assert_eq!(records.waiting(10).await.unwrap(), [target("a")]);
    let refused = records.remove(&owner(), "a").await.unwrap_err();
    assert_eq!(refused.code(), "workflow_busy");
}

#[tokio::test]
async fn a_dead_nodes_runs_are_taken_over_and_its_late_writes_are_refused() {
    let (store, records) = deployed("a").await;
    records.submit(&owner(), "a", &by_hand(json!(1))).await.unwrap();
    let (paused, next) = (NodeId::generate().unwrap(), NodeId::generate().unwrap());
    records.beat(&paused).await.unwrap();
    let old = records.claim_next(&paused, &target("a"), 1).await.unwrap().unwrap();
    assert!(records.take_over(&next, None, None, 10).await.unwrap().0.is_empty(), "it lives");
    store.advance(nodes::NODE_LEASE + Duration::from_secs(1));
    let (claims, _) = records.take_over(&next, None, None, 10).await.unwrap();
    assert_eq!(claims.len(), 1);
    // The first holder wakes up.
    assert!(!records.holds(&old).await.unwrap());
    assert!(!records.record(&old, &attempt(0, json!("late"))).await.unwrap());
    assert!(!records.end(&old, RunState::Done, &RunEnd::default()).await.unwrap());
    assert!(records.record(&claims[0], &attempt(0, json!("in time"))).await.unwrap());
    assert!(records.end(&claims[0], RunState::Done, &RunEnd::default()).await.unwrap());
    let parts = records.parts_of(&owner(), old.run()).await.unwrap().unwrap();
    assert_eq!(parts.attempts.len(), 1);
    assert_eq!(parts.attempts[0].output, json!("in time"));
}

#[tokio::test]
async fn in_a_store_of_one_process_whatever_another_left_is_over() {
    let (store, records) = deployed("a").await;
    records.submit(&owner(), "a", &by_hand(json!(1))).await.unwrap();
    let (dead, next) = (NodeId::generate().unwrap(), NodeId::generate().unwrap());
    records.beat(&dead).await.unwrap();
    records.claim_next(&dead, &target("a"), 1).await.unwrap().unwrap();
    store.exclusive.store(true, SeqCst);
    assert_eq!(records.take_over(&next, Some(&target("a")), None, 10).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn a_cancelled_run_leaves_queue_or_holder_and_ends_once() {
    let (_, records) = deployed("a").await;
    let running = records.submit(&owner(), "a", &by_hand(json!(1))).await.unwrap().run;
    let queued = records.submit(&owner(), "a", &by_hand(json!(2))).await.unwrap().run;
    let node = NodeId::generate().unwrap();
    let claim = records.claim_next(&node, &target("a"), 1).await.unwrap().unwrap();
    for run in [&running, &queued] {
        assert_eq!(records.cancel(&owner(), run).await.unwrap().state, RunState::Cancelled);
        assert_eq!(records.cancel(&owner(), run).await.unwrap_err().code(), "run_ended");
    }
    assert!(!records.end(&claim, RunState::Done, &RunEnd::default()).await.unwrap());
    assert!(records.claim_next(&node, &target("a"), 1).await.unwrap().is_none());
    assert_eq!(records.runs_in(&owner(), "a", RunState::Cancelled).await.unwrap(), 2);
    assert_eq!(records.runs_in(&owner(), "a", RunState::Running).await.unwrap(), 0);
    assert_eq!(records.cancel(&owner(), &RunId::new()).await.unwrap_err().code(), "run_not_found");
}

#[tokio::test]
async fn a_page_of_runs_reads_a_page_of_rows_however_many_there_are() {
    let (store, records) = deployed("a").await;
    let mut all = Vec::new();
    for n in 0..2_000 {
        all.push(records.submit(&owner(), "a", &by_hand(json!(n))).await.unwrap().run);
    }
    all.reverse();
    for state in [None, Some(RunState::Queued)] {
        let (first, reads) = store.reads_of(records.runs(&owner(), "a", state, None, 20)).await;
        let first = first.unwrap();
        assert_eq!(first.total, 2_000);
        assert!(reads <= 20 + 21 + 5, "{reads} rows for a page of 20");
        let ids = |page: &RunsPage| page.runs.iter().map(|run| run.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), all[..20], "newest first");
        let second = records.runs(&owner(), "a", state, first.next.as_ref(), 20).await.unwrap();
        assert_eq!(ids(&second), all[20..40]);
    }
    let failed = records.runs(&owner(), "a", Some(RunState::Failed), None, 20).await.unwrap();
    assert!(failed.runs.is_empty() && failed.next.is_none() && failed.total == 0);
    let (_, reads) = store.reads_of(records.waiting(10)).await;
    assert!(reads <= 3, "{reads} rows to learn which queues wait");
}

#[tokio::test]
async fn a_due_time_fires_once_and_sets_the_next() {
    let (store, records) = records();
    let now = records.now();
    let mut made = deployment(workflow("a", vec![step("s0", json!({}))]));
    made.due.insert(0, now.plus(Duration::from_secs(60)));
    records.deploy(&owner(), &made).await.unwrap();
    assert!(records.due(10).await.unwrap().is_empty());
    store.advance(Duration::from_secs(61));
    let due = records.due(10).await.unwrap().remove(0);
    assert_eq!(due.at, now.plus(Duration::from_secs(60)));
    let next = Some(now.plus(Duration::from_secs(120)));
    let (one, two) = tokio::join!(records.fire(&due, next, 1), records.fire(&due, next, 1));
    let fired = [one.unwrap(), two.unwrap()];
    assert_eq!(fired.iter().flatten().count(), 1, "two nodes see the same due time, one run comes of it");
    assert!(records.due(10).await.unwrap().is_empty());
    store.advance(Duration::from_secs(60));
    let due = records.due(10).await.unwrap().remove(0);
    // Deployed anew between looking and firing: the new version's schedules stand, and nothing fires for the old one.
    made.source.push('#');
    made.due.insert(0, due.at);
    records.deploy(&owner(), &made).await.unwrap();
    assert_eq!(records.fire(&due, next, 1).await.unwrap(), None);
    assert_eq!(records.due(10).await.unwrap().len(), 1);
    records.set_enabled(&owner(), "a", false, &BTreeMap::new()).await.unwrap();
    assert!(records.due(10).await.unwrap().is_empty());
    let refused = records.submit(&owner(), "a", &with_key("k")).await.unwrap_err();
    assert_eq!(refused.code(), "workflow_disabled");
    assert!(records.submit(&owner(), "a", &by_hand(json!(1))).await.is_ok(), "by hand it runs all the same");
}

#[tokio::test]
async fn what_the_store_refuses_is_not_acknowledged() {
    let (store, records) = deployed("a").await;
    store.broken.store(true, SeqCst);
    assert_eq!(records.submit(&owner(), "a", &by_hand(json!(1))).await.unwrap_err().code(), "store_failed");
}
