//! Notice of changes in folders. The whole engine has one inotify(7) instance, because a user may have few of them, and one
//! thread that waits for it; whoever follows a log waits without one.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::watch;

use crate::container::lock;
use crate::error::{During as _, Error, Result};
use crate::log;

static WATCHES: OnceLock<std::result::Result<Arc<Watches>, Error>> = OnceLock::new();

struct Watches {
    inotify: OwnedFd,
    /// By the number that the kernel gave the folder: one for all who watch it.
    folders: Mutex<BTreeMap<i32, Folder>>,
}

struct Folder {
    changes: watch::Sender<()>,
    watchers: usize,
}

/// A folder that is being watched, until this is dropped.
pub(super) struct Watch {
    number: i32,
    watches: Arc<Watches>,
    /// Changes with every file of the folder that is made, renamed, written or cut.
    pub(super) changes: watch::Receiver<()>,
}

impl Watch {
    pub(super) fn on(folder: &Path) -> Result<Self> {
        let watches = Arc::clone(WATCHES.get_or_init(Watches::start).as_ref().map_err(Clone::clone)?);
        let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        // Under the lock, so that the thread knows the number when its first change comes.
        let mut folders = lock(&watches.folders);
        let number = inotify::add_watch(&watches.inotify, folder, flags).during("watch", folder)?;
        let known =
            folders.entry(number).or_insert_with(|| Folder { changes: watch::Sender::new(()), watchers: 0 });
        known.watchers += 1;
        let changes = known.changes.subscribe();
        drop(folders);
        Ok(Self { number, watches, changes })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut folders = lock(&self.watches.folders);
        let Some(folder) = folders.get_mut(&self.number) else { return };
        folder.watchers -= 1;
        if folder.watchers == 0 {
            folders.remove(&self.number);
            match inotify::remove_watch(&self.watches.inotify, self.number) {
                // The folder is gone, and the watch with it.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => log::warn(&format!("stop watching a folder: {error}")),
            }
        }
    }
}

impl Watches {
    fn start() -> Result<Arc<Self>> {
        let inotify = inotify::init(CreateFlags::CLOEXEC).while_doing("inotify_init1")?;
        let watches = Arc::new(Self { inotify, folders: Mutex::default() });
        let thread = Arc::clone(&watches);
        let builder = thread::Builder::new().name("log watcher".to_owned()).stack_size(128 * 1024);
        builder.spawn(move || thread.run()).while_doing("start a thread")?;
        Ok(watches)
    }

    fn run(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    lock(&self.folders).values().for_each(|folder| folder.changes.send_replace(()));
                }
                Ok(event) => {
                    if let Some(folder) = lock(&self.folders).get(&event.wd()) {
                        folder.changes.send_replace(());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    log::warn(&format!("read from inotify: {error}; logs are not followed any more"));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_watcher_is_told_and_the_last_one_ends_the_watch() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut one = Watch::on(folder.path()).unwrap();
        let mut other = Watch::on(folder.path()).unwrap();
        assert_eq!(one.number, other.number);
        let told = |watch: &mut Watch| {
            let limit = Duration::from_secs(10);
            runtime.block_on(async {
                tokio::time::timeout(limit, watch.changes.changed()).await.unwrap().unwrap();
            });
        };
        fs::write(folder.path().join("new"), "x").unwrap();
        told(&mut one);
        told(&mut other);
        drop(one);
        fs::rename(folder.path().join("new"), folder.path().join("newer")).unwrap();
        told(&mut other);
        let (number, watches) = (other.number, Arc::clone(&other.watches));
        drop(other);
        assert!(!lock(&watches.folders).contains_key(&number));
        assert!(Watch::on(&folder.path().join("none")).is_err());
    }
}
