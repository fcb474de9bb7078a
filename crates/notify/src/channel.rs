//! What every channel can do.

use std::fmt;

use futures::future::BoxFuture;
use holdpoint_model::UnixMs;

use crate::{Notice, SendError};

/// A way to tell people something.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Its name, the same for ever: the outbox knows deliveries by it.
    fn name(&self) -> &'static str;

    /// Where it leads, without anything that is a secret: the host.
    fn place(&self) -> &str;

    /// Sends a notice once. `now` is the time of this try. Sending the same notice again does no harm:
    /// it goes out under the same id.
    fn send<'a>(&'a self, notice: &'a Notice, now: UnixMs) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// What the other side said when it took a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of its answer, on one line.
    pub answer: String,
}
