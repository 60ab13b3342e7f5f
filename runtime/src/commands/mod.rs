//! One file per command: flags become one or two calls into the modules below.

pub(crate) mod features;
pub(crate) mod spec;
