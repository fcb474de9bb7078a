//! Who may do what, as far as it is stored: users who change, shares, sign-ins, and the log of all that.

use holdpoint_model::{Actor, Channel, ExecutionId, Role, Scopes, Share, TokenScope, UserId};
use holdpoint_store::{
    By, Credential, Deed, Entry, HoldFilter, ListFilter, NewSession, NewToken, Store, StoreError, User,
    UserChange,
};

use crate::support::*;

fn by() -> By {
    By { actor: person("root"), address: Some("192.0.2.7".into()) }
}

async fn user(store: &Store, name: &str, role: Role, password: bool) -> User {
    store.create_user(name, role, password.then(|| "$argon2id$x".to_owned())).await.expect("user")
}

fn session(user: UserId, secret: u8) -> NewSession {
    NewSession { user, hash: [secret; 32], expires_at: START + 1_000, browser: "Lynx".into() }
}

fn token(user: UserId, secret: u8, scopes: Scopes) -> NewToken {
    NewToken { user, name: format!("t{secret}"), hash: [secret; 32], scopes, expires_at: None }
}

async fn deeds(store: &Store) -> Vec<Deed> {
    let mut deeds: Vec<Deed> =
        store.audited(None, None, 100).await.expect("audit").iter().map(|line| line.kind).collect();
    deeds.reverse();
    deeds
}

fn active(active: bool) -> UserChange {
    UserChange { active: Some(active), ..UserChange::default() }
}

fn role(role: Role) -> UserChange {
    UserChange { role: Some(role), ..UserChange::default() }
}

#[tokio::test]
async fn users_change_and_the_log_says_who_did_it() {
    let mut bench = Bench::new().await;
    let ada = user(&bench.store, "ada", Role::Asker, true).await;
    user(&bench.store, "Grace", Role::Asker, true).await;
    let rename = |name: &str| UserChange { name: Some(name.into()), ..UserChange::default() };
    let taken = bench.store.change_user(ada.id, rename("gRACE"), by()).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
    let own = bench.store.change_user(ada.id, rename("Ada"), by()).await.expect("one's own in another case");
    assert_eq!(own.name, "Ada");
    let approver = bench.store.change_user(ada.id, role(Role::Approver), by()).await.expect("role");
    bench.store.change_user(ada.id, UserChange::default(), by()).await.expect("nothing");
    bench.reopen().await;
    assert_eq!(bench.store.user(ada.id).await.expect("read"), Some(approver));
    let nobody = bench.store.change_user(UserId(fresh()), active(false), by()).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
    assert_eq!(
        deeds(&bench.store).await,
        [Deed::UserCreated, Deed::UserCreated, Deed::UserRenamed, Deed::RoleChanged],
        "what failed or changed nothing is not told"
    );
    let line = &bench.store.audited(Some(Deed::RoleChanged), None, 9).await.expect("audit")[0];
    assert_eq!((line.detail.as_str(), line.by.name.as_str()), ("asker → approver", "root"));
    assert_eq!((line.subject, line.subject_name.as_deref()), (Some(ada.id), Some("Ada")));
    assert_eq!(line.address.as_deref(), Some("192.0.2.7"));
}

#[tokio::test]
async fn whoever_is_deactivated_is_out_at_once_and_comes_back_without_what_they_had() {
    let bench = Bench::new().await;
    let (ada, lin) = (
        user(&bench.store, "ada", Role::Asker, true).await,
        user(&bench.store, "lin", Role::Asker, true).await,
    );
    for (whose, secret) in [(&ada, 1), (&lin, 2)] {
        bench.store.create_session(session(whose.id, secret), by()).await.expect("session");
        let token = token(whose.id, 10 + secret, Scopes::all());
        bench.store.create_token(token, by()).await.expect("token");
    }
    let mut changes = bench.store.access_changes();
    changes.mark_unchanged();
    let found = async |secret: u8| {
        let session = bench.store.principal_by_session([secret; 32], START).await.expect("read");
        let token = bench.store.principal_by_token([10 + secret; 32]).await.expect("read");
        (session.map(|found| found.user.name), token.map(|found| found.user.name))
    };
    let credential =
        bench.store.principal_by_session([1; 32], START).await.expect("read").expect("in").credential;
    let gone = bench.store.change_user(ada.id, active(false), by()).await.expect("deactivate");
    assert!(!gone.is_active() && changes.has_changed().expect("open"));
    assert_eq!(found(1).await, (None, None));
    assert_eq!(bench.store.principal_by_credential(credential, START).await.expect("read"), None);
    assert_eq!(found(2).await, (Some("lin".into()), Some("lin".into())), "others stay");
    for refused in [
        bench.store.create_session(session(ada.id, 3), by()).await.err(),
        bench.store.create_token(token(ada.id, 4, Scopes::all()), by()).await.err(),
    ] {
        assert!(matches!(refused, Some(StoreError::Missing { what: "user" })), "{refused:?}");
    }
    bench.store.change_user(ada.id, active(true), by()).await.expect("activate");
    assert_eq!(found(1).await, (None, None), "what was ended stays so");
    bench.store.create_session(session(ada.id, 1), by()).await.expect("session");
    assert_eq!(found(1).await.0.as_deref(), Some("ada"));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let first = user(store, "first", Role::Admin, true).await;
    // A token alone is no way to the panel.
    let robot = user(store, "robot", Role::Admin, false).await;
    for change in [active(false), role(Role::Operator)] {
        let refused = store.change_user(first.id, change, by()).await;
        assert!(matches!(refused, Err(StoreError::LastAdmin)), "{refused:?}");
    }
    store.change_user(robot.id, role(Role::Operator), by()).await.expect("not the last");
    store.change_user(robot.id, role(Role::Admin), by()).await.expect("back");
    let second = user(store, "second", Role::Admin, true).await;
    store.change_user(first.id, active(false), by()).await.expect("another is there");
    let refused = store.change_user(second.id, role(Role::Viewer), by()).await;
    assert!(matches!(refused, Err(StoreError::LastAdmin)), "{refused:?}");
    store
        .change_user(second.id, UserChange { name: Some("boss".into()), ..active(true) }, by())
        .await
        .expect("harmless");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_administrators_cannot_take_each_other_away() {
    let bench = Bench::new().await;
    for round in 0..10 {
        let a = user(&bench.store, &format!("a{round}"), Role::Admin, true).await;
        let b = user(&bench.store, &format!("b{round}"), Role::Admin, true).await;
        for old in bench.store.users().await.expect("users") {
            if ![a.id, b.id].contains(&old.id) {
                bench.store.change_user(old.id, active(false), by()).await.expect("deactivate");
            }
        }
        let (one, other) = tokio::join!(
            bench.store.change_user(a.id, active(false), by()),
            bench.store.change_user(b.id, role(Role::Asker), by()),
        );
        assert!(one.is_ok() != other.is_ok(), "round {round}: {one:?} {other:?}");
    }
}

#[tokio::test]
async fn tokens_carry_their_scopes_and_say_when_they_were_used() {
    let mut bench = Bench::new().await;
    let ada = user(&bench.store, "ada", Role::Operator, true).await;
    let scopes = Scopes::of([TokenScope::Decide]);
    let made = bench.store.create_token(token(ada.id, 1, scopes.clone()), by()).await.expect("token");
    bench.store.create_session(session(ada.id, 2), by()).await.expect("session");
    let found = bench.store.principal_by_token([1; 32]).await.expect("read").expect("good");
    assert_eq!((found.credential, found.scopes, found.used_at), (Credential::Token(made.id), scopes, None));
    let signed_in = bench.store.principal_by_session([2; 32], START).await.expect("read").expect("good");
    assert_eq!((signed_in.scopes, signed_in.used_at), (Scopes::all(), Some(START)));
    bench.store.used(found.credential, START + 7).await.expect("used");
    bench.store.used(signed_in.credential, START + 8).await.expect("used");
    bench.reopen().await;
    assert_eq!(bench.store.tokens(ada.id).await.expect("tokens")[0].used_at, Some(START + 7));
    let listed = bench.store.sessions(ada.id, START).await.expect("sessions");
    assert_eq!((listed[0].used_at, listed[0].browser.as_str()), (Some(START + 8), "Lynx"));
    assert_eq!(listed[0].address.as_deref(), Some("192.0.2.7"));
    assert_eq!(bench.store.sessions(ada.id, START + 1_000).await.expect("sessions"), []);
}

#[tokio::test]
async fn one_session_or_all_of_them_are_ended() {
    let bench = Bench::new().await;
    let ada = user(&bench.store, "ada", Role::Asker, true).await;
    let lin = user(&bench.store, "lin", Role::Asker, true).await;
    let mut ids = Vec::new();
    for secret in 1..=3 {
        ids.push(bench.store.create_session(session(ada.id, secret), by()).await.expect("session"));
    }
    assert_eq!(bench.store.end_sessions(lin.id, Some(ids[0]), by()).await.expect("end"), 0, "not theirs");
    assert_eq!(bench.store.end_sessions(ada.id, Some(ids[0]), by()).await.expect("end"), 1);
    assert_eq!(bench.store.end_sessions(ada.id, None, by()).await.expect("end"), 2);
    assert_eq!(bench.store.end_sessions(ada.id, None, by()).await.expect("end"), 0);
    let told = bench.store.audited(Some(Deed::SessionsEnded), None, 9).await.expect("audit");
    assert_eq!(told.iter().map(|line| line.detail.as_str()).collect::<Vec<_>>(), ["2", "1"]);
}

/// Everything that lists for one person is what a walk over all would find, in pages of every size.
#[tokio::test]
async fn lists_for_one_person_have_what_they_own_and_what_is_shared_with_them() {
    let bench = Bench::new().await;
    let (ada, lin) = (
        user(&bench.store, "ada", Role::Asker, true).await,
        user(&bench.store, "lin", Role::Asker, true).await,
    );
    let mut expected = Vec::new();
    let mut answers = Vec::new();
    for n in 0..18_usize {
        if n % 3 == 0 {
            bench.clock.advance(1);
        }
        let id = ExecutionId(fresh());
        let owner = if n % 3 == 0 { &ada } else { &lin };
        let owner = Actor { user: Some(owner.id), name: owner.name.clone(), channel: Channel::Api };
        let created = holdpoint_model::event::Created { owner, ..created("a title", "x") };
        bench.store.create(id, created, "do it".into(), vec![], None).await.expect("create");
        start_worker(&bench.store, id).await;
        tell(&bench.store, id, 1, 1, vec![ready(), asks("a")]).await;
        let share = [None, Some(Share::Look), Some(Share::Answer)][n % 4 % 3];
        if let Some(share) = share {
            bench.store.set_share(id, ada.id, share, by()).await.expect("share");
        }
        assert_eq!(bench.store.share(id, ada.id).await.expect("read"), share);
        if n % 3 == 0 || share.is_some() {
            expected.insert(0, id);
        }
        if n % 3 == 0 || share == Some(Share::Answer) {
            answers.push(id);
        }
    }
    assert!(expected.len() > answers.len() && answers.len() > 6);
    let filter = ListFilter { only_for: Some(ada.id), ..ListFilter::default() };
    for limit in [1, 4, 100] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = bench.store.list(&filter, cursor, limit).await.expect("page");
            let Some(last) = page.last() else { break };
            cursor = Some(last.cursor());
            seen.extend(page.iter().map(|row| row.id));
        }
        let order = |ids: &mut Vec<ExecutionId>| ids.sort();
        let (mut seen, mut wanted) = (seen, expected.clone());
        order(&mut seen);
        order(&mut wanted);
        assert_eq!(seen, wanted, "in pages of {limit}");
        for (share, wanted) in [(Share::Look, &expected), (Share::Answer, &answers)] {
            let filter = HoldFilter { only_for: Some((ada.id, share)), ..HoldFilter::open() };
            let mut after = None;
            let mut seen = Vec::new();
            loop {
                let page = bench.store.holds_after(&filter, after, limit).await.expect("page");
                let Some(last) = page.last() else { break };
                after = Some(filter.place_of(last));
                seen.extend(page.iter().map(|row| row.execution));
            }
            let mut wanted = wanted.clone();
            order(&mut seen);
            order(&mut wanted);
            assert_eq!(seen, wanted, "{share:?} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn a_share_is_changed_and_taken_back() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "shared").await;
    let lin = user(&bench.store, "lin", Role::Asker, true).await;
    for share in [Share::Answer, Share::Look] {
        bench.store.set_share(id, lin.id, share, by()).await.expect("share");
        let all = bench.store.shares(id).await.expect("shares");
        assert_eq!((all.len(), all[0].share, all[0].name.as_str()), (1, share, "lin"));
    }
    assert!(bench.store.unshare(id, lin.id, by()).await.expect("unshare"));
    assert!(!bench.store.unshare(id, lin.id, by()).await.expect("unshare"));
    assert_eq!(bench.store.share(id, lin.id).await.expect("read"), None);
    let stray = bench.store.set_share(ExecutionId(fresh()), lin.id, Share::Look, by()).await;
    assert!(matches!(stray, Err(StoreError::Missing { what: "execution" })), "{stray:?}");
    bench.store.change_user(lin.id, active(false), by()).await.expect("deactivate");
    let gone = bench.store.set_share(id, lin.id, Share::Look, by()).await;
    assert!(matches!(gone, Err(StoreError::Missing { what: "user" })), "{gone:?}");
}

#[tokio::test]
async fn the_audit_log_is_paged_and_never_changed() {
    let bench = Bench::new().await;
    for n in 0..5 {
        let entry = Entry::new(if n % 2 == 0 { Deed::Exec } else { Deed::Deleted }, n.to_string());
        bench.store.audit(by(), entry).await.expect("audit");
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = bench.store.audited(None, before, 2).await.expect("page");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|line| line.detail));
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
    let some = bench.store.audited(Some(Deed::Deleted), None, 9).await.expect("page");
    assert_eq!(some.iter().map(|line| line.detail.as_str()).collect::<Vec<_>>(), ["3", "1"]);
    bench.store.close().await;
    use sqlx::{Connection as _, Executor as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bench.path());
    let mut conn = sqlx::SqliteConnection::connect_with(&options).await.expect("connect");
    for statement in ["UPDATE audit SET detail = 'x'", "DELETE FROM audit"] {
        let error = conn.execute(statement).await.expect_err("refused").to_string();
        assert!(error.contains("only appended to"), "{error}");
    }
}

#[test]
fn every_deed_has_a_name_of_its_own() {
    for deed in Deed::ALL {
        assert_eq!(deed.as_str().parse(), Ok(deed));
        assert_eq!(serde_json::to_string(&deed).expect("json"), format!("\"{}\"", deed.as_str()));
    }
    assert!("flew".parse::<Deed>().expect_err("unknown").contains("signed_in"));
}
