//! Ids and signatures of scripted answers.
//!
//! They carry what the strict checks need to know later, so that the checks work after any restart:
//!
//! - `toolu_01` `T` or `P`, eight characters of the call, then random ones. `T`: the answer began with a
//!   thinking block, so the API wants to see it before this tool use.
//! - a signature is `hpr1.<call>.<digest of call and thinking>`: altered thinking does not match it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Characters of a call's name.
const CALL_CHARS: usize = 8;

/// A fresh name of a call, of letters and digits.
#[must_use]
pub(super) fn call() -> String {
    random(CALL_CHARS)
}

/// A fresh message id.
#[must_use]
pub(super) fn message(call: &str) -> String {
    format!("msg_01{call}{}", random(14))
}

/// A fresh tool use id of a call.
#[must_use]
pub(super) fn tool_use(call: &str, thinks: bool) -> String {
    format!("toolu_01{}{call}{}", if thinks { 'T' } else { 'P' }, random(13))
}

/// What a tool use id of ours says: the call, and whether its answer began with thinking.
#[must_use]
pub(super) fn read_tool_use(id: &str) -> Option<(&str, bool)> {
    let rest = id.strip_prefix("toolu_01")?;
    let thinks = match rest.as_bytes().first()? {
        b'T' => true,
        b'P' => false,
        _ => return None,
    };
    rest.get(1..=CALL_CHARS).map(|call| (call, thinks))
}

/// The signature of a thinking block.
#[must_use]
pub(super) fn signature(call: &str, thinking: &str) -> String {
    let mut signature = format!("hpr1.{call}.");
    let digest = Sha256::new().chain_update(call).chain_update([0]).chain_update(thinking).finalize();
    for byte in &digest[..16] {
        let _ = write!(signature, "{byte:02x}");
    }
    signature
}

/// The call whose signature this is; none if it does not fit the thinking.
#[must_use]
pub(super) fn read_signature<'a>(text: &'a str, thinking: &str) -> Option<&'a str> {
    let call = text.strip_prefix("hpr1.")?.split('.').next()?;
    (signature(call, thinking) == text).then_some(call)
}

/// `{{id}}`: a fresh id for the script's own use.
#[must_use]
pub(super) fn random(chars: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0u8; chars];
    // Without randomness ids would repeat, which the CLI takes badly: the uuid's clock helps out.
    if getrandom::fill(&mut bytes).is_err() {
        let now = uuid::Uuid::now_v7();
        bytes.iter_mut().zip(now.as_bytes().iter().rev().cycle()).for_each(|(byte, of)| *byte = *of);
    }
    bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_signatures_say_what_they_stand_for() {
        let call = call();
        assert_eq!(read_tool_use(&tool_use(&call, true)), Some((call.as_str(), true)));
        assert_eq!(read_tool_use(&tool_use(&call, false)), Some((call.as_str(), false)));
        assert_eq!(read_tool_use("toolu_01Ab"), None);
        assert_eq!(read_tool_use("toolu_01Tü"), None);
        let signature = signature(&call, "hm");
        assert_eq!(read_signature(&signature, "hm"), Some(call.as_str()));
        assert_eq!(read_signature(&signature, "hm!"), None);
    }
}
