//! Our programs against libseccomp's, fed the way runc feeds it, on the profiles people use and on random ones: the
//! same verdict for every call tried, but for the exceptions named in [`Exception`] and those no rule is made for
//! because libseccomp 2.5.4 is wrong ([`EQUALITIES`], [`NAMES`]).
//!
//! Needs Debian's libseccomp-dev, linked statically; nothing outside of this file does.
#![allow(clippy::expect_used, reason = "a test may stop")]

mod oracle;
#[path = "../support/mod.rs"]
mod support;
mod sys;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use knarr_seccomp::{
    Abi, Action, Because, Call, Explainer, Explanation, Profile, compile, features, run, syscalls,
};
use oracle::{UNKNOWN_ABI, arch, libseccomp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{arg, calls, profiles, rule};

/// Why the verdicts on a call may differ.
#[derive(Debug, PartialEq, Eq)]
enum Exception {
    /// The -ENOSYS rule is runc's, in front of libseccomp's program.
    Stub,
    /// Debian's libseccomp is older than the call.
    NewerThanLibseccomp(&'static str),
}

/// By token and number: the calls Debian's libseccomp lacks.
static NEWER: LazyLock<BTreeMap<(u32, u32), &str>> = LazyLock::new(|| {
    let abis = Abi::ALL.into_iter().filter(|abi| *abi != UNKNOWN_ABI);
    let calls = abis.flat_map(|abi| syscalls::all(abi).map(move |(name, number)| (abi, name, number)));
    // A pseudo number: the ABI had no such call, or has it inside socketcall(2) or ipc(2) as well.
    let newer =
        calls.filter(|(abi, name, _)| sys::number(name, arch(*abi)).is_none_or(|theirs| theirs < -224));
    newer.map(|(abi, name, number)| ((abi.token(), number), name)).collect()
});

fn exception(call: &Call, explanation: &Explanation) -> Option<Exception> {
    if let Because::NewerThan(_) = explanation.because {
        return Some(Exception::Stub);
    }
    NEWER.get(&(call.token, call.number)).copied().map(Exception::NewerThanLibseccomp)
}

/// Compares the verdicts; the calls excepted for being new, or what differs.
fn compare(profile: &Profile) -> Result<BTreeSet<&'static str>, String> {
    let mut excepted = BTreeSet::new();
    let Some(theirs) = libseccomp(profile) else {
        return Ok(excepted);
    };
    let ours = compile(profile).map_err(|error| error.to_string())?;
    let explainer = Explainer::new(profile).map_err(|error| error.to_string())?;
    for call in calls(profile).iter().filter(|call| call.token != UNKNOWN_ABI.token()) {
        let explanation = explainer.explain(call);
        match exception(call, &explanation) {
            Some(Exception::Stub) => {}
            Some(Exception::NewerThanLibseccomp(name)) => {
                excepted.insert(name);
            }
            None => {
                let ours = run(ours.instructions(), call).map_err(|error| error.to_string())?.ret;
                let theirs = run(&theirs, call).map_err(|error| error.to_string())?.ret;
                if ours != theirs {
                    let action = Action::from_ret(theirs);
                    return Err(format!("{call:x?}: ours {explanation:?}, libseccomp's {action:?}"));
                }
            }
        }
    }
    Ok(excepted)
}

#[test]
fn known_profiles_have_libseccomps_verdicts() {
    for (name, profile) in profiles() {
        assert!(libseccomp(&profile).is_some(), "{name}: libseccomp accepts it");
        if let Err(difference) = compare(&profile) {
            panic!("{name}: {difference}");
        }
    }
}

#[test]
fn podmans_own_file_has_libseccomps_verdicts() {
    let Ok(text) = std::fs::read("/usr/share/containers/seccomp.json") else {
        eprintln!("skipped: golang-github-containers-common is not installed");
        return;
    };
    let file: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    for capabilities in [&[][..], &support::ALL_CAPABILITIES] {
        let profile = for_amd64(&file, capabilities);
        assert!(profile.syscalls.len() > 10);
        assert_eq!(compare(&profile).map(|_| ()), Ok(()));
    }
}

/// Resolves the conditions engines put on rules, as they do: by architecture and capability.
fn for_amd64(file: &serde_json::Value, capabilities: &[&str]) -> Profile {
    let mut profile: Profile = serde_json::from_value(file.clone()).expect("a profile");
    profile.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(str::to_owned).into();
    let listed = |filter: &serde_json::Value, key: &str, wanted: &[&str]| {
        let list = filter[key].as_array().map_or(&[][..], Vec::as_slice);
        (list.is_empty(), list.iter().filter_map(|v| v.as_str()).any(|v| wanted.contains(&v)))
    };
    let applies = |rule: &serde_json::Value| {
        ["arches", "caps"].iter().all(|key| {
            let wanted = if *key == "arches" { &["amd64"] } else { capabilities };
            let (unlimited, included) = listed(&rule["includes"], key, wanted);
            let (_, excluded) = listed(&rule["excludes"], key, wanted);
            (unlimited || included) && !excluded
        })
    };
    let rules = file["syscalls"].as_array().expect("a list");
    profile.syscalls = rules
        .iter()
        .filter(|r| applies(r))
        .map(|r| serde_json::from_value(r.clone()).expect("a rule"))
        .collect();
    profile
}

#[test]
fn few_calls_are_too_new_to_compare() {
    let newer = compare(&support::docker(&[])).expect("no difference");
    assert!(newer.contains("statmount"), "{newer:?}");
    assert!(newer.len() < 60, "{newer:?}");
}

/// Both ways: libseccomp knows no number we do not, and gives none of our names another number.
#[test]
fn the_tables_agree() {
    for abi in Abi::ALL.into_iter().filter(|abi| *abi != UNKNOWN_ABI) {
        for (name, number) in syscalls::all(abi) {
            let theirs = sys::number(name, arch(abi)).and_then(|number| u32::try_from(number).ok());
            assert!(theirs.is_none_or(|theirs| theirs == number), "{name} on {abi:?}: {number}, {theirs:?}");
        }
        let first = syscalls::all(abi).map(|(_, number)| number).min().expect("calls");
        for number in first..first + 600 {
            let Some(name) = sys::name(number.cast_signed(), arch(abi)) else { continue };
            assert_eq!(syscalls::number(&name, abi), Some(number), "{name} on {abi:?}");
        }
    }
}

prop_compose! {
    fn any_comparison(ops: &'static [&'static str])(
        op in prop::sample::select(ops),
        value in prop::sample::select(vec![0, 1, 2, 5, 0xff, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX]),
        value_two in prop::sample::select(vec![0, 1, 0x1_0000_0001, 0xf0]),
    ) -> (&'static str, u64, u64) {
        (op, value, value_two)
    }
}

prop_compose! {
    /// Rules with conditions for one call, the others without. One action for all: which of two contradictory conditions
    /// libseccomp takes is not its promise.
    fn any_profile(ops: &'static [&'static str], rules: usize)(
        default in prop::sample::select(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP"]),
        abis in prop::sample::subsequence(vec![Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm], 0..4),
        names in prop::sample::subsequence(NAMES.to_vec(), 1..4),
        arguments in prop::collection::vec(
            prop::collection::btree_map(0..3u32, any_comparison(ops), 1..3),
            1..=rules,
        ),
    ) -> Profile {
        let mut syscalls = vec![rule("SCMP_ACT_LOG", None, &names.join(" "), vec![])];
        for conditions in arguments {
            let args = conditions.into_iter().map(|(index, (op, value, two))| arg(index, op, value, two));
            syscalls.push(rule("SCMP_ACT_LOG", None, "clone", args.collect()));
        }
        let architectures = abis.into_iter().map(|abi| abi.name().to_owned()).collect();
        Profile { default_action: default.to_owned(), architectures, syscalls, ..Profile::default() }
    }
}

/// Several rules for one call are compared with these alone, and only one call has rules with conditions: 2.5.4 merges
/// comparisons that look alike, and loses some: `argument >= 2^32` or `argument <= 0` then holds for 1. Even so, one
/// random profile in some thousands has another verdict there, so the profiles are the same in every run.
const EQUALITIES: &[&str] = &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"];

/// Calls every ABI tried here has: when the first rule of an ABI is for a call it lacks, 2.5.4 leaves that rule out and
/// the load of the number with it.
const NAMES: [&str; 6] = ["read", "write", "socket", "shmget", "statx", "openat"];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_rules_have_libseccomps_verdicts(profile in any_profile(EQUALITIES, 8)) {
        prop_assert_eq!(compare(&profile).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_random_rule_has_libseccomps_verdict(profile in any_profile(features::operators(), 1)) {
        prop_assert_eq!(compare(&profile).map(|_| ()), Ok(()));
    }
}
