//! Holdpoint's event log and its projections; the only crate that knows SQL.
//!
//! The log is the truth. One task writes (invariant 1: `seq` is given out inside the committing
//! transaction), any number of connections read, and whoever waits for news gets a [`Hint`] after
//! the commit and reads by `seq`.

mod audit;
mod cache;
mod calls;
mod codec;
mod error;
mod figures;
mod hints;
mod holds;
mod load;
mod options;
mod outbox;
mod people;
mod reads;
mod rebuild;
mod recorded;
mod releases;
mod retention;
mod rows;
mod schema;
mod search;
mod sessions;
mod shares;
mod snapshot;
mod snoozes;
mod spending;
mod store;
mod tokens;
mod uploads;
mod writer;

pub use audit::{Audited, By, Deed, Entry};
pub use calls::{CompletedCall, FailedCall, NewCall};
pub use error::{ApplyError, OpenError, StoreError};
pub use figures::{CountedErrors, CountedRuns, CountedWaits, Figures, FiguresFilter, Subject};
pub use options::{Clock, IdSource, StoreOptions, SystemClock, TimeOrderedIds};
pub use outbox::{AfterFailure, Claim, Delivery, LONGEST_WAIT_MS};
pub use people::{LinkUse, SecretHash, User, UserChange};
pub use recorded::{RecordedCall, StoredCall};
pub use releases::{RELEASES_LISTED, ReleaseError, ReleaseRow, ReleaseStep};
pub use retention::{Deletable, Deleting, Deletion, Place};
pub use rows::{
    Applied, Counts, CreateOutcome, Cursor, ExecutionRow, FactsApplied, Hint, HoldFilter, HoldPhase, HoldRow,
    Idempotency, ListFilter, Rebuilt, SideFact,
};
pub use schema::known as known_schema;
pub use sessions::{Credential, NewSession, Principal, SignIn, SignInId};
pub use shares::SharedWith;
pub use snapshot::{Contents, ContentsExecution, contents, snapshot};
pub use snoozes::Snoozes;
pub use store::Store;
pub use tokens::{NewToken, Token, TokenId};
pub use uploads::{NewUpload, TakeUpload, Taken, Upload, UploadBegun, UploadQuota};
