//! What is counted, of whom, on which day, and what of it stays.

use holdpoint_model::event::{ModelCall, Problem};
use holdpoint_model::{
    Actor, CallId, Command, ExecutionId, HoldKind, Role, UnixMs, UserId, budget::day_of, command::Gone,
};
use holdpoint_store::{CountedRuns, CountedWaits, Deleting, Figures, FiguresFilter, Store};

use crate::picture::{assert_rebuild_is_live, figures};
use crate::random::tokens;
use crate::support::*;

const HOUR_MS: UnixMs = 3_600_000;

fn user(name: &str) -> Option<UserId> {
    person(name).user
}

async fn paid(store: &Store, id: ExecutionId, cost_micros: u64, replayed: bool) {
    let call = ModelCall {
        call: CallId(fresh()),
        model: "claude-opus".into(),
        status: 200,
        tokens: tokens(if replayed { 0 } else { 10 }),
        cost_micros,
        replayed,
        incomplete: false,
        estimated: false,
    };
    store.apply(id, Command::ModelCall(call)).await.expect("call");
}

async fn started_by(store: &Store, owner: &str, agent: &str, rehearsal: bool) -> ExecutionId {
    let id = ExecutionId(fresh());
    let mut created = created("counted", owner);
    (created.agent, created.rehearsal) = (agent.into(), rehearsal);
    store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    id
}

async fn asking(store: &Store, owner: &str) -> ExecutionId {
    let id = started_by(store, owner, "claude", false).await;
    start_worker(store, id).await;
    tell_next(store, id, vec![ready(), asks("a")]).await;
    id
}

fn problem(code: &str) -> Problem {
    Problem { code: code.into(), title: "it broke".into(), detail: String::new(), hint: String::new() }
}

/// Two days of two people and two agents.
async fn two_days(bench: &Bench) -> ExecutionId {
    let store = &bench.store;
    let first = started_by(store, "ada", "claude", false).await;
    paid(store, first, 500, false).await;
    paid(store, first, 0, true).await;
    let second = started_by(store, "grace", "writer", false).await;
    paid(store, second, 900, false).await;
    store.apply(second, Command::Cancel { by: person("grace") }).await.expect("cancel");
    started_by(store, "grace", "writer", true).await;
    bench.clock.advance(24 * HOUR_MS);
    paid(store, first, 70, false).await;
    store.apply(first, Command::Fail { error: problem("disk_full") }).await.expect("fail");
    first
}

async fn of(store: &Store, owner: Option<UserId>, days: [i64; 2], rehearsals: bool) -> Figures {
    let today = day_of(START);
    let filter = FiguresFilter { owner, from_day: today + days[0], to_day: today + days[1], rehearsals };
    store.figures(&filter).await.expect("figures")
}

#[tokio::test]
async fn runs_count_for_their_day_agent_and_owner() {
    let mut bench = Bench::new().await;
    two_days(&bench).await;
    let store = &bench.store;
    let today = day_of(START);
    let all = of(store, None, [0, 1], false).await;
    let days: Vec<_> = all
        .days
        .iter()
        .map(|(day, runs)| (day - today, runs.started, runs.failed, runs.cancelled, runs.cost_micros))
        .collect();
    assert_eq!(days, [(0, 2, 0, 1, 1_400), (1, 0, 1, 0, 70)]);
    let agents: Vec<_> = all
        .agents
        .iter()
        .map(|(of, runs)| (of.name.as_str(), runs.calls, runs.input_tokens, runs.cost_micros))
        .collect();
    assert_eq!(agents, [("writer", 1, 10, 900), ("claude", 2, 20, 570)], "the most expensive first");
    assert_eq!(all.people.len(), 2);
    assert_eq!(
        (all.errors[0].what.as_str(), all.errors[0].reason.as_str(), all.errors[0].times),
        ("conversation", "disk_full", 1)
    );

    let of_ada = of(store, user("ada"), [0, 1], false).await;
    assert_eq!(of_ada.agents.len(), 1);
    assert_eq!(of_ada.agents[0].1.cost_micros, 570);
    assert_eq!(of(store, user("lin"), [0, 1], true).await, Figures::default());

    let second_day = of(store, None, [1, 5], false).await;
    assert_eq!(second_day.days.len(), 1);
    let with_rehearsals = of(store, None, [0, 0], true).await;
    assert_eq!(with_rehearsals.days[0].1.started, 3);
    assert_rebuild_is_live(&mut bench).await;
}

fn waits_of<'a>(waits: &'a [CountedWaits], name: &str) -> &'a CountedWaits {
    waits.iter().find(|wait| wait.subject.name == name).expect(name)
}

#[tokio::test]
async fn waits_are_those_of_whoever_answered() {
    let mut bench = Bench::new().await;
    let grace = bench.store.create_user("grace", Role::Approver, None).await.expect("user");
    let answer = |by: Actor, hold| Command::Decide { hold, request: allow(), by };
    for (by, ms) in [("ada", 1_000), ("ada", 3_000), ("grace", 60_000)] {
        let id = asking(&bench.store, "lin").await;
        let hold = only_hold(&bench.store, id).await;
        bench.clock.advance(ms);
        let by = if by == "grace" { Actor { user: Some(grace.id), ..person(by) } } else { person(by) };
        bench.store.apply(id, answer(by, hold)).await.expect("answer");
    }
    let all = figures(&bench.store, None).await;
    let kinds = waits_of(&all.waits_by_kind, HoldKind::Tool.as_str());
    assert_eq!((kinds.answers, kinds.mean_ms), (3, 64_000 / 3));
    let of_grace = waits_of(&all.waits_by_person, "grace");
    assert_eq!((of_grace.subject.user, of_grace.answers, of_grace.mean_ms), (Some(grace.id), 1, 60_000));
    assert!((45_000..90_000).contains(&of_grace.p50_ms), "to within half an octave: {}", of_grace.p50_ms);
    let other = all.waits_by_person.iter().find(|wait| wait.subject.name != "grace").expect("ada");
    assert_eq!((other.answers, other.mean_ms), (2, 2_000));
    assert_eq!(
        figures(&bench.store, user("lin")).await.waits_by_kind,
        all.waits_by_kind,
        "of the owner's own"
    );
    assert_eq!(figures(&bench.store, user("ada")).await.waits_by_kind, [], "answering owns nothing");
    assert_rebuild_is_live(&mut bench).await;
}

/// The figures of what was deleted by rule stay, also when all the others are made again.
#[tokio::test]
async fn figures_outlive_what_they_count() {
    let mut bench = Bench::new().await;
    let first = two_days(&bench).await;
    let id = asking(&bench.store, "ada").await;
    bench.clock.advance(HOUR_MS);
    decide(&bench.store, id, only_hold(&bench.store, id).await, "lin").await;
    bench.store.apply(id, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let gone = Command::WorkerGone { incarnation: 1, how: Gone::Lost { reason: "killed".into() } };
    bench.store.apply(id, gone).await.expect("gone");
    let before = [figures(&bench.store, None).await, figures(&bench.store, user("ada")).await];
    for id in [first, id] {
        let deleting = Deleting { by: Actor::system("retention"), why: "a test".into(), files_bytes: 0 };
        bench.store.delete_execution(id, deleting).await.expect("deleted");
        let after = [figures(&bench.store, None).await, figures(&bench.store, user("ada")).await];
        assert_eq!(after, before);
    }
    assert_rebuild_is_live(&mut bench).await;
    assert_eq!(figures(&bench.store, None).await, before[0]);
    let started: u64 = before[0].days.iter().map(|(_, runs): &(i64, CountedRuns)| runs.started).sum();
    assert_eq!(started, 4);
}
