//! Waiting for a container's end or removal, without a thread.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Container, Turn};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Or the end of this run, even if the restart policy starts it again.
    NotRunning,
    /// The end of this run, or of the next one if none runs.
    NextExit,
    Removed,
}

impl Condition {
    /// As the API has it; empty: not running.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(Error::invalid(format!("invalid condition: {other:?}"))),
        }
    }
}

/// A wait that has begun: no end after this is missed.
pub(crate) struct Wait {
    container: Arc<Container>,
    condition: Condition,
    ends_before: u64,
    turns: watch::Receiver<Turn>,
}

impl Engine {
    pub(crate) fn wait(&self, name: &str, condition: Condition) -> Result<Wait> {
        let container = self.containers.find(name)?;
        let turns = container.turns();
        let ends_before = turns.borrow().ends;
        Ok(Wait { container, condition, ends_before, turns })
    }
}

impl Wait {
    /// The exit code, and the error if the container could not start.
    pub(crate) async fn outcome(mut self) -> (i32, Option<String>) {
        let (condition, before) = (self.condition, self.ends_before);
        let reached = move |turn: &Turn| match condition {
            Condition::NotRunning => !turn.running || turn.ends > before,
            Condition::NextExit => turn.ends > before,
            Condition::Removed => false,
        };
        // The sender is in the container, which is held here: the wait cannot fail.
        let turn = self.turns.wait_for(|turn| reached(turn) || turn.removed).await.map(|turn| *turn);
        let turn = turn.unwrap_or_default();
        // Who waits for the removal has got it, however the start went.
        let error = if turn.removed { String::new() } else { self.container.record().state.error.clone() };
        (turn.exit_code, Some(error).filter(|error| !error.is_empty()))
    }
}
