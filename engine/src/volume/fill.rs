//! A new volume gets what the image has in its place: content, owners, modes, attributes, links and special files, as an
//! archive that is written and unpacked at once.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;

use knarr_images::{archive, diff, unpack};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::store::Volume;
use crate::container::lock;
use crate::error::{During as _, Error, Result};
use crate::image::sentence;

/// Where the content is until it is complete.
const FILLING: &str = ".filling";

/// Whether anybody else may have the volume mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    None,
    Some,
}

/// Opens a place in an image; none if the image has nothing there.
pub(super) fn place(root: BorrowedFd<'_>, target: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, target, flags, Mode::empty(), inside) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR) => {
            Err(Error::system(format!("cannot mount volume over existing file, file exists {target}")))
        }
        Err(error) => Err(error).while_doing(format_args!("open {target} in the image")),
    }
}

/// Copies `from` into a volume if that is empty, and makes the volume's root look like it.
///
/// A volume that is nobody else's is filled at once or not at all, whenever the engine dies.
pub(super) fn fill(volume: &Volume, from: &OwnedFd, others: Others) -> Result<()> {
    let _filling = lock(&volume.filling);
    let data = volume.data();
    if fs::read_dir(&data).during("list", &data)?.next().is_some() {
        return Ok(());
    }
    if others == Others::Some {
        return copy(from, &data);
    }
    let new = volume.folder().join(FILLING);
    DirBuilder::new().mode(0o700).create(&new).during("create", &new)?;
    let filled = copy(from, &new).and_then(|()| fs::rename(&new, &data).during("rename", &new));
    if filled.is_err() {
        // The first failure is the answer; the next start removes what is left.
        let _ = fs::remove_dir_all(&new);
    }
    filled
}

/// Removes what a fill that was cut off has left.
pub(super) fn clear(folder: &Path) -> Result<()> {
    let path = folder.join(FILLING);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).during("remove", &path),
        _ => Ok(()),
    }
}

fn copy(from: &OwnedFd, to: &Path) -> Result<()> {
    let root = File::open(to).during("open", to)?;
    transfer(from.as_fd(), root.as_fd()).map_err(|error| error.within("failed to populate volume"))
}

fn transfer(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).while_doing("pipe2")?;
    let (written, unpacked) = thread::scope(|scope| {
        let worker = scope.spawn(move || diff::copy(from, File::from(writer)));
        let unpacked = unpack::layer(File::from(reader), to, &unpack::Policy::default());
        (worker.join(), unpacked)
    });
    let written = written.map_err(|_| Error::system("a thread that copies has failed"))?;
    match (written, unpacked) {
        // Who reads has stopped, and knows why.
        (Err(archive::Error::Write(error)), Err(cause)) if error.kind() == ErrorKind::BrokenPipe => {
            Err(Error::system(sentence(&cause)))
        }
        (Err(error), _) | (Ok(_), Err(error)) => Err(Error::system(sentence(&error))),
        (Ok(_), Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::path::PathBuf;

    use rustix::fs::{
        CWD, FileType, XattrFlags, getxattr, lgetxattr, llistxattr, lsetxattr, makedev, mknodat, setxattr,
    };

    use super::super::Volumes;
    use super::super::store::tests::record;
    use super::*;

    struct World {
        folder: tempfile::TempDir,
        volumes: Volumes,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("image")).unwrap();
            let volumes = Volumes::open(&folder.path().join("volumes")).unwrap();
            Self { folder, volumes }
        }

        fn image(&self) -> PathBuf {
            self.folder.path().join("image")
        }

        fn fill(&self, name: &str, target: &str, others: Others) -> Result<PathBuf> {
            let (volume, _) = self.volumes.get_or_create(name, record(None), None)?;
            let root = File::open(self.image()).unwrap();
            if let Some(from) = place(root.as_fd(), target)? {
                fill(&volume, &from, others)?;
            }
            Ok(volume.data())
        }
    }

    #[test]
    fn everything_is_copied() {
        let world = World::new();
        let data = world.image().join("data");
        fs::create_dir_all(data.join("sub")).unwrap();
        fs::write(data.join("file"), "content").unwrap();
        fs::hard_link(data.join("file"), data.join("sub/other")).unwrap();
        symlink("/etc/passwd", data.join("link")).unwrap();
        mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        mknodat(CWD, data.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
            .unwrap();
        setxattr(data.join("file"), "user.note", b"x", XattrFlags::empty()).unwrap();
        chown(data.join("file"), Some(12), Some(34)).unwrap();
        fs::set_permissions(data.join("file"), Permissions::from_mode(0o4751)).unwrap();
        chown(&data, Some(56), Some(78)).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o1777)).unwrap();

        for (name, others) in [("v1", Others::None), ("v2", Others::Some)] {
            let filled = world.fill(name, "/data", others).unwrap();
            let look = |name: &str| fs::symlink_metadata(filled.join(name)).unwrap();
            assert_eq!(fs::read_to_string(filled.join("file")).unwrap(), "content");
            assert_eq!(
                (look("file").uid(), look("file").gid(), look("file").mode() & 0o7777),
                (12, 34, 0o4751)
            );
            assert_eq!(look("file").ino(), look("sub/other").ino());
            assert_eq!(fs::read_link(filled.join("link")).unwrap(), Path::new("/etc/passwd"));
            assert_eq!(FileType::from_raw_mode(look("fifo").mode()), FileType::Fifo);
            assert_eq!(look("null").rdev(), makedev(1, 3));
            let mut note = [0; 8];
            assert_eq!(getxattr(filled.join("file"), "user.note", &mut note).unwrap(), 1);
            let root = fs::metadata(&filled).unwrap();
            assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (56, 78, 0o1777));
        }
    }

    /// A POSIX ACL as the kernel has it: version 2, and entries of tag, permissions and ID.
    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            acl.extend(tag.to_le_bytes());
            acl.extend(permissions.to_le_bytes());
            acl.extend(id.to_le_bytes());
        }
        acl
    }

    /// The attributes of a file but those of security modules, which are the host's.
    fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
        let mut names = vec![0; 4096];
        let length = llistxattr(path, &mut names).unwrap();
        let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let names = names.map(|name| String::from_utf8(name.to_vec()).unwrap());
        let read = |name: String| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, &name, &mut value).unwrap();
            value.truncate(length);
            (name, value)
        };
        let mut found: Vec<_> = names.filter(|name| !name.starts_with("security.s")).map(read).collect();
        found.sort();
        found
    }

    #[test]
    fn attributes_of_the_host_are_copied() {
        const NO_ID: u32 = u32::MAX;
        let world = World::new();
        let data = world.image().join("data");
        fs::create_dir_all(data.join("sub")).unwrap();
        fs::write(data.join("file"), "content").unwrap();
        symlink("file", data.join("link")).unwrap();
        // A user, and what the file's mode says of owner, group, mask and others.
        let entries = [(1, 7, NO_ID), (2, 6, 4711), (4, 5, NO_ID), (0x10, 7, NO_ID), (0x20, 4, NO_ID)];
        let acl = acl(&entries);
        for name in ["file", "sub", "link", ""] {
            let path = data.join(name);
            lsetxattr(&path, "trusted.note", b"kept", XattrFlags::empty()).unwrap();
            if name != "link" {
                lsetxattr(&path, "user.note", b"kept", XattrFlags::empty()).unwrap();
                lsetxattr(&path, "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
            }
        }
        for name in ["sub", ""] {
            lsetxattr(data.join(name), "system.posix_acl_default", &acl, XattrFlags::empty()).unwrap();
        }
        // CAP_NET_RAW, effective and permitted.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        lsetxattr(data.join("file"), "security.capability", &capability, XattrFlags::empty()).unwrap();
        lsetxattr(data.join("sub"), "trusted.overlay.origin", b"not", XattrFlags::empty()).unwrap();
        for (name, others) in [("v1", Others::None), ("v2", Others::Some)] {
            let filled = world.fill(name, "/data", others).unwrap();
            for name in ["file", "sub", "link", ""] {
                let mut wanted = attributes(&data.join(name));
                wanted.retain(|(name, _)| name != "trusted.overlay.origin");
                assert_eq!(attributes(&filled.join(name)), wanted, "{name:?}");
                let mode = |root: &Path| fs::symlink_metadata(root.join(name)).unwrap().mode();
                assert_eq!(mode(&filled), mode(&data), "{name:?}");
            }
            assert_eq!(attributes(&filled.join("file")).len(), 4);
            assert_eq!(attributes(&filled.join("sub")).len(), 4);
        }
    }

    #[test]
    fn what_is_in_a_volume_stays() {
        let world = World::new();
        fs::create_dir(world.image().join("data")).unwrap();
        fs::write(world.image().join("data/new"), "").unwrap();
        let (volume, _) = world.volumes.get_or_create("v1", record(None), None).unwrap();
        fs::write(volume.data().join("old"), "").unwrap();
        let filled = world.fill("v1", "/data", Others::None).unwrap();
        assert!(filled.join("old").exists() && !filled.join("new").exists());
    }

    #[test]
    fn links_lead_nowhere_but_into_the_image() {
        let world = World::new();
        fs::create_dir_all(world.image().join("real/etc")).unwrap();
        fs::write(world.image().join("real/etc/mine"), "").unwrap();
        symlink("/real", world.image().join("data")).unwrap();
        symlink("../../../../../real", world.image().join("up")).unwrap();
        for (name, target) in [("v1", "/data/etc"), ("v2", "/up/etc")] {
            let filled = world.fill(name, target, Others::None).unwrap();
            let names: Vec<_> =
                fs::read_dir(filled).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["mine"]);
        }
    }

    #[test]
    fn nothing_there_is_an_empty_volume_and_a_file_there_an_error() {
        let world = World::new();
        fs::write(world.image().join("file"), "").unwrap();
        let filled = world.fill("v1", "/none/there", Others::None).unwrap();
        assert_eq!(fs::metadata(&filled).unwrap().mode() & 0o7777, 0o755);
        let error = world.fill("v2", "/file", Others::None).unwrap_err();
        assert_eq!(error.message, "cannot mount volume over existing file, file exists /file");
    }
}
