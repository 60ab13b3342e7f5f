//! A stop: the container's own signal, a time to act on it, and SIGKILL.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::kill::signal_number;
use super::{Container, Done, Record, Status};
use crate::engine::Engine;
use crate::error::Result;
use crate::runtime::Runtime;

/// Seconds that a container has by default.
const PATIENCE: i64 = 10;

/// How to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Instead of the container's own.
    pub(crate) signal: Option<String>,
    /// Seconds until SIGKILL; negative: as long as it takes. None: the container's own.
    pub(crate) timeout: Option<i64>,
}

impl Stop {
    fn signal_for(&self, record: &Record) -> Result<i32> {
        let own = Some(record.config.stop_signal.as_str()).filter(|own| !own.is_empty());
        signal_number(self.signal.as_deref().or(own).unwrap_or("TERM"))
    }
}

impl Engine {
    pub(crate) fn stop(self: &Arc<Self>, name: &str, stop: &Stop) -> Result<Done> {
        let container = self.containers.find(name)?;
        let record = container.record();
        let signal = stop.signal_for(&record)?;
        let timeout = stop.timeout.or(record.config.stop_timeout).unwrap_or(PATIENCE);
        if !record.state.status.is_running() {
            return Ok(Done::Already);
        }
        container.policy_is_off.store(true, Ordering::Release);
        let record = container.change(|record| record.stopped_by_hand = true)?;
        if record.state.status == Status::Restarting {
            give_up_restart(&container)?;
        } else {
            self.end(&container, signal, timeout)?;
            // It may have ended by itself before, and been judged as one that nobody stops.
            if container.record().state.status == Status::Restarting {
                give_up_restart(&container)?;
            }
        }
        self.events.of_container("stop", &container.record(), &[]);
        Ok(Done::Changed)
    }

    fn end(&self, container: &Arc<Container>, signal: i32, timeout: i64) -> Result<()> {
        let ends = container.ends();
        let signalled = self.signal(container, signal);
        let ended = |turn: &super::Turn| turn.ends > ends || turn.removed;
        if let Err(error) = signalled {
            // It may have ended by itself meanwhile.
            return if container.has_ended(ended) { Ok(()) } else { Err(error) };
        }
        if container.record().state.status == Status::Paused {
            Runtime::named(&self.settings, &container.record().host_config.runtime)?.resume(&container.id)?;
        }
        let limit = u64::try_from(timeout).ok().map(Duration::from_secs);
        if container.wait_until(limit, ended) { Ok(()) } else { self.kill_and_wait(container) }
    }

    /// Stops all containers, at the same time, before the engine ends. No user does: the next engine starts again what its
    /// policy wants.
    pub(crate) fn stop_all(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Relaxed);
        let timeout = i64::try_from(self.settings.shutdown_timeout).unwrap_or(i64::MAX);
        let up = |container: &Arc<Container>| container.record().state.status.is_up();
        std::thread::scope(|scope| {
            for container in self.containers.all().into_iter().filter(up) {
                scope.spawn(move || {
                    let signal = Stop::default().signal_for(&container.record());
                    let ended = signal.and_then(|signal| self.end(&container, signal, timeout));
                    if let Err(error) = ended {
                        crate::log::warn(
                            &error.within(format!("stop container {}", container.record().short_id())),
                        );
                    }
                });
            }
        });
    }
}

/// Ends the wait of the restart policy.
pub(super) fn give_up_restart(container: &Container) -> Result<()> {
    let _act = container.begin_act();
    let mut waited = false;
    container.change(|record| {
        if record.state.status == Status::Restarting {
            record.state.status = Status::Exited;
            waited = true;
        }
    })?;
    container.turn(|turn| {
        turn.given_up = true;
        turn.running &= !waited;
    });
    Ok(())
}
