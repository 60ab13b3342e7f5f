//! `knarr delete`: removes what is left of a container, with `--force` the container too.

use std::path::Path;

use super::selection::Selection;
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::store::{StateDir, Store};
use crate::teardown;

pub(crate) struct Args<'a> {
    /// An id, or an expression.
    pub(crate) name: &'a str,
    pub(crate) selection: Selection,
    /// Kills what runs; a container that does not exist is no error then.
    pub(crate) force: bool,
}

pub(crate) fn run(root: &Path, args: &Args<'_>) -> Result<()> {
    args.selection
        .each(root, args.name, |id| match delete(root, id, args.force) {
            Err(Error::NotExist) if args.force => Ok(()),
            result => result,
        })
}

fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    let store = Store::open(root)?;
    let dir = store.dir(id)?;
    if force {
        // A command that hangs, say in a hook, keeps the lock: it must not keep the container too.
        dir.try_lock()?;
    } else {
        dir.lock()?;
    }
    if dir.read_state()?.is_none() {
        return remove_remains(&store, &dir);
    }
    let container = Container::load(dir)?;
    match container.status()? {
        _ if force => teardown::kill_and_wait(&container)?,
        Status::Stopped => {}
        Status::Created => teardown::kill_and_wait(&container)?,
        status => {
            let status = status.name();
            let reason = format!("cannot delete container {id} that is not stopped: {status}");
            return Err(Error::WrongState(reason));
        }
    }
    teardown::destroy(&store, &container)
}

/// A `create` that ended before it recorded anything leaves a directory: it goes, and there was no container.
fn remove_remains(store: &Store, dir: &StateDir) -> Result<()> {
    store.remove(dir)?;
    Err(Error::NotExist)
}
