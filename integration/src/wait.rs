//! Waiting with a deadline: for a condition, for a child, for any process.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until `question` has an answer. Panics with `what` when patience ends.
pub fn eventually<T>(what: &str, question: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, question)
}

/// The same with another end of patience.
pub fn eventually_within<T>(limit: Duration, what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The child's exit status, or `None` after it had to be killed because `limit` passed.
pub fn exit_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok()?;
    if gone_within(pid, limit) {
        return child.wait().ok();
    }
    let killed = child.kill().and_then(|()| child.wait());
    assert!(killed.is_ok(), "kill a program that does not end: {killed:?}");
    None
}

/// Whether the process has ended within `limit`. A process that is not there has ended.
pub fn gone_within(pid: i32, limit: Duration) -> bool {
    let Some(target) = Pid::from_raw(pid) else {
        return true;
    };
    let Ok(pidfd) = pidfd_open(target, PidfdFlags::empty()) else {
        return true;
    };
    let Ok(limit) = Timespec::try_from(limit) else {
        return false;
    };
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
