//! From what a client asks for to a container on record, with a writable layer and volumes, that never ran.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use knarr_images::store::Access;

use super::{Container, Record, State, names};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::volume;
use crate::wire::{BelowReadOnly, CreateBody, EndpointSettings, NetworkingConfig};

/// A container that was made.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) warnings: Vec<String>,
}

impl Engine {
    /// Makes a container. Nothing of it is left when that fails.
    pub(crate) fn create(
        self: &Arc<Self>,
        name: Option<&str>,
        platform: Option<&str>,
        body: CreateBody,
    ) -> Result<Created> {
        let CreateBody { mut config, mut host_config, networking_config, below_read_only } = body;
        let image = self.image_for(&config.image, platform)?;
        let image_config = self.images.config(&image)?;
        super::merge::merge(&mut config, &image_config)?;
        let warnings =
            super::validate::validate(&mut config, &mut host_config, &networking_config, &self.settings)?;
        for mode in [&mut host_config.network_mode, &mut host_config.pid_mode, &mut host_config.ipc_mode] {
            self.name_by_id(mode)?;
        }
        let mut command =
            config.entrypoint.iter().chain(&config.cmd).flat_map(|words| words.0.iter().cloned());
        let path = command.next().ok_or_else(|| Error::invalid("no command specified"))?;
        let args = command.collect();
        let id = new_id()?;
        if config.hostname.is_empty() && !host_config.network_mode.starts_with("container:") {
            config.hostname = match host_config.network_mode.as_str() {
                "host" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
                _ => id.get(..12).unwrap_or(&id).to_owned(),
            };
        }
        // Nothing fails between this and what gives it back.
        let name = self.take_name(name, &id)?;
        let networks = networks(&host_config.network_mode, networking_config);
        let record = Record {
            args,
            path,
            asked_macs: asked_macs(&networks),
            networks,
            id: id.clone(),
            name: name.clone(),
            created: Timestamp::now(),
            image: image.to_string(),
            config,
            host_config,
            mounts: Vec::new(),
            mount_details: BTreeMap::new(),
            ports: BTreeMap::new(),
            state: State::default(),
            restart_count: 0,
            short_runs: 0,
            stopped_by_hand: false,
            removing: false,
            removing_volumes: false,
            memory_cgroup: None,
        };
        let made = self.make(record, below_read_only);
        if made.is_err() {
            self.containers.release(&name);
        }
        made?;
        Ok(Created { id, warnings })
    }

    fn make(self: &Arc<Self>, mut record: Record, below: BelowReadOnly) -> Result<()> {
        let folder = self.containers_folder().join(&record.id);
        DirBuilder::new().mode(0o710).create(&folder).during("create", &folder)?;
        let made = self.fill(&mut record, below).and_then(|()| record.write(&folder));
        if let Err(error) = made {
            // The first failure is the answer.
            let _ = self.images.remove_snapshot(&record.id);
            let _ = fs::remove_dir_all(&folder);
            return Err(error);
        }
        let container = Arc::new(Container::new(folder, record));
        // Who hears of it finds it.
        self.containers.insert(Arc::clone(&container));
        self.events.of_container("create", &container.record(), &[]);
        Ok(())
    }

    /// Gives a container its writable layer, and its volumes what the image has at their places.
    fn fill(self: &Arc<Self>, record: &mut Record, below: BelowReadOnly) -> Result<()> {
        let image = record.image.parse().map_err(Error::system)?;
        let snapshot = self.images.prepare(&record.id, &image, "container")?;
        let root = self.images.view(&snapshot, Access::ReadOnly)?;
        record.mounts = volume::plan(self, record, root.as_fd(), below)?;
        Ok(())
    }

    /// `container:NAME` becomes `container:ID`: the other may be renamed.
    fn name_by_id(&self, mode: &mut String) -> Result<()> {
        if let Some(name) = mode.strip_prefix("container:") {
            // Clients take what is not found in a create for the image, and pull it.
            let found = self.containers.find(name).map_err(Error::invalid)?;
            *mode = format!("container:{}", found.id);
        }
        Ok(())
    }

    fn take_name(&self, wanted: Option<&str>, id: &str) -> Result<String> {
        match wanted {
            Some(name) => {
                let name = names::check(name)?;
                self.containers.reserve(name, id)?;
                Ok(name.to_owned())
            }
            None => names::take(|name| self.containers.reserve(name, id)),
        }
    }
}

/// By name of the network. The default one is `bridge`.
fn networks(mode: &str, asked: NetworkingConfig) -> BTreeMap<String, EndpointSettings> {
    if mode.starts_with("container:") {
        return BTreeMap::new();
    }
    let called = |name: String| if name == "default" { "bridge".to_owned() } else { name };
    let mut networks: BTreeMap<_, _> =
        asked.endpoints_config.into_iter().map(|(name, settings)| (called(name), settings)).collect();
    networks.entry(mode.to_owned()).or_default();
    networks
}

fn asked_macs(networks: &BTreeMap<String, EndpointSettings>) -> BTreeMap<String, String> {
    let asked = networks.iter().filter(|(_, endpoint)| !endpoint.mac_address.is_empty());
    asked.map(|(name, endpoint)| (name.clone(), endpoint.mac_address.clone())).collect()
}

/// 32 random bytes in hexadecimal. The first twelve are never all digits: that would be a number to some tools.
pub(crate) fn new_id() -> Result<String> {
    loop {
        let mut bytes = [0; 32];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .while_doing("getrandom")?;
        if filled < bytes.len() {
            continue;
        }
        let mut id = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(id, "{byte:02x}"); // a String takes everything
        }
        if id.bytes().take(12).any(|digit| !digit.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_and_differ() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        assert_ne!(one, other);
    }

    #[test]
    fn the_default_network_is_the_bridge() {
        let asked = |name: &str| {
            let endpoints_config = BTreeMap::from([(name.to_owned(), EndpointSettings::default())]);
            networks("bridge", NetworkingConfig { endpoints_config }).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(asked("default"), ["bridge"]);
        assert_eq!(asked("bridge"), ["bridge"]);
        assert!(networks("container:x", NetworkingConfig::default()).is_empty());
        assert_eq!(networks("none", NetworkingConfig::default()).into_keys().next().unwrap(), "none");
    }
}
