use super::*;

#[test]
fn nothing_that_a_terminal_would_obey_is_shown() {
    assert_eq!(clean("a\u{1b}[31mred\u{7}\r\nb\tc\u{202e}x"), "a[31mred\nb\tcx");
    assert_eq!(visible("a\u{1b}[31mred\u{7}\r\nb\tc\u{202e}x\u{200b}"), "a␛[31mred␇\nb\tc<U+202E>x<U+200B>");
    assert_eq!(one_line("  many\n  words   here ", 40), "many words here");
    assert_eq!(one_line("a long line of text", 8), "a long …");
}

#[test]
fn what_is_missing_and_where_a_conversation_goes_on_are_said() {
    let told = |bodies: [serde_json::Value; 3]| {
        let mut transcript = events::Transcript::new("x", paint::Paint(false), true);
        let shown = bodies.map(|body| {
            let (kind, data) = (&body["kind"], &body["data"]);
            let event = crate::client::types::LogEvent {
                seq: 1,
                at: 0,
                incarnation: None,
                body: serde_json::from_value(serde_json::json!({"kind": kind, "data": data})).ok(),
                raw: body,
            };
            assert!(event.body.is_some(), "{}", event.raw);
            transcript.event(&event)
        });
        shown.concat()
    };
    let suggestion = serde_json::json!({"kind": "dependency_suggested", "data": {
        "name": "pandas\u{1b}[31m", "kind": "python", "purpose": "tables\nwith many rows", "workaround": "csv",
    }});
    let moved = serde_json::json!({"kind": "release_changed", "data": {
        "release": {"number": 4, "lock": "sha256:1", "project": "https://git.example.org/project"},
        "definition": holdpoint_model::AgentDef::builtin(),
        "by": holdpoint_model::Actor::system("Ada"),
    }});
    let text = told([suggestion.clone(), moved, suggestion]);
    assert_eq!(
        text,
        "  ! pandas[31m is missing (Python package)
    for: tables
    with many rows
    instead: csv
  → to have it, add it to dependencies/requirements.txt in the project's configuration repository, then: holdpoint deploy
  (Ada moved this conversation to release 4)
  ! pandas[31m is missing (Python package)
    for: tables
    with many rows
    instead: csv
  → to have it, add it to dependencies/requirements.txt in the project's configuration repository (https://git.example.org/project), then: holdpoint deploy
"
    );
}
