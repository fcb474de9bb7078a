//! Whatever is torn is noticed, and the checkpoint before it is used.

use std::fs;
use std::path::PathBuf;

use holdpoint_checkpoint::{FaultKind, ManifestFault, ReadError, RestoreError, Unusable};

use crate::support::*;

/// Two checkpoints with nothing in common, and which blobs are the second's.
async fn two() -> (Bench, Vec<PathBuf>) {
    let bench = Bench::with(&[("file", "first")]);
    bench.take(1).await;
    let before = bench.blobs();
    bench.put("file", "second");
    bench.take(2).await;
    let blobs = bench.blobs().into_iter().filter(|path| !before.contains(path)).collect();
    (bench, blobs)
}

/// The second is passed over for this reason, and the first is what comes back, over what is there.
async fn assert_falls_back(bench: &Bench, why: impl Fn(&Unusable) -> bool) {
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert_eq!(newest.manifest.map(|manifest| manifest.seq()), Some(1));
    assert!(
        matches!(&newest.skipped[..], [skipped] if skipped.seq == 2 && why(&skipped.why)),
        "{:?}",
        newest.skipped
    );
    let workspace = bench.workspace();
    let to = [("workspace", workspace.as_path())];
    let done = bench.store.restore_newest(EXECUTION, &to).await.expect("restore").expect("one is whole");
    assert_eq!((done.manifest.seq(), done.skipped.len()), (1, 1));
    assert!(why(&done.skipped[0].why), "{:?}", done.skipped);
    assert_eq!(fs::read_to_string(workspace.join("file")).expect("file"), "first");
}

#[tokio::test]
async fn a_missing_blob() {
    let (bench, blobs) = two().await;
    fs::remove_file(&blobs[0]).expect("remove");
    assert_falls_back(&bench, |why| {
        matches!(why, Unusable::Blobs(faults) if matches!(&faults[..], [fault] if fault.what == FaultKind::Missing))
    })
    .await;
}

#[tokio::test]
async fn a_torn_blob_at_any_byte_or_length() {
    let (bench, blobs) = two().await;
    let whole = fs::read(&blobs[0]).expect("read");
    for at in 0..whole.len() {
        for torn in [whole[..at].to_vec(), [&whole[..at], &[!whole[at]], &whole[at + 1..]].concat()] {
            fs::write(&blobs[0], torn).expect("tear");
            assert_falls_back(&bench, |why| {
                matches!(why, Unusable::Blobs(faults) if matches!(&faults[..], [fault] if matches!(fault.what, FaultKind::Torn(_))))
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_torn_manifest() {
    let (bench, _) = two().await;
    let path = bench.manifests().pop().expect("the second");
    let whole = fs::read(&path).expect("read");
    let id = bench.store.list(EXECUTION).await.expect("list")[1].id;
    for torn in [Vec::new(), whole[..whole.len() / 2].to_vec(), [&whole[..], b" "].concat()] {
        fs::write(&path, torn).expect("tear");
        assert_falls_back(&bench, |why| matches!(why, Unusable::Manifest(ManifestFault::Torn(_)))).await;
        let read = bench.store.read(EXECUTION, id).await;
        assert!(matches!(read, Err(ReadError::Unusable { fault: ManifestFault::Torn(_), .. })), "{read:?}");
        // What is taken next builds on the first, and is whole.
        let next = bench.take(3).await.manifest;
        assert_eq!(bench.store.verify(&next).await.expect("verify"), vec![]);
        bench.store.delete(EXECUTION, next.id()).await.expect("delete");
    }
}

#[tokio::test]
async fn a_manifest_of_another_version() {
    let (bench, _) = two().await;
    let old = bench.manifests().pop().expect("the second");
    let text = fs::read_to_string(&old).expect("read").replace("\"version\":1", "\"version\":2,\"news\":[]");
    crate::hostile::plant(&bench, 2, &text);
    fs::remove_file(old).expect("remove");
    assert_falls_back(&bench, |why| *why == Unusable::Manifest(ManifestFault::Version { found: 2 })).await;
}

#[tokio::test]
async fn a_manifest_filed_elsewhere() {
    let (bench, _) = two().await;
    let own = bench.manifests().remove(0);
    let later = own.to_string_lossy().replace("/00000000000000000001-", "/00000000000000000009-");
    fs::copy(&own, &later).expect("copy");
    fs::remove_file(bench.manifests().remove(1)).expect("remove");
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert_eq!((newest.manifest.map(|manifest| manifest.seq()), newest.skipped.len()), (Some(1), 1));
}

#[tokio::test]
async fn nothing_whole_at_all() {
    let bench = Bench::new();
    let workspace = bench.workspace();
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert!(newest.manifest.is_none() && newest.skipped.is_empty());
    bench.put("file", "kept");
    let manifest = bench.take(1).await.manifest;
    bench.blobs().iter().for_each(|path| fs::remove_file(path).expect("remove"));
    let to = [("workspace", workspace.as_path())];
    let restored = bench.store.restore(&manifest, &to).await;
    assert!(matches!(restored, Err(RestoreError::NotWhole(_))), "{restored:?}");
    let skipped = bench.store.restore_newest(EXECUTION, &to).await.expect("no failure").expect_err("none");
    assert_eq!(skipped.len(), 1);
    assert_eq!(fs::read_to_string(workspace.join("file")).expect("untouched"), "kept");
    let beside = fs::read_dir(bench.dir.path()).expect("read").count();
    assert_eq!(beside, 2, "nothing is left beside it");
}
