//! A compiled program, run by the interpreter, does what the rules say: for every number of every table, with
//! arguments at the edges of the conditions, on written and on random profiles.
#![allow(clippy::expect_used, reason = "a test may stop")]

mod support;

use knarr_seccomp::{Abi, Action, Because, Call, Explainer, Profile, compile, longest_path, run, syscalls};
use proptest::prelude::*;
use support::{arg, calls, contradictory, many_rules, profiles, rule, runc_suite};

fn assert_agree(name: &str, profile: &Profile) {
    let program = compile(profile).expect(name);
    let explainer = Explainer::new(profile).expect(name);
    let longest = longest_path(program.instructions());
    for call in calls(profile) {
        let run = run(program.instructions(), &call).expect(name);
        let explained = explainer.explain(&call);
        assert_eq!(Action::from_ret(run.ret), Some(explained.action), "{name}: {call:x?}: {explained:?}");
        assert!(run.executed <= longest, "{name}: {call:x?} executes {} of {longest}", run.executed);
    }
}

#[test]
fn programs_do_what_the_rules_say() {
    for (name, profile) in profiles() {
        assert_agree(name, &profile);
    }
}

#[test]
fn equal_profiles_give_equal_programs() {
    for (name, profile) in profiles() {
        assert_eq!(compile(&profile).expect(name), compile(&profile.clone()).expect(name));
    }
}

fn native(profile: &Profile, name: &str, args: [u64; 6]) -> (Action, Because) {
    let abi = Abi::native();
    let number = syscalls::number(name, abi).expect(name);
    explain(profile, Call { number, token: abi.token(), args })
}

fn explain(profile: &Profile, call: Call) -> (Action, Because) {
    let explained = Explainer::new(profile).expect("the profile is valid").explain(&call);
    let program = compile(profile).expect("the profile is valid");
    let ret = run(program.instructions(), &call).expect("the program ends").ret;
    assert_eq!(Action::from_ret(ret), Some(explained.action));
    (explained.action, explained.because)
}

#[test]
fn runcs_own_cases_hold() {
    let profile = runc_suite();
    let action = |name, args| native(&profile, name, args).0;
    let (allow, eperm, enoano) = (Action::Allow, Action::Errno(1), Action::Errno(55));
    assert_eq!([0x0, 0xff, 0x1].map(|p| action("socket", [1, 1, p, 0, 0, 0])), [allow; 3]);
    assert_eq!([0x100, 0xc00].map(|p| action("socket", [1, 1, p, 0, 0, 0])), [eperm; 2]);
    assert_eq!([100, 9001, 0].map(|p| action("process_vm_readv", [p, 0, 0, 0, 0, 0])), [allow, allow, eperm]);
    assert_eq!(
        [1337, 2020, 0].map(|p| action("process_vm_writev", [p, 0, 0, 0, 0, 0])),
        [enoano, enoano, eperm]
    );
    assert_eq!(action("ftruncate", [123_456_789, 1337, 0, 0, 0, 0]), allow);
    assert_eq!(action("ftruncate", [123_456_789, 0, 0, 0, 0, 0]), eperm);
    assert_eq!(action("ftruncate", [500, 1337, 0, 0, 0, 0]), eperm);
    assert_eq!([0, 1, 2, 3].map(|fd| action("dup3", [fd, 0, 0, 0, 0, 0])), [eperm, allow, eperm, allow]);
    assert_eq!(native(&profile, "unshare", [0; 6]), (eperm, Because::Default));
    let above = Call { number: 1000, token: Abi::native().token(), args: [0; 6] };
    let highest = syscalls::number("statx", Abi::native()).expect("every ABI has statx");
    assert_eq!(explain(&profile, above), (Action::Errno(38), Because::NewerThan(highest)));
}

#[test]
fn a_permissive_default_knows_no_newer_calls() {
    let above = Call { number: 1000, token: Abi::native().token(), args: [0; 6] };
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
        let profile = Profile { default_action: default.into(), ..runc_suite() };
        assert_eq!(explain(&profile, above).1, Because::Default, "{default}");
    }
    for default in ["SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_KILL_PROCESS"] {
        let profile = Profile { default_action: default.into(), ..runc_suite() };
        assert_eq!(explain(&profile, above).0, Action::Errno(38), "{default}");
    }
}

#[test]
fn a_rule_without_conditions_beats_those_with() {
    let conditional = rule("SCMP_ACT_KILL_PROCESS", None, "dup3", vec![arg(0, "SCMP_CMP_EQ", 1, 0)]);
    let always = rule("SCMP_ACT_LOG", None, "dup3", vec![]);
    let later = rule("SCMP_ACT_ALLOW", None, "dup3", vec![]);
    let rules = vec![conditional, always, later];
    let profile = Profile { default_action: "SCMP_ACT_ERRNO".into(), syscalls: rules, ..Profile::default() };
    assert_eq!(native(&profile, "dup3", [1, 0, 0, 0, 0, 0]), (Action::Log, Because::Rule(1)));
}

#[test]
fn higher_arguments_and_equalities_are_tried_first() {
    let dup3 = |args| native(&contradictory(), "dup3", args).1;
    assert_eq!(dup3([1, 2, 7, 0, 0, 0]), Because::Rule(4));
    assert_eq!(dup3([1, 2, 0, 0, 0, 0]), Because::Rule(3));
    assert_eq!(dup3([1, 3, 0, 0, 0, 0]), Because::Rule(2));
    assert_eq!(dup3([1, 9, 0, 0, 0, 0]), Because::Rule(1));
    assert_eq!(dup3([2, 9, 0, 0, 0, 0]), Because::Rule(0));
    assert_eq!(dup3([0, 9, 0, 0, 0, 0]), Because::Default);
}

#[test]
fn a_rule_without_effect_still_tells_what_the_profile_knows() {
    let syscalls =
        vec![rule("SCMP_ACT_ALLOW", None, "read", vec![]), rule("SCMP_ACT_ERRNO", None, "statx", vec![])];
    let profile = Profile { default_action: "SCMP_ACT_ERRNO".into(), syscalls, ..Profile::default() };
    assert_eq!(native(&profile, "statx", [0; 6]), (Action::Errno(1), Because::Default));
    let statx = syscalls::number("statx", Abi::native()).expect("every ABI has statx");
    assert_eq!(native(&profile, "faccessat2", [0; 6]), (Action::Errno(38), Because::NewerThan(statx)));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_multiplexed_call_is_never_the_highest() {
    let profile = Profile {
        default_action: "SCMP_ACT_ERRNO".into(),
        architectures: vec!["SCMP_ARCH_X86".into()],
        syscalls: vec![rule("SCMP_ACT_ALLOW", None, "read getpid socket", vec![])],
        ..Profile::default()
    };
    let i386 = |number| explain(&profile, Call { number, token: Abi::X86.token(), args: [1, 0, 0, 0, 0, 0] });
    assert_eq!(i386(20), (Action::Allow, Because::Rule(0)));
    assert_eq!(i386(21), (Action::Errno(38), Because::NewerThan(20)));
    assert_eq!(i386(102), (Action::Errno(38), Because::NewerThan(20)), "socketcall(SYS_SOCKET)");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn unlisted_abis_are_killed_and_a_skipped_call_is_not() {
    let profile = runc_suite();
    let call = |token, number| Call { number, token, args: [0; 6] };
    let killed = (Action::KillThread, Because::OtherAbi);
    assert_eq!(explain(&profile, call(Abi::X86.token(), 4)), killed);
    assert_eq!(explain(&profile, call(Abi::Arm.token(), 4)), killed);
    assert_eq!(explain(&profile, call(Abi::X32.token(), 0x4000_0001)), killed);
    assert_eq!(explain(&profile, call(Abi::X86_64.token(), u32::MAX)), (Action::Errno(1), Because::Default));
}

#[test]
fn far_too_many_rules_are_refused_and_many_are_not() {
    let profile = many_rules(2000);
    let (program, explainer) =
        (compile(&profile).expect("it fits"), Explainer::new(&profile).expect("valid"));
    assert!(longest_path(program.instructions()) < 32, "equality tests are searched, not tried one by one");
    let number = syscalls::number("dup3", Abi::native()).expect("every ABI has dup3");
    for value in 0..6010 {
        let call = Call { number, token: Abi::native().token(), args: [value, 0, 0, 0, 0, 0] };
        let ret = run(program.instructions(), &call).expect("the program ends").ret;
        assert_eq!(Action::from_ret(ret), Some(explainer.explain(&call).action), "{value}");
    }
    let error = |n| compile(&many_rules(n)).expect_err("too many").to_string();
    assert!(error(4000).contains("the kernel takes 4096"), "{}", error(4000));
    assert!(error(8000).contains("8000 rules with args for dup3 are too many"), "{}", error(8000));
}

#[test]
fn rules_whose_states_multiply_are_still_right() {
    // Every word of one rule is independent of every other rule's: 2^n states between the arguments.
    let masked = |index, bit: u64| arg(index, "SCMP_CMP_MASKED_EQ", 1 << bit, 1 << bit);
    let pair = |bit| rule("SCMP_ACT_ALLOW", None, "dup3", vec![masked(0, bit), masked(1, bit)]);
    let syscalls = (0..24).map(pair).collect();
    let profile = Profile { default_action: "SCMP_ACT_ERRNO".into(), syscalls, ..Profile::default() };
    let dup3 = |a, b| native(&profile, "dup3", [a, b, 0, 0, 0, 0]).0;
    assert_eq!(dup3(0b1010, 0b0101), Action::Errno(1));
    assert_eq!(dup3(0b1010, 0b0100_1000), Action::Allow);
    assert_eq!(dup3(1 << 23, 1 << 23), Action::Allow);

    // The same with a mask and a value of its own for each of as many rules as are tried in a row.
    let masked = |n: u64| arg(0, "SCMP_CMP_MASKED_EQ", n | 0xff_0000_0000, n);
    let row = |n| (1..=n).map(|n| rule("SCMP_ACT_ALLOW", None, "dup3", vec![masked(n)])).collect();
    let long =
        |n| Profile { default_action: "SCMP_ACT_ERRNO".into(), syscalls: row(n), ..Profile::default() };
    assert_eq!(native(&long(512), "dup3", [512, 0, 0, 0, 0, 0]).0, Action::Allow);
    assert_eq!(native(&long(512), "dup3", [512 | 1 << 32, 0, 0, 0, 0, 0]).0, Action::Errno(1));
    assert!(compile(&long(513)).is_err());
}

prop_compose! {
    fn any_arg()(
        index in 0..6u32,
        op in prop::sample::select(knarr_seccomp::features::operators().to_vec()),
        value in prop::sample::select(vec![0, 1, 2, 5, 0xff, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX]),
        value_two in prop::sample::select(vec![0, 1, 0x1_0000_0001, 0xf0]),
    ) -> knarr_seccomp::Arg {
        arg(index, op, value, value_two)
    }
}

prop_compose! {
    fn any_rule()(
        action in prop::sample::select(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL"]),
        errno_ret in prop::option::of(1..100u32),
        names in prop::sample::subsequence(
            vec!["read", "write", "socket", "semop", "socketcall", "ipc", "clone", "openat", "statx", "no_such"], 1..4),
        args in prop::collection::vec(any_arg(), 0..4),
    ) -> knarr_seccomp::Rule {
        rule(action, errno_ret, &names.join(" "), args)
    }
}

prop_compose! {
    fn any_profile()(
        default in prop::sample::select(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL"]),
        abis in prop::sample::subsequence(Abi::ALL.to_vec(), 0..4),
        syscalls in prop::collection::vec(any_rule(), 0..12),
    ) -> Profile {
        let architectures = abis.iter().map(|abi| abi.name().to_owned()).collect();
        Profile { default_action: default.to_owned(), architectures, syscalls, ..Profile::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_programs_do_what_the_rules_say(profile in any_profile()) {
        assert_agree("a random profile", &profile);
    }
}
