//! What the CLI writes to stdout, line by line, as types.
//!
//! The parser is open at every end: a frame type, a subtype or a field that it does not know never fails a
//! session. What is not understood arrives as [`Event::Unknown`](crate::Event::Unknown), raw.

mod events;
mod fields;
mod lines;
mod mend;
mod parse;

pub(crate) use lines::LineReader;
pub use lines::{LineError, LineSplitter, MAX_LINE_BYTES};
pub use parse::{Context, ControlRefusal, ControlReply, Frame, InboundRequest, Malformed, parse_line};
