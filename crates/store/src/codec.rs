//! Between rows and types. An impossible row is an error, never a silent default.

use holdpoint_model::{Actor, Event, EventBody, ExecutionId, Residency, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::StoreError;

/// JSON text of a value.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(format!("write as JSON: {error}")))
}

/// A value of JSON text; `what` names it in the error.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// The `data` of an event's body: what serde puts beside `kind`; null for a kind without any.
pub(crate) fn data_of(body: &EventBody) -> Result<String, StoreError> {
    let mut text = to_json(body)?;
    if text.strip_prefix("{\"kind\":\"").and_then(|rest| rest.strip_suffix("\"}")) == Some(body.kind()) {
        return Ok("null".to_owned());
    }
    let prefix = "{\"kind\":\"".len() + body.kind().len() + "\",\"data\":".len();
    // The shape is serde's for `tag = "kind", content = "data"`; a change of it must not go unseen.
    if !text.is_char_boundary(prefix) || !text[..prefix].ends_with("\",\"data\":") || !text.ends_with('}') {
        return Err(StoreError::Corrupt(format!("the body of {} has an unknown shape", body.kind())));
    }
    text.pop();
    text.drain(..prefix);
    Ok(text)
}

/// An event of the columns `execution, seq, at, incarnation, worker_seq, kind, data`, in this order.
pub(crate) fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    let execution = ExecutionId(row.try_get::<Uuid, _>(0)?);
    let seq = unsigned("seq", row.try_get(1)?)?;
    let kind: &str = row.try_get(5)?;
    let data: &str = row.try_get(6)?;
    let body = serde_json::from_str(&format!("{{\"kind\":\"{kind}\",\"data\":{data}}}"))
        .map_err(|error| StoreError::Corrupt(format!("event {seq} ({kind}) of {execution}: {error}")))?;
    Ok(Event {
        execution,
        seq,
        at: row.try_get(2)?,
        incarnation: narrow("incarnation", row.try_get(3)?)?,
        worker_seq: row.try_get::<Option<i64>, _>(4)?.map(|n| unsigned("worker_seq", n)).transpose()?,
        body,
    })
}

/// A number that is never negative.
pub(crate) fn unsigned(what: &str, number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("{what} is {number}")))
}

/// A number that fits 32 bits.
pub(crate) fn narrow(what: &str, number: Option<i64>) -> Result<Option<u32>, StoreError> {
    number
        .map(|number| u32::try_from(number).map_err(|_| StoreError::Corrupt(format!("{what} is {number}"))))
        .transpose()
}

/// As SQLite keeps it. No count of ours comes near the bound.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn status(text: &str) -> Result<Status, StoreError> {
    from_json("a status", &format!("\"{text}\""))
}

pub(crate) fn residency(text: &str) -> Result<Residency, StoreError> {
    from_json("a residency", &format!("\"{text}\""))
}

pub(crate) fn actor(text: &str) -> Result<Actor, StoreError> {
    from_json("an actor", text)
}

#[cfg(test)]
mod tests {
    use holdpoint_model::event::Level;
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_what_stands_beside_the_kind() {
        let body = EventBody::Notice { level: Level::Info, text: "a \"quoted\" } brace".into() };
        assert_eq!(data_of(&body).expect("data"), r#"{"level":"info","text":"a \"quoted\" } brace"}"#);
        let frame = json!({"x": [1, 0.1, 1e300, 9_007_199_254_740_993_u64, null]});
        let body = EventBody::CliFrame { name: "a/b".into(), frame };
        let text = format!("{{\"kind\":\"{}\",\"data\":{}}}", body.kind(), data_of(&body).expect("data"));
        assert_eq!(serde_json::from_str::<EventBody>(&text).expect("body"), body);
    }

    #[test]
    fn a_kind_without_data_comes_back_from_null() {
        let body = EventBody::SessionIdle;
        let data = data_of(&body).expect("data");
        assert_eq!(data, "null");
        let text = format!("{{\"kind\":\"{}\",\"data\":{data}}}", body.kind());
        assert_eq!(serde_json::from_str::<EventBody>(&text).expect("body"), body);
    }

    proptest::proptest! {
        /// A decision is bound to the digest of the raw input: storing must not shift a single bit of it.
        #[test]
        fn numbers_come_back_as_they_were(number in proptest::num::f64::NORMAL) {
            let value = json!({"n": number});
            let again: serde_json::Value = from_json("value", &to_json(&value).expect("text")).expect("value");
            proptest::prop_assert_eq!(&again, &value);
            proptest::prop_assert_eq!(
                holdpoint_model::Digest::of(&again),
                holdpoint_model::Digest::of(&value)
            );
        }
    }
}
