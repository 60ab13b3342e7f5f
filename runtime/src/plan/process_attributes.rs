//! The attributes of a process that one system call each sets, checked and turned from names into numbers.
//!
//! Rules: config.md "Linux Process", config-linux.md "Personality" and "Memory policy"; texts are runc's where it has one.

use std::collections::BTreeSet;

use super::process::Support;
use crate::affinity::Affinity;
use crate::bitmask::Bitmask;
use crate::capabilities::{self, CapSets};
use crate::error::{Error, Result};
use crate::mempolicy::{self, MemoryPolicy, Nodes};
use crate::personality::Personality;
use crate::rlimits::{self, Rlimit};
use crate::scheduler::{self, IoPriority};
use crate::spec;
use crate::sys::attributes::SchedAttr;

const SCHEDULER: &str = "/process/scheduler";
const MEMORY_POLICY: &str = "/linux/memoryPolicy";

/// Names that this kernel does not know are left out with one warning, as the spec asks.
pub(super) fn capabilities(
    process: &spec::Process,
    last: u32,
    warnings: &mut Vec<String>,
) -> Option<CapSets> {
    let given = process.capabilities.as_ref()?;
    let mut ignored = BTreeSet::new();
    let mut set = |names: &[String]| {
        names.iter().fold(0, |set, name| match capabilities::number(name) {
            Some(number) if number <= last => set | 1 << number,
            _ => {
                ignored.insert(name.clone());
                set
            }
        })
    };
    let sets = CapSets {
        last,
        bounding: set(&given.bounding),
        effective: set(&given.effective),
        permitted: set(&given.permitted),
        inheritable: set(given.inheritable.as_deref().unwrap_or_default()),
        ambient: set(&given.ambient),
    };
    if !ignored.is_empty() {
        let names: Vec<_> = ignored.into_iter().collect();
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")));
    }
    Some(sets)
}

pub(super) fn rlimits(given: &[spec::Rlimit]) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(given.len());
    for (index, &spec::Rlimit { ref kind, soft, hard }) in given.iter().enumerate() {
        let field = |name: &str| format!("/process/rlimits/{index}/{name}");
        let (name, resource) = rlimits::resource(kind)
            .ok_or_else(|| Error::refused(field("type"), format!("wrong rlimit value: {kind}")))?;
        if limits.iter().any(|limit| limit.name == name) {
            return Err(Error::refused(field("type"), format!("rlimit {name} is given more than once")));
        }
        if soft > hard {
            let reason = format!("invalid rlimit {name}: soft limit {soft} is above hard limit {hard}");
            return Err(Error::refused(field("soft"), reason));
        }
        limits.push(Rlimit { name, resource, soft, hard });
    }
    Ok(limits)
}

pub(super) fn oom_score_adj(given: Option<i64>) -> Result<Option<i32>> {
    let Some(score) = given else { return Ok(None) };
    match i32::try_from(score) {
        Ok(score @ -1000..=1000) => Ok(Some(score)),
        _ => Err(Error::refused(
            "/process/oomScoreAdj",
            format!("invalid oomScoreAdj: {score}: must be between -1000 and 1000"),
        )),
    }
}

pub(super) fn scheduler(given: &spec::Scheduler) -> Result<SchedAttr> {
    let refuse = |name: &str, reason: String| Error::refused(format!("{SCHEDULER}/{name}"), reason);
    let policy_name = given.policy.as_str();
    if policy_name.is_empty() {
        return Err(refuse("policy", "scheduler policy is required".into()));
    }
    let policy = scheduler::policy(policy_name)
        .ok_or_else(|| refuse("policy", format!("invalid scheduler policy: {policy_name}")))?;
    check_scheduler_fields(given)?;
    let mut flags = 0;
    for (index, name) in given.flags.iter().enumerate() {
        flags |= scheduler::flag(name)
            .ok_or_else(|| refuse(&format!("flags/{index}"), format!("invalid scheduler flag: {name}")))?;
    }
    let priority = u32::try_from(given.priority)
        .map_err(|_| refuse("priority", format!("invalid scheduler.priority: {}", given.priority)))?;
    Ok(SchedAttr {
        size: SchedAttr::SIZE,
        policy,
        flags,
        nice: given.nice,
        priority,
        runtime: given.runtime,
        deadline: given.deadline,
        period: given.period,
        ..SchedAttr::default()
    })
}

/// Which fields mean something under which policy.
fn check_scheduler_fields(given: &spec::Scheduler) -> Result<()> {
    let refuse = |name: &str, reason: String| Err(Error::refused(format!("{SCHEDULER}/{name}"), reason));
    let policy = given.policy.as_str();
    if matches!(policy, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&given.nice) {
        let reason = format!("invalid scheduler.nice: {} when scheduler.policy is {policy}", given.nice);
        return refuse("nice", reason);
    }
    if given.priority != 0 && !matches!(policy, "SCHED_FIFO" | "SCHED_RR") {
        let reason = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        return refuse("priority", reason.into());
    }
    let times = [("runtime", given.runtime), ("deadline", given.deadline), ("period", given.period)];
    match times.into_iter().find(|(_, time)| *time != 0) {
        Some((name, _)) if policy != "SCHED_DEADLINE" => {
            let reason = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
            refuse(name, reason.into())
        }
        _ => Ok(()),
    }
}

pub(super) fn io_priority(given: &spec::IoPriority) -> Result<IoPriority> {
    let refuse = |name: &str, reason: String| Error::refused(format!("/process/ioPriority/{name}"), reason);
    let priority = u8::try_from(given.priority).ok().filter(|priority| *priority <= 7);
    let priority = priority
        .ok_or_else(|| refuse("priority", format!("invalid ioPriority.Priority: {}", given.priority)))?;
    let class = scheduler::io_class(&given.class)
        .ok_or_else(|| refuse("class", format!("invalid ioPriority.Class: {:?}", given.class)))?;
    Ok(IoPriority::new(class, priority))
}

pub(super) fn affinity(given: Option<&spec::CpuAffinity>) -> Result<Affinity> {
    let Some(given) = given else {
        return Ok(Affinity::default());
    };
    let mask = |list: &str, field: &str, name: &str| {
        let mask = (!list.is_empty()).then(|| Bitmask::from_list(list)).transpose();
        mask.map_err(|reason| {
            Error::refused(
                format!("/process/execCPUAffinity/{field}"),
                format!("bad CPUAffinity.{name}: {reason}"),
            )
        })
    };
    Ok(Affinity {
        initial: mask(&given.initial, "initial", "Initial")?,
        last: mask(&given.last, "final", "Final")?,
    })
}

/// The spec defines no flag yet; runc warns and so do we.
pub(super) fn personality(
    given: Option<&spec::Personality>,
    warnings: &mut Vec<String>,
) -> Result<Option<Personality>> {
    let Some(spec::Personality { domain, flags }) = given else {
        return Ok(None);
    };
    if !flags.is_empty() {
        warnings.push(format!(
            "ignoring unsupported personality flags: [{}] because personality flag has not supported at this time",
            flags.join(" ")
        ));
    }
    let personality = Personality::from_domain(domain).ok_or_else(|| {
        Error::refused("/linux/personality/domain", format!("invalid personality domain {domain}"))
    })?;
    Ok(Some(personality))
}

pub(super) fn memory_policy(given: &spec::MemoryPolicy) -> Result<MemoryPolicy> {
    let refuse = |name: &str, reason: String| Error::refused(format!("{MEMORY_POLICY}/{name}"), reason);
    let (mut mode, wanted) = mempolicy::mode(&given.mode)
        .ok_or_else(|| refuse("mode", format!("invalid memory policy mode {:?}", given.mode)))?;
    let nodes = match given.nodes.as_str() {
        "" => Bitmask::default(),
        list => Bitmask::from_list(list)
            .map_err(|reason| refuse("nodes", format!("invalid memory policy nodes {list:?}: {reason}")))?,
    };
    for (index, name) in given.flags.iter().enumerate() {
        mode |= mempolicy::flag(name).ok_or_else(|| {
            refuse(&format!("flags/{index}"), format!("invalid memory policy flag {name:?}"))
        })?;
    }
    match (wanted, nodes.len()) {
        (Nodes::None, count @ 1..) => {
            Err(refuse("nodes", format!("memory policy mode requires 0 nodes but got {count}")))
        }
        (Nodes::Some, 0) => {
            Err(refuse("nodes", "memory policy mode requires at least one node but got 0".into()))
        }
        _ => Ok(MemoryPolicy { mode, nodes }),
    }
}

pub(super) fn apparmor(profile: &str, support: Support) -> Result<Option<String>> {
    match profile {
        "" => Ok(None),
        _ if !support.apparmor => Err(Error::refused(
            "/process/apparmorProfile",
            "apparmor: config provided but apparmor not supported",
        )),
        _ => Ok(Some(profile.to_owned())),
    }
}

pub(super) fn selinux(label: &str, support: Support) -> Result<Option<String>> {
    match label {
        "" => Ok(None),
        _ if !support.selinux => Err(Error::refused(
            "/process/selinuxLabel",
            "selinux label is specified in config, but selinux is disabled or not supported",
        )),
        _ => Ok(Some(label.to_owned())),
    }
}
