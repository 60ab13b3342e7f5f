//! A default profile equal in effect to Docker's (github.com/moby/profiles, June 2026): what a container may call by its
//! capabilities, its architecture and the kernel. Data and its resolution; the caller compiles or serialises it.

mod names;

use names::{ALWAYS, TRACING, WITH_CAPABILITY};

use crate::abi::Abi;
use crate::profile::{Arg, Profile, Rule};

/// What the profile depends on.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// The bounding set, by names such as `CAP_SYS_ADMIN`.
    pub capabilities: &'a [String],
    /// The host's kernel, major and minor.
    pub kernel: (u32, u32),
}

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}` of linux/sched.h.
const CLONE_NEW: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
/// `PER_LINUX` and `PER_LINUX32` (linux/personality.h) with and without `UNAME26`, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];
const ENOSYS: u32 = 38;

/// The default profile of a container on this build's architecture.
pub fn for_container(container: Container<'_>) -> Profile {
    let has = |wanted: &str| container.capabilities.iter().any(|name| name == wanted);
    let mut syscalls = vec![allow(ALWAYS)];
    if container.kernel >= (4, 8) {
        syscalls.push(allow(TRACING));
    }
    syscalls.extend(sockets());
    syscalls.extend(PERSONALITIES.map(|value| allow_if("personality", compare(0, "SCMP_CMP_EQ", value))));
    syscalls.extend(of_architecture().map(allow));
    syscalls.extend(WITH_CAPABILITY.iter().filter(|(name, _)| has(name)).map(|(_, names)| allow(names)));
    if !has("CAP_SYS_ADMIN") {
        syscalls.extend(no_new_namespaces());
    }
    Profile {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: Some(1),
        architectures: architectures().iter().map(|abi| abi.name().to_owned()).collect(),
        syscalls,
        ..Profile::default()
    }
}

/// The native ABI and those its kernel also runs.
fn architectures() -> &'static [Abi] {
    match Abi::native() {
        Abi::X86_64 => &[Abi::X86_64, Abi::X86, Abi::X32],
        Abi::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        Abi::Mipsel64 => &[Abi::Mipsel64, Abi::Mipsel, Abi::Mipsel64N32],
        Abi::Mipsel64N32 => &[Abi::Mipsel64N32, Abi::Mipsel, Abi::Mipsel64],
        Abi::Riscv64 => &[Abi::Riscv64],
        Abi::Loongarch64 => &[Abi::Loongarch64],
        Abi::X86 | Abi::X32 | Abi::Arm | Abi::Mipsel | Abi::Ppc64Le => &[],
    }
}

fn of_architecture() -> Option<&'static str> {
    match Abi::native() {
        Abi::X86_64 | Abi::X32 => Some("arch_prctl modify_ldt"),
        Abi::X86 => Some("modify_ldt"),
        Abi::Aarch64 | Abi::Arm => {
            Some("arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2")
        }
        Abi::Ppc64Le => Some("swapcontext sync_file_range2"),
        Abi::Riscv64 => Some("riscv_flush_icache"),
        Abi::Mipsel | Abi::Mipsel64 | Abi::Mipsel64N32 | Abi::Loongarch64 => None,
    }
}

/// Every address family but the kernel's crypto sockets and those to the hypervisor. Three rules, because two
/// conditions on one argument in one rule would each count alone.
fn sockets() -> [Rule; 3] {
    [("SCMP_CMP_LT", AF_ALG), ("SCMP_CMP_EQ", AF_ALG + 1), ("SCMP_CMP_GT", AF_VSOCK)]
        .map(|(op, family)| allow_if("socket", compare(0, op, family)))
}

/// clone(2) without namespaces. A filter cannot look into the arguments of clone3(2), and its callers fall back to
/// clone(2) on `ENOSYS` alone.
fn no_new_namespaces() -> [Rule; 2] {
    let without = Arg { index: 0, value: CLONE_NEW, value_two: 0, op: "SCMP_CMP_MASKED_EQ".into() };
    let clone3 = Rule { action: "SCMP_ACT_ERRNO".into(), errno_ret: Some(ENOSYS), ..allow("clone3") };
    [allow_if("clone", without), clone3]
}

fn allow(names: &str) -> Rule {
    let names = names.split_whitespace().map(str::to_owned).collect();
    Rule { names, action: "SCMP_ACT_ALLOW".into(), ..Rule::default() }
}

fn allow_if(name: &str, arg: Arg) -> Rule {
    Rule { args: vec![arg], ..allow(name) }
}

fn compare(index: u32, op: &str, value: u64) -> Arg {
    Arg { index, value, value_two: 0, op: op.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Call, Explainer, syscalls};

    fn verdict(capabilities: &[&str], kernel: (u32, u32), name: &str, args: [u64; 6]) -> Action {
        let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).to_owned()).collect();
        let profile = for_container(Container { capabilities: &capabilities, kernel });
        let number = syscalls::number(name, Abi::native()).expect(name);
        let call = Call { number, token: Abi::native().token(), args };
        Explainer::new(&profile).expect("the default profile is valid").explain(&call).action
    }

    const NOTHING: [u64; 6] = [0; 6];

    #[test]
    fn every_name_is_a_call_somewhere() {
        let capabilities: Vec<String> = WITH_CAPABILITY.iter().map(|(name, _)| (*name).to_owned()).collect();
        let profile = for_container(Container { capabilities: &capabilities, kernel: (6, 0) });
        let program = crate::compile(&profile).expect("the default profile is valid");
        assert_eq!(program.unknown(), [] as [&str; 0]);
    }

    #[test]
    fn capabilities_open_their_calls() {
        assert_eq!(verdict(&[], (6, 1), "mount", NOTHING), Action::Errno(1));
        assert_eq!(verdict(&["CAP_SYS_ADMIN"], (6, 1), "mount", NOTHING), Action::Allow);
        assert_eq!(verdict(&["CAP_SYS_TIME"], (6, 1), "clock_settime", NOTHING), Action::Allow);
        assert_eq!(verdict(&["CAP_SYS_TIME"], (6, 1), "bpf", NOTHING), Action::Errno(1));
    }

    #[test]
    fn namespaces_need_sys_admin() {
        let newuser = [0x1000_0011, 0, 0, 0, 0, 0];
        assert_eq!(verdict(&[], (6, 1), "clone", newuser), Action::Errno(1));
        assert_eq!(verdict(&[], (6, 1), "clone", [0x0120_0011, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(verdict(&[], (6, 1), "clone3", NOTHING), Action::Errno(38));
        assert_eq!(verdict(&["CAP_SYS_ADMIN"], (6, 1), "clone", newuser), Action::Allow);
        assert_eq!(verdict(&["CAP_SYS_ADMIN"], (6, 1), "clone3", NOTHING), Action::Allow);
    }

    #[test]
    fn tracing_needs_the_kernel_or_the_capability() {
        assert_eq!(verdict(&[], (4, 7), "ptrace", NOTHING), Action::Errno(1));
        assert_eq!(verdict(&[], (4, 8), "ptrace", NOTHING), Action::Allow);
        assert_eq!(verdict(&["CAP_SYS_PTRACE"], (3, 10), "ptrace", NOTHING), Action::Allow);
    }

    #[test]
    fn two_socket_families_are_denied() {
        let socket = |family| verdict(&[], (6, 1), "socket", [family, 0, 0, 0, 0, 0]);
        assert_eq!([1, 2, 37, 39, 41].map(socket), [Action::Allow; 5]);
        assert_eq!([38, 40].map(socket), [Action::Errno(1); 2]);
    }
}
