//! The NUMA memory policy of the calling process (`set_mempolicy(2)`): names, rules of each mode, and the call.

use crate::bitmask::Bitmask;
use crate::error::{During as _, Result};
use crate::sys::attributes::set_mempolicy;

/// How many nodes a mode takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    None,
    Any,
    Some,
}

const MODES: [(&str, i32, Nodes); 7] = [
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

const FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// A mode with its flags, and the nodes it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    pub(crate) mode: i32,
    pub(crate) nodes: Bitmask,
}

/// The number of a mode and how many nodes it takes.
pub(crate) fn mode(name: &str) -> Option<(i32, Nodes)> {
    MODES.iter().find_map(|(known, mode, nodes)| (*known == name).then_some((*mode, *nodes)))
}

pub(crate) fn flag(name: &str) -> Option<i32> {
    FLAGS.iter().find_map(|(known, flag)| (*known == name).then_some(*flag))
}

/// The names of all modes, sorted.
pub(crate) fn mode_names() -> impl Iterator<Item = &'static str> {
    MODES.iter().map(|(name, ..)| *name)
}

/// The names of all flags, sorted.
pub(crate) fn flag_names() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// Takes on the policy; it survives execve.
pub(crate) fn set(policy: &MemoryPolicy) -> Result<()> {
    set_mempolicy(policy.mode, policy.nodes.words()).during(|| "unable to set memory policy".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;

    fn policy(name: &str, nodes: &str) -> MemoryPolicy {
        let (mode, _) = mode(name).expect("a mode");
        let nodes =
            if nodes.is_empty() { Bitmask::default() } else { Bitmask::from_list(nodes).expect("a list") };
        MemoryPolicy { mode, nodes }
    }

    #[test]
    fn a_policy_shows_in_the_memory_map() {
        std::thread::spawn(|| match set(&policy("MPOL_BIND", "0")) {
            Err(error) if error.errno() == Some(Errno::NOSYS.raw_os_error()) => {
                eprintln!("skipped: the kernel has no memory policies");
            }
            result => {
                result.expect("set");
                let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").expect("read numa_maps");
                assert!(maps.lines().any(|line| line.contains(" bind:0 ")), "{maps}");
                set(&policy("MPOL_DEFAULT", "")).expect("reset");
            }
        })
        .join()
        .expect("the thread's own assertions");
    }

    #[test]
    fn names_are_sorted() {
        assert!(mode_names().is_sorted() && flag_names().is_sorted());
    }
}
