//! Splits a byte stream into server-sent events without changing a byte of them.
//!
//! The library for this, `eventsource-stream`, gives parsed events only; the gateway has to pass the
//! very bytes on, and to hold back those of the last event. It serves as the oracle in the tests.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::limits::MAX_EVENT_BYTES;

/// One event with the bytes it came in, its closing empty line included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes, to be passed on.
    pub raw: Bytes,
    /// The `event:` field; empty for a comment or an unnamed event.
    pub event: String,
    /// The `data:` lines, joined by line ends.
    pub data: String,
}

/// A single event is larger than [`MAX_EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_EVENT_BYTES} bytes")]
pub struct TooLarge;

/// Cuts frames from chunks, however the chunks are cut.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    /// Up to here no frame's end was found, so that a long frame is not searched again and again.
    searched: usize,
}

impl Splitter {
    /// Takes the next chunk in.
    ///
    /// # Errors
    /// When an event exceeds [`MAX_EVENT_BYTES`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), TooLarge> {
        if self.buffer.len() + chunk.len() > MAX_EVENT_BYTES {
            return Err(TooLarge);
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let Some(end) = frame_end(&self.buffer, self.searched) else {
            // An end is four bytes at most: it may have begun in the last three.
            self.searched = self.buffer.len().saturating_sub(3);
            return None;
        };
        self.searched = 0;
        let raw = self.buffer.split_to(end).freeze();
        let (event, data) = fields(&raw);
        Some(Frame { raw, event, data })
    }

    /// What is left when the stream ends: the beginning of a frame that never came whole.
    #[must_use]
    pub fn rest(mut self) -> Bytes {
        self.buffer.copy_to_bytes(self.buffer.len())
    }
}

/// Where the first frame ends: after an empty line, with any of the three line ends of the standard.
fn frame_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        let line_end = match bytes[at] {
            b'\n' => at + 1,
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => at + 2,
            b'\r' => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        match (bytes.get(line_end), bytes.get(line_end + 1)) {
            (Some(b'\n'), _) => return Some(line_end + 1),
            (Some(b'\r'), Some(b'\n')) => return Some(line_end + 2),
            // A lone `\r` at the end may be half of `\r\n`: wait for the next byte.
            (Some(b'\r'), None) => return None,
            (Some(b'\r'), Some(_)) => return Some(line_end + 1),
            _ => at = line_end,
        }
    }
    None
}

fn fields(raw: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(raw);
    let (mut event, mut data) = (String::new(), String::new());
    let mut first = true;
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let line = line.trim_start_matches('\u{feff}');
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut event),
            "data" => {
                if !first {
                    data.push('\n');
                }
                first = false;
                data.push_str(value);
            }
            _ => {}
        }
    }
    (event, data)
}

#[cfg(test)]
mod tests {
    use eventsource_stream::Eventsource as _;
    use futures::StreamExt as _;
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> (Vec<Frame>, Bytes) {
        let mut splitter = Splitter::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            splitter.push(chunk).expect("small");
            while let Some(frame) = splitter.next_frame() {
                frames.push(frame);
            }
        }
        (frames, splitter.rest())
    }

    #[test]
    fn finds_frames_at_any_seam_and_line_end() {
        let (frames, rest) =
            split(&[b"event: a\nda", b"ta: 1\n", b"\ndata: x\r\ndata: y\r\n\r", b"\n:ping\n\nda"]);
        let seen: Vec<_> = frames.iter().map(|f| (f.event.as_str(), f.data.as_str())).collect();
        assert_eq!(seen, [("a", "1"), ("", "x\ny"), ("", "")]);
        assert_eq!(&rest[..], b"da");
    }

    #[test]
    fn a_stream_without_ends_is_refused_before_it_fills_the_memory() {
        let mut splitter = Splitter::default();
        let chunk = vec![b'a'; 1024 * 1024];
        let refused = (0..64).find_map(|_| splitter.push(&chunk).err());
        assert_eq!(refused, Some(TooLarge));
    }

    /// Bytes that look like a stream, line ends and seams included.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"data: ".to_vec()),
            Just(b"event: message_stop".to_vec()),
            Just("ü€".as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..5),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_changed_and_seams_do_not_matter(bytes in noise(), cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let mut seams: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            seams.extend([0, bytes.len()]);
            seams.sort_unstable();
            let chunks: Vec<&[u8]> = seams.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let (frames, rest) = split(&chunks);
            let mut joined: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.to_vec()).collect();
            joined.extend_from_slice(&rest);
            prop_assert_eq!(&joined, &bytes);
            prop_assert_eq!(split(&[&bytes]).0, frames);
        }

        #[test]
        fn reads_the_same_events_as_the_library(events in proptest::collection::vec(("[a-z_]{1,8}", "[a-zA-Z0-9{}\", ]{1,30}"), 0..10), crlf in any::<bool>()) {
            let end = if crlf { "\r\n" } else { "\n" };
            let text: String = events.iter().map(|(name, data)| format!("event: {name}{end}data: {data}{end}{end}")).collect();
            let ours: Vec<_> = split(&[text.as_bytes()]).0.into_iter().map(|f| (f.event, f.data)).collect();
            let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(text.clone())]).eventsource();
            let theirs: Vec<_> = futures::executor::block_on(stream.map(|event| event.map(|e| (e.event, e.data)).expect("event")).collect());
            prop_assert_eq!(ours, theirs);
        }
    }
}
