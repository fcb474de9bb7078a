//! Over `file://`, and from folders.

use std::{fs, time::Instant};

use holdpoint_sources::{Revision, Source};

use crate::site::Site;

#[tokio::test]
async fn branches_tags_and_commits_are_found_and_read() {
    let site = Site::new();
    let repository = site.repository("config");
    let first = repository.commit(&[("a/b", "1"), ("c", "1")]);
    repository.git(&["tag", "-a", "v1", "-m", "x"]);
    repository.git(&["branch", "other"]);
    let second = repository.commit(&[("a/b", "2")]);
    let sources = site.sources();
    let of = |reference: Option<&str>| Source::git(repository.url()).at(reference.map(str::to_owned));
    for (reference, is) in [
        (None, &second),
        (Some("main"), &second),
        (Some("v1"), &first),
        (Some("other"), &first),
        (Some("refs/heads/other"), &first),
        (Some(&*first.to_string()), &first),
    ] {
        let source = of(reference);
        assert_eq!(sources.look(&source).await.as_ref(), Ok(is), "{reference:?}");
        let fetched = sources.files(&source, is).await.expect("fetched");
        let text = if *is == first { b"1" } else { b"2" };
        assert_eq!(fetched.tree.get("a/b").expect("there").bytes, text);
        assert_eq!((fetched.tree.len(), &fetched.revision), (2, is));
    }
    let within = of(None).within(Some("./a/".into()));
    let fetched = sources.files(&within, &second).await.expect("fetched");
    assert_eq!(fetched.tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["b"]);

    // What is in the cache needs the repository no more.
    fs::rename(&repository.path, site.path("gone")).expect("moved");
    sources.files(&of(None), &first).await.expect("in the cache");
    let problem = sources.look(&of(None)).await.expect_err("gone");
    assert!(problem.why.contains("there is no repository at that path"), "{problem:?}");
}

#[tokio::test]
async fn a_look_at_what_has_not_changed_takes_less_than_a_tenth_of_a_second() {
    let site = Site::new();
    let repository = site.repository("config");
    repository.commit(&[("a", "1")]);
    let sources = site.sources();
    let source = Source::git(repository.url());
    let mut best = u128::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        sources.look(&source).await.expect("there");
        best = best.min(start.elapsed().as_millis());
    }
    println!("a look over file://: {best} ms");
    assert!(best < 100, "{best} ms");
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let site = Site::new();
    let repository = site.repository("config");
    let sources = site.sources();
    let of = |reference: &str| Source::git(repository.url()).at(Some(reference.to_owned()));
    let empty = sources.look(&Source::git(repository.url())).await.expect_err("empty");
    assert!(empty.why.contains("the repository is empty"), "{empty:?}");

    let commit = repository.commit(&[("a", "1")]);
    repository.git(&["branch", "release"]);
    let near = sources.look(&of("relaese")).await.expect_err("not there");
    assert!(near.why.contains("there are: release, main"), "{near:?}");
    let short = sources.look(&of(&commit.to_string()[..10])).await.expect_err("short");
    assert!(short.next[0].contains("40 digits"), "{short:?}");
    let folder = Source::git(repository.url()).within(Some("none".into()));
    let folder = sources.files(&folder, &commit).await.expect_err("no folder");
    assert!(folder.what.contains("\"none\"") && folder.why.contains("no such folder"), "{folder:?}");
    let file = Source::git(repository.url()).within(Some("a".into()));
    assert!(sources.files(&file, &commit).await.is_err());

    repository.git(&["checkout", "--quiet", "--detach"]);
    repository.git(&["symbolic-ref", "HEAD", "refs/heads/none"]);
    let head = sources.look(&Source::git(repository.url())).await.expect_err("no such HEAD");
    assert!(head.why.contains("HEAD names a branch that is not there; there are: main"), "{head:?}");
}

#[tokio::test]
async fn a_commit_that_was_rewritten_away_is_told() {
    let site = Site::new();
    let repository = site.repository("config");
    repository.commit(&[("a", "1")]);
    let old = repository.commit(&[("a", "2")]);
    repository.git(&["commit", "--quiet", "--amend", "-m", "other"]);
    repository.git(&["-c", "gc.reflogExpire=now", "reflog", "expire", "--expire=now", "--all"]);
    repository.git(&["gc", "--quiet", "--prune=now"]);
    let source = Source::git(repository.url()).at(Some("main".into()));
    let problem = site.sources().files(&source, &old).await.expect_err("gone");
    assert!(problem.why.contains("rewritten"), "{problem:?}");
    assert!(problem.next[0].contains("main"), "{problem:?}");
    // An older commit of the branch is no tip of anything, and yet to be had.
    let older: Revision = repository.git(&["rev-parse", "HEAD~1"]).parse().expect("a commit");
    site.sources().files(&source, &older).await.expect("fetched");
}

#[tokio::test]
async fn many_at_once_get_the_same() {
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1"), ("b/c", "2")]);
    let source = Source::git(repository.url());
    let all = (0..12).map(async |_| site.sources().files(&source, &commit).await);
    let all = futures::future::join_all(all).await;
    for fetched in &all {
        assert_eq!(fetched.as_ref().expect("fetched").tree.len(), 2);
        assert_eq!(fetched, &all[0]);
    }
}

#[tokio::test]
async fn the_cache_keeps_few_commits_and_mends_itself() {
    let site = Site::new();
    let repository = site.repository("config");
    let sources = site.sources();
    let source = Source::git(repository.url());
    let mut last = None;
    for number in 0..12 {
        let commit = repository.commit(&[("a", &number.to_string())]);
        sources.files(&source, &commit).await.expect("fetched");
        last = Some(commit);
    }
    let place =
        fs::read_dir(site.path("cache/git")).expect("cache").next().expect("one").expect("entry").path();
    let commits =
        || fs::read_dir(&place).expect("place").flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(commits(), 8);

    // A disk that lost what is in a pack.
    let last = last.expect("commits");
    let packs = place.join(last.to_string()).join("objects/pack");
    for pack in fs::read_dir(&packs).expect("packs").flatten() {
        fs::remove_file(pack.path()).expect("removed");
    }
    let fetched = sources.files(&source, &last).await.expect("fetched anew");
    assert_eq!(fetched.tree.get("a").expect("there").bytes, b"11");
    assert_eq!(commits(), 8);
}

#[tokio::test]
async fn a_repository_with_longer_commits_is_read_too() {
    let site = Site::new();
    let repository = site.repository("config");
    fs::remove_dir_all(repository.path.join(".git")).expect("removed");
    repository.git(&["init", "--quiet", "--object-format=sha256"]);
    let commit = repository.commit(&[("a", "1")]);
    assert_eq!(commit.to_string().len(), 64);
    let source = Source::git(repository.url());
    assert_eq!(site.sources().look(&source).await.as_ref(), Ok(&commit));
    assert_eq!(site.sources().files(&source, &commit).await.expect("fetched").tree.len(), 1);
}

#[tokio::test]
async fn a_folder_is_what_is_in_it() {
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a/b", "1")]);
    let sources = site.sources();
    let source = Source::local(&repository.path);
    let before = sources.look(&source).await.expect("there");
    assert_eq!(
        sources.files(&source, &before).await.expect("read").tree.len(),
        1,
        "git's own files are none of it"
    );
    repository.write("a/b", "2");
    let after = sources.look(&source).await.expect("there");
    assert_ne!(before, after);
    let problem = sources.files(&source, &before).await.expect_err("changed");
    assert!(problem.why.contains("have changed"), "{problem:?}");
    assert!(sources.files(&source, &commit).await.is_err());
    let branch = sources.look(&source.at(Some("main".into()))).await.expect_err("a branch");
    assert!(branch.next[0].contains("file://"), "{branch:?}");
}

#[tokio::test]
async fn without_git_or_with_another_program_that_is_said() {
    let site = Site::new();
    let repository = site.repository("config");
    let source = Source::git(repository.url());
    let mut options = site.options();
    options.git = "git-of-nowhere".into();
    let problem = holdpoint_sources::Sources::new(options).look(&source).await.expect_err("none");
    assert!(problem.why.contains("git is not installed"), "{problem:?}");
    assert_eq!(problem.next, ["apt-get install git"]);
    let mut options = site.options();
    options.git = "/bin/echo".into();
    assert!(holdpoint_sources::Sources::new(options).look(&source).await.is_err());
    // A folder needs none.
    let mut options = site.options();
    options.git = "git-of-nowhere".into();
    let local = holdpoint_sources::Sources::new(options);
    local.look(&Source::local(&repository.path)).await.expect("read");
}

#[tokio::test]
async fn settings_of_the_users_repository_are_not_taken_for_ours() {
    // The folder that Holdpoint runs in, and the cache, may be in a repository of somebody.
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    let around = site.repository("around");
    around.git(&["config", "core.bare", "true"]);
    around.git(&["config", "url.file:///nowhere.insteadOf", "file://"]);
    let mut options = site.options();
    options.cache = around.path.join("cache");
    options.env.push(("GIT_DIR".into(), around.path.join(".git").display().to_string()));
    let sources = holdpoint_sources::Sources::new(options);
    let source = Source::git(repository.url());
    assert_eq!(sources.look(&source).await.as_ref(), Ok(&commit));
    sources.files(&source, &commit).await.expect("fetched");
}
