//! Deletes what has been kept for long enough. Like the reconciler it takes no input and is safe to
//! repeat: rows first, with a note that their files are still there; the files of every such note after
//! that, whether this pass wrote it or one that was cut short.

use std::{io, path::Path, sync::Arc, time::Duration};

use holdpoint_beneath::{FileType, Folder, Found, Walk, kind, remove_tree, walk};
use holdpoint_model::{Actor, ExecutionId, KeepRules};
use holdpoint_store::{ApplyError, Deletable, Deleting, Deletion, Place, StoreError};
use thiserror::Error;
use tracing::{info, warn};

use crate::{Control, Inner, commands::blocking};

/// How often what has been kept for long enough is deleted.
const EVERY: Duration = Duration::from_secs(3600);

/// How long after the start it is looked at first, and again where the clock had jumped. A machine may
/// start with a clock that is far off and set right within seconds: what was deleted meanwhile is gone.
const WHEN_STEADY: Duration = Duration::from_secs(60);

/// Executions that one step of the hourly pass deletes.
const AT_ONCE: u32 = 100;

/// How long, and how often, a worker that is ending is waited for.
const GOODBYE_PAUSE: Duration = Duration::from_millis(100);
const GOODBYE_LOOKS: u32 = 100;

/// An execution that would be deleted now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which, and by which rule.
    pub execution: Deletable,
    /// How large its files are.
    pub files_bytes: u64,
}

/// Executions that would be deleted now.
#[derive(Clone, Debug)]
pub struct DuePage {
    /// The earliest ended first.
    pub items: Vec<Due>,
    /// Where the next page begins, if there is one.
    pub next: Option<Place>,
    /// How many there are on all pages.
    pub total: u64,
}

/// What was deleted just now.
#[derive(Clone, Debug)]
pub struct DeletedNow {
    /// Each with what it had.
    pub deletions: Vec<Deletion>,
    /// Executions whose rows are gone and whose files could not be deleted; the next pass tries again.
    pub files_left: Vec<ExecutionId>,
    /// Whether there is more to delete.
    pub more: bool,
}

/// Why nothing was deleted.
#[derive(Debug, Error)]
pub enum RetentionError {
    /// What is old cannot be told.
    #[error("the wall clock has jumped: nothing is deleted until it has gone on evenly for a minute")]
    Unsteady,
    /// The store failed. What was deleted before is deleted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one execution was not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// There is none.
    #[error("there is no such execution")]
    Unknown,
    /// It has not ended, or its worker has not yet.
    #[error("something of it still runs")]
    Running,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Control {
    /// Deletes one execution that is over, whatever is kept for how long, because a person wants it gone. Its
    /// worker may still be saying goodbye: that is waited for, for a while.
    ///
    /// # Errors
    /// As [`DeleteError`] says.
    pub async fn delete(&self, id: ExecutionId, by: &Actor, why: &str) -> Result<Deletion, DeleteError> {
        self.inner.delete_one(id, by, why).await
    }

    /// What would be deleted now, with sizes. Nothing is changed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn due_for_deletion(&self, after: Option<Place>, limit: u32) -> Result<DuePage, StoreError> {
        let inner = &self.inner;
        let (rules, now) = (inner.keep_rules(), inner.now());
        let total = inner.options.store.count_deletable(&rules, now).await?;
        let mut rows = inner.options.store.deletable(&rules, now, after, limit.saturating_add(1)).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(Deletable::place);
        let mut items = Vec::with_capacity(rows.len());
        for execution in rows {
            let files_bytes = inner.files_bytes(execution.id).await;
            items.push(Due { execution, files_bytes });
        }
        Ok(DuePage { items, next, total })
    }

    /// Deletes up to `limit` executions that have been kept for long enough, in the name of `by`.
    ///
    /// # Errors
    /// As [`RetentionError`] says.
    pub async fn delete_due(&self, by: &Actor, limit: u32) -> Result<DeletedNow, RetentionError> {
        self.inner.delete_due(by, limit).await
    }
}

impl Inner {
    /// Deletes by rule until the control plane ends.
    pub(crate) async fn delete_by_rule(self: Arc<Self>) {
        {
            let _one_at_a_time = self.deleting.lock().await;
            if let Err(error) = self.delete_files_left(&mut Vec::new()).await {
                warn!(%error, "failed to delete files of deleted conversations; trying again");
            }
        }
        let mut wait = WHEN_STEADY;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.delete_due(&Actor::system("retention"), AT_ONCE).await {
                Ok(DeletedNow { more: true, .. }) => Duration::ZERO,
                Ok(_) => {
                    if let Err(error) = self.sweep_uploads().await {
                        warn!(%error, "failed to give up old uploads; trying again");
                    }
                    EVERY
                }
                Err(error) => {
                    warn!(%error, "failed to delete what has been kept for long enough; trying again");
                    WHEN_STEADY
                }
            };
        }
    }

    /// Takes the words of what was deleted out of the search index's pages until the control plane ends: at the
    /// start those of a pass that was cut short.
    pub(crate) async fn purge_deleted(self: Arc<Self>) {
        loop {
            let purged = tokio::select! {
                () = self.stopping.cancelled() => return,
                purged = self.options.store.purge_search() => purged,
            };
            let again = match purged {
                Ok(()) => EVERY,
                Err(error) => {
                    warn!(%error, "failed to take what was deleted out of the search index; trying again");
                    WHEN_STEADY
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.purging.notified() => {}
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    async fn delete_one(&self, id: ExecutionId, by: &Actor, why: &str) -> Result<Deletion, DeleteError> {
        let files_bytes = self.files_bytes(id).await;
        let deleting = Deleting { by: by.clone(), why: why.to_owned(), files_bytes };
        let mut looks = 0;
        let deletion = loop {
            match self.options.store.delete_execution(id, deleting.clone()).await {
                Ok(deletion) => break deletion,
                Err(ApplyError::UnknownExecution) => return Err(DeleteError::Unknown),
                Err(ApplyError::Refused(_)) if looks == GOODBYE_LOOKS => return Err(DeleteError::Running),
                Err(ApplyError::Refused(_)) => looks += 1,
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
            tokio::time::sleep(GOODBYE_PAUSE).await;
        };
        info!(execution = %id, why = %deletion.why, bytes = files_bytes, "deleted a conversation");
        self.purging.notify_one();
        let _one_at_a_time = self.deleting.lock().await;
        self.delete_files_left(&mut Vec::new()).await?;
        Ok(deletion)
    }

    fn keep_rules(&self) -> KeepRules {
        KeepRules::new(&self.releases.deployed().agents, self.options.keep)
    }

    async fn delete_due(&self, by: &Actor, limit: u32) -> Result<DeletedNow, RetentionError> {
        // The timer and people at once would only tread on each other's files.
        let _one_at_a_time = self.deleting.lock().await;
        if !self.clock.is_steady(self.now()) {
            return Err(RetentionError::Unsteady);
        }
        let store = &self.options.store;
        let mut due = store.deletable(&self.keep_rules(), self.now(), None, limit.saturating_add(1)).await?;
        let mut deleted =
            DeletedNow { deletions: Vec::new(), files_left: Vec::new(), more: due.len() > limit as usize };
        due.truncate(limit as usize);
        for execution in due {
            if self.stopping.is_cancelled() {
                deleted.more = true;
                break;
            }
            let files_bytes = self.files_bytes(execution.id).await;
            let deleting = Deleting { by: by.clone(), why: execution.why(), files_bytes };
            match store.delete_execution(execution.id, deleting).await {
                Ok(deletion) => {
                    info!(execution = %execution.id, why = %deletion.why, bytes = files_bytes, "deleted a conversation");
                    deleted.deletions.push(deletion);
                }
                // It has moved on since it was listed.
                Err(ApplyError::Refused(_) | ApplyError::UnknownExecution) => {}
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        if !deleted.deletions.is_empty() {
            self.purging.notify_one();
        }
        self.delete_files_left(&mut deleted.files_left).await?;
        Ok(deleted)
    }

    /// Deletes the files of every execution whose rows are gone, and notes it. What cannot be deleted goes
    /// to `left`.
    async fn delete_files_left(&self, left: &mut Vec<ExecutionId>) -> Result<(), StoreError> {
        let store = &self.options.store;
        let mut after = None;
        loop {
            let page = store.deleted_with_files(after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            for id in page {
                match self.delete_beside_the_rows(id).await {
                    Ok(()) => store.files_are_gone(id).await?,
                    Err(error) => {
                        warn!(execution = %id, %error, "failed to delete the files of a deleted conversation");
                        left.push(id);
                    }
                }
            }
        }
    }

    /// Deletes what an execution has beside its rows. Whatever fails here is tried again until all of it
    /// has worked once.
    async fn delete_beside_the_rows(&self, id: ExecutionId) -> io::Result<()> {
        self.delete_checkpoints(id).await.map_err(io::Error::other)?;
        let folder = self.options.layout.execution(id);
        blocking(move || remove_tree(&folder)).await
    }

    async fn files_bytes(&self, id: ExecutionId) -> u64 {
        let folder = self.options.layout.execution(id);
        blocking(move || bytes_below(&folder)).await.unwrap_or_default()
    }
}

/// Files looked at to say how much a conversation takes: of a session that made more, less is said.
const MAX_WALKED: usize = 1_000_000;

/// The bytes that all files below a folder take, holes left out. Links count for nothing.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    walk(&Folder::open(folder)?, MAX_WALKED, &|_, _| true, &mut |_, found| {
        if let Found::Other { stat, .. } = found
            && kind(stat) == FileType::RegularFile
        {
            let taken = stat.st_size.min(stat.st_blocks.saturating_mul(512));
            bytes = bytes.saturating_add(u64::try_from(taken).unwrap_or_default());
        }
        Walk::Continue
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_conversation_takes_is_what_its_files_do() {
        let dir = tempfile::tempdir().expect("dir");
        let (outside, tree) = (dir.path().join("outside"), dir.path().join("tree"));
        fs::create_dir_all(tree.join("a")).expect("folders");
        fs::create_dir(&outside).expect("folder");
        fs::write(outside.join("mine"), "12345").expect("file");
        fs::write(tree.join("a/file"), "123").expect("file");
        fs::File::create(tree.join("holes")).expect("file").set_len(1 << 42).expect("length");
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).expect("link");
        assert_eq!(bytes_below(&tree).expect("walked"), 3, "links and holes count for nothing");
        bytes_below(&dir.path().join("gone")).expect_err("nothing is there");
    }
}
