//! The secret that signs the tokens of workers and sessions.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

const FILE: &str = "secret";

/// The data folder's secret; made at the first start. It stays the same, so that workers which
/// outlived the control plane are welcome.
pub(super) fn load_or_make(root: &Path) -> anyhow::Result<[u8; 32]> {
    let path = root.join(FILE);
    match read(&path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    // Whole or not at all: half a secret would fence every worker.
    let temporary = root.join(format!(".{FILE}-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    Ok(secret)
}

fn read(path: &Path) -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    std::fs::File::open(path)?.read_exact(&mut secret)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn stays_the_same_and_is_for_the_owner_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let first = load_or_make(dir.path()).expect("made");
        assert_eq!(load_or_make(dir.path()).expect("loaded"), first);
        assert_ne!(first, [0; 32]);
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
