//! What is printed: medians with ratios, and the costs that are not time (calls, memory, size).

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use knarr_integration::runtime::installed;
use knarr_integration::sys;

use crate::subject::Subject;

/// One line: each subject's median and mean, then ours against each peer.
pub(crate) fn print_times(work: &str, subjects: &[Subject], times: &[Vec<Duration>]) {
    let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
    let shown: Vec<String> = subjects
        .iter()
        .zip(times.iter().zip(&medians))
        .map(|(subject, (times, median))| {
            format!("{} {median:.2} ({:.2})", subject.runtime.name(), mean(times))
        })
        .collect();
    let ratios: Vec<String> = subjects
        .iter()
        .zip(&medians)
        .skip(1)
        .map(|(peer, median)| format!("knarr/{} {:.2}", peer.runtime.name(), medians[0] / median))
        .collect();
    println!("{work:<22} {} | {}", shown.join("  "), ratios.join("  "));
}

/// The median over the rounds of how much longer `with` took than `without`, for each subject.
pub(crate) fn print_differences(
    what: &str,
    subjects: &[Subject],
    without: &[Vec<Duration>],
    with: &[Vec<Duration>],
) {
    let shown: Vec<String> = subjects
        .iter()
        .zip(without.iter().zip(with))
        .map(|(subject, (without, with))| {
            let differences = without.iter().zip(with).map(|(a, b)| milliseconds(b) - milliseconds(a));
            let mut differences: Vec<f64> = differences.collect();
            differences.sort_unstable_by(f64::total_cmp);
            let median = differences.get(differences.len() / 2).copied().unwrap_or(0.0);
            format!("{} {median:+.2}", subject.runtime.name())
        })
        .collect();
    println!("{what:<22} {}", shown.join("  "));
}

/// System calls and peak resident memory of one `run`, and the size of the program.
pub(crate) fn print_costs(subject: &Subject) -> Result<(), String> {
    let calls = system_calls(subject)?;
    let memory = peak_memory(subject)?;
    let size = fs::metadata(&subject.program).map_or(0, |data| data.len());
    let name = subject.runtime.name();
    println!("{name:<6} run: {calls} system calls, peak RSS {memory} KiB; binary {} KiB", size >> 10);
    Ok(())
}

/// The total of `strace -f -c`.
fn system_calls(subject: &Subject) -> Result<u64, String> {
    let summary = subject.file("strace");
    let run = subject.command(&["run", subject.id()]);
    let mut command = Command::new(installed("strace")?);
    command.args(["-f", "-c", "-o"]).arg(&summary).arg(run.get_program()).args(run.get_args());
    command.current_dir(subject.file("")).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("run under strace: {status}"));
    }
    let text = fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    let total = text.lines().rev().find(|line| line.ends_with("total"));
    // % time, seconds, usecs/call, calls, errors
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or_else(|| format!("strace told no total: {text}"))
}

/// The largest resident set of the runtime and the processes it waited for, in KiB.
fn peak_memory(subject: &Subject) -> Result<i64, String> {
    let child = subject.command(&["run", subject.id()]).spawn().map_err(|error| error.to_string())?;
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    let (status, memory) = sys::wait_with_usage(pid).map_err(|error| error.to_string())?;
    if status == 0 { Ok(memory) } else { Err(format!("run: wait status {status}")) }
}

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(0.0, milliseconds)
}

fn mean(times: &[Duration]) -> f64 {
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX).max(1);
    milliseconds(&(times.iter().sum::<Duration>() / count))
}
