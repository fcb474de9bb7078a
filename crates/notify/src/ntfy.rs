//! Push notifications over ntfy (<https://docs.ntfy.sh/publish/>), to its public server or one's own.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_model::{Occasion, UnixMs};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{About, Channel, Notice, Receipt, SendError, SettingsError, http::Target, text::readable};

/// The longest encoded piece of a header, in bytes before base64: RFC 2047 allows 75 characters with the
/// frame around it.
const ENCODED_WORD_BYTES: usize = 45;

/// Where notifications go.
#[derive(Clone, Debug)]
pub struct NtfySettings {
    /// The topic's address. On a public server whoever knows it reads along; never logged.
    pub url: String,
    /// An access token, where the topic needs one.
    pub token: Option<SecretString>,
    /// A proxy on the way there.
    pub proxy: Option<SecretString>,
}

/// Publishes notices to an ntfy topic.
pub struct Ntfy {
    target: Target,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Ntfy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ntfy").field("host", &self.target.host()).finish_non_exhaustive()
    }
}

impl Ntfy {
    /// Nothing is sent before [`Channel::send`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: &NtfySettings) -> Result<Self, SettingsError> {
        let authorization = match &settings.token {
            None => None,
            Some(token) => {
                let text = format!("Bearer {}", token.expose_secret().trim());
                let mut value = HeaderValue::from_str(&text).map_err(|_| SettingsError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { target: Target::new(&settings.url, settings.proxy.as_ref())?, authorization })
    }
}

impl Channel for Ntfy {
    fn name(&self) -> &'static str {
        "ntfy"
    }

    fn place(&self) -> &str {
        self.target.host()
    }

    fn send<'a>(&'a self, notice: &'a Notice, now: UnixMs) -> BoxFuture<'a, Result<Receipt, SendError>> {
        async move {
            let push = Push::of(notice);
            let mut request = self
                .target
                .post()
                .header("Title", header_text(&push.title))
                .header("Priority", push.priority)
                .header("Tags", push.tags)
                .header("Click", header_text(&notice.url))
                // A notice that is sent a second time takes the place of the first (ntfy 2.16).
                .header("X-Sequence-ID", notice.id.to_string())
                .body(push.message);
            if let Some(authorization) = &self.authorization {
                request = request.header("Authorization", authorization.clone());
            }
            self.target.send(request, now).await
        }
        .boxed()
    }
}

/// A notice as a phone shows it.
#[derive(Debug, PartialEq, Eq)]
struct Push {
    title: String,
    message: String,
    priority: &'static str,
    tags: &'static str,
}

impl Push {
    fn of(notice: &Notice) -> Self {
        let About::Hold(waiting) = &notice.about else {
            return Self {
                title: "Holdpoint".into(),
                message: "This is a test: notifications arrive here.".into(),
                priority: "default",
                tags: "white_check_mark",
            };
        };
        let (before, priority, tags) = match waiting.occasion {
            Occasion::Opened => ("", "default", "raised_hand"),
            Occasion::Reminder { .. } => ("Reminder: ", "high", "hourglass_flowing_sand"),
        };
        let mut message = format!("{} {}", waiting.agent, waiting.summary);
        if let Some(end) = waiting.expires_at {
            message.push_str(&format!("\nUntil {}", readable(end)));
        }
        if waiting.rehearsal {
            message.push_str("\n(rehearsal)");
        }
        Self { title: format!("{before}{}", waiting.title), message, priority, tags }
    }
}

/// A header holds ASCII only; ntfy reads the rest as RFC 2047 writes it.
fn header_text(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, later) = rest.split_at(rest.floor_char_boundary(ENCODED_WORD_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = later;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_ascii() {
        assert_eq!(header_text("Release notes"), "Release notes");
        assert_eq!(header_text("Fällig"), "=?UTF-8?B?RsOkbGxpZw==?=");
        assert_eq!(header_text("=?x"), "=?UTF-8?B?PT94?=");
        let long = header_text(&"é".repeat(100));
        assert!(long.is_ascii() && long.split(' ').all(|word| word.len() <= 75), "{long}");
        let decoded: Vec<u8> = long
            .split(' ')
            .flat_map(|word| STANDARD.decode(&word["=?UTF-8?B?".len()..word.len() - 2]).expect("base64"))
            .collect();
        assert_eq!(String::from_utf8(decoded).expect("text"), "é".repeat(100));
    }
}
