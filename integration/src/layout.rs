//! The cgroup layouts, each seen from a mount namespace of the test's own, and who makes the container's cgroup there.
//!
//! A world lives in a thread with a private mount namespace: what a test or a runtime mounts by mistake is seen
//! by that test alone and goes away with it.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    unmount,
};

use crate::sys;

const CGROUPS: &str = "/sys/fs/cgroup";
const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// How cgroups are mounted on /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As the machine has it: one directory per v1 hierarchy, cgroup2 on `unified`.
    Hybrid,
    /// cgroup2 alone. Its controllers stay with the v1 hierarchies, so only device programs, freeze and kill
    /// can be tested here.
    Unified,
    /// The same; the cgroup is a scope that systemd makes.
    Systemd,
    /// The same; the runtime is a user's without rights, and so is the systemd.
    User,
}

/// The user that the virtual machine has.
pub const USER: u32 = 1000;
/// The cgroup of its session.
pub const SESSION: &str = "/user.slice/user-1000.slice/user@1000.service";

impl Layout {
    /// Moves the calling thread into a mount namespace with this layout.
    pub fn enter(self) -> Result<(), String> {
        sys::unshare_mounts().map_err(|error| format!("unshare the mount namespace: {error}"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|error| format!("make / private: {error}"))?;
        match self {
            Layout::Hybrid if fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok() => {
                Err("this machine has cgroup2 alone; v1 cases need the hybrid layout".into())
            }
            Layout::Hybrid => Ok(()),
            Layout::Unified => mount_unified(),
            Layout::Systemd => needs("/run/systemd/private"),
            Layout::User => needs("/run/user/1000/systemd/private"),
        }
    }

    /// `linux.cgroupsPath` for a container, and the cgroup that it then has.
    pub fn place(self, name: &str) -> (String, String) {
        match self {
            Layout::Hybrid | Layout::Unified => (format!("/{name}"), format!("/{name}")),
            Layout::Systemd => {
                (format!("system.slice:knarr:{name}"), format!("/system.slice/knarr-{name}.scope"))
            }
            Layout::User => {
                (format!("app.slice:knarr:{name}"), format!("{SESSION}/app.slice/knarr-{name}.scope"))
            }
        }
    }

    /// Whether systemd makes the cgroup.
    pub fn has_scopes(self) -> bool {
        matches!(self, Layout::Systemd | Layout::User)
    }

    /// The directories a cgroup named `/path` has: one per mounted v1 hierarchy, or one.
    pub fn directories(self, path: &str) -> Vec<PathBuf> {
        self.hierarchies()
            .map(|hierarchy| below(&hierarchy, path))
            .filter(|cgroup| in_hierarchy(cgroup))
            .collect()
    }

    /// The same, and those in places where no hierarchy is mounted: some runtimes make folders there too.
    pub fn places(self, path: &str) -> Vec<PathBuf> {
        self.hierarchies().map(|hierarchy| below(&hierarchy, path)).collect()
    }

    fn hierarchies(self) -> impl Iterator<Item = PathBuf> {
        let folders = match self {
            Layout::Hybrid => {
                fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
            }
            _ => vec![PathBuf::from(CGROUPS)],
        };
        folders.into_iter()
    }

    /// The directory of cgroup `path` in the hierarchy of `controller`.
    pub fn directory(self, controller: &str, path: &str) -> PathBuf {
        match self {
            Layout::Hybrid => below(&Path::new(CGROUPS).join(controller), path),
            _ => below(Path::new(CGROUPS), path),
        }
    }
}

/// A manager that is there listens on a socket of its own.
fn needs(socket: &str) -> Result<(), String> {
    if Path::new(socket).exists() { Ok(()) } else { Err(format!("no systemd listens on {socket}")) }
}

fn below(hierarchy: &Path, path: &str) -> PathBuf {
    hierarchy.join(path.trim_start_matches('/'))
}

/// Below a mounted hierarchy: a plain folder has no such file.
fn in_hierarchy(cgroup: &Path) -> bool {
    let above = cgroup.ancestors().skip(1).take_while(|folder| *folder != Path::new(CGROUPS));
    let top = above.last().unwrap_or(Path::new(CGROUPS));
    top.join("cgroup.procs").exists()
}

fn mount_unified() -> Result<(), String> {
    let already = fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok();
    if already {
        return Ok(());
    }
    unmount(CGROUPS, UnmountFlags::DETACH).map_err(|error| format!("unmount {CGROUPS}: {error}"))?;
    mount("cgroup2", CGROUPS, "cgroup2", HARMLESS, None)
        .map_err(|error| format!("mount cgroup2 on {CGROUPS}: {error}"))
}

/// Moves the machine's hierarchies to a tmpfs of this mount namespace's own, made at `new`: folders and mounts added to
/// /sys/fs/cgroup are seen here alone.
///
/// # Panics
/// Something cannot be mounted.
pub fn mount_again(new: &Path) {
    let mounted = fs::create_dir(new)
        .and_then(|()| Ok(mount("tmpfs", new, "tmpfs", HARMLESS, Some(c"mode=755"))?))
        .and_then(|()| {
            fs::read_dir(CGROUPS)?.try_for_each(|hierarchy| bind_hierarchy(&hierarchy?.path(), new))
        })
        .and_then(|()| Ok(mount_bind_recursive(new, CGROUPS)?));
    assert!(mounted.is_ok(), "the hierarchies once more at {}: {mounted:?}", new.display());
}

fn bind_hierarchy(from: &Path, folder: &Path) -> io::Result<()> {
    let to = folder.join(from.file_name().unwrap_or_default());
    if from.join("cgroup.procs").exists() {
        fs::create_dir(&to)?;
        mount_bind(from, &to)?;
    }
    Ok(())
}

/// Mounts a v1 hierarchy in its place, unless something is there: by its controllers, or `name=NAME`.
///
/// # Errors
/// EBUSY where a controller is in use on cgroup v2 or in another combination.
pub fn mount_v1(hierarchy: &str) -> io::Result<()> {
    let place = Path::new(CGROUPS).join(hierarchy.trim_start_matches("name="));
    if place.exists() {
        return Ok(());
    }
    fs::create_dir(&place)?;
    let named = if hierarchy.contains('=') { format!("none,{hierarchy}") } else { hierarchy.to_owned() };
    let options = CString::new(named)?;
    Ok(mount("cgroup", &place, "cgroup", HARMLESS, Some(options.as_c_str()))?)
}
