//! Whether the data folder can be written to, by us alone, and has room.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use holdpoint_control::room;
use rustix::fs::{Access, access};

use super::{Finding, Machine, Verdict};
use crate::{data::DataDir, render::time::bytes};

/// Less room than this will not last for long: a Claude CLI and an image of it are a gigabyte.
const LOW_BYTES: u64 = 1 << 30;

/// No more entries of somebody else are named than this.
const MOST_NAMED: usize = 3;

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let data = &machine.context.data;
    match fs::metadata(data.root()) {
        Ok(meta) if meta.is_dir() => there(data, &meta),
        Ok(_) => vec![problem(data, &io::ErrorKind::NotADirectory.into())],
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![not_there(data)],
        Err(error) => vec![problem(data, &error)],
    }
}

fn problem(data: &DataDir, error: &io::Error) -> Finding {
    Finding::of(Verdict::Problem, data.unwritable(error))
}

/// `up` will make it, if it may.
fn not_there(data: &DataDir) -> Finding {
    let above = data.root().ancestors().skip(1).find(|folder| folder.exists());
    match access(above.unwrap_or(Path::new("/")), Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(format!(
            "{} is not there yet; the first `holdpoint up` makes it",
            data.root().display()
        )),
        Err(error) => problem(data, &error.into()),
    }
}

fn there(data: &DataDir, meta: &Metadata) -> Vec<Finding> {
    let root = data.root().display();
    let own = rustix::process::geteuid().as_raw();
    let mut findings = Vec::new();
    if meta.uid() != own {
        let finding = if own == 0 {
            Finding::warning(format!("{root} belongs to user {}, and this is root", meta.uid()))
                .because("what is made in it now, its owner can neither read nor remove")
        } else {
            Finding::problem(format!("{root} belongs to user {}, not to you", meta.uid()))
        };
        findings.push(
            finding
                .next(format!("sudo -u '#{}' holdpoint doctor --data {root}     (as its owner)", meta.uid())),
        );
    }
    if let Err(error) = access(data.root(), Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        findings.push(problem(data, &error.into()));
        return findings;
    }
    match data.is_open_to_others() {
        Ok(false) => {}
        Ok(true) => findings.push(
            Finding::warning(format!("other users may look into {root}"))
                .because("the next `holdpoint up` closes it")
                .next(format!("chmod 700 {root}")),
        ),
        Err(failure) => findings.push(Finding::of(Verdict::Problem, failure)),
    }
    findings.extend(of_others(data.root(), meta.uid()));
    let free = room(data.root());
    if let Ok(room) = free {
        let what = format!("{} are free where {root} is", bytes(room.free_bytes));
        if room.free_bytes < room.needed_bytes {
            let why = format!("no session is started with less than {}", bytes(room.needed_bytes));
            findings.push(Finding::problem(what).because(why).next(format!("du -sh {root}/*")));
        } else if room.free_bytes < LOW_BYTES {
            let finding = Finding::warning(what).because("conversations wait when the disk is full");
            findings.push(finding.next("holdpoint retention     (what may be deleted by rule)"));
        }
    }
    if findings.is_empty() {
        let free = free.map_or_else(|_| String::new(), |room| format!(", {} free", bytes(room.free_bytes)));
        let who = data
            .locked_by()
            .map_or_else(|| "nobody has it".to_owned(), |pid| format!("process {pid} has it"));
        findings.push(Finding::ok(format!("{root}: yours alone{free}; {who}")));
    }
    findings
}

/// What root once made in somebody's folder, for one.
fn of_others(root: &Path, owner: u32) -> Option<Finding> {
    let entries = fs::read_dir(root).ok()?.flatten();
    let theirs =
        entries.filter(|entry| fs::symlink_metadata(entry.path()).is_ok_and(|meta| meta.uid() != owner));
    let names: Vec<String> = theirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if names.is_empty() {
        return None;
    }
    let more = names.len().saturating_sub(MOST_NAMED);
    let named = names.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(
        Finding::problem(format!("files in {} belong to another user than the folder", root.display()))
            .because(format!("{named}{rest}: Holdpoint was once run as somebody else, perhaps with sudo"))
            .next(format!("sudo chown -R {owner} {}", root.display())),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn verdicts(data: &DataDir) -> Vec<Verdict> {
        let meta = fs::metadata(data.root()).expect("there");
        there(data, &meta).into_iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_folder_of_ours_is_right_an_open_one_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::at(dir.path().join("data"));
        assert_eq!(not_there(&data).verdict, Verdict::Ok);
        data.create().expect("made");
        assert_eq!(verdicts(&data), [Verdict::Ok]);
        fs::set_permissions(data.root(), fs::Permissions::from_mode(0o755)).expect("mode");
        assert_eq!(
            verdicts(&data),
            [Verdict::Problem],
            "it holds folders, and no database says that they are ours"
        );
        fs::write(data.database(), "").expect("file");
        assert_eq!(verdicts(&data), [Verdict::Warning]);
    }

    #[test]
    fn files_of_somebody_else_are_named() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["a", "b", "c", "d"] {
            fs::write(dir.path().join(name), "").expect("file");
        }
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(of_others(dir.path(), own), None);
        let finding = of_others(dir.path(), own + 1).expect("found");
        assert!(finding.why.contains(" and 1 more"), "{finding:?}");
        assert!(finding.next[0].contains(&format!("chown -R {} ", own + 1)), "{finding:?}");
    }
}
