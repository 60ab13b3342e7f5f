//! The plan of the root filesystem: what options become, and what is refused.

use super::*;
use crate::spec;

fn plan_at(json: &str, pivot: Pivot, rootless: bool) -> Result<RootfsPlan> {
    let spec: Spec = spec::parse(json.as_bytes()).unwrap();
    let linux = spec.linux.clone().unwrap_or_default();
    let namespaces = Namespaces::plan(&linux)?;
    let ids = Ids::plan(&linux, &namespaces)?;
    let (bundle, rootfs) = (Path::new("/bundle"), Path::new("/bundle/rootfs"));
    RootfsPlan::new(&spec, &Place { bundle, rootfs, pivot, rootless, namespaces: &namespaces, ids: &ids })
}

fn plan(json: &str) -> Result<RootfsPlan> {
    plan_at(json, Pivot::Use, false)
}

fn one(mount: &str) -> MountPlan {
    plan(&format!(r#"{{"mounts":[{mount}]}}"#)).unwrap().mounts.remove(0)
}

const MOUNT_NAMESPACE: &str = r#""namespaces":[{"type":"mount"}]"#;

#[test]
fn refusals_name_the_field_and_use_runcs_words() {
    for (mount, field, text) in [
        (
            r#""source":"/a","destination":"/b","options":["bind","size=1"]"#,
            "options",
            "bind mounts cannot have any filesystem-specific options applied",
        ),
        (
            r#""source":"/a","destination":"/","options":["bind"]"#,
            "destination",
            r#"mountpoint "/" is on the top of rootfs "/bundle/rootfs""#,
        ),
        (
            r#""source":"/a","destination":"/a/..","type":"tmpfs""#,
            "destination",
            r#"mountpoint "/a/.." is on the top of rootfs "/bundle/rootfs""#,
        ),
        (
            r#""source":"t","destination":"/proc/x/../sys","type":"tmpfs""#,
            "destination",
            r#""/proc/sys" cannot be mounted because it is inside /proc"#,
        ),
        (
            r#""source":"t","destination":"proc","type":"tmpfs""#,
            "destination",
            r#""/proc" cannot be mounted because it is not of type proc"#,
        ),
        (r#""source":"t","destination":"/a""#, "type", r#"invalid mount type for "/a""#),
        (
            r#""source":"a\u0000b","destination":"/a","type":"tmpfs""#,
            "source",
            "mount field contains null byte",
        ),
        (
            r#""source":"a","destination":"/a","type":"tmpfs","options":["x\u0000"]"#,
            "options",
            "mount field contains null byte",
        ),
        (
            r#""source":"/a","destination":"/a","options":["bind","tmpcopyup"]"#,
            "options",
            "tmpcopyup can be used only with tmpfs",
        ),
        (
            r#""source":"/a","destination":"/a","type":"proc","options":["src-nofollow"]"#,
            "options",
            "`copy-symlink`, `src-nofollow` and `dest-nofollow` are for bind mounts",
        ),
        (
            r#""source":"/a","destination":"/a","options":["bind","copy-symlink","src-nofollow"]"#,
            "options",
            "`copy-symlink` is mutually exclusive with `src-nofollow` and `dest-nofollow`",
        ),
        (
            r#""source":"/a","destination":"/a","options":["bind","rsync"]"#,
            "options",
            r#"mount option "rsync" cannot be applied recursively: it belongs to a whole file system"#,
        ),
    ] {
        let error = plan(&format!(r#"{{"mounts":[{{"destination":"/x","type":"tmpfs"}},{{{mount}}}]}}"#))
            .unwrap_err();
        assert_eq!(
            (error.field(), error.line().as_str()),
            (Some(format!("/mounts/1/{field}").as_str()), text)
        );
    }
}

#[test]
fn id_mapped_mounts_need_a_bind_both_maps_and_privileges() {
    let maps = r#""uidMappings":[{"containerID":0,"hostID":1,"size":1}],"gidMappings":[{"containerID":0,"hostID":1,"size":1}]"#;
    let uids = r#""uidMappings":[{"containerID":0,"hostID":1,"size":1}]"#;
    for (mount, rootless, text) in [
        (format!(r#""type":"tmpfs",{maps}"#), false, "id-mapped mounts are only supported for bind-mounts"),
        (
            format!(r#""options":["bind"],{maps}"#),
            true,
            "id-mapped mounts are not supported for rootless containers",
        ),
        (
            format!(r#""options":["bind"],{uids}"#),
            false,
            "id-mapped mounts must have both uid and gid mappings specified",
        ),
        (
            r#""options":["bind","idmap"]"#.into(),
            false,
            "id-mapped mounts must have both uid and gid mappings specified",
        ),
    ] {
        let json = format!(r#"{{"mounts":[{{"destination":"/a","source":"/b",{mount}}}]}}"#);
        assert_eq!(plan_at(&json, Pivot::Use, rootless).unwrap_err().line(), text);
    }
    let mount = one(&format!(r#"{{"destination":"/a","source":"/b","options":["rbind","ridmap"],{maps}}}"#));
    let Kind::Bind(Bind { idmap: Some(idmap), recursive: true, .. }) = mount.kind else {
        panic!("{mount:?}")
    };
    assert!(idmap.recursive);
}

#[test]
fn the_hosts_path_to_the_root_is_the_root() {
    for (destination, target) in [
        ("/bundle/rootfs/a", "a"),
        ("/bundle/../bundle/rootfs/a/b", "a/b"),
        ("/bundle/rootfs2/a", "bundle/rootfs2/a"),
        ("/a/bundle/rootfs", "a/bundle/rootfs"),
    ] {
        assert_eq!(one(&format!(r#"{{"destination":"{destination}","type":"tmpfs"}}"#)).target, target);
    }
    for (source, expected) in [("/bundle/rootfs/a", true), ("/bundle/rootfs2", false), ("/a", false)] {
        let mount = one(&format!(r#"{{"destination":"/b","source":"{source}","options":["bind"]}}"#));
        assert!(matches!(mount.kind, Kind::Bind(Bind { in_tree, .. }) if in_tree == expected), "{source}");
    }
}

#[test]
fn rootless_file_systems_belong_to_mapped_ids() {
    let json = |gid| {
        format!(
            r#"{{"mounts":[{{"destination":"/dev/pts","type":"devpts","options":["mode=0620,gid={gid}"]}}],"linux":{{
            "namespaces":[{{"type":"user"}},{{"type":"mount"}}],
            "uidMappings":[{{"containerID":0,"hostID":1000,"size":1}}],"gidMappings":[{{"containerID":0,"hostID":1000,"size":1}}]}}}}"#
        )
    };
    let error = plan_at(&json(5), Pivot::Use, true).unwrap_err().line();
    assert!(error.starts_with("cannot specify gid=5 mount option for rootless container"), "{error}");
    assert!(plan_at(&json(0), Pivot::Use, true).is_ok());
    assert!(plan_at(&json(5), Pivot::Use, false).is_ok());
}

#[test]
fn sources_and_targets() {
    let mount = one(r#"{"source":"data","destination":"/a/./b/../c/","options":["bind"]}"#);
    assert_eq!((mount.source.as_str(), mount.target.as_str()), ("/bundle/data", "a/c"));
    let mount = one(r#"{"source":"/data","destination":"/a","type":"bind"}"#);
    assert!(matches!(mount.kind, Kind::Bind(_)) && mount.flags.is_none());
    let mount = one(r#"{"destination":"../../a","type":"tmpfs"}"#);
    assert_eq!((mount.source.as_str(), mount.target.as_str()), ("tmpfs", "a"));
    for (mount, on) in [
        (r#"{"destination":"/proc","type":"proc"}"#, On::OrdinaryDirectory),
        (r#"{"destination":"/sys","type":"sysfs"}"#, On::OrdinaryDirectory),
        (r#"{"destination":"/sys","source":"/sys","type":"sysfs","options":["rbind"]}"#, On::Anything),
        (r#"{"destination":"/a","source":"/b","options":["bind","dest-nofollow"]}"#, On::NotFollowed),
        (r#"{"destination":"/proc/uptime","source":"/b","options":["bind"]}"#, On::Anything),
    ] {
        assert_eq!(one(mount).on, on, "{mount}");
    }
}

#[test]
fn read_only_waits_where_something_is_still_made() {
    for (mount, late) in [
        (r#"{"destination":"/dev","type":"devtmpfs","options":["ro"]}"#, true),
        (r#"{"destination":"/run","type":"tmpfs","options":["ro"]}"#, true),
        (r#"{"destination":"/run","type":"tmpfs","options":["rro"]}"#, true),
        (r#"{"destination":"/run","type":"tmpfs","options":["remount","ro"]}"#, false),
        (r#"{"destination":"/run","type":"tmpfs","options":["ro","rw"]}"#, false),
        (r#"{"destination":"/sys","type":"sysfs","options":["ro"]}"#, false),
        (r#"{"destination":"/dev","source":"/dev","options":["rbind","ro"]}"#, false),
    ] {
        let mount = one(mount);
        assert_eq!(mount.late_readonly, late, "{mount:?}");
        let readonly = mount.flags.is_some_and(|flags| flags.exact.set & READONLY != 0);
        assert!(!(late && readonly));
    }
}

#[test]
fn devices_are_left_to_a_bound_dev() {
    let dev = |mount: &str| plan(&format!(r#"{{"mounts":[{mount}]}}"#)).unwrap().dev;
    assert_eq!(dev(r#"{"destination":"/dev/","source":"/dev","options":["rbind"]}"#), None);
    assert_eq!(dev(r#"{"destination":"/dev","type":"tmpfs"}"#).map(|nodes| nodes.len()), Some(6));
}

#[test]
fn labels_go_to_new_file_systems_only() {
    let options = |kind: &str| {
        let json = format!(
            r#"{{"mounts":[{{"destination":"/a","type":"{kind}"}}],"linux":{{"mountLabel":"u:r:t:s0:c1,c2"}}}}"#
        );
        match plan(&json).unwrap().mounts.remove(0).kind {
            Kind::New(fs) | Kind::Cgroup(fs) => (fs.options, fs.label_root),
            kind => panic!("{kind:?}"),
        }
    };
    let context = FsOption::Pair("context".into(), "u:r:t:s0:c1,c2".into());
    assert_eq!(options("tmpfs"), (vec![context.clone()], None));
    assert_eq!(options("devpts"), (vec![context], None));
    assert_eq!(options("mqueue"), (vec![], Some("u:r:t:s0:c1,c2".into())));
    for kind in ["sysfs", "cgroup"] {
        assert_eq!(options(kind), (vec![], None), "{kind}");
    }
}

#[test]
fn restricted_paths_are_cleaned_and_need_a_mount_namespace() {
    let json = format!(
        r#"{{"linux":{{{MOUNT_NAMESPACE},"maskedPaths":["/proc/kcore","/proc//kcore","proc/keys/"],"readonlyPaths":["/proc/sys"]}}}}"#
    );
    let planned = plan(&json).unwrap();
    assert_eq!(planned.masked, ["proc/kcore", "proc/keys"]);
    assert_eq!(planned.readonly_paths, ["proc/sys"]);
    for field in ["maskedPaths", "readonlyPaths"] {
        let error = plan(&format!(r#"{{"linux":{{"{field}":["/a"]}}}}"#)).unwrap_err();
        assert_eq!(error.line(), "unable to restrict sys entries without a private MNT namespace");
        let error = plan(&format!(r#"{{"linux":{{{MOUNT_NAMESPACE},"{field}":["/"]}}}}"#)).unwrap_err();
        assert_eq!(error.field(), Some(format!("/linux/{field}/0").as_str()));
    }
}

#[test]
fn jail_and_propagation() {
    assert_eq!(plan("{}").unwrap().jail, Jail::Chroot);
    let json = |word: &str| format!(r#"{{"linux":{{{MOUNT_NAMESPACE},"rootfsPropagation":"{word}"}}}}"#);
    assert_eq!(plan(&json("")).unwrap().jail, Jail::PivotRoot);
    assert_eq!(plan(&json("")).unwrap().propagation, None);
    let rshared = Propagation { peers: Peers::Shared, recursive: true };
    assert_eq!(plan(&json("rshared")).unwrap().propagation, Some(rshared));
    assert_eq!(plan(&json("bind")).unwrap_err().line(), "rootfsPropagation=bind is not supported");
    let moved = |word| plan_at(&json(word), Pivot::Avoid, false);
    assert_eq!(moved("rslave").unwrap().jail, Jail::MoveMount);
    let text = "rootfsPropagation of [r]private is not safe without pivot_root";
    assert_eq!(moved("private").unwrap_err().line(), text);
    assert_eq!(moved("rprivate").unwrap_err().field(), Some("/linux/rootfsPropagation"));
}

#[test]
fn relative_destinations_are_warned_about() {
    let planned =
        plan(r#"{"mounts":[{"destination":"a","type":"tmpfs"},{"destination":"/b","type":"tmpfs"}]}"#)
            .unwrap();
    assert_eq!(
        planned.warnings,
        ["mount a: relative destination path is **deprecated**, using it as relative to /"]
    );
}

#[test]
fn remount_changes_the_superblock_unless_it_is_a_bind() {
    let superblock =
        |options: &str| match one(&format!(r#"{{"destination":"/a","type":"tmpfs","options":[{options}]}}"#))
            .kind
        {
            Kind::Remount { superblock } => superblock,
            kind => panic!("{kind:?}"),
        };
    let flag = |word: &str| FsOption::Flag(word.into());
    assert_eq!(superblock(r#""remount","ro","sync""#), Some(vec![flag("ro"), flag("sync")]));
    assert_eq!(superblock(r#""remount","bind","ro""#), None);
}
