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

use super::{Last, Missing, Root, RootDir, Sources};

pub(super) fn fill_dev(
    root: &RootDir,
    nodes: &[DeviceNode],
    in_user_namespace: bool,
    sources: &mut Sources,
) -> Result<()> {
    let dev =
        root.find("dev", Missing::Directory, Last::Follow).during(|| "configuring container /dev".into())?.fd;
    // Without mknod(2) a node is the host's, bound.
    let mut bind = in_user_namespace;
    for node in nodes {
        place_node(root, &dev, node, &mut bind, sources)
            .during(|| format!("configuring container /dev: error creating device nodes: /{}", node.path))?;
    }
    link_ptmx(&dev).during(|| "configuring container /dev: error setting up ptmx".into())?;
    link_standard(&dev).during(|| "configuring container /dev: error setting up /dev symlinks".into())
}

fn place_node(
    root: &RootDir,
    dev: &OwnedFd,
    node: &DeviceNode,
    bind: &mut bool,
    sources: &mut Sources,
) -> Result<()> {
    let direct = node.path.strip_prefix("dev/").filter(|name| !name.contains('/'));
    let (parent, name) = match direct {
        Some(name) => (None, name),
        None => root.parent(&node.path).map(|(parent, name)| (Some(parent), name))?,
    };
    let directory = parent.as_ref().map_or(dev.as_fd(), AsFd::as_fd);
    if !*bind {
        match make_node(directory, name, node) {
            Err(error) if error.errno == Errno::PERM => *bind = true,
            result => return Ok(result?),
        }
    }
    let prepared = node.index.and_then(|index| sources.take_device(index));
    Ok(bind_node(directory, name, node, prepared)?)
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

/// Standard descriptors on the host's `/dev/null` move to the container's, so that no inode of the host is left.
/// After [`super::enter_root`].
pub(crate) fn reopen_null(root: &Root) -> Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut null = None;
    for (number, stream) in streams.into_iter().enumerate() {
        if !is_null(stream)? {
            continue;
        }
        let fd = match null.take() {
            Some(fd) => fd,
            None => open_null(root.dir()).during(|| "error reopening /dev/null inside container".into())?,
        };
        let set = [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr];
        sys::Named::named(set[number](&fd), || format!("dup2({number})"))?;
        null = Some(fd);
    }
    Ok(())
}

pub(super) fn open_null(root: &RootDir) -> sys::Result<OwnedFd> {
    let dev = root.find("dev", Missing::Fail, Last::Follow)?.fd;
    let null = open_at(&dev, "null", OFlags::RDWR | OFlags::NOFOLLOW)?;
    if is_null(&null)? {
        return Ok(null);
    }
    Err(sys::Error { call: "container's /dev/null is invalid".into(), errno: Errno::INVAL })
}
