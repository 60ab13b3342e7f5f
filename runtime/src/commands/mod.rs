//! One file per command: flags become one or two calls into the modules below.

pub(crate) mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
mod denial;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod seccomp;
mod selection;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod update;
mod view;
