//! kill -9 at any moment.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::archives::{Made, noise};
use crate::registry::Registry;
use crate::world::{World, assert_tidy, assert_whole};

/// Runs a command and kills it after a part of the time that it takes; whether it was killed.
fn kill_after(world: &World, args: &[&str], delay: Duration) -> bool {
    let mut child = world.program(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(delay);
    // It may have ended: then there is nothing to kill.
    let _ = child.kill();
    !child.wait().unwrap().success()
}

fn time_of(world: &World, args: &[&str]) -> Duration {
    let begun = Instant::now();
    world.run(args);
    begun.elapsed()
}

/// Two layers of some hundred files in all and one of noise.
fn image() -> Made {
    let files: Vec<(String, Vec<u8>)> =
        (0..200).map(|number| (format!("dir/{number}"), vec![b'x'; number])).collect();
    let mut many = vec![("dir/", &b""[..])];
    many.extend(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
    Made::of(&[&[("big", &noise(7, 1 << 20))], &many, &[("small", b"small")]])
}

/// A snapshot of another image, with something written to it.
fn snapshot(world: &World, id: &str) {
    let store = world.store();
    let base = Made::of(&[&[("base", b"base")]]);
    store.load(&base.archive(&["base:1"])[..], &mut |_| ()).unwrap();
    store.prepare(id, &base.id(), "").unwrap();
    for number in 0..100 {
        fs::write(world.root().join(format!("snapshots/{id}/upper/{number}")), noise(number, 4096)).unwrap();
    }
}

/// 200 moments, spread evenly over a pull, a removal, a load, a commit and a collection.
#[test]
fn killed_at_any_moment_the_store_is_whole() {
    let (world, registry) = (World::new(), Registry::start());
    let made = image();
    registry.push("crash:1", &made, &made.layers);
    let name = registry.name("crash:1");
    let path = world.path("image.tar");
    fs::write(&path, made.archive(&["crash:2"])).unwrap();
    snapshot(&world, "written");
    let commands: [&[&str]; 6] = [
        &["pull", &name],
        &["rm", "--force", &name],
        &["load", "--input", path.to_str().unwrap()],
        &["rm", "--force", "crash:2"],
        &["commit", "written", "crash:3"],
        &["gc", "--prune", "unused"],
    ];
    let times: Vec<Duration> = commands.iter().map(|args| time_of(&world, args)).collect();
    let mut killed = 0;
    for round in 0..200u32 {
        let which = round as usize % commands.len();
        // Beyond the end now and then, or nothing would ever be there to be removed.
        let delay = times[which] * (round / 6 % 34) / 26;
        killed += usize::from(kill_after(&world, commands[which], delay));
        let store = world.store();
        assert_tidy(&world.root());
        assert_whole(&store);
        assert!(store.snapshot("written").is_ok());
    }
    println!("{killed} of 200 were killed before their end");
    assert!(killed > 60, "{killed}");
    // And it is of use: what remains of all this is no obstacle.
    world.run(&["pull", &name]);
    assert_whole(&world.store());
}
