//! Archives that nobody's backup is.

use std::{fs, io::Write as _, path::Path};

use tar::{Builder, EntryType, Header};

use super::{World, failure, nothing_new};
use crate::{
    backup::{SUMS, Stop, check, sums},
    term::Term,
};

/// An archive as somebody else would make it, with checksums that are right.
fn forged(world: &World, entries: &[(&str, EntryType, &str)]) {
    let sound = fs::read(world.tar()).expect("read");
    let mut builder = Builder::new(sums::Output::new(
        Vec::new(),
        crate::bar::Bar::bytes(Term::default(), "", 0),
        Stop::default(),
    ));
    let mut list = sums::List::new().expect("list");
    let mut add = |builder: &mut Builder<sums::Output<Vec<u8>>>, name: &str, kind, content: &[u8]| {
        let mut header = Header::new_gnu();
        // Written as it is: the library refuses some of these names.
        header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o700);
        header.set_mtime(0);
        if kind == EntryType::Regular {
            let sum = <sha2::Sha256 as sha2::Digest>::digest(content);
            list.add(Path::new(name), &sum).expect("list");
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).expect("append");
        } else {
            let target = content;
            header.as_gnu_mut().expect("gnu").linkname[..target.len()].copy_from_slice(target);
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, std::io::empty()).expect("append");
        }
    };
    let mut archive = tar::Archive::new(sound.as_slice());
    for entry in archive.entries().expect("entries").take(2) {
        let mut entry = entry.expect("entry");
        let name = entry.path().expect("path").to_string_lossy().into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("read");
        add(&mut builder, &name, EntryType::Regular, &content);
    }
    for (name, kind, content) in entries {
        add(&mut builder, name, *kind, content.as_bytes());
    }
    let whole = builder.get_ref().sum();
    let (size, list) = list.finish(&whole).expect("list");
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    builder.append_data(&mut header, SUMS, list).expect("append");
    let bytes = builder.into_inner().expect("end").into_inner();
    fs::File::create(world.tar()).and_then(|mut file| file.write_all(&bytes)).expect("write");
}

#[tokio::test]
async fn hostile_entries_are_refused_before_anything_is_used() {
    use EntryType::{Char, Directory as Folder, Fifo, Link as HardLink, Regular as File, Symlink};
    let world = World::new().await;
    world.back_up().await;
    let outside = world.dir.path().join("outside");
    let outside = outside.to_str().expect("text");
    let folders = ["data/executions", "data/executions/x", "data/executions/x/workspace"];
    let folders = folders.map(|name| (name, Folder, ""));
    let in_workspace = |more: &[(&'static str, EntryType, &'static str)]| [&folders[..], more].concat();
    let outside_file: &'static str = Box::leak(format!("{outside}/f").into_boxed_str());
    let outside: &'static str = Box::leak(outside.to_owned().into_boxed_str());
    for (entries, expected) in [
        (vec![("../x", File, "x")], "../x leads out of the data folder"),
        (vec![("data/../../x", File, "x")], "data/../../x leads out"),
        (vec![(outside_file, File, "x")], "is an absolute path"),
        (vec![("x", File, "x")], "x is not in the folder of the data"),
        (vec![("data/control.json", File, "{}")], "is nothing that a backup has"),
        (vec![("data/cli", Folder, "")], "is nothing that a backup has"),
        (vec![("data/holdpoint.db-wal", File, "x")], "is nothing that a backup has"),
        (vec![("data", Folder, "")], "is nothing that a backup has"),
        (vec![("data/a/b", File, "x")], "is in no folder of the backup"),
        (vec![("data/l", Symlink, "/etc")], "data/l is a link where there are none"),
        (
            in_workspace(&[("data/executions/x/run", Symlink, "/etc")]),
            "data/executions/x/run is a link where there are none",
        ),
        (
            in_workspace(&[
                ("data/executions/x/workspace/l", Symlink, outside),
                ("data/executions/x/workspace/l/f", File, "x"),
            ]),
            "workspace/l/f would go through the link executions/x/workspace/l",
        ),
        (
            in_workspace(&[
                ("data/executions/x/workspace/l", Symlink, outside),
                ("data/executions/x/workspace/l", Folder, ""),
            ]),
            "workspace/l is in it twice",
        ),
        (
            in_workspace(&[
                ("data/executions/x/workspace/l", Symlink, outside_file),
                ("data/executions/x/workspace/l", File, "x"),
            ]),
            "workspace/l is in it twice",
        ),
        (in_workspace(&[("data/executions/x/workspace/h", HardLink, "/etc/passwd")]), "is neither a file"),
        (in_workspace(&[("data/executions/x/workspace/p", Fifo, "")]), "is neither a file"),
        (in_workspace(&[("data/executions/x/workspace/c", Char, "")]), "is neither a file"),
    ] {
        forged(&world, &entries);
        let told = failure(world.restore_to("restored").await);
        assert!(told.why.contains(expected), "{entries:?}: {told}");
        let checked = check(&world.tar(), Term::default(), Stop::default()).expect_err("not whole");
        assert_eq!(checked.why, told.why);
        nothing_new(&world);
    }
    // A file that is there twice is only found where it is written.
    forged(&world, &[("data/a", File, "1"), ("data/a", File, "2")]);
    assert!(world.restore_to("restored").await.is_err());
    nothing_new(&world);
    // Forging by itself is no reason: what a session may have is taken.
    forged(&world, &in_workspace(&[("data/executions/x/workspace/l", Symlink, "/etc")]));
    world.restore_to("restored").await.expect("a link that nothing goes through");
}
