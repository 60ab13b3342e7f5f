//! Compares `knarr` with Debian's runc and crun: the same work, interleaved in the same rounds, so that a busy
//! hour hits all alike. Quote the ratios; absolute times belong to the machine and the hour.
//!
//! `bench [ROUNDS [limits]]`, as root; with `limits` nothing but what these add to `create` on version 2. Peers that cannot
//! run in a cgroup layout are named and left out.

mod figures;
mod subject;

use std::process::ExitCode;
use std::time::Duration;

use knarr_integration::{Layout, Runtime};
use rustix::mount::{UnmountFlags, unmount};
use subject::{Load, Subject, Time, Work};

const ROUNDS: usize = 30;

/// Some pieces of work, done by all in as many rounds.
type Works = fn(&[Subject], usize) -> Result<(), String>;
type Comparison = (Layout, Works);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = words.first().map_or(Ok(ROUNDS), |word| word.parse());
    let comparisons: &[Comparison] = match words.get(1..).unwrap_or_default() {
        [] => &[(Layout::Hybrid, everything), (Layout::Unified, everything)],
        [word] if word == "limits" => &[(Layout::Unified, limits)],
        _ => &[],
    };
    let (Ok(rounds @ 1..), [_, ..]) = (rounds, comparisons) else {
        eprintln!("usage: bench [ROUNDS [limits]]");
        return ExitCode::from(64);
    };
    let mut failed = false;
    for &(layout, works) in comparisons {
        // A layout is a mount namespace, and a mount namespace belongs to a thread.
        let compared = std::thread::spawn(move || compare(layout, works, rounds)).join();
        if let Ok(Err(reason)) | Err(reason) = compared.map_err(|_| "the bench panicked".to_owned()) {
            eprintln!("bench: {layout:?}: {reason}");
            failed = true;
        }
    }
    ExitCode::from(u8::from(failed))
}

fn compare(layout: Layout, works: Works, rounds: usize) -> Result<(), String> {
    layout.enter()?;
    println!("## {layout:?} cgroups, {rounds} interleaved rounds, median (mean) in ms");
    suit_crun(layout);
    let mut subjects = Vec::new();
    for runtime in [Runtime::Knarr, Runtime::Runc, Runtime::Crun] {
        match Subject::new(runtime, layout).and_then(|subject| subject.try_out().map(|()| subject)) {
            Ok(subject) => subjects.push(subject),
            Err(reason) if runtime == Runtime::Knarr => return Err(reason),
            Err(reason) => println!("{} is left out: {}", runtime.name(), reason.trim()),
        }
    }
    works(&subjects, rounds)
}

fn everything(subjects: &[Subject], rounds: usize) -> Result<(), String> {
    for work in [Work::Run, Work::Life, Work::Exec, Work::Stats, Work::Version] {
        let subjects = those_able(subjects, work);
        let times = interleave(&subjects, work, rounds)?;
        figures::print_times(work.name(), &subjects, &walls(&times));
    }
    compare_loads(subjects, Load::Filter, rounds)?;
    for subject in subjects {
        figures::print_costs(subject)?;
    }
    limits(subjects, rounds)
}

/// What limits add: time, and calls.
fn limits(subjects: &[Subject], rounds: usize) -> Result<(), String> {
    compare_loads(subjects, Load::Limits, rounds)?;
    for load in [Load::Nothing, Load::Limits] {
        for subject in those_able(subjects, Work::Create(load)) {
            figures::print_cgroup_calls(subject, load)?;
        }
    }
    Ok(())
}

/// Leaves out, by name, who has no such command or takes no such limit.
fn those_able(subjects: &[Subject], work: Work) -> Vec<&Subject> {
    let able = |subject: &&Subject| {
        let able = subject.is_able(work);
        if !able {
            println!("{} cannot: {}", subject.runtime.name(), work.name());
        }
        able
    };
    subjects.iter().filter(able).collect()
}

/// What `load` adds to `create`: with and without it in turn, for all subjects in the same rounds.
fn compare_loads(subjects: &[Subject], load: Load, rounds: usize) -> Result<(), String> {
    let works = [Work::Create(Load::Nothing), Work::Create(load)];
    let subjects = those_able(subjects, works[1]);
    let mut times = works.map(|_| vec![Vec::with_capacity(rounds); subjects.len()]);
    for round in 0..rounds {
        for turn in 0..2 * subjects.len() {
            let (index, kind) = ((round + turn / 2) % subjects.len(), (round + turn) % 2);
            times[kind][index].push(subjects[index].perform(works[kind])?);
        }
    }
    for subject in &subjects {
        subject.finish(works[1])?;
    }
    for (work, times) in works.iter().zip(&times) {
        figures::print_times(work.name(), &subjects, &walls(times));
        figures::print_times("of processor time", &subjects, &processors(times));
    }
    let [without, with] = &times;
    figures::print_differences("that is more by", &subjects, &walls(without), &walls(with));
    figures::print_differences("of processor time", &subjects, &processors(without), &processors(with));
    Ok(())
}

fn walls(times: &[Vec<Time>]) -> Vec<Vec<Duration>> {
    times.iter().map(|times| times.iter().map(|time| time.wall).collect()).collect()
}

fn processors(times: &[Vec<Time>]) -> Vec<Vec<Duration>> {
    times.iter().map(|times| times.iter().map(|time| time.processor).collect()).collect()
}

/// Debian's crun refuses a hybrid whose cgroup2 has controllers; without cgroup2 all three run. The mount
/// namespace is ours.
fn suit_crun(layout: Layout) {
    let unified = "/sys/fs/cgroup/unified";
    if layout == Layout::Hybrid && unmount(unified, UnmountFlags::DETACH).is_ok() {
        println!("cgroup2 is unmounted for all, because crun 1.8 refuses some hybrids");
    }
    if layout == Layout::Unified && !subject::may_filter_devices() {
        println!(
            "all devices are allowed for all, because crun 1.8 cannot filter them without CAP_SYS_RESOURCE"
        );
    }
}

/// The times of each subject, one a round; the order of the subjects turns by one in each round.
fn interleave(subjects: &[&Subject], work: Work, rounds: usize) -> Result<Vec<Vec<Time>>, String> {
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for subject in subjects {
        subject.prepare(work)?;
    }
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            times[index].push(subjects[index].perform(work)?);
        }
    }
    for subject in subjects {
        subject.finish(work)?;
    }
    Ok(times)
}
