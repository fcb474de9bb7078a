//! Files that go along with a message.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_web::limits::{MAX_ATTACHMENTS, MAX_ATTACHMENTS_BYTES};
use serde_json::{Value, json};

use crate::{
    data::describe,
    failure::{Exit, Failure},
    render::time::bytes,
};

/// The files as the API takes them. What it would refuse is refused here, before anything is sent.
///
/// # Errors
/// When one cannot be read, or there are too many, or all together are too large.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    if let Some(path) = paths.get(MAX_ATTACHMENTS) {
        return Err(Failure::new(format!("failed to attach {}", path.display()))
            .exit(Exit::Usage)
            .why(format!("a message takes {MAX_ATTACHMENTS} files, these are {}", paths.len()))
            .next("tar czf files.tar.gz FILE…     (and attach that)"));
    }
    let mut so_far = 0;
    paths.iter().map(|path| one(path, &mut so_far)).collect()
}

fn one(path: &Path, so_far: &mut usize) -> Result<Value, Failure> {
    let failed = |why: String| {
        Failure::new(format!("failed to attach {}", path.display())).exit(Exit::NotFound).why(why)
    };
    let check = |size: u64| {
        let all = so_far.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        if all <= MAX_ATTACHMENTS_BYTES {
            return Ok(all);
        }
        let before = if *so_far > 0 {
            format!(", after {} of other files", bytes(u64::try_from(*so_far).unwrap_or(u64::MAX)))
        } else {
            String::new()
        };
        let limit = MAX_ATTACHMENTS_BYTES / 1024 / 1024;
        Err(failed(format!(
            "the files of a message may have {limit} MiB in all; it has {}{before}",
            bytes(size)
        ))
        .exit(Exit::Usage)
        .next("attach a smaller file, or say in the message where the agent can read it"))
    };
    check(std::fs::metadata(path).map_err(|error| failed(describe(&error)))?.len())?;
    let name = path.file_name().ok_or_else(|| failed("it has no name".into()))?.to_string_lossy();
    let content = std::fs::read(path).map_err(|error| failed(describe(&error)))?;
    // It may have grown meanwhile, or be none that knows its size.
    *so_far = check(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
    Ok(json!({"name": name, "content": STANDARD.encode(content)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_control_plane_would_refuse_is_not_sent() {
        let dir = tempfile::tempdir().expect("dir");
        let file = |name: &str, size: usize| {
            let path = dir.path().join(name);
            let file = std::fs::File::create(&path).expect("file");
            file.set_len(u64::try_from(size).expect("fits")).expect("size");
            path
        };
        let (small, large) = (file("small", 1), file("large", MAX_ATTACHMENTS_BYTES));
        assert_eq!(read(std::slice::from_ref(&small)).expect("fits").len(), 1);
        let failure = read(&[small, large]).expect_err("one byte too many");
        let text = failure.to_string();
        assert!(text.contains("large") && text.contains("32 MiB") && text.contains("after 1 B"), "{text}");
        assert_eq!(failure.exit, Exit::Usage);
        let many = vec![file("one", 0); MAX_ATTACHMENTS + 1];
        assert!(read(&many).expect_err("too many").why.contains("50 files"));
    }
}
