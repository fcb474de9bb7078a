//! Names of container images.

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Where it is, without tag and digest.
    pub(crate) repository: String,
    /// Its digest.
    pub(crate) digest: Option<String>,
}

/// Reads a name. None for what is none.
pub(crate) fn parse(text: &str) -> Option<Picture> {
    let text = text.trim();
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let is_digest = |digest: &str| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let start = name.rfind('/').map_or(0, |at| at + 1);
    // A colon in the last part is a tag's, one in the first a port's.
    let repository = name[start..].find(':').map_or(name, |at| &name[..start + at]);
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let mut parts = repository.split('/');
    let host = parts.next().unwrap_or_default();
    let is_host = part(host.split_once(':').map_or(host, |(name, _)| name))
        && host.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    let fits = is_host && parts.all(part) && digest.is_none_or(|digest| !digest.is_empty());
    fits.then(|| Picture {
        repository: repository.to_owned(),
        digest: digest.filter(|d| is_digest(d)).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_and_digest_are_taken_off() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let cases = [
            ("ghcr.io/o/worker".to_owned(), Some(("ghcr.io/o/worker", None))),
            ("ghcr.io/o/worker:v1".to_owned(), Some(("ghcr.io/o/worker", None))),
            (format!("localhost:5000/w:v1@{digest}"), Some(("localhost:5000/w", Some(digest.clone())))),
            ("ghcr.io/o/worker@sha256:...here...".to_owned(), Some(("ghcr.io/o/worker", None))),
            ("ghcr.io/O/w".to_owned(), None),
            ("https://ghcr.io/o/w".to_owned(), None),
            ("${IMAGE}".to_owned(), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            let found = parse(&text).map(|picture| (picture.repository, picture.digest));
            assert_eq!(found, expected.map(|(name, digest)| (name.to_owned(), digest)), "{text}");
        }
    }
}
