//! Reading fields of loosely typed JSON.

use serde_json::Value;
use uuid::Uuid;

pub(super) fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::to_owned)
}

pub(super) fn uuid(value: &Value, key: &str) -> Option<Uuid> {
    value[key].as_str()?.parse().ok()
}

pub(super) fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or(false)
}

pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}
