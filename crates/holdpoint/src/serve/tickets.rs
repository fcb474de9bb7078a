//! Whose session a token is, asked of the log at every model call.

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_control::{Control, Purpose};
use holdpoint_gateway::{Ticket, Tickets};
use tracing::warn;

use super::models::name_of;

pub(super) struct StoreTickets {
    control: Control,
    script: Option<String>,
}

impl StoreTickets {
    pub(super) fn new(control: Control, script: Option<String>) -> Self {
        Self { control, script }
    }

    async fn ticket(&self, token: &str) -> Option<Ticket> {
        let id = self.control.tokens().check(Purpose::Gateway, token)?;
        let state = match self.control.store().execution(id.execution).await {
            Ok(state) => state?,
            Err(error) => {
                warn!(%error, "failed to read the log for a model call");
                return None;
            }
        };
        // An older incarnation is fenced off, and so is one whose worker is known to be gone.
        if state.incarnation != id.incarnation || !state.residency.has_worker() || state.status.is_final() {
            return None;
        }
        let own = state.definition.rehearsal.as_deref().map(name_of);
        Some(Ticket {
            execution: id.execution,
            incarnation: id.incarnation,
            rehearsal_script: own.or_else(|| self.script.clone()),
        })
    }
}

impl Tickets for StoreTickets {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Option<Ticket>> {
        self.ticket(token).boxed()
    }
}
