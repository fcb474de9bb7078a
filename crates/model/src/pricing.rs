//! What a model call costs, in millionths of a US dollar.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of one or several model calls, named as the Messages API names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Tokens {
    /// Fresh input tokens.
    pub input_tokens: u64,
    /// Output tokens, thinking included.
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    pub cache_creation_input_tokens: u64,
}

impl Tokens {
    /// Adds another call's tokens.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_input_tokens += other.cache_read_input_tokens;
        self.cache_creation_input_tokens += other.cache_creation_input_tokens;
    }
}

/// US dollars per million tokens, which is also millionths of a dollar per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Per million fresh input tokens.
    pub input: f64,
    /// Per million output tokens.
    pub output: f64,
}

impl Price {
    /// The list price of a model family, by its name. Source: the Claude model pricing page,
    /// as of 2026-11; an unknown model is charged as the dearest, so that a budget errs on the safe side.
    #[must_use]
    pub fn of(model: &str) -> Self {
        if model.contains("haiku") {
            Self { input: 1.0, output: 5.0 }
        } else if model.contains("sonnet") {
            Self { input: 3.0, output: 15.0 }
        } else {
            Self { input: 5.0, output: 25.0 }
        }
    }

    /// The cost of `tokens` in millionths of a dollar; a cache read costs a tenth of an input
    /// token, a cache write a quarter more than one.
    #[must_use]
    pub fn cost_micros(self, tokens: &Tokens) -> u64 {
        #[allow(clippy::cast_precision_loss)]
        let cost = self.input
            * (tokens.input_tokens as f64
                + tokens.cache_read_input_tokens as f64 * 0.1
                + tokens.cache_creation_input_tokens as f64 * 1.25)
            + self.output * tokens.output_tokens as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rounded = cost.round() as u64;
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_counts_every_kind_of_token() {
        let tokens = Tokens {
            input_tokens: 1_000,
            output_tokens: 100,
            cache_read_input_tokens: 10_000,
            cache_creation_input_tokens: 400,
        };
        assert_eq!(Price::of("claude-opus-5-5").cost_micros(&tokens), 5_000 + 5_000 + 2_500 + 2_500);
        assert_eq!(Price::of("claude-haiku-4-5").cost_micros(&tokens), 1_000 + 1_000 + 500 + 500);
    }
}
