//! Lists: filters, order, pages, and what the reconciler looks at.

use std::collections::BTreeSet;

use holdpoint_model::wire::Fact;
use holdpoint_model::{
    AgentDef, Command, ExecutionId, HoldId, HumanDuration, Limits, Status, UserId, command::Gone,
};
use holdpoint_store::{Cursor, ExecutionRow, HoldFilter, HoldPhase, ListFilter, Store};

use crate::picture::{FAR, PHASES};
use crate::support::*;

fn user(name: &str) -> UserId {
    person(name).user.expect("a user")
}

/// Two dozen of every owner, agent, title and status, several of them created in the same millisecond.
async fn population(bench: &Bench) -> Vec<ExecutionRow> {
    let titles = ["Alpha report", "100% done", "under_score", "back\\slash"];
    for n in 0..24_usize {
        if n % 3 == 0 {
            bench.clock.advance(1);
        }
        let id = ExecutionId(fresh());
        let mut created = created(titles[n % 4], ["ada", "grace", "lin"][n % 3]);
        created.agent = ["claude", "writer"][n / 2 % 2].into();
        bench.store.create(id, created, "do it".into(), vec![], None).await.expect("create");
        if n % 5 > 0 {
            start_worker(&bench.store, id).await;
            tell(&bench.store, id, 1, 1, vec![ready(), asks("a")]).await;
        }
        match n % 5 {
            2 => {
                bench.store.apply(id, Command::Cancel { by: person("ada") }).await.map(drop).expect("cancel")
            }
            3 => decide(&bench.store, id, hold_of(&bench.store, id, "a").await, "ada").await,
            _ => {}
        }
    }
    let mut all = bench.store.list(&ListFilter::default(), None, u32::MAX).await.expect("list");
    assert_eq!(all.len(), 24);
    let order = |row: &ExecutionRow| (row.created_at, row.id);
    assert!(all.windows(2).all(|pair| order(&pair[0]) > order(&pair[1])), "newest first, ids break ties");
    all.sort_by_key(|row| std::cmp::Reverse(order(row)));
    all
}

fn passes(row: &ExecutionRow, filter: &ListFilter) -> bool {
    let text = filter.text.as_deref().unwrap_or_default().to_ascii_lowercase();
    (filter.owner.is_none() || row.owner.user == filter.owner)
        && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        && filter.agent.as_ref().is_none_or(|agent| *agent == row.agent)
        && words(&text)
            .all(|word| words(&row.title.to_ascii_lowercase()).any(|there| there.starts_with(word)))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

async fn in_pages(store: &Store, filter: &ListFilter, limit: u32) -> Vec<ExecutionRow> {
    let mut rows: Vec<ExecutionRow> = Vec::new();
    loop {
        // Through text, as a client sends it back.
        let cursor: Option<Cursor> =
            rows.last().map(|row| row.cursor().to_string().parse().expect("a cursor"));
        let page = store.list(filter, cursor, limit).await.expect("page");
        assert!(page.len() <= limit as usize, "{filter:?}: a page of {} for {limit}", page.len());
        if page.is_empty() {
            return rows;
        }
        for row in page {
            assert!(!rows.iter().any(|seen| seen.id == row.id), "{filter:?}: {} is seen twice", row.id);
            rows.push(row);
        }
    }
}

/// Every combination of filters, in pages of every size, is what a walk over all would find.
#[tokio::test]
async fn filters_and_pages_agree_with_a_walk_over_all() {
    let bench = Bench::new().await;
    let all = population(&bench).await;
    let statuses: [&[Status]; 4] = [
        &[],
        &[Status::Awaiting],
        &[Status::Awaiting, Status::Cancelled, Status::Awaiting],
        &[Status::Finished, Status::Error],
    ];
    let texts = ["", "ALPHA", "%", "_", "\\", " done ", "repo alph", "sla back", "nowhere"];
    let mut found = 0;
    for owner in [None, Some(user("ada")), Some(user("nobody"))] {
        for agent in [None, Some("writer"), Some("WRITER")] {
            for statuses in statuses {
                for text in texts {
                    let filter = ListFilter {
                        owner,
                        only_for: None,
                        statuses: statuses.to_vec(),
                        agent: agent.map(str::to_owned),
                        text: (!text.is_empty()).then(|| text.to_owned()),
                    };
                    let expected: Vec<_> = all.iter().filter(|row| passes(row, &filter)).cloned().collect();
                    found += expected.len();
                    for limit in [1, 4, 100] {
                        assert_eq!(in_pages(&bench.store, &filter, limit).await, expected, "{filter:?}");
                    }
                }
            }
        }
    }
    assert!(found > 100, "the filters have to find something: {found}");
}

/// New executions come in front while somebody turns the pages: what was there is seen once.
#[tokio::test]
async fn pages_have_no_gap_and_no_double_while_new_ones_come() {
    let bench = Bench::new().await;
    let all = population(&bench).await;
    for filter in [
        ListFilter::default(),
        ListFilter { owner: Some(user("ada")), ..ListFilter::default() },
        ListFilter { statuses: vec![Status::Awaiting, Status::Running], ..ListFilter::default() },
    ] {
        let expected: Vec<_> = all.iter().filter(|row| passes(row, &filter)).map(|row| row.id).collect();
        let known: BTreeSet<_> = all.iter().map(|row| row.id).collect();
        let mut seen: Vec<ExecutionRow> = Vec::new();
        loop {
            let cursor = seen.last().map(ExecutionRow::cursor);
            let page = bench.store.list(&filter, cursor, 3).await.expect("page");
            if page.is_empty() {
                break;
            }
            seen.extend(page);
            assert!(seen.len() < 200, "{filter:?}: the pages have no end");
            // In the same millisecond as the newest, and later.
            start(&bench.store, "new").await;
            bench.clock.advance(1);
            let id = start_warm(&bench.store, "newer").await;
            tell_next(&bench.store, id, vec![asks("a")]).await;
        }
        let seen: Vec<_> = seen.iter().map(|row| row.id).filter(|id| known.contains(id)).collect();
        assert_eq!(seen, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_cursor_that_is_none_is_refused() {
    let good = Cursor { created_at: START, id: ExecutionId(fresh()) };
    assert_eq!(good.to_string().parse(), Ok(good));
    for text in ["", ".", "1700000000000", "x.y", &good.id.to_string(), &format!("{good}x")] {
        let error = text.parse::<Cursor>().expect_err(text);
        assert!(error.contains("take it from the previous page"), "{error}");
    }
}

/// An execution with one open hold that waits for so many seconds.
async fn waiting(store: &Store, owner: &str, seconds: u64) -> (ExecutionId, HoldId) {
    let id = ExecutionId(fresh());
    let limits = Limits { hold: Some(HumanDuration(seconds * 1000)), ..Limits::default() };
    let mut created = created(&format!("waits {seconds}s"), owner);
    created.definition = AgentDef { limits, ..AgentDef::builtin() };
    store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    start_worker(store, id).await;
    tell(store, id, 1, 1, vec![ready(), asks("a")]).await;
    (id, hold_of(store, id, "a").await)
}

#[tokio::test]
async fn holds_come_by_deadline_where_open_and_newest_first_else() {
    let bench = Bench::new().await;
    let mut waits = Vec::new();
    for (n, seconds) in [50, 10, 40, 20, 30].into_iter().enumerate() {
        bench.clock.advance(1);
        waits.push(waiting(&bench.store, ["ada", "grace"][n % 2], seconds).await);
    }
    let holds = async |filter: HoldFilter, limit| -> Vec<HoldId> {
        let rows = bench.store.holds(&filter, limit).await.expect("holds");
        rows.iter().map(|row| row.hold.id).collect()
    };
    let pick = |order: &[usize]| -> Vec<HoldId> { order.iter().map(|n| waits[*n].1).collect() };
    assert_eq!(holds(HoldFilter::open(), 10).await, pick(&[1, 3, 4, 2, 0]), "nearest deadline first");
    assert_eq!(holds(HoldFilter::open(), 2).await, pick(&[1, 3]));
    for filter in [HoldFilter::open(), HoldFilter::default()] {
        let mut seen = Vec::new();
        let mut place = None;
        loop {
            let page = bench.store.holds_after(&filter, place, 2).await.expect("page");
            let Some(last) = page.last() else { break };
            place = Some(filter.place_of(last));
            seen.extend(page.iter().map(|row| row.hold.id));
            assert!(seen.len() <= 5, "in pages: {filter:?}: {seen:?}");
        }
        assert_eq!(seen, holds(filter.clone(), 10).await, "in pages: {filter:?}");
    }
    assert_eq!(holds(HoldFilter::default(), 10).await, pick(&[4, 3, 2, 1, 0]), "newest first");
    let of_ada = HoldFilter { owner: Some(user("ada")), ..HoldFilter::open() };
    assert_eq!(holds(of_ada.clone(), 10).await, pick(&[4, 2, 0]));
    let of_one = HoldFilter { execution: Some(waits[2].0), ..HoldFilter::open() };
    assert_eq!(holds(of_one, 10).await, pick(&[2]));

    decide(&bench.store, waits[4].0, waits[4].1, "lin").await;
    decide(&bench.store, waits[0].0, waits[0].1, "lin").await;
    bench.store.apply(waits[3].0, Command::Cancel { by: person("ada") }).await.expect("cancel");
    assert_eq!(holds(HoldFilter::open(), 10).await, pick(&[1, 2]));
    assert_eq!(holds(of_ada, 10).await, pick(&[2]));
    let answered = HoldFilter { phase: Some(HoldPhase::Answered), ..HoldFilter::default() };
    assert_eq!(holds(answered, 10).await, pick(&[4, 0]));
    let all_of_ada = HoldFilter { owner: Some(user("ada")), ..HoldFilter::default() };
    assert_eq!(holds(all_of_ada, 10).await, pick(&[4, 2, 0]));
    let mut by_phase = 0;
    for phase in PHASES {
        by_phase += holds(HoldFilter { phase: Some(phase), ..HoldFilter::default() }, 10).await.len();
    }
    assert_eq!(by_phase, 5, "each hold is in one state");
    let row = bench.store.hold(waits[3].1).await.expect("read").expect("settled ones too");
    assert_eq!(
        (row.title.as_str(), &row.owner, row.agent.as_str()),
        ("waits 20s", &person("grace"), "claude")
    );
    assert_eq!(row.settled_at, Some(bench.clock.now()));
    assert_eq!(bench.store.counts().await.expect("counts").open_holds, 2);
}

#[tokio::test]
async fn holds_are_due_from_their_deadline_on() {
    let bench = Bench::new().await;
    let late = waiting(&bench.store, "ada", 20).await;
    let early = waiting(&bench.store, "ada", 10).await;
    let answered = waiting(&bench.store, "ada", 5).await;
    decide(&bench.store, answered.0, answered.1, "lin").await;
    let due = async |at, limit| bench.store.due_holds(at, limit).await.expect("due holds");
    assert_eq!(due(START + 9_999, 10).await, []);
    assert_eq!(due(START + 10_000, 10).await, [early]);
    assert_eq!(due(START + 20_000, 10).await, [early, late], "the longest overdue first");
    assert_eq!(due(FAR, 1).await, [early]);
    bench.clock.set(START + 10_000);
    bench.store.apply(early.0, Command::Expire { hold: early.1 }).await.expect("expire");
    assert_eq!(due(FAR, 10).await, [late], "an expired one is not due again");
}

/// What the reconciler sees of an execution on its way.
#[tokio::test]
async fn attention_is_on_what_has_a_worker_or_needs_something() {
    let mut bench = Bench::new().await;
    let quiet = start(&bench.store, "cancelled").await;
    bench.store.apply(quiet, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let id = start(&bench.store, "attention").await;
    let by = person("ada");
    let mut hold = None;
    for (step, expected) in [
        ("a first message waits", true),
        ("a worker starts", true),
        ("it is up", true),
        ("a person is asked", true),
        ("it is parked", false),
        ("the answer waits for a worker", true),
        ("a worker starts again", true),
        ("it is cancelled, its worker is still there", true),
        ("the worker is gone", false),
    ] {
        let apply = async |command| bench.store.apply(id, command).await.map(drop).expect(step);
        match step {
            "a first message waits" => {}
            "a worker starts" | "a worker starts again" => drop(start_worker(&bench.store, id).await),
            "it is up" => {
                let message = known(&bench.store, id).await.messages[0].message.id;
                tell(&bench.store, id, 1, 1, vec![ready(), Fact::MessageDelivered { message }]).await;
            }
            "a person is asked" => {
                tell_next(&bench.store, id, vec![asks("a")]).await;
                hold = Some(hold_of(&bench.store, id, "a").await);
            }
            "it is parked" => apply(Command::WorkerGone { incarnation: 1, how: Gone::Parked }).await,
            "the answer waits for a worker" => {
                let hold = hold.expect("asked");
                apply(Command::Decide { hold, request: allow(), by: by.clone() }).await;
            }
            "the worker is gone" => apply(Command::WorkerGone { incarnation: 2, how: Gone::Stopped }).await,
            _ => apply(Command::Cancel { by: by.clone() }).await,
        }
        bench.reopen().await;
        let attention = bench.store.needing_attention().await.expect("attention");
        assert_eq!(attention, if expected { vec![id] } else { vec![] }, "{step}");
    }
}

/// What changed after a time, the longest unchanged first; nobody is told of what is not theirs.
#[tokio::test]
async fn changes_since_a_time() {
    let bench = Bench::new().await;
    let mut all = population(&bench).await;
    all.sort_by_key(|row| (row.updated_at, row.id));
    let (first, last) = (all[0].updated_at, all[all.len() - 1].updated_at);
    for owner in [None, Some(user("ada")), Some(user("nobody"))] {
        for since in first - 1..=last {
            for limit in [1, 5, u32::MAX] {
                let expected: Vec<&ExecutionRow> = all
                    .iter()
                    .filter(|row| row.updated_at > since && (owner.is_none() || row.owner.user == owner))
                    .take(limit as usize)
                    .collect();
                let changed = bench.store.changed_since(owner, since, limit).await.expect("changes");
                assert_eq!(changed.iter().collect::<Vec<_>>(), expected, "{owner:?} since {since}");
            }
        }
    }
}

/// Many by one look are what each is by itself, whether they are at hand, only on the disk, or not there at all.
#[tokio::test]
async fn many_executions_are_read_at_once() {
    let mut bench = Bench::new().await;
    let ids: Vec<ExecutionId> = population(&bench).await.iter().map(|row| row.id).collect();
    bench.reopen().await;
    bench.store.execution(ids[3]).await.expect("read").expect("an execution");
    start_worker(&bench.store, ids[3]).await;
    let asked: Vec<ExecutionId> = ids.iter().copied().chain([ExecutionId(fresh())]).collect();
    let found = bench.store.executions(&asked).await.expect("read");
    assert_eq!(found.len(), ids.len());
    for id in &ids {
        assert_eq!(found[id], known(&bench.store, *id).await);
    }
    let places: Vec<_> = ids.iter().map(|id| (*id, 2)).chain([(asked[24], 1), (ids[0], 999)]).collect();
    let mut events = bench.store.events_at(&places).await.expect("read");
    events.sort_by_key(|event| event.execution);
    let mut expected = Vec::new();
    for id in &ids {
        expected.extend(bench.store.event(*id, 2).await.expect("read"));
    }
    expected.sort_by_key(|event| event.execution);
    assert_eq!(events, expected);
}

/// Of a log all but some kinds, in pages.
#[tokio::test]
async fn kinds_are_left_out() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "x").await;
    tell_next(&bench.store, id, vec![says("a"), says("b"), asks("c")]).await;
    let all = log(&bench.store, id).await;
    let last = all.last().expect("events").seq;
    let wanted: Vec<_> =
        all.iter().filter(|event| event.body.kind() != "assistant" && event.seq < last).cloned().collect();
    let mut found = Vec::new();
    loop {
        let after = found.last().map_or(0, |event: &holdpoint_model::Event| event.seq);
        let page = bench.store.events_but(id, &["assistant"], after, last - 1, 2).await.expect("read");
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, wanted);
}
