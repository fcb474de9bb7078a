//! Editing a text in the person's own editor.

use std::{io::Write as _, process::Stdio};

use tokio::process::Command;

use crate::{env::Environment, failure::Failure};

/// The text as the person left it.
///
/// # Errors
/// When there is no editor, or it fails.
pub(super) async fn text(environment: &Environment, text: &str, suffix: &str) -> Result<String, Failure> {
    let Some(editor) = &environment.editor else {
        return Err(Failure::new("there is no editor to edit with")
            .next("export EDITOR=nano               (or another)")
            .next("holdpoint answer HOLD --edit JSON"));
    };
    let failed = |why: String| Failure::new(format!("failed to edit with `{editor}`")).why(why);
    let mut file = tempfile::Builder::new()
        .prefix("holdpoint-")
        .suffix(suffix)
        .tempfile()
        .map_err(|error| failed(error.to_string()))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
    // As git does: the variable may hold arguments, so a shell takes it apart.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .stdin(Stdio::inherit())
        .status()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    // By name: editors replace the file.
    std::fs::read_to_string(file.path()).map_err(|error| failed(error.to_string()))
}
