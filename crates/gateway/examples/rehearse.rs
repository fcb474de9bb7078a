//! Serves a script on a loopback port, to try it with a Claude CLI:
//! `cargo run -p holdpoint-gateway --example rehearse -- crates/gateway/scripts/tour.yaml`

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use holdpoint_gateway::{
    MemoryRecorder, Rehearsal, Script,
    rehearsal::{Always, Journal},
    testing,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: rehearse <script.yaml> [journal.jsonl]")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let script = Script::parse(&text, &path.display().to_string())?;
    let journal = match std::env::args().nth(2) {
        Some(journal) => Journal::file(journal.as_ref()).context("opening the journal")?,
        None => Journal::memory(),
    };
    let rehearsal = Rehearsal::new(Always(Arc::new(script)), journal.clone());
    let (base_url, handle) = testing::serve(Arc::new(rehearsal), MemoryRecorder::new(), journal).await?;
    println!("ANTHROPIC_BASE_URL={base_url} ANTHROPIC_API_KEY=anything claude");
    tokio::signal::ctrl_c().await?;
    handle.stop().await;
    Ok(())
}
