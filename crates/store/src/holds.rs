//! Reading holds: the inbox, and what was settled.

use holdpoint_model::{ExecutionId, HoldId, Share, UnixMs, UserId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::codec::{actor, from_json};
use crate::{HoldFilter, HoldPhase, HoldRow, Store, StoreError};

/// `CROSS JOIN` keeps SQLite from beginning with the executions: the holds' index gives the order.
const HOLD_COLUMNS: &str = "SELECT h.hold, h.decision, h.execution, e.agent, e.title, e.owner, h.settled_at, \
     h.due_at, h.opened_at, h.id ";
const WITH_EXECUTION: &str = " CROSS JOIN executions e ON e.id = h.execution";

impl Store {
    /// The first holds of a list: open ones by nearest deadline (those without one last) and then
    /// by when they were opened, any others newest first.
    pub async fn holds(&self, filter: &HoldFilter, limit: u32) -> Result<Vec<HoldRow>, StoreError> {
        self.holds_after(filter, None, limit).await
    }

    /// The holds of a list after a place in it (see [`HoldFilter::place_of`]), in the same order.
    pub async fn holds_after(
        &self,
        filter: &HoldFilter,
        after: Option<(UnixMs, HoldId)>,
        limit: u32,
    ) -> Result<Vec<HoldRow>, StoreError> {
        let rows = holds_query(filter, after, limit).build().fetch_all(&self.shared.readers).await?;
        rows.iter().map(hold_row).collect()
    }

    /// One hold, settled ones too.
    pub async fn hold(&self, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
        let mut conn = self.shared.readers.acquire().await?;
        by_id(&mut conn, id).await
    }

    /// Open holds whose time is over at `now`, the longest overdue first.
    pub async fn due_holds(&self, now: UnixMs, limit: u32) -> Result<Vec<(ExecutionId, HoldId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution, id FROM holds INDEXED BY holds_open_by_due
             WHERE state = 'open' AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| Ok((ExecutionId(row.try_get::<Uuid, _>(0)?), HoldId(row.try_get::<Uuid, _>(1)?))))
            .collect()
    }
}

impl Store {
    /// How many holds are open.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_holds(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM holds WHERE state = 'open'")
            .fetch_one(&self.shared.readers)
            .await?;
        crate::codec::unsigned("a count", row.try_get(0)?)
    }
}

impl HoldFilter {
    /// Where a row stands in the list that this filter makes: the page after it begins there.
    #[must_use]
    pub fn place_of(&self, row: &HoldRow) -> (UnixMs, HoldId) {
        let at = match self.phase {
            Some(HoldPhase::Open) => row.hold.expires_at.unwrap_or(UnixMs::MAX),
            _ => row.hold.opened_at,
        };
        (at, row.hold.id)
    }
}

pub(crate) async fn by_id(conn: &mut SqliteConnection, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
    let row = sqlx::query(
        "SELECT h.hold, h.decision, h.execution, e.agent, e.title, e.owner, h.settled_at
         FROM holds h CROSS JOIN executions e ON e.id = h.execution WHERE h.id = ?1",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(hold_row).transpose()
}

/// Ids are given out in the order of time: after the deadline they stand for when holds were opened.
pub(crate) fn holds_query(
    filter: &HoldFilter,
    after: Option<(UnixMs, HoldId)>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("");
    let Some((user, share)) = filter.only_for else {
        branch(&mut query, filter, &Mine::Any, after, limit);
        return query;
    };
    // What somebody owns comes in order by its index; what is shared with them is sorted, and that is not much.
    for (at, mine) in [Mine::Owned(user), Mine::Shared(user, share)].iter().enumerate() {
        query.push(if at == 0 { "SELECT * FROM (" } else { ") UNION ALL SELECT * FROM (" });
        branch(&mut query, filter, mine, after, limit);
    }
    let open = filter.phase == Some(HoldPhase::Open);
    query.push(if open { ") ORDER BY due_at, id" } else { ") ORDER BY opened_at DESC, id DESC" });
    query.push(" LIMIT ").push_bind(limit);
    query
}

/// What a branch of a list is restricted to.
enum Mine {
    Any,
    Owned(UserId),
    /// Another's, and this user was given at least so much of it.
    Shared(UserId, Share),
}

fn branch(
    query: &mut QueryBuilder<Sqlite>,
    filter: &HoldFilter,
    mine: &Mine,
    after: Option<(UnixMs, HoldId)>,
    limit: u32,
) {
    query.push(HOLD_COLUMNS);
    let open = filter.phase == Some(HoldPhase::Open);
    if let Mine::Shared(user, share) = mine {
        // `CROSS JOIN` keeps the shares first, of which there are few.
        query.push(
            "FROM shares s CROSS JOIN holds h INDEXED BY holds_by_execution ON h.execution = s.execution",
        );
        query.push(WITH_EXECUTION);
        query.push(" WHERE s.user = ").push_bind(user.0);
        query.push(" AND h.owner_user IS NOT ").push_bind(user.0);
        if *share == Share::Answer {
            query.push(" AND s.may_answer");
        }
    } else {
        query.push("FROM holds h ");
        if open && filter.execution.is_none() && filter.owner.is_none() {
            match (mine, filter.assigned) {
                // What is one person's is less than what one may see.
                (_, Some(Some(_))) => drop(query.push("INDEXED BY holds_open_by_assigned")),
                // Left alone SQLite takes the index over states and sorts all that is open, on every look.
                (Mine::Any, _) => drop(query.push("INDEXED BY holds_open_by_due")),
                _ => {}
            }
        }
        query.push(WITH_EXECUTION).push(" WHERE 1");
        if let Mine::Owned(user) = mine {
            query.push(" AND h.owner_user = ").push_bind(user.0);
        }
    }
    if open {
        // As a literal: only so does SQLite see that the index over open holds will do.
        query.push(" AND h.state = 'open'");
    } else if let Some(phase) = filter.phase {
        query.push(" AND h.state = ").push_bind(phase.as_str());
    }
    if let Some(execution) = filter.execution {
        query.push(" AND h.execution = ").push_bind(execution.0);
    }
    if let Some(owner) = filter.owner {
        query.push(" AND h.owner_user = ").push_bind(owner.0);
    }
    if let Some(agent) = &filter.agent {
        query.push(" AND h.agent = ").push_bind(agent.clone());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND h.kind = ").push_bind(kind.as_str());
    }
    match filter.assigned {
        Some(Some(user)) => drop(query.push(" AND h.assigned = ").push_bind(user.0)),
        Some(None) => drop(query.push(" AND h.assigned IS NULL")),
        None => {}
    }
    if let Some(before) = filter.due_before {
        query.push(" AND h.due_at < ").push_bind(before);
    }
    if let Some(snoozes) = filter.snoozes {
        query.push(if snoozes.only { " AND EXISTS" } else { " AND NOT EXISTS" });
        query.push(" (SELECT 1 FROM snoozes z WHERE z.hold = h.id AND z.user = ").push_bind(snoozes.user.0);
        query.push(" AND z.until > ").push_bind(snoozes.now).push(")");
    }
    if let Some((at, id)) = after {
        query.push(if open { " AND (h.due_at, h.id) > (" } else { " AND (h.opened_at, h.id) < (" });
        query.push_bind(at).push(", ").push_bind(id.0).push(")");
    }
    query.push(if open { " ORDER BY h.due_at, h.id" } else { " ORDER BY h.opened_at DESC, h.id DESC" });
    query.push(" LIMIT ").push_bind(limit);
}

fn hold_row(row: &SqliteRow) -> Result<HoldRow, StoreError> {
    Ok(HoldRow {
        hold: from_json("a hold", row.try_get(0)?)?,
        decision: row
            .try_get::<Option<&str>, _>(1)?
            .map(|decision| from_json("a decision", decision))
            .transpose()?,
        execution: ExecutionId(row.try_get::<Uuid, _>(2)?),
        agent: row.try_get(3)?,
        title: row.try_get(4)?,
        owner: actor(row.try_get(5)?)?,
        settled_at: row.try_get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Execute as _, SqliteConnection};

    use super::*;

    /// What waits is looked at all day: a page of it must cost the same however much there is.
    #[tokio::test]
    async fn no_page_of_open_holds_sorts_all_of_them() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("open");
        sqlx::migrate!("./migrations").run_direct(None, &mut conn, false).await.expect("migrate");
        let owner = Some(holdpoint_model::UserId(Uuid::nil()));
        for owner in [None, owner] {
            for after in [None, Some((1, HoldId(Uuid::nil())))] {
                let filter = HoldFilter { owner, ..HoldFilter::open() };
                let steps = plan(&mut conn, &filter, after).await;
                let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
                assert!(!sorts, "{owner:?} {after:?}: {steps:?}");
            }
        }
    }

    /// Few of one kind among many of others are found in the index, and what is one person's by theirs.
    #[tokio::test]
    async fn no_filter_of_open_holds_looks_at_rows_that_it_leaves_out() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("open");
        sqlx::migrate!("./migrations").run_direct(None, &mut conn, false).await.expect("migrate");
        let user = holdpoint_model::UserId(Uuid::nil());
        let snoozes = Some(crate::Snoozes { user, now: 0, only: false });
        let few = HoldFilter {
            agent: Some("a".into()),
            kind: Some(holdpoint_model::HoldKind::Tool),
            due_before: Some(9),
            snoozes,
            ..HoldFilter::open()
        };
        let mine = (Some((user, Share::Answer)), "holds_open_by_owner");
        for (only_for, index) in [(None, "holds_open_by_due"), mine] {
            for (assigned, index) in
                [(None, index), (Some(None), index), (Some(Some(user)), "holds_open_by_assigned")]
            {
                let filter = HoldFilter { only_for, assigned, ..few.clone() };
                let steps = plan(&mut conn, &filter, Some((1, HoldId(Uuid::nil())))).await;
                assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:?}");
                let sorts = steps.iter().filter(|step| step.contains("TEMP B-TREE")).count();
                assert_eq!(sorts > 0, only_for.is_some(), "{steps:?}");
            }
        }
    }

    /// Nor does one person's page look at what is not theirs.
    #[tokio::test]
    async fn no_page_of_ones_own_looks_at_others() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("open");
        sqlx::migrate!("./migrations").run_direct(None, &mut conn, false).await.expect("migrate");
        let only_for = Some((holdpoint_model::UserId(Uuid::nil()), Share::Answer));
        for phase in [Some(HoldPhase::Open), None] {
            for after in [None, Some((1, HoldId(Uuid::nil())))] {
                let filter = HoldFilter { only_for, phase, ..HoldFilter::default() };
                let steps = plan(&mut conn, &filter, after).await;
                let mine = if phase.is_some() { "holds_open_by_owner" } else { "holds_by_owner" };
                for index in [mine, "SEARCH s USING", "holds_by_execution"] {
                    assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:?}");
                }
                assert!(!steps.iter().any(|step| step.starts_with("SCAN h")), "{steps:?}");
            }
        }
    }

    async fn plan(
        conn: &mut SqliteConnection,
        filter: &HoldFilter,
        after: Option<(UnixMs, HoldId)>,
    ) -> Vec<String> {
        let plan = format!("EXPLAIN QUERY PLAN {}", holds_query(filter, after, 50).build().sql().as_str());
        let rows = sqlx::query(sqlx::AssertSqlSafe(plan)).fetch_all(conn).await.expect("explain");
        rows.iter().map(|row| row.try_get(3).expect("detail")).collect()
    }
}
