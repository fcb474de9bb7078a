//! Ends, wanted and unwanted, and what is looked at before a start.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use holdpoint_claude::{
    Claude, Close, Event, Options, RUN_MARKER_ENV, SessionChoice, SpawnError, UserMessage, kill_by_env_marker,
};

use crate::model::{bash, text};
use crate::world::{World, cli, eventually, running};

/// Set for the process that plays the driver in `case_40_driver_dies`: base URL, folder, command.
const DRIVER: &str = "CLAUDE_TEST_DRIVER";

#[tokio::test]
async fn case_40_driver_dies() {
    let world = World::new().await;
    let sleep = format!("sleep 301.{}", std::process::id());
    world.model.script("go", [bash(&format!("touch begun; {sleep}")), text("never said")]);
    let role = format!("{}\n{}", world.model.url, world.work().parent().unwrap().display());
    let mut driver = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ending::the_driver_that_dies", "--nocapture", "--ignored"])
        .env(DRIVER, role)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let notes = world.work().join("notes");
    let noted = || std::fs::read_to_string(&notes).unwrap_or_default();
    eventually("the command runs", || noted().ends_with('\n') && world.made("begun") && running(&sleep))
        .await;
    let noted = noted();
    let (pid, marker) = noted.trim().split_once(' ').unwrap();

    driver.kill().unwrap();
    driver.wait().unwrap();
    let cli_pid: u32 = pid.parse().unwrap();
    eventually("the CLI is gone with its driver", || {
        std::fs::read_to_string(format!("/proc/{cli_pid}/stat")).is_err()
    })
    .await;
    // The command is in a session of its own and lives on; whoever comes next finds it by its mark.
    kill_by_env_marker(RUN_MARKER_ENV, marker);
    assert!(!running(&sleep));
}

/// Not a test by itself: the process that `case_40_driver_dies` kills.
#[tokio::test]
#[ignore = "started by case_40_driver_dies"]
async fn the_driver_that_dies() {
    let Some(role) = std::env::var_os(DRIVER) else { return };
    let role = role.into_string().unwrap();
    let (url, dir) = role.split_once('\n').unwrap();
    let dir = std::path::Path::new(dir);
    let options = Options::new(cli(), dir.join("work"), dir.join("config"), SessionChoice::new())
        .env("ANTHROPIC_BASE_URL", url)
        .env("ANTHROPIC_API_KEY", "test")
        .allow_tool("Bash");
    let (session, mut events) = Claude::spawn(options).await.unwrap();
    session.send(UserMessage::text("#go")).await.unwrap();
    let mut notes = std::fs::File::create(dir.join("work/notes")).unwrap();
    writeln!(notes, "{} {}", session.pid(), session.run_marker()).unwrap();
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn dropping_the_last_handle_kills_the_running_command() {
    let world = World::new().await;
    let sleep = format!("sleep 302.{}", std::process::id());
    world.model.script("go", [bash(&format!("touch begun; {sleep}")), text("never said")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    eventually("the command runs", || world.made("begun") && running(&sleep)).await;
    let clone = session.handle.clone();
    drop(session.handle);
    assert!(running(&sleep), "a clone is left");
    drop(clone);
    assert!(!running(&sleep));
    loop {
        match session.events.next().await {
            Some(Event::Exited(exit)) => {
                assert!(exit.expected);
                break;
            }
            Some(_) => {}
            None => panic!("no end was told"),
        }
    }
}

#[tokio::test]
async fn kill_takes_the_running_command_and_what_it_detached() {
    let world = World::new().await;
    let (sleep, detached) =
        (format!("sleep 303.{}", std::process::id()), format!("sleep 304.{}", std::process::id()));
    let command = format!("(setsid {detached} >/dev/null 2>&1 &); touch begun; {sleep}");
    world.model.script("go", [bash(&command), text("never said")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    eventually("both run", || world.made("begun") && running(&sleep) && running(&detached)).await;
    let report = session.handle.kill().await;
    assert!(report.killed.contains(&session.handle.pid()));
    assert!(!running(&sleep) && !running(&detached));
    let exit = session.exit().await;
    assert!(exit.expected);
    session.handle.send(UserMessage::text("too late")).await.unwrap_err();
}

/// A server that a command left in the background does not outlive the session.
#[tokio::test]
async fn close_takes_what_a_command_left_behind() {
    let world = World::new().await;
    let sleep = format!("sleep 305.{}", std::process::id());
    let command = format!("setsid {sleep} >/dev/null 2>&1 & echo started");
    world.model.script("go", [bash(&command), text("done")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    assert!(session.result().await.outcome.is_success());
    eventually("it runs", || running(&sleep)).await;
    let report = session.close().await;
    assert!(!report.forced);
    assert!(!running(&sleep));
}

/// Closing at an open question interrupts first: a closed stdin would deny it and let the model go on.
#[tokio::test]
async fn close_at_a_question_interrupts() {
    let world = World::new().await;
    world.model.script("go", [bash("touch asked"), text("never said")]);
    let mut session = world.session().await;
    session.say("#go").await;
    session.ask().await;
    let report = session.handle.close(Close::finishing(Duration::from_secs(60))).await;
    assert_eq!((report.exit.expected, report.forced), (true, false));
    assert_eq!(world.model.requests().len(), 1, "the model was not called again");
    assert!(!world.made("asked"));
}

/// A running turn is waited for.
#[tokio::test]
async fn close_lets_a_turn_finish() {
    let world = World::new().await;
    world.model.script("go", [bash("sleep 1; touch ended"), text("done")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    session.until(|event| matches!(event, Event::Assistant(_)).then_some(())).await;
    let report = session.handle.close(Close::finishing(Duration::from_secs(60))).await;
    assert_eq!((report.exit.code, report.forced), (Some(0), false));
    assert!(world.made("ended"));
}

/// What does not end in time is ended.
#[tokio::test]
async fn close_kills_when_the_time_is_up() {
    let world = World::new().await;
    let sleep = format!("sleep 306.{}", std::process::id());
    world.model.script("go", [bash(&format!("touch begun; {sleep}")), text("never said")]);
    let mut session = world.session_with(|options| options.allow_tool("Bash")).await;
    session.say("#go").await;
    eventually("the command runs", || world.made("begun")).await;
    let report = session.handle.close(Close::finishing(Duration::from_millis(300))).await;
    assert!(report.forced && report.exit.expected);
    assert!(!running(&sleep));
    session.exit().await;
}

#[tokio::test]
async fn a_frozen_session_goes_on_when_thawed() {
    let world = World::new().await;
    world.model.script("go", [bash("touch asked"), text("done")]);
    let mut session = world.session().await;
    session.say("#go").await;
    let ask = session.ask().await;
    assert!(session.handle.freeze().await >= 1);
    session.handle.answer(&ask.request_id, holdpoint_claude::PermissionAnswer::allow()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!world.made("asked"), "it is frozen");
    session.handle.thaw().await;
    assert!(session.result().await.outcome.is_success());
    assert!(world.made("asked"));
    session.close().await;
}

#[tokio::test]
async fn case_43_two_drivers_one_session() {
    let world = World::new().await;
    world.model.script("go", [text("mine")]);
    let mut session = world.session().await;
    let id = session.handle.session();
    session.say("#go").await;
    session.result().await;
    match world.spawn(world.options(SessionChoice::resume(id))).await.map(drop) {
        Err(SpawnError::SessionInUse { session, holder }) => {
            assert_eq!((session, holder), (id, Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    session.close().await;
    let second = world.spawn(world.options(SessionChoice::resume(id))).await.unwrap();
    second.close().await;
}

#[tokio::test]
async fn case_44_preflight_finds_what_the_cli_would_not() {
    let world = World::new().await;
    let spawn = async |options: Options| world.spawn(options).await.map(drop).unwrap_err();
    let options = |cli: &std::path::Path, work: &std::path::Path, config: &std::path::Path| {
        Options::new(cli, work, config, SessionChoice::new())
    };
    let (cli, work, config) = (cli(), world.work(), world.config());

    let blocked = world.work().join("blocked-config");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::write(blocked.join("projects"), "no folder").unwrap();
    // A folder that even root cannot write to.
    for unwritable in [blocked.as_path(), std::path::Path::new("/proc/sys/config")] {
        let error = spawn(options(&cli, &work, unwritable)).await;
        assert!(matches!(error, SpawnError::ConfigDirUnwritable { .. }), "{error}");
    }
    let error = spawn(options("/no/such/claude".as_ref(), &work, &config)).await;
    assert!(matches!(error, SpawnError::CliMissing { .. }), "{error}");
    let error = spawn(options("no-such-claude".as_ref(), &work, &config)).await;
    assert!(matches!(error, SpawnError::CliMissing { .. }), "{error}");
    let plain = world.work().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let error = spawn(options(&plain, &work, &config)).await;
    assert!(matches!(error, SpawnError::CliNotExecutable { .. }), "{error}");
    let error = spawn(options(&cli, &work.join("nowhere"), &config)).await;
    assert!(matches!(error, SpawnError::CwdMissing { .. }), "{error}");
}

/// Starting a session anew under an id that has a transcript would be refused by the CLI only after a second.
#[tokio::test]
async fn a_new_session_needs_a_new_id() {
    let world = World::new().await;
    world.model.script("go", [text("hi")]);
    let mut session = world.session().await;
    let id = session.handle.session();
    session.say("#go").await;
    session.result().await;
    session.close().await;
    let error = world.spawn(world.options(SessionChoice::New(id))).await.map(drop).unwrap_err();
    assert!(matches!(error, SpawnError::SessionExists { .. }), "{error}");
}
