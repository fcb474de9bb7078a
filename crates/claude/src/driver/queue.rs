//! The way of events from the reader to the host.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::event::Event;

/// How many events wait for the host. When it is full the driver reads no further, and the CLI buffers. A
/// host that stays behind by thousands of whole blocks is not reading at all.
pub const EVENT_QUEUE_LEN: usize = 4096;

/// How many events may wait before partial stream events are dropped: they are for the eye, and a host that
/// is this far behind has no use for them.
pub const DELTA_QUEUE_LEN: usize = 1024;

/// How much the waiting events may weigh, in KiB of their JSON: twice the longest line.
const EVENT_QUEUE_KIB: u32 = 128 * 1024;

struct Queued {
    event: Event,
    _weight: OwnedSemaphorePermit,
}

pub(super) fn queue() -> (EventSender, Events) {
    let (sender, receiver) = mpsc::channel(EVENT_QUEUE_LEN);
    let room = Arc::new(Semaphore::new(EVENT_QUEUE_KIB as usize));
    (EventSender { sender, room, dropped: 0 }, Events { receiver })
}

pub(super) struct EventSender {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    dropped: u64,
}

impl EventSender {
    /// Queues an event that weighs `bytes`. Waits for room, except for partial stream events.
    pub(super) async fn push(&mut self, event: Event, bytes: usize) {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        if matches!(event, Event::StreamEvent(_)) && waiting >= DELTA_QUEUE_LEN {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.enqueue(Event::DeltasDropped(dropped), 0).await;
        }
        self.enqueue(event, bytes).await;
    }

    async fn enqueue(&self, event: Event, bytes: usize) {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, EVENT_QUEUE_KIB);
        // Neither fails but when the host has dropped its end; then nobody misses the event.
        let Ok(weight) = self.room.clone().acquire_many_owned(kib).await else { return };
        let _ = self.sender.send(Queued { event, _weight: weight }).await;
    }
}

/// The events of a session, in order, ending after [`Event::Exited`].
///
/// Keep reading: what a session says, and also the replies to control requests, come through one pipe. A host
/// that stops reading stops getting replies after [`EVENT_QUEUE_LEN`] events.
pub struct Events {
    receiver: mpsc::Receiver<Queued>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.receiver.len()).finish()
    }
}

impl Events {
    /// The next event, or `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        Some(self.receiver.recv().await?.event)
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(context).map(|queued| Some(queued?.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Frame, parse_line};

    fn event(line: &str) -> Event {
        match parse_line(line.as_bytes(), frame::Context::default()) {
            Ok(Frame::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn deltas_are_dropped_and_counted_before_anything_waits() {
        let (mut sender, mut events) = queue();
        let delta = event(r#"{"type":"stream_event","event":{"type":"ping"}}"#);
        let whole = event(r#"{"type":"keep_alive"}"#);
        for _ in 0..DELTA_QUEUE_LEN + 5 {
            sender.push(delta.clone(), 100).await;
        }
        sender.push(whole, 100).await;
        drop(sender);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event);
        }
        assert_eq!(seen.len(), DELTA_QUEUE_LEN + 2);
        assert!(matches!(seen[DELTA_QUEUE_LEN], Event::DeltasDropped(5)));
        assert!(matches!(seen[DELTA_QUEUE_LEN + 1], Event::Notice(_)));
    }

    #[tokio::test]
    async fn one_event_heavier_than_the_queue_still_passes() {
        let (mut sender, mut events) = queue();
        sender.push(event(r#"{"type":"keep_alive"}"#), usize::MAX).await;
        assert!(events.next().await.is_some());
    }
}
