//! What is printed: medians with ratios, and the costs that are not time (calls, memory, size).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use knarr_integration::runtime::installed;
use knarr_integration::{eventually, sys};

use crate::subject::{Load, Subject, Work};

/// One line: each subject's median and mean, then ours against each peer.
pub(crate) fn print_times(work: &str, subjects: &[&Subject], times: &[Vec<Duration>]) {
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

/// How much longer `with` took than `without`, for each subject: the median over the rounds, and in brackets between the
/// fastest rounds, which other work on the machine disturbs least.
pub(crate) fn print_differences(
    what: &str,
    subjects: &[&Subject],
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
            let fastest = |times: &[Duration]| times.iter().min().map_or(0.0, milliseconds);
            format!("{} {median:+.2} ({:+.2})", subject.runtime.name(), fastest(with) - fastest(without))
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

/// How often one `create` opens a file or directory below /sys/fs/cgroup, and writes to one.
pub(crate) fn print_cgroup_calls(subject: &Subject, load: Load) -> Result<(), String> {
    let work = Work::Create(load);
    subject.prepare(work)?;
    let flags = ["-y", "-e", "trace=open,openat,openat2,write"];
    let pid_file = subject.file("pid");
    let (mut strace, trace) = trace(subject, &flags, &["create", "--pid-file", &pid_file.to_string_lossy()])?;
    // The last thing that `create` does. The process that waits then would keep strace waiting too.
    eventually("a pid file", || pid_file.exists().then_some(()));
    subject.finish(work)?;
    strace.wait().and_then(|_| fs::remove_file(&pid_file)).map_err(|error| error.to_string())?;
    let trace = fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let names: Vec<&str> = trace.lines().filter_map(call_on_a_cgroup).collect();
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    let (name, opens, writes) = (subject.runtime.name(), count("open"), count("write"));
    println!("{name:<6} {}: {opens} opens and {writes} writes below /sys/fs/cgroup", work.name());
    Ok(())
}

/// The name of the call in a line of `strace -f -y` that is about a file of a cgroup. A call that another thread's line
/// interrupts has a second line, which begins with `<...`.
fn call_on_a_cgroup(line: &str) -> Option<&str> {
    let (name, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
    // What is written may well be a path.
    let (place, _) = arguments.split_once(if name == "write" { ',' } else { '=' }).unwrap_or((arguments, ""));
    let below = ["\"/sys/fs/cgroup", "</sys/fs/cgroup"].iter().any(|start| place.contains(start));
    (below && !name.starts_with('<')).then_some(name)
}

/// The total of `strace -f -c`.
fn system_calls(subject: &Subject) -> Result<u64, String> {
    let (mut strace, summary) = trace(subject, &["-c"], &["run"])?;
    let status = strace.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("run under strace: {status}"));
    }
    let text = fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    let total = text.lines().rev().find(|line| line.ends_with("total"));
    // % time, seconds, usecs/call, calls, errors
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or_else(|| format!("strace told no total: {text}"))
}

/// Starts a command under strace with all its processes; the file is what strace writes.
fn trace(subject: &Subject, flags: &[&str], args: &[&str]) -> Result<(Child, PathBuf), String> {
    let output = subject.file("strace");
    let traced = subject.command(&[args, &[subject.id()]].concat());
    let mut command = Command::new(installed("strace")?);
    command.arg("-f").args(flags).arg("-o").arg(&output).arg(traced.get_program()).args(traced.get_args());
    command.current_dir(subject.file("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(|child| (child, output)).map_err(|error| error.to_string())
}

/// The largest resident set of the runtime and the processes it waited for, in KiB.
fn peak_memory(subject: &Subject) -> Result<i64, String> {
    let child = subject.command(&["run", subject.id()]).spawn().map_err(|error| error.to_string())?;
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    let (status, usage) = sys::wait_with_usage(pid).map_err(|error| error.to_string())?;
    if status == 0 { Ok(usage.memory) } else { Err(format!("run: wait status {status}")) }
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
