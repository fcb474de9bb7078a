//! Reading: executions, events, lists.

use std::collections::HashMap;
use std::sync::Arc;

use holdpoint_model::{Event, Execution, ExecutionId, Seq, UnixMs, UserId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use crate::codec::{actor, event, from_json, residency, signed, status, to_json, unsigned};
use crate::search::Query;
use crate::{
    Counts, Cursor, ExecutionRow, LinkUse, ListFilter, SecretHash, SideFact, Store, StoreError, load,
};

/// What is looked for in one statement: SQLite takes 32 766 parameters.
const AT_ONCE: usize = 500;

impl Store {
    /// An execution as it is committed now.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<Arc<Execution>>, StoreError> {
        if let Some(execution) = self.shared.cache.get(id) {
            return Ok(Some(execution));
        }
        let mut conn = self.shared.readers.acquire().await?;
        Ok(load::execution(&mut conn, id).await?.map(Arc::new))
    }

    /// Executions as they are committed now, by id, with one look for all of them. Those that there are none of are
    /// left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn executions(
        &self,
        ids: &[ExecutionId],
    ) -> Result<HashMap<ExecutionId, Arc<Execution>>, StoreError> {
        let (mut found, mut missing) = (HashMap::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.shared.cache.get(*id) {
                Some(execution) => drop(found.insert(*id, execution)),
                None => missing.push(*id),
            }
        }
        for some in missing.chunks(AT_ONCE) {
            let mut conn = self.shared.readers.acquire().await?;
            found.extend(
                load::executions(&mut conn, some).await?.into_iter().map(|(id, it)| (id, Arc::new(it))),
            );
        }
        Ok(found)
    }

    /// Up to `limit` events after `after`, in order.
    pub async fn events(&self, id: ExecutionId, after: Seq, limit: u32) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution, seq, at, incarnation, worker_seq, kind, data FROM events
             WHERE execution = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )
        .bind(id.0)
        .bind(signed(after))
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    /// Up to `limit` events of those kinds after `after`, in order.
    pub async fn events_of_kind(
        &self,
        id: ExecutionId,
        kinds: &[&str],
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution, seq, at, incarnation, worker_seq, kind, data FROM events
             WHERE execution = ?1 AND seq > ?2 AND kind IN (SELECT value FROM json_each(?4))
             ORDER BY seq LIMIT ?3",
        )
        .bind(id.0)
        .bind(signed(after))
        .bind(limit)
        .bind(to_json(&kinds)?)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    /// Up to `limit` events of any other kinds after `after` and up to `until`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_but(
        &self,
        id: ExecutionId,
        kinds: &[&str],
        after: Seq,
        until: Seq,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution, seq, at, incarnation, worker_seq, kind, data FROM events
             WHERE execution = ?1 AND seq > ?2 AND seq <= ?3 AND kind NOT IN (SELECT value FROM json_each(?5))
             ORDER BY seq LIMIT ?4",
        )
        .bind(id.0)
        .bind(signed(after))
        .bind(signed(until))
        .bind(limit)
        .bind(to_json(&kinds)?)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(event).collect()
    }

    /// Single events of many executions, with one look for all of them; those that there are none of are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_at(&self, places: &[(ExecutionId, Seq)]) -> Result<Vec<Event>, StoreError> {
        let mut found = Vec::with_capacity(places.len());
        for some in places.chunks(AT_ONCE) {
            let mut query = QueryBuilder::<Sqlite>::new("WITH places (execution, seq) AS (");
            query.push_values(some, |mut row, (id, seq)| {
                row.push_bind(id.0).push_bind(signed(*seq));
            });
            // `CROSS JOIN` keeps the places first: each is one look into the log's own index.
            query.push(
                ") SELECT e.execution, e.seq, e.at, e.incarnation, e.worker_seq, e.kind, e.data
                 FROM places p CROSS JOIN events e ON e.execution = p.execution AND e.seq = p.seq",
            );
            let rows = query.build().persistent(false).fetch_all(&self.shared.readers).await?;
            for row in &rows {
                found.push(event(row)?);
            }
        }
        Ok(found)
    }

    /// One event.
    pub async fn event(&self, id: ExecutionId, seq: Seq) -> Result<Option<Event>, StoreError> {
        let row = sqlx::query(
            "SELECT execution, seq, at, incarnation, worker_seq, kind, data FROM events
             WHERE execution = ?1 AND seq = ?2",
        )
        .bind(id.0)
        .bind(signed(seq))
        .fetch_optional(&self.shared.readers)
        .await?;
        row.as_ref().map(event).transpose()
    }

    /// Executions, newest first, beginning after the cursor.
    pub async fn list(
        &self,
        filter: &ListFilter,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        let mut filter = filter.clone();
        if let Some(text) = filter.text.take() {
            let query = Query::parse(&text);
            if let Some(statuses) = &query.statuses {
                match filter.statuses.as_slice() {
                    [] => filter.statuses.clone_from(statuses),
                    _ => filter.statuses.retain(|status| statuses.contains(status)),
                }
                if filter.statuses.is_empty() {
                    return Ok(Vec::new());
                }
            }
            if let Some(found) = self.search(&filter, &query, before, limit).await? {
                return Ok(found);
            }
        }
        let rows = list_query(&filter, before, limit).build().fetch_all(&self.shared.readers).await?;
        rows.iter().map(execution_row).collect()
    }

    /// Executions whose last event was committed after a time, the longest unchanged first: all, or what a user
    /// owns or is shared with them.
    pub async fn changed_since(
        &self,
        only_for: Option<UserId>,
        since: UnixMs,
        limit: u32,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {EXECUTION_COLUMNS} FROM executions e
             WHERE updated_at > ?1
                AND (?2 IS NULL OR owner_user = ?2 OR id IN (SELECT execution FROM shares WHERE user = ?2))
             ORDER BY updated_at, id LIMIT ?3"
        )))
        .bind(since)
        .bind(only_for.map(|user| user.0))
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(execution_row).collect()
    }

    /// Executions that something has to be done about, or that have a worker.
    pub async fn needing_attention(&self) -> Result<Vec<ExecutionId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM executions WHERE attention = 1 ORDER BY id")
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(|row| Ok(ExecutionId(row.try_get::<Uuid, _>(0)?))).collect()
    }

    /// How much there is.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let rows = sqlx::query("SELECT status, count(*) FROM executions GROUP BY status")
            .fetch_all(&self.shared.readers)
            .await?;
        for row in rows {
            counts.executions.insert(row.try_get(0)?, unsigned("a count", row.try_get(1)?)?);
        }
        let open = sqlx::query("SELECT count(*) FROM holds WHERE state = 'open'")
            .fetch_one(&self.shared.readers)
            .await?;
        counts.open_holds = unsigned("a count", open.try_get(0)?)?;
        Ok(counts)
    }

    /// What workers told after another had replaced them, by incarnation and number.
    pub async fn side_log(&self, id: ExecutionId, limit: u32) -> Result<Vec<SideFact>, StoreError> {
        let rows = sqlx::query(
            "SELECT incarnation, at, fact FROM side_log WHERE execution = ?1
             ORDER BY incarnation, worker_seq LIMIT ?2",
        )
        .bind(id.0)
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(SideFact {
                    incarnation: row.try_get(0)?,
                    at: row.try_get(1)?,
                    fact: from_json("a side fact", row.try_get(2)?)?,
                })
            })
            .collect()
    }

    /// What the use of a link would come to now. It is not used up by looking.
    pub async fn look_at_link(&self, hash: SecretHash, now: UnixMs) -> Result<LinkUse, StoreError> {
        let row = sqlx::query("SELECT purpose, expires_at, consumed_at FROM links WHERE hash = ?1")
            .bind(hash.as_slice())
            .fetch_optional(&self.shared.readers)
            .await?;
        let Some(row) = row else { return Ok(LinkUse::Unknown) };
        if row.try_get::<Option<UnixMs>, _>(2)?.is_some() {
            return Ok(LinkUse::Used);
        }
        if row.try_get::<UnixMs, _>(1)? <= now {
            return Ok(LinkUse::Expired);
        }
        Ok(LinkUse::Accepted { purpose: row.try_get(0)? })
    }

    /// A small value.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM settings WHERE key = ?1")
            .bind(key)
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

/// One branch per status, each of which an index gives in order, so that the merge of them reads no
/// more than `limit` rows of each, however many executions there are.
pub(crate) fn list_query(filter: &ListFilter, before: Option<Cursor>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("");
    let mut statuses: Vec<Option<&str>> =
        filter.statuses.iter().map(|status| Some(status.as_str())).collect();
    statuses.sort_unstable();
    statuses.dedup();
    if statuses.is_empty() {
        statuses.push(None);
    }
    let mine = match filter.only_for {
        None => vec![Mine::Any],
        Some(user) => vec![Mine::Owned(user), Mine::Shared(user)],
    };
    let branches = statuses.len() * mine.len();
    let each = statuses.iter().flat_map(|status| mine.iter().map(move |mine| (*status, *mine)));
    for (at, (status, mine)) in each.enumerate() {
        if at > 0 {
            query.push(" UNION ALL ");
        }
        branch(&mut query, filter, status, mine, before, limit);
    }
    if branches > 1 {
        query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
    }
    query
}

/// What a branch of a list is restricted to.
#[derive(Clone, Copy)]
enum Mine {
    Any,
    Owned(UserId),
    /// Another's, and shared with this user.
    Shared(UserId),
}

fn branch(
    query: &mut QueryBuilder<Sqlite>,
    filter: &ListFilter,
    status: Option<&str>,
    mine: Mine,
    before: Option<Cursor>,
    limit: u32,
) {
    query.push(format!("SELECT * FROM (SELECT {EXECUTION_COLUMNS} FROM "));
    // What is shared is found by its own index, in the order of the list; `CROSS JOIN` keeps it first.
    let (created_at, id) = match mine {
        Mine::Shared(user) => {
            query.push("shares s CROSS JOIN executions e ON e.id = s.execution WHERE s.user = ");
            query.push_bind(user.0).push(" AND e.owner_user IS NOT ").push_bind(user.0);
            ("s.created_at", "s.execution")
        }
        Mine::Owned(user) => {
            query.push("executions e WHERE e.owner_user = ").push_bind(user.0);
            ("e.created_at", "e.id")
        }
        Mine::Any => {
            query.push("executions e WHERE 1");
            ("e.created_at", "e.id")
        }
    };
    if let Some(status) = status {
        query.push(" AND e.status = ").push_bind(status.to_owned());
    }
    if let Some(owner) = filter.owner {
        query.push(" AND e.owner_user = ").push_bind(owner.0);
    }
    if let Some(agent) = &filter.agent {
        query.push(" AND e.agent = ").push_bind(agent.clone());
    }
    if let Some(cursor) = before {
        query.push(format!(" AND ({created_at}, {id}) < (")).push_bind(cursor.created_at);
        query.push(", ").push_bind(cursor.id.0).push(")");
    }
    query.push(format!(" ORDER BY {created_at} DESC, {id} DESC LIMIT ")).push_bind(limit).push(")");
}

/// What [`execution_row`] reads.
pub(crate) const EXECUTION_COLUMNS: &str = "e.id, e.agent, e.title, e.owner, e.status, e.residency, e.created_at, \
    e.updated_at, e.ended_at, e.open_holds, e.cost_micros, e.rehearsal";

pub(crate) fn execution_row(row: &SqliteRow) -> Result<ExecutionRow, StoreError> {
    Ok(ExecutionRow {
        id: ExecutionId(row.try_get::<Uuid, _>(0)?),
        agent: row.try_get(1)?,
        title: row.try_get(2)?,
        owner: actor(row.try_get(3)?)?,
        status: status(row.try_get(4)?)?,
        residency: residency(row.try_get(5)?)?,
        created_at: row.try_get(6)?,
        updated_at: row.try_get(7)?,
        ended_at: row.try_get(8)?,
        open_holds: row.try_get(9)?,
        cost_micros: unsigned("a cost", row.try_get(10)?)?,
        rehearsal: row.try_get(11)?,
    })
}
