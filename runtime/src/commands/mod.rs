//! One file per command: flags become one or two calls into the modules below.

pub(crate) mod delete;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod resume;
pub(crate) mod selection;
pub(crate) mod spec;
pub(crate) mod state;
pub(crate) mod view;
