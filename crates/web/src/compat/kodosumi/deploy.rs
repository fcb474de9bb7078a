//! `/deploy` and `/serve`: Ray Serve's there, and no longer over HTTP here.

use http::StatusCode;

use super::client::Client;
use crate::problem::Problem;

pub(super) async fn elsewhere(_: Client) -> Problem {
    Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "deploy_elsewhere",
        "not deployed over HTTP",
        "Holdpoint deploys nothing over HTTP: describe the agent in holdpoint.toml and run `holdpoint deploy` on the machine that runs it",
    )
}
