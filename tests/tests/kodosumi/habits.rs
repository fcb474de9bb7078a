//! What clients do that no recording shows: the Python client's ways, and every kind of hold as a lock.

use anyhow::{Context as _, Result, ensure};
use holdpoint_tests::{Server, Setup, of_kind};
use serde_json::json;

use crate::{client::Client, server, shapes::frames};

const PAPERS: &str = r#"
[agents.papers]
completion = "auto"
prompt = "report {{old}} {{new}}"
form = [
  { name = "old", label = "Old", type = "file" },
  { name = "new", label = "New", type = "file", multiple = true },
]
"#;

#[tokio::test]
async fn files_of_one_batch_go_to_their_own_fields_however_long() -> Result<()> {
    let script = "scenes:\n  - turns:\n      - - text: Read.\n";
    let server = Server::start(Setup::script(script).toml(PAPERS)).await?;
    let client = Client::new(&server, &server.token)?;
    // More than a message takes: it goes from the disk to the disk.
    let long: Vec<u8> = (0..15 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    let (batch, _) = client.upload("long.bin", &[&long, &long, &long]).await?;
    let mut ids = Vec::new();
    for name in ["a.txt", "docs/b.txt"] {
        let new = json!({"filename": name, "total_chunks": 1, "batch_id": batch});
        let upload = client.post("/files/init", new).await?.expect(201)?.json()["upload_id"].clone();
        let upload = upload.as_str().context("an id")?.to_owned();
        client.chunk(&upload, 0, name.as_bytes()).await?.expect(201)?;
        ids.push(upload);
    }
    let field = |items: serde_json::Value| json!({"batchId": batch, "items": items}).to_string();
    let missing = field(json!({"0191d5d4-0000-7000-8000-000000000000": {}}));
    let refused = client.post("/-/x/papers", json!({"old": missing})).await?.expect(200)?.json();
    ensure!(refused["errors"]["old"][0].as_str().is_some_and(|why| why.contains("no upload")), "{refused}");

    // What cannot be started leaves the batch as it was.
    let all = field(json!({}));
    let refused = client.post("/-/x/papers", json!({"old": all})).await?.expect(200)?.json();
    ensure!(refused["errors"]["old"].is_array(), "one file, not three: {refused}");
    let (_, kept) = server.get("/v1/uploads").await?;
    ensure!(kept["items"].as_array().is_some_and(Vec::is_empty), "given up: {kept}");

    let (old, new) = (field(json!({&ids[0]: {}})), field(json!({&ids[1]: {}})));
    let fid = client.launch("papers", json!({"old": old, "new": new})).await?;
    client.until(&fid, "the end", |status| status["status"] == "finished").await?;
    let inputs = client.get("/timeline/list").await?.json()["items"][0]["inputs"]["dict"].clone();
    ensure!(
        inputs == json!({"old": "attachments/a.txt", "new": "attachments/docs/b.txt"}),
        "each has its own: {inputs}"
    );

    let (_, whole) = client.upload("long.bin", &[&long, &long, &long]).await?;
    let fid = client.launch("papers", json!({"old": whole})).await?;
    let file = std::fs::read(server.workspace(&fid).join("attachments/long.bin"))?;
    ensure!(file == [&long[..], &long, &long].concat(), "{} bytes", file.len());
    Ok(())
}

#[tokio::test]
async fn the_python_client_goes_on() -> Result<()> {
    let server = server().await?;
    let client = Client::new(&server, &server.token)?;
    // Files are launched with, and completed again afterwards, at an address with one slash too many.
    let (batch, files) = client.upload("docs/b.txt", &[b"be", b"fore"]).await?;
    let fid =
        client.launch("every", json!({"t": "abc", "n": null, "c": null, "s": "a", "files": files})).await?;
    let complete = format!("//files/complete/{fid}/{batch}/in");
    let items = json!({"x": {"filename": "docs/b.txt", "totalChunks": 2}});
    let listed = client.post(&complete, items.clone()).await?.expect(201)?.json();
    ensure!(
        listed.as_array().map(Vec::len) == Some(1) && listed[0]["size"] == 6,
        "once, not twice: {listed}"
    );
    // A batch of its own goes into the workspace of what runs.
    let (batch, _) = client.upload("later.txt", &[b"later"]).await?;
    for _ in 0..2 {
        let path = format!("//files/complete/{fid}/{batch}/in");
        let listed = client.post(&path, items.clone()).await?.expect(201)?.json();
        ensure!(listed.as_array().map(Vec::len) == Some(2), "{listed}");
    }
    let mut seen = Vec::new();
    let lock = client.lock(&fid, &mut seen).await?;
    let inputs = client.get("/timeline/list").await?.json()["items"][0]["inputs"]["dict"].clone();
    ensure!(inputs["t"] == "abc" && inputs["c"] == "", "null is nothing: {inputs}");

    // Fields may also come as a form, which is what a page sends.
    client.form(&lock, "decision=allow&message=").await?.expect(200)?;
    client.until(&fid, "the end", |status| status["status"] == "finished").await?;

    // Whoever comes back tells the last id and gets the rest.
    let all = frames(&client.get(&format!("/outputs/stream/{fid}")).await?.text)?;
    let half = all[all.len() / 2].id;
    let request = client.request(reqwest::Method::GET, &format!("/outputs/stream/{fid}"));
    let rest = client.send(request.header("last-event-id", half.to_string())).await?;
    let rest: Vec<u64> = frames(&rest.text)?.iter().map(|frame| frame.id).collect();
    let expected: Vec<u64> = all.iter().skip(all.len() / 2 + 1).map(|frame| frame.id).collect();
    ensure!(rest == expected, "{rest:?} instead of {expected:?}");

    // What runs is ended, and what is over goes; several at once.
    let running = client.launch("every", json!({"t": "x"})).await?;
    client.lock(&running, &mut seen).await?;
    let both = json!({"fid": [fid, running]});
    let request = client.request(reqwest::Method::DELETE, "/outputs").json(&both);
    client.send(request).await?.expect(204)?;
    client.get(&format!("/outputs/status/{fid}")).await?.expect(404)?;
    let ended = client.get(&format!("/outputs/status/{running}")).await?.expect(200)?.json();
    ensure!(ended["status"] == "error" && ended["locks"] == json!([]), "{ended}");
    let raw = client.get(&format!("/outputs/raw/{running}")).await?.json();
    ensure!(raw["Text"]["body"].as_str().is_some_and(|why| why.contains("Tess")), "{raw}");
    Ok(())
}

/// Reply, edit, denial, question, plan, finish: the same conversation as over the native API.
#[tokio::test]
async fn every_kind_of_hold_is_a_lock() -> Result<()> {
    let server = server().await?;
    let client = Client::new(&server, &server.token)?;
    let fid = client.launch("claude", json!({"prompt": "the whole thing"})).await?;
    let mut seen = Vec::new();

    let reply = client.lock(&fid, &mut seen).await?;
    let form = client.get(&reply).await?.expect(200)?.json();
    ensure!(
        form[0]["text"].as_str().is_some_and(|text| text.contains("What should I call the file?")),
        "{form}"
    );
    let (_, files) = client.upload("more.txt", &[b"more"]).await?;
    client.post(&reply, json!({"message": "notes.txt", "files": files})).await?.expect(200)?;

    let write = client.lock(&fid, &mut seen).await?;
    let edited = json!({"command": "echo edited by a person > notes.txt"}).to_string();
    let done = client.post(&write, json!({"decision": "allow", "input": edited})).await?.expect(200)?.json();
    ensure!(done["result"]["input"]["command"] == "echo edited by a person > notes.txt", "{done}");

    let remove = client.lock(&fid, &mut seen).await?;
    client.post(&remove, json!({"decision": "deny", "message": "keep it"})).await?.expect(200)?;

    let question = client.lock(&fid, &mut seen).await?;
    let answers = json!({"q0": "Red", "q0_other": "Green, like grass", "q1_0": "on", "q1_1": "on"});
    client.post(&question, answers).await?.expect(200)?;

    let plan = client.lock(&fid, &mut seen).await?;
    let unsure = client.post(&plan, json!({"plan": "2. Nothing."})).await?.expect(200)?.json();
    ensure!(unsure["errors"]["decision"].is_array(), "nothing is allowed by accident: {unsure}");
    client.post(&plan, json!({"decision": "allow", "plan": "1. Paint it green."})).await?.expect(200)?;

    let reply = client.lock(&fid, &mut seen).await?;
    let finished = client.post(&reply, json!({"decision": "finish"})).await?.expect(200)?.json();
    ensure!(finished["result"]["action"] == "finish", "{finished}");
    client.until(&fid, "the end", |status| status["status"] == "finished").await?;
    same_as_over_the_native_api(&server, &fid)?;

    let told = frames(&client.get(&format!("/outputs/main/{fid}?raw=1")).await?.text)?;
    let of = |kind: &str| told.iter().filter(|frame| frame.kind == kind).count();
    ensure!(of("lock") == 6 && of("lease") == 6, "each lock has its lease: {told:#?}");
    Ok(())
}

fn same_as_over_the_native_api(server: &Server, fid: &str) -> Result<()> {
    let file = std::fs::read_to_string(server.workspace(fid).join("notes.txt"))?;
    ensure!(file.trim() == "edited by a person", "{file}");
    ensure!(server.workspace(fid).join("attachments/more.txt").is_file());
    let events = server.export(fid)?;
    holdpoint_tests::check_log(&events)?;
    let results: Vec<&str> = of_kind(&events, "tool_result")
        .iter()
        .filter_map(|event| event["data"]["content"].as_str())
        .collect();
    ensure!(results[1].contains("keep it"), "the model reads the reason: {results:?}");
    ensure!(results[2].contains("Green, like grass") && results[2].contains("S, L"), "{results:?}");
    ensure!(results[4].contains("Paint it green"), "the model reads the edited plan: {results:?}");
    let first = of_kind(&events, "hold_answered").into_iter().next().context("an answer")?;
    ensure!(first["data"]["decision"]["by"]["channel"] == "api", "{first}");
    Ok(())
}

/// However many answer, over whichever API: one is taken, and the others find no lock.
#[tokio::test]
async fn the_first_valid_answer_wins() -> Result<()> {
    let server = server().await?;
    let client = Client::new(&server, &server.token)?;
    let fid = client.launch("every", json!({"t": "abc"})).await?;
    let lock = client.lock(&fid, &mut Vec::new()).await?;
    let native = format!("/v1/holds/{}/decision", lock.rsplit('/').next().context("an id")?);
    let answers = (0..12).map(|n| {
        let (client, lock) = (client.clone(), lock.clone());
        async move { client.post(&lock, json!({"decision": if n % 2 == 0 { "allow" } else { "deny" }})).await }
    });
    let (over_locks, over_native) =
        tokio::join!(futures::future::join_all(answers), server.post(&native, json!({"action": "allow"})));
    let mut taken = usize::from(over_native?.0 == 200);
    for answer in over_locks {
        let answer = answer?;
        ensure!(matches!(answer.status, 200 | 404), "{answer:?}");
        taken += usize::from(answer.json().get("result").is_some());
    }
    ensure!(taken == 1, "{taken} were taken");
    client.until(&fid, "the end", |status| status["status"] == "finished").await?;
    ensure!(of_kind(&server.export(&fid)?, "hold_answered").len() == 1);
    Ok(())
}
