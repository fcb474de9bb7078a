//! What a call may cost, before it is made.

use holdpoint_model::pricing::{Price, Tokens};

use crate::limits::{BYTES_PER_TOKEN, RESERVED_OUTPUT_TOKENS};

/// Millionths of a dollar to set aside for a call: its input by its size, none of it cached, and as much
/// output as calls usually have. The true cost replaces it when the call has ended.
#[must_use]
pub fn micros(model: &str, request_bytes: u64, max_tokens: Option<u64>) -> u64 {
    let output_tokens = max_tokens.unwrap_or(RESERVED_OUTPUT_TOKENS).min(RESERVED_OUTPUT_TOKENS);
    let input_tokens = request_bytes.div_ceil(BYTES_PER_TOKEN);
    Price::of(model).cost_micros(&Tokens { input_tokens, output_tokens, ..Tokens::default() })
}
