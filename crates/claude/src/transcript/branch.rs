//! A copy of a session under another id and in another working directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Map, Value};
use uuid::Uuid;

/// Makes the session `from` of a configuration folder the session `to` of `cwd`.
///
/// `replace` says which texts become which others, wherever they stand in the transcript: it holds absolute
/// paths, and a resumed session writes to the paths it holds, not to where it runs (seen with 2.1.330). A
/// model's thinking is left as it is, since the API checks its signature.
///
/// # Errors
///
/// When there is no such session, or its files cannot be read or written. Safe to repeat.
pub fn branch(
    config_dir: &Path,
    from: Uuid,
    to: Uuid,
    cwd: &Path,
    replace: &[(&str, &str)],
) -> io::Result<()> {
    let target = super::path(config_dir, cwd, to);
    let Some(source) = super::find(config_dir, from) else {
        return if target.is_file() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) };
    };
    let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let text = fs::read(&source)?;
    let mut rewritten = Vec::with_capacity(text.len());
    for line in text.split(|byte| *byte == b'\n') {
        // A torn last line is no entry.
        let Ok(mut entry) = serde_json::from_slice::<Value>(line) else { continue };
        rewrite(&mut entry, replace);
        serde_json::to_writer(&mut rewritten, &entry)?;
        rewritten.push(b'\n');
    }
    write(&target, &rewritten)?;
    // What the session keeps beside its transcript: long tool results, subagents.
    let (kept, kept_as) = (source.with_extension(""), target.with_extension(""));
    if kept.is_dir() && !kept_as.exists() {
        fs::rename(kept, kept_as)?;
    }
    let settings = config_dir.join(".claude.json");
    if let Ok(text) = fs::read_to_string(&settings) {
        write(&settings, replaced(&text, replace).as_bytes())?;
    }
    if source != target {
        fs::remove_file(&source)?;
    }
    Ok(())
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

fn rewrite(value: &mut Value, replace: &[(&str, &str)]) {
    match value {
        Value::String(text) => *text = replaced(text, replace),
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, replace)),
        Value::Object(map) => {
            if matches!(map.get("type").and_then(Value::as_str), Some("thinking" | "redacted_thinking")) {
                return;
            }
            let all = std::mem::take(map);
            *map = all
                .into_iter()
                .map(|(key, mut item)| {
                    rewrite(&mut item, replace);
                    (replaced(&key, replace), item)
                })
                .collect::<Map<_, _>>();
        }
        _ => {}
    }
}

fn replaced(text: &str, replace: &[(&str, &str)]) -> String {
    replace.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{Transcript, find, path};

    #[test]
    fn a_branch_speaks_of_its_own_places_and_thinks_what_was_thought() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path();
        let (from, to) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (old, new) = (Path::new("/data/one/work"), Path::new("/data/two/work"));
        let at = path(config, old, from);
        fs::create_dir_all(at.with_extension("").join("tool-results")).unwrap();
        let lines = [
            r#"{"type":"user","uuid":"33333333-3333-4333-8333-333333333333","cwd":"/data/one/work","sessionId":"00000000-0000-0000-0000-000000000001","message":{"content":"hi"}}"#,
            r#"{"type":"assistant","message":{"id":"m","content":[{"type":"thinking","thinking":"in /data/one/work","signature":"s"},{"type":"tool_use","id":"t","name":"Write","input":{"file_path":"/data/one/work/a"}}]}}"#,
            r#"{"type":"file-history","files":{"/data/one/work/a":1}}"#,
            r#"{"type":"torn"#,
        ];
        fs::write(&at, lines.join("\n")).unwrap();
        let pairs = [("/data/one/", "/data/two/"), (&from.to_string(), &to.to_string())];
        let pairs = pairs.map(|(old, new)| (old, new as &str));
        branch(config, from, to, new, &pairs).unwrap();
        branch(config, from, to, new, &pairs).expect("again");
        assert_eq!(find(config, from), None);
        let found = find(config, to).unwrap();
        assert_eq!(found, path(config, new, to));
        assert!(found.with_extension("").join("tool-results").is_dir());
        let text = fs::read_to_string(&found).unwrap();
        assert_eq!(text.matches("/data/one/").count(), 1, "in the thinking alone: {text}");
        assert_eq!(text.matches("/data/two/").count(), 3, "{text}");
        assert_eq!(Transcript::read(&found).unwrap().entries.len(), 3);
    }
}
