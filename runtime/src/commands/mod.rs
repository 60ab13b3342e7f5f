//! One file per command: flags become one or two calls into the modules below.

pub(crate) mod delete;
mod denial;
pub(crate) mod features;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod resume;
mod selection;
pub(crate) mod spec;
pub(crate) mod state;
mod view;
