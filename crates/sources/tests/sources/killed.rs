//! Fetches that do not come to their end.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use holdpoint_sources::{Revision, Source};
use tokio::time::Instant;

use crate::site::{PATH, Repository, Site, processes_of};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A repository, and an SSH that stops in the middle of what it sends, and goes on after a while.
/// The middle is behind the first whole packet (64 KiB): before it, git has nothing of a pack.
fn slow(site: &Site, seconds: u32) -> (Repository, Revision, String) {
    let repository = site.repository("config");
    let mut seed = 1u64;
    let noise: String = (0..600_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (seed >> 33) as u8 % 90)
        })
        .collect();
    let commit = repository.commit(&[("a", &noise)]);
    let ssh = site.path("ssh");
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\nsh -c \"$last\" | {{ dd bs=1 count=100000 2>/dev/null; sleep {seconds}; cat; }}\n"
    );
    fs::write(&ssh, script).expect("script");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("mode");
    (repository, commit, ssh.display().to_string())
}

fn drafts(cache: &Path) -> Vec<std::path::PathBuf> {
    let places = fs::read_dir(cache.join("git")).into_iter().flatten().flatten();
    let entries = places.flat_map(|place| fs::read_dir(place.path()).into_iter().flatten().flatten());
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/tmp-")).collect()
}

/// Waits until a fetch is in the middle: some of a pack is there.
async fn in_the_middle(cache: &Path) {
    let until = Instant::now() + LIMIT;
    loop {
        let fetching = drafts(cache).iter().any(|draft| {
            let mut packs = fs::read_dir(draft.join("objects/pack")).into_iter().flatten().flatten();
            packs.any(|pack| pack.file_name().to_string_lossy().starts_with("tmp_pack"))
        });
        if fetching {
            return;
        }
        assert!(Instant::now() < until, "no fetch began");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_none(of: &Path) {
    let until = Instant::now() + LIMIT;
    while !processes_of(of).is_empty() {
        assert!(Instant::now() < until, "{:?} are left", processes_of(of));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn source(repository: &Repository) -> Source {
    Source::git(format!("ssh://git@host.invalid{}", repository.path.display()))
}

#[tokio::test]
async fn when_git_is_killed_the_next_fetch_works() {
    let site = Site::new();
    let (repository, commit, ssh) = slow(&site, 30);
    let sources = site.sources_with(&[("GIT_SSH_COMMAND", &ssh)], &[]);
    let cache = site.path("cache");
    let source = source(&repository);
    let killer = async {
        in_the_middle(&cache).await;
        for id in processes_of(&cache) {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(id).expect("id"),
                rustix::process::Signal::KILL,
            );
        }
    };
    let (fetched, ()) = tokio::join!(sources.files(&source, &commit), killer);
    fetched.expect_err("killed");
    let fast = site.sources_with(&[("GIT_SSH_COMMAND", &fast(&site))], &[]);
    let fetched = fast.files(&source, &commit).await.expect("fetched");
    assert_eq!(fetched.tree.len(), 1);
    assert_eq!(drafts(&cache), Vec::<std::path::PathBuf>::new());
    until_none(&site.path("ssh")).await;
}

#[tokio::test]
async fn when_nobody_waits_any_more_all_of_it_ends() {
    let site = Site::new();
    let (repository, commit, ssh) = slow(&site, 300);
    let sources = site.sources_with(&[("GIT_SSH_COMMAND", &ssh)], &[]);
    let cache = site.path("cache");
    let source = source(&repository);
    tokio::select! {
        fetched = sources.files(&source, &commit) => panic!("{fetched:?}"),
        () = in_the_middle(&cache) => {}
    }
    until_none(&site.path("")).await;
    let fast = site.sources_with(&[("GIT_SSH_COMMAND", &fast(&site))], &[]);
    fast.files(&source, &commit).await.expect("fetched");
    assert_eq!(drafts(&cache), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn when_holdpoint_is_killed_its_git_is_waited_for() {
    let site = Site::new();
    let (repository, commit, ssh) = slow(&site, 3);
    let order = site.path("order");
    let cache = site.path("cache");
    let lines = [repository.path.display().to_string(), commit.to_string(), ssh, cache.display().to_string()];
    fs::write(&order, lines.join("\n")).expect("order");
    let own = std::env::current_exe().expect("this program");
    // It is found by the folder that it is started in.
    let mut child = tokio::process::Command::new(own)
        .args(["--exact", "--ignored", "killed::a_fetch_to_be_killed"])
        .current_dir(site.path(""))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    in_the_middle(&cache).await;
    child.kill().await.expect("killed");
    assert!(!processes_of(&cache).is_empty(), "its git goes on");
    let left = drafts(&cache);
    assert_eq!(left.len(), 1);

    let sources = site.sources_with(&[("GIT_SSH_COMMAND", &fast(&site))], &[]);
    let fetched = sources.files(&source(&repository), &commit).await.expect("fetched");
    assert_eq!(fetched.tree.len(), 1);
    assert_eq!(processes_of(&cache), Vec::<i32>::new(), "it was waited for");
    assert_eq!(drafts(&cache), Vec::<std::path::PathBuf>::new());
}

/// Not a test by itself: the one above starts it, and kills it.
#[tokio::test]
#[ignore = "started by another test, to be killed"]
async fn a_fetch_to_be_killed() {
    let Ok(order) = fs::read_to_string("order") else { return };
    let [path, commit, ssh, cache] = order.lines().collect::<Vec<_>>().try_into().expect("four lines");
    let options = holdpoint_sources::Options {
        cache: cache.into(),
        git: "git".into(),
        path: PATH.into(),
        env: vec![("HOME".into(), "/nonexistent".into()), ("GIT_SSH_COMMAND".into(), ssh.into())],
        tokens: std::collections::BTreeMap::new(),
    };
    let source = Source::git(format!("ssh://git@host.invalid{path}"));
    let _ = holdpoint_sources::Sources::new(options).files(&source, &commit.parse().expect("a commit")).await;
}

/// An SSH that runs what it is asked for here, at once.
fn fast(site: &Site) -> String {
    let ssh = site.path("fast-ssh");
    fs::write(&ssh, "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").expect("script");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("mode");
    ssh.display().to_string()
}
