//! What `features` says about seccomp (features-linux.md): what a profile may name here, and what this kernel can do.

use crate::abi::Abi;
use crate::action::Action;
use crate::sys;

/// The actions a profile may name, sorted.
pub fn actions() -> &'static [&'static str] {
    &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ]
}

/// The operators an argument may be compared with, sorted.
pub fn operators() -> &'static [&'static str] {
    &[
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ]
}

/// The ABIs a profile may list, sorted. Those of the other byte order are refused, so they are not here.
pub fn archs() -> Vec<&'static str> {
    let mut names = Abi::ALL.map(Abi::name).to_vec();
    names.sort_unstable();
    names
}

/// The flags a profile may set, in runc's order.
pub fn known_flags() -> [&'static str; 4] {
    FLAGS.map(|(name, _)| name)
}

/// The actions of a profile that this kernel lacks; asks it.
pub fn missing_actions() -> Vec<&'static str> {
    let lacks = |name: &&str| {
        Action::parse(name, None).is_ok_and(|action| !sys::takes_action(action.to_ret() & ACTION))
    };
    actions().iter().copied().filter(lacks).collect()
}

/// Those of the known flags that this kernel takes; asks it.
pub fn supported_flags() -> Vec<&'static str> {
    FLAGS.into_iter().filter(|(_, flag)| sys::takes_flag(*flag)).map(|(name, _)| name).collect()
}

/// `SECCOMP_RET_ACTION_FULL`: without the data.
const ACTION: u32 = 0xffff_0000;

const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", sys::FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", sys::FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::FLAG_WAIT_KILLABLE_RECV),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Profile, compile};

    #[test]
    fn everything_listed_is_accepted() {
        for arch in archs() {
            let architectures = vec![arch.to_owned()];
            let profile =
                Profile { default_action: "SCMP_ACT_ALLOW".into(), architectures, ..Profile::default() };
            assert!(compile(&profile).is_ok(), "{arch}");
        }
        for flag in known_flags() {
            let flags = Some(vec![flag.to_owned()]);
            let notify = crate::Rule {
                names: vec!["mkdir".into()],
                action: "SCMP_ACT_NOTIFY".into(),
                ..Default::default()
            };
            let profile = Profile {
                default_action: "SCMP_ACT_ALLOW".into(),
                flags,
                listener_path: "/run/agent".into(),
                syscalls: vec![notify],
                ..Profile::default()
            };
            assert!(compile(&profile).is_ok(), "{flag}");
        }
    }

    #[test]
    fn lists_are_sorted_as_runcs() {
        assert!(actions().is_sorted() && operators().is_sorted() && archs().is_sorted());
    }

    #[test]
    fn the_kernel_takes_its_oldest_flag_and_no_invented_one() {
        assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_TSYNC"));
        assert!(!sys::takes_flag(1 << 30));
    }
}
