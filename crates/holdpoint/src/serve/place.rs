//! The data folder's own path, for ever the same while conversations go on (invariant 9).

use anyhow::Context as _;
use holdpoint_model::Status;
use holdpoint_store::{ListFilter, Store};

use crate::{data::DataDir, failure::Failure};

/// Under which name the store keeps the path.
const SETTING: &str = "data_path";

/// Records where the data folder is, or refuses one that was moved under conversations that are not
/// over: transcripts hold absolute paths, and a resumed session would write to the old ones (seen with
/// 2.1.330).
pub(super) async fn same_as_before(store: &Store, data: &DataDir) -> anyhow::Result<()> {
    let here = data.root().canonicalize().context("failed to find the data folder's path")?;
    let here = here.to_str().context("the data folder's path is no text")?;
    let before = store.setting(SETTING).await?;
    match before.as_deref() {
        Some(before) if before == here => return Ok(()),
        Some(before) if going_on(store).await? => return Err(moved(before, here).into()),
        _ => {}
    }
    Ok(store.set_setting(SETTING, here).await?)
}

async fn going_on(store: &Store) -> anyhow::Result<bool> {
    let statuses = vec![Status::Starting, Status::Running, Status::Awaiting];
    let filter = ListFilter { statuses, ..ListFilter::default() };
    Ok(!store.list(&filter, None, 1).await?.is_empty())
}

fn moved(before: &str, here: &str) -> Failure {
    let failure = Failure::new(format!("the data folder was at {before}, and is now at {here}"))
        .why("conversations that are not over hold absolute paths: resumed here, they would write to the old place");
    ways_back(before, here).into_iter().fold(failure, Failure::next)
}

/// What to type so that a data folder is again where its conversations can go on.
#[must_use]
pub fn ways_back(before: &str, here: &str) -> [String; 2] {
    [
        format!("mv {here} {before}     (put it back)"),
        format!("mkdir -p {before} && mount --bind {here} {before} && holdpoint --data {before} up"),
    ]
}
