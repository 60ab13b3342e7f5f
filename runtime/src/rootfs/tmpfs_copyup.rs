//! `tmpcopyup`: a tmpfs that starts with what the directory below it holds.
//!
//! Both ends are directories open by descriptor: the tmpfs is mounted nowhere yet, and no link of the image is followed.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat};

use crate::error::{During, Result};
use crate::sys::files::{
    attributes_of, chmod_fd, chown_at, chown_fd, copy_content, create_at, make_dir_at, make_node_at,
    names_in, open_at, read_link_at, set_attribute, set_times, stat_at, stat_fd, symlink_at,
};
use crate::sys::{self, Errno};

/// Copies all below `from` into `to`, with owners, modes, times and extended attributes.
pub(super) fn copy_tree(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let directories = || -> sys::Result<_> { Ok((open_directory(from, ".")?, open_directory(to, ".")?)) };
    let (from, to) = directories().during(|| "tmpcopyup".into())?;
    copy_directory(&from, &to).during(|| "tmpcopyup".into())
}

fn open_directory(dir: &OwnedFd, name: &str) -> sys::Result<OwnedFd> {
    open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd) -> sys::Result<()> {
    names_in(from)?.iter().try_for_each(|name| copy_entry(from, to, text(name)?))?;
    let stat = stat_fd(from)?;
    copy_metadata(from, to, &stat)
}

fn text(name: &CString) -> sys::Result<&str> {
    name.to_str().map_err(|_| sys::Error { call: format!("copy {name:?}"), errno: Errno::ILSEQ })
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &str) -> sys::Result<()> {
    let stat = stat_at(from, name)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            make_dir_at(to, name, 0o700)?;
            copy_directory(&open_directory(from, name)?, &open_directory(to, name)?)
        }
        FileType::RegularFile => {
            let source = open_at(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
            let copy = create_at(to, name, 0o600)?;
            copy_content(&source, &copy)?;
            copy_metadata(&source, &copy, &stat)
        }
        FileType::Symlink => {
            symlink_at(&read_link_at(from, name)?, to, name)?;
            chown_at(to, name, stat.st_uid, stat.st_gid)
        }
        // A socket is of no use without the process that listens on it.
        FileType::Socket => Ok(()),
        kind => {
            let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            make_node_at(to, name, kind, stat.st_mode & 0o7777, number)?;
            chown_at(to, name, stat.st_uid, stat.st_gid)
        }
    }
}

/// The owner first: changing it clears the set-id bits and file capabilities.
fn copy_metadata(from: impl AsFd, to: impl AsFd, stat: &Stat) -> sys::Result<()> {
    chown_fd(&to, stat.st_uid, stat.st_gid)?;
    chmod_fd(&to, stat.st_mode & 0o7777)?;
    for (name, value) in attributes_of(&from)? {
        match set_attribute(&to, &name, &value) {
            // A tmpfs does not take every name-space of attributes.
            Err(error) if error.errno == Errno::OPNOTSUPP => {}
            result => result?,
        }
    }
    set_times(&to, stat)
}
