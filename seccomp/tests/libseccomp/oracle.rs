//! libseccomp fed the way runc feeds it (`seccomp_linux.go`).

use std::io::Read as _;
use std::os::fd::AsFd;

use knarr_seccomp::{Abi, Arg, Profile, Rule, SockFilter};

use crate::sys::{self, ArgCompare, Filter};

/// Debian's libseccomp 2.5.4 does not know this one.
pub(crate) const UNKNOWN_ABI: Abi = Abi::Loongarch64;

/// libseccomp's program for a profile; `None` when it refuses contradictory rules, which we resolve.
pub(crate) fn libseccomp(profile: &Profile) -> Option<Vec<SockFilter>> {
    Some(export(&filter(profile)?))
}

pub(crate) fn filter(profile: &Profile) -> Option<Filter> {
    let default = action(&profile.default_action, profile.default_errno_ret);
    let filter = Filter::new(default);
    assert_eq!(filter.set(sys::NO_NEW_PRIVS, 0), 0);
    let listed =
        |abi: &Abi| *abi != UNKNOWN_ABI && profile.architectures.iter().any(|name| name == abi.name());
    for abi in Abi::ALL.into_iter().filter(listed) {
        let added = filter.add_arch(arch(abi));
        assert!(added == 0 || added == -libc::EEXIST, "{abi:?}: {added}");
    }
    if profile.syscalls.iter().map(|rule| rule.names.len()).sum::<usize>() > 32 {
        assert_eq!(filter.set(sys::OPTIMIZE, 2), 0);
    }
    for rule in &profile.syscalls {
        let action = action(&rule.action, rule.errno_ret);
        if action == default {
            continue;
        }
        for number in rule.names.iter().filter_map(|name| sys::number(name, sys::NATIVE)) {
            for conditions in alternatives(rule) {
                match -filter.add_rule(action, number, &conditions) {
                    0 => {}
                    libc::EEXIST => return None,
                    error => panic!("{rule:?}: {error}"),
                }
            }
        }
    }
    Some(filter)
}

fn export(filter: &Filter) -> Vec<SockFilter> {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let bytes = std::thread::scope(|threads| {
        let bytes = threads.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        assert_eq!(filter.export(writer.as_fd()), 0);
        drop(writer);
        bytes.join().expect("the reader").expect("the export")
    });
    let half = |b: &[u8]| u16::from_ne_bytes([b[0], b[1]]);
    let word = |b: &[u8]| u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
    bytes.chunks(8).map(|b| SockFilter { code: half(b), jt: b[2], jf: b[3], k: word(b) }).collect()
}

fn alternatives(rule: &Rule) -> Vec<Vec<ArgCompare>> {
    let conditions: Vec<_> = rule.args.iter().map(condition).collect();
    let repeated =
        rule.args.iter().enumerate().any(|(i, a)| rule.args[..i].iter().any(|b| a.index == b.index));
    if repeated { conditions.into_iter().map(|c| vec![c]).collect() } else { vec![conditions] }
}

fn condition(arg: &Arg) -> ArgCompare {
    // enum scmp_compare counts from 1.
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let op = ops.iter().position(|op| arg.op.strip_prefix("SCMP_CMP_") == Some(op)).expect("an operator");
    let op = i32::try_from(op + 1).expect("a small number");
    ArgCompare { arg: arg.index, op, datum_a: arg.value, datum_b: arg.value_two }
}

/// `SCMP_ACT_*` of seccomp.h.
fn action(name: &str, errno_ret: Option<u32>) -> u32 {
    let data = errno_ret.unwrap_or(1);
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | data,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | data,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

/// libseccomp's tokens are the kernel's, but for x32.
pub(crate) fn arch(abi: Abi) -> u32 {
    match abi {
        Abi::X32 => 0x4000_003e,
        abi => abi.token(),
    }
}
