//! Whatever a manifest's bytes are, reading them ends well.

use holdpoint_checkpoint::{Manifest, ManifestFault};
use proptest::prelude::*;

use crate::support::*;

fn real() -> String {
    let bench = Bench::with(&[("a", "1"), ("sub/b", "2"), ("sub/c%", "")]);
    std::os::unix::fs::symlink("a", bench.workspace().join("link")).expect("link");
    block_on(bench.take(1));
    std::fs::read_to_string(bench.manifests().remove(0)).expect("manifest")
}

/// If it is taken for a manifest, then it is one: it says the same again when written anew.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match Manifest::parse(bytes) {
        Ok(manifest) => {
            prop_assert!(manifest.trees().all(|name| !name.is_empty() && !name.contains(['/', '.'])));
            let _ = (manifest.bytes(), manifest.files(), manifest.blobs());
        }
        Err(ManifestFault::Version { found }) => prop_assert_ne!(found, 1),
        Err(ManifestFault::Malformed(why)) => prop_assert!(!why.is_empty()),
        Err(ManifestFault::Torn(_)) => prop_assert!(false, "nothing to compare it with"),
    }
    Ok(())
}

#[test]
fn a_real_manifest_is_read() {
    let manifest = Manifest::parse(real().as_bytes()).expect("manifest");
    assert_eq!((manifest.files(), manifest.bytes(), manifest.seq(), manifest.label()), (3, 2, 1, "hold"));
    assert_eq!(manifest.transcript(), Some("uuid-1"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        check(&bytes)?;
    }

    #[test]
    fn a_manifest_with_something_else_in_it(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, any_part()), 1..4),
    ) {
        static REAL: std::sync::LazyLock<String> = std::sync::LazyLock::new(real);
        let mut bytes = REAL.clone().into_bytes();
        for (at, len, part) in edits {
            let at = at.index(bytes.len());
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, part);
            if bytes.is_empty() {
                break;
            }
        }
        check(&bytes)?;
    }

    /// Every number in it, replaced by any other.
    #[test]
    fn a_manifest_with_other_numbers(which: prop::sample::Index, number in prop_oneof![any::<i128>(), -3i128..20]) {
        static REAL: std::sync::LazyLock<String> = std::sync::LazyLock::new(real);
        let starts: Vec<usize> = REAL.match_indices(':').map(|(at, _)| at + 1)
            .filter(|at| REAL.as_bytes()[*at].is_ascii_digit()).collect();
        let at = starts[which.index(starts.len())];
        let end = at + REAL[at..].find(|c: char| !c.is_ascii_digit()).expect("an end");
        check(format!("{}{number}{}", &REAL[..at], &REAL[end..]).as_bytes())?;
    }
}

fn any_part() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "-1",
        "1e999",
        "99999999999999999999",
        "\"\"",
        "..",
        "/",
        "\"kind\":\"folder\"",
        "\"path\":\"..\"",
        "%2E",
        "\\u0000",
        "\"pieces\":[]",
    ]);
    prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..8)]
}
