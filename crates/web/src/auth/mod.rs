//! Who calls, and what they may see and do.

mod access;
mod caller;
mod origin;
mod password;
mod secret;
mod session;
mod sign_in;
mod throttle;

pub(crate) use access::{Act, execution, hold};
pub(crate) use caller::{Caller, Visitor, bearer};
pub(crate) use origin::check_origin;
pub use password::password_hash;
pub(crate) use password::{hash_password, verify_password};
pub use secret::{fresh_secret, hash_token};
pub(crate) use session::{end_session, open_session, session_token, start_session};
pub(crate) use sign_in::{Connection, sign_in};
pub(crate) use throttle::{Guess, Throttle};
