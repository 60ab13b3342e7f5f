//! What happens, told to whoever listens: the last 256 events, and every new one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::container::Record;

/// Events that are kept for `since`, as many as Docker keeps.
const KEPT: usize = 256;
/// Events that a slow listener may be behind before it loses the oldest.
const BEHIND: usize = 1024;

/// One event. `kind` is what it happened to: `container`, `image`, `network`, `volume`, `daemon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: &'static str,
    pub(crate) action: String,
    /// The object's full ID, or its name where it has none.
    pub(crate) id: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) time: Timestamp,
}

/// All events of an engine.
pub(crate) struct Events {
    kept: Mutex<VecDeque<Event>>,
    told: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(VecDeque::with_capacity(KEPT)), told: broadcast::Sender::new(BEHIND) }
    }

    pub(crate) fn publish(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let time = Timestamp::now();
        let event = Event { kind, action: action.into(), id: id.to_owned(), attributes, time };
        let mut kept = self.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Under the lock, so that a new listener misses nothing and gets nothing twice. Nobody may listen.
        let _ = self.told.send(event);
    }

    /// An event of a container has its labels, its image and its name, and what is special to the action.
    pub(crate) fn of_container(
        &self,
        action: impl Into<String>,
        record: &Record,
        special: &[(&str, String)],
    ) {
        let labels = record.config.labels.iter().flatten();
        let mut attributes: BTreeMap<String, String> =
            labels.map(|(name, value)| (name.clone(), value.clone())).collect();
        attributes.insert("image".to_owned(), record.config.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(special.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.publish("container", action, &record.id, attributes);
    }

    /// What is kept, and everything after it.
    pub(crate) fn listen(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.lock();
        (kept.iter().cloned().collect(), self.told.subscribe())
    }

    pub(crate) fn listeners(&self) -> usize {
        self.told.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_new_ones_are_told() {
        let events = Events::new();
        for number in 0..300 {
            events.publish("volume", "create", &number.to_string(), BTreeMap::new());
        }
        let (kept, mut told) = events.listen();
        assert_eq!((kept.len(), kept[0].id.as_str()), (KEPT, "44"));
        events.publish("volume", "destroy", "x", BTreeMap::new());
        assert_eq!(told.try_recv().unwrap().action, "destroy");
        assert!(told.try_recv().is_err());
    }
}
