//! Removing all containers that do not run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::{Record, Remove};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log;
use crate::wire::{ContainersPruned, Filters, point_in_time};

const FILTERS: [&str; 3] = ["label", "label!", "until"];

static RUNNING: AtomicBool = AtomicBool::new(false);

/// The one prune of containers that there is at a time.
struct Turn;

impl Turn {
    fn take() -> Result<Self> {
        if RUNNING.swap(true, Ordering::Acquire) {
            return Err(Error::conflict("a prune operation is already running"));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}

impl Engine {
    /// Removes what the filters leave of the containers that do not run.
    pub(crate) fn prune_containers(self: &Arc<Self>, filters: &Filters) -> Result<ContainersPruned> {
        let _turn = Turn::take()?;
        filters.check(&FILTERS)?;
        let until = prune_until(filters, Timestamp::now())?;
        let mut pruned = ContainersPruned::default();
        for container in self.containers.all() {
            if !is_chosen(&container.record(), filters, until) {
                continue;
            }
            let space = self.images.snapshot_space(&container.id).map_or(0, |space| space.bytes);
            match self.remove(&container.id, Remove::default()) {
                Ok(()) => {
                    pruned.space_reclaimed += space;
                    pruned.containers_deleted.get_or_insert_default().push(container.id.clone());
                }
                // Somebody has started or removed it meanwhile. The others are removed nevertheless.
                Err(error) => log::warn(&error.within(format!("failed to prune container {}", container.id))),
            }
        }
        let reclaimed = [("reclaimed".to_owned(), pruned.space_reclaimed.to_string())];
        self.events.publish("container", "prune", "", BTreeMap::from(reclaimed));
        Ok(pruned)
    }
}

fn is_chosen(record: &Record, filters: &Filters, until: Option<Timestamp>) -> bool {
    !record.state.status.is_running()
        && until.is_none_or(|until| record.created <= until)
        && filters.labels_fit(record.config.labels.as_ref())
}

/// The time that `until` of a prune means; there may be one.
pub(crate) fn prune_until(filters: &Filters, now: Timestamp) -> Result<Option<Timestamp>> {
    let mut values = filters.values("until");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => point_in_time(value, now).map(Some),
        (Some(_), Some(_)) => Err(Error::invalid("more than one until filter specified")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample};
    use super::*;

    #[test]
    fn what_runs_is_new_or_has_other_labels_stays() {
        let mut record = sample::record('f', "x");
        record.config.labels = Some(BTreeMap::from([("keep".to_owned(), String::new())]));
        let filters = |text: &str| Filters::parse(text).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let none = Filters::default();
        assert!(is_chosen(&record, &none, None));
        assert!(is_chosen(&record, &none, at(1000)) && !is_chosen(&record, &none, at(999)));
        assert!(is_chosen(&record, &filters(r#"{"label":["keep"]}"#), None));
        assert!(!is_chosen(&record, &filters(r#"{"label!":["keep"]}"#), None));
        record.state.status = Status::Restarting;
        assert!(!is_chosen(&record, &none, None));
    }

    #[test]
    fn until_is_one_time() {
        let now = Timestamp::from_second(10_000).unwrap();
        let until = |text: &str| prune_until(&Filters::parse(text).unwrap(), now);
        assert_eq!(until("{}").unwrap(), None);
        assert_eq!(until(r#"{"until":["1h"]}"#).unwrap().unwrap().as_second(), 6400);
        let error = until(r#"{"until":["1h","2h"]}"#).unwrap_err();
        assert_eq!(error.message, "more than one until filter specified");
    }

    #[test]
    fn there_is_one_prune_at_a_time() {
        let turn = Turn::take().unwrap();
        assert_eq!(Turn::take().err().unwrap().message, "a prune operation is already running");
        drop(turn);
        drop(Turn::take().unwrap());
    }
}
