//! Processes outside of any container that hold namespaces for containers to join.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::wait::eventually;
use crate::{World, leftovers};

/// The inode of a namespace of process `pid` (or `thread-self`); `kind` is a name of /proc/PID/ns.
pub fn namespace_of(pid: impl std::fmt::Display, kind: &str) -> u64 {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
    let link = link.to_string_lossy().into_owned();
    let inode = link.split(['[', ']']).nth(1).and_then(|inode| inode.parse().ok());
    inode.unwrap_or_else(|| panic!("process {pid} has no namespace {kind}"))
}

/// A sleeping process in namespaces of its own; dropping it ends it.
pub struct Holder {
    child: Child,
    /// The sleeper, as this pid namespace numbers it.
    pub pid: u32,
}

impl Holder {
    /// `flags` are those of unshare(1): `--net`, `--pid`, `--user --map-root-user`, ...
    pub fn new(world: &World, flags: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command.args(flags).args(["--fork", "--kill-child", "sleep", "1000"]);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env(leftovers::MARK, &world.id)
            .stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("start unshare: {error}"));
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let pid = eventually("the child of unshare", || {
            let pid: u32 = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let sleeps = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim() == "sleep";
            sleeps.then_some(pid)
        });
        Self { child, pid }
    }

    /// A holder in a user namespace too, where 0 to 65535 are `host` and up.
    pub fn in_user_namespace(world: &World, flags: &[&str], host: u32) -> Self {
        let holder = Self::new(world, &[&["--user"], flags].concat());
        for map in ["uid_map", "gid_map"] {
            let written = fs::write(format!("/proc/{}/{map}", holder.pid), format!("0 {host} 65536"));
            assert!(written.is_ok(), "write {map}: {written:?}");
        }
        holder
    }

    /// The path to join its namespace `kind`.
    pub fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.pid)
    }

    pub fn inode(&self, kind: &str) -> u64 {
        namespace_of(self.pid, kind)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok() || std::thread::panicking(), "end a holder: {ended:?}");
    }
}
