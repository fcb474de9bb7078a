//! Whether a program can run in the image.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::{
    Problem,
    packages::{GLIBC, SUITE},
};

/// `\x7fELF`, 64 bit, little endian (elf(5)).
const MAGIC: &[u8] = b"\x7fELF\x02\x01";

/// A section of strings (`SHT_STRTAB`) that is loaded (`SHF_ALLOC`): the names of what is linked to.
const STRINGS: u32 = 3;
const LOADED: u64 = 2;

/// A program's names are a few hundred kilobytes; more than this is no such table.
const STRINGS_LIMIT: u64 = 64 << 20;

/// Refuses a program that is none, or needs a later C library than the image has.
pub(crate) fn check(program: &Path, what: &str) -> Result<(), Problem> {
    let cannot =
        |why: String| Problem::new(format!("{what} at {} cannot run in the image", program.display()), why);
    let needed = needs(program).map_err(|error| cannot(error.to_string()))?;
    let Some((major, minor)) = needed.filter(|needed| *needed > GLIBC) else { return Ok(()) };
    let why = format!(
        "it was built for glibc {major}.{minor} or later; the image's Debian ({SUITE}) has {}.{}",
        GLIBC.0, GLIBC.1
    );
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    Err(cannot(why)
        .next(format!("rustup target add {target} && cargo build --release --target {target}"))
        .next(format!("target/{target}/release/holdpoint image build --base")))
}

/// The latest glibc that a program asks for by name; None for one that needs none.
fn needs(program: &Path) -> io::Result<Option<(u32, u32)>> {
    let mut file = File::open(program)?;
    let mut header = [0; 64];
    let is_short = file.read_exact(&mut header).is_err();
    if is_short || !header.starts_with(MAGIC) {
        return Err(io::Error::other("it is no program of a 64-bit Linux (a script, perhaps)"));
    }
    let (table, size, count) = (number(&header, 40, 8), number(&header, 58, 2), number(&header, 60, 2));
    let mut latest = None;
    for n in 0..count {
        let mut section = [0; 64];
        file.seek(SeekFrom::Start(table + n * size))?;
        file.read_exact(&mut section)?;
        let is_strings = number(&section, 4, 4) == u64::from(STRINGS) && number(&section, 8, 8) & LOADED != 0;
        let (offset, len) = (number(&section, 24, 8), number(&section, 32, 8));
        if is_strings && len <= STRINGS_LIMIT {
            let mut strings = Vec::new();
            file.seek(SeekFrom::Start(offset))?;
            (&mut file).take(len).read_to_end(&mut strings)?;
            latest = latest.max(strings.split(|byte| *byte == 0).filter_map(glibc).max());
        }
    }
    Ok(latest)
}

/// `GLIBC_2.34`
fn glibc(name: &[u8]) -> Option<(u32, u32)> {
    let version = std::str::from_utf8(name.strip_prefix(b"GLIBC_")?).ok()?;
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_some_glibc() {
        let own = std::env::current_exe().expect("own path");
        assert!(needs(&own).expect("a program").is_some_and(|needed| needed >= (2, 2)));
    }

    #[test]
    fn a_script_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "#!/usr/bin/env node\n").expect("script");
        let problem = check(file.path(), "the Claude CLI").expect_err("must be refused");
        assert!(problem.why.contains("no program"), "{problem:?}");
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(glibc(b"GLIBC_2.34"), Some((2, 34)));
        assert_eq!(glibc(b"GLIBC_2.3.4"), Some((2, 3)));
        assert_eq!(glibc(b"GLIBC_PRIVATE"), None);
    }
}
