//! `holdpoint.lock`, beside `holdpoint.toml`: what runs, for whoever reads or commits it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use holdpoint_model::{Lock, ReleaseNumber, lock::LOCK_VERSION};

use crate::{
    config::Config,
    data::DataDir,
    failure::{Exit, Failure},
};

/// Its name.
const LOCK_FILE: &str = "holdpoint.lock";

/// Where it is.
pub(super) fn path(config: &Config, data: &DataDir) -> PathBuf {
    let beside = config.file.as_deref().and_then(Path::parent).map(|folder| folder.join(LOCK_FILE));
    beside.unwrap_or_else(|| data.root().join(LOCK_FILE))
}

/// Writes it, whole or not at all.
pub(super) fn write(path: &Path, number: ReleaseNumber, lock: &Lock) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(format!("failed to write {}", path.display())).why(why);
    let text = toml::to_string_pretty(lock).map_err(|error| failed(error.to_string()))?;
    let text = format!(
        "# What release {number} is made of. Written by `holdpoint deploy`; `--locked` deploys it again.\n{text}"
    );
    let new = path.with_extension("lock.new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        let failure = failed(error.to_string());
        failure.next(format!("ls -ld {}", path.parent().unwrap_or(path).display()))
    })
}

/// What was deployed last as far as the file beside the configuration says; None where there is none.
///
/// # Errors
/// When there is one that cannot be used.
pub fn written(config: &Config, data: &DataDir) -> Result<Option<Lock>, Failure> {
    let path = path(config, data);
    if path.exists() { read(&path).map(Some) } else { Ok(None) }
}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<Lock, Failure> {
    let failed = |why: String| {
        Failure::new(format!("{} cannot be used", path.display()))
            .exit(Exit::Config)
            .why(why)
            .next("holdpoint deploy     (writes it anew)")
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lock: Lock = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if lock.version != LOCK_VERSION {
        return Err(failed(format!(
            "it is of version {}, this Holdpoint writes {LOCK_VERSION}",
            lock.version
        )));
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdpoint_model::Digest;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(LOCK_FILE);
        let lock = Lock {
            version: LOCK_VERSION,
            holdpoint: "0.1.0".into(),
            claude_cli: "2".into(),
            settings: Digest::of_bytes(b"a"),
            policy: Digest::of_bytes(b"b"),
            base: None,
            dependencies: None,
            configuration: None,
            image: None,
            sources: BTreeMap::new(),
            plugins: Vec::new(),
        };
        write(&path, 3, &lock).expect("written");
        assert_eq!(read(&path).expect("read"), lock);
        for text in ["", "version = 1", "no toml at all ="] {
            fs::write(&path, text).expect("written");
            assert!(read(&path).expect_err(text).what.contains(LOCK_FILE));
        }
    }
}
