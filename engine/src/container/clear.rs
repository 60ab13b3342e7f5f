//! What a run of a container leaves on the machine is taken away: after its end, after a start that failed, and after an
//! engine that was killed at any moment. Every step may find that there is nothing to do.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::{Container, Record, exec};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::network;
use crate::oci;
use crate::runtime::Runtime;

impl Engine {
    /// Takes away everything of a run. What fails is logged: the container has ended all the same, and the next start
    /// tries again.
    pub(super) fn clear(&self, container: &Container) {
        self.clear_all_but_folder(container);
        self.clear_folder(container);
    }

    /// The first part of [`Engine::clear`]: the run folder stays, with what the monitor has written.
    pub(super) fn clear_all_but_folder(&self, container: &Container) {
        let record = container.record();
        let run = self.run_folder(&container.id);
        exec::forget(self, &container.id);
        // Without the folder there has been no run.
        let steps = [
            fs::exists(&run).during("look for", &run).and_then(|there| {
                if !there {
                    return Ok(());
                }
                Runtime::named(&self.settings, &record.host_config.runtime)?.delete(&container.id)
            }),
            network::disconnect(self, &record, &container.folder),
            oci::shared_memory::unmount_left(&container.folder),
            unmount_root(&run),
        ];
        for step in steps {
            warn_of(&record, step);
        }
    }

    /// The last part of [`Engine::clear`].
    pub(super) fn clear_folder(&self, container: &Container) {
        warn_of(&container.record(), remove(&self.run_folder(&container.id)));
    }
}

fn warn_of(record: &Record, step: Result<()>) {
    if let Err(error) = step {
        crate::log::warn(&error.within(format!("clear up after container {}", record.short_id())));
    }
}

fn unmount_root(run: &Path) -> Result<()> {
    let root = run.join("bundle/rootfs");
    match unmount(&root, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not mounted, or not there.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error).during("unmount", &root),
    }
}

/// Removes a run folder. A mount that is left in it would be somebody's data: then nothing is removed.
fn remove(run: &Path) -> Result<()> {
    let root = run.join("bundle/rootfs");
    match fs::remove_dir(&root) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::system(format!("remove {}: {error}", root.display()))),
    }
    match fs::remove_dir_all(run) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).during("remove", run),
        _ => Ok(()),
    }
}
