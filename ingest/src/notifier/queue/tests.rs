use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::fake::{T0, firing, resolved};
use super::super::{AlertState, Reason, ReasonCode};
use super::*;

const S: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

#[test]
fn notices_and_cursor_survive_a_crash_together() {
    let (dir, queue) = queue(QueueLimits::default());
    assert_eq!(queue.cursor().unwrap(), None);
    accept(&queue, &[firing("a"), firing("b")], (7, 3));
    settle(&queue, "a", delivered());

    // A copy of the open file is what a killed process leaves behind.
    let copy = dir.path().join("copy.redb");
    std::fs::copy(dir.path().join("queue.redb"), &copy).unwrap();
    accept(&queue, &[firing("c")], (8, 0));
    let after = Queue::open(&copy, QueueLimits::default(), T0).unwrap();
    assert_eq!(after.cursor().unwrap(), Some((7, 3)));
    assert_eq!(after.pending().unwrap(), 1);
    assert_eq!(due_ids(&after, T0), ["b:firing"]);
    assert_eq!(bodies(&after), [r#"{"id":"b","state":"firing"}"#]);

    drop(queue);
    let again = Queue::open(&dir.path().join("queue.redb"), QueueLimits::default(), T0).unwrap();
    assert_eq!(again.cursor().unwrap(), Some((8, 0)));
    assert_eq!(due_ids(&again, T0), ["b:firing", "c:firing"]);
}

#[test]
fn a_notice_is_accepted_once_by_id_and_state() {
    let (_dir, queue) = queue(QueueLimits::default());
    let twice = queue.accept(&[firing("a"), firing("a")], Some((1, 0)), T0).unwrap();
    assert_eq!(twice, Acceptance::Accepted { new: 1 });
    settle(&queue, "a", delivered());
    let after_delivery = queue.accept(&[firing("a"), resolved("a")], Some((2, 0)), T0).unwrap();
    assert_eq!(after_delivery, Acceptance::Accepted { new: 1 });
    assert_eq!(due_ids(&queue, T0), ["a:resolved"]);
}

#[test]
fn notices_without_origin_leave_the_cursor() {
    let (_dir, queue) = queue(QueueLimits::default());
    accept(&queue, &[], (5, 0));
    queue.accept(&[firing("store-away-1")], None, T0).unwrap();
    assert_eq!((queue.cursor().unwrap(), queue.pending().unwrap()), (Some((5, 0)), 1));
}

#[test]
fn resolved_waits_until_its_firing_is_delivered_or_has_failed() {
    for (verdict, name) in [(delivered(), "delivered"), (failed(), "failed")] {
        let (_dir, queue) = queue(QueueLimits::default());
        accept(&queue, &[firing("a"), resolved("a"), firing("b")], (1, 0));
        assert_eq!(due_ids(&queue, T0), ["a:firing", "b:firing"], "{name}");
        settle(&queue, "a", waiting(S * 9));
        assert_eq!(due_ids(&queue, T0.plus(S * 8)), ["b:firing"], "{name}: overtakes no retry");
        settle(&queue, "a", verdict);
        assert_eq!(due_ids(&queue, T0.plus(S * 8)), ["a:resolved", "b:firing"], "{name}");
    }
}

#[test]
fn resolved_of_an_alert_the_queue_never_saw_is_due_at_once() {
    let (_dir, queue) = queue(QueueLimits::default());
    accept(&queue, &[resolved("before-my-time")], (1, 0));
    assert_eq!(due_ids(&queue, T0), ["before-my-time:resolved"]);
}

#[test]
fn a_full_queue_stores_neither_notices_nor_cursor_until_there_is_room() {
    let (_dir, queue) = queue(QueueLimits { waiting_max: 2, ..QueueLimits::default() });
    accept(&queue, &[firing("a"), firing("b")], (1, 0));
    let batch = [firing("b"), resolved("a"), firing("c")];
    assert_eq!(queue.accept(&batch, Some((2, 0)), T0).unwrap(), Acceptance::Full { missing: 2 });
    assert_eq!((queue.cursor().unwrap(), queue.pending().unwrap()), (Some((1, 0)), 2));
    assert_eq!(
        queue.accept(&[firing("a")], Some((2, 0)), T0).unwrap(),
        Acceptance::Accepted { new: 0 }
    );
    assert_eq!(queue.accept(&[], Some((3, 0)), T0).unwrap(), Acceptance::Accepted { new: 0 });

    let airborne = BTreeSet::from([0]);
    let given_up = give_up(&queue, T0, 2, &airborne);
    assert_eq!(given_up, ["b"], "what is under way is left alone");
    settle(&queue, "a", delivered());
    assert_eq!(queue.accept(&batch, Some((4, 0)), T0).unwrap(), Acceptance::Accepted { new: 2 });
}

#[test]
fn giving_up_takes_the_oldest_and_ends_them_as_failed() {
    let (_dir, queue) = queue(QueueLimits::default());
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        let at = T0.plus(DAY * u32::try_from(n).unwrap());
        queue.accept(&[firing(id)], None, at).unwrap();
    }
    assert_eq!(give_up(&queue, T0.plus(DAY), 9, &BTreeSet::new()), ["a", "b"]);
    assert_eq!(queue.pending().unwrap(), 1);
    let log = queue.log(9).unwrap();
    assert!(
        matches!(&log[2].status, Status::Failed { reason, .. } if reason.code == ReasonCode::QueueFull)
    );
}

#[test]
fn the_log_is_newest_first_and_shows_where_each_notice_stands() {
    let (_dir, queue) = queue(QueueLimits::default());
    accept(&queue, &[firing("a"), firing("b"), firing("c"), resolved("c")], (1, 0));
    settle(&queue, "a", delivered());
    settle(&queue, "b", failed());
    settle(&queue, "c", waiting(S * 2));
    settle(&queue, "c", waiting(S * 4));
    let log: Vec<_> =
        queue.log(3).unwrap().into_iter().map(|e| (e.id, e.state, e.tries, e.status)).collect();
    let at = |wait| T0.plus(wait);
    let expected = [
        ("c", AlertState::Resolved, 0, Status::Waiting { next_try_at: T0, last: None }),
        (
            "c",
            AlertState::Firing,
            2,
            Status::Waiting { next_try_at: at(S * 4), last: Some(reason("503")) },
        ),
        ("b", AlertState::Firing, 1, Status::Failed { ended_at: T0, reason: reason("404") }),
    ]
    .map(|(id, state, tries, status)| (id.to_owned(), state, tries, status));
    assert_eq!(log, expected);
    let oldest = queue.log(9).unwrap().pop().unwrap();
    assert_eq!(oldest.status, Status::Delivered { ended_at: T0, receipt: "200".into() });
}

#[test]
fn ended_notices_are_forgotten_after_a_week_or_when_there_are_too_many() {
    let limits = QueueLimits { ended_max: 2, ..QueueLimits::default() };
    let (_dir, queue) = queue(limits);
    accept(&queue, &[firing("a"), firing("b"), firing("c"), firing("d")], (1, 0));
    for id in ["a", "b", "c"] {
        settle(&queue, id, delivered());
    }
    assert_eq!(log_ids(&queue), ["d", "c", "b"], "the bound by count");
    queue.settle(&[], T0.plus(DAY * 7)).unwrap();
    assert_eq!(log_ids(&queue), ["d", "c", "b"]);
    queue.settle(&[], T0.plus(DAY * 7 + S)).unwrap();
    assert_eq!(log_ids(&queue), ["d"], "what waits is never forgotten");
}

#[test]
fn an_outcome_that_comes_twice_or_too_late_changes_nothing() {
    let (_dir, queue) = queue(QueueLimits::default());
    accept(&queue, &[firing("a")], (1, 0));
    settle(&queue, "a", delivered());
    queue
        .settle(
            &[Settlement { key: 0, verdict: failed() }, Settlement { key: 99, verdict: failed() }],
            T0,
        )
        .unwrap();
    assert!(matches!(queue.log(1).unwrap()[0].status, Status::Delivered { .. }));
}

#[test]
fn a_due_time_of_a_wrong_clock_is_brought_back_at_the_next_start() {
    let (dir, queue) = queue(QueueLimits::default());
    accept(&queue, &[firing("a")], (1, 0));
    settle(&queue, "a", waiting(DAY * 3_650));
    drop(queue);
    let queue = Queue::open(&dir.path().join("queue.redb"), QueueLimits::default(), T0).unwrap();
    assert_eq!(due_ids(&queue, T0), ["a:firing"]);
    assert_eq!(queue.log(1).unwrap()[0].tries, 1);
}

#[test]
fn a_file_that_is_no_queue_and_one_of_a_later_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.redb");
    std::fs::write(&path, "not a queue").unwrap();
    let error = Queue::open(&path, QueueLimits::default(), T0).unwrap_err();
    assert!(matches!(error, QueueError::Open { .. }), "{error:?}");

    let path = dir.path().join("later.redb");
    let later = Database::create(&path).unwrap();
    let transaction = later.begin_write().unwrap();
    transaction.open_table(row::META).unwrap().insert("format", FORMAT + 1).unwrap();
    transaction.commit().unwrap();
    drop(later);
    let error = Queue::open(&path, QueueLimits::default(), T0).unwrap_err();
    assert!(matches!(error, QueueError::Format { found: 2, .. }), "{error:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Firing(u8),
    Resolved(u8),
    Try(u8, Verdict),
    GiveUp(u8),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is accepted (firing before resolved, as in an outbox), tried and given up in whatever order:
    /// the bound holds, and what waits is due unless it is resolved and its firing waits as well.
    #[test]
    fn order_and_bound_hold_whatever_happens(steps in proptest::collection::vec(step(), 1..40)) {
        let (_dir, queue) = queue(QueueLimits { waiting_max: 6, ..QueueLimits::default() });
        let mut known = BTreeSet::new();
        for step in steps {
            match step {
                Step::Firing(id) => {
                    let accepted = queue.accept(&[firing(&id.to_string())], None, T0).unwrap();
                    if matches!(accepted, Acceptance::Accepted { .. }) {
                        known.insert(id);
                    }
                }
                Step::Resolved(id) if known.contains(&id) => {
                    queue.accept(&[resolved(&id.to_string())], None, T0).unwrap();
                }
                Step::Resolved(_) => {}
                Step::Try(nth, verdict) => {
                    let due = queue.due(T0.plus(DAY), 99, &BTreeSet::new()).unwrap().letters;
                    if let Some(letter) = due.get(usize::from(nth)) {
                        queue.settle(&[Settlement { key: letter.key, verdict }], T0).unwrap();
                    }
                }
                Step::GiveUp(most) => drop(give_up(&queue, T0, most.into(), &BTreeSet::new())),
            }
            let mut waiting = queue.log(999).unwrap();
            waiting.retain(|entry| matches!(entry.status, Status::Waiting { .. }));
            prop_assert!(waiting.len() <= 6);
            prop_assert_eq!(u64::try_from(waiting.len()).unwrap(), queue.pending().unwrap());
            let held = |entry: &LogEntry| {
                let firing = |e: &LogEntry| e.id == entry.id && e.state == AlertState::Firing;
                entry.state == AlertState::Resolved && waiting.iter().any(firing)
            };
            let expected: BTreeSet<_> =
                waiting.iter().filter(|e| !held(e)).map(|e| (e.id.clone(), e.state)).collect();
            let due = queue.due(T0.plus(DAY), 99, &BTreeSet::new()).unwrap().letters;
            let due: BTreeSet<_> = due.into_iter().map(|l| (l.id, l.state)).collect();
            prop_assert_eq!(due, expected);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![Just(delivered()), Just(failed()), Just(waiting(S))];
    prop_oneof![
        (0..6_u8).prop_map(Step::Firing),
        (0..6_u8).prop_map(Step::Resolved),
        (0..4_u8, verdict).prop_map(|(nth, verdict)| Step::Try(nth, verdict)),
        (1..3_u8).prop_map(Step::GiveUp),
    ]
}

fn queue(limits: QueueLimits) -> (TempDir, Queue) {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(&dir.path().join("queue.redb"), limits, T0).unwrap();
    (dir, queue)
}

fn accept(queue: &Queue, notices: &[Notice], cursor: OutboxKey) {
    let accepted = queue.accept(notices, Some(cursor), T0).unwrap();
    assert!(matches!(accepted, Acceptance::Accepted { .. }), "{accepted:?}");
}

/// Records an outcome of the letter that is in the log under this id, firing first.
fn settle(queue: &Queue, id: &str, verdict: Verdict) {
    let due = queue.due(T0.plus(DAY), 99, &BTreeSet::new()).unwrap();
    let letter = due.letters.iter().find(|letter| letter.id == id).unwrap();
    queue.settle(&[Settlement { key: letter.key, verdict }], T0).unwrap();
}

fn give_up(queue: &Queue, until: IngestTime, most: usize, airborne: &BTreeSet<u64>) -> Vec<String> {
    let reason = Reason::new(ReasonCode::QueueFull, "");
    queue.give_up(&GiveUp { until, most, airborne, reason }, T0).unwrap()
}

fn due_ids(queue: &Queue, now: IngestTime) -> Vec<String> {
    let due = queue.due(now, 99, &BTreeSet::new()).unwrap();
    due.letters.iter().map(Letter::idempotency_key).collect()
}

fn bodies(queue: &Queue) -> Vec<String> {
    let due = queue.due(T0, 99, &BTreeSet::new()).unwrap();
    due.letters.iter().map(|letter| String::from_utf8(letter.body.to_vec()).unwrap()).collect()
}

fn log_ids(queue: &Queue) -> Vec<String> {
    queue.log(99).unwrap().into_iter().map(|entry| entry.id).collect()
}

fn delivered() -> Verdict {
    Verdict::Delivered { receipt: "200".into() }
}

fn failed() -> Verdict {
    Verdict::Failed { reason: reason("404") }
}

fn waiting(wait: Duration) -> Verdict {
    Verdict::Waiting { reason: reason("503"), next_try_at: T0.plus(wait) }
}

fn reason(detail: &str) -> Reason {
    Reason::new(ReasonCode::Status, detail)
}
