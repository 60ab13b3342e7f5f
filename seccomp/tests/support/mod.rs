//! Profiles to compile and calls to try on them, for every test of verdicts.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeMap, BTreeSet};

use knarr_seccomp::default_profile::{Container, for_container};
use knarr_seccomp::{Abi, Arg, Call, Profile, Rule, syscalls};

pub(crate) const ALL_CAPABILITIES: [&str; 14] = [
    "CAP_BPF",
    "CAP_DAC_READ_SEARCH",
    "CAP_PERFMON",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_SYSLOG",
];

/// Docker's default profile for a container with these capabilities.
pub(crate) fn docker(capabilities: &[&str]) -> Profile {
    let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).to_owned()).collect();
    for_container(Container { capabilities: &capabilities, kernel: (6, 1) })
}

/// containerd's default, which Kubernetes calls `RuntimeDefault`: Docker's, with three more calls and no errno of its own.
pub(crate) fn kubernetes() -> Profile {
    let mut profile = docker(&["CAP_SYS_CHROOT"]);
    profile.default_errno_ret = None;
    let more = ["lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr"];
    profile.syscalls[0].names.extend(more.map(str::to_owned));
    profile
}

/// The shape of podman's: the default is `ENOSYS`, some calls are denied by name, and socket(2) is denied for audit
/// netlink by two arguments and allowed by either.
pub(crate) fn podman() -> Profile {
    let mut profile = docker(&["CAP_SYS_CHROOT"]);
    profile.default_errno_ret = Some(38);
    profile.syscalls.retain(|rule| rule.names != ["socket"]);
    let denied = "bdflush io_pgetevents kexec_file_load kexec_load migrate_pages move_pages nfsservctl oldfstat oldlstat \
                  oldolduname oldstat olduname pciconfig_iobase sgetmask ssetmask swapoff swapon sysfs uselib userfaultfd \
                  ustat vm86 vm86old vmsplice mount bpf clone3 setns";
    profile.syscalls.insert(0, rule("SCMP_ACT_ERRNO", Some(1), denied, vec![]));
    let audit = vec![arg(0, "SCMP_CMP_EQ", 16, 0), arg(2, "SCMP_CMP_EQ", 9, 0)];
    profile.syscalls.push(rule("SCMP_ACT_ERRNO", Some(22), "socket", audit));
    for arg in [arg(2, "SCMP_CMP_NE", 9, 0), arg(0, "SCMP_CMP_NE", 16, 0)] {
        profile.syscalls.push(rule("SCMP_ACT_ALLOW", None, "socket", vec![arg]));
    }
    profile
}

/// What runc's integration suite tries: masks, alternatives by a repeated argument, conjunctions, several rules.
pub(crate) fn runc_suite() -> Profile {
    let eq = |index, value| arg(index, "SCMP_CMP_EQ", value, 0);
    let masked = |index, mask, value| arg(index, "SCMP_CMP_MASKED_EQ", mask, value);
    Profile {
        default_action: "SCMP_ACT_ERRNO".into(),
        syscalls: vec![
            rule("SCMP_ACT_ALLOW", None, "write exit_group brk arch_prctl set_tid_address statx", vec![]),
            rule("SCMP_ACT_ALLOW", None, "socket", vec![masked(2, 0xf00, 0)]),
            rule("SCMP_ACT_ALLOW", None, "process_vm_readv", vec![eq(0, 100), eq(0, 9001)]),
            rule("SCMP_ACT_ERRNO", Some(55), "process_vm_writev", vec![eq(0, 1337), eq(0, 2020)]),
            rule("SCMP_ACT_ALLOW", None, "ftruncate", vec![eq(0, 123_456_789), eq(1, 1337)]),
            rule("SCMP_ACT_ALLOW", None, "dup3", vec![eq(0, 1)]),
            rule("SCMP_ACT_ALLOW", None, "dup3", vec![eq(0, 3)]),
            rule("SCMP_ACT_ERRNO", None, "unshare setns", vec![]),
        ],
        ..Profile::default()
    }
}

/// Every operator on every half, several actions, every ABI of the host.
pub(crate) fn operators() -> Profile {
    let values = [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, 0x5_0000_0007, u64::MAX];
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let names: Vec<&str> = syscalls::all(Abi::X86).map(|(name, _)| name).collect();
    let mut syscalls = vec![rule("SCMP_ACT_ALLOW", None, "read close", vec![])];
    for (i, value) in values.into_iter().enumerate() {
        for (j, op) in ops.into_iter().enumerate() {
            let index = u32::try_from((i + j) % 6).expect("below 6");
            let arg = arg(index, &format!("SCMP_CMP_{op}"), value, 0x5_0000_0001);
            syscalls.push(rule("SCMP_ACT_LOG", None, names[i * ops.len() + j + 20], vec![arg]));
        }
    }
    Profile {
        default_action: "SCMP_ACT_TRAP".into(),
        architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(str::to_owned).into(),
        syscalls,
        ..Profile::default()
    }
}

/// Rules for one call that contradict each other for some arguments: which one decides is libseccomp's order.
pub(crate) fn contradictory() -> Profile {
    let on = |action, errno_ret, arg| rule(action, errno_ret, "dup3 openat", vec![arg]);
    Profile {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: vec!["SCMP_ARCH_X86".into()],
        syscalls: vec![
            on("SCMP_ACT_TRACE", Some(3), arg(0, "SCMP_CMP_GT", 0, 0)),
            on("SCMP_ACT_ERRNO", Some(5), arg(0, "SCMP_CMP_EQ", 1, 0)),
            on("SCMP_ACT_TRAP", None, arg(1, "SCMP_CMP_LT", 9, 0)),
            on("SCMP_ACT_LOG", None, arg(1, "SCMP_CMP_EQ", 2, 0)),
            on("SCMP_ACT_ERRNO", Some(6), arg(2, "SCMP_CMP_MASKED_EQ", 0xff, 7)),
        ],
        ..Profile::default()
    }
}

/// One call allowed for every third value of its first argument, by a rule each.
pub(crate) fn many_rules(count: u64) -> Profile {
    let allow = |value| rule("SCMP_ACT_ALLOW", None, "dup3", vec![arg(0, "SCMP_CMP_EQ", 3 * value, 0)]);
    let all = rule("SCMP_ACT_ALLOW", None, "write exit_group getpid statx", vec![]);
    let syscalls = std::iter::once(all).chain((0..count).map(allow)).collect();
    Profile { default_action: "SCMP_ACT_ERRNO".into(), syscalls, ..Profile::default() }
}

/// Every profile above, and deny lists, by name.
pub(crate) fn profiles() -> Vec<(&'static str, Profile)> {
    let mut deny = Profile { default_action: "SCMP_ACT_ALLOW".into(), ..Profile::default() };
    deny.syscalls = vec![
        rule("SCMP_ACT_KILL_PROCESS", None, "mkdir mkdirat", vec![]),
        rule("SCMP_ACT_TRACE", Some(7), "ptrace", vec![]),
        rule("SCMP_ACT_ERRNO", Some(95), "socket connect semop", vec![arg(1, "SCMP_CMP_GT", 5, 0)]),
    ];
    let mut deny_all = deny.clone();
    deny_all.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(str::to_owned).into();
    let foreign = Profile { architectures: Abi::ALL.map(|abi| abi.name().to_owned()).into(), ..docker(&[]) };
    vec![
        ("docker", docker(&[])),
        ("docker, privileged calls", docker(&ALL_CAPABILITIES)),
        ("kubernetes", kubernetes()),
        ("podman", podman()),
        ("runc's suite", runc_suite()),
        ("operators", operators()),
        ("contradictory", contradictory()),
        ("deny list", deny),
        ("deny list, three ABIs", deny_all),
        ("every ABI", foreign),
    ]
}

pub(crate) fn rule(action: &str, errno_ret: Option<u32>, names: &str, args: Vec<Arg>) -> Rule {
    let names = names.split_whitespace().map(str::to_owned).collect();
    Rule { names, action: action.to_owned(), errno_ret, args }
}

pub(crate) fn arg(index: u32, op: &str, value: u64, value_two: u64) -> Arg {
    Arg { index, value, value_two, op: op.to_owned() }
}

/// Calls worth trying on a profile: every number of every ABI and their neighbours, with arguments at the edges of
/// the conditions there are for the call.
pub(crate) fn calls(profile: &Profile) -> Vec<Call> {
    let mut calls = Vec::new();
    for abi in Abi::ALL {
        let names: BTreeMap<u32, &str> = syscalls::all(abi).map(|(name, number)| (number, name)).collect();
        let mut numbers: BTreeSet<u32> = (0..600).collect();
        numbers.extend([0x3fff_ffff, 0x4000_0000, 0x4000_0225, 0x8000_0000, u32::MAX - 1, u32::MAX]);
        for number in names.keys() {
            numbers.extend([*number, *number + 1, number.saturating_sub(1)]);
        }
        for number in numbers {
            let args = names.get(&number).map_or_else(some_args, |name| args_for(profile, name));
            calls.extend(args.into_iter().map(|args| Call { number, token: abi.token(), args }));
        }
    }
    calls.push(Call { number: 0, token: 0x1234_5678, args: [0; 6] });
    calls
}

fn some_args() -> Vec<[u64; 6]> {
    vec![[0; 6], [u64::MAX; 6]]
}

fn args_for(profile: &Profile, name: &str) -> Vec<[u64; 6]> {
    let mut edges: [BTreeSet<u64>; 6] = Default::default();
    // A multiplexing call is looked into at its first argument.
    if matches!(name, "socketcall" | "ipc") {
        edges[0].extend(0..30);
    }
    let rules = profile.syscalls.iter().filter(|rule| {
        rule.names.iter().any(|n| n == name) || matches!(name, "socketcall" | "ipc") && !rule.args.is_empty()
    });
    for arg in rules.flat_map(|rule| &rule.args) {
        let Some(edges) = edges.get_mut(arg.index as usize) else {
            continue;
        };
        for value in [arg.value, arg.value_two, arg.value & arg.value_two] {
            edges.extend([value, value.wrapping_add(1), value.wrapping_sub(1), !value]);
            edges.extend([value ^ 0x1_0000_0000, value << 32, value & 0xffff_ffff]);
        }
    }
    let mut all = some_args();
    for (index, values) in edges.iter().enumerate() {
        let with = |args: &[u64; 6]| {
            let args = *args;
            values.iter().map(move |value| {
                let mut args = args;
                args[index] = *value;
                args
            })
        };
        // The whole product while it is small, else the edges of each argument alone.
        let base = if all.len() * values.len() < 4000 { all.clone() } else { some_args() };
        all.extend(base.iter().flat_map(with).collect::<Vec<_>>());
    }
    all
}
