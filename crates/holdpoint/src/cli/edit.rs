//! Editing a text in the person's own editor.

use std::{io::Write as _, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio};

use tokio::process::Command;

use crate::{env::Environment, failure::Failure};

/// Where the person named none.
const USUAL: [&str; 5] = ["sensible-editor", "editor", "nano", "vim", "vi"];

/// The first of the usual ones that is there.
fn first_of(path: &str) -> Option<String> {
    let is_program = |file: PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let is_there = |name: &&str| std::env::split_paths(path).any(|folder| is_program(folder.join(name)));
    USUAL.into_iter().find(is_there).map(str::to_owned)
}

/// The text as the person left it.
///
/// # Errors
/// When there is no editor, or it fails.
pub(super) async fn text(environment: &Environment, text: &str, suffix: &str) -> Result<String, Failure> {
    let Some(editor) = environment.editor.clone().or_else(|| first_of(&environment.path)) else {
        return Err(Failure::new("there is no editor to edit with")
            .why(format!("neither VISUAL nor EDITOR is set, and none of {} is there", USUAL.join(", ")))
            .next("export EDITOR=…                  (one that is there)")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_none_is_named_a_usual_one_is_taken() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().display().to_string();
        let put = |name: &str, mode| {
            let file = dir.path().join(name);
            std::fs::write(&file, "").expect("file");
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("mode");
        };
        assert_eq!(first_of(&path), None);
        put("vi", 0o755);
        put("nano", 0o644);
        assert_eq!(first_of(&path).as_deref(), Some("vi"), "nano is there and is no program");
        put("editor", 0o755);
        assert_eq!(first_of(&path).as_deref(), Some("editor"));
    }
}
