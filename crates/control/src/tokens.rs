//! Tokens of workers and sessions: signed, not stored, good for one incarnation.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use holdpoint_engine::WorkerId;
use sha2::Sha256;

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The worker's own connection.
    Worker,
    /// The session's model endpoint.
    Gateway,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Worker => "hpw",
            Self::Gateway => "hpg",
        }
    }
}

/// Signs and checks tokens with a secret that never leaves the control plane. Whether the
/// incarnation still acts is for the caller to ask: the log knows.
#[derive(Clone)]
pub struct Tokens {
    secret: [u8; 32],
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// With this secret, the same after every restart, so that living workers stay welcome.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The token of a worker or its session.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, id: WorkerId) -> String {
        let body = format!("{}_{}_{}", purpose.prefix(), id.execution, id.incarnation);
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&body).finalize().into_bytes());
        format!("{body}_{signature}")
    }

    /// Whose token this is, if we signed it for this purpose.
    #[must_use]
    pub fn check(&self, purpose: Purpose, token: &str) -> Option<WorkerId> {
        let mut parts = token.splitn(4, '_');
        let (prefix, execution, incarnation, signature) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if prefix != purpose.prefix() {
            return None;
        }
        let body = format!("{prefix}_{execution}_{incarnation}");
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.mac(&body).verify_slice(&signature).ok()?;
        Some(WorkerId { execution: execution.parse().ok()?, incarnation: incarnation.parse().ok()? })
    }

    fn mac(&self, body: &str) -> Hmac<Sha256> {
        #[allow(clippy::expect_used)]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(body.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdpoint_model::ExecutionId;

    #[test]
    fn a_token_is_good_for_its_purpose_and_incarnation_alone() {
        let tokens = Tokens::new([7; 32]);
        let id = WorkerId { execution: ExecutionId(uuid::Uuid::from_u128(9)), incarnation: 3 };
        let token = tokens.sign(Purpose::Worker, id);
        assert_eq!(tokens.check(Purpose::Worker, &token), Some(id));
        assert_eq!(tokens.check(Purpose::Gateway, &token), None);
        assert_eq!(Tokens::new([8; 32]).check(Purpose::Worker, &token), None);
        assert_eq!(tokens.check(Purpose::Worker, &token.replace("_3_", "_4_")), None);
        for junk in ["", "hpw", "hpw___", "hpw_x_y_z", "hpw_a_b_c_d"] {
            assert_eq!(tokens.check(Purpose::Worker, junk), None);
        }
    }
}
