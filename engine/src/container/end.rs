//! The end of a container's process: what is noted, what is cleared, who is told, and whether it starts again.
//!
//! Each running container has a thread here that waits for its monitor's last word. The order is Docker's: the process is
//! reaped and its output complete (the monitor), the record says so, `die` is told, waiters wake, `--rm` removes.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::{Container, Record, Status, oom, restart, start};
use crate::engine::Engine;
use crate::error::{During as _, Result};
use crate::log;
use crate::monitor::{Connection, Exit};
use crate::network;
use crate::volume;

/// The exit code of a container whose end nobody saw.
pub(super) const LOST: i32 = 255;
/// The exit code of a process that SIGKILL ended, as the kernel does when memory runs out.
const KILLED: i32 = 137;

/// Waits for the end of a container's process in a thread of its own. `monitor` is the monitor, if it is our child.
pub(super) fn watch(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    connection: Connection,
    monitor: Option<Child>,
) -> Result<()> {
    let (engine, watched) = (Arc::clone(engine), Arc::clone(container));
    start::spawn(format!("end {}", container.record().short_id()), move || {
        let exit = engine.monitor_of(&watched.id).last_word(connection);
        if let Some(mut monitor) = monitor
            && let Err(error) = monitor.wait().while_doing("wait for a monitor")
        {
            log::warn(&error);
        }
        engine.ended(&watched, exit.inspect_err(|error| log::warn(error)).ok().flatten());
    })
}

impl Engine {
    /// Acts on the end of a process. None: nobody knows how it ended.
    pub(super) fn ended(self: &Arc<Self>, container: &Arc<Container>, exit: Option<Exit>) {
        // Nobody starts or removes it before all of its run is gone.
        let act = container.begin_act();
        let outcome = self.note_end(container, exit);
        drop(act);
        let outcome = outcome.and_then(|again| self.after_end(container, again));
        if let Err(error) = outcome {
            log::warn(&error.within(format!("container {}", container.record().short_id())));
        }
    }

    /// What comes after an end that is noted: the next start, the removal, or nothing.
    pub(super) fn after_end(
        self: &Arc<Self>,
        container: &Arc<Container>,
        again: Option<std::time::Duration>,
    ) -> Result<()> {
        match again {
            Some(delay) => restart::after(self, container, delay),
            None if container.record().host_config.auto_remove => self.remove_ended(container),
            None => Ok(()),
        }
    }

    /// Returns the delay before the next start, if there is to be one. The caller holds the act.
    pub(super) fn note_end(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exit: Option<Exit>,
    ) -> Result<Option<std::time::Duration>> {
        let now = Timestamp::now();
        let exit = exit.unwrap_or(Exit { code: LOST, finished: now, log_error: None });
        if let Some(error) = &exit.log_error {
            log::warn(&format!(
                "the log of container {} is incomplete: {error}",
                container.record().short_id()
            ));
        }
        let record = container.record();
        let memory_ran_out = oom::ran_out(&self.run_folder(&container.id), record.memory_cgroup.as_deref());
        self.clear_all_but_folder(container);
        let again = restart::delay(&record, exit.code, exit.finished).filter(|_| {
            !self.stopping.load(Ordering::Relaxed) && !container.policy_is_off.load(Ordering::Acquire)
        });
        let before = record;
        let record = container.change(|record| {
            end(record, &exit, memory_ran_out, again.is_some());
            // The policy has overruled it. A user who comes after that decision is another matter.
            record.stopped_by_hand &= again.is_none() || !before.stopped_by_hand;
        })?;
        // Only now: until the record had it, the folder alone knew how the process ended.
        self.clear_folder(container);
        if memory_ran_out {
            self.events.of_container("oom", &record, &[]);
        }
        let lasted =
            before.state.started.map_or(0, |started| exit.finished.duration_since(started).as_secs());
        let special = [("exitCode", exit.code.to_string()), ("execDuration", lasted.max(0).to_string())];
        self.events.of_container("die", &record, &special);
        for (name, endpoint) in &before.networks {
            network::tell(&self.events, "disconnect", &record, name, endpoint);
        }
        volume::tell(&self.events, "unmount", &record);
        container.turn(|turn| {
            turn.ends += 1;
            turn.exit_code = exit.code;
            turn.running = again.is_some();
        });
        Ok(again)
    }
}

fn end(record: &mut Record, exit: &Exit, memory_ran_out: bool, again: bool) {
    let state = &mut record.state;
    state.status = if again { Status::Restarting } else { Status::Exited };
    state.exit_code = if memory_ran_out && exit.code == LOST { KILLED } else { exit.code };
    state.finished = Some(exit.finished);
    state.oom_killed = memory_ran_out;
    record.short_runs = if restart::was_long(record, exit.finished) { 0 } else { record.short_runs + 1 };
    forget_run(record);
    if again {
        record.restart_count += 1;
    }
}

/// What a record has of a run.
pub(super) fn forget_run(record: &mut Record) {
    record.state.pid = 0;
    record.memory_cgroup = None;
    record.ports = BTreeMap::new();
    network::forget_addresses(record);
}
