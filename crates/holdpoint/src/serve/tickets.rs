//! Whose session a token is, asked of the log at every model call.

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_control::{Control, Purpose};
use holdpoint_gateway::{Ticket, Tickets, TicketsError};
use holdpoint_store::StoreError;

use super::models::name_of;

pub(super) struct StoreTickets {
    control: Control,
    script: Option<String>,
}

impl StoreTickets {
    pub(super) fn new(control: Control, script: Option<String>) -> Self {
        Self { control, script }
    }

    async fn ticket(&self, token: &str) -> Result<Option<Ticket>, TicketsError> {
        let Some(id) = self.control.tokens().check(Purpose::Gateway, token) else { return Ok(None) };
        // Not a wrong token: the session is to try again.
        let unread = |error: StoreError| TicketsError(error.to_string());
        let Some(state) = self.control.store().execution(id.execution).await.map_err(unread)? else {
            return Ok(None);
        };
        // An older incarnation is fenced off, and so is one whose worker is known to be gone.
        if state.incarnation != id.incarnation || !state.residency.has_worker() || state.status.is_final() {
            return Ok(None);
        }
        let own = state.definition.rehearsal.as_deref().map(name_of);
        Ok(Some(Ticket {
            execution: id.execution,
            incarnation: id.incarnation,
            rehearsal_script: own.or_else(|| self.script.clone()),
            place: self.control.folder(id.execution).display().to_string(),
        }))
    }
}

impl Tickets for StoreTickets {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Ticket>, TicketsError>> {
        self.ticket(token).boxed()
    }
}
