//! Searching executions: a full-text index over what they are about (`docs/decisions/0020`).

mod document;
mod purge;
mod query;

use holdpoint_model::{Status, UserId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

pub(crate) use document::{clear, delete, index, write};
pub(crate) use query::Query;

use crate::reads::{EXECUTION_COLUMNS, execution_row};
use crate::{Cursor, ExecutionRow, ListFilter, Store, StoreError};

/// Of these, a look at each is quicker than a look at all that the index finds.
const FEW: u32 = 200;

/// What the index finds, and the row of each. Left alone SQLite takes another index over executions wherever there is a
/// cursor, and reads all that it has of a person or status for each of them.
const FOUND: &str = "search f CROSS JOIN executions e INDEXED BY executions_by_place ON e.place = f.rowid";

/// What a search is restricted to.
#[derive(Clone, Copy)]
enum Mine {
    Any,
    Owned(UserId),
    /// Another's, and shared with this user.
    Shared(UserId),
}

/// Where in the index to look.
#[derive(Clone, Copy)]
struct Span {
    from: i64,
    before: i64,
}

impl Store {
    /// The executions that a question finds, newest first; None where it asks for no word, so that a list does.
    pub(crate) async fn search(
        &self,
        filter: &ListFilter,
        query: &Query,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Option<Vec<ExecutionRow>>, StoreError> {
        let mut found = Vec::new();
        let mine = match filter.only_for {
            None => vec![Mine::Any],
            Some(user) => vec![Mine::Owned(user), Mine::Shared(user)],
        };
        for mine in mine {
            let Some(expression) = query.expression(&facets(filter, mine)) else { return Ok(None) };
            let search = Search { filter, mine, expression: &expression, before, limit };
            found.extend(search.page(self).await?);
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
        found.truncate(limit as usize);
        Ok(Some(found))
    }
}

/// What the index knows of the filter, so that it gives few rows that the filter does not take.
fn facets(filter: &ListFilter, mine: Mine) -> Vec<String> {
    let facet = |word: &str| format!("facets : {}", query::phrase(word));
    let mut facets = Vec::new();
    let owner = match mine {
        Mine::Owned(user) => Some(user),
        Mine::Any | Mine::Shared(_) => filter.owner,
    };
    facets.extend(owner.map(|user| facet(&document::owned_by(user))));
    if let Some(agent) = filter.agent.as_deref().filter(|agent| agent.contains(char::is_alphanumeric)) {
        facets.push(format!("agent : {}", query::phrase(&agent.replace('\0', " "))));
    }
    if !filter.statuses.is_empty() {
        let word = |status: &Status| if status.is_final() { status.as_str() } else { document::OPEN };
        let mut words: Vec<&str> = filter.statuses.iter().map(word).collect();
        words.sort_unstable();
        words.dedup();
        facets.push(format!("({})", words.into_iter().map(facet).collect::<Vec<_>>().join(" OR ")));
    }
    facets
}

struct Search<'a> {
    filter: &'a ListFilter,
    mine: Mine,
    expression: &'a str,
    before: Option<Cursor>,
    limit: u32,
}

impl Search<'_> {
    /// At least the first `limit` of the list's order. The index has those of one millisecond in an order of its
    /// own: all of the last one are read.
    async fn page(&self, store: &Store) -> Result<Vec<ExecutionRow>, StoreError> {
        let end =
            self.before.map_or(i64::MAX, |cursor| document::first_place(cursor.created_at.saturating_add(1)));
        let (mut found, last) = self.rows(store, Span { from: 0, before: end }, self.limit).await?;
        if let Some(last) = last.filter(|_| found.len() >= self.limit as usize) {
            let from = document::first_place(document::moment(last));
            let (rest, _) = self.rows(store, Span { from, before: last }, u32::MAX).await?;
            found.extend(rest);
        }
        Ok(found)
    }

    /// Rows, and the place of the last one.
    async fn rows(
        &self,
        store: &Store,
        span: Span,
        limit: u32,
    ) -> Result<(Vec<ExecutionRow>, Option<i64>), StoreError> {
        let few = match self.mine {
            Mine::Shared(user) => shares_are_few(store, user).await?,
            Mine::Any | Mine::Owned(_) => false,
        };
        let rows = self.query(span, limit, few).build().fetch_all(&store.shared.readers).await?;
        let place = |row: &SqliteRow| row.try_get("place");
        let last = rows.last().map(place).transpose()?;
        Ok((rows.iter().map(execution_row).collect::<Result<_, _>>()?, last))
    }

    fn query(&self, span: Span, limit: u32, few: bool) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(format!("SELECT {EXECUTION_COLUMNS}, e.place FROM "));
        // `CROSS JOIN` keeps the tables in this order.
        match self.mine {
            Mine::Shared(user) if few => {
                query.push("shares s CROSS JOIN executions e ON e.id = s.execution ");
                query.push("CROSS JOIN search f ON f.rowid = e.place WHERE s.user = ").push_bind(user.0);
                query.push(" AND e.owner_user IS NOT ").push_bind(user.0).push(" AND ");
            }
            Mine::Shared(user) => {
                query.push(FOUND);
                query.push(" CROSS JOIN shares s ON s.execution = e.id AND s.user = ").push_bind(user.0);
                query.push(" WHERE e.owner_user IS NOT ").push_bind(user.0).push(" AND ");
            }
            Mine::Owned(user) => {
                query.push(FOUND).push(" WHERE e.owner_user = ");
                query.push_bind(user.0).push(" AND ");
            }
            Mine::Any => {
                query.push(FOUND).push(" WHERE ");
            }
        }
        query.push("f.search MATCH ").push_bind(self.expression.to_owned());
        let place = if few { "e.place" } else { "f.rowid" };
        query.push(format!(" AND {place} >= ")).push_bind(span.from);
        query.push(format!(" AND {place} < ")).push_bind(span.before);
        if !self.filter.statuses.is_empty() {
            query.push(" AND e.status IN (");
            let mut statuses = query.separated(", ");
            for status in &self.filter.statuses {
                statuses.push_bind(status.as_str());
            }
            query.push(")");
        }
        if let Some(owner) = self.filter.owner {
            query.push(" AND e.owner_user = ").push_bind(owner.0);
        }
        if let Some(agent) = &self.filter.agent {
            query.push(" AND e.agent = ").push_bind(agent.clone());
        }
        if let Some(cursor) = self.before {
            query.push(" AND (e.created_at, e.id) < (").push_bind(cursor.created_at);
            query.push(", ").push_bind(cursor.id.0).push(")");
        }
        query.push(format!(" ORDER BY {place} DESC LIMIT ")).push_bind(limit);
        query
    }
}

async fn shares_are_few(store: &Store, user: UserId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT count(*) FROM (SELECT 1 FROM shares WHERE user = ?1 LIMIT ?2)")
        .bind(user.0)
        .bind(FEW + 1)
        .fetch_one(&store.shared.readers)
        .await?;
    Ok(row.try_get::<u32, _>(0)? <= FEW)
}

#[cfg(test)]
mod tests {
    use holdpoint_model::ExecutionId;
    use sqlx::{Connection as _, Execute as _, SqliteConnection};
    use uuid::Uuid;

    use super::*;

    /// A word that all have must not make a page cost more than its rows: the index gives them in order, and
    /// what it does not know is looked up in another.
    #[tokio::test]
    async fn no_search_sorts_what_it_finds() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.expect("open");
        sqlx::migrate!("./migrations").run_direct(None, &mut conn, false).await.expect("migrate");
        let user = UserId(Uuid::nil());
        let filters = [
            ListFilter::default(),
            ListFilter { statuses: vec![Status::Running, Status::Error], ..ListFilter::default() },
            ListFilter { owner: Some(user), agent: Some("claude".into()), ..ListFilter::default() },
        ];
        for filter in &filters {
            for mine in [Mine::Any, Mine::Owned(user), Mine::Shared(user)] {
                for before in [None, Some(Cursor { created_at: 1, id: ExecutionId(Uuid::nil()) })] {
                    let search = Search { filter, mine, expression: "title : \"x\"", before, limit: 50 };
                    let query = search.query(Span { from: 0, before: i64::MAX }, 50, false);
                    let plan = format!("EXPLAIN QUERY PLAN {}", { query }.build().sql().as_str());
                    let rows =
                        sqlx::query(sqlx::AssertSqlSafe(plan)).fetch_all(&mut conn).await.expect("explain");
                    let steps: Vec<String> = rows.iter().map(|row| row.try_get(3).expect("detail")).collect();
                    let has = |words: &str| steps.iter().any(|step| step.contains(words));
                    assert!(has("VIRTUAL TABLE") && has("executions_by_place"), "{steps:?}");
                    assert!(!has("TEMP B-TREE") && !has("SCAN e"), "{steps:?}");
                }
            }
        }
    }
}
