//! Over SSH, to an sshd of our own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use holdpoint_sources::{Source, Sources};

use crate::site::{PATH, Site};

struct Sshd {
    child: Child,
    port: u16,
    user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env("PATH", PATH).output();
    let output = output.unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn key(site: &Site, name: &str) {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &site.path(name).display().to_string()]);
}

impl Sshd {
    fn start(site: &Site) -> Self {
        key(site, "host");
        key(site, "user");
        fs::copy(site.path("user.pub"), site.path("authorized")).expect("copied");
        // As root it wants this folder, wherever else everything is.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("folder");
        }
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port();
            let path = |name: &str| site.path(name).display().to_string();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
                 StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n",
                path("host"),
                path("authorized"),
            );
            fs::write(site.path("sshd_config"), config).expect("config");
            let mut child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f", &path("sshd_config")])
                .stdin(Stdio::null())
                .stderr(fs::File::create(site.path("sshd.log")).expect("log"))
                .spawn()
                .expect("no sshd: apt-get install openssh-server");
            let until = Instant::now() + Duration::from_secs(30);
            while child.try_wait().expect("waits").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, user: run("id", &["-un"]) };
                }
                assert!(Instant::now() < until, "sshd does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("sshd ends: {}", fs::read_to_string(site.path("sshd.log")).unwrap_or_default());
    }

    fn knows_host(&self, site: &Site, key: &str) {
        let key = fs::read_to_string(site.path(key)).expect("key");
        fs::write(site.path("known"), format!("[127.0.0.1]:{} {key}", self.port)).expect("written");
    }

    /// With the `ssh` that a user has, but for where its files are.
    fn sources(&self, site: &Site, identity: &str) -> Sources {
        let path = |name: &str| site.path(name).display().to_string();
        let config = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n",
            path(identity),
            path("known"),
        );
        fs::create_dir_all(site.path("bin")).expect("folder");
        fs::write(site.path("ssh_config"), config).expect("config");
        fs::write(
            site.path("bin/ssh"),
            format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", path("ssh_config")),
        )
        .expect("script");
        fs::set_permissions(site.path("bin/ssh"), fs::Permissions::from_mode(0o755)).expect("mode");
        let mut options = site.options();
        options.path = format!("{}:{PATH}", path("bin"));
        Sources::new(options)
    }
}

#[tokio::test]
async fn over_ssh_with_a_key_and_what_goes_wrong() {
    let site = Site::new();
    let sshd = Sshd::start(&site);
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    let url = format!("ssh://{}@127.0.0.1:{}{}", sshd.user, sshd.port, repository.path.display());
    let source = Source::git(&url);
    let target = format!("ssh -T -p {} {}@127.0.0.1", sshd.port, sshd.user);

    let sources = sshd.sources(&site, "user");
    let problem = sources.look(&source).await.expect_err("an unknown host");
    assert!(problem.why.contains("SSH does not know 127.0.0.1 yet"), "{problem:?}");
    assert!(problem.next[0].starts_with(&target), "{problem:?}");

    sshd.knows_host(&site, "host.pub");
    assert_eq!(sources.look(&source).await.as_ref(), Ok(&commit));
    let fetched = sources.files(&source, &commit).await.expect("fetched");
    assert_eq!(fetched.tree.get("a").expect("there").bytes, b"1");

    key(&site, "stranger");
    let stranger = sshd.sources(&site, "stranger").look(&source).await.expect_err("a stranger");
    assert!(stranger.why.contains("takes none of the keys"), "{stranger:?}");
    assert_eq!(stranger.next[0], target);

    let sources = sshd.sources(&site, "user");
    sshd.knows_host(&site, "stranger.pub");
    let changed = sources.look(&source).await.expect_err("another host key");
    assert!(changed.why.contains("shows another key"), "{changed:?}");
    sshd.knows_host(&site, "host.pub");

    let none = sources.look(&Source::git(format!("{url}-none"))).await.expect_err("no repository");
    assert!(none.why.contains("knows no such repository"), "{none:?}");

    drop(sshd);
    let silent = sources.look(&source).await.expect_err("nobody listens");
    assert!(silent.why.contains("does not answer"), "{silent:?}");
}

#[tokio::test]
async fn a_host_that_there_is_not_is_named() {
    let site = Site::new();
    for url in ["ssh://git@no-such-host.invalid/a.git", "https://no-such-host.invalid/a.git"] {
        let problem = site.sources().look(&Source::git(url)).await.expect_err("no host");
        assert!(problem.why.contains("no host of the name no-such-host.invalid"), "{problem:?}");
    }
}
