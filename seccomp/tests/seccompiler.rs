//! Our programs against seccompiler's, where it can say the same: one ABI, one action for the rules and one for the rest.
#![allow(clippy::expect_used, reason = "a test may stop")]

mod support;

use std::collections::BTreeMap;

use knarr_seccomp::{Abi, Arg, Call, Profile, Rule, SockFilter, compile, run, syscalls};
use proptest::prelude::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use support::{arg, calls, rule};

fn seccompiler(profile: &Profile) -> Vec<SockFilter> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in &profile.syscalls {
        for number in rule.names.iter().filter_map(|name| syscalls::number(name, Abi::X86_64)) {
            let conditions = rule.args.iter().map(condition).collect();
            let chains = rules.entry(number.into()).or_default();
            if !rule.args.is_empty() {
                chains.push(SeccompRule::new(conditions).expect("a rule"));
            }
        }
    }
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(95), TargetArch::x86_64);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    program.iter().map(|i| SockFilter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

fn condition(arg: &Arg) -> SeccompCondition {
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, arg.value),
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, arg.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, arg.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, arg.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, arg.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, arg.value),
        _ => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two),
    };
    let index = u8::try_from(arg.index).expect("below 6");
    SeccompCondition::new(index, SeccompCmpArgLen::Qword, op, value).expect("a condition")
}

fn assert_same(profile: &Profile) {
    let (ours, theirs) = (compile(profile).expect("a program"), seccompiler(profile));
    for call in calls(profile).iter().filter(|call| comparable(call)) {
        let ours = run(ours.instructions(), call).expect("the program ends").ret;
        let theirs = run(&theirs, call).expect("the program ends").ret;
        assert_eq!(ours, theirs, "{call:x?}");
    }
}

/// seccompiler takes x32 calls for unknown x86-64 ones, which is why a deny list of its can be got around.
fn comparable(call: &Call) -> bool {
    call.token == Abi::X86_64.token() && call.number < knarr_seccomp::abi::X32_BIT
}

fn deny_list(syscalls: Vec<Rule>) -> Profile {
    Profile { default_action: "SCMP_ACT_ALLOW".into(), syscalls, ..Profile::default() }
}

#[test]
fn a_deny_list_has_seccompilers_verdicts() {
    let all: Vec<&str> = syscalls::all(Abi::X86_64).map(|(name, _)| name).collect();
    let odd = all.iter().step_by(3).copied().collect::<Vec<_>>().join(" ");
    assert_same(&deny_list(vec![rule("SCMP_ACT_ERRNO", Some(95), &odd, vec![])]));
}

prop_compose! {
    fn any_rule()(
        name in prop::sample::select(vec!["read", "socket", "clone", "openat"]),
        args in prop::collection::btree_map(
            0..6u32,
            (
                prop::sample::select(knarr_seccomp::features::operators()),
                prop::sample::select(vec![0, 1, 5, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX]),
                prop::sample::select(vec![0, 1, 0x1_0000_0001]),
            ),
            1..4,
        ),
    ) -> Rule {
        // seccompiler does not mask the value compared, libseccomp and we do.
        let args = args.into_iter().map(|(i, (op, value, two))| arg(i, op, value, two & value));
        rule("SCMP_ACT_ERRNO", Some(95), name, args.filter(|a| a.op != "SCMP_CMP_MASKED_EQ" || a.value != 0).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_deny_lists_have_seccompilers_verdicts(rules in prop::collection::vec(any_rule(), 1..6)) {
        let conditional = rules.into_iter().filter(|rule| !rule.args.is_empty()).collect();
        assert_same(&deny_list(conditional));
    }
}
