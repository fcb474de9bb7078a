//! Manifests made by somebody who wants to write elsewhere.

use std::fs;

use holdpoint_checkpoint::{Digest, Manifest, ManifestFault, ManifestId, ReadError};

use crate::support::*;

/// Puts a manifest into the store, under the name that its bytes have.
pub(crate) fn plant(bench: &Bench, seq: u64, text: &str) -> ManifestId {
    let id: ManifestId = Digest::of(text.as_bytes()).to_string().parse().expect("an id");
    let hex = id.to_string().replace("sha256:", "");
    let folder = bench.path("store/manifests").join(EXECUTION);
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join(format!("{seq:020}-{:010}-{:016}-{hex}.json", 1, 0)), text).expect("plant");
    id
}

/// A manifest with these entries after the root.
fn with(entries: &str) -> String {
    let blob = Digest::of(b"content");
    format!(
        r#"{{"version":1,"execution":"{EXECUTION}","incarnation":1,"seq":5,"at_ms":0,"label":"","transcript":null,
        "notes":[],"more_notes":0,"left_out":0,"blobs":[{{"digest":"{blob}","len":7,"stored":8}}],
        "trees":[{{"name":"workspace","exclude":[],"entries":[{{"kind":"folder","path":"","mode":448}}{entries}]}}]}}"#
    )
}

fn file(path: &str) -> String {
    format!(
        r#",{{"kind":"file","path":"{path}","mode":420,"size":7,"mtime_ns":0,"pieces":[{{"blob":0,"len":7}}]}}"#
    )
}

const LINK_OUT: &str = r#",{"kind":"link","path":"out","to":"/tmp"}"#;

#[tokio::test]
async fn a_manifest_that_leads_elsewhere_is_refused() {
    let bench = Bench::new();
    Manifest::parse(with(&file("fine")).as_bytes()).expect("the pattern itself is fine");
    let pieces = |pieces: &str| {
        format!(r#",{{"kind":"file","path":"a","mode":420,"size":7,"mtime_ns":0,"pieces":[{pieces}]}}"#)
    };
    let hostile = [
        ("absolute", with(&file("/etc/passwd"))),
        ("upwards", with(&file("../x"))),
        (
            "upwards inside",
            with(&format!(r#",{{"kind":"folder","path":"a","mode":448}}{}"#, file("a/../../x"))),
        ),
        ("upwards, spelled otherwise", with(&file("%2E%2E/x"))),
        ("a slash, spelled otherwise", with(&file("a%2Fb"))),
        ("nothing", with(&file("a//b"))),
        ("a zero byte", with(&file("a\\u0000b"))),
        ("through a link", with(&format!("{LINK_OUT}{}", file("out/x")))),
        ("through a file", with(&format!("{}{}", file("a"), file("a/x")))),
        ("in no folder", with(&file("nowhere/x"))),
        ("twice", with(&format!("{}{}", file("a"), file("a")))),
        (
            "a link in place of a folder",
            with(&format!(r#"{LINK_OUT},{{"kind":"folder","path":"out","mode":448}}"#)),
        ),
        ("a second root", with(r#",{"kind":"folder","path":"","mode":448}"#)),
        (
            "a root that is a link",
            with("").replace(
                r#"{"kind":"folder","path":"","mode":448}"#,
                &LINK_OUT[1..].replace("\"out\"", "\"\""),
            ),
        ),
        ("no root", with("").replace(r#"{"kind":"folder","path":"","mode":448}"#, "")),
        ("set-id", with(&file("a").replace("420", "2541"))),
        ("a link to nothing", with(r#",{"kind":"link","path":"a","to":""}"#)),
        ("a device", with(r#",{"kind":"device","path":"a","mode":0}"#)),
        ("a blob that is not there", with(&pieces(r#"{"blob":1,"len":7}"#))),
        ("more than the blob", with(&pieces(r#"{"blob":0,"at":1,"len":7}"#))),
        ("beyond all numbers", with(&pieces(r#"{"blob":0,"at":4294967295,"len":7}"#))),
        ("less than the size", with(&pieces(r#"{"blob":0,"len":3,"digest":"sha256:00"}"#))),
        ("nothing at all", with(&pieces(r#"{"blob":0,"len":0},{"blob":0,"len":7}"#))),
        ("a blob larger than any", with("").replace("\"len\":7", "\"len\":1048577")),
        ("another execution's", with("").replace(EXECUTION, "other")),
        ("an execution elsewhere", with("").replace(EXECUTION, "../x")),
        ("a tree elsewhere", with("").replace("\"workspace\"", "\"..\"")),
        ("a field of the future", with("").replace("\"notes\"", "\"more\":1,\"notes\"")),
    ];
    for (n, (what, text)) in hostile.into_iter().enumerate() {
        let id = plant(&bench, 5, &text);
        let read = bench.store.read(EXECUTION, id).await;
        let refused = matches!(&read, Err(ReadError::Unusable { fault: ManifestFault::Malformed(_), .. }));
        assert!(refused, "{n}, {what}: {read:?}");
        let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
        assert!(newest.manifest.is_none(), "{what}");
    }
}

#[tokio::test]
async fn a_blob_of_another_name_is_refused() {
    let bench = Bench::with(&[("file", "content")]);
    bench.take(1).await;
    let blob = bench.blobs().remove(0);
    // Well-formed, of the same length, and not what was named.
    let other = Bench::with(&[("file", "CONTENT")]);
    other.take(1).await;
    fs::copy(other.blobs().remove(0), &blob).expect("swap");
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert!(newest.manifest.is_none(), "{newest:?}");
}

#[tokio::test]
async fn a_blob_that_unpacks_without_end_is_refused() {
    let bench = Bench::with(&[("file", "content")]);
    bench.take(1).await;
    let bomb = Bench::new();
    bomb.put("file", vec![0; 1_000_000]);
    bomb.take(1).await;
    fs::copy(bomb.blobs().remove(0), bench.blobs().remove(0)).expect("swap");
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert!(newest.manifest.is_none(), "{newest:?}");
}
