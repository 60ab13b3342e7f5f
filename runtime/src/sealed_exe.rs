//! Keeps the runtime's binary out of a container's reach (CVE-2019-5736).
//!
//! Until its execve, a container's process has this program as `/proc/PID/exe`, and an image can make execve start it
//! again (`#!/proc/self/exe`). Opened for writing through that link, the host's binary could be replaced. So the
//! commands that put a process into a container first execute themselves from a file nobody can write: a read-only
//! detached clone of the mount the binary is on (no copy), or where mounts may not be made, a sealed memfd.

use std::ffi::CString;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{
    MemfdFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals, memfd_create, statvfs,
};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::{During, Result};
use crate::log;
use crate::sys::mounts::{Depth, MountChange, change_mount};
use crate::sys::{self, Named};

const OWN_EXE: &str = "/proc/self/exe";

/// Returns when this process runs from a file that cannot be written; executes itself again where it does not yet.
pub(crate) fn ensure() -> Result<()> {
    // execve of a descriptor leaves its number as the name.
    let sealed = || Ok(sys::set_process_name(c"knarr")?);
    if is_read_only()? {
        return sealed();
    }
    let file = match read_only_clone() {
        Ok(file) => {
            log::debug(format_args!("runc exeseal: using /proc/self/exe clone"));
            file
        }
        Err(_) if is_sealed()? => return sealed(),
        Err(error) => {
            log::debug(format_args!(
                "runc exeseal: no clone of /proc/self/exe ({error}), using a sealed memfd"
            ));
            sealed_copy().during(|| "make a sealed copy of the runtime's executable".into())?
        }
    };
    Err(execute(&file).into())
}

fn is_read_only() -> Result<bool> {
    let file_system = statvfs(OWN_EXE).named(|| format!("statfs({OWN_EXE:?})"))?;
    Ok(file_system.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether this is the memfd of [`sealed_copy`]: there is no mount of it that could be cloned.
fn is_sealed() -> Result<bool> {
    // The files that take seals live on a file system of their own; elsewhere the question is EINVAL.
    let file = std::fs::File::open(OWN_EXE).named(|| format!("open {OWN_EXE}"))?;
    Ok(fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::SEAL)))
}

fn read_only_clone() -> sys::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount =
        open_tree(rustix::fs::CWD, OWN_EXE, flags).named(|| format!("open_tree({OWN_EXE:?}, CLONE)"))?;
    change_mount(
        &mount,
        Depth::One,
        &MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() },
    )?;
    Ok(mount)
}

fn sealed_copy() -> sys::Result<OwnedFd> {
    let named = |call: &'static str| move || call.to_owned();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants to be told that the file will be executed; older kernels do not know the flag.
    let copy = memfd_create("knarr", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("knarr", flags))
        .named(named("memfd_create"))?;
    let mut copy = std::fs::File::from(copy);
    let mut own = std::fs::File::open(OWN_EXE).named(named("open /proc/self/exe"))?;
    std::io::copy(&mut own, &mut copy).named(named("copy /proc/self/exe"))?;
    copy.seek(SeekFrom::Start(0)).named(named("lseek(memfd)"))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&copy, seals).named(named("fcntl(memfd, F_ADD_SEALS)"))?;
    // A file open for writing is not executed (ETXTBSY), so it is opened anew and the writable descriptor dropped.
    let again = std::fs::File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()));
    Ok(again.named(named("reopen(memfd)"))?.into())
}

fn execute(file: &OwnedFd) -> sys::Error {
    let string = |bytes: std::ffi::OsString| CString::new(bytes.into_vec()).unwrap_or_default();
    let argv: Vec<_> = std::env::args_os().map(string).collect();
    let envp: Vec<_> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            string(name)
        })
        .collect();
    sys::exec_fd(file.as_fd(), &argv, &envp)
}
