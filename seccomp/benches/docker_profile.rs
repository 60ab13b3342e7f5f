//! Docker's default profile for x86-64, x86 and x32: what compiling and installing it costs, beside libseccomp fed as runc
//! feeds it. `cargo bench -p knarr-seccomp`; needs Debian's libseccomp-dev.
#![allow(clippy::expect_used, reason = "a bench may stop")]

#[path = "../tests/libseccomp/oracle.rs"]
mod oracle;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/libseccomp/sys.rs"]
mod sys;

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use knarr_seccomp::{compile, longest_path};

const ROUNDS: usize = 300;

fn main() {
    let profile = support::docker(&[]);
    let ours = compile(&profile).expect("a program");
    let theirs = oracle::libseccomp(&profile).expect("a program");
    println!("                          knarr        libseccomp");
    row("instructions", &ours.instructions().len(), &theirs.len());
    row("longest path", &longest_path(ours.instructions()), &longest_path(&theirs));
    let compiled = time(ROUNDS, || drop(black_box(compile(black_box(&profile)))));
    let built = time(ROUNDS / 10, || drop(black_box(oracle::libseccomp(black_box(&profile)))));
    row("compile, min/median", &Times(compiled), &Times(built));
    let filter = oracle::filter(&profile).expect("a filter");
    // libseccomp can only generate and install in one step: what it installs is timed as a program of its own.
    let installed = time_in_children(|| ours.install().map(drop).expect("installed"));
    let loaded = time_in_children(|| assert_eq!(filter.load(), 0));
    row("install, min/median", &Times(installed), &Times(loaded));
    println!("(libseccomp's compile is init, rules and export; its install generates again)");
}

fn row(what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display) {
    println!("{what:20} {ours:>16} {theirs:>16}");
}

/// Sorted.
struct Times(Vec<Duration>);

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |at: usize| self.0[at].as_nanos() / 1000;
        f.pad(&format!("{}/{} us", micros(0), micros(self.0.len() / 2)))
    }
}

fn time(rounds: usize, act: impl Fn()) -> Vec<Duration> {
    let once = |_| {
        let start = Instant::now();
        act();
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..rounds).map(once).collect();
    times.sort_unstable();
    times
}

/// A filter is for good, so each is installed in a child of its own.
fn time_in_children(act: impl Fn()) -> Vec<Duration> {
    let once = |_| {
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        sys::in_child(|| {
            let start = Instant::now();
            act();
            let nanos = u64::try_from(start.elapsed().as_nanos()).expect("short");
            writer.write_all(&nanos.to_ne_bytes()).expect("written");
        });
        drop(writer);
        let mut nanos = [0; 8];
        reader.read_exact(&mut nanos).expect("a time");
        Duration::from_nanos(u64::from_ne_bytes(nanos))
    };
    let mut times: Vec<Duration> = (0..ROUNDS).map(once).collect();
    times.sort_unstable();
    times
}
