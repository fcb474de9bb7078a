//! What clients fill in: JSON or a form, with the habits of Kodosumi's clients. Values are strings, what is
//! missing is null, a ticked box is `"on"`, and a file is a string with JSON in it.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use crate::{
    body::{media_type, read},
    limits,
    panel::form,
    problem::Problem,
    state::WebState,
};

/// The fields of a form as they were filled in; null and absent are the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The text of a field; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A text with something in it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name).replace("\r\n", "\n")).filter(|text| !text.trim().is_empty())
    }

    /// Whether a box is ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name).trim().to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1")
    }

    fn of(object: Map<String, Value>) -> Self {
        let texts = object.into_iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((name, text)),
            other => Some((name, other.to_string())),
        });
        Self(texts.collect())
    }
}

impl FromRequest<WebState> for Fields {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &WebState) -> Result<Self, Problem> {
        if media_type(request.headers()) != "application/json" {
            let form = form::parse(request, state, limits::MAX_BODY_BYTES).await?;
            return Ok(Self(form.fields.into_iter().collect()));
        }
        let bytes = read(request, limits::MAX_BODY_BYTES).await?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
        match value {
            Value::Object(object) if object.len() <= limits::MAX_FORM_FIELDS => Ok(Self::of(object)),
            Value::Object(_) => Err(Problem::invalid("the form has too many fields")),
            _ => Err(Problem::invalid("the body must be a JSON object: field name → value")),
        }
    }
}

#[cfg(test)]
impl Fields {
    /// As JSON would be read.
    pub(super) fn from_json(value: Value) -> Self {
        match value {
            Value::Object(object) => Self::of(object),
            _ => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_these_clients_write_them() {
        let fields = Fields::from_json(json!({
            "null": null, "text": "a\r\nb", "blank": "  ", "number": 3, "on": "on", "true": true, "off": "off",
            "file": {"batchId": "x"},
        }));
        assert_eq!(fields.text("text").as_deref(), Some("a\nb"));
        assert_eq!((fields.text("null"), fields.text("absent"), fields.text("blank")), (None, None, None));
        assert_eq!(fields.get("number"), "3");
        assert!(fields.is_on("on") && fields.is_on("true") && !fields.is_on("off") && !fields.is_on("null"));
        assert_eq!(fields.get("file"), r#"{"batchId":"x"}"#);
    }
}
