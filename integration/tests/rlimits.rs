//! `process.rlimits`, set from outside just before the program starts.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use knarr_integration::runtime::{SYS_RESOURCE, we_hold};
use knarr_integration::{World, cases, json};
use rustix::process::{Resource, getrlimit};

const KINDS: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

fn limit(world: &mut World, kind: &str, soft: u64, hard: u64) {
    world.set("/process/rlimits", json!([{"type": kind, "soft": soft, "hard": hard}]));
}

cases! {
    everywhere fn every_kind_of_limit(world) {
        let chosen: Vec<(&str, u64)> = KINDS.iter().zip(0..).map(|((kind, resource), index)| {
            // Not above what we have ourselves, and large enough for the program to live.
            let most = getrlimit(*resource).maximum.unwrap_or(u64::MAX);
            (*kind, most.min((1 << 33) + index))
        }).collect();
        let entry = |(kind, hard): &(&str, u64)| json!({"type": kind, "soft": hard.saturating_sub(1), "hard": hard});
        world.set("/process/rlimits", chosen.iter().map(entry).collect::<Vec<_>>());
        let facts = world.run_facts();
        for (kind, hard) in chosen {
            assert_eq!(facts["rlimits"][kind], json!([hard.saturating_sub(1), hard]), "{kind}");
        }
    }

    knarr("runc 1.1 needs more files itself") fn a_low_number_of_files_does_not_stop_the_runtime(world) {
        // stdin, stdout, stderr and one more: what reading /proc/self/status needs.
        limit(world, "RLIMIT_NOFILE", 4, 4);
        assert_eq!(world.run_facts()["rlimits"]["RLIMIT_NOFILE"], json!([4, 4]));
    }

    everywhere fn a_small_address_space_does_not_stop_the_runtime(world) {
        limit(world, "RLIMIT_AS", 64 << 20, 64 << 20);
        assert_eq!(world.run_facts()["rlimits"]["RLIMIT_AS"], json!([64 << 20, 64 << 20]));
    }

    everywhere fn limits_are_raised_by_those_who_may(world) {
        let more = getrlimit(Resource::Memlock).maximum.map_or(u64::MAX, |ours| ours + 4096);
        limit(world, "RLIMIT_MEMLOCK", more, more);
        if we_hold(SYS_RESOURCE) {
            assert_eq!(world.run_facts()["rlimits"]["RLIMIT_MEMLOCK"], json!([more, more]));
        } else {
            world.run().assert_fails_with("operation not permitted");
            world.assert_nothing_left();
        }
    }

    everywhere fn limits_in_a_user_namespace(world) {
        world.user_namespace(100_000);
        limit(world, "RLIMIT_CORE", 2_000, 1_000_000);
        assert_eq!(world.run_facts()["rlimits"]["RLIMIT_CORE"], json!([2_000, 1_000_000]));
    }

    everywhere fn an_unknown_limit_is_refused(world) {
        limit(world, "RLIMIT_PATIENCE", 1, 1);
        world.run().assert_fails_with("RLIMIT_PATIENCE");
        world.assert_nothing_left();
    }

    everywhere fn a_soft_limit_above_the_hard_one_fails(world) {
        limit(world, "RLIMIT_NOFILE", 20, 10);
        world.run().assert_fails_with(world.pick("soft limit 20 is above hard limit 10", "invalid argument"));
        world.assert_nothing_left();
    }

    everywhere fn limits_that_are_not_named_stay(world) {
        world.set("/process/rlimits", json!([]));
        let ours = getrlimit(Resource::Core);
        assert_eq!(world.run_facts()["rlimits"]["RLIMIT_CORE"], json!([ours.current, ours.maximum]));
    }

    everywhere fn exec_has_the_limits_of_the_config(world) {
        limit(world, "RLIMIT_CORE", 321, 654);
        world.up_waiting();
        let facts = world.exec_probe(&[], &["facts"]).assert_ok().facts();
        assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([321, 654]));
    }
}
