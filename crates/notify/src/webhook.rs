//! Signed webhooks, as the Standard Webhooks specification 1.0.0 says
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, future::BoxFuture};
use hmac::{Hmac, KeyInit as _, Mac as _};
use holdpoint_model::UnixMs;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use crate::{Channel, Notice, Receipt, SendError, SettingsError, http::Target};

/// How a signing secret begins.
const SECRET_PREFIX: &str = "whsec_";

/// The shortest and the longest key that the specification allows, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that signs, out of `whsec_…`.
#[derive(Clone, Debug)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// [`SettingsError::Secret`] says what is wrong, without the secret.
    pub fn parse(text: &SecretString) -> Result<Self, SettingsError> {
        let text = text.expose_secret().trim();
        let encoded =
            text.strip_prefix(SECRET_PREFIX).ok_or(SettingsError::Secret("it does not begin with whsec_"))?;
        let key = STANDARD
            .decode(encoded)
            .map_err(|_| SettingsError::Secret("what follows whsec_ is not base64"))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(SettingsError::Secret("it must be 24 to 64 bytes in base64"));
        }
        Ok(Self(key.into()))
    }

    /// The `webhook-signature` of a message.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        // A key of any length will do for HMAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp_s}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Where a webhook goes.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The address; never logged.
    pub url: String,
    /// `whsec_…`
    pub secret: SecretString,
    /// A proxy on the way there.
    pub proxy: Option<SecretString>,
}

/// Posts notices as signed JSON.
pub struct Webhook {
    target: Target,
    secret: SigningSecret,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.target.host()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Nothing is sent before [`Channel::send`].
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: &WebhookSettings) -> Result<Self, SettingsError> {
        let secret = SigningSecret::parse(&settings.secret)?;
        Ok(Self { target: Target::new(&settings.url, settings.proxy.as_ref())?, secret })
    }
}

impl Channel for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn place(&self) -> &str {
        self.target.host()
    }

    fn send<'a>(&'a self, notice: &'a Notice, now: UnixMs) -> BoxFuture<'a, Result<Receipt, SendError>> {
        async move {
            let id = notice.id.to_string();
            // The time of the try, so that a receiver can refuse what somebody replays.
            let timestamp_s = now.div_euclid(1000);
            let body = notice.to_json().to_string();
            let request = self
                .target
                .post()
                .header(CONTENT_TYPE, "application/json")
                .header("webhook-signature", self.secret.sign(&id, timestamp_s, &body))
                .header("webhook-id", id)
                .header("webhook-timestamp", timestamp_s)
                .body(body);
            self.target.send(request, now).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Result<SigningSecret, SettingsError> {
        SigningSecret::parse(&text.to_owned().into())
    }

    /// The example of the reference libraries of Standard Webhooks.
    #[test]
    fn signs_as_the_reference_libraries_do() {
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn only_a_secret_of_the_specified_form_is_taken() {
        for wrong in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64 at all!"]
        {
            let error = secret(wrong).expect_err(wrong);
            assert!(matches!(error, SettingsError::Secret(_)), "{wrong}: {error}");
        }
        assert!(secret(&format!("whsec_{}", STANDARD.encode([7; 65]))).is_err());
        assert!(secret(&format!("whsec_{}\n", STANDARD.encode([7; 64]))).is_ok());
        let shown = format!("{:?}", secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"));
        assert!(!shown.contains("MfKQ"), "{shown}");
    }
}
