//! Taking the program out of the archive it came in: npm's tarball, or a Python wheel.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::Context as _;

/// The program in npm's tarball.
const IN_TARBALL: &str = "package/claude";

/// The program in the wheel.
const IN_WHEEL: &str = "claude_agent_sdk/_bundled/claude";

/// Writes the program to `to`.
pub(super) fn program(archive: &Path, to: &Path) -> anyhow::Result<()> {
    let file = File::open(archive).with_context(|| format!("failed to open {}", archive.display()))?;
    let taken = if archive.extension().is_some_and(|extension| extension == "whl") {
        from_wheel(file, to)
    } else {
        from_tarball(file, to)
    };
    taken.with_context(|| format!("failed to take the program out of {}", archive.display()))
}

fn from_tarball(file: File, to: &Path) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new(IN_TARBALL) {
            return Ok(write(&mut entry, to)?);
        }
    }
    anyhow::bail!("there is no {IN_TARBALL} in it")
}

fn from_wheel(file: File, to: &Path) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    let mut entry = archive.by_name(IN_WHEEL).with_context(|| format!("there is no {IN_WHEEL} in it"))?;
    Ok(write(&mut entry, to)?)
}

fn write(from: &mut impl io::Read, to: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    io::copy(from, &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn takes_the_program_out_of_either_archive() {
        let dir = tempfile::tempdir().expect("dir");
        let (tarball, wheel, out) =
            (dir.path().join("a.tgz"), dir.path().join("a.whl"), dir.path().join("out"));

        let gz =
            flate2::write::GzEncoder::new(File::create(&tarball).expect("file"), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_cksum();
        tar.append_data(&mut header, IN_TARBALL, &b"tarb"[..]).expect("append");
        tar.into_inner().expect("tar").finish().expect("gz");
        program(&tarball, &out).expect("unpacked");
        assert_eq!(fs::read(&out).expect("out"), b"tarb");

        let mut zip = zip::ZipWriter::new(File::create(&wheel).expect("file"));
        zip.start_file(IN_WHEEL, zip::write::SimpleFileOptions::default()).expect("start");
        zip.write_all(b"whee").expect("write");
        zip.finish().expect("zip");
        program(&wheel, &out).expect("unpacked");
        assert_eq!(fs::read(&out).expect("out"), b"whee");

        fs::write(&tarball, "no archive").expect("file");
        assert!(program(&tarball, &out).expect_err("broken").to_string().contains("a.tgz"));
    }
}
