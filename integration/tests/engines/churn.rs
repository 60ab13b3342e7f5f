//! containerd with many short lives, as a busy node has them: nothing may pile up.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::containerd::{down, run_words, start_named};
use crate::engine::Engine;
use crate::named;
use crate::suite::Group;

/// Containers in all, and how many at a time.
const ALL: usize = 200;
const AT_ONCE: usize = 20;
/// How often each is looked into, once a second, as a kubelet's exec probes do.
const PROBES: usize = 3;
const PERIOD: Duration = Duration::from_secs(1);

pub(crate) fn group() -> Group {
    Group {
        name: "churn",
        start: |site, runtime| start_named(site, "churn", runtime),
        cases: named![nothing_piles_up],
    }
}

fn nothing_piles_up(engine: &Engine) {
    let ids: Vec<String> = (0..ALL).map(|number| format!("churn-{number}")).collect();
    round(engine, &ids[..AT_ONCE]);
    let before = descriptors_of_containerd(engine);
    for wave in ids[AT_ONCE..].chunks(AT_ONCE) {
        round(engine, wave);
    }
    // Connections of clients come and go; a descriptor for each container would be a hundred and eighty.
    let after = descriptors_of_containerd(engine);
    assert!(after < before + AT_ONCE, "containerd had {before} descriptors, and has {after}");
}

/// A life of all `ids` at the same time.
fn round(engine: &Engine, ids: &[String]) {
    at_once(engine, ids, |id| run_words(engine, &["--detach", "--null-io"], id, &["sleep", "1000"]));
    for probe in 0..PROBES {
        let began = Instant::now();
        let name = format!("probe-{probe}");
        at_once(engine, ids, |id| {
            ["tasks", "exec", "--exec-id", &name, id, "true"].iter().map(ToString::to_string).collect()
        });
        std::thread::sleep(PERIOD.saturating_sub(began.elapsed()));
    }
    for id in ids {
        down(engine, id);
    }
}

fn at_once(engine: &Engine, ids: &[String], words: impl Fn(&str) -> Vec<String>) {
    let begun: Vec<_> = ids
        .iter()
        .map(|id| {
            let words = words(id);
            let refs: Vec<&str> = words.iter().map(String::as_str).collect();
            (words.join(" "), engine.begin(&refs, Stdio::null()))
        })
        .collect();
    for (text, (child, out, err)) in begun {
        engine.end_of(&[&text], child, &out, &err).assert_ok();
    }
}

fn descriptors_of_containerd(engine: &Engine) -> usize {
    let pid = engine.daemon_pid();
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count()
}
