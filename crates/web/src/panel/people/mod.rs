//! `/people`: who there is, what they may do and sign in with; for administrators. `/account`: the same for
//! oneself, and one's own password.

mod account;
mod audit;
mod list;
mod user;

use axum::response::Response;
use maud::{Markup, html};

use super::{PageError, inbox, layout::Page};
use crate::{auth::Caller, problem::Problem, state::WebState};

pub(super) use account::{end_sessions, make_token, own, password, revoke_token};
pub(super) use audit::page as audit;
pub(super) use list::{create, page as list};
pub(super) use user::{change, link, page as one};

/// What a page says above what it is about.
#[derive(Default)]
enum News<'a> {
    #[default]
    None,
    /// Why something was not done.
    Failed(&'a Problem),
    /// Something that is shown this once: what it is, and what to do with it.
    Secret { what: &'static str, secret: &'a str },
}

impl News<'_> {
    fn show(&self) -> Markup {
        html! {
            @match self {
                Self::None => {}
                Self::Failed(problem) => (super::login::alert(Some(problem))),
                Self::Secret { what, secret } => section #secret .card .stack role="status" {
                    p { (what) " It is shown this once." }
                    pre.command { (secret) }
                },
            }
        }
    }
}

/// A page for whoever is signed in.
async fn shown(
    state: &WebState,
    caller: &Caller,
    (name, title): (&'static str, &str),
    news: &News<'_>,
    body: &Markup,
) -> Result<Response, PageError> {
    let open = inbox::count_for(state, caller).await?;
    let page = Page { title, name, caller: Some(caller), open_holds: Some(open) };
    let mut response = page.show(body);
    if let News::Failed(problem) = news {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

/// The roles to choose from, with what they may.
fn roles(chosen: holdpoint_model::Role) -> Markup {
    use holdpoint_model::Role;
    html! {
        select name="role" {
            @for role in Role::ALL.into_iter().rev() {
                option value=(role) selected[role == chosen] {
                    (role) ": "
                    @match role {
                        Role::Admin => "everything, people included",
                        Role::Operator => "every conversation, and the running of the machine",
                        Role::Approver => "sees every conversation and answers what agents ask",
                        Role::Asker => "starts conversations, and answers their own",
                        Role::Viewer => "sees every conversation, changes nothing",
                    }
                }
            }
        }
    }
}
