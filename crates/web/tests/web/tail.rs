//! Many follow one log: each gets every event once and in order, however slow, late or unsteady they are.

use std::{ops::Range, time::Duration};

use axum::{Router, body::Body};
use futures::{StreamExt as _, future::join_all};
use holdpoint_model::{Command, ExecutionId, Role, command::Gone};
use holdpoint_store::UserChange;
use http::{Request, header};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use crate::support::{World, person, seed::Seed};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a text: the tail's buffer is full of a few hundred.
const TEXT: usize = 700;

/// How one of them follows.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Comes when so many batches are written.
    comes: usize,
    /// Has seen so many events before it comes.
    seen: u64,
    /// Rests after each piece. Milliseconds.
    rests_ms: u64,
    /// Falls asleep once, before the first piece, until the writer is done.
    sleeps: bool,
    /// Hangs up after so many pieces and comes back with the last id it has; 0: never.
    hangs_up: usize,
}

fn plans(batches: usize) -> impl Strategy<Value = Vec<Plan>> {
    let steady = (0..batches, 0..9_u64, 0..12_u64, proptest::bool::weighted(0.2), 0..5_usize).prop_map(
        |(comes, seen, rests_ms, sleeps, hangs_up)| Plan { comes, seen, rests_ms, sleeps, hangs_up },
    );
    proptest::collection::vec(steady, 1..14)
}

fn request(id: ExecutionId, token: &str, last: u64) -> Request<Body> {
    Request::get(format!("/v1/executions/{id}/events"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "text/event-stream")
        .header("last-event-id", last)
        .body(Body::empty())
        .expect("request")
}

/// The ids in a piece of a stream, which is made of whole events; whether it said that all is over.
fn read(piece: &[u8], ids: &mut Vec<u64>) -> bool {
    let text = std::str::from_utf8(piece).expect("text");
    assert!(text.ends_with("\n\n"), "a piece ends with an event: {text}");
    ids.extend(
        text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse::<u64>().expect("id")),
    );
    text.contains("event: end\n")
}

/// Follows as planned until the end; the ids that came.
async fn follow(
    router: Router,
    id: ExecutionId,
    token: String,
    plan: Plan,
    mut written: watch::Receiver<usize>,
) -> Vec<u64> {
    written.wait_for(|written| *written >= plan.comes).await.expect("a writer");
    let mut ids = Vec::new();
    let mut asleep = plan.sleeps;
    loop {
        let last = ids.last().copied().unwrap_or(plan.seen);
        let response = router.clone().oneshot(request(id, &token, last)).await.expect("infallible");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body().into_data_stream();
        if std::mem::take(&mut asleep) {
            written.wait_for(|written| *written == usize::MAX).await.expect("a writer");
        }
        let mut pieces = 0;
        while let Some(piece) = body.next().await {
            if read(&piece.expect("piece"), &mut ids) {
                return ids;
            }
            sleep(Duration::from_millis(plan.rests_ms)).await;
            pieces += 1;
            if pieces == plan.hangs_up {
                break;
            }
        }
    }
}

async fn race(plans: Vec<Plan>, batches: Vec<(usize, u64)>) {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    let id = seed.id;
    let (sender, written) = watch::channel(0);
    let followers: Vec<_> = plans
        .iter()
        .map(|plan| tokio::spawn(follow(world.router.clone(), id, token.clone(), *plan, written.clone())))
        .collect();
    for (events, rest_ms) in batches {
        seed.texts((0..events).map(|_| "x".repeat(TEXT))).await;
        sender.send_modify(|written| *written += 1);
        sleep(Duration::from_millis(rest_ms)).await;
    }
    seed.command(Command::Cancel { by: person(user, "ada") }).await;
    seed.gone(Gone::Stopped).await;
    sender.send_replace(usize::MAX);
    let last = world.store.execution(id).await.expect("read").expect("execution").seq;
    let all = timeout(PATIENCE, join_all(followers)).await.expect("in time");
    for (plan, ids) in plans.iter().zip(all) {
        assert_eq!(ids.expect("a follower"), (plan.seen + 1..=last).collect::<Vec<_>>(), "{plan:?}");
    }
}

#[test]
fn slow_fast_late_and_unsteady_followers_get_each_event_once_in_order() {
    const BATCHES: Range<usize> = 20..60;
    let batches = proptest::collection::vec((1..25_usize, 0..6_u64), BATCHES);
    let cases = Config { cases: 8, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("runtime");
    TestRunner::new(cases)
        .run(&(plans(BATCHES.start), batches), |(plans, batches)| {
            runtime.block_on(race(plans, batches));
            Ok(())
        })
        .expect("each once, in order");
}

/// What was committed together comes as one piece, to each.
#[tokio::test]
async fn whoever_wakes_gets_all_that_is_new_in_one_piece() {
    let world = World::new().await;
    let (user, token) = world.user("ada", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(user, "ada"), "Work", "Work").await;
    seed.work().await;
    let last = world.store.execution(seed.id).await.expect("read").expect("execution").seq;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let response =
            world.router.clone().oneshot(request(seed.id, &token, last)).await.expect("infallible");
        bodies.push(response.into_body().into_data_stream());
    }
    let look = join_all(bodies.iter_mut().map(|body| timeout(PATIENCE, body.next())));
    let write = async {
        sleep(Duration::from_millis(100)).await;
        seed.texts((0..50).map(|n| format!("line {n}"))).await;
    };
    let (pieces, ()) = tokio::join!(look, write);
    let pieces: Vec<_> = pieces
        .into_iter()
        .map(|piece| piece.expect("in time").expect("a piece").expect("readable"))
        .collect();
    for piece in &pieces {
        let mut ids = Vec::new();
        read(piece, &mut ids);
        assert_eq!(ids, (last + 1..=last + 50).collect::<Vec<_>>());
    }
    assert!(pieces.windows(2).all(|pair| pair[0] == pair[1]));
}

/// One log is read for all, and yet each is let in by themselves: whoever may not see it any more is shut out, and the
/// others go on.
#[tokio::test]
async fn whoever_is_shut_out_takes_nobody_with_them() {
    let world = World::new().await;
    let (ada, token) = world.user("ada", Role::Asker).await;
    let (otto, others) = world.user("otto", Role::Operator).await;
    let (_, stranger) = world.user("eve", Role::Asker).await;
    let mut seed = Seed::create(&world.store, &person(ada, "ada"), "Work", "Work").await;
    seed.work().await;
    let last = world.store.execution(seed.id).await.expect("read").expect("execution").seq;
    let open = async |token: &str| {
        world.router.clone().oneshot(request(seed.id, token, last)).await.expect("infallible")
    };
    let mut mine = open(&token).await.into_body().into_data_stream();
    let mut theirs = open(&others).await.into_body().into_data_stream();
    assert_eq!(open(&stranger).await.status(), 404);

    // Both read: a stream is not looked after before somebody reads it.
    seed.text("For both").await;
    for body in [&mut mine, &mut theirs] {
        assert!(timeout(PATIENCE, body.next()).await.expect("in time").is_some());
    }
    let end = UserChange { active: Some(false), ..UserChange::default() };
    world.store.change_user(otto, end, person(ada, "ada").into()).await.expect("deactivate");
    assert!(timeout(PATIENCE, theirs.next()).await.expect("in time").is_none(), "shut out");
    seed.text("For one").await;
    let piece = timeout(PATIENCE, mine.next()).await.expect("in time").expect("goes on").expect("readable");
    let mut ids = Vec::new();
    read(&piece, &mut ids);
    assert_eq!(ids, [last + 2]);
}
