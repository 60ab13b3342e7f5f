//! systemd as the maker of a cgroup: a transient scope (or slice) unit that holds the container, with its limits as the
//! unit's properties, so that a reload of systemd sets what we set. See systemd.scope(5), org.freedesktop.systemd1(5).

mod annotations;
mod bus;
mod calls;
mod devices;
mod properties;
mod unit;

pub(crate) use annotations::properties_of as annotation_properties;
pub(crate) use bus::{Bus, Value};
pub(crate) use calls::{Manager, Property, pid_value};
pub(crate) use properties::compile;
pub(crate) use unit::Unit;
