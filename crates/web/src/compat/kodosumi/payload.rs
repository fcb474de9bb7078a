//! Payloads as HTML. What a model or a person wrote is data: sanitised Markdown, or text that is escaped.

use maud::{Markup, html};
use serde_json::Value;

use super::kinds::Told;
use crate::markdown;

/// The payload of an event for a page.
pub(super) fn html_of(told: &Told) -> String {
    match told.kind {
        // Read by scripts on the page, not by people.
        "status" | "meta" | "lock" | "lease" | "upload" => told.payload.clone(),
        "inputs" => inputs(&told.payload),
        "result" | "final" | "action" => value(&told.payload).into_string(),
        _ => html! { (without_colours(&told.payload)) }.into_string(),
    }
}

/// A one-key object that names its type.
pub(super) fn value(payload: &str) -> Markup {
    match serde_json::from_str(payload) {
        Ok(Value::Object(object)) if object.len() == 1 => {
            object.iter().next().map_or_else(|| plain(payload), |(name, value)| typed(name, value))
        }
        _ => plain(payload),
    }
}

fn plain(text: &str) -> Markup {
    html! { pre { (text) } }
}

fn typed(name: &str, value: &Value) -> Markup {
    let body = value.get("body").and_then(Value::as_str);
    match (name, body) {
        ("Markdown", Some(body)) => markdown::render(body),
        ("Text", Some(body)) => html! { blockquote { code { (body) } } },
        (name, _) => html! {
            div.info-l1 { span.info-text { (name) } } "\n"
            pre { (value.as_str().map_or_else(|| pretty(value), str::to_owned)) }
        },
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// As YAML, in which JSON's strings are strings.
fn inputs(payload: &str) -> String {
    let Ok(Value::Object(typed)) = serde_json::from_str(payload) else { return plain(payload).into_string() };
    let mut text = String::new();
    for (name, fields) in &typed {
        text.push_str(name);
        text.push(':');
        for (field, value) in fields.as_object().into_iter().flatten() {
            text.push_str(&format!("\n  {field}: {value}"));
        }
    }
    html! { (text) }.into_string()
}

/// Without the escape sequences that colour a terminal.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next_if_eq(&'[').is_some() {
            // Up to the letter that ends it.
            while characters.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn shown(kind: &'static str, payload: &str) -> String {
        html_of(&Told { id: 1, at: 0, kind, payload: payload.into() })
    }

    #[rstest]
    #[case("result", r##"{"Markdown":{"body":"# Head\n\n<script>x</script>"}}"##, "<h1>Head</h1>")]
    #[case("result", r#"{"Text":{"body":"a <i>b</i>"}}"#, "<blockquote><code>a &lt;i&gt;b")]
    #[case("action", r#"{"dict":{"tool":"<b>"}}"#, "&lt;b&gt;")]
    #[case("result", "not json <script>", "<pre>not json &lt;script&gt;</pre>")]
    #[case("inputs", r#"{"dict":{"t":"a\nb<"}}"#, "dict:\n  t: &quot;a\\nb&lt;&quot;")]
    #[case("stdout", "plain \u{1b}[31mred\u{1b}[0m <b>", "plain red &lt;b&gt;")]
    #[case("stdout", "cut \u{1b}[", "cut ")]
    #[case("status", "running", "running")]
    fn nothing_that_anybody_wrote_is_live(
        #[case] kind: &'static str,
        #[case] payload: &str,
        #[case] expected: &str,
    ) {
        let html = shown(kind, payload);
        assert!(html.contains(expected), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("<i>"), "{html}");
    }
}
