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

/// Longest silence of the upstream, first byte included. The API sends `ping` events far more often.
/// The CLI's own limit for a call is ten minutes (its `X-Stainless-Timeout` header says 600): this, and what
/// may come before the last try ([`QUEUE_PATIENCE`], [`RETRY_PATIENCE`]), is less, so that the session
/// hears from us and does not give up on a call that goes on.
pub const READ_TIMEOUT: Duration = Duration::from_secs(420);

/// The CLI's own limit for a call.
const SESSION_PATIENCE: Duration = Duration::from_secs(600);

// With a connection to each of two upstreams that take as long as they may.
const _: () = assert!(
    QUEUE_PATIENCE.as_secs()
        + RETRY_PATIENCE.as_secs()
        + 2 * CONNECT_TIMEOUT.as_secs()
        + READ_TIMEOUT.as_secs()
        < SESSION_PATIENCE.as_secs()
);

/// Longest wait for a place in front of the upstream.
pub const QUEUE_PATIENCE: Duration = Duration::from_secs(120);

/// Calls that may wait there. Each holds its request's body, up to some megabytes.
pub const MAX_WAITING: usize = 1_024;

/// Of these, calls of one execution: more subagents than people start, and no more than a part of the line.
pub const MAX_WAITING_OF_ONE: usize = 128;

/// How often a call is sent again after a try that produced nothing.
pub const RETRIES: usize = 4;

/// The wait before the first of these, which doubles, and grows by up to itself at random.
pub const RETRY_FIRST_DELAY: Duration = Duration::from_millis(250);

/// The longest of these waits, unless the upstream asks for more.
pub const RETRY_MAX_DELAY: Duration = Duration::from_secs(4);

/// How long after the first try another one may begin.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(30);

/// A `retry-after` of more than this is worth another upstream.
pub const LONG_WAIT: Duration = Duration::from_secs(10);

/// Bytes of a request counted as one token when a call's cost is reserved. English prose has about
/// four; code and JSON less. Erring low reserves a little too much, which settles after the call.
pub const BYTES_PER_TOKEN: u64 = 3;

/// Output tokens reserved for a call that allows more. `max_tokens` of the CLI is 128 000, nearly
/// never used: reserving that would end every budget early.
pub const RESERVED_OUTPUT_TOKENS: u64 = 8_000;

/// Largest script file, bytes. A script is written by hand.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;

/// Largest cassette, bytes: some hundred long answers. It is kept in memory.
pub const MAX_CASSETTE_BYTES: usize = 64 * 1024 * 1024;

/// Longest pause a script may ask for between two chunks, milliseconds.
pub const MAX_DELAY_MS: u64 = 60_000;
