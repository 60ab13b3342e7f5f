//! A loop device over a file of a world's own: something to limit the rates of.

use std::fs;
use std::process::Command;

use crate::World;

/// Detached when dropped.
pub struct Loop(String);

impl Loop {
    /// # Panics
    /// No loop device can be had.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let file = world.file("disk", &"\0".repeat(4 << 20));
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let output = output.unwrap_or_else(|error| panic!("start losetup: {error}"));
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// All loop devices have the major number 7.
    ///
    /// # Panics
    /// The device has another name than its kind.
    pub fn minor(&self) -> u32 {
        let minor = self.0.trim_start_matches("/dev/loop").parse();
        minor.unwrap_or_else(|error| panic!("{}: {error}", self.0))
    }

    /// Only this scheduler knows weights.
    ///
    /// # Panics
    /// The kernel has it not.
    pub fn schedule_by_bfq(&self) {
        let set = self.schedule_by("bfq");
        assert!(set.is_ok(), "schedule {} by bfq: {set:?}", self.0);
    }

    fn schedule_by(&self, scheduler: &str) -> std::io::Result<()> {
        fs::write(format!("/sys/block/loop{}/queue/scheduler", self.minor()), scheduler)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // As it is before anybody uses the device.
        let unscheduled = self.schedule_by("none");
        let detached = Command::new("losetup").args(["--detach", &self.0]).status();
        if !std::thread::panicking() {
            assert!(detached.is_ok_and(|status| status.success()), "detach {}", self.0);
            assert!(unscheduled.is_ok(), "give {} its scheduler back: {unscheduled:?}", self.0);
        }
    }
}
