//! Engines over the runtime: dockerd, containerd, podman and buildah, each with knarr and with runc.
//!
//! A case is a function over a started [`Engine`]. It runs with both runtimes, so runc tests the tests, and what a
//! case records must be the same text for both. Everything happens in namespaces of its own (mount, network, pid),
//! see `nest`: when the test ends, however it ends, no process and no mount is left.
//!
//! Run by `make test-engines`; `cargo test --test engines -- docker::pause` runs the cases whose names contain a word.
//! With `--machine` it is the engines of the virtual machine, as they are there: see `machine`. With `--knarr` it is ours alone.
#![allow(clippy::expect_used, clippy::unwrap_used)] // a test ends where an expectation fails
#![allow(clippy::print_stdout, clippy::print_stderr)] // this is a test runner

mod buildah;
mod churn;
mod containerd;
mod docker;
mod docker_limits;
mod docker_sees;
mod engine;
mod image;
mod images;
mod machine;
mod nest;
mod podman;
mod suite;
mod switch;

use std::process::ExitCode;

use knarr_integration::Runtime;
use suite::Group;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let has = |flag: &str| std::env::args().any(|word| word == flag);
    let runtimes: &[Runtime] =
        if has("--knarr") { &[Runtime::Knarr] } else { &[Runtime::Runc, Runtime::Knarr] };
    if has("--machine") {
        return nest::without(|site| suite::run(site, runtimes, &machine::groups(), &words));
    }
    nest::inside(|site| suite::run(site, runtimes, &groups(), &words))
}

/// Every engine with its cases, in the order in which they run.
fn groups() -> Vec<Group> {
    vec![
        docker::group(),
        docker::companion(),
        docker_sees::remapped(),
        containerd::group(),
        churn::group(),
        podman::group(),
        podman::named_crun(),
        switch::docker(),
        switch::podman(),
        buildah::group(),
    ]
}
