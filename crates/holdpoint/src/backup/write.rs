//! Writing a backup, while the data folder is in use or not.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use holdpoint_beneath::{FileType, Loss, Stat, kind};
use holdpoint_store::{contents, snapshot};
use tar::{Builder, EntryType, Header};

use super::{
    DATA, DATABASE, MANIFEST, Manifest, SUMS, Stop,
    sums::{List, Output, Summed},
    walk::{Found, What, walk},
};
use crate::{
    bar::Bar,
    data::{DataDir, describe},
    failure::{Exit, Failure},
    term::{Stdout, Term},
};

/// A file up to this size is read whole before its size is written: one that is changed meanwhile is in the
/// backup as it was at one moment. A larger one that shrinks is filled up with zeros, and named.
const READ_WHOLE_BYTES: u64 = 8 * 1024 * 1024;

/// Files that are named as damaged; more are counted.
const MAX_DAMAGED: u64 = 200;

/// How often the growth of the database's copy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Where a backup goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To this file, which is replaced when the backup is whole.
    File(PathBuf),
    /// To whoever reads this command's output.
    Stdout,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Files in it.
    pub files: u64,
    /// Its size.
    pub bytes: u64,
    /// Files that could not be read, or not whole; each with why.
    pub damaged: Vec<String>,
}

/// Writes a backup of `data`.
///
/// # Errors
/// When it is not whole; nothing is left of it then.
pub async fn write(data: &DataDir, to: Destination, term: Term, stop: Stop) -> anyhow::Result<Written> {
    if !data.database().is_file() {
        return Err(Failure::new("there is nothing to back up")
            .exit(Exit::NotFound)
            .why(format!("the data folder {} has no database", data.root().display()))
            .next("holdpoint --data DIR backup FILE     (another data folder)")
            .into());
    }
    let root = data.root().canonicalize().context("failed to find the data folder's path")?;
    let folder = scratch(&to, &root)?;
    let database = folder.path().join(DATABASE);
    copy_database(data, &database, term).await?;
    let contents = contents(&database).await?;
    let manifest = Manifest::new(&contents, &root);
    let (data, whole, bar_manifest) = (data.clone(), folder.path().join("backup.tar"), manifest.clone());
    let bytes_expected = {
        let mut bytes = fs::metadata(&database)?.len();
        walk(&data, &contents, &mut |found| {
            if let What::Other { stat, .. } = found.what {
                bytes = bytes.saturating_add(size(stat));
            }
            Ok(())
        })?;
        bytes
    };
    let bar = Bar::bytes(term, "writing the backup", bytes_expected);
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<Written> {
        let mut files = Files { list: List::new()?, files: 0, damaged: Vec::new(), more_damaged: 0 };
        let bytes = match &to {
            Destination::File(file) => {
                let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&whole)?;
                let out = Output::new(BufWriter::new(out), bar.clone(), stop);
                let out = files.write_all(out, &bar_manifest, &database, |files, builder| {
                    walk(&data, &contents, &mut |found| files.add(builder, found))
                })?;
                let out = out.into_inner().map_err(io::IntoInnerError::into_error)?;
                out.sync_all()?;
                let bytes = out.metadata()?.len();
                fs::rename(&whole, file)?;
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
                bytes
            }
            Destination::Stdout => {
                let out = Output::new(BufWriter::new(Counted { inner: Stdout, bytes: 0 }), bar.clone(), stop);
                let out = files.write_all(out, &bar_manifest, &database, |files, builder| {
                    walk(&data, &contents, &mut |found| files.add(builder, found))
                })?;
                out.into_inner().map_err(io::IntoInnerError::into_error)?.bytes
            }
        };
        bar.done();
        if files.more_damaged > 0 {
            files.damaged.push(format!("and {} more", files.more_damaged));
        }
        Ok(Written { manifest: bar_manifest, files: files.files, bytes, damaged: files.damaged })
    });
    let written = written.await?;
    drop(folder);
    written
}

/// A folder for what is not whole yet: beside the backup, so that the disk of the data folder is not filled.
fn scratch(to: &Destination, root: &Path) -> anyhow::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".holdpoint-backup-");
    let Destination::File(file) = to else { return Ok(builder.tempdir()?) };
    let failed =
        |error: io::Error| Failure::new(format!("failed to write {}", file.display())).why(describe(&error));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(failed)?;
    if folder.starts_with(root) {
        return Err(Failure::new(format!("{} is in the data folder itself", file.display()))
            .why("a backup that goes with what it is a backup of is none")
            .next("holdpoint backup FILE     (somewhere else, best on another disk)")
            .into());
    }
    if file.is_dir() {
        return Err(Failure::new(format!("{} is a folder", file.display()))
            .next(format!("holdpoint backup {}/holdpoint.tar", file.display()))
            .into());
    }
    Ok(builder.tempdir_in(folder).map_err(failed)?)
}

async fn copy_database(data: &DataDir, to: &Path, term: Term) -> anyhow::Result<()> {
    let size = fs::metadata(data.database())?.len();
    let bar = Bar::bytes(term, "copying the database", size);
    let from = data.database();
    let mut copy = std::pin::pin!(snapshot(&from, to));
    loop {
        tokio::select! {
            done = &mut copy => {
                bar.done();
                return Ok(done?);
            }
            () = tokio::time::sleep(LOOK_EVERY) => bar.set(fs::metadata(to).map_or(0, |meta| meta.len())),
        }
    }
}

struct Files {
    list: List,
    files: u64,
    damaged: Vec<String>,
    more_damaged: u64,
}

impl Files {
    fn write_all<W: Write>(
        &mut self,
        out: Output<W>,
        manifest: &Manifest,
        database: &Path,
        rest: impl FnOnce(&mut Self, &mut Builder<Output<W>>) -> anyhow::Result<()>,
    ) -> anyhow::Result<W> {
        let mut builder = Builder::new(out);
        let text = serde_json::to_vec_pretty(manifest)?;
        self.content(&mut builder, plain(text.len() as u64), Path::new(MANIFEST), text.as_slice())?;
        let file = File::open(database)?;
        let stat = rustix::fs::fstat(&file)?;
        self.content(&mut builder, header(&stat), &Path::new(DATA).join(DATABASE), file.take(size(&stat)))?;
        rest(self, &mut builder)?;
        let whole = builder.get_ref().sum();
        let list = std::mem::replace(&mut self.list, List::new()?);
        let (size, list) = list.finish(&whole)?;
        builder.append_data(&mut plain(size), SUMS, list)?;
        let mut out = builder.into_inner()?;
        out.flush()?;
        Ok(out.into_inner())
    }

    fn add<W: Write>(&mut self, builder: &mut Builder<Output<W>>, found: Found<'_>) -> anyhow::Result<()> {
        let name = Path::new(DATA).join(found.place);
        match found.what {
            What::Folder(stat) => builder.append_data(&mut header(stat), name, io::empty())?,
            What::LeftOut(why) => self.damage(format!("{} is left out: {why}", found.place.display())),
            What::Other { folder, name: entry, stat } if kind(stat) == FileType::Symlink => {
                match folder.link(entry) {
                    Ok(target) => builder.append_link(&mut header(stat), name, target)?,
                    Err(error) => self.unreadable(found.place, error),
                }
            }
            What::Other { folder, name: entry, stat: seen } => match folder.file(entry) {
                Ok((file, mut stat)) => {
                    // What it has grown by since is of another moment, and nobody has said that it fits.
                    stat.st_size = stat.st_size.min(seen.st_size);
                    self.file(builder, &name, &stat, file)?;
                }
                Err(error) => self.unreadable(found.place, error),
            },
        }
        Ok(())
    }

    fn file<W: Write>(
        &mut self,
        builder: &mut Builder<Output<W>>,
        name: &Path,
        stat: &Stat,
        mut file: File,
    ) -> anyhow::Result<()> {
        let mut header = header(stat);
        if size(stat) <= READ_WHOLE_BYTES {
            let mut content = Vec::new();
            // It may have grown, but not without end.
            (&mut file).take(2 * READ_WHOLE_BYTES).read_to_end(&mut content)?;
            header.set_size(content.len() as u64);
            return self.content(builder, header, name, content.as_slice());
        }
        let mut whole = Filled { inner: file, left: size(stat), is_short: false };
        self.content(builder, header, name, &mut whole)?;
        if whole.is_short {
            self.damage(format!("{} became shorter while it was read", name.display()));
        }
        Ok(())
    }

    fn content<W: Write>(
        &mut self,
        builder: &mut Builder<Output<W>>,
        mut header: Header,
        name: &Path,
        content: impl Read,
    ) -> anyhow::Result<()> {
        let mut content = Summed::new(content);
        builder.append_data(&mut header, name, &mut content)?;
        self.list.add(name, &content.sum())?;
        self.files += 1;
        Ok(())
    }

    fn unreadable(&mut self, place: &Path, error: io::Error) {
        match error.into() {
            // One that went meanwhile is not there at another moment.
            Loss::Vanished => {}
            Loss::Unreadable(error) => self.damage(format!("{} is left out: {error}", place.display())),
            Loss::TooDeep | Loss::TooMany => self.damage(format!("{} is left out", place.display())),
        }
    }

    fn damage(&mut self, what: String) {
        if (self.damaged.len() as u64) < MAX_DAMAGED {
            self.damaged.push(what);
        } else {
            self.more_damaged += 1;
        }
    }
}

fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(match kind(stat) {
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        _ => EntryType::Regular,
    });
    header.set_size(size(stat));
    header.set_mode(stat.st_mode & 0o777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header
}

/// The bytes of a file; what is no file has none.
fn size(stat: &Stat) -> u64 {
    match kind(stat) {
        FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or_default(),
        _ => 0,
    }
}

fn plain(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
    header
}

/// A file of exactly so many bytes.
struct Filled<R> {
    inner: R,
    left: u64,
    is_short: bool,
}

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut n = self.inner.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            self.is_short = true;
            buffer[..most].fill(0);
            n = most;
        }
        self.left -= n as u64;
        Ok(n)
    }
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
