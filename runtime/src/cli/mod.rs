//! The command line: what was typed becomes an [`Invocation`], or a text to print.
//!
//! Owns the flags of every command (one definition each), the rules by which they are found, help and version, and
//! what the name we were started under changes. The grammar is runc's, with crun's flags added; nothing is done here
//! but reading the arguments and the environment.

mod create;
mod criu;
mod events;
mod exec;
mod flag;
mod globals;
mod help;
mod inspect;
mod lifecycle;
mod line;
mod program;
mod root_dir;
mod scan;
mod seccomp;
mod update;
mod verb;

pub(crate) use create::CreateArgs;
pub(crate) use criu::CriuArgs;
pub(crate) use events::EventsArgs;
pub(crate) use exec::ExecArgs;
pub(crate) use globals::Globals;
pub(crate) use inspect::{DoctorArgs, ListArgs, ListFormat, PsArgs, SpecArgs};
pub(crate) use lifecycle::{ContainerArgs, DeleteArgs, KillArgs};
pub(crate) use line::parse;
pub(crate) use program::{Manners, Program};
pub(crate) use root_dir::Origin;
pub(crate) use seccomp::SeccompArgs;
pub(crate) use update::UpdateArgs;

use crate::error::Error;

/// One command, with all it needs to know.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) globals: Globals,
    pub(crate) command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Checkpoint(CriuArgs),
    Create(CreateArgs),
    Delete(DeleteArgs),
    Doctor(DoctorArgs),
    Events(EventsArgs),
    Exec(ExecArgs),
    Features,
    Kill(KillArgs),
    List(ListArgs),
    Pause(ContainerArgs),
    Ps(PsArgs),
    Restore(CriuArgs),
    Resume(ContainerArgs),
    Run(CreateArgs),
    Seccomp(SeccompArgs),
    Spec(SpecArgs),
    Start(ContainerArgs),
    State(ContainerArgs),
    Update(UpdateArgs),
}

/// What comes out instead of an [`Invocation`].
#[derive(Debug)]
pub(crate) enum Reply {
    /// `--help` or `--version`: for stdout, and all is well.
    Text(String),
    Misuse(Box<Misuse>),
}

#[derive(Debug)]
pub(crate) struct Misuse {
    pub(crate) error: Error,
    /// For stdout, before the error.
    pub(crate) usage: String,
    /// The status to exit with.
    pub(crate) code: u8,
    /// Where to log the error, as far as the flags could be read.
    pub(crate) globals: Option<Globals>,
}

impl Misuse {
    pub(crate) fn new(error: Error, code: u8) -> Self {
        Self { error, usage: String::new(), code, globals: None }
    }
}

#[cfg(test)]
mod tests;
