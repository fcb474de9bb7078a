//! What an inbox is filtered by: whose a hold is, which agent's, of which kind, until when; and what somebody has
//! put off.

use holdpoint_model::{Command, ExecutionId, HoldId, HoldKind, Role, Share, UnixMs, UserId};
use holdpoint_store::{HoldFilter, Snoozes, Store};

use crate::picture::assert_rebuild_is_live;
use crate::support::*;

async fn asked(store: &Store, title: &str, calls: &[&str]) -> (ExecutionId, Vec<HoldId>) {
    let id = start_warm(store, title).await;
    let mut holds = Vec::new();
    for call in calls {
        tell_next(store, id, vec![asks(call)]).await;
        holds.push(hold_of(store, id, call).await);
    }
    (id, holds)
}

async fn ids(store: &Store, filter: HoldFilter) -> Vec<HoldId> {
    let rows = store.holds(&filter, u32::MAX).await.expect("holds");
    rows.iter().map(|row| row.hold.id).collect()
}

fn user_of(name: &str) -> UserId {
    person(name).user.expect("a person")
}

#[tokio::test]
async fn a_hold_is_found_by_whose_it_is() {
    let mut bench = Bench::new().await;
    let (id, holds) = asked(&bench.store, "asking", &["a", "b", "c"]).await;
    let assign = |hold, to: Option<&str>| Command::Assign { hold, to: to.map(assignee), by: person("lin") };
    for (hold, to) in [(0, Some("ada")), (1, Some("grace")), (1, None), (2, Some("ada"))] {
        bench.store.apply(id, assign(holds[hold], to)).await.expect("assign");
    }
    let whose = |assigned| HoldFilter { assigned: Some(assigned), ..HoldFilter::open() };
    for reopened in [false, true] {
        if reopened {
            assert_rebuild_is_live(&mut bench).await;
        }
        let store = &bench.store;
        assert_eq!(ids(store, whose(Some(user_of("ada")))).await, [holds[0], holds[2]]);
        assert_eq!(ids(store, whose(Some(user_of("grace")))).await, []);
        assert_eq!(ids(store, whose(None)).await, [holds[1]]);
        // Of what one may see, and of that alone.
        let owner = created("", "ada").owner.user.expect("owner");
        let mine = |user| HoldFilter { only_for: Some((user, Share::Answer)), ..whose(Some(user_of("ada"))) };
        assert_eq!(
            ids(store, mine(owner)).await,
            ids(store, HoldFilter { owner: Some(owner), ..whose(Some(user_of("ada"))) }).await
        );
        assert_eq!(ids(store, mine(user_of("stranger"))).await, []);
    }
    let row = bench.store.hold(holds[0]).await.expect("read").expect("hold");
    assert_eq!(row.hold.assigned, Some(assignee("ada")));
    decide(&bench.store, id, holds[0], "grace").await;
    assert_eq!(
        ids(&bench.store, whose(Some(user_of("ada")))).await,
        [holds[2]],
        "what is decided is not open"
    );
}

#[tokio::test]
async fn an_inbox_is_filtered_in_every_way_at_once() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let (_, tools) = asked(store, "asking", &["a", "b"]).await;
    let resting = start_warm(store, "resting").await;
    tell_next(store, resting, rests()).await;
    let reply = known(store, resting).await.reply_hold().expect("reply").id;
    let open = HoldFilter::open;
    assert_eq!(ids(store, HoldFilter { kind: Some(HoldKind::Tool), ..open() }).await, tools);
    assert_eq!(ids(store, HoldFilter { kind: Some(HoldKind::Reply), ..open() }).await, [reply]);
    assert_eq!(ids(store, HoldFilter { kind: Some(HoldKind::Plan), ..open() }).await, []);
    assert_eq!(ids(store, HoldFilter { agent: Some("claude".into()), ..open() }).await.len(), 3);
    assert_eq!(ids(store, HoldFilter { agent: Some("other".into()), ..open() }).await, []);
    let row = store.hold(tools[0]).await.expect("read").expect("hold");
    let due = row.hold.expires_at.expect("a deadline");
    let before = |at| HoldFilter { due_before: Some(at), kind: Some(HoldKind::Tool), ..open() };
    assert_eq!(ids(store, before(due)).await, []);
    assert_eq!(ids(store, before(due + 1)).await.first(), Some(&tools[0]));
}

#[tokio::test]
async fn what_is_snoozed_is_hidden_from_one_person_until_its_time() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let ada = store.create_user("ada", Role::Admin, None).await.expect("user").id;
    let lin = store.create_user("lin", Role::Admin, None).await.expect("user").id;
    let (id, holds) = asked(store, "asking", &["a", "b"]).await;
    let at = bench.clock.now();
    let seen = |user, now: UnixMs, only| HoldFilter {
        snoozes: Some(Snoozes { user, now, only }),
        ..HoldFilter::open()
    };
    store.snooze(ada, holds[0], Some(at + 100)).await.expect("snooze");
    assert_eq!(ids(store, seen(ada, at, false)).await, [holds[1]]);
    assert_eq!(ids(store, seen(ada, at, true)).await, [holds[0]]);
    assert_eq!(ids(store, seen(lin, at, false)).await, holds);
    assert_eq!(store.snoozed_holds(ada, at).await.expect("count"), 1);
    assert_eq!(store.snoozed_holds(lin, at).await.expect("count"), 0);
    assert_eq!(store.snoozed_until(ada, holds[0], at).await.expect("read"), Some(at + 100));
    // Its time is over without anybody's doing anything.
    assert_eq!(ids(store, seen(ada, at + 100, false)).await, holds);
    assert_eq!(store.snoozed_holds(ada, at + 100).await.expect("count"), 0);
    assert_eq!(store.snoozed_until(ada, holds[0], at + 100).await.expect("read"), None);
    // Once more, for longer, and then not any more.
    store.snooze(ada, holds[0], Some(at + 500)).await.expect("snooze");
    assert_eq!(store.snoozed_until(ada, holds[0], at + 400).await.expect("read"), Some(at + 500));
    store.snooze(ada, holds[0], None).await.expect("wake");
    assert_eq!(ids(store, seen(ada, at, false)).await, holds);
    // What is answered by somebody else is counted neither as open nor as put off.
    store.snooze(ada, holds[0], Some(at + 500)).await.expect("snooze");
    decide(store, id, holds[0], "lin").await;
    assert_eq!(store.snoozed_holds(ada, at).await.expect("count"), 0);
    store.rebuild_projections().await.expect("rebuild");
    assert_eq!(
        store.snoozed_until(ada, holds[0], at).await.expect("read"),
        Some(at + 500),
        "it is no projection"
    );
}
