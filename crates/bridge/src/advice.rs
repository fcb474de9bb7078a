//! Why the container could not write to a folder, as seen from outside, where whoever mends it is.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// The cause and what to type, for the first of these folders with which something is wrong.
pub(crate) fn advice(folders: &[String]) -> Option<(String, String)> {
    let user = rustix::process::geteuid().as_raw();
    folders.iter().find_map(|folder| one(folder, user))
}

fn one(folder: &str, user: u32) -> Option<(String, String)> {
    let path = Path::new(folder);
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            return Some((format!("{folder} cannot be looked at: {error}"), format!("ls -ld {folder}")));
        }
    };
    if !meta.is_dir() {
        return Some((
            format!("{folder} is no folder, and the session writes there"),
            format!("mv {folder} {folder}.was"),
        ));
    }
    if meta.uid() != user {
        let owner = meta.uid();
        return Some((
            format!(
                "{folder} belongs to user {owner}, and a session writes as user {user} alone, who runs Holdpoint"
            ),
            format!("sudo chown -R {user} {folder}"),
        ));
    }
    if meta.mode() & 0o700 != 0o700 {
        return Some((
            format!("{folder} is closed to its own user (mode {:o})", meta.mode() & 0o7777),
            format!("chmod u+rwx {folder}"),
        ));
    }
    let disk = rustix::fs::statvfs(path).ok()?;
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Some((
            format!("{folder} is on a disk that is mounted read-only"),
            format!("sudo mount -o remount,rw \"$(findmnt -no TARGET -T {folder})\""),
        ));
    }
    (disk.f_bavail == 0).then(|| (format!("the disk that holds {folder} is full"), format!("df -h {folder}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_folder_that_cannot_be_written_is_named_with_what_to_type() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name).display().to_string();
        for name in ["good", "closed"] {
            fs::create_dir(at(name)).expect("folder");
        }
        fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o500)).expect("mode");
        fs::write(at("file"), "").expect("file");
        let user = rustix::process::geteuid().as_raw();
        let told = |name: &str, user| one(&at(name), user);
        assert_eq!(told("good", user), None);
        assert_eq!(told("missing", user), None);
        assert_eq!(told("file", user).expect("told").1, format!("mv {0} {0}.was", at("file")));
        assert_eq!(told("closed", user).expect("told").1, format!("chmod u+rwx {}", at("closed")));
        let (why, next) = told("good", user + 1).expect("told");
        assert!(why.contains(&format!("belongs to user {user}")), "{why}");
        assert_eq!(next, format!("sudo chown -R {} {}", user + 1, at("good")));
        assert_eq!(
            advice(&[at("good"), at("file"), at("closed")]).expect("told").1,
            told("file", user).expect("told").1
        );
    }
}
