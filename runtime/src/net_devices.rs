//! Moves network devices of the host into the container and gives them back the addresses the kernel drops on the way.

use std::os::fd::AsRawFd;

use rustix::process::Pid;

use crate::error::{During, Result};
use crate::netlink::{Address, Route};
use crate::plan::net_devices::NetDevice;
use crate::sys::Named;

/// A device as it was on the host.
pub(crate) struct Found {
    index: u32,
    addresses: Vec<Address>,
}

/// Parent, before the clone: what must be known when the device has left.
pub(crate) fn inspect(devices: &[NetDevice]) -> Result<Vec<Found>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let route = Route::open()?;
    let inspect = |device: &NetDevice| {
        let index = route.link_index(&device.host_name)?;
        Ok(Found { index, addresses: route.addresses(index)? })
    };
    let each = |device| inspect(device).map_err(|error: crate::sys::Error| (device, error));
    let found: std::result::Result<_, _> = devices.iter().map(each).collect();
    found.map_err(|(device, error): (&NetDevice, _)| {
        crate::error::Error::refused(format!("/linux/netDevices/{}", device.host_name), error.to_string())
    })
}

/// Parent, after the clone: moves them into the network namespace of `pid`.
pub(crate) fn move_into(pid: Pid, devices: &[NetDevice], found: &[Found]) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    let netns = std::fs::File::open(&path).named(|| format!("open {path}"))?;
    let route = Route::open()?;
    devices.iter().zip(found).try_for_each(|(device, found)| {
        route
            .move_link(found.index, netns.as_raw_fd(), &device.name)
            .during(|| format!("move network device {:?} into the container", device.host_name))
    })
}

/// Init, in its network namespace, once they have arrived.
pub(crate) fn configure(devices: &[NetDevice], found: &[Found]) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let route = Route::open()?;
    devices.iter().zip(found).try_for_each(|(device, found)| {
        let index = route.link_index(&device.name)?;
        found.addresses.iter().try_for_each(|address| route.add_address(index, address))?;
        route.raise(index).during(|| format!("configure network device {:?}", device.name))
    })
}

/// Init, in a new network namespace: `lo` is there, and down.
pub(crate) fn raise_loopback() -> Result<()> {
    const LOOPBACK_INDEX: u32 = 1;
    Route::open()?.raise(LOOPBACK_INDEX).during(|| "raise the loopback device".into())
}
