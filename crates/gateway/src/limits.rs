//! Every limit of the gateway, with its unit and its reason.

use std::time::Duration;

/// Largest request body, bytes. The Messages API takes 32 MB; twice that leaves room for its next step.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Largest non-streamed response body, bytes. The largest possible output is far smaller.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// Largest single event of a stream, bytes. An event carries a delta or, at most, one whole block of a
/// server tool's result; a stream that passes this without an event's end is not a Messages stream.
pub const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// Frames that may wait between the upstream and a slow session. A session that reads slower than
/// this slows the upstream down instead of filling our memory.
pub const FRAMES_IN_FLIGHT: usize = 64;

/// Longest wait for a connection to the upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence of the upstream, first byte included. The API sends `ping` events far more often;
/// the CLI's own limit for a call is ten minutes (its `X-Stainless-Timeout` header says 600).
pub const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes of a request counted as one token when a call's cost is reserved. English prose has about
/// four; code and JSON less. Erring low reserves a little too much, which settles after the call.
pub const BYTES_PER_TOKEN: u64 = 3;

/// Output tokens reserved for a call that allows more. `max_tokens` of the CLI is 128 000, nearly
/// never used: reserving that would end every budget early.
pub const RESERVED_OUTPUT_TOKENS: u64 = 8_000;

/// Largest script file, bytes. A script is written by hand.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;

/// Longest pause a script may ask for between two chunks, milliseconds.
pub const MAX_DELAY_MS: u64 = 60_000;
