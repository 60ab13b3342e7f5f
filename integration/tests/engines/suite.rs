//! Runs the cases of each group with each runtime, compares what they recorded, and reports.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use knarr_integration::Runtime;

use crate::engine::Engine;
use crate::nest::Site;

/// A case: its name, and what it does with a started engine.
pub(crate) type Case = (&'static str, fn(&Engine));

/// The cases that share one started engine.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) start: fn(&Site, Runtime) -> Engine,
    pub(crate) cases: Vec<Case>,
}

/// Names functions as cases.
#[macro_export]
macro_rules! named {
    ($($case:ident),* $(,)?) => { vec![$((stringify!($case), $case as fn(&$crate::engine::Engine))),*] };
}

/// What a case recorded with each runtime so far.
type Records = BTreeMap<String, Vec<(Runtime, Vec<String>)>>;

/// Runs what `words` select, everything when there is none.
pub(crate) fn run(site: &Site, runtimes: &[Runtime], groups: &[Group], words: &[String]) -> ExitCode {
    let mut failures = Vec::new();
    let mut records = Records::new();
    for group in groups {
        for runtime in runtimes {
            run_group(site, group, *runtime, words, &mut records, &mut failures);
        }
    }
    for (case, records) in &records {
        if let [(_, runc), (_, knarr)] = records.as_slice()
            && let Some(difference) = first_difference(runc, knarr)
        {
            failures.push(format!("{case}: knarr can be told from runc: {difference}"));
        }
    }
    report(&failures)
}

fn run_group(
    site: &Site,
    group: &Group,
    runtime: Runtime,
    words: &[String],
    records: &mut Records,
    failures: &mut Vec<String>,
) {
    let full = |case: &str| format!("{}::{case}", group.name);
    let selected =
        |case: &str| words.is_empty() || words.iter().any(|word| full(case).contains(word.as_str()));
    let cases: Vec<_> = group.cases.iter().filter(|(name, _)| selected(name)).collect();
    if cases.is_empty() {
        return;
    }
    let Some(engine) = attempt(|| (group.start)(site, runtime)) else {
        failures.push(format!("{} does not start with {}", group.name, runtime.name()));
        return;
    };
    let mut all_passed = true;
    for (name, case) in cases {
        let began = Instant::now();
        let passed = attempt(|| case(&engine)).is_some();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("engine {} ({}) ... {verdict} {:.1?}", full(name), runtime.name(), began.elapsed());
        all_passed &= passed;
        if passed {
            records.entry(full(name)).or_default().push((runtime, engine.take_record()));
        } else {
            engine.take_record();
            failures.push(format!("{} with {}", full(name), runtime.name()));
        }
    }
    // A case that failed left its containers where it failed.
    if all_passed && attempt(|| engine.end()).is_none() {
        failures.push(format!("{} with {} left something behind", group.name, runtime.name()));
    }
}

fn attempt<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

fn first_difference(runc: &[String], knarr: &[String]) -> Option<String> {
    let longest = runc.len().max(knarr.len());
    let nothing = "(nothing)".to_owned();
    let pairs = (0..longest).map(|at| (runc.get(at).unwrap_or(&nothing), knarr.get(at).unwrap_or(&nothing)));
    let different: Vec<String> = pairs
        .filter(|(one, other)| one != other)
        .map(|(one, other)| format!("\n  runc:  {one}\n  knarr: {other}"))
        .collect();
    (!different.is_empty()).then(|| different.concat())
}

fn report(failures: &[String]) -> ExitCode {
    for failure in failures {
        println!("FAILED {failure}");
    }
    println!("engines: {}", if failures.is_empty() { "all passed" } else { "failures above" });
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
