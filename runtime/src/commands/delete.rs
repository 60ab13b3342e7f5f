//! `knarr delete`: removes what is left of a container, with `--force` the container too.

use std::path::Path;

use super::selection::each_matching;
use crate::cli::{DeleteArgs, Globals};
use crate::container::{Container, Status};
use crate::error::{Error, Result};
use crate::store::{StateDir, Store};
use crate::teardown;

pub(crate) fn run(globals: &Globals, args: &DeleteArgs) -> Result<()> {
    let root = &globals.root.path;
    if args.regex {
        each_matching(root, &args.id, |id| delete(root, id, args))
    } else {
        delete(root, &args.id, args)
    }
}

fn delete(root: &Path, id: &str, args: &DeleteArgs) -> Result<()> {
    match find_and_delete(root, id, args) {
        Err(Error::NotExist) if args.force => Ok(()),
        result => result,
    }
}

fn find_and_delete(root: &Path, id: &str, args: &DeleteArgs) -> Result<()> {
    let store = Store::open(root)?;
    let dir = store.dir(id)?;
    if args.force {
        // A command that hangs, say in a hook, keeps the lock: it must not keep the container too.
        dir.try_lock()?;
    } else {
        dir.lock()?;
    }
    let Some(record) = Container::record_in(&dir)? else {
        return remove_remains(&store, &dir);
    };
    let container = Container { dir, record };
    if !args.force {
        check_stopped(&container)?;
    }
    teardown::kill_and_wait(&container)?;
    teardown::destroy(&store, &container)
}

/// A created container counts as stopped, as for runc: nobody misses what never ran.
fn check_stopped(container: &Container) -> Result<()> {
    let status = container.status()?;
    if matches!(status, Status::Stopped | Status::Created) {
        return Ok(());
    }
    let (id, status) = (container.dir.id(), status.name());
    Err(Error::WrongState(format!("cannot delete container {id} that is not stopped: {status}")))
}

/// A `create` that ended before it recorded anything leaves a directory: it goes, and there was no container.
fn remove_remains(store: &Store, dir: &StateDir) -> Result<()> {
    store.remove(dir)?;
    Err(Error::NotExist)
}
