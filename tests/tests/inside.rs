//! Looking inside of sessions, in a container and as a process: `ps`, `inspect`, `exec`, `logs`, and the page.

use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{
    PATIENCE, Server, Setup,
    browser::Browser,
    of_kind,
    podman::{Kind, Podman},
};
use rstest::rstest;
use serde_json::{Value, json};

const SCRIPT: &str = r#"
scenes:
  - turns:
      - - text: "What shall it be?"
"#;

/// Runs a command of the program, with something on its stdin, however it ends.
fn run(server: &Server, args: &[&str], stdin: &str) -> Result<Output> {
    use std::io::Write as _;
    let mut command = server.command(&[]);
    // What follows `--` must be the last.
    command.args(args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    // It may end without reading.
    let _ = child.stdin.take().context("stdin")?.write_all(stdin.as_bytes());
    Ok(child.wait_with_output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a shell's line beside a session: exit code, stdout, stderr.
fn exec(server: &Server, id: &str, line: &str) -> Result<(Option<i32>, String, String)> {
    let mut output = run(server, &["exec", id, "--", "sh", "-c", line], "typed")?;
    for _ in 0..2 {
        // Podman 4.3 loses a connection of its own now and then, and says so; nothing of the command was seen then.
        if !text(&output.stderr).contains("attach: read: connection reset by peer") {
            break;
        }
        output = run(server, &["exec", id, "--", "sh", "-c", line], "typed")?;
    }
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

async fn token(server: &Server, role: &str) -> Result<String> {
    let (status, body) = server.post("/v1/tokens", json!({"name": role, "role": role})).await?;
    ensure!(status < 300, "{status} {body}");
    Ok(body["token"].as_str().context("a token")?.to_owned())
}

/// What is the same wherever a session runs.
async fn looked_into(server: &Server, engine: &str) -> Result<String> {
    let id = server.ask("claude", "begin").await?;
    server.hold(&id, "reply", &[]).await?;
    let short = &id[id.len() - 8..];

    let ps = server.run(&["ps"])?;
    ensure!(ps.contains(short) && ps.contains(engine) && ps.contains("running"), "{ps}");
    let listed: Value = serde_json::from_str(&server.run(&["ps", "--json"])?)?;
    let worker = &listed["items"][0]["worker"];
    ensure!(worker["memory_bytes"]["used"].as_u64().is_some_and(|used| used > 20 << 20), "{worker:#}");
    ensure!(worker["processes"]["used"].as_u64().is_some_and(|used| used > 1), "{worker:#}");

    // The command runs as what the session is, where it is, with its HOME, and with none of its tokens.
    let (code, out, err) = exec(server, short, "pwd; echo $HOME; cat; env >&2; exit 7")?;
    let home = server.workspace(&id).with_file_name("home");
    let expected = format!("{}\n{}\ntyped", server.workspace(&id).display(), home.display());
    assert_eq!((code, out), (Some(7), expected), "{err}");
    let (_, gateway) = err.split_once("HOLDPOINT_SESSION=").context(err.clone())?;
    ensure!(gateway.starts_with(&format!("{id}/1")), "{err}");
    for secret in ["ANTHROPIC", "hpg_", "hpw_", "TOKEN", "HOLDPOINT_WORKER"] {
        ensure!(!err.contains(secret), "{secret} was handed on: {err}");
    }
    assert_eq!(exec(server, &id, "echo made > by-hand.txt")?.0, Some(0));
    assert_eq!(std::fs::read_to_string(server.workspace(&id).join("by-hand.txt"))?, "made\n");
    assert_eq!(run(server, &["exec", &id, "--", "no-such-program"], "")?.status.code(), Some(127));
    assert_eq!(exec(server, &id, "kill -9 $$")?.0, Some(137));
    let (code, out, _) = exec(server, &id, "head -c 3000000 /dev/zero | tr '\\0' x")?;
    assert_eq!((code, out.len()), (Some(0), 3_000_000));

    // It ends with whoever wanted it. A number that nobody else sleeps for: other tests run beside this one.
    let sleep = format!("sleep 4321.{}", u32::from_str_radix(&short[2..], 16)?);
    let line = format!("setsid {sleep}; true");
    let mut command = server.command(&[]);
    let mut child = command
        .args(["exec", &id, "--", "sh", "-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let is_there = |wanted: bool| {
        let (id, sleep) = (&id, &sleep);
        async move {
            let deadline = std::time::Instant::now() + PATIENCE;
            while std::time::Instant::now() < deadline {
                let list = exec(server, id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")?.1;
                if list.contains(sleep.as_str()) == wanted {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            anyhow::bail!("waited for sleep to be {wanted}")
        }
    };
    is_there(true).await?;
    child.kill()?;
    child.wait()?;
    is_there(false).await?;

    // Who ran what stays.
    let ran = server.export(&id)?;
    let ran = of_kind(&ran, "command_run");
    let first = &ran.first().context("no command in the log")?["data"];
    assert_eq!((&first["by"]["channel"], &first["command"][0]), (&json!("terminal"), &json!("sh")));
    ensure!(server.run(&["logs", &id])?.contains("ran beside the session: sh -c 'pwd;"), "no word of it");

    ensure!(server.run(&["logs", &id, "--worker"])?.contains("starting the session"));
    for role in ["asker", "approver", "viewer"] {
        let token = token(server, role).await?;
        let args = ["exec", &id, "--url", &server.url, "--token", &token, "--", "id"];
        let refused = run(server, &args, "")?;
        let said = text(&refused.stderr);
        // Whoever may not even see it does not learn that it is there.
        ensure!(refused.status.code() == Some(1) && said.contains("not allowed"), "{role}: {refused:?}");
        let ps = run(server, &["ps", "--url", &server.url, "--token", &token], "")?;
        ensure!(ps.status.code() == Some(1) && text(&ps.stderr).contains("operator may"), "{role}: {ps:?}");
    }
    let unknown = run(server, &["inspect", "00000000-0000-7000-8000-000000000000"], "")?;
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
    Ok(id)
}

#[tokio::test]
async fn a_process() -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT)).await?;
    let id = looked_into(&server, "process").await?;
    ensure!(server.run(&["inspect", &id])?.contains("Nothing is between this session and the machine"));
    let no_container = run(&server, &["logs", &id, "--container"], "")?;
    ensure!(text(&no_container.stderr).contains("runs in no container"), "{no_container:?}");
    Ok(())
}

#[rstest]
#[case::rootful(Kind::Rootful)]
#[case::rootless(Kind::Rootless)]
#[tokio::test]
async fn a_container(#[case] kind: Kind) -> Result<()> {
    let podman = Podman::ready(kind)?;
    let server = Server::start(Setup::script(SCRIPT).podman(podman.clone())).await?;
    let id = looked_into(&server, "podman").await?;
    let seen: Value = serde_json::from_str(&server.run(&["inspect", &id, "--json"])?)?;
    let container = &seen["container"];
    let known = podman.run(&["inspect", "--format", "{{.Id}} {{.Image}}", &format!("holdpoint-{id}-1")])?;
    let said = format!(
        "{} {}",
        container["id"].as_str().unwrap_or_default(),
        container["image_digest"].as_str().unwrap_or_default()
    );
    assert_eq!(said.replace("sha256:", ""), known.trim().replace("sha256:", ""));
    assert_eq!(container["network"], "none");
    let inspected = server.run(&["inspect", &id])?;
    ensure!(inspected.contains("holdpoint-") && inspected.contains("Sees of this machine"), "{inspected}");
    // As what the session is: nobody, without powers, and with nothing to write to but what is its own.
    let (code, out, err) =
        exec(&server, &id, "id -u; grep -h '^CapEff\\|^CapBnd\\|^NoNewPrivs' /proc/self/status; touch /x")?;
    let user = container["user"].as_str().unwrap_or_default().split(':').next().unwrap_or_default();
    let lines: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [user, "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"],
        "{err}"
    );
    ensure!(user != "0" && code != Some(0) && err.contains("Read-only"), "{err}");
    ensure!(run(&server, &["logs", &id, "--container"], "")?.status.success());
    Ok(())
}

#[tokio::test]
async fn where_nothing_runs_it_says_what_can_be_looked_at() -> Result<()> {
    let agents = "[agents.quick]\ntitle = \"Quick\"\nlinger = \"0s\"\n";
    let server = Server::start(Setup::script(SCRIPT).toml(agents)).await?;
    let id = server.ask("quick", "begin").await?;
    server.until(&id, "its park", |execution| execution["residency"] == "parked").await?;
    for args in [vec!["inspect", &id], vec!["exec", &id, "--", "id"]] {
        let refused = run(&server, &args, "")?;
        let said = text(&refused.stderr);
        ensure!(refused.status.code() == Some(5), "{refused:?}");
        ensure!(said.contains("it waits for people, and waits without one"), "{said}");
        ensure!(said.contains(&format!("→ holdpoint logs {}", &id[id.len() - 8..])), "{said}");
    }
    ensure!(server.run(&["ps"])?.contains("No session runs"));
    Ok(())
}

async fn page(width: u32, height: u32, dark: bool, name: &str) -> Result<()> {
    let server = Server::start(Setup::script(SCRIPT).podman(Podman::ready(Kind::Rootful)?)).await?;
    let link = server.first_link.clone().context("no link")?;
    let id = server.ask("claude", "Make a small note, please").await?;
    server.hold(&id, "reply", &[]).await?;
    let browser = Browser::open(width, height, dark).await?;
    browser.client.goto(&link).await?;
    browser.welcome().await?;
    let home = server.url.replace("127.0.0.1", "localhost");
    browser.client.goto(&format!("{home}/executions/{id}")).await?;
    let engine = browser.see("#session [data-fact=engine]").await?.text().await?;
    ensure!(engine == "podman, running", "{engine}");
    browser.click("#session details[data-part=exec] > summary").await?;
    browser.fill("#exec [name=command]", "pwd; ls -la; exit 3").await?;
    browser.shot(&format!("{name}-15-session")).await?;
    browser.click("#exec button[data-action=exec]").await?;
    browser.see("body[data-page=session] #ran").await?;
    browser.read("Exit code 3").await?;
    browser.read(&server.workspace(&id).display().to_string()).await?;
    browser.shot(&format!("{name}-16-ran")).await?;
    browser.click("[data-log=worker]").await?;
    browser.read("starting the session").await?;
    browser.client.goto(&format!("{home}/executions/{id}")).await?;
    browser.read("grace ran a command beside the session").await?;
    browser.close().await
}

#[tokio::test]
async fn a_page_at_a_desk() -> Result<()> {
    page(1280, 900, false, "desk").await
}

#[tokio::test]
async fn a_page_on_a_phone_at_night() -> Result<()> {
    page(390, 844, true, "phone").await
}
