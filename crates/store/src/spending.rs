//! What is spent and set aside: read before a call begins, added to when one is settled.

use holdpoint_model::budget::{Span, day_of};
use holdpoint_model::{Command, Execution, ExecutionId, PerSpan, Sums, UnixMs, UserId};
use sqlx::Row as _;

use crate::codec::{signed, unsigned};
use crate::writer::Tx;
use crate::{ApplyError, StoreError};

/// On whose account a conversation's calls are.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) agent: String,
    pub(crate) owner: Option<UserId>,
}

impl Account {
    pub(crate) fn of(execution: &Execution) -> Self {
        Self { agent: execution.agent.clone(), owner: execution.owner.user }
    }
}

/// How the ledger knows a person.
fn person(user: UserId) -> String {
    user.0.simple().to_string()
}

/// Refuses a call that does not fit into every budget. Without any budget nothing is read.
pub(crate) async fn afford(tx: &mut Tx, id: ExecutionId, call_micros: u64) -> Result<Account, ApplyError> {
    let now = tx.now();
    let budgets = tx.budgets();
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    let account = Account::of(execution);
    if budgets.of(execution, &Sums::default(), now).is_empty() {
        return Ok(account);
    }
    let (spent, set_aside) = sums(tx, id, &account, now).await?;
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    Execution::affords(call_micros, &budgets.of(execution, &spent, now), &set_aside)?;
    Ok(account)
}

/// Adds the cost of a call that began at `started_at`, and warns where little is left.
pub(crate) async fn settle(
    tx: &mut Tx,
    id: ExecutionId,
    started_at: UnixMs,
    cost_micros: u64,
) -> Result<(), ApplyError> {
    let now = tx.now();
    let budgets = tx.budgets();
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    if execution.rehearsal || cost_micros == 0 {
        return Ok(());
    }
    let (account, shares) = (Account::of(execution), budgets.bound(execution));
    let subjects =
        [Some(("agent", account.agent.clone())), account.owner.map(|user| ("person", person(user)))];
    for (whose, subject) in subjects.into_iter().flatten() {
        sqlx::query(
            "INSERT INTO spending (whose, subject, day, spent_micros) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (whose, subject, day) DO UPDATE SET spent_micros = spent_micros + ?4",
        )
        .bind(whose)
        .bind(subject)
        .bind(day_of(started_at))
        .bind(signed(cost_micros))
        .execute(tx.writing().await?)
        .await?;
    }
    let spent = if shares { sums(tx, id, &account, now).await?.0 } else { Sums::default() };
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    let used = budgets.of(execution, &spent, now);
    if !used.is_empty() {
        tx.command(id, Command::BudgetsUsed(used)).await?;
    }
    Ok(())
}

/// What is spent in the periods of `now`, and what calls under way may still cost: one look, for a call waits
/// for it. What is spent is at most 31 rows of agent and person each. Calls under way are few, and their index
/// holds no others; only those of this period count for it, as their costs will.
async fn sums(
    tx: &mut Tx,
    id: ExecutionId,
    account: &Account,
    now: UnixMs,
) -> Result<(Sums, Sums), StoreError> {
    let row = sqlx::query(
        "SELECT a.*, p.*, o.* FROM
           (SELECT coalesce(sum(spent_micros) FILTER (WHERE day = ?6), 0), coalesce(sum(spent_micros), 0)
            FROM spending WHERE whose = 'agent' AND subject = ?2 AND day BETWEEN ?5 AND ?6) a,
           (SELECT coalesce(sum(spent_micros) FILTER (WHERE day = ?6), 0), coalesce(sum(spent_micros), 0)
            FROM spending WHERE whose = 'person' AND subject = ?4 AND day BETWEEN ?5 AND ?6) p,
           (SELECT coalesce(sum(reserved_micros) FILTER (WHERE execution = ?1), 0),
                coalesce(sum(reserved_micros) FILTER (WHERE agent = ?2 AND started_at / 86400000 >= ?6), 0),
                coalesce(sum(reserved_micros) FILTER (WHERE agent = ?2 AND started_at / 86400000 >= ?5), 0),
                coalesce(sum(reserved_micros) FILTER (WHERE owner_user = ?3 AND started_at / 86400000 >= ?6), 0),
                coalesce(sum(reserved_micros) FILTER (WHERE owner_user = ?3 AND started_at / 86400000 >= ?5), 0)
            FROM model_calls WHERE state = 'open') o",
    )
    .bind(id.0)
    .bind(&account.agent)
    .bind(account.owner.map(|user| user.0))
    .bind(account.owner.map(person))
    .bind(Span::Month.first_day(now))
    .bind(day_of(now))
    .fetch_one(tx.reading())
    .await?;
    let sum = |column: usize| unsigned("a sum of costs", row.try_get(column)?);
    let per_span = |first: usize| Ok::<_, StoreError>(PerSpan { day: sum(first)?, month: sum(first + 1)? });
    let spent = Sums { agent: per_span(0)?, person: per_span(2)?, conversation: 0 };
    let set_aside = Sums { conversation: sum(4)?, agent: per_span(5)?, person: per_span(7)? };
    Ok((spent, set_aside))
}
