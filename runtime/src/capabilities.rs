//! The five capability sets of a process (capabilities(7)): their names, and how a process takes them on.
//!
//! The order around a change of user is the caller's: [`drop_bounding`], [`keep`], change of user, [`apply`].

use rustix::thread::{self, CapabilitySet};

use crate::error::{During as _, Result};
use crate::sys::{Errno, Named as _, errno_text};

/// Every capability that has a name, in the order of their numbers.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The sets to take on, a bit per capability number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CapSets {
    /// The highest that the kernel has, as [`last_supported`] says.
    pub(crate) last: u32,
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

/// The number of a capability, from its exact name.
pub(crate) fn number(name: &str) -> Option<u32> {
    (0u32..).zip(NAMES).find_map(|(number, known)| (known == name).then_some(number))
}

/// The highest capability this kernel has: `cap_last_cap`, found without /proc.
pub(crate) fn last_supported() -> Result<u32> {
    let newest = (0u32..).zip(NAMES).map(|(number, _)| number).last().unwrap_or_default();
    if is_supported(newest)? {
        let mut last = newest;
        while last < 63 && is_supported(last + 1)? {
            last += 1;
        }
        return Ok(last);
    }
    for number in (0..newest).rev() {
        if is_supported(number)? {
            return Ok(number);
        }
    }
    Ok(0)
}

/// Removes from the bounding set all that `sets` do not have there, also what this program has no name for.
pub(crate) fn drop_bounding(sets: &CapSets) -> Result<()> {
    for number in (0..=sets.last).filter(|number| sets.bounding & bit(*number) == 0) {
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit(number))) {
            Ok(()) => {}
            // Without CAP_SETPCAP nothing can be dropped, which is right where it is gone already.
            Err(Errno::PERM) if !is_bounded(number)? => {}
            Err(errno) => {
                return Err(errno)
                    .named(|| format!("prctl(PR_CAPBSET_DROP, {})", name(number)))
                    .during(|| "unable to apply bounding set".into());
            }
        }
    }
    Ok(())
}

/// Lets the permitted set survive the change from root to another user; execve ends this.
pub(crate) fn keep() -> Result<()> {
    thread::set_keep_capabilities(true)
        .named(|| "prctl(PR_SET_KEEPCAPS, 1)".into())
        .during(|| "unable to set keep caps".into())
}

/// Takes on the effective, permitted, inheritable and ambient sets. Returns a warning for each ambient capability
/// that the kernel did not raise.
pub(crate) fn apply(sets: &CapSets) -> Result<Vec<String>> {
    thread::set_capabilities(
        None,
        thread::CapabilitySets {
            effective: CapabilitySet::from_bits_retain(sets.effective),
            permitted: CapabilitySet::from_bits_retain(sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
        },
    )
    .named(|| {
        format!(
            "capset(effective {:#x}, permitted {:#x}, inheritable {:#x})",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
    .during(|| "unable to apply caps: can't apply capabilities".into())?;
    raise_ambient(sets)
}

fn raise_ambient(sets: &CapSets) -> Result<Vec<String>> {
    // capset has just taken from the ambient set all that is not both permitted and inheritable. What is left to
    // clear, if anything, was ambient in the runtime itself.
    if sets.permitted & sets.inheritable & !sets.ambient != 0 {
        thread::clear_ambient_capability_set()
            .named(|| "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)".into())?;
    }
    let mut warnings = Vec::new();
    for number in (0..64).filter(|number| sets.ambient & bit(*number) != 0) {
        let capability = CapabilitySet::from_bits_retain(bit(number));
        if let Err(errno) = thread::configure_capability_in_ambient_set(capability, true) {
            warnings.push(format!("can't raise ambient capability {}: {}", name(number), errno_text(errno)));
        }
    }
    Ok(warnings)
}

fn bit(number: u32) -> u64 {
    1 << number
}

fn name(number: u32) -> String {
    NAMES.get(number as usize).map_or_else(|| format!("CAP_{number}"), |name| (*name).to_string())
}

fn is_supported(number: u32) -> Result<bool> {
    match thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit(number))) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno).named(|| format!("prctl(PR_CAPBSET_READ, {number})")).map_err(Into::into),
    }
}

fn is_bounded(number: u32) -> Result<bool> {
    let bounded = thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit(number)))
        .named(|| format!("prctl(PR_CAPBSET_READ, {number})"))?;
    Ok(bounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, Setgroups, apply as apply_identity};

    /// The line of a field of `/proc/thread-self/status`, in words.
    fn status(field: &str) -> Vec<String> {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("read status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.expect("the field").split_whitespace().map(String::from).collect()
    }

    fn mask(field: &str) -> u64 {
        u64::from_str_radix(&status(field)[0], 16).expect("hexadecimal")
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (name, expected) in [("CAP_CHOWN", 0), ("CAP_SYS_ADMIN", 21), ("CAP_CHECKPOINT_RESTORE", 40)] {
            assert_eq!(number(name), Some(expected));
        }
        assert_eq!((number("cap_chown"), number("CHOWN"), number("")), (None, None, None));
    }

    #[test]
    fn the_last_capability_is_the_kernels() {
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("read cap_last_cap");
        assert_eq!(last_supported().expect("probe").to_string(), last.trim());
    }

    #[test]
    fn a_process_ends_up_with_its_user_and_exactly_its_sets() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can change its user");
            return;
        }
        let (chown, kill, raw, admin) = (1, 1 << 5, 1 << 13, 1 << 21);
        let sets = CapSets {
            last: last_supported().expect("probe"),
            bounding: chown | kill | raw,
            permitted: chown | kill,
            effective: kill,
            inheritable: chown | raw,
            // Neither permitted nor inheritable: the kernel refuses the second.
            ambient: chown | admin,
        };
        let identity = Identity { uid: 4321, gid: 1234, groups: vec![7, 5] };
        std::thread::spawn(move || {
            drop_bounding(&sets).expect("drop");
            keep().expect("keep");
            apply_identity(&identity, Setgroups::Allow).expect("change user");
            let warnings = apply(&sets).expect("apply");
            assert_eq!(warnings, ["can't raise ambient capability CAP_SYS_ADMIN: operation not permitted"]);
            assert_eq!((mask("CapBnd"), mask("CapPrm")), (sets.bounding, sets.permitted));
            assert_eq!((mask("CapEff"), mask("CapInh")), (sets.effective, sets.inheritable));
            assert_eq!(mask("CapAmb"), chown);
            assert_eq!(
                (status("Uid"), status("Gid")),
                (vec!["4321".to_string(); 4], vec!["1234".to_string(); 4])
            );
            assert_eq!(status("Groups"), ["5", "7"]);
        })
        .join()
        .expect("the thread's own assertions");
    }

    #[test]
    fn what_was_ambient_before_does_not_stay() {
        let both = CapSets { permitted: 1, inheritable: 1, ambient: 1, ..CapSets::default() };
        std::thread::spawn(move || {
            assert!(apply(&both).expect("apply").is_empty());
            assert_eq!(mask("CapAmb"), 1);
            assert!(apply(&CapSets { ambient: 0, ..both }).expect("apply").is_empty());
            assert_eq!((mask("CapAmb"), mask("CapPrm"), mask("CapInh")), (0, 1, 1));
        })
        .join()
        .expect("the thread's own assertions");
    }
}
