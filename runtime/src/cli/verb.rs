//! A command of the command line: its words, its flags, its arguments.

use super::flag::Flag;
use super::scan::Stop;

/// What help shows of a command.
pub(super) struct Manual {
    pub(super) name: &'static str,
    /// One line, not capitalised.
    pub(super) summary: &'static str,
    /// What follows the flags.
    pub(super) arguments: &'static str,
    /// More, with its own line breaks; may be empty.
    pub(super) about: &'static str,
}

/// A command that fills an `A`.
pub(super) struct Verb<A: 'static> {
    pub(super) manual: Manual,
    pub(super) flags: &'static [&'static [Flag<A>]],
    pub(super) count: Count,
    pub(super) stop: Stop,
    /// Takes as many positional arguments as `count` allows.
    pub(super) take: fn(&mut A, &[&str]),
}

/// How many positional arguments a command takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
}

impl Count {
    /// What is wrong with `given` arguments, in runc's words.
    pub(super) fn complaint(self, given: usize) -> Option<String> {
        match self {
            Self::Exactly(n) if given != n => Some(format!("requires exactly {n} argument(s)")),
            Self::AtLeast(n) | Self::Between(n, _) if given < n => {
                Some(format!("requires a minimum of {n} argument(s)"))
            }
            Self::Between(_, n) if given > n => Some(format!("requires a maximum of {n} argument(s)")),
            _ => None,
        }
    }
}
