//! A copy of a session under another id and in another working directory.

use std::io;
use std::path::Path;

use holdpoint_beneath::{FileType, Folder, is_the_trees_doing, kind};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The CLI's own settings in the configuration folder; some kilobytes. Larger ones are left as they are.
const SETTINGS: &str = ".claude.json";
const MAX_SETTINGS_BYTES: u64 = 16 * 1024 * 1024;

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
    let config = Folder::open(config_dir)?;
    let target = super::path(Path::new(""), cwd, to);
    let Some(source) = super::find(config_dir, from) else {
        return config.file(&target).map(drop);
    };
    let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    config.make_folder(folder)?;
    let text = source.bytes()?;
    let mut rewritten = Vec::with_capacity(text.len());
    for line in text.split(|byte| *byte == b'\n') {
        // A torn last line is no entry.
        let Ok(mut entry) = serde_json::from_slice::<Value>(line) else { continue };
        rewrite(&mut entry, replace);
        serde_json::to_writer(&mut rewritten, &entry)?;
        rewritten.push(b'\n');
    }
    config.replace(&target, &rewritten)?;
    let source = source.path().strip_prefix(config_dir).map_err(io::Error::other)?;
    // What the session keeps beside its transcript: long tool results, subagents.
    let (kept, kept_as) = (source.with_extension(""), target.with_extension(""));
    if config.stat(&kept).is_ok_and(|stat| kind(&stat) == FileType::Directory)
        && config.stat(&kept_as).is_err()
    {
        config.rename(kept, kept_as)?;
    }
    match config.read(SETTINGS, MAX_SETTINGS_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => config.replace(SETTINGS, replaced(&text, replace).as_bytes())?,
        Ok(Err(_)) => {}
        Err(error) if is_the_trees_doing(&error) => {}
        Err(error) => return Err(error),
    }
    if source != target {
        config.remove_file(source)?;
    }
    Ok(())
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
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::transcript::{find, path};

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
        assert!(find(config, from).is_none());
        let transcript = find(config, to).unwrap();
        let found = transcript.path().to_owned();
        assert_eq!(found, path(config, new, to));
        assert!(found.with_extension("").join("tool-results").is_dir());
        let text = fs::read_to_string(&found).unwrap();
        assert_eq!(text.matches("/data/one/").count(), 1, "in the thinking alone: {text}");
        assert_eq!(text.matches("/data/two/").count(), 3, "{text}");
        assert_eq!(transcript.read().unwrap().entries.len(), 3);
    }

    /// A restored checkpoint holds the links that a session made, wherever they lead.
    #[test]
    fn a_branch_reads_and_writes_through_no_link() {
        let (from, to) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for case in ["config", "projects", "project", "new project", "settings", "transcript", "beside"] {
            let dir = tempfile::tempdir().unwrap();
            let (config, host) = (dir.path().join(".claude"), dir.path().join("host"));
            let (old, new) = (Path::new("/data/one/work"), Path::new("/data/two/work"));
            let at = path(&config, old, from);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, "{\"type\":\"user\"}\n").unwrap();
            fs::create_dir(&host).unwrap();
            fs::write(host.join("secret"), "one").unwrap();
            let to_host = |path: &Path| {
                let _ = fs::rename(path, dir.path().join("was"));
                symlink(&host, path).unwrap();
            };
            let mut works = false;
            match case {
                "config" => to_host(&config),
                "projects" => to_host(&config.join("projects")),
                "project" => to_host(at.parent().unwrap()),
                "new project" => to_host(path(&config, new, to).parent().unwrap()),
                "settings" => {
                    symlink(host.join("secret"), config.join(SETTINGS)).unwrap();
                    works = true;
                }
                "transcript" => {
                    fs::remove_file(&at).unwrap();
                    symlink(host.join("secret"), &at).unwrap();
                }
                _ => {
                    symlink(&host, at.with_extension("")).unwrap();
                    works = true;
                }
            }
            let branched = branch(&config, from, to, new, &[("one", "two")]);
            assert_eq!(branched.is_ok(), works, "{case}: {branched:?}");
            assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), "one", "{case}");
            assert_eq!(fs::read_dir(&host).unwrap().count(), 1, "{case}");
            if case == "settings" {
                assert!(config.join(SETTINGS).is_symlink(), "what it leads to was not copied in");
            }
        }
    }
}
