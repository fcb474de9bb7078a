//! Following a conversation as a browser does: a stream that is taken up again where it broke off.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::sync::watch;

use super::{check::Event, world::World};

/// The server says something at least every 15 s; one that does not is not there any more.
const SILENCE: Duration = Duration::from_secs(25);

/// Before a stream is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(80);

/// Everything that was seen, in the order in which it came; ends with the conversation, or aborted.
#[derive(Debug)]
pub(super) struct Watching {
    task: tokio::task::JoinHandle<()>,
    seen: watch::Receiver<Vec<Event>>,
}

impl Watching {
    pub(super) fn begin(world: Arc<World>, id: String) -> Self {
        let (told, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(async move { follow(&world, &id, &told).await });
        Self { task, seen }
    }

    /// Waits for something new, or for so long.
    pub(super) async fn news(&mut self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.seen.changed()).await;
    }

    /// Whether an event of this kind was seen after the first `after` events; and how many there are.
    pub(super) fn has_after(&self, kinds: &[&str], after: usize) -> bool {
        self.seen.borrow().iter().skip(after).any(|event| kinds.contains(&event.kind.as_str()))
    }

    /// Gives the rest a moment to come, then ends.
    pub(super) async fn end(mut self, at_most: Duration) -> Vec<Event> {
        if tokio::time::timeout(at_most, &mut self.task).await.is_err() {
            self.task.abort();
        }
        self.seen.borrow().clone()
    }
}

async fn follow(world: &World, id: &str, told: &watch::Sender<Vec<Event>>) {
    let mut after = 0;
    loop {
        if let Ok(mut stream) = world.people[0].stream(id, after).await {
            while let Ok(Some(Ok(sent))) = tokio::time::timeout(SILENCE, stream.next()).await {
                if sent.event == "end" {
                    return;
                }
                let Ok(event) = serde_json::from_str::<Event>(&sent.data) else { continue };
                // The last whole one is where a browser would begin again.
                after = event.seq;
                world.saw(id, &event);
                told.send_modify(|seen| seen.push(event));
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
