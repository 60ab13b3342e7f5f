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

/// A name in a rule that is a call on some ABI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    call: Syscall,
    /// The call that carries it on ABIs that multiplex, and the first argument it does so with.
    carrier: Option<(Syscall, u8)>,
    /// The index in the profile's `syscalls`.
    rule: usize,
}

/// Looks up the names of all rules, in their order; collects those no ABI has.
pub(crate) fn look_up<'p>(rules: &Rules<'p>, unknown: &mut Vec<&'p str>) -> Vec<Named> {
    let mut found = Vec::with_capacity(rules.list.iter().map(|rule| rule.names.len()).sum());
    for (rule, checked) in rules.list.iter().enumerate() {
        for name in checked.names {
            match Syscall::named(name) {
                Some(call) => found.push(Named { call, carrier: multiplexed(name), rule }),
                None => unknown.push(name),
            }
        }
    }
    found
}

/// What the rules say about the calls of one ABI.
pub(crate) struct Entries<'r> {
    pub(crate) abi: Abi,
    /// Numbers above this one fail with `ENOSYS`.
    pub(crate) highest: Option<u32>,
    rules: &'r Rules<'r>,
    /// Number in the upper half, position in `sources` in the lower: sorting groups by number, in profile order.
    keys: Vec<u64>,
    sources: Vec<Source>,
}

/// One of the alternatives of one rule.
struct Source {
    rule: usize,
    alternative: u32,
    /// The value of the first argument that a multiplexing call has for this one.
    selector: Option<u8>,
}

impl<'r> Entries<'r> {
    pub(crate) fn new(abi: Abi, rules: &'r Rules<'r>, named: &[Named]) -> Self {
        let (keys, sources) = (Vec::with_capacity(named.len()), Vec::with_capacity(named.len()));
        let mut entries = Self { abi, highest: None, rules, keys, sources };
        for named in named {
            entries.see(named);
            if rules.list[named.rule].action != rules.default {
                entries.add(named);
            }
        }
        entries.keys.sort_unstable();
        entries.highest = entries.highest.filter(|highest| *highest != 0 && rules.denies_by_default());
        entries
    }

    /// runc looks for the highest number among all rules, even those it skips, but asks for a name libseccomp may
    /// answer with a pseudo number: a multiplexed call never is the highest.
    fn see(&mut self, named: &Named) {
        let direct = !(self.abi.multiplexes() && named.carrier.is_some());
        let number = named.call.number(self.abi).filter(|_| direct);
        self.highest = self.highest.max(number);
    }

    fn add(&mut self, named: &Named) {
        let carrier = named.carrier.filter(|_| self.abi.multiplexes());
        let carried =
            carrier.and_then(|(carrier, selector)| Some((carrier.number(self.abi)?, Some(selector))));
        let direct = named.call.number(self.abi).map(|number| (number, None));
        for (alternative, _) in (0..).zip(&self.rules.list[named.rule].alternatives) {
            for (number, selector) in carried.into_iter().chain(direct) {
                self.keys.push(u64::from(number) << 32 | self.sources.len() as u64);
                self.sources.push(Source { rule: named.rule, alternative, selector });
            }
        }
    }

    /// What happens to each number, by ascending number; to others, what the default action says.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (u32, Verdict)> {
        self.keys.chunk_by(|a, b| a >> 32 == b >> 32).filter_map(|group| {
            let number = u32::try_from(group.first()? >> 32).ok()?;
            Some((number, self.verdict(group.iter().map(|key| &self.sources[position(*key)]))))
        })
    }

    fn verdict<'s>(&self, sources: impl Iterator<Item = &'s Source>) -> Verdict {
        let width = self.abi.width();
        let mut clauses = Vec::new();
        for source in sources {
            let rule = &self.rules.list[source.rule];
            let outcome = Outcome { action: rule.action, rule: source.rule };
            let alternative = &rule.alternatives[source.alternative as usize];
            let conditions = narrowed(alternative, source.selector, width);
            if conditions.is_empty() {
                return Verdict::Always(outcome);
            }
            clauses.push(Clause { conditions, outcome });
        }
        clauses.sort_by_cached_key(|clause| rank(clause, width));
        Verdict::First(clauses)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what was put there")]
fn position(key: u64) -> usize {
    key as u32 as usize
}

/// As libseccomp does for socketcall(2) and ipc(2), the selector takes the place of a condition on argument 0.
fn narrowed(conditions: &[Condition], selector: Option<u8>, width: Width) -> Vec<Condition> {
    let selector = selector.map(|value| Condition::new(0, Op::Eq, value.into(), 0));
    let own = conditions.iter().filter(|c| selector.is_none() || c.arg != 0);
    let mut conditions: Vec<_> = selector.iter().chain(own).filter_map(|c| c.narrowed(width)).collect();
    conditions.sort_unstable_by_key(|c| c.arg);
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
