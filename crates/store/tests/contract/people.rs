//! Users, their roles and passwords, tokens, sessions and links.

use holdpoint_model::{Role, Scopes, UserId};
use holdpoint_store::{By, LinkUse, NewSession, NewToken, SecretHash, StoreError, User};
use rstest::rstest;
use sha2::{Digest as _, Sha256};

use crate::support::*;

fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret).into()
}

fn by() -> By {
    person("root").into()
}

fn browser(user: UserId, hash: SecretHash, expires_at: i64) -> NewSession {
    NewSession { user, hash, expires_at, browser: "Lynx".into() }
}

async fn user(bench: &Bench, name: &str) -> User {
    bench.store.create_user(name, Role::Asker, None).await.expect("user")
}

#[tokio::test]
async fn users_are_found_by_id_and_by_name() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.store.count_users().await.expect("count"), 0);
    let mut made = Vec::new();
    for (n, role) in Role::ALL.into_iter().enumerate() {
        bench.clock.advance(1);
        let password = (n % 2 == 0).then(|| "$argon2id$v=19$x".to_owned());
        made.push(bench.store.create_user(&format!("User {n}"), role, password).await.expect("user"));
    }
    bench.reopen().await;
    assert_eq!(bench.store.users().await.expect("users"), made);
    assert_eq!(bench.store.count_users().await.expect("count"), 5);
    for user in &made {
        assert_eq!(bench.store.user(user.id).await.expect("read").as_ref(), Some(user));
        for name in [user.name.clone(), user.name.to_uppercase(), user.name.to_lowercase()] {
            assert_eq!(bench.store.user_by_name(&name).await.expect("read").as_ref(), Some(user), "{name}");
        }
    }
    assert_eq!(bench.store.user_by_name("nobody").await.expect("read"), None);
    assert_eq!(bench.store.user(UserId(fresh())).await.expect("read"), None);
}

#[tokio::test]
async fn a_name_is_taken_whatever_its_case() {
    let bench = Bench::new().await;
    let ada = user(&bench, "Ada").await;
    let again = bench.store.create_user("aDA", Role::Admin, None).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    assert_eq!(bench.store.users().await.expect("users"), [ada], "nobody became an admin by that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_name_one_gets_it() {
    let bench = Bench::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let store = bench.store.clone();
        let name = if n % 2 == 0 { "ada" } else { "ADA" };
        tasks.spawn(async move { store.create_user(name, Role::Admin, None).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(bench.store.count_users().await.expect("count"), 1);
}

#[tokio::test]
async fn a_new_password_ends_every_session_and_no_token() {
    let bench = Bench::new().await;
    let (ada, grace) = (user(&bench, "ada").await, user(&bench, "grace").await);
    for (whose, session) in [(&ada, "a1"), (&ada, "a2"), (&grace, "g1")] {
        bench
            .store
            .create_session(browser(whose.id, hash(session), START + 1_000), by())
            .await
            .expect("session");
    }
    let token = NewToken {
        user: ada.id,
        name: "ci".into(),
        hash: hash("token"),
        scopes: Scopes::all(),
        expires_at: None,
    };
    bench.store.create_token(token, by()).await.expect("token");
    bench.store.set_password(ada.id, Some("$argon2id$new".into()), by()).await.expect("password");
    let by_session = async |session| {
        bench.store.principal_by_session(hash(session), START).await.expect("read").map(|found| found.user)
    };
    assert_eq!((by_session("a1").await, by_session("a2").await), (None, None));
    assert_eq!(by_session("g1").await, Some(grace));
    let by_token =
        bench.store.principal_by_token(hash("token")).await.expect("read").expect("still good").user;
    assert_eq!(by_token.password_hash.as_deref(), Some("$argon2id$new"));
    bench.store.set_password(ada.id, None, by()).await.expect("password");
    assert_eq!(bench.store.user(ada.id).await.expect("read"), Some(ada));
    let nobody = bench.store.set_password(UserId(fresh()), None, by()).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}

#[tokio::test]
async fn tokens_are_listed_used_and_taken_back() {
    let mut bench = Bench::new().await;
    let (ada, grace) = (user(&bench, "ada").await, user(&bench, "grace").await);
    let mut made = Vec::new();
    for name in ["first", "second"] {
        bench.clock.advance(1);
        let token = NewToken {
            user: ada.id,
            name: name.into(),
            hash: hash(name),
            scopes: Scopes::all(),
            expires_at: None,
        };
        made.insert(0, bench.store.create_token(token, by()).await.expect("token"));
    }
    bench.reopen().await;
    assert_eq!(bench.store.tokens(ada.id).await.expect("tokens"), made, "newest first");
    assert_eq!(bench.store.tokens(grace.id).await.expect("tokens"), []);
    let by_token = async |token| {
        bench.store.principal_by_token(hash(token)).await.expect("read").map(|found| found.user)
    };
    assert_eq!(by_token("first").await, Some(ada.clone()));
    assert_eq!(by_token("never made").await, None);
    assert!(bench.store.delete_token(made[1].id, by()).await.expect("delete"));
    assert!(!bench.store.delete_token(made[1].id, by()).await.expect("delete"), "once");
    assert_eq!(by_token("first").await, None);
    assert_eq!(by_token("second").await, Some(ada));
    let stray = NewToken {
        user: UserId(fresh()),
        name: "x".into(),
        hash: hash("x"),
        scopes: Scopes::all(),
        expires_at: None,
    };
    let stray = bench.store.create_token(stray, by()).await;
    assert!(matches!(stray, Err(StoreError::Missing { what: "user" })), "{stray:?}");
}

/// Good until a moment, and not at it.
#[rstest]
#[case::before(-1, true)]
#[case::at(0, false)]
#[case::after(1, false)]
#[tokio::test]
async fn everything_that_signs_in_expires(#[case] from_end: i64, #[case] good: bool) {
    let bench = Bench::new().await;
    let ada = user(&bench, "ada").await;
    let end = START + 60_000;
    let token = NewToken {
        user: ada.id,
        name: "x".into(),
        hash: hash("token"),
        scopes: Scopes::all(),
        expires_at: Some(end),
    };
    bench.store.create_token(token, by()).await.expect("token");
    bench.store.create_session(browser(ada.id, hash("session"), end), by()).await.expect("session");
    bench.store.create_link(hash("link"), "sign in", end).await.expect("link");
    let now = end + from_end;
    bench.clock.set(now);
    let by_token = bench.store.principal_by_token(hash("token")).await.expect("read");
    let by_session = bench.store.principal_by_session(hash("session"), now).await.expect("read");
    let looked = bench.store.look_at_link(hash("link"), now).await.expect("link");
    let by_link = bench.store.consume_link(hash("link"), now).await.expect("link");
    assert_eq!((by_token.is_some(), by_session.is_some()), (good, good));
    let accepted = LinkUse::Accepted { purpose: "sign in".into() };
    assert_eq!(by_link, if good { accepted } else { LinkUse::Expired });
    assert_eq!(looked, by_link, "to look is not to use");
}

#[tokio::test]
async fn a_session_ends_when_it_is_told_to() {
    let bench = Bench::new().await;
    let ada = user(&bench, "ada").await;
    bench.store.create_session(browser(ada.id, hash("s"), START + 1_000), by()).await.expect("session");
    assert!(bench.store.delete_session(hash("s"), by()).await.expect("delete"));
    assert!(!bench.store.delete_session(hash("s"), by()).await.expect("delete"));
    assert_eq!(bench.store.principal_by_session(hash("s"), START).await.expect("read"), None);
    let stray = bench.store.create_session(browser(UserId(fresh()), hash("x"), START + 1_000), by()).await;
    assert!(matches!(stray, Err(StoreError::Missing { what: "user" })), "{stray:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_is_good_once_whoever_uses_it() {
    let mut bench = Bench::new().await;
    for round in 0..25 {
        let link = hash(&format!("link {round}"));
        bench.store.create_link(link, "sign in", START + 1_000).await.expect("link");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = bench.store.clone();
            tasks.spawn(async move { store.consume_link(link, START).await.expect("link") });
        }
        let uses = tasks.join_all().await;
        let accepted = uses.iter().filter(|used| matches!(used, LinkUse::Accepted { .. })).count();
        let used = uses.iter().filter(|used| **used == LinkUse::Used).count();
        assert_eq!((accepted, used), (1, 7), "round {round}: {uses:?}");
    }
    bench.reopen().await;
    assert_eq!(bench.store.consume_link(hash("link 3"), START).await.expect("link"), LinkUse::Used);
    assert_eq!(bench.store.consume_link(hash("none"), START).await.expect("link"), LinkUse::Unknown);
}

/// A day later nobody has to be told any more why a link is not good.
#[tokio::test]
async fn links_are_forgotten_a_day_after_their_end() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let bench = Bench::new().await;
    let end = START + 1_000;
    bench.store.create_link(hash("old"), "sign in", end).await.expect("link");
    for (now, expected) in [(end + DAY_MS - 1, LinkUse::Expired), (end + DAY_MS, LinkUse::Unknown)] {
        bench.clock.set(now);
        bench.store.create_link(hash(&format!("{now}")), "sign in", now + 1).await.expect("link");
        assert_eq!(bench.store.consume_link(hash("old"), now).await.expect("link"), expected);
    }
}

/// What a thief of the files would find: hashes, and nothing to sign in with.
#[tokio::test]
async fn no_secret_is_in_the_files() {
    let mut bench = Bench::new().await;
    let ada = user(&bench, "ada").await;
    let secrets = ["hp_token_7f3a9c", "session-cookie-51be02", "one-time-link-e88d14"];
    let [token, session, link] = secrets.map(hash);
    let token = NewToken {
        user: ada.id,
        name: "laptop".into(),
        hash: token,
        scopes: Scopes::all(),
        expires_at: None,
    };
    let shown = format!("{token:?} {ada:?}");
    bench.store.create_token(token, by()).await.expect("token");
    bench.store.create_session(browser(ada.id, session, START + 1_000), by()).await.expect("session");
    bench.store.create_link(link, "a purpose", START + 1_000).await.expect("link");
    assert!(!shown.contains("hash: ["), "not in what is printed either: {shown}");
    // With the write-ahead log beside it, and once it is folded in.
    for moment in ["open", "closed"] {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(bench.folder.path()).expect("folder") {
            all.extend(std::fs::read(entry.expect("entry").path()).expect("file"));
        }
        let has = |what: &[u8]| all.windows(what.len()).any(|part| part == what);
        assert!(has(b"laptop") && has(b"a purpose") && has(&hash(secrets[0])), "looked in the wrong place");
        for secret in secrets {
            assert!(!has(secret.as_bytes()), "{secret} is in the files while {moment}");
        }
        bench.store.close().await;
    }
    bench.reopen().await;
    assert!(bench.store.principal_by_token(hash(secrets[0])).await.expect("read").is_some());
}

#[tokio::test]
async fn a_setting_is_what_was_set_last() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.store.setting("theme").await.expect("read"), None);
    for value in ["dark", "light", ""] {
        bench.store.set_setting("theme", value).await.expect("set");
        bench.reopen().await;
        assert_eq!(bench.store.setting("theme").await.expect("read").as_deref(), Some(value));
    }
}
