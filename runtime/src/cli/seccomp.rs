//! The arguments of `seccomp`.

use std::path::PathBuf;

use knarr_seccomp::Abi;

use super::create::path;
use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeccompArgs {
    /// Whose config.json has the profile; the current directory when neither is given.
    pub(crate) bundle: Option<PathBuf>,
    /// The profile itself, instead.
    pub(crate) profile: Option<PathBuf>,
    pub(crate) arch: Option<Abi>,
    /// Name or number of a system call and its arguments, as typed; empty: print the program.
    pub(crate) call: Vec<String>,
}

pub(super) const SECCOMP: Verb<SeccompArgs> = Verb {
    manual: Manual {
        name: "seccomp",
        summary: "print the program of a seccomp profile, or its verdict on a system call",
        arguments: "[<system-call> [argument...]]",
        about: "Without a system call, prints the instructions that the kernel would be given.\n\
                With the name or number of one and the values of its arguments (missing ones are 0), prints what\n\
                happens to it on each architecture of the profile, and the rule that says so.",
    },
    flags: &[&[
        Flag::text(
            &["bundle", "b"],
            |a, text| a.bundle = path(text),
            "directory of the bundle whose config.json has the profile (default: the current one)",
        ),
        Flag::text(&["profile"], |a, text| a.profile = path(text), "file with a JSON linux.seccomp object"),
        Flag::parsed(
            &["arch"],
            |a, text| parse_arch(text).map(|arch| a.arch = Some(arch)),
            "architecture of the system call, such as SCMP_ARCH_X86",
        ),
    ]],
    count: Count::Between(0, 7),
    stop: Stop::Never,
    take: |args, positional| args.call = positional.iter().map(|&word| word.into()).collect(),
};

fn parse_arch(text: &str) -> Result<Abi, String> {
    let known = || Abi::ALL.map(Abi::name).join(", ");
    Abi::ALL.into_iter().find(|abi| abi.name() == text).ok_or_else(|| format!("must be one of {}", known()))
}
