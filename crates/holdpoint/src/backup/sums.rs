//! Checksums: of every file, and of all bytes of the archive, while they pass.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    rc::Rc,
};

use sha2::{Digest as _, Sha256};

use super::Stop;
use holdpoint_model::digest::hex;

use crate::bar::Bar;

/// A header of the archive has so many bytes.
pub(super) const BLOCK: usize = 512;

/// What the last line of the list begins with.
const WHOLE: &[u8] = b"# all bytes before this entry: ";

/// Damaged files that are named; there may be more.
const MAX_NAMED: usize = 10;

/// The list in the order of the archive, as `sha256sum` writes it. In a file of its own: there may be
/// millions.
pub(super) struct List(BufWriter<File>);

impl List {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(BufWriter::new(tempfile::tempfile()?)))
    }

    pub(super) fn add(&mut self, path: &Path, hash: &[u8]) -> io::Result<()> {
        let bytes = path.as_os_str().as_bytes();
        let is_odd = bytes.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
        let mut line = Vec::with_capacity(bytes.len() + 70);
        if is_odd {
            line.push(b'\\');
        }
        line.extend_from_slice(hex(hash).as_bytes());
        line.extend_from_slice(b"  ");
        for byte in bytes {
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)
    }

    /// Adds the last line, and gives the whole.
    pub(super) fn finish(mut self, whole: &[u8]) -> io::Result<(u64, File)> {
        self.0.write_all(WHOLE)?;
        self.0.write_all(hex(whole).as_bytes())?;
        self.0.write_all(b"\n")?;
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        let size = file.stream_position()?;
        file.rewind()?;
        Ok((size, file))
    }

    /// Compares this list, which was made of what is in an archive, with the one that came with it. Gives
    /// what differs.
    pub(super) fn compare(self, whole: &[u8], other: impl Read) -> io::Result<Vec<String>> {
        let (_, own) = self.finish(whole)?;
        let (mut own, mut other) = (BufReader::new(own), BufReader::new(other));
        let (mut found, mut listed) = (Vec::new(), Vec::new());
        let mut damage = Vec::new();
        loop {
            found.clear();
            listed.clear();
            own.read_until(b'\n', &mut found)?;
            other.read_until(b'\n', &mut listed)?;
            if found.is_empty() && listed.is_empty() {
                return Ok(damage);
            }
            if found == listed {
                continue;
            }
            let (path, other_path) = (path_of(&found), path_of(&listed));
            if damage.len() < MAX_NAMED {
                damage.push(match (path, other_path) {
                    (Some(path), Some(other)) if path == other => format!("{path} is not what was written"),
                    (None, None) => "what lies between the files is not what was written".to_owned(),
                    (Some(path), _) => format!("{path} is not what the list of checksums has there"),
                    (None, Some(other)) => format!("{other} is missing"),
                });
            }
            if path_of(&found) != path_of(&listed) {
                // From here on they are out of step: every line would differ.
                return Ok(damage);
            }
        }
    }
}

/// The path in a line of the list, fit to be shown; None for its last line.
fn path_of(line: &[u8]) -> Option<String> {
    if line.starts_with(WHOLE) {
        return None;
    }
    let at = line.windows(2).position(|two| two == b"  ")?;
    Some(String::from_utf8_lossy(&line[at + 2..]).trim_end_matches('\n').escape_debug().to_string())
}

/// Reads a file and sums it up.
pub(super) struct Summed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Summed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    pub(super) fn sum(self) -> Vec<u8> {
        self.hash.finalize().to_vec()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// Writes an archive and sums it up.
pub(super) struct Output<W> {
    inner: W,
    hash: Sha256,
    bar: Bar,
    stop: Stop,
}

impl<W: Write> Output<W> {
    pub(super) fn new(inner: W, bar: Bar, stop: Stop) -> Self {
        Self { inner, hash: Sha256::new(), bar, stop }
    }

    /// Of all bytes so far.
    pub(super) fn sum(&self) -> Vec<u8> {
        self.hash.clone().finalize().to_vec()
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bar.add(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads an archive and sums it up. The last block that was read is not in the sum yet: when the header of
/// an entry has been read, the sum is that of all bytes before the entry.
pub(super) struct Input<R> {
    inner: R,
    passed: Passed,
    bar: Bar,
    stop: Stop,
}

/// What has passed through an [`Input`], which the reader of the archive has to itself.
#[derive(Clone, Default)]
pub(super) struct Passed(Rc<RefCell<Delayed>>);

#[derive(Default)]
struct Delayed {
    hash: Sha256,
    tail: Vec<u8>,
}

impl Passed {
    /// Of all bytes but the last block.
    pub(super) fn before_last_block(&self) -> Vec<u8> {
        self.0.borrow().hash.clone().finalize().to_vec()
    }

    fn add(&self, bytes: &[u8]) {
        let Delayed { hash, tail } = &mut *self.0.borrow_mut();
        if let Some(early) = bytes.len().checked_sub(BLOCK) {
            hash.update(&*tail);
            hash.update(&bytes[..early]);
            tail.clear();
            tail.extend_from_slice(&bytes[early..]);
        } else {
            let early = (tail.len() + bytes.len()).saturating_sub(BLOCK);
            hash.update(&tail[..early]);
            tail.drain(..early);
            tail.extend_from_slice(bytes);
        }
    }
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R, bar: Bar, stop: Stop) -> (Self, Passed) {
        let passed = Passed::default();
        (Self { inner, passed: passed.clone(), bar, stop }, passed)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let n = self.inner.read(buffer)?;
        self.passed.add(&buffer[..n]);
        self.bar.add(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_stops_before_the_last_block_however_it_is_read() {
        let bytes: Vec<u8> = (0..5_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for step in [1, 7, 511, 512, 513, 1_024, 5_000] {
            let passed = Passed::default();
            for chunk in bytes.chunks(step) {
                passed.add(chunk);
            }
            let expected = Sha256::digest(&bytes[..bytes.len() - BLOCK]).to_vec();
            assert_eq!(passed.before_last_block(), expected, "in steps of {step}");
        }
    }

    #[test]
    fn lines_are_those_of_sha256sum() {
        let mut list = List::new().expect("list");
        list.add(Path::new("data/a b"), &[0xab; 2]).expect("add");
        list.add(Path::new("data/new\nline\\"), &[1]).expect("add");
        let (size, mut file) = list.finish(&[2]).expect("finish");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        let expected = "abab  data/a b\n\\01  data/new\\nline\\\\\n# all bytes before this entry: 02\n";
        assert_eq!((text.as_str(), size), (expected, expected.len() as u64));
    }
}
