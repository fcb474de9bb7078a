//! An event that many look at.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use holdpoint_model::Event;

use crate::api::event_frame;

/// An event, and how the API sends it, once somebody asked for that.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The event.
    pub(crate) event: Event,
    frame: OnceLock<Bytes>,
}

impl Entry {
    pub(crate) fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, frame: OnceLock::new() })
    }

    /// As a server-sent event of the API. It is the same for all who may see the conversation.
    pub(crate) fn frame(&self) -> &Bytes {
        self.frame.get_or_init(|| event_frame(&self.event))
    }

    /// All of them in one piece: one write for each who wakes, however much there is.
    pub(crate) fn frames(entries: &[Arc<Self>]) -> Bytes {
        if let [entry] = entries {
            return entry.frame().clone();
        }
        let mut bytes = BytesMut::with_capacity(entries.iter().map(|entry| entry.frame().len()).sum());
        for entry in entries {
            bytes.extend_from_slice(entry.frame());
        }
        bytes.freeze()
    }
}
