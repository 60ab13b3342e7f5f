//! Networks: the engine decides who has which address and port; `knarr-netns`, a hook of the runtime, does it.
//!
//! In this version there are the predefined ones: `bridge`, `host`, `none`, and `container:ID`.

mod addresses;
mod bridge;
pub(crate) mod files;
mod list;
mod ports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use knarr_netns::firewall::{self, Forwarding, RuleSet, Unrelated};
use knarr_netns::{Attachment, Cidr, Mac, Table};
use serde::{Deserialize, Serialize};

use crate::container::{Record, lock, new_id};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::events::Events;
use crate::oci;
use crate::replace::replace;
use crate::settings::Settings;
use crate::wire::{EndpointSettings, PortBinding};

pub(crate) use bridge::Bridge;

/// What `knarr-netns` is told, in a container's folder.
const ATTACHMENT: &str = "network.json";
/// The predefined networks' identities, below the data root.
const IDENTITIES: &str = "networks.json";

/// The networks of an engine.
pub(crate) struct Networks {
    pub(crate) identities: Identities,
    /// None: there is no default bridge.
    pub(crate) bridge: Option<Bridge>,
    table: Table,
    /// What becomes of packets that are none of ours.
    unrelated: Unrelated,
    ports: Mutex<ports::Reservations>,
}

/// What makes the predefined networks the same ones after a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identities {
    pub(crate) bridge: String,
    pub(crate) host: String,
    pub(crate) none: String,
    pub(crate) created: jiff::Timestamp,
    /// Of the bridge: without one it would have that of its lowest interface, and change.
    bridge_mac: Mac,
    /// Address and prefix of the bridge, once chosen.
    bridge_address: Option<Cidr>,
}

/// A container's place in its networks, for one run.
pub(crate) struct Sandbox {
    pub(crate) network: oci::Network,
    pub(crate) endpoints: BTreeMap<String, EndpointSettings>,
    pub(crate) ports: BTreeMap<String, Vec<PortBinding>>,
    /// The container whose files (hosts, resolv.conf, hostname) are used as well.
    pub(crate) files_of: Option<PathBuf>,
    /// For `host-gateway`.
    pub(crate) gateway: Option<std::net::IpAddr>,
}

impl Networks {
    /// Makes the default bridge what it should be. The firewall follows when it is known what is published.
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let path = settings.data_root.join(IDENTITIES);
        let mut identities = identities(&path)?;
        let table = settings.firewall_table.parse().map_err(Error::invalid)?;
        let (bridge, unrelated) = if settings.bridge == "none" {
            (None, Unrelated::Untouched)
        } else {
            let asked =
                settings.bridge_address.as_deref().map(str::parse).transpose().map_err(Error::invalid)?;
            let bridge = Bridge::open(settings, identities.bridge_mac, asked.or(identities.bridge_address))?;
            identities.bridge_address = Some(bridge.address());
            (Some(bridge), forwarding(&settings.exec_root)?)
        };
        replace(&path, &identities)?;
        Ok(Self { identities, bridge, table, unrelated, ports: Mutex::default() })
    }
}

/// Makes a router of the host. If that is new, it forwards for nobody but us, also for engines to come until the host is
/// started anew: the exec root does not outlive that.
fn forwarding(exec_root: &Path) -> Result<Unrelated> {
    let mark = exec_root.join("turned-forwarding-on");
    match firewall::enable_forwarding().map_err(failed)? {
        Forwarding::TurnedOn => {
            fs::write(&mark, "").during("write", &mark)?;
            Ok(Unrelated::Dropped)
        }
        Forwarding::WasOn if fs::exists(&mark).during("look for", &mark)? => Ok(Unrelated::Dropped),
        Forwarding::WasOn => Ok(Unrelated::Untouched),
    }
}

#[allow(clippy::needless_pass_by_value)] // the form of map_err
fn failed(error: knarr_netns::Error) -> Error {
    Error::system(knarr_netns::chain(&error))
}

impl Engine {
    /// Puts the firewall's table in place, with what running containers have published.
    pub(crate) fn publish_again(&self) -> Result<()> {
        let Some(bridge) = &self.networks.bridge else { return Ok(()) };
        let mut published = Vec::new();
        for container in self.containers.all() {
            match read_attachment(&container.folder) {
                Ok(attachment) => published.extend(attachment.into_iter().flat_map(|one| one.published)),
                // One container is no reason to leave all others without their ports.
                Err(error) => crate::log::warn(&error),
            }
        }
        let rules = RuleSet {
            table: &self.networks.table,
            bridges: std::slice::from_ref(bridge.made()),
            published: &published,
            unrelated: self.networks.unrelated,
        };
        for warning in firewall::apply(&rules).map_err(failed)? {
            crate::log::warn(&warning);
        }
        Ok(())
    }
}

fn identities(path: &Path) -> Result<Identities> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| Error::system(format!("read {}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Identities {
            bridge: new_id()?,
            host: new_id()?,
            none: new_id()?,
            created: jiff::Timestamp::now(),
            bridge_mac: bridge::new_mac()?,
            bridge_address: None,
        }),
        Err(error) => Err(error).during("read", path),
    }
}

/// Gives a container addresses and ports, and writes what the hook is to do. What is taken is given back by `disconnect`.
pub(crate) fn connect(engine: &Engine, record: &Record, folder: &Path) -> Result<Sandbox> {
    let networks = &engine.networks;
    let alone = |network, endpoints| Sandbox {
        network,
        endpoints,
        ports: BTreeMap::new(),
        files_of: None,
        gateway: None,
    };
    let named = |id: &str| -> Result<BTreeMap<String, EndpointSettings>> {
        let mut endpoints = record.networks.clone();
        for endpoint in endpoints.values_mut() {
            id.clone_into(&mut endpoint.network_id);
            endpoint.endpoint_id = new_id()?;
        }
        Ok(endpoints)
    };
    match record.network_mode() {
        "host" => Ok(alone(oci::Network::Host, named(&networks.identities.host)?)),
        "none" => {
            write_attachment(folder, &bridge::lonely(record, &networks.table))?;
            let network = oci::Network::Private(folder.join(ATTACHMENT));
            Ok(alone(network, named(&networks.identities.none)?))
        }
        "bridge" => match &networks.bridge {
            Some(bridge) => bridge.connect(engine, record, folder),
            None => Err(Error::not_found("network bridge not found")),
        },
        mode => match mode.strip_prefix("container:") {
            Some(name) => join(engine, name),
            None => Err(Error::not_found(format!("network {mode} not found"))),
        },
    }
}

fn join(engine: &Engine, name: &str) -> Result<Sandbox> {
    let other = engine.containers.find(name)?;
    let record = other.record();
    if !record.state.status.is_up() {
        let why = format!("cannot join network of a non running container: {}", record.id);
        return Err(Error::conflict(why));
    }
    Ok(Sandbox {
        network: oci::Network::Join(PathBuf::from(format!("/proc/{}/ns/net", record.state.pid))),
        endpoints: BTreeMap::new(),
        ports: BTreeMap::new(),
        files_of: Some(other.folder.clone()),
        gateway: None,
    })
}

/// Gives back what a container had, and takes away what the hook may have left.
pub(crate) fn disconnect(engine: &Engine, record: &Record, folder: &Path) -> Result<()> {
    lock(&engine.networks.ports).release(&record.id);
    if let Some(bridge) = &engine.networks.bridge {
        bridge.release(&record.id);
    }
    let Some(attachment) = read_attachment(folder)? else { return Ok(()) };
    firewall::withdraw(&attachment.table, &attachment.published).map_err(failed)?;
    let path = folder.join(ATTACHMENT);
    fs::remove_file(&path).during("remove", &path)?;
    // The kernel takes the links away with the namespace, unless somebody else holds that; and who removes one waits for
    // all processors to have forgotten it, some 20 ms. Nobody has to wait for that: the next run has links of other names.
    crate::container::spawn("links".to_owned(), move || {
        if let Err(error) = knarr_netns::teardown(&attachment).map_err(failed) {
            crate::log::warn(&error.within("remove links"));
        }
    })
}

/// What a container's hook was told, if it may have something.
fn read_attachment(folder: &Path) -> Result<Option<Attachment>> {
    let path = folder.join(ATTACHMENT);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::system(format!("read {}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during("read", &path),
    }
}

/// Takes again what a running container has, after a restart of the engine.
pub(crate) fn adopt(engine: &Engine, record: &Record) -> Result<()> {
    if let Some(bridge) = &engine.networks.bridge {
        bridge.adopt(record);
    }
    lock(&engine.networks.ports).adopt(record)
}

fn write_attachment(folder: &Path, attachment: &Attachment) -> Result<()> {
    replace(&folder.join(ATTACHMENT), attachment)
}

/// Tells of a container's coming to a network and its leaving.
pub(crate) fn tell(events: &Events, action: &str, record: &Record, name: &str, endpoint: &EndpointSettings) {
    let kind = match name {
        "host" => "host",
        "none" => "null",
        _ => "bridge",
    };
    let attributes = [("container", record.id.as_str()), ("name", name), ("type", kind)];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    events.publish("network", action, &endpoint.network_id, attributes.into());
}

/// A container that does not run has no addresses but those that were asked for.
pub(crate) fn forget_addresses(record: &mut Record) {
    for (name, endpoint) in &mut record.networks {
        let asked = std::mem::take(endpoint);
        *endpoint = EndpointSettings {
            mac_address: record.asked_macs.get(name).cloned().unwrap_or_default(),
            ipam_config: asked.ipam_config,
            links: asked.links,
            aliases: asked.aliases,
            driver_opts: asked.driver_opts,
            gw_priority: asked.gw_priority,
            network_id: asked.network_id,
            dns_names: asked.dns_names,
            ..EndpointSettings::default()
        };
    }
}
