//! Passwords: Argon2id, away from the threads that serve everybody, a few at a time.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use thiserror::Error;

use crate::{limits, problem::Problem, state::WebState};

/// Why a password is not taken.
#[derive(Debug, Error)]
pub(crate) enum PasswordError {
    #[error("a password needs at least {} characters", limits::MIN_PASSWORD_CHARS)]
    TooShort,
    #[error("a password may have at most {} bytes", limits::MAX_PASSWORD_BYTES)]
    TooLong,
    #[error("failed to hash the password")]
    Hashing,
}

/// Checked where there is no user, so that an unknown name takes as long as a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let hashed: Result<PasswordHash, _> = Argon2::default().hash_password(b"nobody has this password");
    hashed.map(|hash| hash.to_string()).unwrap_or_default()
});

/// The hash of a new password in its own notation.
pub(crate) async fn hash_password(state: &WebState, password: String) -> Result<String, PasswordError> {
    let _permit = state.hashing.acquire().await.map_err(|_| PasswordError::Hashing)?;
    tokio::task::spawn_blocking(move || hash_now(&password)).await.map_err(|_| PasswordError::Hashing)?
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < limits::MIN_PASSWORD_CHARS {
        return Err(PasswordError::TooShort);
    }
    if password.len() > limits::MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Hashing)
}

/// Whether the password is the one; takes as long where there is no hash.
pub(crate) async fn verify_password(
    state: &WebState,
    password: String,
    hash: Option<String>,
) -> Result<bool, Problem> {
    if password.len() > limits::MAX_PASSWORD_BYTES {
        return Ok(false);
    }
    let failed = |error: &dyn std::fmt::Display| Problem::internal("check a password", error);
    let _permit = state.hashing.acquire().await.map_err(|error| failed(&error))?;
    tokio::task::spawn_blocking(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let fits = PasswordHash::new(&hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        known && fits
    })
    .await
    .map_err(|error| failed(&error))
}

/// The hash of a password, for tools that set one without a server. Takes a core for a moment.
///
/// # Errors
/// When the password is too short or too long.
pub fn password_hash(password: &str) -> Result<String, String> {
    hash_now(password).map_err(|error| error.to_string())
}
