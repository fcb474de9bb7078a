//! Reading a backup from its first byte to its last, and finding everything that is wrong with it.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use holdpoint_store::known_schema;
use tar::{Archive, Entry, EntryType};

use super::{
    DATABASE, FORMAT, MANIFEST, Manifest, SUMS, Stop, may_be_link, place,
    sums::{BLOCK, Input, List, Passed, Summed},
};
use crate::{
    bar::Bar,
    data::describe,
    failure::{Exit, Failure},
    term::Term,
};

/// The longest first entry, in bytes: a few hundred are enough.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// An archive ends with so many zeros.
const END_BYTES: usize = 1024;

/// What is done with the entries of a backup. They have been checked as far as one can by looking at them
/// one after the other; the checksums are only known to be right at the end.
pub(super) trait Taker {
    fn folder(&mut self, place: &Path, mode: u32) -> io::Result<()>;
    fn file(&mut self, place: &Path, about: About, content: &mut dyn Read) -> io::Result<()>;
    fn link(&mut self, place: &Path, target: &Path) -> io::Result<()>;
}

/// What is kept of a file beside its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) mode: u32,
    /// Seconds since the epoch.
    pub(super) modified: u64,
}

/// Looks and takes nothing.
struct Look;

impl Taker for Look {
    fn folder(&mut self, _: &Path, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn file(&mut self, _: &Path, _: About, content: &mut dyn Read) -> io::Result<()> {
        io::copy(content, &mut io::sink()).map(drop)
    }
    fn link(&mut self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Files in it.
    pub files: u64,
    /// Its size.
    pub bytes: u64,
}

/// Checks that a backup is whole.
///
/// # Errors
/// Says what is wrong with it.
pub fn check(file: &Path, term: Term, stop: Stop) -> Result<Checked, Failure> {
    read(file, &mut Look, "checking the backup", term, stop)
}

/// Reads all of a backup.
pub(super) fn read(
    file: &Path,
    taker: &mut dyn Taker,
    doing: &str,
    term: Term,
    stop: Stop,
) -> Result<Checked, Failure> {
    let opened = File::open(file).and_then(|opened| Ok((opened.metadata()?, opened)));
    let (meta, opened) = opened.map_err(|error| {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Failure::new(format!("failed to read {}", file.display())).exit(exit).why(error)
    })?;
    if meta.is_dir() {
        return Err(Failure::new(format!("{} is a folder, and no backup", file.display())));
    }
    let bar = Bar::bytes(term, doing, meta.len());
    let (input, passed) = Input::new(BufReader::new(opened), bar.clone(), stop);
    let mut archive = Archive::new(input);
    let outcome = Reading::new(&passed).and_then(|mut reading| {
        reading.all(&mut archive, taker)?;
        nothing_follows(archive.into_inner(), meta.len())?;
        let manifest = reading.manifest.ok_or_else(Wrong::no_backup)?;
        Ok(Checked { manifest, files: reading.files, bytes: meta.len() })
    });
    bar.done();
    outcome.map_err(|wrong| wrong.failure(file))
}

/// What is wrong.
#[derive(Debug)]
enum Wrong {
    /// It is no backup, or not one for this program.
    Unfit(Failure),
    /// It is not what was written, or was never written by Holdpoint.
    Broken(String),
    /// It could not be read, or its content could not be put anywhere.
    Io(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Wrong {
    fn no_backup() -> Self {
        Self::Unfit(
            Failure::new("this is no backup of Holdpoint").why(format!("it does not begin with {MANIFEST}")),
        )
    }

    fn entry(path: &Path, what: &str) -> Self {
        Self::Broken(format!("{} {what}", shown(path)))
    }

    fn failure(self, file: &Path) -> Failure {
        let file = file.display();
        match self {
            Self::Unfit(failure) => Failure { what: format!("{file}: {}", failure.what), ..failure },
            Self::Broken(why) => Failure::new(format!("the backup {file} is damaged"))
                .why(why)
                .next("use another backup; nothing of this one was used"),
            Self::Io(error) => Failure::new(format!("failed to use the backup {file}")).why(describe(&error)),
        }
    }
}

/// A path as it can be shown whatever is in it.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

struct Reading<'a> {
    passed: &'a Passed,
    list: List,
    manifest: Option<Manifest>,
    folders: HashSet<PathBuf>,
    links: HashSet<PathBuf>,
    files: u64,
    has_database: bool,
}

impl<'a> Reading<'a> {
    fn new(passed: &'a Passed) -> Result<Self, Wrong> {
        Ok(Self {
            passed,
            list: List::new()?,
            manifest: None,
            folders: HashSet::new(),
            links: HashSet::new(),
            files: 0,
            has_database: false,
        })
    }

    fn all<R: Read>(&mut self, archive: &mut Archive<R>, taker: &mut dyn Taker) -> Result<(), Wrong> {
        let mut last = PathBuf::new();
        for entry in archive.entries()? {
            // What tar itself cannot read: named by what came before it.
            let mut entry = entry.map_err(|error| self.unreadable(&last, &error))?;
            let path = entry.path()?.into_owned();
            if self.manifest.is_none() {
                self.first(&mut entry, &path)?;
            } else if path == Path::new(SUMS) {
                return self.last(entry);
            } else {
                self.one(&mut entry, &path, taker).map_err(|wrong| match wrong {
                    Wrong::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        Wrong::entry(&path, "is cut short")
                    }
                    wrong => wrong,
                })?;
            }
            last = path;
        }
        if self.manifest.is_none() {
            return Err(Wrong::no_backup());
        }
        Err(Wrong::entry(&last, "is the last of it: the rest is missing"))
    }

    fn unreadable(&self, last: &Path, error: &io::Error) -> Wrong {
        match self.manifest {
            None => Wrong::no_backup(),
            Some(_) => Wrong::entry(last, &format!("is followed by something that cannot be read: {error}")),
        }
    }

    fn first<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> Result<(), Wrong> {
        if path != Path::new(MANIFEST) || entry.header().entry_type() != EntryType::Regular {
            return Err(Wrong::no_backup());
        }
        let mut content = Summed::new(entry.take(MAX_MANIFEST_BYTES));
        let mut text = Vec::new();
        content.read_to_end(&mut text)?;
        self.list.add(path, &content.sum())?;
        self.files += 1;
        let unreadable = |error: serde_json::Error| Wrong::entry(path, &format!("cannot be read: {error}"));
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
        // Before anything else of it: a newer one may say other things.
        let format = value["format"].as_u64().unwrap_or_default();
        let schema = value["schema"].as_i64().unwrap_or_default();
        if format > u64::from(FORMAT) || schema > known_schema() {
            let by = value["holdpoint"].as_str().unwrap_or("?").escape_debug().to_string();
            return Err(Wrong::Unfit(
                Failure::new("a newer Holdpoint made this backup")
                    .why(format!(
                        "it is of Holdpoint {by} (form {format}, schema {schema}); this is {} and knows up to form {FORMAT}, schema {}",
                        env!("CARGO_PKG_VERSION"),
                        known_schema()
                    ))
                    .next("restore it with the newer Holdpoint"),
            ));
        }
        self.manifest = Some(serde_json::from_value(value).map_err(unreadable)?);
        Ok(())
    }

    fn one<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        taker: &mut dyn Taker,
    ) -> Result<(), Wrong> {
        let Some(place) = place(path).map_err(|why| Wrong::entry(path, why))? else {
            return Err(Wrong::entry(path, "is nothing that a backup has"));
        };
        for above in place.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            if self.links.contains(above) {
                return Err(Wrong::entry(path, &format!("would go through the link {}", shown(above))));
            }
            if !self.folders.contains(above) {
                return Err(Wrong::entry(path, "is in no folder of the backup"));
            }
        }
        if self.links.contains(&place) || self.folders.contains(&place) {
            return Err(Wrong::entry(path, "is in it twice"));
        }
        let mode = entry.header().mode()? & 0o777;
        match entry.header().entry_type() {
            EntryType::Directory => {
                taker.folder(&place, mode)?;
                self.folders.insert(place);
            }
            EntryType::Regular => {
                let about = About { mode, modified: entry.header().mtime()? };
                let size = entry.size();
                let mut content = Summed::new(entry);
                let mut counted = Count { inner: &mut content, bytes: 0 };
                taker.file(&place, about, &mut counted)?;
                if counted.bytes != size {
                    return Err(Wrong::entry(path, "is cut short"));
                }
                self.list.add(path, &content.sum())?;
                self.files += 1;
                self.has_database |= place == Path::new(DATABASE);
            }
            EntryType::Symlink => {
                if !may_be_link(&place) {
                    return Err(Wrong::entry(path, "is a link where there are none"));
                }
                let target = entry.link_name()?.ok_or_else(|| Wrong::entry(path, "is a link to nothing"))?;
                taker.link(&place, &target)?;
                self.links.insert(place);
            }
            _ => return Err(Wrong::entry(path, "is neither a file, nor a folder, nor a link")),
        }
        Ok(())
    }

    fn last<R: Read>(&mut self, entry: Entry<'_, R>) -> Result<(), Wrong> {
        let whole = self.passed.before_last_block();
        let list = std::mem::replace(&mut self.list, List::new()?);
        let damage = list.compare(&whole, entry)?;
        if !damage.is_empty() {
            return Err(Wrong::Broken(damage.join("\n")));
        }
        if !self.has_database {
            return Err(Wrong::Broken("it has no database".into()));
        }
        Ok(())
    }
}

/// After the last entry there is only the end of the archive.
fn nothing_follows(mut rest: impl Read, bytes: u64) -> Result<(), Wrong> {
    let mut buffer = [0; 8192];
    let mut zeros = 0;
    loop {
        match rest.read(&mut buffer)? {
            0 if zeros >= END_BYTES && bytes.is_multiple_of(BLOCK as u64) => return Ok(()),
            0 => return Err(Wrong::Broken("its end is missing".into())),
            n if buffer[..n].iter().all(|byte| *byte == 0) => zeros += n,
            _ => return Err(Wrong::Broken("something follows the list of checksums".into())),
        }
    }
}

struct Count<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Count<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
