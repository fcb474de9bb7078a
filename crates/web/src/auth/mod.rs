//! Who calls, and what they may see and do.

mod access;
mod caller;
mod origin;
mod password;
mod revoked;
mod secret;
mod session;
mod sign_in;
mod throttle;
mod via;

pub(crate) use access::{Act, execution, execution_as, hold, standing_of};
pub(crate) use caller::{Caller, Visitor, bearer};
pub(crate) use origin::check_origin;
pub use password::password_hash;
pub(crate) use password::{hash_password, verify_password};
pub(crate) use revoked::revoked;
pub use secret::{fresh_secret, hash_token};
pub(crate) use session::{by, end_session, is_secure, open_session, session_token, start_session};
pub(crate) use sign_in::{count_guess, sign_in};
pub(crate) use throttle::{Guess, Throttle};
pub use via::OverTls;
pub(crate) use via::Via;
