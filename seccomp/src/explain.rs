//! The verdict on one call read from the rules themselves, with the reason. Shares no code with the emitter, so the
//! tests compare the two.

use std::fmt;

use crate::abi::{Abi, X32_BIT};
use crate::action::Action;
use crate::compile::{NEWER, OTHER_ABI};
use crate::error::Error;
use crate::interpret::Call;
use crate::profile::Profile;
use crate::resolve::{Clause, Entries, Verdict, look_up};
use crate::rules::Rules;

/// A verdict and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What happens.
    pub action: Action,
    /// Why.
    pub because: Because,
}

/// Why a call gets its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Of this element of `linux.seccomp.syscalls`.
    Rule(usize),
    /// No rule holds: `defaultAction`.
    Default,
    /// Its number is above the highest the profile names on its ABI.
    NewerThan(u32),
    /// Its ABI is not in `architectures`.
    OtherAbi,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(index) => write!(f, "linux.seccomp.syscalls[{index}]"),
            Self::Default => f.write_str("linux.seccomp.defaultAction"),
            Self::NewerThan(highest) => write!(f, "above {highest}, the highest number the profile names"),
            Self::OtherAbi => f.write_str("not of linux.seccomp.architectures"),
        }
    }
}

/// A profile prepared to explain many calls.
#[derive(Debug)]
pub struct Explainer {
    default: Action,
    abis: Vec<Resolved>,
}

/// What happens to each number of one ABI.
#[derive(Debug)]
struct Resolved {
    abi: Abi,
    /// By ascending number; other numbers get the default action.
    calls: Vec<(u32, Verdict)>,
    highest: Option<u32>,
}

impl Explainer {
    /// Checks the profile as [`crate::compile`] does, with the same errors.
    pub fn new(profile: &Profile) -> Result<Self, Error> {
        let rules = Rules::of(profile)?;
        let named = look_up(&rules, &mut Vec::new());
        let resolved = |abi: &Abi| {
            let entries = Entries::new(*abi, &rules, &named);
            Resolved { abi: *abi, calls: entries.calls().collect(), highest: entries.highest }
        };
        Ok(Self { default: rules.default, abis: rules.abis.iter().map(resolved).collect() })
    }

    /// The ABIs the filter is for, the native one first.
    pub fn abis(&self) -> impl Iterator<Item = Abi> {
        self.abis.iter().map(|resolved| resolved.abi)
    }

    /// The verdict on a call.
    pub fn explain(&self, call: &Call) -> Explanation {
        let default = Explanation { action: self.default, because: Because::Default };
        let Some(resolved) = self.resolved(call) else {
            let skipped = call.number == u32::MAX && self.abis().any(|abi| abi.token() == call.token);
            let other = Explanation { action: OTHER_ABI, because: Because::OtherAbi };
            return if skipped { default } else { other };
        };
        if let Some(highest) = resolved.highest.filter(|highest| call.number > *highest) {
            return Explanation { action: NEWER, because: Because::NewerThan(highest) };
        }
        resolved.outcome(call).unwrap_or(default)
    }

    /// The rules of the call's ABI.
    fn resolved(&self, call: &Call) -> Option<&Resolved> {
        let x32 = call.token == Abi::X32.token() && call.number >= X32_BIT;
        let same = |abi: Abi| abi.token() == call.token && (abi == Abi::X32) == x32;
        self.abis.iter().find(|resolved| same(resolved.abi))
    }
}

impl Resolved {
    fn outcome(&self, call: &Call) -> Option<Explanation> {
        let at = self.calls.binary_search_by_key(&call.number, |(number, _)| *number).ok()?;
        let outcome = match &self.calls[at].1 {
            Verdict::Always(outcome) => outcome,
            Verdict::First(clauses) => {
                let holds = |clause: &&Clause| {
                    clause.conditions.iter().all(|c| c.holds(call.args[usize::from(c.arg)]))
                };
                &clauses.iter().find(holds)?.outcome
            }
        };
        Some(Explanation { action: outcome.action, because: Because::Rule(outcome.rule) })
    }
}
