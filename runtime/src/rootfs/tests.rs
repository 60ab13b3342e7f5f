//! The whole way from a configuration to a root filesystem, on the real kernel, in a mount namespace per test.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use knarr_cgroups::{Driver, Hierarchies};

use super::scratch::{Line, Scratch, Table, isolated, plan, plan_with, read};
use super::*;
use crate::error::Error;
use crate::plan::mounts::Pivot;

/// A container whose root is `scratch/root`, entered.
pub(super) struct Inside {
    pub(super) root: Root,
    plan: RootfsPlan,
    table: Table,
    /// How often the cgroup was entered.
    entered: u32,
}

fn build_in(scratch: &Scratch, json: &str) -> Result<Inside> {
    build_plan(plan(&scratch.join("root"), json)?, CgroupNamespace::No)
}

#[derive(Clone, Copy, PartialEq)]
enum CgroupNamespace {
    No,
    New,
}

fn build_plan(plan: RootfsPlan, namespace: CgroupNamespace) -> Result<Inside> {
    let sources = prepare(&plan)?;
    build_with(plan, sources, namespace)
}

pub(super) fn build_prepared(plan: RootfsPlan, sources: Sources) -> Result<Inside> {
    build_with(plan, sources, CgroupNamespace::No)
}

fn build_with(plan: RootfsPlan, sources: Sources, namespace: CgroupNamespace) -> Result<Inside> {
    let hierarchies = Hierarchies::discover()?;
    let table = Table::new();
    let paths = BTreeMap::new();
    let mut entered = 0;
    let namespace = namespace == CgroupNamespace::New;
    let mut enter_cgroup = || {
        entered += 1;
        if namespace { Ok(crate::sys::unshare(libc::CLONE_NEWCGROUP)?) } else { Ok(()) }
    };
    let cgroup = CgroupView {
        hierarchies: &hierarchies,
        paths: &paths,
        namespace,
        user_namespace: !std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295"),
        driver: Driver::Cgroupfs,
        rootless: false,
    };
    let map_source = |index, tree: BorrowedFd<'_>| map_source(&plan, index, tree);
    let root = build(
        &plan,
        sources,
        &mut Surroundings { cgroup, enter_cgroup: &mut enter_cgroup, map_source: &map_source },
    )?;
    Ok(Inside { root, plan, table, entered })
}

impl Inside {
    pub(super) fn enter(mut self) -> Self {
        enter_root(&self.root, &self.plan).unwrap();
        finalize(&self.root, &self.plan).unwrap();
        restrict(&mut self.root, &self.plan).unwrap();
        self
    }

    pub(super) fn at(&self, point: &str) -> Line {
        self.table.at(point).unwrap_or_else(|| panic!("nothing is mounted at {point}"))
    }
}

fn enter(scratch: &Scratch, json: &str) -> Inside {
    build_in(scratch, json).unwrap_or_else(|error| panic!("{}", error.line())).enter()
}

fn error_of(scratch: &Scratch, json: &str) -> String {
    build_in(scratch, json).map(drop).map_err(|error| error.line()).unwrap_err()
}

pub(super) const USUAL: &str = r#"
    {"destination":"/proc","type":"proc","source":"proc"},
    {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
    {"destination":"/dev/pts","type":"devpts","source":"devpts",
     "options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},
    {"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777"]},
    {"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
    {"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}"#;

#[test]
fn usual_container() {
    isolated(|scratch| {
        let inside = enter(
            scratch,
            &format!(
                r#"{{"root":{{"path":"r","readonly":true}},"mounts":[{USUAL}],"linux":{{
            "maskedPaths":["/proc/acpi","/proc/kcore","/proc/keys","/proc/none","/sys/firmware","/proc/kcore"],
            "readonlyPaths":["/proc/bus","/proc/none","/proc/sys"]}}}}"#
            ),
        );
        let root = inside.at("/");
        assert!(root.has("ro") && root.peers.is_empty(), "{root:?}");
        assert_eq!(inside.entered, 1);
        for (point, kind, flags) in [
            ("/proc", "proc", "rw,relatime"),
            ("/dev", "tmpfs", "rw,nosuid"),
            ("/dev/pts", "devpts", "rw,nosuid,noexec,relatime"),
            ("/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec,relatime"),
            ("/dev/mqueue", "mqueue", "rw,nosuid,nodev,noexec,relatime"),
            ("/sys", "sysfs", "ro,nosuid,nodev,noexec,relatime"),
        ] {
            let line = inside.at(point);
            assert_eq!((line.kind.as_str(), line.flags.as_str()), (kind, flags), "{point}");
        }
        assert_eq!(inside.at("/dev/shm").source, "shm");
        assert!(
            inside.at("/dev").options.contains("size=65536k,")
                || inside.at("/dev").options.contains("mode=755")
        );
        let null = std::fs::metadata("/dev/null").unwrap();
        assert_eq!((null.rdev(), null.mode()), (rustix::fs::makedev(1, 3), 0o020_666));
        for (link, target) in [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stderr", "/proc/self/fd/2")] {
            assert_eq!(std::fs::read_link(format!("/dev/{link}")).unwrap(), Path::new(target));
        }
        // Masked and read-only paths.
        assert_eq!(std::fs::metadata("/proc/keys").unwrap().rdev(), rustix::fs::makedev(1, 3));
        assert_eq!(inside.at("/proc/keys").kind, "tmpfs", "the container's own null device");
        assert_eq!(std::fs::read_dir("/sys/firmware").unwrap().count(), 0);
        assert!(inside.at("/sys/firmware").has("ro"));
        assert!(inside.at("/proc/sys").has("ro"));
        assert_eq!(
            std::fs::write("/proc/sys/kernel/domainname", "x").unwrap_err().raw_os_error(),
            Some(libc::EROFS)
        );
        assert!(inside.table.at("/proc/none").is_none());
        // The host is gone, and the root is read-only.
        assert!(std::fs::metadata(scratch.path()).is_err());
        assert_eq!(std::fs::write("/file", "").unwrap_err().raw_os_error(), Some(libc::EROFS));
        assert!(inside.table.count() < 20, "only the container's mounts are left");
    });
}

#[test]
fn proc_and_sysfs_want_an_ordinary_directory() {
    isolated(|scratch| {
        scratch.directory("elsewhere");
        scratch.link("root/proc", "/elsewhere");
        scratch.file("root/sys", "");
        for (kind, destination) in
            [("proc", "/proc"), ("sysfs", "/sys"), ("proc", "/./proc"), ("sysfs", "/proc/x")]
        {
            let json =
                format!(r#"{{"mounts":[{{"destination":"{destination}","type":"{kind}","source":"x"}}]}}"#);
            let error = error_of(scratch, &json);
            let inside_proc = destination == "/proc/x";
            let text = if inside_proc {
                "cannot be mounted because it is inside /proc"
            } else {
                "must be mounted on ordinary directory"
            };
            assert!(error.contains(text), "{error}");
        }
    });
}

#[test]
fn links_do_not_hide_that_a_target_is_in_proc() {
    isolated(|scratch| {
        scratch.directory("root/proc");
        scratch.link("root/fine", "/proc");
        scratch.link("root/top", "/fine/..");
        for (destination, text) in [
            ("/fine/sys", "inside /proc"),
            ("/fine/self/attr", "inside /proc"),
            ("/fine", "not of type proc"),
            ("/top", "is on the top of rootfs"),
        ] {
            let json = format!(
                r#"{{"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
                {{"destination":"{destination}","type":"tmpfs","source":"tmpfs"}}]}}"#
            );
            let error = build_in(scratch, &json).map(drop).unwrap_err();
            assert!(error.line().contains(text), "{destination}: {}", error.line());
            assert_eq!(error.field(), Some("/mounts/1/destination"));
        }
    });
}

#[test]
fn bind_on_proc_must_be_a_proc() {
    isolated(|scratch| {
        let source = scratch.directory("fake");
        let bind = |source: &Path| {
            format!(
                r#"{{"mounts":[{{"destination":"/proc","source":"{}","options":["bind"]}}]}}"#,
                source.display()
            )
        };
        assert!(
            error_of(scratch, &bind(&source)).contains("cannot be mounted because it is not of type proc")
        );
        assert!(build_in(scratch, &bind(Path::new("/proc"))).is_ok());
        let meminfo = scratch.file("meminfo", "lxcfs");
        let json = format!(
            r#"{{"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
            {{"destination":"/proc/meminfo","source":"{}","options":["bind"]}}]}}"#,
            meminfo.display()
        );
        enter(scratch, &json);
        assert_eq!(read("/proc/meminfo").unwrap(), "lxcfs");
    });
}

#[test]
fn device_directory_that_is_a_link_stays_inside() {
    isolated(|scratch| {
        scratch.directory("host-dev");
        scratch.link("root/dev", "../../host-dev");
        build_in(scratch, "{}").unwrap();
        assert_eq!(std::fs::read_dir(scratch.join("host-dev")).unwrap().count(), 0);
        assert!(std::fs::symlink_metadata(scratch.join("root/host-dev/null")).is_ok());
    });
}

#[test]
fn devices_of_the_configuration() {
    isolated(|scratch| {
        scratch.file("root/dev/zero", "an image's own");
        scratch.link("root/dev/ptmx", "/etc/passwd");
        scratch.file("root/etc/passwd", "kept");
        enter(
            scratch,
            r#"{"linux":{"devices":[
        {"path":"/dev/net/tun","type":"c","major":10,"minor":200,"fileMode":384,"uid":5,"gid":6},
        {"path":"/dev/fifo","type":"p"},
        {"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":438,"uid":7}]}}"#,
        );
        let tun = std::fs::metadata("/dev/net/tun").unwrap();
        assert_eq!(
            (tun.rdev(), tun.mode(), tun.uid(), tun.gid()),
            (rustix::fs::makedev(10, 200), 0o020_600, 5, 6)
        );
        assert_eq!(std::fs::metadata("/dev/fifo").unwrap().mode() & 0o170_000, 0o010_000);
        assert_eq!(std::fs::metadata("/dev/null").unwrap().uid(), 7);
        assert_eq!(read("/dev/zero").unwrap(), "an image's own");
        assert_eq!(read("/etc/passwd").unwrap(), "kept");
        assert_eq!(std::fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    });
}

#[test]
fn masks_do_not_trust_the_images_null_device() {
    isolated(|scratch| {
        scratch.link("root/null", "/proc/sys/kernel/core_pattern");
        scratch.file("root/secret", "hidden");
        scratch.directory("root/dir");
        scratch.file("root/dir/file", "hidden");
        scratch.link("root/way", "/dir");
        scratch.link("root/to-secret", "/secret");
        scratch.link("root/nowhere", "/none");
        scratch.directory("root/dev");
        scratch.link("root/dev/null", "/secret");
        let inside = enter(
            scratch,
            r#"{"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"maskedPaths":["/to-secret","/way","/nowhere","/proc/kallsyms"]}}"#,
        );
        assert_eq!(
            std::fs::metadata("/secret").unwrap().rdev(),
            rustix::fs::makedev(1, 3),
            "the target of the link is covered"
        );
        assert_eq!(std::fs::read_dir("/dir").unwrap().count(), 0);
        assert_eq!(read("/proc/kallsyms").unwrap(), "");
        assert!(inside.table.at("/none").is_none());
        assert_eq!(inside.at("/proc/kallsyms").kind, "devtmpfs", "the host's null device");
    });
}

#[test]
fn ways_of_binding() {
    isolated(|scratch| {
        let dir = scratch.directory("source");
        scratch.file("source/file", "content");
        let file = scratch.join("source/file");
        scratch.link("to-file", file.to_str().unwrap());
        scratch.file("root/target", "");
        scratch.link("root/link", "/target");
        let (dir, file, link) =
            (dir.display(), file.display(), scratch.join("to-file").display().to_string());
        let inside = enter(
            scratch,
            &format!(
                r#"{{"mounts":[
            {{"destination":"/new/dir","source":"{dir}","options":["rbind","ro","nosuid"]}},
            {{"destination":"/new/file","source":"{file}","type":"bind"}},
            {{"destination":"/copied","source":"{link}","options":["bind","copy-symlink"]}},
            {{"destination":"/target","source":"{link}","options":["bind"]}},
            {{"destination":"relative/x","source":"{dir}","options":["bind","rshared"]}},
            {{"destination":"/new/linked","source":"{link}","options":["bind","src-nofollow"]}},
            {{"destination":"/link","source":"{link}","options":["bind","src-nofollow","dest-nofollow"]}}
        ]}}"#
            ),
        );
        assert!(inside.at("/new/dir").has("ro") && inside.at("/new/dir").has("nosuid"));
        assert_eq!(read("/new/file").unwrap(), "content");
        assert_eq!(std::fs::read_link("/copied").unwrap(), scratch.join("source/file"));
        assert_eq!(read("/target").unwrap(), "content");
        assert!(inside.at("/relative/x").peers.starts_with("shared:"));
        assert_eq!(std::fs::read_link("/new/linked").unwrap(), scratch.join("source/file"));
        assert_eq!(
            std::fs::read_link("/link").unwrap(),
            scratch.join("source/file"),
            "covers the link itself"
        );
        assert_eq!(inside.plan.warnings.len(), 1);
    });
}

#[test]
fn bad_binds_say_what_is_wrong() {
    isolated(|scratch| {
        let dir = scratch.directory("source");
        scratch.file("root/file", "");
        let bind = |source: &Path, destination: &str, option: &str| {
            let source = source.display();
            let json = format!(
                r#"{{"mounts":[{{"destination":"{destination}","source":"{source}","options":["bind"{option}]}}]}}"#
            );
            error_of(scratch, &json)
        };
        let missing = scratch.join("none");
        let text = format!("error mounting {missing:?} to rootfs at \"/x\": ");
        let error = bind(&missing, "/x", "");
        assert!(error.starts_with(&text) && error.ends_with(": no such file or directory"), "{error}");
        let error = bind(&dir, "/file", "");
        assert!(error.ends_with(": not a directory"), "{error}");
        let error = bind(&dir, "/none", r#","dest-nofollow""#);
        assert!(error.ends_with(": no such file or directory"), "{error}");
        let error = bind(&dir, "/file/sub", "");
        assert!(error.ends_with(": not a directory"), "{error}");
    });
}

/// What a bind keeps of its source: all, if no flag is named; else only its access times.
#[test]
fn bind_flags() {
    isolated(|scratch| {
        let source = scratch.directory("source");
        let cases = [
            ("nosuid,nodev,noatime", "\"bind\"", "rw,nosuid,nodev,noatime"),
            ("nosuid,nodev,noatime", "\"bind\",\"ro\"", "ro,noatime"),
            ("ro,noexec,nodiratime", "\"bind\",\"dev\"", "rw,nodiratime,relatime"),
            ("ro", "\"bind\",\"nosuid\",\"nodev\",\"rprivate\"", "rw,nosuid,nodev,relatime"),
            ("noatime", "\"bind\",\"strictatime\"", "rw"),
            ("noatime", "\"bind\",\"relatime\"", "rw,relatime"),
            ("noatime", "\"bind\",\"atime\"", "rw,noatime"),
            ("relatime", "\"bind\",\"noatime\",\"nodiratime\"", "rw,noatime,nodiratime"),
            ("nosuid", "\"bind\",\"private\"", "rw,nosuid,relatime"),
            ("rw", "\"bind\",\"nosymfollow\"", "rw,relatime,nosymfollow"),
            ("nosuid", "\"rbind\",\"rro\",\"rnoexec\"", "ro,nosuid,noexec,relatime"),
        ];
        for (of_source, options, expected) in cases {
            let json = format!(
                r#"{{"mounts":[{{"destination":"/src","type":"tmpfs","source":"t","options":["{}"]}}]}}"#,
                of_source.replace(',', "\",\"")
            );
            // The source is a mount made the same way, in the same namespace.
            let made = build_in(scratch, &json).unwrap();
            drop(made);
            let from = scratch.join("root/src");
            let json = format!(
                r#"{{"mounts":[{{"destination":"/dst","source":"{}","options":[{options}]}}]}}"#,
                from.display()
            );
            let inside = build_in(scratch, &json).unwrap();
            let line = inside.at(scratch.join("root/dst").to_str().unwrap());
            assert_eq!(line.flags, expected, "{of_source} {options}");
        }
        drop(source);
    });
}

#[test]
fn options_of_file_systems() {
    isolated(|scratch| {
        std::fs::set_permissions(scratch.directory("root/kept"), std::fs::Permissions::from_mode(0o1751))
            .unwrap();
        let inside = enter(
            scratch,
            r#"{"mounts":[
        {"destination":"/kept","type":"tmpfs","source":"t","options":["ro","nosuid","noatime","nodiratime","sync","lazytime"]},
        {"destination":"/kept/inner","type":"tmpfs","source":"t","options":["mode=0700,size=1m","rw","noexec"]},
        {"destination":"/new","type":"tmpfs","source":"t","options":["shared"]},
        {"destination":"/remounted","type":"tmpfs","source":"t"},
        {"destination":"/remounted","type":"tmpfs","source":"t","options":["remount","ro","noexec","size=2m"]},
        {"destination":"/dev","type":"tmpfs","source":"t","options":["ro"]}]}"#,
        );
        let kept = inside.at("/kept");
        assert_eq!(
            kept.flags, "ro,nosuid,noatime,nodiratime",
            "read-only in the end, and yet /kept/inner was made in it"
        );
        assert!(
            kept.options.contains("sync")
                && kept.options.contains("lazytime")
                && kept.options.contains("mode=1751"),
            "{kept:?}"
        );
        let inner = inside.at("/kept/inner");
        assert!(
            inner.options.contains("size=1024k") && inner.options.contains("mode=700") && inner.has("noexec"),
            "{inner:?}"
        );
        assert!(inside.at("/new").peers.starts_with("shared:"));
        let remounted = inside.at("/remounted");
        assert!(
            remounted.has("ro") && remounted.has("noexec") && remounted.options.starts_with("ro"),
            "{remounted:?}"
        );
        assert!(remounted.options.contains("size=2048k"), "{remounted:?}");
        assert!(inside.at("/dev").has("ro"));
        assert!(std::fs::metadata("/dev/null").is_ok());
    });
}

#[test]
fn file_system_says_what_it_does_not_like() {
    isolated(|scratch| {
        let mount = |kind: &str, option: &str| {
            error_of(
                scratch,
                &format!(
                    r#"{{"mounts":[{{"destination":"/x","type":"{kind}","source":"s","options":[{option}]}}]}}"#
                ),
            )
        };
        let error = mount("tmpfs", r#""nonsense=1""#);
        assert_eq!(
            error,
            r#"error mounting "s" to rootfs at "/x": fsconfig("nonsense", "1"): tmpfs: Unknown parameter 'nonsense': invalid argument"#
        );
        let error = mount("tmpfs", r#""size=abc""#);
        assert!(error.contains("Bad value for 'size'"), "{error}");
        let error = mount("nofs", "");
        assert_eq!(error, r#"error mounting "s" to rootfs at "/x": fsopen("nofs"): no such device"#);
    });
}

#[test]
fn recursive_attributes_reach_what_is_below() {
    isolated(|scratch| {
        build_in(
            scratch,
            r#"{"mounts":[
        {"destination":"/src","type":"tmpfs","source":"t"},
        {"destination":"/src/below","type":"tmpfs","source":"t","options":["nodev"]}]}"#,
        )
        .unwrap();
        let source = scratch.join("root/src");
        for (options, top, below) in [
            (r#""rbind""#, "rw,relatime", "rw,nodev,relatime"),
            (r#""rbind","ro""#, "ro,relatime", "rw,nodev,relatime"),
            (r#""rbind","rro""#, "ro,relatime", "ro,nodev,relatime"),
            (r#""rbind","rro","rdev","rnoatime""#, "ro,noatime", "ro,noatime"),
        ] {
            let json = format!(
                r#"{{"mounts":[{{"destination":"/dst","source":"{}","options":[{options}]}}]}}"#,
                source.display()
            );
            let inside = build_in(scratch, &json).unwrap();
            let dst = scratch.join("root/dst").display().to_string();
            assert_eq!(
                (inside.at(&dst).flags.as_str(), inside.at(&format!("{dst}/below")).flags.as_str()),
                (top, below),
                "{options}"
            );
        }
    });
}

#[test]
fn tmpcopyup_takes_all_along() {
    isolated(|scratch| {
        scratch.file("root/data/sub/file", "content");
        scratch.link("root/data/link", "/etc/passwd");
        let file = scratch.join("root/data/sub/file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(&file, Some(12), Some(13)).unwrap();
        std::fs::set_permissions(scratch.join("root/data"), std::fs::Permissions::from_mode(0o1770)).unwrap();
        let before = std::fs::metadata(&file).unwrap();
        let inside = enter(
            scratch,
            r#"{"mounts":[
        {"destination":"/data","type":"tmpfs","source":"t","options":["tmpcopyup","ro"]}]}"#,
        );
        assert_eq!(inside.at("/data").kind, "tmpfs");
        assert!(inside.at("/data").has("ro"));
        let after = std::fs::metadata("/data/sub/file").unwrap();
        assert_eq!(
            (after.mode(), after.uid(), after.gid(), after.mtime()),
            (before.mode(), 12, 13, before.mtime())
        );
        assert_eq!(read("/data/sub/file").unwrap(), "content");
        assert_eq!(std::fs::read_link("/data/link").unwrap(), Path::new("/etc/passwd"));
        assert_eq!(std::fs::metadata("/data").unwrap().mode() & 0o7777, 0o1770);
    });
}

#[test]
fn propagation_of_the_root() {
    for (word, peers) in [
        ("", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
        ("private", ""),
        ("slave", ""),
        ("rslave", ""),
    ] {
        isolated(|scratch| {
            let inside = enter(scratch, &format!(r#"{{"linux":{{"rootfsPropagation":"{word}"}}}}"#));
            let line = inside.at("/");
            assert!(
                if peers.is_empty() { line.peers.is_empty() } else { line.peers.starts_with(peers) },
                "{word}: {line:?}"
            );
        });
    }
}

/// The host's mounts are shared, as systemd makes them: what is done inside must not come out, and the root takes
/// nothing from the host unless it is told to be a slave.
#[test]
fn shared_mounts_of_the_host() {
    for (word, follows_host) in [
        ("", false),
        ("rprivate", false),
        ("slave", true),
        ("rslave", true),
        ("shared", false),
        ("rshared", false),
        ("runbindable", false),
    ] {
        isolated(|scratch| {
            let fs = crate::sys::mounts::open_fs("tmpfs").unwrap();
            crate::sys::mounts::create_fs(&fs).unwrap();
            let host = crate::sys::mounts::mount_fs(&fs, 0).unwrap();
            let root = scratch.join("root");
            crate::sys::mounts::attach_at(&host, rustix::fs::CWD, root.to_str().unwrap()).unwrap();
            let shared = MountChange { propagation: libc::MS_SHARED, ..MountChange::default() };
            change_mount(&host, Depth::One, &shared).unwrap();
            std::fs::create_dir(root.join("inner")).unwrap();
            let before = Table::new().count();
            let container = || {
                crate::sys::unshare(libc::CLONE_NEWNS).unwrap();
                let json = format!(r#"{{"mounts":[{USUAL}],"linux":{{"rootfsPropagation":"{word}"}}}}"#);
                let plan = plan(&root.join("inner"), &json).unwrap();
                let inside =
                    build_plan(plan, CgroupNamespace::No).unwrap_or_else(|error| panic!("{}", error.line()));
                let line = inside.at(root.join("inner").to_str().unwrap());
                assert_eq!(line.peers.contains("master:"), follows_host, "{word}: {line:?}");
                inside.enter();
            };
            std::thread::scope(|scope| scope.spawn(container).join().unwrap());
            assert_eq!(Table::new().count(), before, "{word}: nothing appears or goes on the host");
        });
    }
}

#[test]
fn without_pivot_root_no_view_of_the_host_is_left() {
    isolated(|scratch| {
        let plan =
            plan_with(&scratch.join("root"), &format!(r#"{{"mounts":[{USUAL}]}}"#), Pivot::Avoid).unwrap();
        let inside = build_plan(plan, CgroupNamespace::No).unwrap().enter();
        assert!(std::fs::metadata(scratch.path()).is_err());
        assert_eq!(inside.at("/proc").kind, "proc");
        // Only the container's proc and sysfs: the host's would allow new ones without masks.
        let table = read("/proc/thread-self/mountinfo").unwrap();
        let views = table.lines().filter(|line| line.contains(" - proc ") || line.contains(" - sysfs "));
        assert_eq!(views.count(), 2, "{table}");
    });
}

#[test]
fn cgroups_of_version_1() {
    if Hierarchies::discover().unwrap().mode() == knarr_cgroups::Mode::Unified {
        eprintln!("skipped: cgroup version 2 only");
        return;
    }
    for (namespace, expected) in [(CgroupNamespace::No, "bound"), (CgroupNamespace::New, "new")] {
        isolated(|scratch| {
            let json = r#"{"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
                {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]}]}"#;
            let plan = plan(&scratch.join("root"), json).unwrap();
            let inside =
                build_plan(plan, namespace).unwrap_or_else(|error| panic!("{}", error.line())).enter();
            assert_eq!(inside.entered, 1, "before the mount, and not again at the end");
            let top = inside.at("/sys/fs/cgroup");
            assert_eq!((top.kind.as_str(), top.flags.as_str()), ("tmpfs", "ro,nosuid,nodev,noexec,relatime"));
            let pids = inside.at("/sys/fs/cgroup/pids");
            assert_eq!(
                (pids.kind.as_str(), pids.flags.as_str()),
                ("cgroup", "ro,nosuid,nodev,noexec,relatime"),
                "{expected}"
            );
            assert!(std::fs::metadata("/sys/fs/cgroup/pids/tasks").is_ok());
        });
    }
}

#[test]
fn cgroup_of_version_2() {
    // Bound, the source is that of the machine's mount.
    for (namespace, source) in [(CgroupNamespace::No, "none"), (CgroupNamespace::New, "cgroup")] {
        isolated(|scratch| {
            // As on a machine that has version 2 only.
            let fs = crate::sys::mounts::open_fs("cgroup2").unwrap();
            crate::sys::mounts::create_fs(&fs).unwrap();
            let mount = crate::sys::mounts::mount_fs(&fs, 0).unwrap();
            crate::sys::mounts::attach_at(mount, rustix::fs::CWD, "/sys/fs/cgroup").unwrap();
            let json = r#"{"mounts":[{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]}]}"#;
            let plan = plan(&scratch.join("root"), json).unwrap();
            let inside =
                build_plan(plan, namespace).unwrap_or_else(|error| panic!("{}", error.line())).enter();
            let line = inside.at("/sys/fs/cgroup");
            assert_eq!(
                (line.kind.as_str(), line.flags.as_str(), line.source.as_str()),
                ("cgroup2", "ro,nosuid,nodev,noexec,relatime", source)
            );
        });
    }
}

#[test]
fn working_directory_is_made_inside() {
    isolated(|scratch| {
        scratch.link("root/way", "/../../../made");
        let inside = enter(scratch, "{}");
        make_cwd(&inside.root, "/way/deep/../deeper").unwrap();
        assert_eq!(std::fs::metadata("/made/deeper").unwrap().mode() & 0o7777, 0o755);
        make_cwd(&inside.root, "/").unwrap();
    });
}

#[test]
fn ids_of_a_mount_are_mapped() {
    isolated(|scratch| {
        let file = scratch.file("source/file", "");
        std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
        let source = scratch.join("source").display().to_string();
        let json = |options: &str, more: &str| {
            format!(
                r#"{{"mounts":[{{"destination":"/m","source":"{source}","options":["bind"{options}]{more}}}]}}"#
            )
        };
        let maps = r#","uidMappings":[{"containerID":1000,"hostID":5000,"size":1}],"gidMappings":[{"containerID":1001,"hostID":6000,"size":1}]"#;
        for json in [
            json("", maps),
            json(r#","idmap""#, maps),
            json(r#","ridmap""#, maps),
            json(r#","idmap=uids=1000-5000-1;gids=1001-6000-1""#, ""),
        ] {
            let inside = build_in(scratch, &json).unwrap_or_else(|error| panic!("{}", error.line()));
            let stat = std::fs::metadata(scratch.join("root/m/file")).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (5000, 6000), "{json}");
            drop(inside);
        }
        let error = error_of(scratch, &json(r#","idmap""#, ""));
        assert_eq!(error, "id-mapped mounts must have both uid and gid mappings specified");
    });
}

#[test]
fn a_source_in_the_tree_is_what_earlier_mounts_made_of_it() {
    isolated(|scratch| {
        let file = scratch.file("source/sub/file", "");
        std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
        let (source, root) = (scratch.join("source"), scratch.directory("root"));
        let (source, root) = (source.display(), root.display());
        let maps = r#""uidMappings":[{"containerID":1000,"hostID":5000,"size":1}],"gidMappings":[{"containerID":1001,"hostID":6000,"size":1}]"#;
        let inside = enter(
            scratch,
            &format!(
                r#"{{"mounts":[{{"destination":"/m","source":"{source}","options":["bind"]}},
                {{"destination":"{root}/plain","source":"{root}/m/sub","options":["bind"]}},
                {{"destination":"/mapped","source":"{root}/m/sub","options":["bind"],{maps}}}]}}"#
            ),
        );
        for (path, owner) in [("/plain/file", (1000, 1001)), ("/mapped/file", (5000, 6000))] {
            let stat = std::fs::metadata(path).unwrap();
            assert_eq!((stat.uid(), stat.gid()), owner, "{path}");
        }
        assert_eq!(inside.entered, 1);
    });
}

#[test]
fn errors_leave_the_hosts_table_alone() {
    let before = Table::new().count();
    isolated(|scratch| {
        let json =
            format!(r#"{{"mounts":[{USUAL},{{"destination":"/x","source":"/none","options":["bind"]}}]}}"#);
        assert!(matches!(build_in(scratch, &json), Err(Error::At { .. })));
    });
    assert_eq!(Table::new().count(), before);
}

#[test]
fn umask_is_restored() {
    isolated(|scratch| {
        let before = set_umask(0o027);
        build_in(scratch, r#"{"mounts":[{"destination":"/made","type":"tmpfs","source":"t"}]}"#).unwrap();
        assert_eq!(set_umask(before), 0o027);
    });
}
