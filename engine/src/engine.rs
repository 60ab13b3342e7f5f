//! The engine: what all acts share. Its verbs are in the folders of what they act on, and the API calls nothing else.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use knarr_images::Store;
use knarr_images::pull::Puller;
use knarr_images::registry::Client;
use knarr_images::store::WhenBusy;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use crate::container::{Container, Execs, lock};
use crate::error::{During as _, Error, Result};
use crate::events::Events;
use crate::image;
use crate::network::Networks;
use crate::settings::Settings;
use crate::volume::Volumes;

pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) images: Arc<Store>,
    pub(crate) registries: Client,
    pub(crate) puller: Puller,
    pub(crate) events: Events,
    pub(crate) containers: Containers,
    pub(crate) execs: Execs,
    pub(crate) networks: Networks,
    pub(crate) volumes: Volumes,
    /// It stops all containers before it ends: no policy starts one again.
    pub(crate) stopping: AtomicBool,
    /// Held as long as the process lives.
    _alone: File,
}

/// Characters of an ID in paths of sockets: 64 bits, which no two have.
const IN_PATHS: usize = 16;
/// Bytes that a socket's path may have, see unix(7).
const LONGEST_SOCKET: usize = 107;
/// Bytes of the longest path of a socket below the exec root.
const BELOW_EXEC_ROOT: usize = "/c/0123456789abcdef/x/0123456789abcdef/m/monitor.sock".len();

/// Locks the data root for this process. The lock is not one that children inherit, however short they have it: an engine
/// that was killed while it started a program would stand in the way of the next.
fn take_data_root(data_root: &Path) -> Result<File> {
    let path = data_root.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).during("open", &path)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            Err(Error::conflict(format!("{} is in use by another engine", data_root.display())))
        }
        Err(error) => Err(error).during("lock", &path),
    }
}

/// An ID as a name of a folder.
pub(crate) fn in_paths(id: &str) -> &str {
    id.get(..IN_PATHS).unwrap_or(id)
}

/// All containers by ID, and the IDs by name.
#[derive(Default)]
pub(crate) struct Containers {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Also names that a create has reserved.
    ids: BTreeMap<String, String>,
}

impl Containers {
    /// All, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        lock(&self.known).by_id.values().cloned().collect()
    }

    /// Finds one by ID, by name (a leading slash is allowed) or by the beginning of its ID.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>> {
        let known = lock(&self.known);
        if let Some(container) = known.by_id.get(name) {
            return Ok(Arc::clone(container));
        }
        let plain = name.strip_prefix('/').unwrap_or(name);
        if let Some(container) = known.ids.get(plain).and_then(|id| known.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        let mut beginning = known.by_id.range(name.to_owned()..).take_while(|(id, _)| id.starts_with(name));
        match (beginning.next().filter(|_| !name.is_empty()), beginning.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("multiple IDs found with provided prefix: {name}")))
            }
            (None, _) => Err(Error::not_found(format!("No such container: {name}"))),
        }
    }

    /// Takes a name for a container that is about to be there.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut known = lock(&self.known);
        if let Some(owner) = known.ids.get(name) {
            return Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        known.ids.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    pub(crate) fn release(&self, name: &str) {
        lock(&self.known).ids.remove(name);
    }

    pub(crate) fn insert(&self, container: Arc<Container>) {
        lock(&self.known).by_id.insert(container.id.clone(), container);
    }

    pub(crate) fn remove(&self, container: &Container) {
        let mut known = lock(&self.known);
        known.by_id.remove(&container.id);
        known.ids.retain(|_, id| *id != container.id);
    }
}

impl Engine {
    /// Opens everything below the roots and takes over what the last engine has left.
    ///
    /// Only one engine can have a data root: the second is refused.
    pub(crate) fn open(settings: Settings) -> Result<Arc<Self>> {
        let make = |path: PathBuf, mode| {
            let made = DirBuilder::new().recursive(true).mode(mode).create(&path).during("create", &path);
            made.map(|()| path)
        };
        make(settings.data_root.clone(), 0o711)?;
        let alone = take_data_root(&settings.data_root)?;
        make(settings.data_root.join("containers"), 0o710)?;
        if settings.exec_root.as_os_str().len() + BELOW_EXEC_ROOT > LONGEST_SOCKET {
            let most = LONGEST_SOCKET - BELOW_EXEC_ROOT;
            let why = format!("exec-root {}: its path may have {most} bytes", settings.exec_root.display());
            return Err(Error::invalid(why));
        }
        make(settings.exec_root.join("c"), 0o711)?;
        // A child that the last engine was about to start may have its descriptors still, sockets as well: until then.
        let images = Arc::new(Store::open(&settings.data_root.join("images"), WhenBusy::Wait)?);
        let registries = image::client(&settings)?;
        let engine = Arc::new(Self {
            puller: Puller::new(Arc::clone(&images), registries.clone()),
            registries,
            networks: Networks::open(&settings)?,
            volumes: Volumes::open(&settings.data_root.join("volumes"))?,
            images,
            events: Events::new(),
            containers: Containers::default(),
            execs: Execs::default(),
            stopping: AtomicBool::new(false),
            settings,
            _alone: alone,
        });
        engine.load_containers()?;
        engine.adopt_containers()?;
        Ok(engine)
    }

    pub(crate) fn containers_folder(&self) -> PathBuf {
        self.settings.data_root.join("containers")
    }

    /// What a running container has below the exec root. Names are short: a socket's path has 107 bytes.
    pub(crate) fn run_folder(&self, id: &str) -> PathBuf {
        self.settings.exec_root.join("c").join(in_paths(id))
    }
}
