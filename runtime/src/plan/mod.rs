//! From what config.json says to what will be done.

pub(crate) mod hooks;
pub(crate) mod ids;
pub(crate) mod namespaces;
