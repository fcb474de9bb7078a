//! Tokens, session cookies and links: random, and stored as a hash alone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_store::SecretHash;
use sha2::{Digest as _, Sha256};

/// Bytes of randomness in a secret.
const SECRET_BYTES: usize = 32;

/// What the store keeps of a token, session or link: SHA-256 is enough where the secret is random.
#[must_use]
pub fn hash_token(token: &str) -> SecretHash {
    Sha256::digest(token.as_bytes()).into()
}

/// A fresh secret, safe in URLs and headers.
///
/// # Errors
/// When the system has no randomness.
pub fn fresh_secret() -> Result<String, std::io::Error> {
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_survive_a_url() {
        let (a, b) = (fresh_secret().expect("a"), fresh_secret().expect("b"));
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert!(a.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert_ne!(hash_token(&a), hash_token(&b));
    }
}
