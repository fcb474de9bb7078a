//! What there is to find of an execution, and keeping it in the index. Written in the transaction of the event that
//! changes it.

use holdpoint_model::execution::Outcome;
use holdpoint_model::{Execution, ExecutionId, UserId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::purge;
use crate::StoreError;

/// How much of a text is looked through, in bytes: some five thousand words. The writer has to take them all in
/// again whenever a turn ends.
const MAX_TEXT_BYTES: usize = 32 * 1024;

/// Places in one millisecond.
const PLACES_BITS: u32 = 20;

/// The latest time that has places: in the year 2248.
const MAX_AT: i64 = (1 << 43) - 1;

/// The first place of a millisecond.
pub(super) fn first_place(at: i64) -> i64 {
    at.clamp(0, MAX_AT) << PLACES_BITS
}

/// The millisecond of a place.
pub(super) fn moment(place: i64) -> i64 {
    place >> PLACES_BITS
}

/// The facet of what a person owns.
pub(super) fn owned_by(user: UserId) -> String {
    format!("u{}", user.0.simple())
}

/// The facet of what has not ended.
pub(super) const OPEN: &str = "open";

/// What is in the index, column by column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    title: String,
    author: String,
    agent: String,
    tags: String,
    input: String,
    result: String,
    facets: String,
}

impl Document {
    /// `said` is what people have written since the text in `before`.
    fn of(execution: &Execution, before: Option<String>, said: &[String]) -> Self {
        let mut input = before.unwrap_or_else(|| {
            let mut input = String::new();
            execution.inputs.values().for_each(|value| add(&mut input, value));
            input
        });
        said.iter().for_each(|text| add(&mut input, text));
        let definition = &execution.definition;
        let ended = if execution.status.is_final() { execution.status.as_str() } else { OPEN };
        Self {
            title: execution.title.clone(),
            author: execution.owner.name.clone(),
            agent: format!("{} {}", execution.agent, definition.title),
            tags: definition.tags.join(" "),
            input,
            result: result_of(execution),
            facets: match execution.owner.user {
                Some(user) => format!("{ended} {}", owned_by(user)),
                None => ended.to_owned(),
            },
        }
    }

    fn columns(&self) -> [&str; 7] {
        [&self.title, &self.author, &self.agent, &self.tags, &self.input, &self.result, &self.facets]
    }

    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            title: row.try_get(1)?,
            author: row.try_get(2)?,
            agent: row.try_get(3)?,
            tags: row.try_get(4)?,
            input: row.try_get(5)?,
            result: row.try_get(6)?,
            facets: row.try_get(7)?,
        })
    }
}

/// What came of it: how it ended, or what was said last.
fn result_of(execution: &Execution) -> String {
    let last = execution.last_turn.as_ref().map(|turn| turn.text.as_str()).unwrap_or_default();
    let mut result = String::new();
    match &execution.outcome {
        Some(Outcome::Finished { result: text, .. }) => add(&mut result, text),
        Some(Outcome::Failed { error }) => {
            for text in [&error.title, &error.detail, &error.code] {
                add(&mut result, text);
            }
        }
        Some(Outcome::Cancelled { .. }) | None => add(&mut result, last),
    }
    result
}

/// Adds a text that is not in it yet, as far as there is room. One after the other or all at once is the same: a
/// rebuild has to come to what was there.
fn add(texts: &mut String, text: &str) {
    let text = text.trim();
    if text.is_empty() || texts.len() >= MAX_TEXT_BYTES || texts.contains(text) {
        return;
    }
    if !texts.is_empty() {
        texts.push('\n');
    }
    let room = MAX_TEXT_BYTES.saturating_sub(texts.len());
    texts.push_str(&text[..text.floor_char_boundary(room)]);
}

/// What the index has to be told about one execution.
#[derive(Debug)]
pub(crate) struct Change {
    place: i64,
    /// What it had been told; None for one that it does not know yet.
    old: Option<Document>,
    new: Document,
}

/// Brings the document of an execution up to date, but for the index over it: that is for [`index`] to do. None
/// where there is nothing else to find than before.
pub(crate) async fn write(
    conn: &mut SqliteConnection,
    execution: &Execution,
    said: &[String],
) -> Result<Option<Change>, StoreError> {
    let Some((place, old)) = read(conn, execution.id).await? else {
        let place = free_place(conn, execution.created_at).await?;
        let new = Document::of(execution, None, said);
        let sql =
            "INSERT INTO documents (place, execution, title, author, agent, tags, input, result, facets)
                   VALUES (?8, ?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        columns(sql, &new).bind(place).bind(execution.id.0).execute(conn).await?;
        return Ok(Some(Change { place, old: None, new }));
    };
    let new = Document::of(execution, Some(old.input.clone()), said);
    if new == old {
        return Ok(None);
    }
    let sql = "UPDATE documents SET title = ?1, author = ?2, agent = ?3, tags = ?4, input = ?5, result = ?6,
                   facets = ?7 WHERE place = ?8";
    columns(sql, &new).bind(place).execute(conn).await?;
    Ok(Some(Change { place, old: Some(old), new }))
}

/// Brings the index up to date with what a commit changes: by place, because it begins another segment, which is to
/// be merged with all others, whenever it is told of a row before the last one.
pub(crate) async fn index(conn: &mut SqliteConnection, mut changes: Vec<Change>) -> Result<(), StoreError> {
    changes.sort_unstable_by_key(|change| change.place);
    for Change { place, old, new } in &changes {
        if let Some(old) = old {
            unindex(conn, *place, old).await?;
        }
        let sql = "INSERT INTO search (rowid, title, author, agent, tags, input, result, facets)
                   VALUES (?8, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        columns(sql, new).bind(place).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Takes an execution out of the index: nobody finds it any more. Its words are in pages of the index until
/// [`Store::purge_search`](crate::Store::purge_search) has run, which is noted.
pub(crate) async fn delete(conn: &mut SqliteConnection, id: ExecutionId) -> Result<(), StoreError> {
    let Some((place, old)) = read(conn, id).await? else { return Ok(()) };
    unindex(conn, place, &old).await?;
    sqlx::query("DELETE FROM documents WHERE place = ?1").bind(place).execute(&mut *conn).await?;
    purge::note(conn).await
}

/// Takes everything out of the index.
pub(crate) async fn clear(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO search (search) VALUES ('delete-all')").execute(&mut *conn).await?;
    // What it was made with. It looks for every word of a row that changes from the oldest row on, so that the
    // one writer takes the longer, the more there is; `purge` does the same once, for all that were deleted.
    sqlx::query("INSERT INTO search (search, rank) VALUES ('secure-delete', 0)").execute(&mut *conn).await?;
    sqlx::query("DELETE FROM documents").execute(conn).await?;
    Ok(())
}

async fn read(conn: &mut SqliteConnection, id: ExecutionId) -> Result<Option<(i64, Document)>, StoreError> {
    let row = sqlx::query(
        "SELECT place, title, author, agent, tags, input, result, facets FROM documents WHERE execution = ?1",
    )
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((row.try_get(0)?, Document::of_row(&row)?))).transpose()
}

/// The place after all others of that millisecond.
async fn free_place(conn: &mut SqliteConnection, at: i64) -> Result<i64, StoreError> {
    let first = first_place(at);
    let row = sqlx::query("SELECT max(place) FROM documents WHERE place BETWEEN ?1 AND ?2")
        .bind(first)
        .bind(first + (1 << PLACES_BITS) - 1)
        .fetch_one(conn)
        .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map_or(first, |last| last + 1))
}

/// The index has to be told what it had been told.
async fn unindex(conn: &mut SqliteConnection, place: i64, document: &Document) -> Result<(), StoreError> {
    let sql = "INSERT INTO search (search, rowid, title, author, agent, tags, input, result, facets)
               VALUES ('delete', ?8, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    columns(sql, document).bind(place).execute(conn).await?;
    Ok(())
}

type Query<'a> = sqlx::query::Query<'a, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn columns<'a>(sql: &'static str, document: &'a Document) -> Query<'a> {
    document.columns().into_iter().fold(sqlx::query(sql), |query, column| query.bind(column))
}
