//! Root filesystems built by the root of a user namespace, which is nobody on the host.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::scratch::{Scratch, in_user_namespace, plan, read};
use super::tests::{Inside, USUAL, build_prepared};
use super::*;
use crate::sys::mounts::{attach_at, create_fs, mount_fs, open_fs};

const USER: &str = r#"{"namespaces":[{"type":"user"}],
    "uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],
    "gidMappings":[{"containerID":0,"hostID":100000,"size":65536}]"#;

fn planned(scratch: &Scratch, mounts: &str, linux: &str) -> (RootfsPlan, Sources) {
    let json = format!(r#"{{"mounts":[{mounts}],"linux":{USER}{linux}}}}}"#);
    let plan = plan(&scratch.join("root"), &json).unwrap();
    let sources = prepare(&plan).unwrap();
    (plan, sources)
}

fn enter((plan, sources): (RootfsPlan, Sources)) -> Inside {
    build_prepared(plan, sources).unwrap_or_else(|error| panic!("{}", error.line())).enter()
}

#[test]
fn usual_container() {
    let linux = r#","maskedPaths":["/proc/keys","/sys/firmware"],"readonlyPaths":["/proc/sys"],
        "devices":[{"path":"/dev/fifo","type":"p"},{"path":"/dev/fifo2","type":"p","uid":3}]"#;
    in_user_namespace(
        "rootfs::userns_tests::usual_container",
        libc::CLONE_NEWNET,
        |scratch| planned(scratch, USUAL, linux),
        |prepared| {
            let inside = enter(prepared);
            assert_eq!(inside.at("/sys").kind, "sysfs");
            assert_eq!(inside.at("/dev/null").kind, "devtmpfs", "bound, as it cannot be made");
            std::fs::write("/dev/null", "x").unwrap();
            assert_eq!(std::fs::metadata("/dev/zero").unwrap().rdev(), rustix::fs::makedev(1, 5));
            assert_eq!(std::fs::metadata("/dev/fifo").unwrap().mode() & 0o170_000, 0o010_000);
            assert_eq!(std::fs::metadata("/dev/fifo2").unwrap().uid(), 3);
            assert_eq!(read("/proc/keys").unwrap(), "");
            assert!(inside.at("/proc/sys").has("ro"));
            assert_eq!(std::fs::metadata("/dev/shm").unwrap().uid(), 0);
        },
    );
}

#[test]
fn sysfs_of_a_network_namespace_of_the_host_is_bound_read_only() {
    in_user_namespace(
        "rootfs::userns_tests::sysfs_of_a_network_namespace_of_the_host_is_bound_read_only",
        0,
        |scratch| planned(scratch, USUAL, ""),
        |prepared| {
            let inside = enter(prepared);
            let sys = inside.at("/sys");
            for flag in ["ro", "nosuid", "nodev", "noexec"] {
                assert!(sys.has(flag), "{sys:?}");
            }
            assert_eq!(
                std::fs::read_dir("/sys/fs/cgroup").unwrap().count(),
                0,
                "the host's cgroups are covered"
            );
        },
    );
}

/// A mount of the host with flags that its own root has set.
fn mount_on_host(scratch: &Scratch, name: &str, attributes: u64) -> String {
    let path = scratch.directory(name).display().to_string();
    let fs = open_fs("tmpfs").unwrap();
    create_fs(&fs).unwrap();
    attach_at(mount_fs(&fs, attributes).unwrap(), rustix::fs::CWD, &path).unwrap();
    path
}

#[test]
fn flags_locked_by_the_host_stay() {
    in_user_namespace(
        "rootfs::userns_tests::flags_locked_by_the_host_stay",
        0,
        |scratch| {
            let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODIRATIME;
            let source = mount_on_host(scratch, "source", attributes | libc::MOUNT_ATTR_NOSYMFOLLOW);
            let bind = |options: &str| {
                planned(
                    scratch,
                    &format!(r#"{{"destination":"/b","source":"{source}","options":[{options}]}}"#),
                    "",
                )
            };
            let kept = [
                (bind(r#""bind""#), "ro,noexec,nodiratime,relatime,nosymfollow"),
                (bind(r#""bind","dev""#), "ro,noexec,nodiratime,relatime"),
                (bind(r#""bind","nosuid""#), "ro,nosuid,noexec,nodiratime,relatime"),
                (bind(r#""bind","nodiratime""#), "ro,noexec,nodiratime,relatime"),
            ];
            let refused =
                [r#""bind","rw""#, r#""bind","exec""#, r#""bind","strictatime""#, r#""bind","noatime""#]
                    .map(bind);
            (kept, refused)
        },
        |(kept, refused)| {
            for ((plan, sources), flags) in kept {
                let rootfs = plan.path.join("b").display().to_string();
                let inside = build_prepared(plan, sources).unwrap_or_else(|error| panic!("{}", error.line()));
                assert_eq!(inside.at(&rootfs).flags, flags);
            }
            for (plan, sources) in refused {
                let error = build_prepared(plan, sources).map(drop).unwrap_err().line();
                assert!(
                    error.starts_with("error mounting") && error.ends_with("operation not permitted"),
                    "{error}"
                );
            }
        },
    );
}

#[test]
fn sources_out_of_reach_are_the_parents() {
    in_user_namespace(
        "rootfs::userns_tests::sources_out_of_reach_are_the_parents",
        0,
        |scratch| {
            let file = scratch.file("private/file", "content");
            std::fs::set_permissions(scratch.join("private"), std::fs::Permissions::from_mode(0o700))
                .unwrap();
            let mount =
                format!(r#"{{"destination":"/file","source":"{}","options":["bind","ro"]}}"#, file.display());
            planned(scratch, &mount, "")
        },
        |prepared| {
            let inside = enter(prepared);
            assert_eq!(read("/file").unwrap(), "content");
            let line = inside.at("/file");
            assert!(line.has("ro") && !line.peers.contains("shared"), "{line:?}");
        },
    );
}

#[test]
fn mount_shows_the_containers_ids() {
    in_user_namespace(
        "rootfs::userns_tests::mount_shows_the_containers_ids",
        0,
        |scratch| {
            let file = scratch.file("source/file", "");
            std::os::unix::fs::chown(file, Some(7), Some(8)).unwrap();
            let source = scratch.join("source");
            let mount = format!(
                r#"{{"destination":"/m","source":"{}","options":["rbind","idmap"]}}"#,
                source.display()
            );
            planned(scratch, &mount, "")
        },
        |prepared| {
            enter(prepared);
            let stat = std::fs::metadata("/m/file").unwrap();
            assert_eq!((stat.uid(), stat.gid()), (7, 8));
        },
    );
}

/// Without a cgroup namespace of its own a user namespace gets no cgroup2: what is there is bound.
#[test]
fn cgroup_of_version_2_is_bound() {
    in_user_namespace(
        "rootfs::userns_tests::cgroup_of_version_2_is_bound",
        0,
        |scratch| {
            let fs = open_fs("cgroup2").unwrap();
            create_fs(&fs).unwrap();
            attach_at(mount_fs(&fs, 0).unwrap(), rustix::fs::CWD, "/sys/fs/cgroup").unwrap();
            let mount = r#"{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","ro"]}"#;
            planned(scratch, mount, "")
        },
        |prepared| {
            let inside = enter(prepared);
            let line = inside.at("/sys/fs/cgroup");
            assert!(line.kind == "cgroup2" && line.has("ro") && line.has("nosuid"), "{line:?}");
        },
    );
}
