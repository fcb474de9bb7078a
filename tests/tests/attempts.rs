//! An agent that tries to get out of its container, or at what is not its own: each attempt a test, in real
//! containers. The agent does what each message says, so every test speaks for itself.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{
    PATIENCE, Server, Setup, check_log, of_kind,
    podman::{Kind, Podman},
    processes::{self, Part},
};
use rstest::rstest;
use serde_json::{Value, json};

/// Messages that one conversation can have.
const TURNS: usize = 30;

/// A server whose agent `tryer` runs what it is told, without asking anybody.
async fn server(kind: Kind, container: &str) -> Result<Server> {
    Server::start(setup(kind, container)?).await
}

fn setup(kind: Kind, container: &str) -> Result<Setup> {
    let turn = "      - - tool: Bash\n          input: {command: \"{{prompt}}\"}\n        - text: Tried.\n";
    let script = format!("scenes:\n  - name: tries\n    turns:\n{}", turn.repeat(TURNS));
    let toml = format!(
        "[agents.tryer]\n[agents.tryer.policy]\nallow = [\"Bash\"]\n[agents.tryer.container]\n{container}\n"
    );
    Ok(Setup::script(&script).toml(&toml).podman(Podman::ready(kind)?))
}

/// A conversation with it.
struct Session<'a> {
    server: &'a Server,
    id: String,
    /// Holds that are answered.
    seen: Vec<String>,
    /// The one that waits for the next message.
    waits: Option<Value>,
}

impl<'a> Session<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, id: String::new(), seen: Vec::new(), waits: None }
    }

    /// One that is up.
    async fn begin(server: &'a Server) -> Result<Self> {
        let mut session = Self::new(server);
        ensure!(session.prints("echo up").await?.trim() == "up", "the session does not run commands");
        Ok(session)
    }

    /// Gives it a command without waiting for what comes of it.
    async fn told(&mut self, command: &str) -> Result<()> {
        match self.waits.take() {
            None => self.id = self.server.ask("tryer", command).await?,
            Some(hold) => {
                self.server.decide(&hold, json!({"action": "reply", "message": command})).await?;
                self.seen.push(hold["id"].as_str().context("a hold's id")?.to_owned());
            }
        }
        Ok(())
    }

    /// What a command prints, on both of its outputs.
    async fn prints(&mut self, command: &str) -> Result<String> {
        let before = if self.id.is_empty() { 0 } else { of_kind(&self.events()?, "tool_result").len() };
        self.told(command).await?;
        self.waits = Some(self.server.hold(&self.id, "reply", &self.seen).await?);
        let events = self.events()?;
        let results = of_kind(&events, "tool_result");
        ensure!(results.len() > before, "no result of {command}:\n{}", self.server.story(&self.id).await);
        Ok(results[results.len() - 1]["data"]["content"].as_str().context("a text")?.to_owned())
    }

    /// Tries several things, each by its name, and gives those that worked, with what they printed.
    async fn tries(&mut self, attempts: &[(&str, &str)]) -> Result<Vec<String>> {
        let mut script = String::new();
        for (name, command) in std::iter::once(&("control", "echo fine")).chain(attempts) {
            writeln!(
                script,
                "if ( {command}\n ) >/tmp/said 2>&1 </dev/null; then echo \"WORKED {name}: $(head -c 300 /tmp/said | tr '\\n' '|')\"; else echo \"failed {name}\"; fi"
            )?;
        }
        let said = self.prints(&script).await?;
        let tried = said.lines().filter(|line| line.starts_with("WORKED ") || line.starts_with("failed "));
        ensure!(tried.count() == attempts.len() + 1, "not everything was tried:\n{said}");
        let worked = said.lines().filter_map(|line| line.strip_prefix("WORKED "));
        let mut worked: Vec<String> = worked.map(str::to_owned).collect();
        ensure!(worked.first().is_some_and(|line| line == "control: fine|"), "nothing works:\n{said}");
        worked.remove(0);
        Ok(worked)
    }

    fn events(&self) -> Result<Vec<Value>> {
        self.server.export(&self.id)
    }

    fn folder(&self) -> PathBuf {
        self.server.data.join("executions").join(&self.id)
    }

    /// What the worker of an incarnation was told, its tokens among it.
    fn spec(&self, incarnation: u32) -> Result<Value> {
        let path = self.folder().join("run").join(incarnation.to_string()).join("spec.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The texts of notices.
    fn notices(&self) -> Result<Vec<String>> {
        let events = self.events()?;
        let texts = of_kind(&events, "notice").into_iter().filter_map(|event| event["data"]["text"].as_str());
        Ok(texts.map(str::to_owned).collect())
    }

    /// Waits for a notice with these words.
    async fn notice(&self, words: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let notices = self.notices()?;
            if let Some(found) = notices.iter().find(|text| text.contains(words)) {
                return Ok(found.clone());
            }
            ensure!(
                Instant::now() < deadline,
                "no notice about {words:?}, only {notices:?}\n{}\n{}",
                self.server.story(&self.id).await,
                self.server.worker_logs(&self.id)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn still_works(&mut self) -> Result<()> {
        let said = self.prints("echo still here").await?;
        ensure!(said.trim() == "still here", "{said}");
        Ok(())
    }
}

/// Paths of files inside that hold a string, and of processes whose environment or command line does. The
/// string is put together inside, so that the search does not find itself.
// The CLI's shell has a `grep` of its own, which leaves files out.
fn search(string: &str) -> String {
    let half = string.len() / 2;
    let (one, two) = string.split_at(half);
    format!(
        "printf '%s%s' '{one}' '{two}' > /tmp/sought; \
         /usr/bin/grep -rlaFs -D skip -f /tmp/sought / --exclude-dir=proc --exclude-dir=sys --exclude=sought; \
         /usr/bin/grep -laFs -f /tmp/sought /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo; \
         for f in /proc/[0-9]*/fd/*; do if test -f $f && ! test $f -ef /tmp/sought; then /usr/bin/grep -laFs -f /tmp/sought $f; fi; done; \
         rm /tmp/sought; echo searched"
    )
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn the_api_key_is_nowhere(#[case] kind: Kind) -> Result<()> {
    const KEY: &str = "sk-ant-attempts-7f3a9c51e2";
    let podman = Podman::ready(kind)?;
    let server = Server::start(setup(kind, "")?.env("ANTHROPIC_API_KEY", KEY)).await?;
    let environ = fs::read(format!("/proc/{}/environ", server.pid().context("a server")?))?;
    assert!(String::from_utf8_lossy(&environ).contains(KEY), "the server itself has it");

    let mut session = Session::begin(&server).await?;
    // The search finds what there is: a file, and the environment of a process.
    let planted = "printf '%s%s' sk-ant-atte mpts-7f3a9c51e2 > planted; \
                   PLANTED=$(cat planted) sleep 60 & sleep 0.2; ";
    let found = session.prints(&format!("{planted}{}; rm planted; kill %1", search(KEY))).await?;
    assert!(
        found.contains("/workspace/planted") && found.contains("/environ"),
        "the search is blind: {found}"
    );
    assert_eq!(session.prints(&search(KEY)).await?.trim(), "searched");
    let env = session.prints("env").await?;
    let key = env.lines().find_map(|line| line.strip_prefix("ANTHROPIC_API_KEY=")).unwrap_or("hpg_");
    assert!(key.starts_with("hpg_"), "the session's key is not a token of ours: {key}");

    // What everybody sees who may talk to Podman.
    let label = format!("label=io.holdpoint.data={}", server.data.display());
    let container = podman.run(&["ps", "--quiet", "--filter", &label])?;
    let image = podman.run(&["inspect", "--format", "{{.Image}}", container.trim()])?;
    for args in [
        &["inspect", container.trim()][..],
        &["logs", container.trim()],
        &["image", "inspect", image.trim()],
        &["history", "--no-trunc", image.trim()],
    ] {
        assert!(!podman.run(args)?.contains(KEY), "podman {} shows it", args.join(" "));
    }
    // And what is put by.
    let events = serde_json::to_string(&session.events()?)?;
    assert!(!events.contains(KEY) && !server.output().contains(KEY));
    let kept = std::process::Command::new("grep").args(["-rlaF", KEY]).arg(&server.data).output()?;
    assert_eq!(String::from_utf8(kept.stdout)?, "", "it is kept in the data folder");
    Ok(())
}

/// Calls the gateway as a session would, and prints the status.
fn call(token: &str) -> String {
    let body =
        r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#;
    format!(
        "curl -s -m 20 -o /tmp/answer -w '%{{http_code}}' -H 'x-api-key: {token}' -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' -d '{body}' http://127.0.0.1:8377/gateway/v1/messages"
    )
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn another_incarnations_token_opens_nothing(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = server(kind, "").await?;
    let mut other = Session::begin(&server).await?;
    let mut session = Session::begin(&server).await?;
    let token = |spec: &Value, which: &str| {
        Ok::<_, anyhow::Error>(spec[which].as_str().context("a token")?.to_owned())
    };
    let first = token(&other.spec(1)?, "gateway_token")?;
    let own = token(&session.spec(1)?, "gateway_token")?;
    assert_eq!(session.prints(&call(&own)).await?.trim(), "200", "its own is good");

    // Another's living token is good for that other session, wherever it comes from: what counts is that
    // nobody has it.
    assert_eq!(session.prints(&search(&first)).await?.trim(), "searched");

    // The next incarnation.
    podman.run(&["kill", "--signal", "KILL", &format!("holdpoint-{}-1", other.id)])?;
    server.until(&other.id, "the loss", |execution| execution["residency"] != "warm").await?;
    other.still_works().await?;
    let second = token(&other.spec(2)?, "gateway_token")?;
    assert_ne!(first, second);
    for (what, token) in [
        ("an older incarnation's", first.clone()),
        ("a worker's", token(&session.spec(1)?, "worker_token")?),
        ("one with another incarnation written into it", own.replacen("_1_", "_2_", 1)),
        ("a person's", server.token.clone()),
        ("none", String::new()),
    ] {
        assert_eq!(session.prints(&call(&token)).await?.trim(), "401", "{what}");
    }
    assert_eq!(other.prints(&call(&first)).await?.trim(), "401", "not even from its own container");
    session.still_works().await
}

#[tokio::test]
async fn the_gateways_socket_leads_to_the_gateway_alone() -> Result<()> {
    let server = server(Kind::Rootful, "").await?;
    let mut session = Session::begin(&server).await?;
    let token = &server.token;
    let mut script = String::new();
    let paths = [
        "/",
        "/health",
        "/v1/executions",
        "/v1/holds",
        "/v1/tokens",
        "/worker/link",
        "/login",
        "/inbox",
        "/gateway/../v1/executions",
        "/gateway//v1/executions",
        "/gateway/%2e%2e/v1/executions",
        "/gateway/worker/link",
    ];
    for path in paths {
        for way in ["", "--unix-socket /run/holdpoint/gateway/gateway.sock"] {
            writeln!(
                script,
                "curl -s -m 20 -o /dev/null --path-as-is {way} -H 'authorization: Bearer {token}' -w '%{{http_code}} {path}\\n' http://127.0.0.1:8377{path}"
            )?;
        }
    }
    let said = session.prints(&script).await?;
    let expected: Vec<String> =
        paths.iter().flat_map(|path| [format!("404 {path}"), format!("404 {path}")]).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    Ok(())
}

/// Something of the host's that listens, and how often it was reached.
struct Listening {
    port: u16,
    reached: Arc<AtomicUsize>,
}

impl Listening {
    fn everywhere() -> Result<Self> {
        let listener = TcpListener::bind("[::]:0")?;
        let (port, reached) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
        let count = reached.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { port, reached })
    }
}

/// The addresses of this machine that are not loopback.
fn addresses() -> Result<Vec<String>> {
    let output = std::process::Command::new("hostname").arg("-I").output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn there_is_no_network(#[case] kind: Kind) -> Result<()> {
    let listening = Listening::everywhere()?;
    let port = listening.port;
    let own = addresses()?;
    let name = format!("holdpoint-attempts-{}-{kind:?}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    // All of it is there for the host.
    for address in own.iter().map(String::as_str).chain(["127.0.0.1", "::1"]) {
        TcpStream::connect((address, port)).with_context(|| address.to_owned())?;
    }
    let reached = || listening.reached.load(Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    while reached() < own.len() + 2 {
        ensure!(Instant::now() < deadline, "the host does not reach its own listener");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let server = server(kind, "").await?;
    let panel = server.url.rsplit(':').next().context("a port")?.to_owned();
    let mut session = Session::begin(&server).await?;
    let python = |code: &str| format!("python3 -c 'import socket; {code}'");
    let mut attempts: Vec<(String, String)> = Vec::new();
    for address in own.iter().map(String::as_str).chain([
        "127.0.0.1",
        "::1",
        "10.0.2.2",
        "10.88.0.1",
        "169.254.169.254",
        "1.1.1.1",
    ]) {
        let ports = [port, panel.parse()?, 22, 80];
        let code = format!(
            "import sys\ndef go(port):\n  try: socket.create_connection((\"{address}\", port), 1); return True\n  except OSError: return False\nsys.exit(0 if any([go(port) for port in {ports:?}]) else 1)"
        );
        attempts.push((format!("tcp {address}"), python(&code)));
    }
    let more = [
        ("udp", "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b\"x\", (\"1.1.1.1\", 53))"),
        ("raw", "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"),
        ("packet", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"),
        (
            "vsock",
            "s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); s.settimeout(2); s.connect((2, 1024))",
        ),
        ("dns", "socket.gethostbyname(\"example.com\")"),
    ];
    attempts.extend(more.map(|(name, code)| (name.to_owned(), python(code))));
    attempts.push((
        "abstract".into(),
        python(&format!("s = socket.socket(socket.AF_UNIX); s.connect(\"\\0{name}\")")),
    ));
    attempts.push(("abstract names".into(), format!("grep -F {name} /proc/net/unix")));
    for socket in [
        "/run/podman/podman.sock",
        "/run/holdpoint/podman.sock",
        "/var/run/docker.sock",
        "/run/dbus/system_bus_socket",
    ] {
        attempts.push((socket.into(), format!("test -e {socket}")));
    }
    attempts.push(("any other socket".into(), "find / -type s -not -path '/proc/*' -not -path /run/holdpoint/gateway/gateway.sock -not -path '/tmp/cc-socks/*' 2>/dev/null | grep .".into()));
    attempts.push(("link".into(), "ls /sys/class/net | grep -v '^lo$'".into()));
    let borrowed: Vec<(&str, &str)> = attempts.iter().map(|(name, command)| (&**name, &**command)).collect();
    assert_eq!(session.tries(&borrowed).await?, Vec::<String>::new());
    assert_eq!(reached(), own.len() + 2, "the host's listener was reached");
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn without_any_network_the_model_is_the_clis_alone(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "network = \"none\"").await?;
    let mut session = Session::begin(&server).await?;
    let token = session.spec(1)?["gateway_token"].as_str().context("a token")?.to_owned();
    let call = call(&token);
    let over = |socket: &str| format!("{call} --unix-socket {socket}");
    let worked = session
        .tries(&[
            ("port", &call),
            ("gateway folder", &over("/run/holdpoint/gateway/gateway.sock")),
            ("session folder", &over("/run/holdpoint/session/gateway.sock")),
            ("session", &over("/run/holdpoint/session/session.sock")),
            ("first process's files", "ls /proc/1/fd/"),
            ("first process's memory", "head -c 1 /proc/1/mem"),
            ("first process's root", "ls /proc/1/root/"),
            ("first process's folder", "ls /proc/1/cwd/"),
        ])
        .await?;
    assert_eq!(worked, Vec::<String>::new());
    session.still_works().await
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn the_hosts_files_are_not_there(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "").await?;
    let mut session = Session::begin(&server).await?;
    let mut other = Session::begin(&server).await?;
    other.prints("echo anothers > secret.txt").await?;
    let secret = server.folder().join("host-secret.txt");
    fs::write(&secret, "of the host")?;
    let (folder, data) = (server.folder().display(), server.data.display());
    let theirs = other.folder();
    let theirs = theirs.display();
    let attempts: &[(&str, String)] = &[
        ("shadow", "cat /etc/shadow".into()),
        ("beside the data folder", format!("cat {folder}/host-secret.txt")),
        ("above, by steps", "cat ../../../../host-secret.txt".into()),
        ("configuration", format!("cat {folder}/holdpoint.toml")),
        ("database", format!("ls {data} | grep -v '^executions$'")),
        ("secret", "find / -name 'holdpoint.db*' -o -name 'secret' -path '*data*' -o -name holdpoint.toml | grep .".into()),
        ("others' folders", format!("ls {theirs}")),
        ("others' names", format!("ls {data}/executions | grep {}", other.id)),
        ("own run folder", "ls ../run".into()),
        ("through the first process", format!("cat /proc/1/root{folder}/host-secret.txt")),
        ("program", "cat /proc/1/exe > /tmp/exe && echo x >> /usr/local/bin/holdpoint".into()),
        ("remount", "mount -o remount,rw /".into()),
        ("remount what is read-only", "mount -o remount,rw,bind /run/holdpoint/session".into()),
        ("mount", "mount -t tmpfs none /tmp".into()),
        ("bind", "mount --bind / /tmp".into()),
        ("unmount", "umount /run/holdpoint/gateway".into()),
        ("proc", "mount -t proc none /tmp".into()),
        ("namespace", "unshare --mount true".into()),
        ("user namespace", "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /mnt && umount /sys'".into()),
        ("others' namespaces", "nsenter --target 1 --mount --pid --net true".into()),
        ("chroot", "chroot /tmp true".into()),
        ("block device", "mknod disk b 254 0".into()),
        ("character device", "mknod /tmp/mem c 1 1".into()),
        ("devices", "find /dev -type b | grep . || ls /dev/kmsg /dev/mem /dev/fuse /dev/kvm /dev/net/tun".into()),
        ("setuid", "find / -xdev -perm /6000 -type f | grep .".into()),
        ("su", "su -c true".into()),
        ("setpriv", "setpriv --reuid 0 true".into()),
        ("chown", "touch mine && chown 0:0 mine".into()),
        ("capability", "touch cap && python3 -c 'import os; os.setxattr(\"cap\", \"security.capability\", bytes.fromhex(\"0100000200040000000000000000000000000000\"))'".into()),
        ("hard link", "ln /etc/passwd here".into()),
        ("kernel", "echo 1 > /proc/sys/kernel/panic || echo h > /proc/sysrq-trigger || echo x > /proc/self/attr/current".into()),
        ("control groups", "find /sys/fs/cgroup -writable | grep .".into()),
        ("clock", "date -s 2001-01-01".into()),
        ("hostname", "hostname other || echo x > /proc/sys/kernel/hostname".into()),
        ("keys", "(head -c 1 /proc/kcore; head -c 1 /proc/keys) 2>/dev/null | grep -a .".into()),
        ("log of the kernel", "dmesg".into()),
        ("kernel modules", "python3 -c 'import os; os.execvp(\"insmod\", [\"insmod\", \"x\"])'".into()),
        ("niceness", "renice -n -5 $$".into()),
    ];
    let borrowed: Vec<(&str, &str)> = attempts.iter().map(|(name, command)| (*name, &**command)).collect();
    assert_eq!(session.tries(&borrowed).await?, Vec::<String>::new());

    // A program that would run with somebody else's rights, put there by whoever else: the mount says no.
    let planted = server.workspace(&session.id).join("planted");
    fs::copy("/usr/bin/id", &planted)?;
    fs::set_permissions(&planted, std::os::unix::fs::PermissionsExt::from_mode(0o6755))?;
    let own = session.prints("./planted -u; id -u").await?;
    let ids: BTreeSet<&str> = own.lines().collect();
    assert_eq!(ids.len(), 1, "setuid works: {own}");

    // Folders that can be written to.
    let writable = session
        .prints("find / -path /proc -prune -o -type d -writable -print 2>/dev/null; find /proc -maxdepth 1 -writable -not -name keys -not -name timer_list")
        .await?;
    let own = session.folder();
    let allowed = [
        own.join("workspace"),
        own.join("home"),
        "/tmp".into(),
        "/var/tmp".into(),
        "/dev/shm".into(),
        "/dev/mqueue".into(),
    ];
    let more: Vec<&str> = writable
        .lines()
        .filter(|line| !allowed.iter().any(|allowed| std::path::Path::new(line).starts_with(allowed)))
        .collect();
    assert_eq!(more, Vec::<&str>::new());
    // What looks like the host's below `/tmp` is not: only this session's own two folders are mounted there.
    for outside in [server.folder(), &server.data, &session.folder()] {
        let said = session
            .prints(&format!("touch {}/attempt; mkdir -p {}/more", outside.display(), outside.display()))
            .await?;
        assert!(!outside.join("attempt").exists() && !outside.join("more").exists(), "{said}");
    }
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn other_processes_are_out_of_sight_and_reach(#[case] kind: Kind) -> Result<()> {
    let mut server = server(kind, "").await?;
    let pid = server.pid().context("a server")?;
    let id = {
        let mut other = Session::begin(&server).await?;
        let mut session = Session::begin(&server).await?;
        other.prints("echo anothers > secret.txt; (sleep 1000 >/dev/null 2>&1 &)").await?;
        let theirs = processes::of(&other.id, Part::Session);
        assert!(!theirs.is_empty());
        let seen = session.prints("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a HOLDPOINT_ | sort -u").await?;
        assert!(
            !seen.contains(&other.id) && !seen.contains("sleep 1000") && !seen.contains("holdpoint worker"),
            "{seen}"
        );
        let workers = processes::of(&session.id, Part::Worker);
        let mut attempts = vec![(
            "another's file".to_owned(),
            format!("cat {}/secret.txt", server.workspace(&other.id).display()),
        )];
        for pid in theirs.iter().chain(&workers).chain([&pid]) {
            // The number may be one of its own; then it is not theirs.
            attempts.push((format!("pid {pid}"), format!("grep -aqF -e {} -e 'holdpoint worker' -e 'up --no-open' /proc/{pid}/environ /proc/{pid}/cmdline", other.id)));
        }
        // System V and POSIX shared memory, and queues.
        attempts
            .push(("shared memory".into(), "ipcs -a | grep -i '0x' || ls /dev/shm | grep ^libpod".into()));
        let borrowed: Vec<(&str, &str)> =
            attempts.iter().map(|(name, command)| (&**name, &**command)).collect();
        assert_eq!(session.tries(&borrowed).await?, Vec::<String>::new());

        // Everything that can be signalled is its own.
        session.told("kill -STOP -1; kill -KILL -1; kill -9 $(ls /proc | grep '^[0-9]'); sleep 30").await?;
        server
            .until(&session.id, "the end of its processes", |execution| execution["residency"] != "warm")
            .await?;
        assert_eq!(
            theirs.iter().filter(|pid| !processes::of(&other.id, Part::Session).contains(pid)).count(),
            0
        );
        other.still_works().await?;
        assert_eq!(of_kind(&other.events()?, "worker_lost").len(), 0);
        check_log(&session.events()?)?;
        other.id
    };
    assert!(server.is_up());
    assert_eq!(server.execution(&id).await?["residency"], "warm");
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn the_workers_things_are_out_of_reach(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "").await?;
    let mut session = Session::begin(&server).await?;
    let run = session.folder().join("run/1");
    for file in ["spec.json", "journal.jsonl", "worker.log"] {
        assert!(run.join(file).is_file(), "{file} is not where it is looked for");
    }
    let worked = session
        .tries(&[
            ("files", "find / \\( -name spec.json -o -name journal.jsonl -o -name notes.jsonl -o -name worker.log \\) -not -path '/usr/*' -not -path '/proc/*' 2>/dev/null | grep ."),
            ("run folder", &format!("ls {}", run.display())),
            ("session socket", "test -e /run/holdpoint/session/session.sock"),
            ("connect", "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/run/holdpoint/session/session.sock\")'"),
            ("another in its place", "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"/run/holdpoint/session/session.sock\")'"),
            ("gateway in its place", "rm -f /run/holdpoint/gateway/gateway.sock || mv /run/holdpoint/gateway/gateway.sock /run/holdpoint/gateway/x"),
            ("notes", "touch /run/holdpoint/session/notes.jsonl /run/holdpoint/notes.jsonl"),
            ("first process's environment", "cat /proc/1/environ | grep -a ."),
            ("first process's files", "ls -l /proc/1/fd/"),
            ("first process's memory", "dd if=/proc/1/mem bs=1 count=1 skip=$(printf '%d' 0x$(head -1 /proc/1/maps | cut -d- -f1))"),
            ("stop it", "kill -STOP 1; sleep 0.3; grep -q '^State:.*T' /proc/1/status"),
        ])
        .await?;
    assert_eq!(worked, Vec::<String>::new());
    let token = session.spec(1)?["worker_token"].as_str().context("a token")?.to_owned();
    assert_eq!(session.prints(&search(&token)).await?.trim(), "searched");
    session.still_works().await
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_fork_bomb_stays_in_its_container(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "processes = 120").await?;
    let mut session = Session::begin(&server).await?;
    let mut other = Session::begin(&server).await?;
    // First with an end: what is not bounded here would be a bomb for the whole machine.
    let said = session
        .prints("python3 -c 'import os, time, signal\nchildren = []\ntry:\n  for n in range(300):\n    child = os.fork()\n    if child == 0: time.sleep(60); os._exit(0)\n    children.append(child)\nexcept OSError: pass\nfor child in children: os.kill(child, signal.SIGKILL)\nprint(len(children))'")
        .await?;
    let processes: usize = said.trim().parse().with_context(|| said.clone())?;
    ensure!(processes < 136, "{processes} processes could be started");
    session.told("bomb() { bomb | bomb & }; bomb; sleep 2; echo after").await?;
    let text = session.notice("processes and threads").await?;
    assert!(text.contains("120 processes") && text.contains("container.processes"), "{text}");
    // The machine and everybody else go on.
    assert!(std::process::Command::new("true").status()?.success());
    other.still_works().await?;
    assert!(session.notices()?.len() <= 6, "the log is not filled with it");
    // So does the conversation, or it says why not.
    let over = server
        .until(&session.id, "what becomes of it", |execution| {
            execution["status"] == "awaiting" || execution["residency"] != "warm"
        })
        .await;
    if let Err(error) = over {
        let execution = server.execution(&session.id).await?;
        assert!(execution["error"]["title"].is_string() || execution["status"] == "awaiting", "{error:#}");
    }
    check_log(&session.events()?)
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn whoever_takes_too_much_memory_is_killed_and_the_conversation_goes_on(
    #[case] kind: Kind,
) -> Result<()> {
    let server = server(kind, "memory = \"420MiB\"").await?;
    let mut session = Session::begin(&server).await?;
    let said = session
        .prints("python3 -c 'x = bytearray(900 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(20)\nprint(\"all of\", \"it\")'; echo ended with $?")
        .await?;
    assert!(said.contains("ended with 137") && !said.contains("all of it"), "{said}");
    let text = session.notice("memory").await?;
    assert!(text.contains("420MiB") && text.contains("container.memory"), "{text}");
    session.still_works().await?;
    assert_eq!(of_kind(&session.events()?, "worker_lost").len(), 0);
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn full_folders_and_long_files_are_said(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "tmp = \"8MiB\"\nfile = \"4MiB\"").await?;
    let mut session = Session::begin(&server).await?;
    let said = session.prints("for i in 1 2 3 4; do head -c 3M /dev/zero > /tmp/$i; done 2> said; sleep 1; rm /tmp/[1-4]; cat said").await?;
    assert!(said.contains("No space left on device"), "{said}");
    let text = session.notice("/tmp").await?;
    assert!(text.contains("8MiB") && text.contains("container.tmp"), "{text}");
    let said = session.prints("head -c 64M /dev/zero > big; echo ended with $?").await?;
    assert!(said.contains("ended with 153"), "not SIGXFSZ: {said}");
    assert_eq!(fs::metadata(server.workspace(&session.id).join("big"))?.len(), 4 << 20);
    let worked = session
        .tries(&[
            ("shared memory", "for i in $(seq 40); do head -c 3M /dev/zero > /dev/shm/$i || exit 1; done"),
            (
                "more temporary files",
                "for i in $(seq 40); do head -c 3M /dev/zero > /var/tmp/$i || exit 1; done",
            ),
            ("a higher limit", "ulimit -f unlimited && head -c 64M /dev/zero > big"),
        ])
        .await?;
    assert_eq!(worked, Vec::<String>::new());
    session.prints("rm -rf /tmp/* /dev/shm/* /var/tmp/*").await?;
    session.still_works().await
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn the_hosts_disk_cannot_be_filled(#[case] kind: Kind) -> Result<()> {
    let server = server(kind, "disk = \"64MiB\"").await?;
    let mut session = Session::begin(&server).await?;
    session.told("for i in $(seq 3000); do head -c 1M /dev/urandom > file$i; sleep 0.05; done").await?;
    let deadline = Instant::now() + PATIENCE;
    let execution = loop {
        let execution = server.execution(&session.id).await?;
        if execution["status"] == "error" {
            break execution;
        }
        ensure!(Instant::now() < deadline, "nothing stops it:\n{}", server.story(&session.id).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(execution["error"]["code"], "disk_limit", "{execution:#}");
    assert!(
        execution["error"].to_string().contains("64MiB")
            && execution["error"].to_string().contains("container.disk")
    );
    let mut size = 0;
    for entry in fs::read_dir(server.workspace(&session.id))? {
        size += entry?.metadata()?.len();
    }
    assert!(size < 1 << 30, "{} MiB were written", size >> 20);
    check_log(&session.events()?)
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn results_that_lead_elsewhere_are_not_followed(#[case] kind: Kind) -> Result<()> {
    let mut server = server(kind, "").await?;
    let secret = server.folder().join("host-secret.txt");
    fs::write(&secret, "of the host")?;
    let (id, hold) = {
        let mut other = Session::begin(&server).await?;
        other.prints("echo anothers > secret.txt").await?;
        let mut session = Session::begin(&server).await?;
        let theirs = server.workspace(&other.id);
        let (theirs, folder) = (theirs.display(), server.folder().display());
        session
            .prints(&format!(
                "ln -s /etc/passwd passwd.txt; ln -s {theirs}/secret.txt theirs.txt; ln -s {theirs} theirs; \
                 ln -s {folder}/host-secret.txt host.txt; ln -s ../../../../.. up; ln -s / root; ln -s ../run/1 run; \
                 mkfifo pipe.txt; mkdir real; echo good > real/good.txt; ln -s real/good.txt inner.txt; \
                 python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock.txt\")'; echo x > plain.txt"
            ))
            .await?;
        let downloads = [
            "passwd.txt",
            "theirs.txt",
            "theirs/secret.txt",
            "host.txt",
            "root/etc/passwd",
            "run/spec.json",
            "pipe.txt",
            "sock.txt",
            "up/host-secret.txt",
            "..%2Frun%2F1%2Fspec.json",
            "../run/1/spec.json",
            "%2Fetc%2Fpasswd",
            "real/../../run/1/spec.json",
        ];
        for path in downloads {
            let (status, body) = server.get(&format!("/v1/executions/{}/files/{path}", session.id)).await?;
            assert!(status == 404 || status == 400, "{path}: {status} {body}");
        }
        let (status, body) =
            server.get(&format!("/v1/executions/{}/files/real/good.txt", session.id)).await?;
        assert_eq!((status, body), (200, json!("good\n")));
        let (_, list) = server.get(&format!("/v1/executions/{}/files", session.id)).await?;
        let listed: Vec<&str> = list["items"]
            .as_array()
            .context("files")?
            .iter()
            .filter_map(|item| item["path"].as_str())
            .collect();
        assert_eq!(listed, ["plain.txt", "real/good.txt"]);
        (session.id, session.waits.context("a hold")?)
    };
    // Put by, taken away and brought back: still links, and nothing of what they lead to.
    let deadline = Instant::now() + PATIENCE;
    while server.export(&id)?.last().is_none_or(|event| event["kind"] != "checkpoint_taken") {
        ensure!(
            Instant::now() < deadline,
            "no checkpoint:\n{}\n{}",
            server.story(&id).await,
            server.output()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let blobs =
        std::process::Command::new("grep").args(["-rlaF", "of the host"]).arg(&server.data).output()?;
    assert_eq!(String::from_utf8(blobs.stdout)?, "", "the host's file was put by");
    server.kill()?;
    processes::kill_all_of(&server.data);
    fs::remove_dir_all(server.workspace(&id))?;
    server.up().await?;
    server.decide(&hold, json!({"action": "reply", "message": "ls"})).await?;
    server.hold(&id, "reply", &[hold["id"].as_str().context("an id")?.into()]).await?;
    let workspace = server.workspace(&id);
    assert_eq!(fs::read_link(workspace.join("host.txt"))?, secret);
    assert_eq!(fs::read_to_string(workspace.join("real/good.txt"))?, "good\n");
    assert_eq!(fs::read_to_string(&secret)?, "of the host");
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_configuration_folder_that_became_a_link_is_not_written_through(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = server(kind, "").await?;
    let elsewhere = server.folder().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    podman.takes(&elsewhere)?;
    let mut session = Session::begin(&server).await?;
    // It kills itself afterwards: what comes next is a start, as soon as a person has said what becomes of that call.
    session
        .told(&format!(
            "cd ~ && mv .claude was && ln -s {} .claude; echo done; kill -9 -1",
            elsewhere.display()
        ))
        .await?;
    let hold = server.hold(&session.id, "tool", &[]).await?;
    server.decide(&hold, json!({"action": "deny", "message": "once is enough"})).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let execution = server.execution(&session.id).await?;
        if execution["status"] == "error" {
            assert_eq!(execution["error"]["code"], "config_replaced", "{execution:#}");
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{}\n{}",
            server.story(&session.id).await,
            server.worker_logs(&session.id)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fs::read_dir(&elsewhere)?.count(), 0, "something was written through the link");
    Ok(())
}
