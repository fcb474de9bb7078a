//! Holdpoint's event log and its projections; the only crate that knows SQL.
//!
//! The log is the truth. One task writes (invariant 1: `seq` is given out inside the committing
//! transaction), any number of connections read, and whoever waits for news gets a [`Hint`] after
//! the commit and reads by `seq`.

mod cache;
mod calls;
mod codec;
mod error;
mod holds;
mod load;
mod options;
mod outbox;
mod people;
mod reads;
mod rebuild;
mod recorded;
mod retention;
mod rows;
mod schema;
mod snapshot;
mod spending;
mod store;
mod uploads;
mod writer;

pub use calls::{CompletedCall, FailedCall, NewCall};
pub use error::{ApplyError, OpenError, StoreError};
pub use options::{Clock, IdSource, StoreOptions, SystemClock, TimeOrderedIds};
pub use outbox::{AfterFailure, Claim, Delivery, LONGEST_WAIT_MS};
pub use people::{LinkUse, NewToken, SecretHash, Token, TokenId, User};
pub use recorded::{RecordedCall, StoredCall};
pub use retention::{Deletable, Deleting, Deletion, Place};
pub use rows::{
    Applied, Counts, CreateOutcome, Cursor, ExecutionRow, FactsApplied, Hint, HoldFilter, HoldPhase, HoldRow,
    Idempotency, ListFilter, Rebuilt, SideFact,
};
pub use schema::known as known_schema;
pub use snapshot::{Contents, ContentsExecution, contents, snapshot};
pub use store::Store;
pub use uploads::{NewUpload, TakeUpload, Taken, Upload, UploadBegun, UploadQuota};
