//! What the two processes say to each other: frames of a length, a letter and its content.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use holdpoint_model::container::Note;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Bytes of stdio in one frame at most.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The longest frame: what a command line and an environment may have together.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// What is to be started inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: String,
    /// Folders that must be writable, or nothing is started.
    pub writable: Vec<String>,
    /// Memory of everything inside, in bytes, where the kernel does not see to it.
    pub memory_bytes: Option<u64>,
    /// The most processes and threads inside, where the kernel does not count what it refuses.
    #[serde(default)]
    pub processes: Option<u32>,
}

/// How the program ended: by itself with a code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The code.
    pub code: Option<i32>,
    /// The signal's number.
    pub signal: Option<i32>,
}

impl Exit {
    /// As a shell says it.
    #[must_use]
    pub fn as_code(self) -> i32 {
        self.code.unwrap_or_else(|| 128 + self.signal.unwrap_or(0))
    }
}

/// A frame, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// → inside: start this.
    Launch(Launch),
    /// → inside.
    Stdin(Bytes),
    /// → inside: no more of it.
    StdinEnd,
    /// → outside.
    Stdout(Bytes),
    /// → outside.
    Stderr(Bytes),
    /// → outside.
    Note(Note),
    /// → outside: it ended. The last frame.
    Exit(Exit),
    /// → outside: it could not be started. The last frame.
    Failed(String),
}

impl Frame {
    fn encode(&self) -> io::Result<Bytes> {
        let with = |letter: u8, content: &[u8]| {
            let mut bytes = BytesMut::with_capacity(content.len() + 1);
            bytes.put_u8(letter);
            bytes.put_slice(content);
            bytes.freeze()
        };
        Ok(match self {
            Self::Launch(launch) => with(b'L', &serde_json::to_vec(launch)?),
            Self::Stdin(bytes) => with(b'i', bytes),
            Self::StdinEnd => with(b'I', &[]),
            Self::Stdout(bytes) => with(b'o', bytes),
            Self::Stderr(bytes) => with(b'e', bytes),
            Self::Note(note) => with(b'N', &serde_json::to_vec(note)?),
            Self::Exit(exit) => with(b'X', &serde_json::to_vec(exit)?),
            Self::Failed(why) => with(b'F', why.as_bytes()),
        })
    }

    fn decode(bytes: &Bytes) -> io::Result<Self> {
        fn json<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
            Ok(serde_json::from_slice(bytes)?)
        }
        let Some(letter) = bytes.first() else { return Err(bad("an empty frame")) };
        let content = bytes.slice(1..);
        Ok(match letter {
            b'L' => Self::Launch(json(&content)?),
            b'i' => Self::Stdin(content),
            b'I' => Self::StdinEnd,
            b'o' => Self::Stdout(content),
            b'e' => Self::Stderr(content),
            b'N' => Self::Note(json(&content)?),
            b'X' => Self::Exit(json(&content)?),
            b'F' => Self::Failed(String::from_utf8_lossy(&content).into_owned()),
            _ => return Err(bad("a frame of no known kind")),
        })
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec()
}

/// Frames that come.
#[derive(Debug)]
pub(crate) struct Frames<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(read: R) -> Self {
        Self(FramedRead::new(read, codec()))
    }

    /// The next frame; None when the other side is gone.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        self.0.next().await.transpose()?.map(|bytes| Frame::decode(&bytes.freeze())).transpose()
    }
}

/// Where frames go.
#[derive(Debug)]
pub(crate) struct FrameSink<W>(FramedWrite<W, LengthDelimitedCodec>);

impl<W: AsyncWrite + Unpin> FrameSink<W> {
    pub(crate) fn new(write: W) -> Self {
        Self(FramedWrite::new(write, codec()))
    }

    pub(crate) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.0.send(frame.encode()?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_frame_arrives_as_it_was() {
        let launch = Launch {
            program: "claude".into(),
            args: vec!["--x".into(), "ü \n".into()],
            env: vec![("A".into(), "b=c".into())],
            cwd: "/w".into(),
            writable: vec!["/h".into()],
            memory_bytes: Some(1),
            processes: Some(2),
        };
        let frames = [
            Frame::Launch(launch),
            Frame::Stdin(Bytes::from_static(b"\0\n")),
            Frame::StdinEnd,
            Frame::Stdout(Bytes::from(vec![7; MAX_CHUNK_BYTES])),
            Frame::Stderr(Bytes::new()),
            Frame::Note(Note::OutOfMemory { killed: 2 }),
            Frame::Note(Note::TooManyProcesses { refused: 1 }),
            Frame::Note(Note::Full { folder: "/tmp".into() }),
            Frame::Exit(Exit { code: None, signal: Some(9) }),
            Frame::Failed("why".into()),
        ];
        let (here, there) = tokio::io::duplex(1 << 20);
        let (mut sink, mut source) = (FrameSink::new(here), Frames::new(there));
        for frame in &frames {
            sink.send(frame).await.expect("send");
        }
        drop(sink);
        for frame in frames {
            assert_eq!(source.next().await.expect("frame"), Some(frame));
        }
        assert_eq!(source.next().await.expect("end"), None);
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        for bytes in [&b"\0\0\0\0"[..], b"\0\0\0\x01?", b"\xff\xff\xff\xff", b"\0\0\0\x02L{", b"\0\0\0\x09i"]
        {
            let mut frames = Frames::new(bytes);
            assert!(frames.next().await.is_err(), "{bytes:?}");
        }
    }
}
