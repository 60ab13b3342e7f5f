//! Docker's JSON, API 1.50: the only place that knows its names. What is asked of a container (`Config`, `HostConfig`,
//! `EndpointSettings`) is also kept with it, in these words, because `inspect` gives it back.
//!
//! Requests are read with Go's leniency (`request`): any case of a name, null for any value, unknown names ignored.

mod archive;
mod config;
mod exec;
mod host_config;
pub(crate) mod mount_options;
mod network;
mod volume;

pub(crate) use archive::PathStat;
pub(crate) use config::{Config, CreateBody, Healthcheck, Words};
pub(crate) use exec::{ExecCreate, ExecInspect, ExecProcess};
pub(crate) use host_config::{
    BlkioWeightDevice, DeviceMapping, DeviceRequest, HostConfig, LogConfig, Mount, MountPoint, PortBinding,
    RestartPolicy, ThrottleDevice, Ulimit,
};
pub(crate) use network::{
    EndpointIpam, EndpointSettings, Ipam, IpamConfig, Network, NetworkContainer, NetworkingConfig,
};
pub(crate) use volume::{Labels, Volume, VolumeCreate, VolumeList, VolumeUsage, VolumesPruned};
