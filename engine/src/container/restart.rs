//! Restart policies, and a user's restart.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

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
    let wanted = !record.stopped_by_hand
        && !record.removing
        && match policy.name.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => {
                let most = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
                exit_code != 0 && (most == 0 || record.restart_count < most)
            }
            _ => false,
        };
    if !wanted {
        return None;
    }
    let lasted = record.state.started.map_or(0, |started| finished.duration_since(started).as_secs());
    if lasted >= LONG_RUN {
        return Some(FIRST_DELAY);
    }
    let doubled = FIRST_DELAY.checked_mul(1 << record.restart_count.min(10)).unwrap_or(LONGEST_DELAY);
    Some(doubled.min(LONGEST_DELAY))
}

/// Waits, unless a user wants no more of it, and starts again. Runs in the thread that saw the end.
pub(super) fn after(engine: &Arc<Engine>, container: &Arc<Container>, delay: Duration) -> Result<()> {
    container.wait_until(Some(delay), |turn| turn.given_up);
    let act = container.begin_act();
    if container.record().state.status != Status::Restarting {
        return Ok(());
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
