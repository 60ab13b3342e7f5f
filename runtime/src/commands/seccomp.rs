//! `knarr seccomp`: what a profile does, before a container has it: the compiled program, or the verdict on one call.

use std::fmt::Write as _;

use knarr_seccomp::{Abi, Call, Explainer, Profile, Program, abi, compile, longest_path, syscalls};

use crate::bundle::{load_profile, load_spec};
use crate::cli::SeccompArgs;
use crate::error::{Error, Result};
use crate::{log, sys};

pub(crate) fn run(args: &SeccompArgs) -> Result<()> {
    let profile = profile(args)?;
    let program = compile(&profile)?;
    for name in program.unknown() {
        log::warn(format_args!("unknown seccomp syscall {name:?} ignored"));
    }
    let text = match args.call.split_first() {
        None => listing(&program),
        Some((call, values)) => verdicts(&profile, call, args.arch, arguments(values)?)?,
    };
    Ok(sys::print(text.as_bytes())?)
}

/// The one that `create` would compile.
fn profile(args: &SeccompArgs) -> Result<Profile> {
    let profile = match (&args.profile, &args.bundle) {
        (Some(_), Some(_)) => {
            return Err(Error::Usage("--bundle and --profile exclude each other".into()));
        }
        (Some(file), None) => load_profile(file)?,
        (None, bundle) => {
            let spec = load_spec(bundle.as_deref().unwrap_or(".".as_ref()))?;
            let profile = spec.linux.and_then(|linux| linux.seccomp);
            profile.ok_or_else(|| Error::refused("/linux/seccomp", "config.json has no linux.seccomp"))?
        }
    };
    if profile.is_disabled() {
        let text = "linux.seccomp has neither defaultAction nor syscalls: it is no filter";
        return Err(Error::refused("/linux/seccomp", text));
    }
    Ok(profile)
}

fn listing(program: &Program) -> String {
    let instructions = program.instructions();
    let most = longest_path(instructions);
    let count = instructions.len();
    format!("{count} instructions, at most {most} for one call, flags {}\n{program}", program.flags())
}

/// One line for each architecture that has the call.
fn verdicts(profile: &Profile, call: &str, arch: Option<Abi>, args: [u64; 6]) -> Result<String> {
    let explainer = Explainer::new(profile)?;
    let mut text = String::new();
    for (abi, number) in numbers(call, arch, explainer.abis())? {
        let explanation = explainer.explain(&Call { number, token: abi.token(), args });
        let name = syscalls::name(number, abi).unwrap_or("unknown");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {name} ({}): {}, {}",
            abi.name(),
            shown(number),
            explanation.action,
            explanation.because
        );
    }
    Ok(text)
}

/// A number is meant for one architecture, a name for all.
fn numbers(call: &str, arch: Option<Abi>, listed: impl Iterator<Item = Abi>) -> Result<Vec<(Abi, u32)>> {
    if let Some(number) = value(call) {
        let number = u32::try_from(number)
            .map_err(|_| Error::Usage(format!("number {call} of a system call is above 4294967295")))?;
        let abi = arch.unwrap_or(Abi::native());
        return Ok(vec![(abi, if abi == Abi::X32 { number | abi::X32_BIT } else { number })]);
    }
    let abis: Vec<Abi> = arch.map_or_else(|| listed.collect(), |abi| vec![abi]);
    let found: Vec<_> = abis.iter().filter_map(|abi| Some((*abi, syscalls::number(call, *abi)?))).collect();
    if found.is_empty() {
        let names = abis.iter().map(|abi| abi.name()).collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!("no system call of {names} has the name {call:?}")));
    }
    Ok(found)
}

/// At most six, the command line sees to that.
fn arguments(values: &[String]) -> Result<[u64; 6]> {
    let mut args = [0; 6];
    for (arg, text) in args.iter_mut().zip(values) {
        *arg = value(text).ok_or_else(|| {
            Error::Usage(format!("argument {text:?} of the system call is no 64-bit number"))
        })?;
    }
    Ok(args)
}

/// Decimal, with a sign or without, or hexadecimal after `0x`.
fn value(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| Some(text.parse::<i64>().ok()?.cast_unsigned())),
    }
}

/// The bit of x32 and the like are seen in hexadecimal.
fn shown(number: u32) -> String {
    if number < 0x1_0000 { number.to_string() } else { format!("{number:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Profile {
        let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                {"names": ["getpid", "socket"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_LOG",
                 "args": [{"index": 0, "value": 4294967295, "op": "SCMP_CMP_EQ"}]}]}"#;
        serde_json::from_str(json).unwrap()
    }

    fn told(call: &str, arch: Option<Abi>, args: &[&str]) -> String {
        let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
        arguments(&args)
            .and_then(|args| verdicts(&example(), call, arch, args))
            .unwrap_or_else(|error| error.line())
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_name_is_looked_up_on_each_architecture_of_the_profile() {
        assert_eq!(
            told("getpid", None, &[]),
            "SCMP_ARCH_X86_64 getpid (39): SCMP_ACT_ALLOW, linux.seccomp.syscalls[0]\n\
             SCMP_ARCH_X86 getpid (20): SCMP_ACT_ALLOW, linux.seccomp.syscalls[0]\n"
        );
        assert_eq!(
            told("arch_prctl", Some(Abi::X86_64), &[]),
            "SCMP_ARCH_X86_64 arch_prctl (158): SCMP_ACT_ERRNO(38), above 135, the highest number the profile names\n"
        );
        assert_eq!(
            told("read", Some(Abi::Arm), &[]),
            "SCMP_ARCH_ARM read (3): SCMP_ACT_KILL_THREAD, not of linux.seccomp.architectures\n"
        );
        assert_eq!(
            told("oops", Some(Abi::Arm), &[]),
            "no system call of SCMP_ARCH_ARM has the name \"oops\""
        );
    }

    #[test]
    fn arguments_decide() {
        let personality = |value| told("personality", Some(Abi::X86_64), &[value]);
        for same in ["0xffffffff", "4294967295"] {
            assert!(personality(same).ends_with("SCMP_ACT_LOG, linux.seccomp.syscalls[1]\n"), "{same}");
        }
        for other in ["-1", "8", "0x1ffffffff"] {
            assert!(
                personality(other).ends_with("SCMP_ACT_ERRNO(1), linux.seccomp.defaultAction\n"),
                "{other}"
            );
        }
        for bad in ["", "0x", "x", "18446744073709551616", "0x-1"] {
            assert_eq!(personality(bad), format!("argument {bad:?} of the system call is no 64-bit number"));
        }
    }

    #[test]
    fn a_number_is_that_of_one_architecture() {
        assert!(told("135", Some(Abi::X86_64), &["-1"]).starts_with("SCMP_ARCH_X86_64 personality (135): "));
        assert!(told("0x14", Some(Abi::X86), &[]).starts_with("SCMP_ARCH_X86 getpid (20): SCMP_ACT_ALLOW"));
        assert_eq!(
            told("39", Some(Abi::X32), &[]),
            "SCMP_ARCH_X32 getpid (0x40000027): SCMP_ACT_KILL_THREAD, not of linux.seccomp.architectures\n"
        );
        assert!(
            told("60000", Some(Abi::X86), &[])
                .starts_with("SCMP_ARCH_X86 unknown (60000): SCMP_ACT_ERRNO(38)")
        );
        assert_eq!(told("-1", None, &[]), "number -1 of a system call is above 4294967295");
    }

    #[test]
    fn the_listing_begins_with_the_size() {
        let text = listing(&compile(&example()).unwrap());
        let (head, program) = text.split_once('\n').unwrap();
        let count = program.lines().count();
        assert!(head.starts_with(&format!("{count} instructions, at most ")), "{head}");
        assert!(head.ends_with(" for one call, flags 4"), "{head}");
        assert!(program.starts_with("   0  load arch\n"), "{program}");
    }
}
