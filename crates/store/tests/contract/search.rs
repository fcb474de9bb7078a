//! What is found by which words, and by whom.

use holdpoint_model::event::{Problem, SendMode, TurnResult};
use holdpoint_model::wire::Fact;
use holdpoint_model::{Actor, AgentDef, Command, ExecutionId, Role, Share, Status, UserId, command::Gone};
use holdpoint_store::{Deleting, ListFilter, Store};
use proptest::prelude::*;
use rstest::rstest;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::picture::assert_rebuild_is_live;
use crate::support::*;

async fn found(store: &Store, filter: &ListFilter) -> Vec<String> {
    let rows = store.list(filter, None, 100).await.expect("search");
    rows.into_iter().map(|row| row.title).collect()
}

async fn asked(store: &Store, text: &str) -> Vec<String> {
    found(store, &ListFilter { text: Some(text.into()), ..ListFilter::default() }).await
}

/// Three that differ in everything that can be looked for: one finished, one failed, one that waits.
async fn three(bench: &Bench) -> [ExecutionId; 3] {
    let mut ids = Vec::new();
    for (n, (title, owner, agent, tags, input)) in [
        (
            "Lease of a warehouse",
            "ada",
            "contract-reviewer",
            vec!["legal", "Ünïcode"],
            "party: Globex\nclause 7.2",
        ),
        ("Broken pump", "grace", "helpdesk", vec!["machines"], "it rattles; see ticket AB-1234"),
        ("契約書の確認", "ada", "contract-reviewer", vec![], "two_words under score"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.clock.advance(1);
        let id = ExecutionId(fresh());
        let mut created = created(title, owner);
        created.agent = agent.into();
        created.definition = AgentDef {
            title: "The agent".into(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            ..AgentDef::builtin()
        };
        created.inputs.insert("what".into(), input.into());
        bench.store.create(id, created, format!("Please look: {input}"), vec![], None).await.expect("create");
        start_worker(&bench.store, id).await;
        let message = known(&bench.store, id).await.messages[0].message.id;
        tell_next(&bench.store, id, vec![ready()]).await;
        bench.store.apply(id, Command::BeginMessage { message, incarnation: 1 }).await.expect("intent");
        let text = ["The rent is capped.", "I could not reach it.", "Which language?"][n];
        let turn = TurnResult { text: text.into(), ..turn_ended() };
        let delivered = Fact::MessageDelivered { message };
        tell_next(&bench.store, id, vec![delivered, Fact::TurnEnded(turn), Fact::Idle]).await;
        ids.push(id);
    }
    let by = person("ada");
    bench.store.apply(ids[0], Command::Finish { by }).await.expect("finish");
    let (title, detail) = ("the session could not start".into(), "no room on the disk".into());
    let error = Problem { code: "disk_full".into(), title, detail, hint: String::new() };
    bench.store.apply(ids[1], Command::Fail { error }).await.expect("fail");
    [ids[0], ids[1], ids[2]]
}

const LEASE: &str = "Lease of a warehouse";
const PUMP: &str = "Broken pump";
const KEIYAKU: &str = "契約書の確認";

#[rstest]
#[case("lease", &[LEASE])]
#[case("LEAS ware", &[LEASE])]
#[case("ease", &[])]
#[case("lease pump", &[])]
#[case("please", &[KEIYAKU, PUMP, LEASE])]
#[case("\"please look\"", &[KEIYAKU, PUMP, LEASE])]
#[case("\"look please\"", &[])]
#[case("\"warehouse of\"", &[])]
#[case("author:ada", &[KEIYAKU, LEASE])]
#[case("author:ad lease", &[LEASE])]
#[case("author:lease", &[])]
#[case("agent:contract", &[KEIYAKU, LEASE])]
#[case("agent:contract-reviewer", &[KEIYAKU, LEASE])]
#[case("tag:legal", &[LEASE])]
#[case("tag:unicode", &[LEASE])]
#[case("tags:mach", &[PUMP])]
#[case("input:globex", &[LEASE])]
#[case("input:7.2", &[LEASE])]
#[case("AB-1234", &[PUMP])]
#[case("ab-12", &[PUMP])]
#[case("two_wo", &[KEIYAKU])]
#[case("result:capped", &[LEASE])]
#[case("result:language", &[KEIYAKU])]
#[case("result:\"no room\"", &[PUMP])]
#[case("disk_full", &[PUMP])]
#[case("input:capped", &[])]
#[case("契約", &[KEIYAKU])]
#[case("status:finished", &[LEASE])]
#[case("status:err please", &[PUMP])]
#[case("status:awaiting,error", &[KEIYAKU, PUMP])]
#[case("status:awaiting please", &[KEIYAKU])]
#[case("status:running please", &[])]
#[case("status:nonsense", &[])]
#[case("a", &[LEASE])]
#[case("open", &[])]
#[case("finished", &[])]
#[case("-- ( ) *", &[KEIYAKU, PUMP, LEASE])]
#[tokio::test]
async fn questions(#[case] text: &str, #[case] expected: &[&str]) {
    let bench = Bench::new().await;
    three(&bench).await;
    assert_eq!(asked(&bench.store, text).await, expected, "{text}");
}

/// What is written later is found, and what came last takes the place of what came before.
#[tokio::test]
async fn later_words_are_found_too() {
    let mut bench = Bench::new().await;
    let [_, _, id] = three(&bench).await;
    let message = Command::Message {
        text: "Deutsch, bitte".into(),
        files: vec![],
        mode: SendMode::Queue,
        by: person("grace"),
    };
    bench.store.apply(id, message).await.expect("message");
    assert_eq!(asked(&bench.store, "input:deutsch two").await, [KEIYAKU]);
    let pending = known(&bench.store, id).await.messages[0].message.id;
    bench.store.apply(id, Command::BeginMessage { message: pending, incarnation: 1 }).await.expect("intent");
    let turn = TurnResult { text: "Erledigt".into(), ..turn_ended() };
    let facts = vec![Fact::MessageDelivered { message: pending }, Fact::TurnEnded(turn), Fact::Idle];
    tell_next(&bench.store, id, facts).await;
    assert_eq!(asked(&bench.store, "result:erledigt").await, [KEIYAKU]);
    assert_eq!(asked(&bench.store, "result:language").await, [] as [&str; 0]);
    assert_rebuild_is_live(&mut bench).await;
    assert_eq!(asked(&bench.store, "erled deut").await, [KEIYAKU]);
}

/// Filters beside a question narrow it, also to what is shared.
#[tokio::test]
async fn a_question_honours_filters_and_shares() {
    let bench = Bench::new().await;
    let [lease, pump, _] = three(&bench).await;
    let filter = |text: &str| ListFilter { text: Some(text.into()), ..ListFilter::default() };
    let grace = person("grace").user;
    let of_grace = ListFilter { owner: grace, ..filter("please") };
    assert_eq!(found(&bench.store, &of_grace).await, [PUMP]);
    let of_agent = ListFilter { agent: Some("contract-reviewer".into()), ..filter("please") };
    assert_eq!(found(&bench.store, &of_agent).await, [KEIYAKU, LEASE]);
    let not_of_agent = ListFilter { agent: Some("contract".into()), ..filter("please") };
    assert_eq!(found(&bench.store, &not_of_agent).await, [] as [&str; 0]);
    let both = ListFilter { statuses: vec![Status::Error, Status::Finished], ..filter("please status:fin") };
    assert_eq!(found(&bench.store, &both).await, [LEASE]);

    let lin = bench.store.create_user("lin", Role::Asker, None).await.expect("user").id;
    let of_lin = ListFilter { only_for: Some(lin), ..filter("please") };
    assert_eq!(found(&bench.store, &of_lin).await, [] as [&str; 0]);
    for id in [lease, pump] {
        bench.store.set_share(id, lin, Share::Look, person("ada").into()).await.expect("share");
    }
    assert_eq!(found(&bench.store, &of_lin).await, [PUMP, LEASE]);
    let ended = ListFilter { statuses: vec![Status::Error], ..of_lin };
    assert_eq!(found(&bench.store, &ended).await, [PUMP]);
    let of_ada = ListFilter { only_for: person("ada").user, ..filter("please") };
    assert_eq!(found(&bench.store, &of_ada).await, [KEIYAKU, LEASE]);
}

/// Somebody with whom much is shared: the other way of looking finds the same.
#[tokio::test]
async fn many_shares_are_searched_in_pages() {
    let bench = Bench::new().await;
    let lin = bench.store.create_user("lin", Role::Asker, None).await.expect("user").id;
    let mut expected = Vec::new();
    for n in 0..230 {
        if n % 7 == 0 {
            bench.clock.advance(1);
        }
        let id = start(&bench.store, if n % 2 == 0 { "an even one" } else { "an odd one" }).await;
        bench.store.set_share(id, lin, Share::Look, person("ada").into()).await.expect("share");
        if n % 2 == 0 {
            expected.insert(0, id);
        }
    }
    let filter = ListFilter { text: Some("even".into()), only_for: Some(lin), ..ListFilter::default() };
    for limit in [3, 50, 1_000] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = bench.store.list(&filter, cursor, limit).await.expect("page");
            let Some(last) = page.last() else { break };
            cursor = Some(last.cursor());
            seen.extend(page.iter().map(|row| row.id));
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
}

/// What is deleted is not found at once, and after a purge its words are in no page of the index, however many
/// segments had them.
#[tokio::test]
async fn what_is_deleted_is_gone_from_the_index() {
    let mut bench = Bench::new().await;
    let [lease, ..] = three(&bench).await;
    let gone = Command::WorkerGone { incarnation: 1, how: Gone::Stopped };
    bench.store.apply(lease, gone).await.expect("gone");
    assert!(index_has(&bench, b"globex").await && index_has(&bench, b"rattles").await);
    let deleting = Deleting { by: Actor::system("retention"), why: "a test".into(), files_bytes: 0 };
    bench.store.delete_execution(lease, deleting).await.expect("deleted");
    assert_eq!(asked(&bench.store, "please").await, [KEIYAKU, PUMP]);
    bench.store.purge_search().await.expect("purged");
    assert!(!index_has(&bench, b"globex").await, "the index still has its words");
    assert!(!index_has(&bench, b"capped").await, "the index still has what it came to");
    assert!(index_has(&bench, b"rattles").await);
    assert_eq!(asked(&bench.store, "please").await, [KEIYAKU, PUMP]);
    assert_eq!(bench.store.setting("search_to_purge").await.expect("setting"), None);
    assert_rebuild_is_live(&mut bench).await;
}

/// Many at once, whose documents change in the same commits in any order, with one request among them that fails:
/// the index is told what the documents say, and a purge while others write leaves it so.
#[tokio::test]
async fn the_index_is_what_the_documents_say() {
    let bench = Bench::new().await;
    let ids = at_once((0..60).map(|n| start(&bench.store, if n % 2 == 0 { "even" } else { "odd" }))).await;
    bench.clock.advance(1);
    let message = |text: &str| Command::Message {
        text: text.into(),
        files: vec![],
        mode: SendMode::Queue,
        by: person("grace"),
    };
    let store = &bench.store;
    let writing = at_once(ids.iter().rev().enumerate().map(|(n, id)| async move {
        // The last of these is refused: there is no such hold.
        match n % 3 {
            0 => drop(store.apply(*id, message("a word")).await.expect("message")),
            1 => drop(store.apply(*id, Command::Cancel { by: person("ada") }).await.expect("cancel")),
            _ => {
                let hold = holdpoint_model::HoldId(fresh());
                let refused = Command::Decide { hold, request: allow(), by: person("ada") };
                store.apply(*id, refused).await.expect_err("no such hold");
            }
        }
    }));
    writing.await;
    index_is_sound(&bench).await;
    assert_eq!(asked(store, "status:can even").await.len(), 10);
    let deleted: Vec<ExecutionId> = ids.iter().rev().skip(1).step_by(3).copied().take(7).collect();
    for id in deleted {
        let deleting = Deleting { by: Actor::system("retention"), why: "a test".into(), files_bytes: 0 };
        store.delete_execution(id, deleting).await.expect("deleted");
    }
    let writing = at_once(ids.iter().step_by(3).map(|id| async move {
        drop(store.apply(*id, message("another")).await);
    }));
    let (purged, _) = tokio::join!(store.purge_search(), writing);
    purged.expect("purged");
    store.purge_search().await.expect("nothing to purge");
    index_is_sound(&bench).await;
    assert_eq!(asked(store, "do").await.len(), 53);
}

async fn index_is_sound(bench: &Bench) {
    let options = SqliteConnectOptions::new().filename(bench.path());
    let mut conn = SqliteConnection::connect_with(&options).await.expect("connect");
    // With 1 it is held against the documents, too.
    sqlx::query("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
        .execute(&mut conn)
        .await
        .expect("the index is sound");
}

async fn index_has(bench: &Bench, word: &[u8]) -> bool {
    let options = SqliteConnectOptions::new().filename(bench.path()).read_only(true);
    let mut conn = SqliteConnection::connect_with(&options).await.expect("connect");
    let row = sqlx::query("SELECT count(*) FROM search_data WHERE instr(block, ?1) > 0")
        .bind(word)
        .fetch_one(&mut conn)
        .await
        .expect("pages");
    row.get::<i64, _>(0) > 0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever somebody types is a question.
    #[test]
    fn any_text_is_a_question(texts in proptest::collection::vec(question(), 40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(async {
            let bench = Bench::new().await;
            three(&bench).await;
            for text in texts {
                let nobody = UserId(uuid::Uuid::from_u128(1));
                for only_for in [None, Some(nobody)] {
                    let filter = ListFilter {
                        text: Some(text.clone()),
                        agent: only_for.map(|_| text.clone()),
                        only_for,
                        ..ListFilter::default()
                    };
                    let found = bench.store.list(&filter, None, 10).await;
                    assert!(found.is_ok(), "{text:?}: {found:?}");
                }
            }
        });
    }
}

/// Anything at all, and what means something in the index's own language.
fn question() -> impl Strategy<Value = String> {
    const PARTS: [&str; 28] = [
        "\"", "'", "*", "^", "(", ")", "{", "}", ":", "+", "-", "AND", "OR", "NOT", "NEAR(", "author:",
        "status:", "facets:", "search", "rank", ",", "\0", " ", "Ⓐ", "\u{301}", "契", "é", "x",
    ];
    let parts = proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..12)
        .prop_map(|parts| parts.concat());
    prop_oneof![any::<String>(), parts, ".*"]
}
