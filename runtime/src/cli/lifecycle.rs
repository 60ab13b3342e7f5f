//! The arguments of the commands that act on a container that exists.

use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

/// Of `start`, `state`, `pause` and `resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ContainerArgs {
    pub(crate) id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KillArgs {
    pub(crate) id: String,
    /// A number or a name, as typed; `SIGTERM` when absent.
    pub(crate) signal: String,
    /// A stopped container is no error.
    pub(crate) all: bool,
    /// crun's: `id` is a regular expression.
    pub(crate) regex: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteArgs {
    pub(crate) id: String,
    pub(crate) force: bool,
    /// crun's: `id` is a regular expression.
    pub(crate) regex: bool,
}

const fn one_container(manual: Manual) -> Verb<ContainerArgs> {
    Verb {
        manual,
        flags: &[],
        count: Count::Exactly(1),
        stop: Stop::Never,
        take: |args, positional| args.id = positional[0].into(),
    }
}

pub(super) const START: Verb<ContainerArgs> = one_container(Manual {
    name: "start",
    summary: "execute the program of a created container",
    arguments: "<container-id>",
    about: "",
});

pub(super) const STATE: Verb<ContainerArgs> = one_container(Manual {
    name: "state",
    summary: "output the state of a container",
    arguments: "<container-id>",
    about: "Prints the container's state as the JSON object of the runtime specification.",
});

pub(super) const PAUSE: Verb<ContainerArgs> = one_container(Manual {
    name: "pause",
    summary: "suspend all processes inside the container",
    arguments: "<container-id>",
    about: "",
});

pub(super) const RESUME: Verb<ContainerArgs> = one_container(Manual {
    name: "resume",
    summary: "resume all processes that have been paused",
    arguments: "<container-id>",
    about: "",
});

pub(super) const KILL: Verb<KillArgs> = Verb {
    manual: Manual {
        name: "kill",
        summary: "send a signal (default: SIGTERM) to the container's first process",
        arguments: "<container-id> [signal]",
        about: "The signal is a number or a name, with or without SIG. Flags stand before the container's id.",
    },
    flags: &[&[
        Flag::switch(&["all", "a"], |a, on| a.all = on, ""),
        Flag::switch(
            &["regex", "r"],
            |a, on| a.regex = on,
            "the id is a regular expression: kill every container it matches",
        ),
    ]],
    count: Count::Between(1, 2),
    stop: Stop::AfterFirst,
    take: |args, positional| {
        args.id = positional[0].into();
        args.signal = positional.get(1).copied().unwrap_or("SIGTERM").into();
    },
};

pub(super) const DELETE: Verb<DeleteArgs> = Verb {
    manual: Manual {
        name: "delete",
        summary: "delete what is left of a container",
        arguments: "<container-id>",
        about: "",
    },
    flags: &[&[
        Flag::switch(&["force", "f"], |a, on| a.force = on, "kill the container first if it still runs"),
        Flag::switch(
            &["regex", "r"],
            |a, on| a.regex = on,
            "the id is a regular expression: delete every container it matches",
        ),
    ]],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take: |args, positional| args.id = positional[0].into(),
};
