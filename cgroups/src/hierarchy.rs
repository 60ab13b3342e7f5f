//! Which cgroup hierarchies are mounted, where, and where this process is in each: cgroups(7), proc(5).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs;
use rustix::io;
use rustix::process::Pid;

use crate::dir::read_path;
use crate::error::{Errno, Error, Result};

const DEFAULT_MOUNT: &str = "/sys/fs/cgroup";
const MOUNTINFO: &str = "/proc/self/mountinfo";
const OWN_CGROUPS: &str = "/proc/self/cgroup";
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: libc::c_long = 0x6367_7270;
/// What version 1 knows; other words among a mount's options are not controllers.
const V1_CONTROLLERS: [&str; 14] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
];

/// How the machine (or the container we run in) has its cgroups mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    Legacy,
    /// Version 1, and an additional version 2 mount.
    Hybrid,
    /// Version 2 only.
    Unified,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Controllers of version 1 mounted together (`cpu`, `cpuacct`), or `name=systemd`; `""` for version 2.
    pub controllers: Vec<String>,
    /// Where it is mounted, such as `/sys/fs/cgroup/memory`.
    pub mount_point: PathBuf,
    /// Which cgroup is mounted there: `/`, or an inner one in a container without a cgroup namespace.
    pub root: PathBuf,
}

/// All mounted hierarchies.
#[derive(Clone, Debug)]
pub struct Hierarchies {
    mode: Mode,
    all: Vec<Hierarchy>,
    own: OnceCell<BTreeMap<String, PathBuf>>,
}

impl Hierarchies {
    /// Looks at what is mounted.
    ///
    /// On pure version 2 this is a single statfs(2), otherwise one read of `/proc/self/mountinfo` more.
    ///
    /// # Errors
    /// [`Error::NoMounts`], or a file of `/proc` that cannot be read.
    pub fn discover() -> Result<Self> {
        match fs::statfs(DEFAULT_MOUNT) {
            Ok(stat) if stat.f_type == CGROUP2_MAGIC => Ok(Self::unified(DEFAULT_MOUNT.into())),
            Ok(_) | Err(io::Errno::NOENT) => Self::from_mountinfo(&read_path(Path::new(MOUNTINFO))?),
            Err(source) => Err(Error::Statfs { path: DEFAULT_MOUNT.into(), source: Errno(source) }),
        }
    }

    /// Version 1, 2, or both.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The hierarchies; exactly one on pure version 2.
    pub fn iter(&self) -> std::slice::Iter<'_, Hierarchy> {
        self.all.iter()
    }

    /// This process's cgroup in a hierarchy, relative to its mount point, starting with `/`.
    ///
    /// `/proc/self/cgroup` is read when this is asked first, and never again.
    ///
    /// # Errors
    /// The file cannot be read, or does not name the hierarchy.
    pub fn own(&self, hierarchy: &Hierarchy) -> Result<PathBuf> {
        let key = hierarchy.controllers.first().map_or("", String::as_str);
        let all = if let Some(all) = self.own.get() {
            all
        } else {
            let parsed = parse_own(&read_path(Path::new(OWN_CGROUPS))?)?;
            self.own.get_or_init(|| parsed)
        };
        let path = all.get(key).ok_or_else(|| Error::NoHierarchy(key.to_owned()))?;
        Ok(hierarchy.seen(path))
    }

    /// The directory of the cgroup in which a process is on pure version 2; none in other modes.
    pub(crate) fn unified_directory_of(&self, pid: Pid) -> Result<Option<PathBuf>> {
        let [hierarchy] = self.all.as_slice() else { return Ok(None) };
        let all = parse_own(&read_path(Path::new(&format!("/proc/{pid}/cgroup")))?)?;
        let relative = all.get("").map(|path| hierarchy.seen(path));
        Ok(relative.map(|path| hierarchy.mount_point.join(path.strip_prefix("/").unwrap_or(&path))))
    }

    fn unified(mount_point: PathBuf) -> Self {
        let only = Hierarchy { controllers: vec![String::new()], mount_point, root: "/".into() };
        Self { mode: Mode::Unified, all: vec![only], own: OnceCell::new() }
    }

    fn from_mountinfo(text: &str) -> Result<Self> {
        let mut all: Vec<Hierarchy> = Vec::new();
        for found in text.lines().filter_map(parse_mount) {
            match all.iter_mut().find(|known| known.controllers == found.controllers) {
                None => all.push(found),
                // The same hierarchy once more: the usual place is the better one.
                Some(known) if !known.is_at_default() && found.is_at_default() => *known = found,
                Some(_) => {}
            }
        }
        let has_v2 = all.iter().any(Hierarchy::is_v2);
        match (has_v2, all.len()) {
            (_, 0) => Err(Error::NoMounts),
            (true, 1) => Ok(Self::unified(all.remove(0).mount_point)),
            (true, _) => Ok(Self { mode: Mode::Hybrid, all, own: OnceCell::new() }),
            (false, _) => Ok(Self { mode: Mode::Legacy, all, own: OnceCell::new() }),
        }
    }
}

impl<'a> IntoIterator for &'a Hierarchies {
    type Item = &'a Hierarchy;
    type IntoIter = std::slice::Iter<'a, Hierarchy>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Hierarchy {
    /// Whether this is the version 2 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.controllers.iter().all(String::is_empty)
    }

    /// A path of `/proc/pid/cgroup` from the mount point on: inside a container without a cgroup namespace the file shows
    /// the host's path, the mount only its end.
    fn seen(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(Path::new("")))
    }

    fn is_at_default(&self) -> bool {
        self.mount_point.starts_with(DEFAULT_MOUNT)
    }
}

/// One line of mountinfo, if it is a cgroup mount.
fn parse_mount(line: &str) -> Option<Hierarchy> {
    let (mount, filesystem) = line.split_once(" - cgroup")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, mount_point) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut filesystem = filesystem.split(' ');
    let controllers = match filesystem.next()? {
        "2" => vec![String::new()],
        "" => {
            filesystem.nth(1)?.split(',').filter(|word| is_v1_controller(word)).map(str::to_owned).collect()
        }
        _ => return None,
    };
    (!controllers.is_empty()).then_some(Hierarchy {
        controllers,
        mount_point: mount_point.into(),
        root: root.into(),
    })
}

fn is_v1_controller(word: &str) -> bool {
    V1_CONTROLLERS.contains(&word) || word.starts_with("name=")
}

/// Space, tab, newline and backslash are written as three octal digits after a backslash.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let octal = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = octal {
            text.push(char::from(byte));
            text.push_str(&part[3..]);
        } else {
            text.push('\\');
            text.push_str(part);
        }
    }
    text
}

/// `/proc/pid/cgroup`: one `id:controllers:path` a line.
fn parse_own(text: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let malformed = || Error::Malformed { file: OWN_CGROUPS.into(), line: line.to_owned() };
        let (_, rest) = line.split_once(':').ok_or_else(malformed)?;
        let (controllers, path) = rest.split_once(':').ok_or_else(malformed)?;
        for controller in controllers.split(',') {
            all.insert(controller.to_owned(), PathBuf::from(path));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEMD_V1: &str = "\
25 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
32 25 0:28 / /sys/fs/cgroup ro,nosuid shared:8 - tmpfs tmpfs ro,mode=755
33 32 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
34 32 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd
38 32 0:34 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
39 32 0:35 / /sys/fs/cgroup/cpuset rw,nosuid shared:16 - cgroup cgroup rw,cpuset,clone_children
90 30 0:35 / /mnt/a\\040b rw - cgroup cgroup rw,cpuset
";

    fn names(hierarchies: &Hierarchies) -> Vec<String> {
        hierarchies
            .iter()
            .map(|h| format!("{}@{}", h.controllers.join(","), h.mount_point.display()))
            .collect()
    }

    #[test]
    fn mountinfo_of_a_hybrid_machine() {
        let found = Hierarchies::from_mountinfo(SYSTEMD_V1).unwrap();
        assert_eq!(found.mode(), Mode::Hybrid);
        assert_eq!(
            names(&found),
            [
                "@/sys/fs/cgroup/unified",
                "name=systemd@/sys/fs/cgroup/systemd",
                "cpu,cpuacct@/sys/fs/cgroup/cpu,cpuacct",
                "cpuset@/sys/fs/cgroup/cpuset",
            ]
        );
    }

    #[test]
    fn modes() {
        let line = |fs: &str, dir: &str| format!("1 2 0:3 / {dir} rw - {fs} x rw,cpu\n");
        let mode = |text: &str| Hierarchies::from_mountinfo(text).map(|found| found.mode());
        assert_eq!(mode(&line("cgroup", "/a")).unwrap(), Mode::Legacy);
        assert_eq!(mode(&line("cgroup2", "/a")).unwrap(), Mode::Unified);
        assert_eq!(mode(&(line("cgroup2", "/a") + &line("cgroup", "/b"))).unwrap(), Mode::Hybrid);
        assert!(matches!(mode(&line("tmpfs", "/a")), Err(Error::NoMounts)));
    }

    #[test]
    fn a_second_mount_loses_unless_the_first_is_out_of_place() {
        let text = "1 2 0:3 / /old rw - cgroup c rw,cpu\n3 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n";
        assert_eq!(names(&Hierarchies::from_mountinfo(text).unwrap()), ["cpu@/sys/fs/cgroup/cpu"]);
    }

    #[test]
    fn own_cgroups() {
        let own = parse_own("4:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n").unwrap();
        let get = |key: &str| own[key].to_str().unwrap().to_owned();
        assert_eq!([get("cpu"), get("cpuacct"), get("name=systemd"), get("")], ["/a", "/a", "/b:c", "/d"]);
        assert!(matches!(parse_own("4:cpu"), Err(Error::Malformed { .. })));
    }

    #[test]
    fn the_mounted_root_is_taken_off_the_own_path() {
        let mut found = Hierarchies::from_mountinfo("1 2 0:3 /docker/x /c rw - cgroup c rw,cpu\n").unwrap();
        found.own = OnceCell::from(parse_own("4:cpu:/docker/x/y\n").unwrap());
        assert_eq!(found.own(&found.all[0]).unwrap(), Path::new("/y"));
    }

    #[test]
    fn escapes_of_mountinfo() {
        for (field, text) in [("/a", "/a"), (r"/a\040b\134", r"/a b\"), (r"/a\04", r"/a\04"), (r"\x", r"\x")]
        {
            assert_eq!(unescape(field), text);
        }
    }
}
