//! Docker's JSON, API 1.50: the only place that knows its names. What is asked of a container (`Config`, `HostConfig`,
//! `EndpointSettings`) is also kept with it, in these words, because `inspect` gives it back.
//!
//! Requests are read with Go's leniency (`request`): any case of a name, null for any value, unknown names ignored.

mod archive;
mod config;
mod container;
mod event;
mod exec;
mod filters;
mod host_config;
mod image;
pub(crate) mod mount_options;
mod network;
mod number;
pub(crate) mod request;
mod stats;
mod system;
mod timestamp;
mod usage;
mod volume;

pub(crate) use archive::{FileChange, PathStat};
pub(crate) use config::{BelowReadOnly, Config, CreateBody, Healthcheck, Words};
pub(crate) use container::{
    ContainerInspect, ContainerSummary, ContainersPruned, GraphDriver, HealthInspect, HostConfigSummary,
    NetworkSettings, NetworkSettingsSummary, Port, ProbeInspect, StateInspect, TopAnswer, go_time,
};
pub(crate) use event::EventMessage;
pub(crate) use exec::{ExecCreate, ExecInspect, ExecProcess, ExecStart};
pub(crate) use filters::{Filters, Patterns};
pub(crate) use host_config::{
    DeviceMapping, HostConfig, LogConfig, Mount, MountPoint, PortBinding, RestartPolicy, ThrottleDevice,
    Ulimit,
};
pub(crate) use image::{
    Committed, Distribution, DistributionDescriptor, DistributionPlatform, HistoryLine, ImageDeleted,
    ImageInspect, ImageMetadata, ImageSummary, ImagesPruned, RawImage, RegistryAuth, RootFs, SearchResult,
};
pub(crate) use network::{
    EndpointIpam, EndpointSettings, Ipam, IpamConfig, Network, NetworkContainer, NetworkingConfig,
};
pub(crate) use number::atoi;
pub(crate) use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, Nothing, PidsStats, StatsAnswer,
    Throttling,
};
pub(crate) use system::{
    Commit, Component, IndexConfig, Info, Limits, Named, Plugins, RegistryConfig, RuntimeAnswer, Swarm,
    VersionAnswer,
};
pub(crate) use timestamp::{point_in_time, unix_time};
pub(crate) use usage::DiskUsage;
pub(crate) use volume::{Labels, Volume, VolumeCreate, VolumeList, VolumeUsage, VolumesPruned};
