//! `holdpoint status`: what runs and what waits.

use serde_json::{Value, json};

use crate::{cli::Context, render::clean, term};

/// Carries it out.
///
/// # Errors
/// When it does not run.
pub(super) async fn run(context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let status = api.get("/v1/status").await?;
    if context.json {
        return term::json(&status);
    }
    let version =
        status["version"].as_str().map_or_else(String::new, |version| format!(" {}", clean(version)));
    term::line(&format!("Holdpoint{version} runs at {}", api.base()))?;
    let rows = rows(status);
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        term::line(&format!("  {name:width$}  {value}"))?;
    }
    Ok(())
}

/// The conversation's states in the order in which they go through them.
const STATES: [&str; 6] = ["starting", "running", "awaiting", "finished", "error", "cancelled"];

fn rows(mut status: Value) -> Vec<(String, String)> {
    let Some(map) = status.as_object_mut() else { return Vec::new() };
    map.remove("version");
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(rehearsal) = map.remove("rehearsal").as_ref().and_then(Value::as_bool) {
        row("answers by", if rehearsal { "a script (rehearsal)" } else { "the model" }.to_owned());
    }
    if let Some(sessions) = map.remove("sessions") {
        row("sessions", format!("{} of {}", sessions["running"], sessions["places"]));
    }
    if let Some(Value::Object(mut counts)) = map.remove("executions") {
        let known = STATES.iter().filter_map(|state| Some(((*state).to_owned(), counts.remove(*state)?)));
        let mut all: Vec<(String, Value)> = known.collect();
        all.extend(counts);
        let words: Vec<String> = all
            .iter()
            .filter(|(_, count)| *count != json!(0))
            .map(|(state, count)| format!("{count} {}", clean(state)))
            .collect();
        row("conversations", if words.is_empty() { "none".to_owned() } else { words.join(", ") });
    }
    if let Some(holds) = map.remove("open_holds") {
        let hint = if holds == json!(0) { "" } else { "   → holdpoint inbox" };
        row("open holds", format!("{holds}{hint}"));
    }
    flatten("", &status, &mut rows);
    rows
}

/// Every number and word of the rest, so that what a newer control plane says is shown as well.
fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = clean(key).replace('_', " ");
                let name = if name.is_empty() { key } else { format!("{name} {key}") };
                flatten(&name, value, lines);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            let all: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            lines.push((name.to_owned(), clean(&all.join(", "))));
        }
        Value::Null => {}
        Value::String(text) => lines.push((name.to_owned(), clean(text))),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_as_people_say_it() {
        let status = json!({
            "version": "1", "rehearsal": true, "open_holds": 2, "sessions": {"running": 1, "places": 16},
            "executions": {"finished": 3, "awaiting": 1, "error": 0, "new_state": 1}, "disk": {"free_gb": 7},
        });
        let text: Vec<String> =
            rows(status).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            text,
            [
                "answers by: a script (rehearsal)",
                "sessions: 1 of 16",
                "conversations: 1 awaiting, 3 finished, 1 new_state",
                "open holds: 2   → holdpoint inbox",
                "disk free gb: 7",
            ]
        );
        assert_eq!(rows(json!({"executions": {}})), [("conversations".to_owned(), "none".to_owned())]);
    }
}
