//! `knarr kill`: sends a signal to a container's first process, or to all.

use std::path::Path;

use super::selection::each_matching;
use crate::cli::{Globals, KillArgs};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::signals;

pub(crate) fn run(globals: &Globals, args: &KillArgs) -> Result<()> {
    let root = &globals.root.path;
    if args.regex {
        each_matching(root, &args.id, |id| kill(root, id, args))
    } else {
        kill(root, &args.id, args)
    }
}

fn kill(root: &Path, id: &str, args: &KillArgs) -> Result<()> {
    let container = Container::find(root, id)?;
    let unknown = || Error::Usage(format!("unknown signal {:?}", args.signal));
    let signal = signals::number(&args.signal).ok_or_else(unknown)?;
    if !args.all {
        return container.signal(signal);
    }
    match container.signal_all(signal) {
        // None are left: that is what was wanted.
        Err(Error::NotRunning) => Ok(()),
        result => result,
    }
}
