//! The model endpoint that sessions talk to.
//!
//! It stands between the Claude CLI and the Messages API. It holds the real key, records every response
//! whole before its last byte is passed on, answers from that record when a session goes on after a stop
//! ([`replay`]), and keeps what was paid. A script ([`rehearsal`]) is one more upstream.
//!
//! It depends on traits for everything that is the binary's: [`Tickets`] (whose token is this?) and
//! [`Recorder`] (the record, in the database). [`testing`] serves it for tests in a few lines.

mod assemble;
mod cassette;
mod desk;
pub mod emit;
mod error;
mod gate;
mod gist;
mod headers;
mod http_upstream;
pub mod limits;
mod memory;
pub mod record;
pub mod rehearsal;
pub mod replay;
pub mod reserve;
mod serve;
pub mod sse;
pub mod testing;
pub mod thread;
mod ticket;
mod upstream;
mod upstreams;
pub mod wire;

pub use assemble::{Assembler, Seen, tokens};
pub use cassette::Cassette;
pub use error::ApiError;
pub use gate::Rates;
pub use gist::{Gist, Outcome};
pub use headers::{downwards, upwards};
pub use http_upstream::{Http, HttpSettings, HttpSettingsError};
pub use memory::{MemoryCall, MemoryEnd, MemoryRecorder};
pub use record::{Failure, Footprint, NewCall, RecordError, Recorded, RecordedCall, Recorder};
pub use rehearsal::{Rehearsal, Script, Source};
pub use serve::{Gateway, router};
pub use thread::{Line, Place, Thread};
pub use ticket::{Ticket, Tickets, TicketsError};
pub use upstream::{Call, Reply, Switch, Upstream, UpstreamError};
pub use upstreams::{ModelPattern, Route, Upstreams};
