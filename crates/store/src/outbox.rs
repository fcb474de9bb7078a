//! The outbox: who still has to be told about which hold.
//!
//! A *notice* is written in the transaction that opens a hold: one for the opening, one for each
//! reminder, all with the ids they keep. When it is due it is *spread*: each channel there is then
//! gets a *delivery*, which is claimed, tried, and settled. Whatever is about a hold that nobody can
//! answer any more is dropped on the way. The store therefore need not know which channels there are,
//! and a channel that is added later is not told old news.

use std::sync::Arc;

use holdpoint_model::event::Level;
use holdpoint_model::{
    Command, Event, EventBody, Execution, ExecutionId, Hold, HoldId, HoldState, NoticeId, Occasion, UnixMs,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use crate::codec::{from_json, narrow, signed, to_json, unsigned};
use crate::options::IdSource;
use crate::writer::Tx;
use crate::{ApplyError, Store, StoreError};

/// The longest that a delivery waits for its next try, or is leased. One that seems to wait longer was
/// noted by a clock that has been set right since, and is due.
pub const LONGEST_WAIT_MS: u64 = 2 * 3600 * 1000;

/// A delivery that was claimed: whoever has it may try it until its lease ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// What has to be given back with its outcome.
    pub claim: Claim,
    /// Why somebody is told.
    pub occasion: Occasion,
    /// The hold as it stood when it was claimed: open.
    pub hold: Hold,
    /// Whose.
    pub execution: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// The execution's title.
    pub title: String,
    /// A script answers instead of a model.
    pub rehearsal: bool,
}

/// One try of one delivery. A later claim of the same delivery makes it void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The notice; the same at every try and over every channel.
    pub notice: NoticeId,
    /// The channel.
    pub channel: String,
    /// The n-th try, from 1.
    pub attempt: u32,
}

/// What follows from a try that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again, after so long.
    Again {
        /// Milliseconds; no more than [`LONGEST_WAIT_MS`] are waited.
        wait_ms: u64,
    },
    /// It is given up; the execution's log says so in these words.
    GiveUp {
        /// For people.
        notice: String,
    },
}

impl Store {
    /// Begins to deliver over these channels. What waits for any other is dropped, and the rest is due
    /// at once: whoever had claimed it is gone, and what was wrong may have been put right. For the only
    /// one who delivers, before the first claim.
    pub async fn begin_deliveries(&self, channels: &[String]) -> Result<(), StoreError> {
        let channels = to_json(&channels)?;
        self.write(move |tx| {
            Box::pin(async move {
                let conn = tx.writing().await?;
                sqlx::query(
                    "DELETE FROM deliveries WHERE state = 'waiting'
                        AND channel NOT IN (SELECT value FROM json_each(?1))",
                )
                .bind(channels)
                .execute(&mut *conn)
                .await?;
                sqlx::query("UPDATE deliveries SET next_at = 0 WHERE state = 'waiting'")
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Makes a delivery for each channel of the notices that are due, up to `limit` of them, and
    /// returns how many there were. Of several reminders of one hold only the last is delivered.
    /// Reminders are left out where the clock cannot be trusted.
    pub async fn spread_notices(
        &self,
        channels: &[String],
        with_reminders: bool,
        limit: u32,
    ) -> Result<u32, StoreError> {
        let bound = move |now: UnixMs| if with_reminders { now } else { 0 };
        // Looked at first: most of the time nothing is due, and a commit costs more.
        let due =
            sqlx::query("SELECT EXISTS (SELECT 1 FROM notices WHERE spread_at IS NULL AND due_at <= ?1)")
                .bind(bound(self.shared.options.clock.now()))
                .fetch_one(&self.shared.readers)
                .await?;
        if !due.try_get::<bool, _>(0)? {
            return Ok(0);
        }
        let channels = channels.to_vec();
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                let due = due_notices(tx.reading(), now, bound(now), limit).await?;
                let conn = tx.writing().await?;
                for (notice, is_wanted) in &due {
                    if *is_wanted && !channels.is_empty() {
                        spread(conn, *notice, &channels, now).await?;
                    } else {
                        sqlx::query("DELETE FROM notices WHERE id = ?1")
                            .bind(notice)
                            .execute(&mut *conn)
                            .await?;
                    }
                }
                Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
            })
        })
        .await
    }

    /// Claims up to `limit` deliveries over a channel that are due, new ones first, for `lease_ms`: no
    /// other claim gets them before that. Those about holds that are not open any more are dropped.
    pub async fn claim_deliveries(
        &self,
        channel: &str,
        lease_ms: u64,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let due = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM deliveries
                WHERE state = 'waiting' AND channel = ?1 AND (next_at <= ?2 OR next_at > ?2 + ?3))",
        )
        .bind(channel)
        .bind(self.shared.options.clock.now())
        .bind(signed(LONGEST_WAIT_MS))
        .fetch_one(&self.shared.readers)
        .await?;
        if !due.try_get::<bool, _>(0)? {
            return Ok(Vec::new());
        }
        let channel = channel.to_owned();
        self.write(move |tx| Box::pin(claim(tx, channel, lease_ms, limit))).await
    }

    /// The channel has it. False when the claim is void: another has been made since.
    pub async fn delivered(&self, claim: Claim) -> Result<bool, StoreError> {
        self.write(move |tx| Box::pin(async move { settle(tx, &claim, "sent").await })).await
    }

    /// A try failed. False when the claim is void.
    ///
    /// # Errors
    /// As [`Store::apply`], where the log has to say that it was given up.
    pub async fn delivery_failed(&self, claim: Claim, after: AfterFailure) -> Result<bool, ApplyError> {
        let (was_ours, _) = self
            .shared
            .writer
            .run(move |tx: &mut Tx| {
                Box::pin(async move {
                    match after {
                        AfterFailure::Again { wait_ms } => Ok(put_off(tx, &claim, wait_ms).await?),
                        AfterFailure::GiveUp { notice } => give_up(tx, &claim, notice).await,
                    }
                })
            })
            .await?;
        Ok(was_ours)
    }
}

/// Writes the notices about the holds that `events` opened and that are open after all of them.
pub(crate) async fn note_opened(
    conn: &mut SqliteConnection,
    execution: &Execution,
    events: &[Arc<Event>],
    ids: &dyn IdSource,
) -> Result<(), StoreError> {
    let opened = events.iter().filter_map(|event| match &event.body {
        EventBody::HoldOpened { hold, .. } => execution.holds.get(hold),
        _ => None,
    });
    // What policy or a grant has answered at once concerns nobody.
    for hold in opened.filter(|hold| hold.state == HoldState::Open) {
        note(conn, execution.id, hold.id, ids.fresh(), Occasion::Opened, 0).await?;
        let Some(expires_at) = hold.expires_at else { continue };
        let time_ms = u64::try_from(expires_at.saturating_sub(hold.opened_at)).unwrap_or(0);
        for lead_ms in execution.definition.reminder_leads_ms(time_ms) {
            let due_at = expires_at.saturating_sub(signed(lead_ms));
            let reminder = Occasion::Reminder { lead_ms };
            note(conn, execution.id, hold.id, ids.fresh(), reminder, due_at).await?;
        }
    }
    Ok(())
}

async fn note(
    conn: &mut SqliteConnection,
    execution: ExecutionId,
    hold: HoldId,
    id: Uuid,
    occasion: Occasion,
    due_at: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO notices (id, execution, hold, occasion, lead_ms, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(id)
    .bind(execution.0)
    .bind(hold.0)
    .bind(occasion.as_str())
    .bind(signed(occasion.lead_ms()))
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// The notices that are due, and whether anybody still wants each: the hold can be answered, and no later
/// reminder of it is due as well.
async fn due_notices(
    conn: &mut SqliteConnection,
    now: UnixMs,
    bound: UnixMs,
    limit: u32,
) -> Result<Vec<(Uuid, bool)>, StoreError> {
    let rows = sqlx::query(
        "SELECT n.id,
            EXISTS (SELECT 1 FROM holds h WHERE h.id = n.hold AND h.state = 'open' AND h.due_at > ?1)
            AND NOT EXISTS (SELECT 1 FROM notices later
                WHERE later.execution = n.execution AND later.hold = n.hold AND n.occasion = 'reminder'
                    AND later.occasion = 'reminder' AND later.lead_ms < n.lead_ms AND later.due_at <= ?2)
         FROM notices n WHERE n.spread_at IS NULL AND n.due_at <= ?2 ORDER BY n.due_at, n.id LIMIT ?3",
    )
    .bind(now)
    .bind(bound)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn spread(
    conn: &mut SqliteConnection,
    notice: Uuid,
    channels: &[String],
    now: UnixMs,
) -> Result<(), StoreError> {
    for channel in channels {
        sqlx::query(
            "INSERT INTO deliveries (notice, channel, state, attempts, next_at) VALUES (?1, ?2, 'waiting', 0, 0)",
        )
        .bind(notice)
        .bind(channel)
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query("UPDATE notices SET spread_at = ?2 WHERE id = ?1")
        .bind(notice)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

async fn claim(tx: &mut Tx, channel: String, lease_ms: u64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
    let now = tx.now();
    let conn = tx.writing().await?;
    sqlx::query(
        "DELETE FROM deliveries
         WHERE state = 'waiting' AND channel = ?1 AND (next_at <= ?2 OR next_at > ?2 + ?3)
            AND NOT EXISTS (SELECT 1 FROM notices n JOIN holds h ON h.id = n.hold
                WHERE n.id = deliveries.notice AND h.state = 'open' AND h.due_at > ?2)",
    )
    .bind(&channel)
    .bind(now)
    .bind(signed(LONGEST_WAIT_MS))
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query(
        "SELECT d.notice, d.channel, d.attempts + 1, n.occasion, n.lead_ms, h.hold, n.execution, e.agent, e.title,
            e.rehearsal
         FROM deliveries d JOIN notices n ON n.id = d.notice JOIN holds h ON h.id = n.hold
            JOIN executions e ON e.id = n.execution
         WHERE d.state = 'waiting' AND d.channel = ?1 AND (d.next_at <= ?2 OR d.next_at > ?2 + ?3)
         ORDER BY d.next_at, d.notice LIMIT ?4",
    )
    .bind(&channel)
    .bind(now)
    .bind(signed(LONGEST_WAIT_MS))
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    let claimed = rows.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
    for delivery in &claimed {
        sqlx::query("UPDATE deliveries SET attempts = ?3, next_at = ?4 WHERE notice = ?1 AND channel = ?2")
            .bind(delivery.claim.notice.0)
            .bind(&channel)
            .bind(delivery.claim.attempt)
            .bind(now.saturating_add(signed(lease_ms.min(LONGEST_WAIT_MS))))
            .execute(&mut *conn)
            .await?;
    }
    Ok(claimed)
}

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let lead_ms = unsigned("a lead", row.try_get(4)?)?;
    Ok(Delivery {
        claim: Claim {
            notice: NoticeId(row.try_get(0)?),
            channel: row.try_get(1)?,
            attempt: narrow("attempts", row.try_get(2)?)?.unwrap_or_default(),
        },
        occasion: Occasion::of(row.try_get(3)?, lead_ms).map_err(StoreError::Corrupt)?,
        hold: from_json("a hold", row.try_get(5)?)?,
        execution: ExecutionId(row.try_get(6)?),
        agent: row.try_get(7)?,
        title: row.try_get(8)?,
        rehearsal: row.try_get(9)?,
    })
}

async fn settle(tx: &mut Tx, claim: &Claim, state: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    let done = sqlx::query(
        "UPDATE deliveries SET state = ?4, settled_at = ?5
         WHERE notice = ?1 AND channel = ?2 AND attempts = ?3 AND state = 'waiting'",
    )
    .bind(claim.notice.0)
    .bind(&claim.channel)
    .bind(claim.attempt)
    .bind(state)
    .bind(now)
    .execute(tx.writing().await?)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn put_off(tx: &mut Tx, claim: &Claim, wait_ms: u64) -> Result<bool, StoreError> {
    let next_at = tx.now().saturating_add(signed(wait_ms.min(LONGEST_WAIT_MS)));
    let done = sqlx::query(
        "UPDATE deliveries SET next_at = ?4
         WHERE notice = ?1 AND channel = ?2 AND attempts = ?3 AND state = 'waiting'",
    )
    .bind(claim.notice.0)
    .bind(&claim.channel)
    .bind(claim.attempt)
    .bind(next_at)
    .execute(tx.writing().await?)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn give_up(tx: &mut Tx, claim: &Claim, text: String) -> Result<bool, ApplyError> {
    if !settle(tx, claim, "failed").await? {
        return Ok(false);
    }
    let row = sqlx::query("SELECT execution FROM notices WHERE id = ?1")
        .bind(claim.notice.0)
        .fetch_one(tx.reading())
        .await?;
    let execution = ExecutionId(row.try_get(0)?);
    tx.command(execution, Command::Notice { level: Level::Warning, text }).await?;
    Ok(true)
}
