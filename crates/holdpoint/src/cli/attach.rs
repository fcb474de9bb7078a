//! Files that go along with a message.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    data::describe,
    failure::{Exit, Failure},
};

/// The most that is sent at once, in bytes. The control plane has a limit of its own.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The files as the API takes them.
///
/// # Errors
/// When one cannot be read, or all together are too large.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut left = MAX_BYTES;
    paths.iter().map(|path| one(path, &mut left)).collect()
}

fn one(path: &Path, left: &mut u64) -> Result<Value, Failure> {
    let failed = |why: String| {
        Failure::new(format!("failed to attach {}", path.display())).exit(Exit::NotFound).why(why)
    };
    let size = std::fs::metadata(path).map_err(|error| failed(describe(&error)))?.len();
    *left = left.checked_sub(size).ok_or_else(|| {
        failed(format!("more than {} MiB in all", MAX_BYTES / 1024 / 1024)).exit(Exit::Usage)
    })?;
    let name = path.file_name().ok_or_else(|| failed("it has no name".into()))?.to_string_lossy();
    let bytes = std::fs::read(path).map_err(|error| failed(describe(&error)))?;
    Ok(json!({"name": name, "content": STANDARD.encode(bytes)}))
}
