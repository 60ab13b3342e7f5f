//! Layers composed by overlayfs (Documentation/filesystems/overlayfs.rst in the kernel).
//!
//! `lowerdir+` (Linux 6.5) takes one layer a call, so that their number is limited by the kernel's 500 alone. Before it,
//! all layers go into the page of options of mount(2), by descriptor to be short.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
    unmount,
};

use super::layers::Lower;
use crate::Result;
use crate::error::OfFile as _;
use crate::unpack::Privileges;

/// fsconfig(2) takes strings of at most 255 bytes.
const LONGEST_VALUE: usize = 255;

/// A diff is the upper directory and nothing else: no entry may refer to another place of a lower layer.
const PLAIN: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "off")];

/// Attributes are `user.overlay.*`. It excludes metacopy and redirects, and must not be told so.
const USER_XATTR: &str = "userxattr";
const PLAIN_USER: [(&str, &str); 1] = [("index", "off")];

/// What to compose.
pub(crate) struct Overlay<'a> {
    /// The topmost first; at least one, at least two without an upper.
    pub(crate) lowers: Vec<Lower>,
    pub(crate) upper: Option<Upper>,
    pub(crate) privileges: Privileges,
    /// A folder to mount on for a moment, where the kernel has no other way.
    pub(crate) scratch: &'a Path,
}

/// Where writing goes: two folders of one file system.
pub(crate) struct Upper {
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

impl Overlay<'_> {
    /// A mount that is nowhere yet, and goes away with its descriptor unless it is attached.
    pub(crate) fn mount(&self) -> Result<OwnedFd> {
        match self.mount_by_parts() {
            Err(Errno::INVAL | Errno::NOSYS) => self.mount_by_page(),
            mounted => mounted,
        }
        .of("mount an overlay with the top layer", self.lowers.first().map_or(self.scratch, Lower::path))
    }

    fn plain(&self) -> &'static [(&'static str, &'static str)] {
        match self.privileges {
            Privileges::Root => &PLAIN,
            Privileges::Rootless => &PLAIN_USER,
        }
    }

    fn mount_by_parts(&self) -> std::result::Result<OwnedFd, Errno> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let mut open = Vec::new();
        // What /proc/mounts shows.
        fsconfig_set_string(&fs, "source", "overlay")?;
        for lower in &self.lowers {
            fsconfig_set_string(&fs, "lowerdir+", short(lower.path(), LONGEST_VALUE, &mut open)?)?;
        }
        if let Some(Upper { upper, work }) = &self.upper {
            fsconfig_set_string(&fs, "upperdir", short(upper, LONGEST_VALUE, &mut open)?)?;
            fsconfig_set_string(&fs, "workdir", short(work, LONGEST_VALUE, &mut open)?)?;
        }
        for (key, value) in self.plain() {
            fsconfig_set_string(&fs, *key, *value)?;
        }
        if self.privileges == Privileges::Rootless {
            fsconfig_set_flag(&fs, USER_XATTR)?;
        }
        fsconfig_create(&fs)?;
        let attributes =
            if self.upper.is_some() { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    fn mount_by_page(&self) -> std::result::Result<OwnedFd, Errno> {
        let mut open = Vec::new();
        let mut short = |path: &Path| short(path, 0, &mut open);
        let lowers = self
            .lowers
            .iter()
            .map(|lower| short(lower.path()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let mut options = vec![format!("lowerdir={}", lowers.join(":"))];
        let mut flags = MountFlags::RDONLY;
        if let Some(Upper { upper, work }) = &self.upper {
            options.push(format!("upperdir={},workdir={}", short(upper)?, short(work)?));
            flags = MountFlags::empty();
        }
        options.extend(self.plain().iter().map(|(key, value)| format!("{key}={value}")));
        if self.privileges == Privileges::Rootless {
            options.push(USER_XATTR.to_owned());
        }
        let options = std::ffi::CString::new(options.join(",")).map_err(|_| Errno::INVAL)?;
        mount("overlay", self.scratch, "overlay", flags, Some(options.as_c_str()))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let detached = open_tree(CWD, self.scratch, flags);
        unmount(self.scratch, UnmountFlags::DETACH)?;
        detached
    }
}

/// The path, or one through a descriptor (kept in `open` until the mount is made) if it is longer than `longest` bytes or
/// has one of the characters that mount options give a meaning.
fn short(path: &Path, longest: usize, open_now: &mut Vec<OwnedFd>) -> std::result::Result<String, Errno> {
    match path.to_str() {
        Some(text) if text.len() <= longest && !text.contains([':', ',', '\\']) => Ok(text.to_owned()),
        _ => {
            let folder = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let text = format!("/proc/self/fd/{}", folder.as_raw_fd());
            open_now.push(folder);
            Ok(text)
        }
    }
}

/// Gives a mount that is nowhere its place.
pub(crate) fn attach(mount: impl AsFd, target: impl AsFd) -> std::result::Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::openat;

    /// Kernels before 6.5 have no other way; later ones still have this one.
    #[test]
    fn a_page_of_options_gives_the_same_mount() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (low, high, scratch) = (make("low"), make("high, with a comma"), make("scratch"));
        std::fs::write(low.join("a"), "low").unwrap();
        std::fs::write(high.join("a"), "high").unwrap();
        let upper = Upper { upper: make("upper"), work: make("work") };
        let lowers = vec![Lower::folder(high), Lower::folder(low)];
        let privileges = Privileges::Root;
        let overlay = Overlay { lowers, upper: Some(upper), privileges, scratch: &scratch };
        for mounted in [overlay.mount_by_page().unwrap(), overlay.mount_by_parts().unwrap()] {
            let file = openat(&mounted, "a", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert_eq!(std::io::read_to_string(std::fs::File::from(file)).unwrap(), "high");
        }
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "it is not mounted there any more");
    }
}
