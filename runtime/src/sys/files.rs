//! System calls on files and directories, relative to a descriptor: openat(2) and its family.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};

use super::{Errno, Error, Named, Result};

/// openat(2).
pub(crate) fn open_at(dir: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    retry(|| rustix::fs::openat(&dir, path, flags | OFlags::CLOEXEC, Mode::empty()))
        .named(|| format!("open({path:?})"))
}

/// openat(2) that must make the file.
pub(crate) fn create_at(dir: impl AsFd, path: &str, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    retry(|| rustix::fs::openat(&dir, path, flags, Mode::from_raw_mode(mode)))
        .named(|| format!("open({path:?}, O_CREAT|O_EXCL)"))
}

/// openat2(2), once: EAGAIN (something was renamed meanwhile) is for the caller.
pub(crate) fn open_at2(dir: impl AsFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    retry(|| rustix::fs::openat2(&dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
        .named(|| format!("openat2({path:?})"))
}

/// readlinkat(2); an empty `path` is the link `dir` itself.
pub(crate) fn read_link_at(dir: impl AsFd, path: &str) -> Result<String> {
    let target = rustix::fs::readlinkat(dir, path, Vec::new()).named(|| format!("readlink({path:?})"))?;
    target.into_string().map_err(|_| Error { call: format!("readlink({path:?})"), errno: Errno::ILSEQ })
}

pub(crate) fn make_dir_at(dir: impl AsFd, path: &str, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(mode)).named(|| format!("mkdir({path:?}, {mode:#o})"))
}

/// mknodat(2): a device, fifo or empty regular file.
pub(crate) fn make_node_at(
    dir: impl AsFd,
    path: &str,
    kind: FileType,
    mode: u32,
    (major, minor): (u32, u32),
) -> Result<()> {
    rustix::fs::mknodat(dir, path, kind, Mode::from_raw_mode(mode), rustix::fs::makedev(major, minor))
        .named(|| format!("mknod({path:?}, {mode:#o}, {major}:{minor})"))
}

pub(crate) fn symlink_at(target: &str, dir: impl AsFd, path: &str) -> Result<()> {
    rustix::fs::symlinkat(target, dir, path).named(|| format!("symlink({target:?}, {path:?})"))
}

pub(crate) fn unlink_at(dir: impl AsFd, path: &str) -> Result<()> {
    rustix::fs::unlinkat(dir, path, AtFlags::empty()).named(|| format!("unlink({path:?})"))
}

/// faccessat(2), F_OK.
pub(crate) fn exists(path: &str) -> bool {
    rustix::fs::accessat(CWD, path, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

pub(crate) fn stat_fd(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(fd).named(|| "fstat".into())
}

/// fstatat(2), links not followed.
pub(crate) fn stat_at(dir: impl AsFd, path: &str) -> Result<Stat> {
    rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW).named(|| format!("stat({path:?})"))
}

/// fstatat(2), links followed: what kind of file it is.
pub(crate) fn kind_at(dir: impl AsFd, path: &str) -> Result<FileType> {
    let stat = rustix::fs::statat(dir, path, AtFlags::empty()).named(|| format!("stat({path:?})"))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// fstatfs(2): the magic number of the file system.
pub(crate) fn magic_of(fd: impl AsFd) -> Result<i64> {
    // The width of `f_type` differs between architectures.
    #[allow(clippy::unnecessary_cast)]
    rustix::fs::fstatfs(fd).map(|stat| stat.f_type as i64).named(|| "fstatfs".into())
}

/// fchownat(2) with AT_EMPTY_PATH: works on an O_PATH descriptor.
pub(crate) fn chown_fd(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .named(|| format!("chown({}:{})", uid.as_raw(), gid.as_raw()))
}

/// fchownat(2), links not followed.
pub(crate) fn chown_at(dir: impl AsFd, path: &str, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::chownat(
        dir,
        path,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .named(|| format!("chown({path:?}, {uid}:{gid})"))
}

/// fchmod(2).
pub(crate) fn chmod_fd(fd: impl AsFd, mode: u32) -> Result<()> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).named(|| format!("chmod({mode:#o})"))
}

/// futimens(2): the times of access and change that `stat` has.
pub(crate) fn set_times(fd: impl AsFd, stat: &Stat) -> Result<()> {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec.cast_signed(),
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.cast_signed(),
        },
    };
    rustix::fs::futimens(fd, &times).named(|| "futimens".into())
}

/// write(2), all bytes in one call: what files of proc and cgroup demand.
pub(crate) fn write_whole(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    let call = || format!("write({:?})", String::from_utf8_lossy(bytes));
    let written = retry(|| rustix::io::write(&fd, bytes)).named(call)?;
    if written == bytes.len() { Ok(()) } else { Err(Error { call: call(), errno: Errno::IO }) }
}

/// read(2) to the end of the file.
pub(crate) fn read_to_end(fd: impl AsFd) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match retry(|| rustix::io::read(&fd, &mut part)).named(|| "read".into())? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// copy_file_range(2) to the end of the source, by sendfile(2) where the file systems do not know it.
pub(crate) fn copy_content(from: impl AsFd, to: impl AsFd) -> Result<()> {
    const PART: usize = 1 << 30;
    let mut sendfile = false;
    loop {
        let copied = if sendfile {
            retry(|| rustix::fs::sendfile(&to, &from, None, PART))
        } else {
            retry(|| rustix::fs::copy_file_range(&from, None, &to, None, PART))
        };
        match copied {
            // Files of proc and sys claim to be empty to copy_file_range.
            Ok(0) | Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) if !sendfile => {
                sendfile = true;
            }
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(errno) => {
                return Err(Error { call: "sendfile".into(), errno });
            }
        }
    }
}

/// All extended attributes: names and values. None where the file system has none.
pub(crate) fn attributes_of(fd: impl AsFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(&fd, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => {
            return Err(Error { call: "flistxattr".into(), errno });
        }
    };
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok((name.to_vec(), attribute_of(&fd, name)?))).collect()
}

fn attribute_of(fd: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    let mut value = vec![0; 64 << 10];
    let length = rustix::fs::fgetxattr(fd, name, &mut value[..])
        .named(|| format!("fgetxattr({:?})", String::from_utf8_lossy(name)))?;
    value.truncate(length);
    Ok(value)
}

/// fsetxattr(2).
pub(crate) fn set_attribute(fd: impl AsFd, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(fd, name, value, rustix::fs::XattrFlags::empty())
        .named(|| format!("fsetxattr({:?})", String::from_utf8_lossy(name)))
}

/// Names in a directory, without `.` and `..`.
pub(crate) fn names_in(dir: impl AsFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir).named(|| "getdents".into())? {
        let name = entry.named(|| "getdents".into())?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// chdir(2).
pub(crate) fn change_dir(path: &str) -> Result<()> {
    rustix::process::chdir(path).named(|| format!("chdir({path:?})"))
}

/// fchdir(2).
pub(crate) fn change_dir_fd(dir: impl AsFd) -> Result<()> {
    rustix::process::fchdir(dir).named(|| "fchdir".into())
}

/// umask(2); returns the old one.
pub(crate) fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode()
}

fn retry<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}
