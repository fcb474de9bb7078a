//! `holdpoint status`: what runs and what waits.

use serde_json::Value;

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
    term::line(&format!("Holdpoint runs at {}", api.base()))?;
    let mut lines = Vec::new();
    flatten("", &status, &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in lines {
        term::line(&format!("  {name:width$}  {value}"))?;
    }
    Ok(())
}

/// Every number and word of it, so that a newer control plane's are shown as well.
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
