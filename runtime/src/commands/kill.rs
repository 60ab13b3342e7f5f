//! `knarr kill`: sends a signal to a container's first process, or to all.

use std::path::Path;

use super::selection::Selection;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::signals;

pub(crate) struct Args<'a> {
    /// An id, or an expression.
    pub(crate) name: &'a str,
    pub(crate) selection: Selection,
    /// SIGTERM when none is given.
    pub(crate) signal: Option<&'a str>,
    /// To every process in the container's cgroup; a container that is not running is no error then.
    pub(crate) all: bool,
}

pub(crate) fn run(root: &Path, args: &Args<'_>) -> Result<()> {
    let text = args.signal.unwrap_or("SIGTERM");
    args.selection.each(root, args.name, |id| {
        let container = Container::find(root, id)?;
        let signal = signals::number(text).ok_or_else(|| Error::Usage(format!("unknown signal {text:?}")))?;
        if !args.all {
            return container.signal(signal);
        }
        match container.signal_all(signal) {
            Err(Error::NotRunning) => Ok(()),
            result => result,
        }
    })
}
