//! The body of an answer, and how one learns that it was taken to the end.

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use crate::limits::FRAMES_IN_FLIGHT;

/// A piece of an answer on its way to the session.
#[derive(Debug)]
enum Piece {
    Frame(Bytes),
    Last(Bytes, oneshot::Sender<()>),
    /// The connection is to break, as the upstream's did: an orderly end would look like a whole answer.
    Broken(String),
}

/// The sending end of an answer's body.
#[derive(Debug)]
pub(super) struct Outgoing {
    pieces: mpsc::Sender<Piece>,
    gone: bool,
}

/// A body and the end to write it from.
pub(super) fn body() -> (Outgoing, Body) {
    let (pieces, receiver) = mpsc::channel(FRAMES_IN_FLIGHT);
    let state = Reading { receiver, last: None };
    let stream = stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        if let Some(last) = state.last.take() {
            // Being asked for more means that the last bytes were taken.
            let _ = last.send(());
            return None;
        }
        match state.receiver.recv().await? {
            Piece::Frame(bytes) => Some((Ok(bytes), Some(state))),
            Piece::Last(bytes, taken) => {
                state.last = Some(taken);
                Some((Ok(bytes), Some(state)))
            }
            Piece::Broken(why) => Some((Err(std::io::Error::other(why)), None)),
        }
    });
    (Outgoing { pieces, gone: false }, Body::from_stream(stream))
}

struct Reading {
    receiver: mpsc::Receiver<Piece>,
    last: Option<oneshot::Sender<()>>,
}

impl Outgoing {
    /// Passes bytes on, if there is still somebody to take them. It is not an error when there is not:
    /// the call goes on, for it is paid.
    pub(super) async fn send(&mut self, bytes: Bytes) {
        if !self.gone {
            self.gone = self.pieces.send(Piece::Frame(bytes)).await.is_err();
        }
    }

    /// Passes the last bytes on; true when they were taken.
    pub(super) async fn finish(self, bytes: Bytes) -> bool {
        let (sender, taken) = oneshot::channel();
        !self.gone && self.pieces.send(Piece::Last(bytes, sender)).await.is_ok() && taken.await.is_ok()
    }

    /// Breaks the connection off.
    pub(super) async fn break_off(self, why: String) {
        if !self.gone {
            let _ = self.pieces.send(Piece::Broken(why)).await;
        }
    }
}
