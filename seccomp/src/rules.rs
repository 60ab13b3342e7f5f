//! A profile with every name understood: the only way from [`Profile`] to anything else.
//!
//! Refuses, in runc's order and with runc's texts, what it does not know; decides nothing about numbers or ABIs.

use crate::abi::{Abi, Named};
use crate::action::{Action, BadAction};
use crate::condition::{Condition, Op};
use crate::error::Error;
use crate::profile::{Arg, Profile, Rule};
use crate::sys;

/// The checked profile. Borrows the names.
#[derive(Debug)]
pub(crate) struct Rules<'p> {
    pub(crate) default: Action,
    /// The native ABI first, then the others in the order given, once each.
    pub(crate) abis: Vec<Abi>,
    /// The flags of seccomp(2).
    pub(crate) flags: u32,
    pub(crate) list: Vec<Checked<'p>>,
}

/// One element of `syscalls`.
#[derive(Debug)]
pub(crate) struct Checked<'p> {
    pub(crate) names: &'p [String],
    pub(crate) action: Action,
    /// Any of these lets the rule apply; a list applies when all of it holds. An empty list always does.
    pub(crate) alternatives: Vec<Vec<Condition>>,
}

impl<'p> Rules<'p> {
    pub(crate) fn of(profile: &'p Profile) -> Result<Self, Error> {
        let flags = flags(profile)?;
        let abis = abis(&profile.architectures)?;
        let default =
            action(&profile.default_action, profile.default_errno_ret, || "defaultAction".to_owned())?;
        let list = profile
            .syscalls
            .iter()
            .enumerate()
            .map(|(i, rule)| checked(i, rule))
            .collect::<Result<_, _>>()?;
        let mut rules = Self { default, abis, flags, list };
        rules.check_notify(profile)?;
        Ok(rules)
    }

    /// Whether runc answers calls above the highest one of the profile with `ENOSYS`: whenever the default denies.
    /// A tracer is left alone, it may know newer calls.
    pub(crate) fn denies_by_default(&self) -> bool {
        !matches!(self.default, Action::Allow | Action::Log | Action::Trace(_))
    }

    fn check_notify(&mut self, profile: &Profile) -> Result<(), Error> {
        let mut asks =
            self.list.iter().filter(|rule| rule.action == Action::Notify && !rule.names.is_empty());
        if asks.clone().any(|rule| rule.names.iter().any(|name| name == "write")) {
            return Err(Error::NotifyWrite);
        }
        if self.default == Action::Notify {
            return Err(Error::NotifyDefault);
        }
        if asks.next().is_some() {
            if profile.listener_path.is_empty() {
                return Err(Error::NoListenerPath);
            }
            self.flags |= sys::FLAG_NEW_LISTENER;
        } else if self.flags & sys::FLAG_WAIT_KILLABLE_RECV != 0 {
            return Err(Error::FlagNeedsNotify);
        }
        Ok(())
    }
}

fn flags(profile: &Profile) -> Result<u32, Error> {
    let Some(names) = &profile.flags else {
        return Ok(sys::FLAG_SPEC_ALLOW);
    };
    names.iter().try_fold(0, |flags, name| {
        let flag = match name.as_str() {
            // A container's first process has one thread when the filter is installed: nothing to synchronise.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => sys::FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => sys::FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => sys::FLAG_WAIT_KILLABLE_RECV,
            _ => return Err(Error::Flag(name.clone())),
        };
        Ok(flags | flag)
    })
}

fn abis(names: &[String]) -> Result<Vec<Abi>, Error> {
    let mut abis = vec![Abi::native()];
    for (index, name) in names.iter().enumerate() {
        match Abi::named(name) {
            Named::Known(abi) if abis.contains(&abi) => {}
            Named::Known(abi) => abis.push(abi),
            Named::OtherByteOrder => {
                return Err(Error::ByteOrder { index, name: name.clone() });
            }
            Named::Unknown => {
                return Err(Error::Arch { index, name: name.clone() });
            }
        }
    }
    Ok(abis)
}

fn action(name: &str, data: Option<u32>, field: impl Fn() -> String) -> Result<Action, Error> {
    Action::parse(name, data).map_err(|bad| match bad {
        BadAction::Unknown => Error::Action { field: field(), name: name.to_owned() },
        BadAction::Data(value) => Error::ErrnoRet { field: field(), value },
    })
}

fn checked(index: usize, rule: &Rule) -> Result<Checked<'_>, Error> {
    let action = action(&rule.action, rule.errno_ret, || format!("syscalls[{index}].action"))?;
    if rule.names.iter().any(String::is_empty) {
        return Err(Error::EmptyName { rule: index });
    }
    let conditions = rule
        .args
        .iter()
        .enumerate()
        .map(|(i, arg)| condition(index, i, arg))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Checked { names: &rule.names, action, alternatives: alternatives(conditions) })
}

fn condition(rule: usize, index: usize, arg: &Arg) -> Result<Condition, Error> {
    let op = Op::parse(&arg.op).ok_or_else(|| Error::Operator { rule, index, name: arg.op.clone() })?;
    let number = u8::try_from(arg.index).ok().filter(|number| *number < 6);
    let number = number.ok_or(Error::ArgIndex { rule, index, value: arg.index })?;
    Ok(Condition::new(number, op, arg.value, arg.value_two))
}

/// All conditions must hold, unless two look at one argument: then runc makes each a rule of its own.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = [false; 6];
    let repeated = conditions.iter().any(|c| std::mem::replace(&mut seen[usize::from(c.arg)], true));
    if repeated { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] }
}
