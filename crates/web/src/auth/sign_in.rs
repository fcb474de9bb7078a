//! Name and password, wherever they are typed: guesses are counted here, and nowhere else.

use holdpoint_store::{Deed, Entry, User};
use http::{StatusCode, header};

use super::{Guess, Via, by, verify_password};
use crate::{limits, problem::Problem, state::WebState, time};

/// The user whose name and password these are.
///
/// Another name, another password and too many tries are problems of the client's; all else is ours.
pub(crate) async fn sign_in(
    state: &WebState,
    via: &Via,
    name: &str,
    password: &str,
) -> Result<User, Problem> {
    let guess = Guess::new(name, via.address().as_deref().unwrap_or("?"));
    // Counted before it is known, so that many tries at the same time do not slip through.
    count_guess(state, &guess)?;
    // Whoever is deactivated has no password any more that fits.
    let user = state.store().user_by_name(name).await?.filter(User::is_active);
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let fits = verify_password(state, password.to_owned(), hash).await?;
    let Some(user) = user.filter(|_| fits) else {
        tracing::info!(name, "a sign-in failed");
        note_failure(state, via, name).await?;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "not signed in",
            "name and password do not belong together",
        ));
    };
    state.throttle.succeeded(&guess);
    Ok(user)
}

/// Counts a try, or says for how long none is looked at.
pub(crate) fn count_guess(state: &WebState, guess: &Guess) -> Result<(), Problem> {
    state.throttle.count(guess, state.now()).map_err(|wait_s| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tries",
            "too many tries",
            format!(
                "too many wrong passwords came from where you are; try again in {}",
                time::length(wait_s * 1000)
            ),
        )
        .header(header::RETRY_AFTER, &wait_s.to_string())
    })
}

/// Writes it into the audit log, as long as that is not what somebody is after.
async fn note_failure(state: &WebState, via: &Via, name: &str) -> Result<(), Problem> {
    if !state.throttle.may_audit(state.now()) {
        return Ok(());
    }
    let name: String = name.chars().take(limits::SIGN_IN_NAME_CHARS).collect();
    let entry = Entry::new(Deed::SignInFailed, via.browser.clone());
    Ok(state.store().audit(by(via, None, &name), entry).await?)
}
