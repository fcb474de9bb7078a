//! A decision is committed before anything acts on it, and the first valid one wins (invariant 3).

use std::sync::Arc;

use holdpoint_model::hold::{Decision, Scope};
use holdpoint_model::wire::Fact;
use holdpoint_model::{
    Actor, Answer, Command, DecisionRequest, EventBody, ExecutionId, HoldId, HoldState, Refusal,
    command::Gone,
};
use holdpoint_store::{Applied, ApplyError, HoldPhase, Store};
use rstest::rstest;
use tokio::sync::Barrier;

use crate::support::*;

const RACES: usize = 200;

/// Executions with `holds` open holds each.
async fn with_holds(store: &Store, executions: usize, holds: usize) -> Vec<(ExecutionId, HoldId)> {
    let mut all = Vec::new();
    for n in 0..executions {
        let id = start_warm(store, &format!("execution {n}")).await;
        tell_next(store, id, (0..holds).map(|n| asks(&format!("call-{n}"))).collect()).await;
        all.extend(known(store, id).await.holds.keys().map(|hold| (id, *hold)));
    }
    assert_eq!(all.len(), executions * holds);
    all
}

/// The decisions that the log has about a hold.
async fn decisions(store: &Store, id: ExecutionId, of: HoldId) -> Vec<Decision> {
    let answered = |body| match body {
        EventBody::HoldAnswered { hold, decision } if hold == of => Some(decision),
        _ => None,
    };
    log(store, id).await.into_iter().filter_map(|event| answered(event.body)).collect()
}

/// Of all answers to a hold one is the decision, and every other one names it.
async fn assert_one_won(
    store: &Store,
    id: ExecutionId,
    hold: HoldId,
    outcomes: Vec<Result<Applied, ApplyError>>,
) {
    let logged = decisions(store, id, hold).await;
    let [decision] = logged.as_slice() else { panic!("{hold} was decided {} times", logged.len()) };
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let [won] = won.as_slice() else { panic!("{} answers to {hold} won", won.len()) };
    let events = &won.as_ref().expect("won").events;
    let mine = |event: &EventBody| *event == EventBody::HoldAnswered { hold, decision: decision.clone() };
    assert!(events.iter().any(|event| mine(&event.body)), "the winner's is not the logged one: {events:?}");
    for lost in lost {
        assert_eq!(refusal(lost), already(decision));
    }
    let row = store.hold(hold).await.expect("read").expect("a row");
    assert_eq!(row.decision.as_ref(), Some(decision), "the row has another decision");
}

fn already(decision: &Decision) -> Refusal {
    Refusal::AlreadyAnswered {
        by: Box::new(decision.by.clone()),
        at: decision.at,
        answer: Box::new(decision.answer.clone()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_answers_exactly_one_wins() {
    let bench = Bench::new().await;
    for (race, (id, hold)) in with_holds(&bench.store, 10, RACES / 10).await.into_iter().enumerate() {
        bench.clock.advance(1);
        let barrier = Arc::new(Barrier::new(2));
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..2 {
            let (store, barrier) = (bench.store.clone(), Arc::clone(&barrier));
            clients.spawn(async move {
                barrier.wait().await;
                answer(&store, id, hold, n).await
            });
        }
        assert_one_won(&bench.store, id, hold, clients.join_all().await).await;
        let at = decisions(&bench.store, id, hold).await[0].at;
        assert_eq!(at, bench.clock.now(), "race {race}: the decision has the store's time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_crowd_on_many_holds_one_wins_each() {
    let bench = Bench::new().await;
    let holds = with_holds(&bench.store, 4, 5).await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..12 {
        for &(id, hold) in &holds {
            let store = bench.store.clone();
            clients.spawn(async move { (hold, answer(&store, id, hold, n).await) });
        }
    }
    let mut outcomes = clients.join_all().await;
    for (id, hold) in holds {
        let (of_this, rest) = outcomes.into_iter().partition(|(whose, _)| *whose == hold);
        outcomes = rest;
        let of_this = Vec::into_iter(of_this).map(|(_, outcome)| outcome).collect();
        assert_one_won(&bench.store, id, hold, of_this).await;
    }
}

/// How far a decided hold has come when the late answer arrives.
#[rstest]
#[case::answered("answered")]
#[case::releasing("releasing")]
#[case::written("written")]
#[case::released("released")]
#[case::another_turn("another turn")]
#[case::ended("ended")]
#[tokio::test]
async fn a_late_answer_hears_who_was_first_and_when(
    #[case] far: &str,
    #[values(false, true)] reopened: bool,
) {
    let mut bench = Bench::new().await;
    let store = bench.store.clone();
    let id = start_warm(&store, "late").await;
    tell_next(&store, id, vec![asks("a")]).await;
    let hold = hold_of(&store, id, "a").await;
    bench.clock.advance(1_000);
    decide(&store, id, hold, "grace").await;
    let steps = ["answered", "releasing", "written", "released", "another turn", "ended"];
    let reached = steps.iter().position(|step| *step == far).expect("a step");
    for step in &steps[1..=reached] {
        bench.clock.advance(1_000);
        match *step {
            "releasing" => {
                store
                    .apply(id, Command::BeginRelease { hold, incarnation: 1 })
                    .await
                    .map(drop)
                    .expect("release");
            }
            "written" => tell_next(&store, id, vec![Fact::AnswerWritten { hold }]).await,
            "released" => tell_next(&store, id, vec![result_of("a")]).await,
            "another turn" => tell_next(&store, id, vec![Fact::TurnEnded(turn_ended())]).await,
            _ => store.apply(id, Command::Finish { by: person("ada") }).await.map(drop).expect("finish"),
        }
    }
    if reopened {
        bench.reopen().await;
    }
    let late = refusal(answer(&bench.store, id, hold, 1).await);
    let [decision] = &decisions(&bench.store, id, hold).await[..] else { panic!("not one decision") };
    assert_eq!((late, decision.at), (already(decision), START + 1_000));
    assert_eq!(already(decision).to_string(), format!("grace answered this at {}", START + 1_000));
}

/// What is settled without having been answered says what became of it.
#[tokio::test]
async fn a_late_answer_hears_what_became_of_an_unanswered_hold() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let id = start_warm(store, "unanswered").await;
    tell_next(store, id, vec![asks("withdrawn"), asks("changed"), asks("expired")]).await;
    let withdrawn = hold_of(store, id, "withdrawn").await;
    let changed = hold_of(store, id, "changed").await;
    let expired = hold_of(store, id, "expired").await;
    let other_input = Fact::Asked {
        tool_use_id: "changed".into(),
        tool: "Bash".into(),
        input: serde_json::json!({"command": "something else"}),
        place: None,
        description: None,
        agent_id: None,
    };
    tell_next(store, id, vec![Fact::AskWithdrawn { tool_use_id: "withdrawn".into() }, other_input]).await;
    bench.clock.set(known(store, id).await.holds[&expired].expires_at.expect("expires"));
    store.apply(id, Command::Expire { hold: expired }).await.expect("expire");
    // A result without an answer: the expiry is settled too.
    tell_next(store, id, vec![result_of("expired")]).await;
    assert!(!known(store, id).await.holds.contains_key(&expired));
    let stranger = start_warm(store, "another").await;
    tell_next(store, stranger, vec![asks("a")]).await;
    let strange = hold_of(store, stranger, "a").await;
    for (hold, expected) in [
        (withdrawn, Refusal::NotOpen("cancelled")),
        (changed, Refusal::NotOpen("superseded")),
        (expired, Refusal::Expired),
        (strange, Refusal::UnknownHold),
        (HoldId(fresh()), Refusal::UnknownHold),
    ] {
        assert_eq!(refusal(answer(store, id, hold, 0).await), expected);
    }
}

/// What was decided stays readable where the hold then came to nothing.
#[tokio::test]
async fn a_cancelled_hold_keeps_its_decision() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "cancelled").await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    let hold = hold_of(&bench.store, id, "a").await;
    decide(&bench.store, id, hold, "grace").await;
    bench.clock.advance(1);
    bench.store.apply(id, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let row = bench.store.hold(hold).await.expect("read").expect("a row");
    assert_eq!((row.hold.state.as_str(), row.settled_at), ("cancelled", Some(START + 1)));
    assert_eq!(row.decision.as_ref(), decisions(&bench.store, id, hold).await.first());
    bench.store.rebuild_projections().await.expect("rebuild");
    bench.reopen().await;
    assert_eq!(bench.store.hold(hold).await.expect("read"), Some(row));
    assert_eq!(refusal(answer(&bench.store, id, hold, 1).await), Refusal::NotOpen("cancelled"));
}

/// "Allow this kind in this conversation": other asks that are open, and those that come later.
#[tokio::test]
async fn a_grant_covers_what_is_asked_and_what_will_be() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "grant").await;
    let stranger = start_warm(&bench.store, "another conversation").await;
    tell_next(&bench.store, id, vec![asks("first"), asks("second")]).await;
    let (first, second) =
        (hold_of(&bench.store, id, "first").await, hold_of(&bench.store, id, "second").await);
    let request = DecisionRequest { scope: Some(Scope::Conversation), ..allow() };
    bench
        .store
        .apply(id, Command::Decide { hold: first, request, by: person("grace") })
        .await
        .expect("decide");
    bench.reopen().await;
    tell_next(&bench.store, id, vec![asks("third")]).await;
    let third = hold_of(&bench.store, id, "third").await;
    let grants = known(&bench.store, id).await.grants.clone();
    let [grant] = grants.as_slice() else { panic!("{grants:?}") };
    assert_eq!((grant.hold, &grant.by), (first, &person("grace")));
    for (hold, by) in
        [(first, person("grace")), (second, Actor::system("grant")), (third, Actor::system("grant"))]
    {
        let row = bench.store.hold(hold).await.expect("read").expect("a row");
        assert_eq!(row.hold.state.as_str(), HoldPhase::Answered.as_str());
        let decision = row.decision.expect("decided");
        assert_eq!((&decision.by, decision.grant), (&by, Some(grant.id)));
        assert_eq!(decision.answer, Answer::Allow { input: None });
    }
    tell_next(&bench.store, stranger, vec![asks("fourth")]).await;
    let fourth = hold_of(&bench.store, stranger, "fourth").await;
    assert_eq!(known(&bench.store, stranger).await.holds[&fourth].state, HoldState::Open);
}

/// Intent without a result: the old decision is never used again, and a new hold says so.
#[tokio::test]
async fn a_release_cut_short_asks_again() {
    let mut bench = Bench::new().await;
    let id = start_warm(&bench.store, "cut short").await;
    tell_next(&bench.store, id, vec![asks("a")]).await;
    let hold = hold_of(&bench.store, id, "a").await;
    decide(&bench.store, id, hold, "grace").await;
    bench.store.apply(id, Command::BeginRelease { hold, incarnation: 1 }).await.expect("release");
    let again = bench.store.apply(id, Command::BeginRelease { hold, incarnation: 1 }).await;
    assert!(matches!(refusal(again), Refusal::Stale(_)), "one intent for one decision");
    tell_next(&bench.store, id, vec![Fact::AnswerWritten { hold }]).await;
    let how = Gone::Lost { reason: "killed".into() };
    bench.store.apply(id, Command::WorkerGone { incarnation: 1, how }).await.expect("gone");
    bench.reopen().await;
    let old = bench.store.hold(hold).await.expect("read").expect("a row");
    let asked_again = only_hold(&bench.store, id).await;
    let HoldState::Indeterminate { replaced_by, .. } = old.hold.state else { panic!("{old:?}") };
    assert_eq!((replaced_by, old.settled_at.is_some(), old.decision.is_some()), (asked_again, true, true));
    let new = bench.store.hold(asked_again).await.expect("read").expect("a row");
    assert!(new.hold.subject.caution.is_some() && new.decision.is_none(), "{new:?}");
    assert_eq!(new.hold.subject.digest, old.hold.subject.digest);
    assert_eq!(refusal(answer(&bench.store, id, hold, 0).await), Refusal::NotOpen("indeterminate"));
    answer(&bench.store, id, asked_again, 0).await.expect("the new one is open");
}
