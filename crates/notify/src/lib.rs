//! Telling people that something waits for them, over channels that they read elsewhere.
//!
//! A [`Notice`] says what happened, in words that are fit for a lock screen: no secrets, and of what a
//! tool was called with no more than the name of a program, a file or a host. A [`Channel`] brings it to
//! people: [`Webhook`] for programs of their own (signed as the Standard Webhooks specification says),
//! [`Ntfy`] for phones. When to send and when to send again is decided by whoever calls; an error only
//! says whether another try can help.

mod channel;
mod error;
mod http;
mod notice;
mod ntfy;
mod summary;
mod text;
mod webhook;

pub use channel::{Channel, Receipt};
pub use error::{Retry, SendError, SettingsError};
pub use http::{CONNECT_TIMEOUT, SEND_TIMEOUT};
pub use notice::{About, Notice, Waiting};
pub use ntfy::{Ntfy, NtfySettings};
pub use webhook::{SigningSecret, Webhook, WebhookSettings};
