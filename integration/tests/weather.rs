//! Bad weather: the runtime is killed at any moment of any command, commands meet, and the machine withholds things. What is
//! left goes by `delete --force`, and nothing hangs. Killing `create` is in leftovers.rs, a full disk in hints.rs.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::time::{Duration, Instant};

use knarr_integration::{World, cases, leftovers, wait};
use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};

/// Kills `ARGS ID` after a delay that grows round by round over the time that the whole takes; each round begins with a
/// container that `make` made. `KNARR_ROUNDS` says how many.
fn killed_at_many_moments(world: &World, make: fn(&World), args: &[&str], rest: &[&str]) {
    let rounds = std::env::var("KNARR_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25);
    let command = || world.command(&[args, &[world.id.as_str()], rest].concat());
    world.write_config();
    make(world);
    let whole = Instant::now();
    world.begin(command()).end().assert_ok();
    let whole = whole.elapsed();
    world.delete_force().assert_ok();
    for round in 0..rounds {
        make(world);
        let mut running = world.begin(command());
        // The moment is the point of this test: there is no event to wait for.
        std::thread::sleep(whole * round / rounds);
        running.child.kill().and_then(|()| running.child.wait()).expect("kill it");
        world.delete_force().assert_ok();
        world.delete().assert_fails_with("container does not exist");
        let left = leftovers::processes(&world.id);
        let gone = left.iter().all(|pid| wait::gone_within(*pid, Duration::from_secs(5)));
        assert!(gone, "round {round}: processes {left:?} are left");
        world.assert_nothing_left();
    }
}

fn created(world: &World) {
    world.call(&["create", &world.id]).assert_ok();
}

fn started(world: &World) {
    created(world);
    world.start().assert_ok();
}

fn stopped(world: &World) {
    started(world);
    world.stop();
}

cases! {
    knarr("runc 1.1 may leave its init") fn start_killed(world) {
        world.probe(&["block", "wait"]);
        killed_at_many_moments(world, created, &["start"], &[]);
    }

    knarr("runc 1.1 may leave its init") fn exec_killed(world) {
        world.probe(&["block", "wait"]);
        killed_at_many_moments(world, started, &["exec"], &["/bin/true"]);
    }

    knarr("runc 1.1 may leave its init") fn detached_exec_killed(world) {
        world.probe(&["block", "wait"]);
        killed_at_many_moments(world, started, &["exec", "--detach"], &["/bin/sleep", "1000"]);
    }

    knarr("runc 1.1 may leave its cgroup") fn delete_killed(world) {
        world.probe(&["block", "wait"]);
        // The first round's container is gone by the command itself: what follows deletes nothing, which is no failure.
        killed_at_many_moments(world, stopped, &["delete"], &[]);
    }

    knarr("runc 1.1 may leave its cgroup") fn forced_delete_killed(world) {
        world.probe(&["block", "wait"]);
        killed_at_many_moments(world, started, &["delete", "--force"], &[]);
    }

    knarr("of runc's both may win") fn of_two_starts_one_wins(world) {
        world.probe(&["block", "wait"]).write_config();
        for _ in 0..10 {
            created(world);
            let mut both: Vec<_> = (0..2).map(|_| world.begin(world.command(&["start", &world.id]))).collect();
            let answers: Vec<_> = both.iter_mut().map(|start| start.end()).collect();
            let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status.success());
            assert_eq!((won.len(), lost.len()), (1, 1));
            lost[0].clone().assert_fails_with("cannot start an already running container");
            assert_eq!(world.status(), "running");
            world.delete_force().assert_ok();
            world.assert_nothing_left();
        }
    }

    everywhere fn kill_and_delete_at_once(world) {
        world.probe(&["block", "wait"]).write_config();
        for _ in 0..5 {
            started(world);
            let mut delete = world.begin(world.command(&["delete", "--force", &world.id]));
            let kill = world.kill("KILL");
            let late = ["does not exist", "not running", "no such process", "already finished"];
            assert!(kill.status.success() || late.iter().any(|text| kill.err.contains(text)), "{kill}");
            delete.end().assert_ok();
            world.assert_nothing_left();
        }
    }

    knarr("of runc's one may find no state") fn delete_during_exec(world) {
        world.probe(&["block", "wait"]).write_config();
        for round in 0..10 {
            started(world);
            let mut exec = world.begin(world.command(&["exec", &world.id, "/bin/sleep", "1000"]));
            std::thread::sleep(Duration::from_millis(round));
            world.delete_force().assert_ok();
            assert!(!exec.end().status.success());
            world.assert_nothing_left();
        }
    }

    everywhere fn a_read_only_sys(world) {
        mount_bind_recursive("/sys", "/sys").expect("a mount of its own");
        mount_remount("/sys", MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
        world.accept_mounts();
        world.run().assert_ok();
        world.assert_nothing_left();
    }
}
