//! The data folder: where everything is that Holdpoint keeps.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{env::Environment, failure::Failure};

/// Tries before the folder counts as taken: a look at who holds the lock holds it for an instant too.
const LOCK_TRIES: u32 = 5;

/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The data folder, as an absolute path. It need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The folder that was asked for, or the person's own.
    ///
    /// # Errors
    /// When nothing was asked for and there is no home folder either.
    pub fn locate(asked: Option<&Path>, environment: &Environment) -> Result<Self, Failure> {
        let root = match (asked, &environment.xdg_data_home, &environment.home) {
            (Some(asked), _, _) => asked.to_owned(),
            (None, Some(xdg), _) => xdg.join("holdpoint"),
            (None, None, Some(home)) => home.join(".local/share/holdpoint"),
            (None, None, None) => {
                return Err(Failure::new("no data folder to use")
                    .why("neither --data nor HOLDPOINT_DATA, XDG_DATA_HOME or HOME is set")
                    .next("holdpoint --data DIR up"));
            }
        };
        let root = std::path::absolute(&root)
            .map_err(|error| Failure::new(format!("{} is no folder", root.display())).why(error))?;
        Ok(Self { root })
    }

    /// This folder, which is an absolute path.
    #[must_use]
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("holdpoint.db")
    }

    /// How the terminal finds the running control plane.
    #[must_use]
    pub fn control_file(&self) -> PathBuf {
        self.root.join("control.json")
    }

    /// Held by the one control plane of this folder.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The folder of the installed Claude CLIs, one folder each.
    #[must_use]
    pub fn cli_folder(&self) -> PathBuf {
        self.root.join("cli")
    }

    /// What was expensive to make and can be made again.
    #[must_use]
    pub fn cache_folder(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folder of all executions, one folder each.
    #[must_use]
    pub fn executions(&self) -> PathBuf {
        self.root.join("executions")
    }

    /// Makes the folder, for the owner alone, and checks that it can be written to. A folder that was
    /// there and holds something of somebody else is left as it is.
    ///
    /// # Errors
    /// When it cannot, or others could look into it.
    pub fn create(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| self.unwritable(&error);
        create_private(&self.root).map_err(failed)?;
        // Everything of value is below: nobody else may look.
        if self.is_open_to_others()? {
            fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        for folder in [self.cli_folder(), self.executions()] {
            create_private(&folder).map_err(failed)?;
        }
        let probe = self.root.join(format!(".probe-{}", std::process::id()));
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(failed)
    }

    /// Whether others may look into the folder, which is there, and it can be closed to them.
    ///
    /// # Errors
    /// When it holds something of somebody else, who may want it open.
    pub(crate) fn is_open_to_others(&self) -> Result<bool, Failure> {
        let failed = |error: io::Error| self.unwritable(&error);
        let mode = fs::metadata(&self.root).map_err(failed)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(false);
        }
        let is_empty = fs::read_dir(&self.root).map_err(failed)?.next().is_none();
        if is_empty || self.database().is_file() {
            return Ok(true);
        }
        // Perhaps a mistake: a home folder, /tmp, a project that others work in as well.
        let root = self.root.display();
        Err(Failure::new(format!("{root} cannot be the data folder as it is"))
            .why("other users may look into it, and what is in it is not Holdpoint's")
            .next(format!("holdpoint --data {root}/holdpoint up     (a folder of its own in there)"))
            .next(format!("chmod 700 {root}     (if it is meant to be yours alone)")))
    }

    /// Why the folder is of no use.
    pub(crate) fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("failed to write to the data folder {}", self.root.display()))
            .why(describe(error))
            .next("holdpoint --data DIR up     (another folder)")
    }

    /// Takes the folder for this control plane. Dropping the lock gives it back, and so does the end
    /// of the process, however it comes.
    ///
    /// # Errors
    /// When another control plane has it; with its process id.
    pub fn lock(&self) -> Result<DataLock, Failure> {
        let path = self.lock_file();
        let failed = |error: io::Error| {
            Failure::new(format!("failed to lock the data folder {}", self.root.display()))
                .why(describe(&error))
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let mut tries = LOCK_TRIES;
        while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            tries -= 1;
            if tries > 0 {
                std::thread::sleep(LOCK_PAUSE);
                continue;
            }
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim();
            let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
            let at =
                self.read_control().ok().flatten().map_or_else(String::new, |c| format!(" at {}", c.url));
            return Err(Failure::new("Holdpoint is running already")
                .why(format!("{who} has the data folder {}{at}", self.root.display()))
                .next("holdpoint status")
                .next("holdpoint down              (stops it)")
                .next("holdpoint --data DIR up     (a second one, with a folder and --port of its own)"));
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DataLock { _file: file })
    }

    /// The process that holds the lock now, if one does.
    #[must_use]
    pub fn locked_by(&self) -> Option<i32> {
        let mut tries = LOCK_TRIES;
        loop {
            let mut file = File::open(self.lock_file()).ok()?;
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
                return None;
            }
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok()?;
            tries -= 1;
            match pid.trim().parse() {
                Ok(pid) => return Some(pid),
                // It has the lock and has not written yet who it is.
                Err(_) if tries > 0 => std::thread::sleep(LOCK_PAUSE),
                Err(_) => return None,
            }
        }
    }

    /// The control plane of this folder, as far as it is sure: a control file without the process that
    /// wrote it is what a killed one left behind, and somebody else may listen at its address by now.
    ///
    /// # Errors
    /// When the control file is there but cannot be read.
    pub fn presence(&self) -> Result<Presence, Failure> {
        let Some(pid) = self.locked_by() else { return Ok(Presence::Absent) };
        let control = self.read_control()?.filter(|control| control.pid == pid);
        Ok(control.map_or(Presence::Between, Presence::Running))
    }

    /// What the running control plane wrote for the terminal, if it did.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read_control(&self) -> Result<Option<ControlFile>, Failure> {
        let path = self.control_file();
        let failed = |why: String| {
            Failure::new(format!("failed to read {}", path.display()))
                .why(why)
                .next("holdpoint down              (if it runs)")
                .next("holdpoint up")
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(describe(&error))),
        }
    }

    /// Tells the terminal where the control plane is. Readable by the owner alone, since it holds
    /// the token of the local operator.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_control(&self, control: &ControlFile) -> io::Result<()> {
        let temporary = self.root.join(format!(".control-{}", std::process::id()));
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(control)?)?;
        drop(file);
        fs::rename(temporary, self.control_file())
    }

    /// Takes back what [`Self::write_control`] wrote, at a clean end.
    pub fn remove_control(&self) {
        let _ = fs::remove_file(self.control_file());
    }
}

/// Whether a data folder has a control plane now.
#[derive(Clone, Debug)]
pub enum Presence {
    /// It answers there.
    Running(ControlFile),
    /// A process has the folder and answers nobody: it starts, it ends, or it is `holdpoint down`.
    Between,
    /// Nothing has the folder.
    Absent,
}

/// The lock on a data folder.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// `control.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct ControlFile {
    /// Where the control plane listens.
    pub url: String,
    /// Its process.
    pub pid: i32,
    /// The local operator's token.
    pub token: String,
}

impl std::fmt::Debug for ControlFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlFile").field("url", &self.url).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Makes a folder and those above it that are missing, for the owner alone.
///
/// # Errors
/// As the file system says.
pub fn create_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// An I/O error in words that a person acts on.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "you may not write there (permission denied)".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "that file system is read-only".into(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "something that is not a folder is in the way".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_control_plane_has_the_folder_and_the_second_is_told_who() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir { root: dir.path().join("data") };
        data.create().expect("create");
        assert_eq!(fs::metadata(data.root()).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(data.locked_by(), None);
        let lock = data.lock().expect("free");
        let pid = std::process::id();
        assert_eq!(data.locked_by(), i32::try_from(pid).ok());
        let second = data.lock().expect_err("taken");
        assert!(second.why.contains(&format!("process {pid}")), "{second}");
        drop(lock);
        data.lock().expect("free again");
    }

    #[test]
    fn the_control_file_is_for_the_owner_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir { root: dir.path().to_owned() };
        assert!(data.read_control().expect("read").is_none());
        let control = ControlFile { url: "http://127.0.0.1:1".into(), pid: 7, token: "t".into() };
        data.write_control(&control).expect("write");
        assert_eq!(fs::metadata(data.control_file()).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(data.read_control().expect("read").expect("there").pid, 7);
        assert!(!format!("{control:?}").contains("\"t\""));
        data.remove_control();
        assert!(data.read_control().expect("read").is_none());
    }

    #[test]
    fn a_control_file_counts_while_the_process_that_wrote_it_has_the_folder() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir { root: dir.path().to_owned() };
        let own = i32::try_from(std::process::id()).expect("pid");
        let write = |pid| {
            let control = ControlFile { url: "http://127.0.0.1:1".into(), pid, token: "t".into() };
            data.write_control(&control).expect("write");
        };
        write(own);
        assert!(matches!(data.presence(), Ok(Presence::Absent)), "nobody has the lock");
        let lock = data.lock().expect("free");
        assert!(matches!(data.presence(), Ok(Presence::Running(_))));
        write(own + 1);
        assert!(matches!(data.presence(), Ok(Presence::Between)), "somebody else wrote it");
        data.remove_control();
        assert!(matches!(data.presence(), Ok(Presence::Between)));
        drop(lock);
        assert!(matches!(data.presence(), Ok(Presence::Absent)));
    }

    #[test]
    fn only_a_folder_of_ours_is_closed_to_others() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir { root: dir.path().join("folder") };
        let open = || fs::set_permissions(data.root(), fs::Permissions::from_mode(0o755)).expect("mode");
        let mode = || fs::metadata(data.root()).expect("there").permissions().mode() & 0o777;
        fs::create_dir(data.root()).expect("folder");
        open();
        fs::write(data.root().join("letter"), "").expect("file");
        let failure = data.create().expect_err("it is somebody's").to_string();
        assert!(failure.contains("chmod 700") && failure.contains("--data"), "{failure}");
        assert_eq!(mode(), 0o755);
        assert!(!data.executions().exists(), "nothing was put into it");
        fs::remove_file(data.root().join("letter")).expect("remove");
        data.create().expect("an empty one is taken");
        assert_eq!(mode(), 0o700);
        open();
        fs::write(data.database(), "").expect("file");
        data.create().expect("ours");
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_made_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("file"), "").expect("file");
        let data = DataDir { root: dir.path().join("file/data") };
        let failure = data.create().expect_err("in the way");
        assert!(failure.why.contains("not a folder"), "{failure}");
    }

    #[test]
    fn the_folder_is_found_by_flag_then_xdg_then_home() {
        let mut environment = Environment { home: Some("/h".into()), ..Environment::default() };
        let root = |environment: &Environment, asked: Option<&str>| {
            DataDir::locate(asked.map(Path::new), environment).map(|data| data.root)
        };
        assert_eq!(root(&environment, None), Ok("/h/.local/share/holdpoint".into()));
        environment.xdg_data_home = Some("/x".into());
        assert_eq!(root(&environment, None), Ok("/x/holdpoint".into()));
        assert_eq!(root(&environment, Some("/d")), Ok("/d".into()));
        assert!(root(&Environment::default(), None).is_err());
    }
}
