//! Name and password, wherever they are typed: guesses are counted here, and nowhere else.

use std::net::SocketAddr;

use axum::{Extension, extract::ConnectInfo};
use holdpoint_store::User;
use http::{StatusCode, header};

use super::{Guess, verify_password};
use crate::{problem::Problem, state::WebState, time};

/// From where a request came, if the server knows.
pub(crate) type Connection = Option<Extension<ConnectInfo<SocketAddr>>>;

/// The user whose name and password these are.
///
/// Another name, another password and too many tries are problems of the client's; all else is ours.
pub(crate) async fn sign_in(
    state: &WebState,
    connection: &Connection,
    name: &str,
    password: &str,
) -> Result<User, Problem> {
    let address = connection
        .as_ref()
        .map_or_else(|| "?".to_owned(), |Extension(ConnectInfo(address))| address.ip().to_string());
    let guess = Guess::new(name, &address);
    // Counted before it is known, so that many tries at the same time do not slip through.
    state.throttle.count(&guess, state.now()).map_err(too_many_tries)?;
    let user = state.store().user_by_name(name).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let fits = verify_password(state, password.to_owned(), hash).await?;
    let Some(user) = user.filter(|_| fits) else {
        tracing::info!(name, "a sign-in failed");
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

fn too_many_tries(wait_s: i64) -> Problem {
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
}
