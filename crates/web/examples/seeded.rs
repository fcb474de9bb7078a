//! The panel with conversations in every state, for looking at: no worker, no model, no gateway.
//!
//! `cargo run -p holdpoint-web --example seeded -- 127.0.0.1:8099` prints an address per state and
//! session cookies: of an admin (sign in as `ada` with the password `correct horse`), of one with the
//! longest name there can be, and of somebody for whom nothing waits. With `--many` a hundred more
//! holds wait; with `--alive` one conversation goes on while one looks.

#[path = "../tests/web/support/mod.rs"]
mod support;

use std::{error::Error, time::Duration};

use futures::SinkExt as _;
use holdpoint_model::{
    Command, Role,
    command::Gone,
    event::{AssistantBlock, Block, Level, SendMode, ToolResult},
    release::SUGGEST_TOOL_NAME,
    wire::{Delta, Fact, NumberedFact, Up, WIRE_VERSION},
};
use holdpoint_store::{NewSession, Store, StoreOptions, User};
use holdpoint_web::{WebState, hash_token, router};
use serde_json::json;
use support::{
    person,
    seed::{Seed, agents, lock, patch, questions},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

/// What `correct horse` hashes to, made once: the example needs no hashing of its own.
const PASSWORD: &str = "correct horse";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8099".to_owned());
    let dir = tempfile::tempdir()?;
    let store = Store::open(&dir.path().join("holdpoint.db"), StoreOptions::default()).await?;
    let control = support::control(store.clone(), dir.path().to_path_buf(), false);
    let hash = holdpoint_web::password_hash(PASSWORD)?;
    let ada = store.create_user("ada", Role::Admin, Some(hash)).await?;
    sign_in(&store, &ada, "seeded").await?;
    // 60 characters, no place to break.
    let longest =
        store.create_user(&"Wolfeschlegelsteinhausenbergerdorff_".repeat(2)[..60], Role::Admin, None).await?;
    sign_in(&store, &longest, "seeded-long").await?;
    let idle = store.create_user("nobody", Role::Asker, None).await?;
    sign_in(&store, &idle, "seeded-none").await?;
    store.create_link(hash_token("seeded"), holdpoint_web::INVITATION, i64::MAX).await?;
    let me = person(ada.id, "ada");
    let other = person(holdpoint_model::UserId(uuid::Uuid::now_v7()), "Grace Hopper");

    releases(&store, &control, &me).await?;
    let base = format!("http://{address}");
    let port = address.rsplit(':').next().unwrap_or_default();
    for session in ["seeded", "seeded-long", "seeded-none"] {
        println!("cookie: holdpoint_session_{port}={session}");
    }
    println!("{base}/welcome?token=seeded");
    for (name, id) in [
        ("tool", tool(&store, &me).await),
        ("question", question(&store, &other).await),
        ("plan", plan(&store, &me).await),
        ("reply", reply(&store, &me, &control).await),
        ("working", working(&store, &other).await),
        ("failed", failed(&store, &me).await),
        ("long", long(&store, &me).await),
        ("unbroken", unbroken(&store, &person(longest.id, &longest.name)).await),
        ("missing", missing(&store, &me).await),
        ("queued", Seed::create(&store, &me, "Waits for its place", "Waits for its place").await),
    ] {
        println!("{name}: {base}/executions/{}", id.id);
    }
    if std::env::args().any(|argument| argument == "--many") {
        for n in 0..100 {
            let mut seed = Seed::create(&store, &me, &format!("Errand {n}"), "Run an errand").await;
            seed.work().await;
            seed.ask("toolu_errand", "Bash", json!({"command": format!("touch errand-{n}")})).await;
        }
    }
    if std::env::args().any(|argument| argument == "--alive") {
        tokio::spawn(alive(address.clone(), me.clone(), control.clone()));
    }
    let listener = tokio::net::TcpListener::bind(&address).await?;
    axum::serve(listener, router(WebState::new(control, &base))).await?;
    Ok(())
}

/// One release that was current, one that is, one that failed.
async fn releases(
    store: &Store,
    control: &holdpoint_control::Control,
    me: &holdpoint_model::Actor,
) -> Result<(), Box<dyn Error>> {
    for revision in ["4f1c2b7a9d8e60517c3f2a1b4d5e6f708192a3b4", "9b8a7c6d5e4f30211a2b3c4d5e6f7a8b9c0d1e2f"] {
        let number = store.begin_release(lock(revision), agents(), me.clone().into()).await?.number;
        store.activate_release(number, me.clone().into()).await?;
    }
    let number = store.begin_release(lock("3"), agents(), me.clone().into()).await?.number;
    store.fail_release(number, "dependencies/requirements.txt:3: nothing fits".into()).await?;
    control.load_release().await?;
    Ok(())
}

/// A browser that is signed in.
async fn sign_in(store: &Store, user: &User, secret: &str) -> Result<(), Box<dyn Error>> {
    let session = NewSession {
        user: user.id,
        hash: hash_token(secret),
        expires_at: i64::MAX,
        browser: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0".into(),
    };
    store.create_session(session, person(user.id, &user.name).into()).await?;
    Ok(())
}

/// A conversation that goes on while one looks: its worker is played over the real connection.
async fn alive(
    address: String,
    me: holdpoint_model::Actor,
    control: holdpoint_control::Control,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let seed = Seed::create(control.store(), &me, "One that goes on", "Count, and tell me").await;
    println!("alive: http://{address}/executions/{}", seed.id);
    seed.command(Command::StartWorker { engine: "none".into(), reason: "somebody looks".into() }).await;
    let id = holdpoint_engine::WorkerId { execution: seed.id, incarnation: 1 };
    let mut request = format!("ws://{address}/worker/link").into_client_request()?;
    let token = control.tokens().sign(holdpoint_control::Purpose::Worker, id);
    request.headers_mut().insert(http::header::AUTHORIZATION, format!("Bearer {token}").parse()?);
    let socket = tokio::net::TcpStream::connect(&address).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, socket).await?;
    let (mut number, mut frames) = (0, Vec::new());
    let mut fact = |fact| {
        number += 1;
        Up::Facts { facts: vec![NumberedFact { seq: number, at: 0, fact }] }
    };
    frames.push(Up::Hello {
        wire: WIRE_VERSION,
        execution: seed.id,
        incarnation: 1,
        last_seq: 0,
        releases: Vec::new(),
        messages: Vec::new(),
    });
    frames.push(fact(Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false }));
    for n in 0_u32.. {
        let text = format!("Step **{n}**: the quick brown fox jumps over the lazy dog, again and again.");
        for word in text.split_inclusive(' ') {
            frames.push(Up::Delta(Delta {
                attempt: format!("attempt-{n}"),
                index: 0,
                kind: "text".into(),
                text: word.into(),
                parent_tool_use_id: None,
            }));
        }
        let (call, input) = (format!("toolu_alive_{n}"), json!({"file_path": format!("/w/{n}.txt")}));
        for block in [Block::Text { text }, Block::ToolUse { id: call.clone(), name: "Read".into(), input }] {
            let message_id = format!("msg_{n}");
            frames.push(fact(Fact::Assistant(AssistantBlock {
                message_id,
                block,
                parent_tool_use_id: None,
            })));
        }
        frames.push(fact(Fact::ToolResult(ToolResult {
            tool_use_id: call,
            is_error: false,
            content: "contents".into(),
            truncated: false,
            patch: None,
            from_transcript: false,
        })));
        for frame in frames.drain(..) {
            tokio::time::sleep(Duration::from_millis(150)).await;
            socket.send(Message::Text(serde_json::to_string(&frame)?.into())).await?;
        }
    }
    Ok(())
}

async fn tool(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let agents = agents();
    let mut seed = Seed::create_with(
        store,
        me,
        "Review the contract with Acme and draft an answer about the liability cap in clause 7",
        "Review the contract with **Acme**. Language: English.\nLook at clause 7 first.",
        "reviewer",
        agents["reviewer"].clone(),
        false,
    )
    .await;
    seed.work().await;
    seed.paid("claude-opus-5-5", 12_400, 830, 82_750).await;
    seed.thinking(
        "The contract is a PDF. I should read it first, then look at clause 7, where liability is.",
    )
    .await;
    seed.text("I’ll start with the contract itself.").await;
    seed.call("toolu_01", "Read", json!({"file_path": "/workspace/attachments/acme.txt"})).await;
    seed.result(
        "toolu_01",
        "1\tMASTER SERVICES AGREEMENT\n2\t…\n7\tLiability of the Customer is unlimited.",
        None,
    )
    .await;
    seed.call("toolu_02", "Task", json!({"description": "Compare with our template", "subagent_type": "general-purpose", "prompt": "Compare clause by clause"})).await;
    seed.below("toolu_02", Block::Text { text: "Comparing 14 clauses with the template.".into() }).await;
    seed.below(
        "toolu_02",
        Block::ToolUse { id: "toolu_03".into(), name: "Grep".into(), input: json!({"pattern": "liab"}) },
    )
    .await;
    seed.result("toolu_03", "template.md:41: Liability is capped at twelve months of fees.", None).await;
    seed.result("toolu_02", "Clause 7 differs: our template has a **cap**.", None).await;
    seed.text("Clause 7 has no cap. The usual position:\n\n| Clause | Theirs | Ours |\n|---|---|--:|\n| 7 Liability | unlimited | 12 months |\n| 4 Payment | 90 days | 30 days |\n\n1. Propose the cap.\n2. Keep clause 11 as it is.\n\n> Liability of the Customer is unlimited.\n\n```\ncap = 12 * monthly_fee\n```").await;
    let edit = seed
        .ask("toolu_04", "Edit", json!({
            "file_path": "/workspace/answer.md",
            "old_string": "We accept clause 7 as it stands.\n\nKind regards",
            "new_string": "We propose to cap the liability in clause 7\nat twelve months of fees.\n\nKind regards",
        }))
        .await;
    seed.decide(edit, me, json!({"action": "allow"})).await;
    seed.result("toolu_04", "The file has been updated.", Some(patch())).await;
    let denied = seed
        .ask("toolu_05", "WebFetch", json!({"url": "https://example.org/law", "prompt": "find the rule"}))
        .await;
    seed.decide(
        denied,
        me,
        json!({"action": "deny", "message": "No web here; the statute is in `attachments/`."}),
    )
    .await;
    seed.failed("toolu_05", "No web here; the statute is in `attachments/`.").await;
    seed.paid("claude-opus-5-5", 3_900, 420, 30_000).await;
    seed.files(&[("answer.md", 1_840), ("out/risks by clause.xlsx", 48_213)]).await;
    seed.ask("toolu_06", "Bash", json!({"command": "pandoc answer.md -o out/answer.docx && ls -la out", "description": "Make a Word document of the answer", "timeout": 120_000})).await;
    seed.ask("toolu_07", "Write", json!({"file_path": "/workspace/out/cover letter.md", "content": "# Cover letter\n\nDear Acme,\n\nplease find our answer attached.\n"})).await;
    seed
}

async fn question(store: &Store, owner: &holdpoint_model::Actor) -> Seed {
    let mut seed = Seed::create(store, owner, "Tone of the answer", "Write the answer to Acme").await;
    seed.work().await;
    seed.text("Two things to settle before I write.").await;
    seed.ask("toolu_21", "AskUserQuestion", questions()).await;
    seed
}

async fn plan(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let mut seed =
        Seed::create(store, me, "Migrate the archive", "Plan how to migrate the archive, then do it").await;
    seed.work().await;
    seed.ask("toolu_31", "ExitPlanMode", json!({"plan": "# Migrate the archive\n\n1. Read `archive/` and count what is there.\n2. Write `convert.py`; run it on **ten** files.\n3. Show the differences, then run it on all 4 812.\n\nNothing is deleted before step 3 was looked at.", "planFilePath": "/home/.claude/plans/archive.md"})).await;
    seed
}

async fn reply(store: &Store, me: &holdpoint_model::Actor, control: &holdpoint_control::Control) -> Seed {
    let mut seed = Seed::create(store, me, "Summarise the minutes", "Summarise the minutes").await;
    let workspace = control.workspace(seed.id);
    let _ = std::fs::create_dir_all(&workspace);
    let _ = std::fs::write(workspace.join("summary.md"), "# Summary\n");
    seed.work().await;
    let hold =
        seed.ask("toolu_41", "Bash", json!({"command": "wc -w minutes/jan.txt minutes/feb.txt"})).await;
    seed.decide(hold, me, json!({"action": "allow", "scope": "conversation"})).await;
    seed.result("toolu_41", "  4210 minutes/jan.txt\n  3881 minutes/feb.txt\n  8091 total", None).await;
    seed.call("toolu_42", "Bash", json!({"command": "wc -l minutes/jan.txt"})).await;
    let covered = seed.asked("toolu_42", "Bash", json!({"command": "wc -l minutes/jan.txt"})).await;
    seed.release(covered).await;
    seed.result("toolu_42", "212 minutes/jan.txt", None).await;
    let asked = seed.ask("toolu_43", "AskUserQuestion", questions()).await;
    seed.decide(asked, me, json!({"action": "answer", "answers": {"Which tone should the answer have?": "Plain"}, "notes": {"Which tone should the answer have?": "as in the last letter"}})).await;
    seed.result("toolu_43", "User has answered", None).await;
    let text = "Done: `summary.md` has one page, decisions first.\n\nShall I also list who was absent?";
    seed.text(text).await;
    seed.files(&[("summary.md", 10)]).await;
    seed.turn_ended(text).await;
    seed.gone(Gone::Parked).await;
    seed
}

async fn working(store: &Store, owner: &holdpoint_model::Actor) -> Seed {
    let mut seed = Seed::create(store, owner, "Collect prices", "Collect the prices of all suppliers").await;
    seed.work().await;
    seed.text("Looking at the first supplier.").await;
    seed.call(
        "toolu_51",
        "mcp__prices__lookup",
        json!({"supplier": "Acme", "limits": {"max": 10}, "fresh": true}),
    )
    .await;
    seed.message("Leave out those without a catalogue.", SendMode::Queue, owner).await;
    seed.gone(Gone::Lost { reason: "its process ended with signal 9".into() }).await;
    seed.work().await;
    seed.command(Command::Notice { level: Level::Warning, text: "The disk is nearly full.".into() }).await;
    seed
}

/// Packages that the image lacks.
async fn missing(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let mut seed = Seed::create(store, me, "Read the tables", "What do the tables say?").await;
    seed.work().await;
    for (kind, name) in [("python", "pandas"), ("system", "poppler-utils")] {
        let suggested = json!({"name": name, "kind": kind, "purpose": "Reading tables", "workaround": "Line by line, by hand"});
        seed.call(&format!("toolu_{name}"), SUGGEST_TOOL_NAME, suggested).await;
        seed.result(&format!("toolu_{name}"), "Noted.", None).await;
    }
    seed
}

async fn failed(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let mut seed = Seed::create(store, me, "Without a key", "Say hello").await;
    seed.work().await;
    seed.turn_failed("API Error: 401 {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"invalid x-api-key\"}}", Some(401)).await;
    seed
}

async fn long(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let title = "A very long title that nobody would write by hand but that a script makes of a whole prompt, with_a_word_that_does_not_break_anywhere_because_it_is_an_identifier_of_some_kind_0123456789";
    let mut seed = Seed::create(store, me, title, &"A prompt with many lines.\n".repeat(60)).await;
    seed.work().await;
    for n in 0..450 {
        let id = format!("toolu_long_{n}");
        seed.call(
            &id,
            "Read",
            json!({"file_path": format!("/workspace/some/deep/folder/with/many/parts/file-number-{n}.txt")}),
        )
        .await;
        seed.result(&id, &format!("line {n}\n").repeat(200), None).await;
    }
    seed.ask(
        "toolu_longest",
        "Bash",
        json!({"command": format!("echo {} \u{202e}gpj.exe", "x".repeat(600))}),
    )
    .await;
    seed
}

/// Texts without a place to break, everywhere.
async fn unbroken(store: &Store, me: &holdpoint_model::Actor) -> Seed {
    let word = |letter: &str, length| letter.repeat(length);
    let mut seed = Seed::create(store, me, &word("title", 40), &word("prompt", 200)).await;
    seed.work().await;
    seed.text(&format!("{}\n\n```\n{}\n```", word("answer", 100), word("code", 200))).await;
    seed.files(&[(&format!("out/{}.txt", word("file", 40)), 123_456)]).await;
    let allowed = seed.ask("toolu_91", "Bash", json!({"command": word("done;", 100)})).await;
    seed.decide(allowed, me, json!({"action": "allow", "scope": "conversation"})).await;
    seed.result("toolu_91", &word("output", 200), None).await;
    seed.ask("toolu_92", "Bash", json!({"command": word("x", 5_000), "description": word("why", 60)})).await;
    seed.ask("toolu_93", "Edit", json!({"file_path": format!("/{}", word("path", 60)), "old_string": word("o", 900), "new_string": word("n", 900)})).await;
    seed.ask(
        "toolu_94",
        &format!("mcp__{}__{}", word("server", 8), word("tool", 12)),
        json!({ word("key", 20): word("value", 100), "list": [word("item", 60)] }),
    )
    .await;
    seed.ask(
        "toolu_95",
        "AskUserQuestion",
        json!({"questions": [
            {"question": word("question", 30), "header": word("head", 6), "multiSelect": false, "options": [
                {"label": word("label", 30), "description": word("description", 20)},
                {"label": "Short", "description": ""},
            ]},
        ]}),
    )
    .await;
    seed.ask("toolu_96", "ExitPlanMode", json!({})).await;
    seed
}
