//! Everybody is told once about each hold and reminder, and about nothing that is settled.

use std::collections::BTreeSet;

use holdpoint_model::{
    AgentDef, Command, EventBody, ExecutionId, HumanDuration, Limits, Occasion, Policy, Rule,
};
use holdpoint_store::{AfterFailure, CreateOutcome, Delivery, LONGEST_WAIT_MS, Store};

use crate::support::*;

const LEASE_MS: u64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn channels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What a pass of the loop finds to send over the webhook.
async fn due(store: &Store) -> Vec<Delivery> {
    due_over(store, "webhook", true).await
}

async fn due_over(store: &Store, channel: &str, with_reminders: bool) -> Vec<Delivery> {
    store.spread_notices(&channels(&["webhook", "ntfy"]), with_reminders, 100).await.expect("spread");
    store.claim_deliveries(channel, LEASE_MS, 100).await.expect("claim")
}

async fn started_with(store: &Store, definition: AgentDef) -> ExecutionId {
    let id = ExecutionId(fresh());
    let mut created = created("notes", "ada");
    created.definition = definition;
    let outcome = store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    assert!(matches!(outcome, CreateOutcome::New(_)));
    start_worker(store, id).await;
    tell(store, id, 1, 1, vec![ready()]).await;
    id
}

/// An agent whose holds wait for so long, with these reminders before their end.
fn reminding(hold_ms: i64, remind_ms: &[i64]) -> AgentDef {
    let human = |ms: i64| HumanDuration(u64::try_from(ms).expect("a length"));
    let limits = Limits {
        hold: Some(human(hold_ms)),
        remind: Some(remind_ms.iter().map(|ms| human(*ms)).collect()),
        ..Limits::default()
    };
    AgentDef { limits, ..AgentDef::builtin() }
}

async fn asking(store: &Store) -> ExecutionId {
    let id = start_warm(store, "asking").await;
    tell_next(store, id, vec![asks("a")]).await;
    id
}

fn reminder(lead_ms: i64) -> Occasion {
    Occasion::Reminder { lead_ms: u64::try_from(lead_ms).expect("a lead") }
}

#[tokio::test]
async fn an_opened_hold_is_told_once_over_each_channel() {
    let bench = Bench::new().await;
    let id = asking(&bench.store).await;
    let hold = hold_of(&bench.store, id, "a").await;
    let mut notices = BTreeSet::new();
    for channel in ["webhook", "ntfy"] {
        let claimed = due_over(&bench.store, channel, true).await;
        let [delivery] = claimed.as_slice() else { panic!("{claimed:?}") };
        assert_eq!((delivery.execution, delivery.hold.id), (id, hold));
        assert_eq!((delivery.occasion, delivery.claim.attempt), (Occasion::Opened, 1));
        assert_eq!((delivery.title.as_str(), delivery.agent.as_str()), ("asking", "claude"));
        notices.insert(delivery.claim.notice);
        assert!(bench.store.delivered(delivery.claim.clone()).await.expect("delivered"));
        bench.clock.advance(HOUR_MS);
        assert_eq!(due_over(&bench.store, channel, true).await, []);
    }
    assert_eq!(notices.len(), 1, "a receiver of both knows that it is the same");
}

#[tokio::test]
async fn what_no_person_has_to_answer_is_told_to_nobody() {
    let bench = Bench::new().await;
    let policy = Policy { allow: vec![Rule::new("Bash", None)], ..Policy::default() };
    let id = started_with(&bench.store, AgentDef { policy, ..AgentDef::builtin() }).await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    assert_eq!(log(&bench.store, id).await.iter().filter(|e| e.body.kind() == "hold_answered").count(), 1);
    assert_eq!(due(&bench.store).await, []);
}

#[tokio::test]
async fn a_hold_that_was_not_committed_is_told_to_nobody() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "undone").await;
    let mut facts = numbered(3, vec![asks("a"), says("after a gap")]);
    facts[1].seq += 1;
    drop(refusal(bench.store.append_facts(id, 1, facts).await));
    assert_eq!(due(&bench.store).await, []);
}

/// Many claim at the same moment: each delivery is one's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_claimers_one_sends() {
    let bench = Bench::new().await;
    for _ in 0..12 {
        asking(&bench.store).await;
    }
    let claimers: Vec<_> = (0..8)
        .map(|_| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..20 {
                    store.spread_notices(&channels(&["webhook"]), true, 5).await.expect("spread");
                    mine.extend(store.claim_deliveries("webhook", LEASE_MS, 2).await.expect("claim"));
                }
                mine
            })
        })
        .collect();
    let mut holds = BTreeSet::new();
    let mut claims = 0;
    for claimer in claimers {
        for delivery in claimer.await.expect("claimer") {
            claims += 1;
            holds.insert(delivery.hold.id);
            assert!(bench.store.delivered(delivery.claim).await.expect("delivered"));
        }
    }
    assert_eq!((claims, holds.len()), (12, 12));
}

/// The control plane may have died after the receiver had it: only the id tells that it is the same.
#[tokio::test]
async fn what_was_claimed_before_a_crash_is_sent_again_under_its_id() {
    let mut bench = Bench::new().await;
    asking(&bench.store).await;
    let before = due(&bench.store).await.remove(0);
    bench.reopen().await;
    assert_eq!(due(&bench.store).await, [], "leased");
    bench.store.begin_deliveries(&channels(&["webhook", "ntfy"])).await.expect("begin");
    let after = due(&bench.store).await.remove(0);
    assert_eq!(after.claim.notice, before.claim.notice);
    assert_eq!(after.claim.attempt, 2);
    assert!(!bench.store.delivered(before.claim.clone()).await.expect("void"), "that claim is void");
    let again = AfterFailure::Again { wait_ms: 0 };
    assert!(!bench.store.delivery_failed(before.claim, again).await.expect("void"));
    assert!(bench.store.delivered(after.claim).await.expect("delivered"));
    bench.clock.advance(DAY_MS);
    assert_eq!(due(&bench.store).await, []);
}

#[tokio::test]
async fn a_lease_that_ends_lets_another_try() {
    let bench = Bench::new().await;
    asking(&bench.store).await;
    let first = due(&bench.store).await.remove(0);
    bench.clock.advance(59_999);
    assert_eq!(due(&bench.store).await, []);
    bench.clock.advance(1);
    assert_eq!(due(&bench.store).await.remove(0).claim.notice, first.claim.notice);
}

#[tokio::test]
async fn a_failed_try_waits_and_a_clock_set_right_does_not_strand_it() {
    let bench = Bench::new().await;
    asking(&bench.store).await;
    let wait = |wait_ms| AfterFailure::Again { wait_ms };
    let claim = due(&bench.store).await.remove(0).claim;
    assert!(bench.store.delivery_failed(claim, wait(5_000)).await.expect("failed"));
    bench.clock.advance(4_999);
    assert_eq!(due(&bench.store).await, []);
    bench.clock.advance(1);
    let claim = due(&bench.store).await.remove(0).claim;
    assert_eq!(claim.attempt, 2);
    // Asked to wait for a month, by a clock that is a year ahead.
    bench.clock.advance(365 * DAY_MS);
    bench.clock.set(START);
    assert!(bench.store.delivery_failed(claim, wait(u64::MAX)).await.expect("failed"));
    bench.clock.set(START + i64::try_from(LONGEST_WAIT_MS).expect("fits") - 1);
    assert_eq!(due(&bench.store).await, []);
    bench.clock.advance(1);
    let claim = due(&bench.store).await.remove(0).claim;
    bench.clock.advance(DAY_MS);
    assert!(bench.store.delivery_failed(claim, wait(HOUR_MS as u64)).await.expect("failed"));
    bench.clock.set(START);
    assert_eq!(due(&bench.store).await.len(), 1, "noted by a clock that was ahead");
}

/// At each step on its way, an answer makes a notification pointless.
#[tokio::test]
async fn what_was_answered_is_not_told_any_more() {
    let bench = Bench::new().await;
    for step in 0..4 {
        let id = asking(&bench.store).await;
        let hold = hold_of(&bench.store, id, "a").await;
        if step >= 1 {
            bench.store.spread_notices(&channels(&["webhook"]), true, 100).await.expect("spread");
        }
        if step >= 2 {
            let claim =
                bench.store.claim_deliveries("webhook", LEASE_MS, 9).await.expect("claim").remove(0).claim;
            let again = AfterFailure::Again { wait_ms: 10 };
            assert!(bench.store.delivery_failed(claim, again).await.expect("failed"));
            bench.clock.advance(10);
        }
        if step < 3 {
            decide(&bench.store, id, hold, "grace").await;
        } else {
            bench.store.apply(id, Command::Cancel { by: person("ada") }).await.expect("cancel");
        }
        assert_eq!(due(&bench.store).await, [], "step {step}");
    }
}

#[tokio::test]
async fn giving_up_is_said_in_the_log_once() {
    let bench = Bench::new().await;
    let id = asking(&bench.store).await;
    let claim = due(&bench.store).await.remove(0).claim;
    let give_up = AfterFailure::GiveUp { notice: "nobody was told".into() };
    assert!(bench.store.delivery_failed(claim.clone(), give_up.clone()).await.expect("failed"));
    assert!(!bench.store.delivery_failed(claim, give_up).await.expect("void"));
    let events = log(&bench.store, id).await;
    let said = events
        .iter()
        .filter(|event| matches!(&event.body, EventBody::Notice { text, .. } if text == "nobody was told"));
    assert_eq!(said.count(), 1);
    bench.clock.advance(DAY_MS);
    assert_eq!(due(&bench.store).await, []);
    assert_eq!(due_over(&bench.store, "ntfy", true).await.len(), 1, "the other channel goes on");
}

#[tokio::test]
async fn reminders_come_once_each_before_the_end() {
    let bench = Bench::new().await;
    let definition = reminding(2 * DAY_MS, &[HOUR_MS, DAY_MS]);
    let id = started_with(&bench.store, definition).await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    let occasions = async |at: i64| {
        bench.clock.set(START + at);
        let mut occasions = Vec::new();
        for delivery in due(&bench.store).await {
            occasions.push(delivery.occasion);
            assert!(bench.store.delivered(delivery.claim).await.expect("delivered"));
        }
        occasions
    };
    assert_eq!(occasions(0).await, [Occasion::Opened]);
    assert_eq!(occasions(DAY_MS - 1).await, []);
    assert_eq!(occasions(DAY_MS).await, [reminder(DAY_MS)]);
    assert_eq!(occasions(DAY_MS + 1).await, []);
    assert_eq!(occasions(2 * DAY_MS - HOUR_MS).await, [reminder(HOUR_MS)]);
    assert_eq!(occasions(2 * DAY_MS).await, []);
}

#[tokio::test]
async fn of_reminders_that_were_slept_through_only_the_last_comes() {
    let bench = Bench::new().await;
    let id = started_with(&bench.store, reminding(2 * DAY_MS, &[DAY_MS, HOUR_MS, 60_000])).await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    bench.clock.advance(2 * DAY_MS - HOUR_MS / 2);
    let came: Vec<Occasion> = due(&bench.store).await.iter().map(|delivery| delivery.occasion).collect();
    assert_eq!(came, [Occasion::Opened, reminder(HOUR_MS)]);
    // And none at all of a hold whose time is over, whether or not that has been noted.
    bench.clock.advance(HOUR_MS);
    assert_eq!(due(&bench.store).await, []);
}

#[tokio::test]
async fn without_a_clock_to_trust_nobody_is_reminded_but_new_holds_are_told() {
    let bench = Bench::new().await;
    asking(&bench.store).await;
    due(&bench.store).await;
    // A day before the end of a week, the default.
    bench.clock.advance(6 * DAY_MS + HOUR_MS);
    let new = asking(&bench.store).await;
    let came = due_over(&bench.store, "ntfy", false).await;
    let opened: Vec<_> = came.iter().map(|delivery| delivery.occasion).collect();
    assert_eq!(opened, [Occasion::Opened, Occasion::Opened]);
    assert_eq!(came[1].execution, new);
    let reminded = due_over(&bench.store, "ntfy", true).await;
    assert_eq!(reminded.iter().map(|delivery| delivery.occasion).collect::<Vec<_>>(), [reminder(DAY_MS)]);
}

#[tokio::test]
async fn answered_before_its_reminder() {
    let bench = Bench::new().await;
    let id = started_with(&bench.store, reminding(DAY_MS, &[HOUR_MS])).await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    assert_eq!(due(&bench.store).await.len(), 1);
    decide(&bench.store, id, hold_of(&bench.store, id, "a").await, "grace").await;
    bench.clock.advance(DAY_MS - HOUR_MS);
    assert_eq!(due(&bench.store).await, []);
}

#[tokio::test]
async fn channels_come_and_go() {
    let bench = Bench::new().await;
    let none: &[String] = &[];
    asking(&bench.store).await;
    assert_eq!(bench.store.spread_notices(none, true, 100).await.expect("spread"), 1);
    assert_eq!(due(&bench.store).await, [], "a new channel is not told old news");
    asking(&bench.store).await;
    assert_eq!(due(&bench.store).await.len(), 1);
    bench.store.begin_deliveries(&channels(&["webhook"])).await.expect("begin");
    assert_eq!(due_over(&bench.store, "ntfy", true).await, [], "a channel that is gone gets nothing");
    assert_eq!(due(&bench.store).await.len(), 1);
    bench.store.begin_deliveries(none).await.expect("begin");
    assert_eq!(due(&bench.store).await, []);
}

#[tokio::test]
async fn making_the_projections_again_tells_nobody_again() {
    let mut bench = Bench::new().await;
    asking(&bench.store).await;
    let claim = due(&bench.store).await.remove(0).claim;
    assert!(bench.store.delivered(claim).await.expect("delivered"));
    asking(&bench.store).await;
    bench.store.rebuild_projections().await.expect("rebuild");
    bench.reopen().await;
    let came = due(&bench.store).await;
    assert_eq!(came.len(), 1, "what was waiting is still there");
    assert_eq!(came[0].claim.attempt, 1);
}

/// Bounded work: a pass takes no more than it was told to.
#[tokio::test]
async fn limits_are_kept() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        asking(&bench.store).await;
    }
    let webhook = channels(&["webhook"]);
    let mut spread = Vec::new();
    for _ in 0..4 {
        spread.push(bench.store.spread_notices(&webhook, true, 2).await.expect("spread"));
    }
    assert_eq!(spread, [2, 2, 1, 0]);
    let mut claimed = Vec::new();
    for _ in 0..4 {
        claimed.push(bench.store.claim_deliveries("webhook", LEASE_MS, 2).await.expect("claim").len());
    }
    assert_eq!(claimed, [2, 2, 1, 0]);
}
