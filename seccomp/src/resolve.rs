//! Checked rules brought to the numbers of one ABI, and which of several rules for one call decides.
//!
//! The order is libseccomp's (db.c): a rule without conditions beats all with conditions, the first of several
//! such rules wins; rules with conditions are tried from the highest argument down, equality before upper bounds
//! before lower bounds, larger constants first. runc's -ENOSYS rule (patchbpf) is resolved here as well.

use std::cmp::Reverse;

use crate::abi::{Abi, Width};
use crate::action::Action;
use crate::condition::{Condition, Op};
use crate::rules::Rules;
use crate::syscalls::{Syscall, multiplexed};

/// What happens to each number of one ABI.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// By ascending number; other numbers get the default action.
    pub(crate) calls: Vec<(u32, Verdict)>,
    /// Numbers above this one fail with `ENOSYS`.
    pub(crate) highest: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Always(Outcome),
    /// The first clause that holds decides, else the default action.
    First(Vec<Clause>),
}

/// An action and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) action: Action,
    /// The index in the profile's `syscalls`.
    pub(crate) rule: usize,
}

/// An outcome when all conditions hold; they are narrowed to the ABI, by ascending argument, one per argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) outcome: Outcome,
}

/// Resolves the rules for every ABI of `rules.abis`, in that order; collects names no ABI has.
pub(crate) fn resolve<'p>(rules: &Rules<'p>, unknown: &mut Vec<&'p str>) -> Vec<(Abi, Resolved)> {
    let mut entries: Vec<Entries> = rules.abis.iter().map(|abi| Entries::new(*abi)).collect();
    for (index, rule) in rules.list.iter().enumerate() {
        let skipped = rule.action == rules.default;
        for name in rule.names {
            let Some(call) = Syscall::named(name) else {
                unknown.push(name);
                continue;
            };
            for entries in &mut entries {
                entries.see(call, name);
                if !skipped {
                    entries.add(call, name, index, &rule.alternatives);
                }
            }
        }
    }
    let stub = rules.denies_by_default();
    entries.into_iter().map(|entries| (entries.abi, entries.resolved(rules, stub))).collect()
}

/// The rules for one ABI, unsorted.
struct Entries<'r> {
    abi: Abi,
    /// Number in the upper half, position in `sources` in the lower: sorting groups by number, in profile order.
    keys: Vec<u64>,
    sources: Vec<Source<'r>>,
    highest: u32,
}

struct Source<'r> {
    rule: usize,
    conditions: &'r [Condition],
    /// The value of the first argument that a multiplexing call has for this one.
    selector: Option<u32>,
}

impl<'r> Entries<'r> {
    fn new(abi: Abi) -> Self {
        Self { abi, keys: Vec::new(), sources: Vec::new(), highest: 0 }
    }

    /// runc looks for the highest number among all rules, even those it skips, but asks for a name libseccomp may
    /// answer with a pseudo number: a multiplexed call never is the highest.
    fn see(&mut self, call: Syscall, name: &str) {
        let direct = !(self.abi.multiplexes() && multiplexed(name).is_some());
        if let Some(number) = call.number(self.abi).filter(|_| direct) {
            self.highest = self.highest.max(number);
        }
    }

    fn add(&mut self, call: Syscall, name: &str, rule: usize, alternatives: &'r [Vec<Condition>]) {
        let carrier = if self.abi.multiplexes() { multiplexed(name) } else { None };
        let carrier = carrier.and_then(|(carrier, selector)| Some((carrier.number(self.abi)?, selector)));
        for conditions in alternatives {
            if let Some((number, selector)) = carrier {
                self.push(number, Source { rule, conditions, selector: Some(selector) });
            }
            if let Some(number) = call.number(self.abi) {
                self.push(number, Source { rule, conditions, selector: None });
            }
        }
    }

    fn push(&mut self, number: u32, source: Source<'r>) {
        self.keys.push(u64::from(number) << 32 | self.sources.len() as u64);
        self.sources.push(source);
    }

    fn resolved(mut self, rules: &Rules<'_>, stub: bool) -> Resolved {
        self.keys.sort_unstable();
        let width = self.abi.width();
        let calls = self.keys.chunk_by(|a, b| a >> 32 == b >> 32).filter_map(|group| {
            let number = u32::try_from(group.first()? >> 32).ok()?;
            let sources = group.iter().map(|key| &self.sources[position(*key)]);
            Some((number, verdict(sources, rules, width)))
        });
        Resolved { calls: calls.collect(), highest: (stub && self.highest != 0).then_some(self.highest) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what was put there")]
fn position(key: u64) -> usize {
    key as u32 as usize
}

fn verdict<'a>(sources: impl Iterator<Item = &'a Source<'a>>, rules: &Rules<'_>, width: Width) -> Verdict {
    let mut clauses = Vec::new();
    for source in sources {
        let outcome = Outcome { action: rules.list[source.rule].action, rule: source.rule };
        let conditions = narrowed(source, width);
        if conditions.is_empty() {
            return Verdict::Always(outcome);
        }
        clauses.push(Clause { conditions, outcome });
    }
    clauses.sort_by_cached_key(|clause| rank(clause, width));
    Verdict::First(clauses)
}

/// As libseccomp does for socketcall(2) and ipc(2), the selector takes the place of a condition on argument 0.
fn narrowed(source: &Source<'_>, width: Width) -> Vec<Condition> {
    let selector = source.selector.map(|value| Condition::new(0, Op::Eq, u64::from(value), 0));
    let own = source.conditions.iter().filter(|c| selector.is_none() || c.arg != 0);
    let mut conditions: Vec<_> = selector.iter().chain(own).filter_map(|c| c.narrowed(width)).collect();
    conditions.sort_by_key(|c| c.arg);
    conditions
}

type Rank = (bool, Reverse<u8>, u8, Reverse<u32>);

/// A sort key in libseccomp's order of the nodes of its argument trees: one element for each half compared. The
/// closing element makes a shorter chain come before the longer ones it is the beginning of.
fn rank(clause: &Clause, width: Width) -> Vec<Rank> {
    let mut rank: Vec<Rank> = clause.conditions.iter().flat_map(|c| halves(c, width)).collect();
    rank.push((false, Reverse(0), 0, Reverse(0)));
    rank
}

fn halves(condition: &Condition, width: Width) -> impl Iterator<Item = Rank> {
    let (class, value) = match condition.op {
        Op::Eq | Op::Ne | Op::MaskedEq => (0, condition.value),
        Op::Lt | Op::Le => (1, !condition.value),
        Op::Ge | Op::Gt => (2, condition.value),
    };
    let arg = condition.arg * 2;
    let high = (true, Reverse(arg + 1), class, Reverse(upper(value)));
    let low = (true, Reverse(arg), class, Reverse(lower(value)));
    (width == Width::Bits64).then_some(high).into_iter().chain([low])
}

pub(crate) fn upper(value: u64) -> u32 {
    lower(value >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is asked for")]
pub(crate) fn lower(value: u64) -> u32 {
    value as u32
}
