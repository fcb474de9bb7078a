//! A whole conversation: a reply, an edit, a denial, a question and a plan. Wherever sessions run, it is the same.

use anyhow::Result;
use serde_json::json;

use crate::{Server, check_log, of_kind};

/// The scene of the script that answers it.
pub const SCENE: &str = r#"
  - name: whole
    when: whole
    turns:
      - - text: "Hello. What should I call the file?"
      - - think: "A file, then."
          text: "I write it."
          tool: Bash
          input: {command: "echo draft > notes.txt"}
        - text: "Now something nobody wants."
          tool: Bash
          input: {command: "rm -rf important"}
        - text: "Then a question."
          tool: AskUserQuestion
          input:
            questions:
              - question: "Which colour?"
                header: Colour
                multiSelect: false
                options: [{label: Red, description: warm}, {label: Blue, description: cool}]
              - question: "Which sizes?"
                header: Sizes
                multiSelect: true
                options: [{label: S, description: small}, {label: L, description: large}]
        - tool: EnterPlanMode
          input: {}
        - tool: ExitPlanMode
          input: {plan: "1. Paint it."}
        - text: "Finished: {{last_result}}"
      - - text: "You are welcome."
"#;

/// Has it, checks what came of it, and gives its id.
///
/// # Errors
/// When something takes too long; with the log.
///
/// # Panics
/// When something is not as it should be.
pub async fn conversation(server: &Server) -> Result<String> {
    let id = server.ask("claude", "the whole thing").await?;

    let reply = server.hold(&id, "reply", &[]).await?;
    server.decide(&reply, json!({"action": "reply", "message": "notes.txt"})).await?;

    let write = server.hold(&id, "tool", &[]).await?;
    assert_eq!(write["subject"]["input"]["command"], "echo draft > notes.txt");
    let digest = write["subject"]["digest"].clone();
    let edited = json!({"command": "echo edited by a person > notes.txt"});
    server.decide(&write, json!({"action": "allow", "input": edited, "digest": digest})).await?;

    let remove = server.hold(&id, "tool", &[write["id"].as_str().unwrap_or_default().into()]).await?;
    server.decide(&remove, json!({"action": "deny", "message": "keep it"})).await?;

    let question = server.hold(&id, "question", &[]).await?;
    let answers = json!({"Which colour?": "Green, like grass", "Which sizes?": ["S", "L"]});
    let notes = json!({"Which colour?": "not too bright"});
    server.decide(&question, json!({"action": "answer", "answers": answers, "notes": notes})).await?;

    let plan = server.hold(&id, "plan", &[]).await?;
    server.decide(&plan, json!({"action": "allow", "input": {"plan": "1. Paint it green."}})).await?;

    let reply = server.hold(&id, "reply", &[reply["id"].as_str().unwrap_or_default().into()]).await?;
    server.decide(&reply, json!({"action": "reply", "message": "thank you"})).await?;
    server.until(&id, "the third turn", |execution| execution["usage"]["turns"] == 3).await?;
    let (status, body) = server.post(&format!("/v1/executions/{id}/finish"), json!({})).await?;
    assert_eq!(status, 200, "{body}");
    let done = server.until_status(&id, "finished").await?;
    assert_eq!(done["result"], "You are welcome.");

    let file = std::fs::read_to_string(server.workspace(&id).join("notes.txt"))?;
    assert_eq!(file.trim(), "edited by a person");
    let events = server.export(&id)?;
    check_log(&events)?;
    let results: Vec<&str> = of_kind(&events, "tool_result")
        .iter()
        .filter_map(|event| event["data"]["content"].as_str())
        .collect();
    assert!(results[1].contains("keep it"), "the model reads the reason: {results:?}");
    assert!(results[2].contains("Green, like grass") && results[2].contains("S, L"), "{results:?}");
    assert!(results[4].contains("Paint it green"), "the model reads the edited plan: {results:?}");
    let answered = of_kind(&events, "hold_answered");
    assert_eq!(answered.len(), 6);
    let decision = &answered[1]["data"]["decision"];
    assert_eq!(decision["by"]["name"], "Tess");
    assert_eq!(decision["seen"], digest, "the digest of what was seen");
    assert!(decision["edited"].as_str().is_some_and(|edited| digest != edited));
    let (status, listed) = server.get(&format!("/v1/executions/{id}/files")).await?;
    assert_eq!(status, 200);
    assert!(
        listed["items"].as_array().is_some_and(|items| items.iter().any(|file| file["path"] == "notes.txt")),
        "{listed}"
    );
    let (status, content) = server.get(&format!("/v1/executions/{id}/files/notes.txt")).await?;
    assert_eq!((status, content), (200, json!("edited by a person\n")));
    Ok(id)
}
