//! `/dev` of the container: nodes, standard links, ptmx.
//!
//! The directory is opened once, inside the root, and everything in it is made relative to that descriptor: what an
//! image has at `/dev` may be a link to anywhere (CVE-2026-41579).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags};

use crate::error::{During, Result};
use crate::plan::device_nodes::{DeviceNode, NodeKind};
use crate::sys::files::{chown_fd, exists, make_node_at, open_at, stat_fd, symlink_at, unlink_at};
use crate::sys::mounts::{Depth, attach_at_nofollow, clone_tree};
use crate::sys::{self, Errno};

use super::{Last, Missing, RootDir, Sources};

pub(super) fn fill_dev(
    root: &RootDir,
    nodes: &[DeviceNode],
    means: Means,
    sources: &mut Sources,
) -> Result<()> {
    let found = root.find("dev", Missing::Directory, Last::Follow);
    let dev = found.during(|| "configuring container /dev".into())?.fd;
    let mut filling = Filling { root, dev: &dev, means, sources };
    for node in nodes {
        let act = || format!("configuring container /dev: error creating device nodes: /{}", node.path);
        filling.place(node).during(act)?;
    }
    link_ptmx(&dev).during(|| "configuring container /dev: error setting up ptmx".into())?;
    link_standard(&dev).during(|| "configuring container /dev: error setting up /dev symlinks".into())
}

/// How a device gets to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// mknod(2), until it is refused.
    Make,
    /// The host's is bound: no user namespace but the first may make devices.
    Bind,
}

struct Filling<'a> {
    root: &'a RootDir,
    dev: &'a OwnedFd,
    means: Means,
    sources: &'a mut Sources,
}

impl Filling<'_> {
    fn place(&mut self, node: &DeviceNode) -> Result<()> {
        let direct = node.path.strip_prefix("dev/").filter(|name| !name.contains('/'));
        let (parent, name) = match direct {
            Some(name) => (None, name),
            None => self.root.parent(&node.path).map(|(parent, name)| (Some(parent), name))?,
        };
        let directory = parent.as_ref().map_or(self.dev.as_fd(), AsFd::as_fd);
        // Anybody may make a fifo.
        if self.means == Means::Make || node.kind == NodeKind::Fifo {
            match make_node(directory, name, node) {
                Err(error) if error.errno == Errno::PERM => self.means = Means::Bind,
                result => return Ok(result?),
            }
        }
        let prepared = node.index.and_then(|index| self.sources.take_device(index));
        Ok(bind_node(directory, name, node, prepared)?)
    }
}

fn kind(node: &DeviceNode) -> FileType {
    match node.kind {
        NodeKind::Character => FileType::CharacterDevice,
        NodeKind::Block => FileType::BlockDevice,
        NodeKind::Fifo => FileType::Fifo,
    }
}

/// What is there already stays: the content of an image, or of a volume.
fn make_node(directory: BorrowedFd<'_>, name: &str, node: &DeviceNode) -> sys::Result<()> {
    match make_node_at(directory, name, kind(node), node.mode, (node.major, node.minor)) {
        Err(error) if error.errno == Errno::EXIST => return Ok(()),
        result => result?,
    }
    if (node.uid, node.gid) == (0, 0) {
        return Ok(());
    }
    let made = open_at(directory, name, OFlags::PATH | OFlags::NOFOLLOW)?;
    verify(&made, node)?;
    chown_fd(&made, node.uid, node.gid)
}

/// Before the owner changes: it must be what was made, and nothing put in its place.
fn verify(fd: &OwnedFd, node: &DeviceNode) -> sys::Result<()> {
    let stat = stat_fd(fd)?;
    let number = if node.kind == NodeKind::Fifo { 0 } else { rustix::fs::makedev(node.major, node.minor) };
    if FileType::from_raw_mode(stat.st_mode) == kind(node) && stat.st_rdev == number {
        return Ok(());
    }
    Err(sys::Error { call: format!("/{} was replaced while it was made", node.path), errno: Errno::INVAL })
}

fn bind_node(
    directory: BorrowedFd<'_>,
    name: &str,
    node: &DeviceNode,
    prepared: Option<OwnedFd>,
) -> sys::Result<()> {
    let source = match clone_tree(CWD, &format!("/{}", node.path), Depth::One) {
        Err(error) => prepared.ok_or(error)?,
        Ok(source) => source,
    };
    match make_node_at(directory, name, FileType::RegularFile, 0, (0, 0)) {
        Err(error) if error.errno != Errno::EXIST => return Err(error),
        _ => {}
    }
    attach_at_nofollow(&source, directory, name)
}

/// The multiplexer of the container's own devpts, never the host's.
fn link_ptmx(dev: &OwnedFd) -> sys::Result<()> {
    match symlink_at("pts/ptmx", dev, "ptmx") {
        Err(error) if error.errno == Errno::EXIST => {
            unlink_at(dev, "ptmx")?;
            symlink_at("pts/ptmx", dev, "ptmx")
        }
        result => result,
    }
}

fn link_standard(dev: &OwnedFd) -> sys::Result<()> {
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    // Only a kernel with CONFIG_PROC_KCORE has it.
    let core = exists("/proc/kcore").then_some(("/proc/kcore", "core"));
    for (target, name) in links.into_iter().chain(core) {
        match symlink_at(target, dev, name) {
            Err(error) if error.errno != Errno::EXIST => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The null device, whoever made it.
pub(super) fn is_null(fd: impl AsFd) -> sys::Result<bool> {
    let stat = stat_fd(fd)?;
    let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(is_character && stat.st_rdev == rustix::fs::makedev(1, 3))
}
