//! Restart policies, and a user's restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::stop::give_up_restart;
use super::{Container, Done, Record, Status, Stop};
use crate::engine::Engine;
use crate::error::Result;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// A run of this length shows that the container works: the delays begin anew.
const LONG_RUN: i64 = 10;

/// How long to wait before the next start; none: the policy wants no start.
pub(super) fn delay(record: &Record, exit_code: i32, finished: Timestamp) -> Option<Duration> {
    let policy = &record.host_config.restart_policy;
    let wanted = !record.removing
        && match policy.name.as_str() {
            "always" => true,
            "unless-stopped" => !record.stopped_by_hand,
            "on-failure" => {
                let most = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
                exit_code != 0 && (most == 0 || record.restart_count < most)
            }
            _ => false,
        };
    if !wanted {
        return None;
    }
    if was_long(record, finished) {
        return Some(FIRST_DELAY);
    }
    let doubled = FIRST_DELAY.checked_mul(1 << record.short_runs.min(10)).unwrap_or(LONGEST_DELAY);
    Some(doubled.min(LONGEST_DELAY))
}

/// Whether the run that ended then was one of a container that works.
pub(super) fn was_long(record: &Record, finished: Timestamp) -> bool {
    record.state.started.is_some_and(|started| finished.duration_since(started).as_secs() >= LONG_RUN)
}

/// Waits, unless a user wants no more of it, and starts again. Runs in the thread that saw the end.
pub(super) fn after(engine: &Arc<Engine>, container: &Arc<Container>, delay: Duration) -> Result<()> {
    container.wait_until(Some(delay), |turn| turn.given_up);
    let act = container.begin_act();
    let record = container.record();
    if record.state.status != Status::Restarting {
        return Ok(());
    }
    if record.removing || container.policy_is_off.load(Ordering::Acquire) {
        // Whoever did it came when the end had been judged, and saw a container that runs.
        drop(act);
        return give_up_restart(container);
    }
    let started = engine.launch(container);
    drop(act);
    started
}

impl Engine {
    /// Stops a container, if it runs, and starts it.
    pub(crate) fn restart(self: &Arc<Self>, name: &str, stop: &Stop) -> Result<()> {
        let container = self.containers.find(name)?;
        self.stop(&container.id, stop)?;
        match self.start(&container.id)? {
            Done::Changed | Done::Already => {}
        }
        self.events.of_container("restart", &container.record(), &[]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::sample::record;
    use crate::wire::RestartPolicy;

    fn ended(policy: &str, most: i64, lasted: i64) -> (Record, Timestamp) {
        let mut record = record('a', "web");
        record.host_config.restart_policy =
            RestartPolicy { name: policy.to_owned(), maximum_retry_count: most };
        let started = Timestamp::from_second(1000).unwrap();
        record.state.started = Some(started);
        (record, Timestamp::from_second(1000 + lasted).unwrap())
    }

    #[test]
    fn policies_and_users_decide() {
        let wanted = |policy: &str, code: i32, change: fn(&mut Record)| {
            let (mut record, finished) = ended(policy, 2, 1);
            change(&mut record);
            delay(&record, code, finished).is_some()
        };
        assert!(
            wanted("always", 0, |_| ())
                && wanted("unless-stopped", 1, |_| ())
                && wanted("on-failure", 1, |_| ())
        );
        assert!(!wanted("on-failure", 0, |_| ()) && !wanted("no", 1, |_| ()) && !wanted("", 1, |_| ()));
        assert!(!wanted("on-failure", 1, |record| record.restart_count = 2));
        assert!(!wanted("unless-stopped", 1, |record| record.stopped_by_hand = true));
        // A stop that was cut off: this engine knows of none.
        assert!(wanted("always", 0, |record| record.stopped_by_hand = true));
        assert!(wanted("on-failure", 1, |record| record.stopped_by_hand = true));
        assert!(!wanted("always", 1, |record| record.removing = true));
    }

    #[test]
    fn short_runs_in_a_row_wait_longer_and_a_long_one_begins_anew() {
        let (mut record, finished) = ended("always", 0, 1);
        record.restart_count = 500;
        let mut waits = |short_runs, finished| {
            record.short_runs = short_runs;
            delay(&record, 1, finished).unwrap()
        };
        assert_eq!([0, 1, 3].map(|runs| waits(runs, finished).as_millis()), [100, 200, 800]);
        assert_eq!(waits(40, finished), LONGEST_DELAY);
        assert_eq!(waits(40, Timestamp::from_second(1010).unwrap()), FIRST_DELAY);
    }
}
