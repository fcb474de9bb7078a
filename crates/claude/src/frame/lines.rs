//! Turns a byte stream into lines, with a cap on what one line may hold.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is read, in bytes.
///
/// One frame holds one content block or one tool result. 1.5 MB have been seen; base64 images go through
/// the same pipe and the API takes up to 32 MB a request. Twice that is a line that no honest CLI writes.
pub const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// How much is asked of the pipe at once, in bytes: what a Linux pipe holds.
const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Why no further line can be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A line grew beyond the cap; the rest of the stream cannot be trusted to be whole.
    #[error("a line of more than {limit} bytes")]
    TooLong {
        /// The cap, in bytes.
        limit: usize,
    },
    /// The pipe failed.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Splits bytes at `\n`, whatever the sizes they arrive in.
///
/// A line is handed out as bytes, so a multibyte character that two reads share is never looked at in halves.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: BytesMut,
    /// Bytes of `buffer` already known to hold no newline: a long line is scanned once, not once a read.
    scanned: usize,
    limit: usize,
}

impl LineSplitter {
    /// A splitter that refuses lines of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, limit }
    }

    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its newline, or `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`] when the line passes the limit.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineError> {
        let found = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        let length = found.map_or(self.buffer.len(), |at| self.scanned + at);
        if length > self.limit {
            return Err(LineError::TooLong { limit: self.limit });
        }
        if found.is_none() {
            self.scanned = self.buffer.len();
            return Ok(None);
        }
        let line = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        self.scanned = 0;
        Ok(Some(line))
    }

    /// What stands after the last newline: a torn line when the writer died, nothing otherwise.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }
}

/// [`LineSplitter`] over an async reader.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    inner: R,
    splitter: LineSplitter,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, splitter: LineSplitter::new(MAX_LINE_BYTES) }
    }

    /// The next line, or `None` at the end of the stream. A torn last line is left out: nothing can follow
    /// it.
    pub(crate) async fn next_line(&mut self) -> Result<Option<Bytes>, LineError> {
        loop {
            if let Some(line) = self.splitter.next_line()? {
                return Ok(Some(line));
            }
            self.splitter.buffer.reserve(READ_CHUNK_BYTES);
            if self.inner.read_buf(&mut self.splitter.buffer).await? == 0 {
                if !self.splitter.rest().is_empty() {
                    tracing::debug!(bytes = self.splitter.rest().len(), "stdout ended inside a line");
                }
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_on_the_seam_stays_whole() {
        let text = "{\"a\":\"größe 🦀\"}\n{}\n";
        for cut in 0..text.len() {
            let mut splitter = LineSplitter::new(100);
            let mut lines = Vec::new();
            for part in [&text.as_bytes()[..cut], &text.as_bytes()[cut..]] {
                splitter.push(part);
                while let Some(line) = splitter.next_line().unwrap() {
                    lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            assert_eq!(lines, ["{\"a\":\"größe 🦀\"}", "{}"], "cut at {cut}");
        }
    }

    #[test]
    fn a_line_over_the_cap_is_refused_before_it_is_complete() {
        let mut splitter = LineSplitter::new(8);
        splitter.push(b"12345678");
        assert!(splitter.next_line().unwrap().is_none());
        splitter.push(b"9");
        assert!(matches!(splitter.next_line(), Err(LineError::TooLong { limit: 8 })));
    }

    #[tokio::test]
    async fn a_torn_last_line_is_left_out() {
        let mut reader = LineReader::new(&b"{}\n{\"tor"[..]);
        assert_eq!(&reader.next_line().await.unwrap().unwrap()[..], b"{}");
        assert!(reader.next_line().await.unwrap().is_none());
    }
}
