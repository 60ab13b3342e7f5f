//! From what config.json says to what will be done.

pub(crate) mod device_nodes;
pub(crate) mod hooks;
pub(crate) mod idmap_words;
pub(crate) mod ids;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
