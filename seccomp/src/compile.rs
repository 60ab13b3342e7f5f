//! From checked rules to a program: the decision graph of the whole filter.
//!
//! Semantics: the filter looks at the audit token first; tokens of no configured ABI kill the thread (libseccomp's
//! `SCMP_FLTATR_ACT_BADARCH`). Then at the number, where x32 is the upper part of x86-64's numbers, then at arguments.

use crate::abi::{Abi, X32_BIT};
use crate::action::Action;
use crate::arguments;
use crate::decision::{Graph, NodeId, Ranges, Word};
use crate::emit::emit;
use crate::error::Error;
use crate::profile::Profile;
use crate::program::Program;
use crate::resolve::{Entries, Named, Verdict, look_up};
use crate::rules::Rules;
use crate::syscalls;

/// `BPF_MAXINSNS` (`linux/bpf_common.h`).
const MOST_INSTRUCTIONS: usize = 4096;

/// The answer to calls of an ABI the profile does not list.
pub(crate) const OTHER_ABI: Action = Action::KillThread;
/// The answer to calls newer than the profile.
pub(crate) const NEWER: Action = Action::Errno(38);

/// Compiles a profile for the ABI of this build and those it lists. Pure: equal profiles give equal programs.
///
/// What a profile means is what runc makes of it through libseccomp:
/// - names no ABI has are left out ([`Program::unknown`]);
/// - a rule whose action equals the default one is left out;
/// - of several rules for a call, one without conditions decides, the first if there are several; else the first
///   whose conditions hold, in libseccomp's order of arguments;
/// - conditions of one rule must all hold, unless two are on one argument: then each counts alone;
/// - 32-bit ABIs, x32 included, compare the lower halves of arguments;
/// - a rule for a socket or System V IPC call also covers its form inside socketcall(2) or ipc(2);
/// - unless the default action lets calls pass, a number above the highest named one fails with `ENOSYS`;
/// - calls of an ABI that is not listed kill the thread.
///
/// # Errors
/// Everything unknown, out of range or contradictory, by field; and a filter of more than 4096 instructions.
pub fn compile(profile: &Profile) -> Result<Program, Error> {
    let rules = Rules::of(profile)?;
    let mut unknown = Vec::new();
    let named = look_up(&rules, &mut unknown);
    let mut graph = Graph::default();
    let root = filter(&mut graph, &rules, &named)?;
    let instructions = emit(&graph, root);
    if instructions.len() > MOST_INSTRUCTIONS {
        return Err(Error::TooLarge(instructions.len()));
    }
    let unknown = unknown.into_iter().map(str::to_owned).collect();
    Ok(Program { instructions, flags: rules.flags, unknown })
}

fn filter(graph: &mut Graph, rules: &Rules<'_>, named: &[Named]) -> Result<NodeId, Error> {
    let other = graph.returning(OTHER_ABI.to_ret());
    let mut tokens: Vec<u32> = rules.abis.iter().map(|abi| abi.token()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let mut ranges = Ranges::filled(other);
    for token in tokens {
        let numbers = numbers(graph, rules, named, token)?;
        ranges.at(token, numbers, other);
    }
    Ok(graph.switch(Word::ARCH, ranges.into_vec()))
}

/// The decision on the number, for all ABIs that share a token: x32 numbers are above all others.
fn numbers(graph: &mut Graph, rules: &Rules<'_>, named: &[Named], token: u32) -> Result<NodeId, Error> {
    let default = graph.returning(rules.default.to_ret());
    let mut ranges = Ranges::filled(default);
    let of = |x32: bool| rules.abis.iter().find(|abi| abi.token() == token && (**abi == Abi::X32) == x32);
    if let Some(abi) = of(false) {
        calls(graph, &mut ranges, &Entries::new(*abi, rules, named), default)?;
    }
    if let Some(abi) = of(true) {
        ranges.from(X32_BIT, default);
        calls(graph, &mut ranges, &Entries::new(*abi, rules, named), default)?;
    } else if token == Abi::X32.token() {
        without_x32(graph, &mut ranges, default);
    }
    Ok(graph.switch(Word::NUMBER, ranges.into_vec()))
}

/// x32 calls are of an ABI that is not listed; but -1 is what a tracer writes to skip a call, and the kernel runs
/// the filter again after that (seccomp(2)).
fn without_x32(graph: &mut Graph, ranges: &mut Ranges, default: NodeId) {
    let other = graph.returning(OTHER_ABI.to_ret());
    ranges.from(X32_BIT, other);
    ranges.from(u32::MAX, default);
}

fn calls(
    graph: &mut Graph,
    ranges: &mut Ranges,
    entries: &Entries<'_>,
    default: NodeId,
) -> Result<(), Error> {
    let abi = entries.abi;
    // runc asks for the highest number first, so a rule above it (a socket call of its own beside socketcall) is lost.
    let known = |number: u32| entries.highest.is_none_or(|highest| number <= highest);
    for (number, verdict) in entries.calls().filter(|(number, _)| known(*number)) {
        let to = match verdict {
            Verdict::Always(outcome) => graph.returning(outcome.action.to_ret()),
            Verdict::First(clauses) => arguments::decide(graph, &clauses, abi.width(), default)
                .ok_or_else(|| Error::TooManyRules { call: called(number, abi), rules: clauses.len() })?,
        };
        ranges.at(number, to, default);
    }
    if let Some(next) = entries.highest.and_then(|highest| highest.checked_add(1)) {
        let newer = graph.returning(NEWER.to_ret());
        ranges.from(next, newer);
    }
    Ok(())
}

fn called(number: u32, abi: Abi) -> String {
    syscalls::name(number, abi).map_or_else(|| number.to_string(), str::to_owned)
}
