//! The root filesystem of a container as a plan: its mounts, devices, masked and read-only paths.
//!
//! Here every option is understood and every rule that needs no look at the system is checked; `rootfs` acts.
//! See the runtime specification's `config.md` (Root, Mounts) and `config-linux.md`.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::spec::{Linux, Mount, Spec};

use super::device_nodes::{DeviceNode, device_nodes};
use super::idmap_words::{Container, Idmap, idmap};
use super::ids::Ids;
use super::mount_options::Options;
pub(crate) use super::mount_options::{Attributes, FsOption, Peers, Propagation};
use super::namespaces::{Kind as Namespace, Namespaces};

/// What the command line and the bundle say about the root filesystem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Relative bind sources start here.
    pub(crate) bundle: &'a Path,
    /// Absolute, links resolved, a directory.
    pub(crate) rootfs: &'a Path,
    pub(crate) pivot: Pivot,
    /// Made without privileges: more is refused.
    pub(crate) rootless: bool,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) ids: &'a Ids,
}

/// `--no-pivot` or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pivot {
    Use,
    Avoid,
}

/// How the container's root becomes its `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jail {
    PivotRoot,
    MoveMount,
    /// Without a mount namespace of its own.
    Chroot,
}

#[derive(Debug, Clone)]
pub(crate) struct RootfsPlan {
    pub(crate) path: PathBuf,
    pub(crate) readonly: bool,
    pub(crate) jail: Jail,
    /// `rootfsPropagation`.
    pub(crate) propagation: Option<Propagation>,
    pub(crate) mounts: Vec<MountPlan>,
    /// None when `/dev` is a bind: what is in it is the host's affair.
    pub(crate) dev: Option<Vec<DeviceNode>>,
    /// The container has a user namespace: it cannot make device nodes, and may not reach every bind source.
    pub(crate) user_namespace: bool,
    /// Inside the container, without the leading slash, each once.
    pub(crate) masked: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    /// SELinux label for file systems made for the container.
    pub(crate) label: Option<String>,
    /// For the log: what is accepted but should be written differently.
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MountPlan {
    /// Position in `mounts`.
    pub(crate) index: usize,
    pub(crate) source: String,
    /// As written, for messages.
    pub(crate) destination: String,
    /// Inside the container, cleaned, without the leading slash.
    pub(crate) target: String,
    pub(crate) on: On,
    pub(crate) kind: Kind,
    /// None: no flag was named.
    pub(crate) flags: Option<Flags>,
    pub(crate) recursive: Attributes,
    pub(crate) propagation: Vec<Propagation>,
    /// Read-only only after everything inside has been made.
    pub(crate) late_readonly: bool,
}

impl MountPlan {
    pub(crate) fn field(&self) -> String {
        format!("/mounts/{}", self.index)
    }

    /// What is being done when it fails, in runc's words.
    pub(crate) fn act(&self) -> String {
        format!("error mounting {:?} to rootfs at {:?}", self.source, self.destination)
    }
}

/// What a mount point may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// Anything below the root; made if it is missing.
    Anything,
    /// A directory reached without any symbolic link, as for proc and sysfs.
    OrdinaryDirectory,
    /// The last component must exist and is not followed.
    NotFollowed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    /// These and no others.
    pub(crate) exact: Attributes,
    /// These changes, for when other flags are locked.
    pub(crate) lenient: Attributes,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Bind(Bind),
    New(FileSystem),
    Cgroup(FileSystem),
    /// Changes a mount that is there: its superblock too, unless it is a bind.
    Remount {
        superblock: Option<Vec<FsOption>>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bind {
    pub(crate) recursive: bool,
    /// A link as source is copied, not mounted.
    pub(crate) copy_symlink: bool,
    /// A link as source is mounted itself.
    pub(crate) nofollow: bool,
    /// The source is in the container's tree: it is what earlier mounts made of it.
    pub(crate) in_tree: bool,
    pub(crate) idmap: Option<Idmap>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileSystem {
    pub(crate) name: String,
    pub(crate) options: Vec<FsOption>,
    /// tmpfs without `mode=`: the mode of the directory that it covers.
    pub(crate) inherits_mode: bool,
    /// tmpfs: starts with the content of the directory that it covers.
    pub(crate) copy_up: bool,
    /// mqueue: takes its label as an attribute of its root, not as an option.
    pub(crate) label_root: Option<String>,
}

impl RootfsPlan {
    pub(crate) fn new(spec: &Spec, place: &Place) -> Result<Self> {
        let none = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&none);
        let jail = jail(place);
        let label = Some(linux.mount_label.clone()).filter(|label| !label.is_empty());
        let context = Context { place, label: label.as_deref() };
        let mounts = spec.mounts.iter().enumerate().map(|(index, mount)| context.mount(index, mount));
        let mounts = mounts.collect::<Result<Vec<_>>>()?;
        let dev_is_bind =
            mounts.iter().any(|mount| mount.target == "dev" && matches!(mount.kind, Kind::Bind(_)));
        let devices = device_nodes(&linux.devices)?;
        Ok(Self {
            path: place.rootfs.to_owned(),
            readonly: spec.root.as_ref().is_some_and(|root| root.readonly),
            jail,
            propagation: root_propagation(linux, place)?,
            warnings: relative_destinations(&spec.mounts),
            mounts,
            dev: (!dev_is_bind).then_some(devices),
            user_namespace: place.namespaces.has(Namespace::User),
            masked: restricted(&linux.masked_paths, "maskedPaths", jail)?,
            readonly_paths: restricted(&linux.readonly_paths, "readonlyPaths", jail)?,
            label,
        })
    }
}

fn jail(place: &Place) -> Jail {
    match place.pivot {
        _ if !place.namespaces.has(Namespace::Mount) => Jail::Chroot,
        Pivot::Use => Jail::PivotRoot,
        Pivot::Avoid => Jail::MoveMount,
    }
}

fn root_propagation(linux: &Linux, place: &Place) -> Result<Option<Propagation>> {
    let word = linux.rootfs_propagation.as_str();
    let refused = |reason: String| Error::refused("/linux/rootfsPropagation", reason);
    if word.is_empty() {
        return Ok(None);
    }
    let propagation = Propagation::from_word(word)
        .ok_or_else(|| refused(format!("rootfsPropagation={word} is not supported")))?;
    if place.pivot == Pivot::Avoid && propagation.peers == Peers::Private {
        return Err(refused("rootfsPropagation of [r]private is not safe without pivot_root".into()));
    }
    Ok(Some(propagation))
}

fn relative_destinations(mounts: &[Mount]) -> Vec<String> {
    let relative = mounts.iter().filter(|mount| !mount.destination.starts_with('/'));
    let warning = |mount: &Mount| {
        format!(
            "mount {}: relative destination path is **deprecated**, using it as relative to /",
            mount.destination
        )
    };
    relative.map(warning).collect()
}

fn restricted(paths: &[String], field: &str, jail: Jail) -> Result<Vec<String>> {
    if !paths.is_empty() && jail == Jail::Chroot {
        let reason = "unable to restrict sys entries without a private MNT namespace";
        return Err(Error::refused(format!("/linux/{field}"), reason));
    }
    let mut targets = Vec::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        let target = in_root(path);
        if target.is_empty() || path.contains('\0') {
            return Err(Error::refused(format!("/linux/{field}/{index}"), format!("invalid path {path:?}")));
        }
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// A path as its components below the root, joined: `..` goes up at most to the root, links are not looked at.
pub(crate) fn in_root(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Where in the root a destination is. One that begins with the host's path to the root is below the root, not below a
/// path of that name in it, as for runc.
fn target(rootfs: &Path, destination: &str) -> String {
    let target = in_root(destination);
    let below = rootfs.to_str().and_then(|rootfs| Path::new(&target).strip_prefix(in_root(rootfs)).ok());
    below.and_then(Path::to_str).map_or(target.clone(), str::to_owned)
}

/// What lxcfs and the like may put over files of proc.
const OVER_PROC: [&str; 10] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// Whether something may be mounted at `target`, all links resolved: on `proc` only a proc (CVE-2019-16884), a bind
/// of one is for the caller to check; inside it only a few files.
pub(crate) fn check_not_in_proc(target: &str, kind: &Kind) -> std::result::Result<(), String> {
    if target != "proc" && !target.starts_with("proc/") || OVER_PROC.contains(&target) {
        return Ok(());
    }
    if target != "proc" {
        return Err(format!("\"/{target}\" cannot be mounted because it is inside /proc"));
    }
    match kind {
        Kind::New(file_system) if file_system.name == "proc" => Ok(()),
        Kind::Bind(_) | Kind::Remount { .. } => Ok(()),
        _ => Err(not_of_type_proc()),
    }
}

pub(crate) fn not_of_type_proc() -> String {
    "\"/proc\" cannot be mounted because it is not of type proc".into()
}

struct Context<'a> {
    place: &'a Place<'a>,
    label: Option<&'a str>,
}

impl Context<'_> {
    fn mount(&self, index: usize, mount: &Mount) -> Result<MountPlan> {
        let options = Options::parse(&mount.options);
        let bind = options.bind || mount.kind == "bind";
        let refused =
            |field: &str, reason: String| Error::refused(format!("/mounts/{index}/{field}"), reason);
        check_strings(mount).map_err(|(field, reason)| refused(field, reason))?;
        check_options(&options, bind, &mount.kind).map_err(|reason| refused("options", reason))?;
        if self.place.rootless {
            self.check_owners(&options).map_err(|reason| refused("options", reason))?;
        }
        if !bind && mount.kind.is_empty() {
            return Err(refused("type", format!("invalid mount type for {:?}", mount.destination)));
        }
        let target = target(self.place.rootfs, &mount.destination);
        if target.is_empty() {
            let reason = format!(
                "mountpoint {:?} is on the top of rootfs \"{}\"",
                mount.destination,
                self.place.rootfs.display()
            );
            return Err(refused("destination", reason));
        }
        let kind = self.kind(index, mount, &options, bind)?;
        check_not_in_proc(&target, &kind).map_err(|reason| refused("destination", reason))?;
        let (flags, recursive) = flags(&options, &kind);
        let is_filled = matches!(kind, Kind::New(_)) && (mount.kind == "tmpfs" || target == "dev");
        let late_readonly = is_filled && flags.is_some_and(|flags| flags.exact.set & READONLY != 0);
        Ok(MountPlan {
            index,
            source: self.source(mount, bind).map_err(|reason| refused("source", reason))?,
            destination: mount.destination.clone(),
            on: on(mount, &options, bind),
            flags: if late_readonly { flags.map(Flags::writable) } else { flags },
            recursive,
            propagation: options.propagation,
            kind,
            target,
            late_readonly,
        })
    }

    fn kind(&self, index: usize, mount: &Mount, options: &Options, bind: bool) -> Result<Kind> {
        let container = Container { namespaces: self.place.namespaces, ids: self.place.ids };
        let idmap = idmap(index, mount, options.idmap.as_ref(), container)?;
        self.check_idmap(index, idmap.as_ref(), bind)?;
        Ok(match mount.kind.as_str() {
            _ if options.remount => {
                Kind::Remount { superblock: (!bind).then(|| superblock_changes(options)) }
            }
            _ if bind => Kind::Bind(Bind {
                recursive: options.recursive_bind,
                copy_symlink: options.copy_symlink,
                nofollow: options.source_nofollow,
                in_tree: Path::new(&mount.source).starts_with(self.place.rootfs),
                idmap,
            }),
            "cgroup" => Kind::Cgroup(self.file_system("cgroup", options)),
            name => Kind::New(self.file_system(name, options)),
        })
    }

    fn check_idmap(&self, index: usize, idmap: Option<&Idmap>, bind: bool) -> Result<()> {
        let reason = match idmap {
            Some(_) if !bind => "id-mapped mounts are only supported for bind-mounts",
            Some(_) if self.place.rootless => "id-mapped mounts are not supported for rootless containers",
            _ => return Ok(()),
        };
        Err(Error::refused(format!("/mounts/{index}"), reason))
    }

    fn source(&self, mount: &Mount, bind: bool) -> std::result::Result<String, String> {
        if !bind {
            return Ok(if mount.source.is_empty() { mount.kind.clone() } else { mount.source.clone() });
        }
        // Joining an absolute path gives that path.
        let path = self.place.bundle.join(&mount.source).into_os_string().into_string();
        path.map_err(|path| format!("path is not valid UTF-8: {}", path.display()))
    }

    fn file_system(&self, name: &str, options: &Options) -> FileSystem {
        let mut all = options.data.clone();
        all.extend(options.superblock_on().map(|word| FsOption::Flag(word.into())));
        let labelled = !matches!(name, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2");
        if let (Some(label), true) = (self.label, labelled) {
            all.push(FsOption::Pair("context".into(), label.into()));
        }
        FileSystem {
            name: name.to_owned(),
            inherits_mode: name == "tmpfs" && all.iter().all(|option| option.key() != "mode"),
            options: all,
            copy_up: options.copy_up,
            label_root: self.label.filter(|_| name == "mqueue").map(str::to_owned),
        }
    }

    /// Without privileges, a file system may only belong to ids that the container has.
    fn check_owners(&self, options: &Options) -> std::result::Result<(), String> {
        for option in &options.data {
            let FsOption::Pair(key, value) = option else {
                continue;
            };
            let map = match key.as_str() {
                "uid" => &self.place.ids.uid_map,
                "gid" => &self.place.ids.gid_map,
                _ => continue,
            };
            let Ok(id) = value.parse::<u32>() else { continue };
            if map.to_host(id).is_none() {
                return Err(format!(
                    "cannot specify {key}={id} mount option for rootless container: \
                     user namespaces enabled, but no mapping found for {key} {id}"
                ));
            }
        }
        Ok(())
    }
}

fn check_strings(mount: &Mount) -> std::result::Result<(), (&'static str, String)> {
    let fields = [("source", &mount.source), ("destination", &mount.destination), ("type", &mount.kind)];
    for (field, text) in fields.into_iter().chain(mount.options.iter().map(|option| ("options", option))) {
        if text.contains('\0') {
            return Err((field, "mount field contains null byte".into()));
        }
    }
    Ok(())
}

fn check_options(options: &Options, bind: bool, kind: &str) -> std::result::Result<(), String> {
    if bind && !options.data.is_empty() {
        return Err("bind mounts cannot have any filesystem-specific options applied".into());
    }
    if let Some(word) = &options.impossible {
        return Err(format!(
            "mount option {word:?} cannot be applied recursively: it belongs to a whole file system"
        ));
    }
    if options.copy_symlink && (options.source_nofollow || options.target_nofollow) {
        return Err("`copy-symlink` is mutually exclusive with `src-nofollow` and `dest-nofollow`".into());
    }
    let symlink_word = options.copy_symlink || options.source_nofollow || options.target_nofollow;
    if symlink_word && !bind {
        return Err("`copy-symlink`, `src-nofollow` and `dest-nofollow` are for bind mounts".into());
    }
    if options.copy_up && (bind || kind != "tmpfs") {
        return Err("tmpcopyup can be used only with tmpfs".into());
    }
    Ok(())
}

fn on(mount: &Mount, options: &Options, bind: bool) -> On {
    match mount.kind.as_str() {
        "proc" | "sysfs" if !bind => On::OrdinaryDirectory,
        _ if options.target_nofollow => On::NotFollowed,
        _ => On::Anything,
    }
}

const READONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// Whether it is read-only in the end.
pub(super) fn is_readonly(mount: &MountPlan) -> bool {
    mount.late_readonly || mount.flags.is_some_and(|flags| flags.exact.set & READONLY != 0)
}

impl Flags {
    fn writable(self) -> Self {
        let writable = |Attributes { set, clear }| Attributes { set: set & !READONLY, clear };
        Self { exact: writable(self.exact), lenient: writable(self.lenient) }
    }
}

/// Flags for the mount, and changes to all mounts of its tree. A new file system is a tree of one.
fn flags(options: &Options, kind: &Kind) -> (Option<Flags>, Attributes) {
    let (exact, lenient) = (options.exact(), options.lenient());
    match kind {
        Kind::New(_) | Kind::Cgroup(_) => {
            let Attributes { set, clear } = options.recursive;
            let both = |flags: Attributes| Attributes { set: flags.set & !clear | set, clear: flags.clear };
            (Some(Flags { exact: both(exact), lenient: both(lenient) }), Attributes::default())
        }
        Kind::Bind(_) | Kind::Remount { superblock: None } if !options.names_flags() => {
            (None, options.recursive)
        }
        Kind::Bind(_) | Kind::Remount { .. } => (Some(Flags { exact, lenient }), options.recursive),
    }
}

fn superblock_changes(options: &Options) -> Vec<FsOption> {
    let words = options.superblock_changes().map(|word| FsOption::Flag(word.into()));
    options.data.iter().cloned().chain(words).collect()
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
