//! The arguments of the commands that look around: `list`, `ps`, `spec`, `features`, `doctor`.

use std::path::PathBuf;

use super::create::path;
use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

/// `--format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ListFormat {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListArgs {
    pub(crate) format: ListFormat,
    /// Ids alone; the format does not matter then.
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DoctorArgs {
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PsArgs {
    pub(crate) id: String,
    /// For ps(1); empty: not given.
    pub(crate) options: Vec<String>,
    pub(crate) format: ListFormat,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpecArgs {
    pub(crate) bundle: Option<PathBuf>,
    /// crun's `--file`: written instead of `config.json`.
    pub(crate) file: Option<PathBuf>,
    pub(crate) rootless: bool,
}

fn parse_format(text: &str) -> Result<ListFormat, String> {
    match text {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err("invalid format option".into()),
    }
}

pub(super) const LIST: Verb<ListArgs> = Verb {
    manual: Manual {
        name: "list",
        summary: "list the containers whose state is in the given root",
        arguments: "",
        about: "",
    },
    flags: &[&[
        Flag::parsed(
            &["format", "f"],
            |a, text| parse_format(text).map(|format| a.format = format),
            "'table' or 'json' (default: \"table\")",
        ),
        Flag::switch(&["quiet", "q"], |a, on| a.quiet = on, "print the ids alone"),
    ]],
    count: Count::Exactly(0),
    stop: Stop::Never,
    take: |_, _| {},
};

pub(super) const PS: Verb<PsArgs> = Verb {
    manual: Manual {
        name: "ps",
        summary: "display the processes running inside a container",
        arguments: "<container-id> [ps options]",
        about: "Flags stand before the container's id; all that follows it is for ps(1) (default: -ef).",
    },
    flags: &[&[Flag::parsed(
        &["format", "f"],
        |a, text| parse_format(text).map(|format| a.format = format),
        "'table' or 'json' (default: \"table\")",
    )]],
    count: Count::AtLeast(1),
    stop: Stop::AfterFirst,
    take: |args, positional| {
        args.id = positional[0].into();
        args.options = positional[1..].iter().map(|&word| word.into()).collect();
    },
};

pub(super) const SPEC: Verb<SpecArgs> = Verb {
    manual: Manual {
        name: "spec",
        summary: "create a new specification file",
        arguments: "",
        about: "Writes a config.json that runs a shell in the directory 'rootfs' of the bundle: a start to edit.",
    },
    flags: &[&[
        Flag::text(
            &["bundle", "b"],
            |a, text| a.bundle = path(text),
            "directory of the bundle (default: the current one)",
        ),
        Flag::text(&["file", "f"], |a, text| a.file = path(text), "write this file instead of config.json"),
        Flag::switch(
            &["rootless"],
            |a, on| a.rootless = on,
            "for a container that is run by an unprivileged user",
        ),
    ]],
    count: Count::Exactly(0),
    stop: Stop::Never,
    take: |_, _| {},
};

pub(super) const FEATURES: Verb<()> = Verb {
    manual: Manual {
        name: "features",
        summary: "show the enabled features",
        arguments: "",
        about: "Prints the JSON object that features.md of the runtime specification defines.",
    },
    flags: &[],
    count: Count::Exactly(0),
    stop: Stop::Never,
    take: |(), _| {},
};

pub(super) const DOCTOR: Verb<DoctorArgs> = Verb {
    manual: Manual {
        name: "doctor",
        summary: "tell what this machine has for containers, and what it lacks",
        arguments: "",
        about: "Each line is a trial: 'fallback' means that something else does, 'missing' that only what asks for it\n\
                fails, 'BROKEN' that no container can be made. Exit status 1 when something is BROKEN.",
    },
    flags: &[&[Flag::parsed(
        &["format", "f"],
        |a, text| parse_format(text).map(|format| a.format = format),
        "'table' or 'json' (default: \"table\")",
    )]],
    count: Count::Exactly(0),
    stop: Stop::Never,
    take: |_, _| {},
};
