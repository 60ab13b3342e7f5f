//! What is to be done, worked out before anything exists: `(&Spec, facts about the kernel) -> plan`, with no I/O.
//!
//! Every string of the configuration is parsed here and every rule checked, so that the child parses nothing.

pub(crate) mod device_nodes;
pub(crate) mod exec_process;
pub(crate) mod hooks;
pub(crate) mod idmap_words;
pub(crate) mod ids;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod process_attributes;
pub(crate) mod sysctl;
