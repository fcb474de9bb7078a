//! Repositories of somebody who means ill, or has too much.

use std::fmt::Write as _;

use holdpoint_sources::{MAX_FILE_BYTES, MAX_FILES, Source};

use crate::site::Site;

#[tokio::test]
async fn what_is_no_plain_file_is_left_out_and_said() {
    let site = Site::new();
    std::fs::write(site.path("secret"), "hunter2").expect("file");
    let repository = site.repository("config");
    repository.write("fine/file", "1");
    repository.write("run.sh", "#!/bin/sh\n");
    repository.write("lfs.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
    repository.write("back\\slash", "1");
    repository.write("line\nbreak", "1");
    repository.write(&format!("long/{}", "x/".repeat(120) + "y"), "1");
    std::os::unix::fs::symlink("../secret", repository.path.join("link")).expect("link");
    std::os::unix::fs::symlink("/etc", repository.path.join("etc")).expect("link");
    repository.git(&["add", "--all", "."]);
    repository.git(&["update-index", "--chmod=+x", "run.sh"]);
    let module = format!("160000,{},module", "1".repeat(40));
    repository.git(&["update-index", "--add", "--cacheinfo", &module]);
    repository.git(&["commit", "--quiet", "-m", "x"]);
    let commit = repository.head();
    let fetched = site.sources().files(&Source::git(repository.url()), &commit).await.expect("fetched");
    let names: Vec<_> = fetched.tree.iter().map(|(path, file)| (path, file.executable)).collect();
    assert_eq!(names, [("fine/file", false), ("run.sh", true)]);
    for (path, why) in [
        ("`lfs.bin`", "Git LFS"),
        ("back", "no path below a folder"),
        ("break", "control character"),
        ("long/", "longer than"),
        ("`link`", "it is a link"),
        ("`etc`", "it is a link"),
        ("`module`", "submodule"),
    ] {
        let said = |note: &String| note.contains(path) && note.contains(why);
        assert!(fetched.notes.iter().any(said), "{path} {why}: {:#?}", fetched.notes);
    }
    assert_eq!(fetched.notes.len(), 7, "{:#?}", fetched.notes);
}

#[tokio::test]
async fn trees_that_git_itself_would_not_make_lead_nowhere() {
    let site = Site::new();
    let repository = site.repository("config");
    let blob = repository.git_with(&["hash-object", "-w", "--stdin"], b"1");
    let raw = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    };
    let mut tree = Vec::new();
    for name in [&b".."[..], b".", b".git", b"a\xff", b"fine"] {
        tree.extend(b"100644 ");
        tree.extend(name);
        tree.push(0);
        tree.extend(raw(&blob));
    }
    let tree = repository.git_with(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &tree);
    let commit = repository.git(&["commit-tree", &tree, "-m", "x"]);
    repository.git(&["update-ref", "refs/heads/main", &commit]);
    let commit = commit.parse().expect("a commit");
    let fetched = site.sources().files(&Source::git(repository.url()), &commit).await.expect("fetched");
    assert_eq!(fetched.tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["fine"]);
    assert_eq!(fetched.notes.len(), 4, "{:#?}", fetched.notes);
}

#[tokio::test]
async fn too_large_and_too_many_are_refused() {
    let site = Site::new();
    let repository = site.repository("large");
    let file = std::fs::File::create(repository.path.join("zeros")).expect("file");
    file.set_len(MAX_FILE_BYTES + 1).expect("length");
    let commit = repository.commit(&[("fine/a", "1")]);
    let source = Source::git(repository.url());
    let problem = site.sources().files(&source, &commit).await.expect_err("too large");
    assert!(problem.why.contains("`zeros` has 32 MiB"), "{problem:?}");
    let within = source.within(Some("fine".into()));
    site.sources().files(&within, &commit).await.expect("what is beside it does not matter");

    for files in [MAX_FILES + 1, 100_000] {
        let repository = site.repository(&format!("many-{files}"));
        let mut stream = String::from(
            "blob\nmark :1\ndata 1\nx\ncommit refs/heads/main\ncommitter A <a@b> 0 +0000\ndata 1\nx\n",
        );
        for number in 0..files {
            writeln!(stream, "M 100644 :1 f/{}/some-name-of-a-file-{number}", number % 100).expect("written");
        }
        repository.git_with(&["fast-import", "--quiet"], stream.as_bytes());
        let commit = repository.head();
        let problem =
            site.sources().files(&Source::git(repository.url()), &commit).await.expect_err("too many");
        assert!(problem.why.contains("more than 20000"), "{problem:?}");
    }
}

#[tokio::test]
async fn hooks_of_the_user_and_of_repositories_do_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    std::fs::create_dir_all(site.path("hooks")).expect("folder");
    for hook in ["reference-transaction", "post-checkout", "post-merge", "post-index-change"] {
        let path = site.path("hooks").join(hook);
        std::fs::write(&path, format!("#!/bin/sh\ntouch {}\n", site.path("ran").display())).expect("hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    site.add_to_gitconfig(&format!("[core]\nhooksPath = {}\n", site.path("hooks").display()));
    site.sources().files(&Source::git(repository.url()), &commit).await.expect("fetched");
    assert!(!site.path("ran").exists());
}
