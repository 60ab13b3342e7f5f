//! Resolution below a root: every case with openat2 and without.

use std::path::Path;

use rustix::fs::CWD;

use super::super::scratch::Scratch;
use super::*;

/// Every case runs with openat2 and without.
fn each(scratch: &Scratch, case: impl Fn(&RootDir)) {
    for refused in [false, true] {
        let fd = open_at(CWD, scratch.join("root").to_str().unwrap(), OFlags::PATH).unwrap();
        let root = RootDir { fd, openat2_refused: Cell::new(refused) };
        case(&root);
    }
}

fn read(root: &RootDir, path: &str) -> Result<Vec<u8>> {
    // The content, found without the name: by the descriptor's own link.
    let found = root.find(path, Missing::Fail, Last::Follow)?;
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found.fd));
    Ok(std::fs::read(link).unwrap())
}

fn errno<T>(result: Result<T>) -> Errno {
    result.map(drop).unwrap_err().errno
}

/// `root` is the root, `secret` and `outside` are its neighbours.
fn world() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("secret", "host");
    scratch.directory("outside");
    scratch.file("root/etc/passwd", "inside");
    scratch.file("root/secret", "inside");
    scratch
}

#[test]
fn links_lead_nowhere_but_inside() {
    let scratch = world();
    scratch.link("root/absolute", "/secret");
    scratch.link("root/up", "../../../../../secret");
    scratch.link("root/etc/up", "../../secret");
    scratch.link("root/dir", "/etc/../etc");
    scratch.link("root/chain", "absolute");
    each(&scratch, |root| {
        for path in
            ["absolute", "up", "etc/up", "dir/passwd", "chain", "dir/../secret", "../secret", "dir/up"]
        {
            assert_eq!(read(root, path).unwrap(), b"inside", "{path}");
        }
    });
}

#[test]
fn real_path_of_a_link_is_told() {
    let scratch = world();
    scratch.link("root/a", "/etc/./x/../passwd");
    scratch.directory("root/etc/x");
    scratch.link("root/top", "/etc/..");
    each(&scratch, |root| {
        let path = |path| root.find(path, Missing::Fail, Last::Follow).unwrap().path;
        assert_eq!(path("a"), "etc/passwd");
        assert_eq!(path("top"), "");
        assert_eq!(path("/etc//passwd"), "etc/passwd");
    });
}

#[test]
fn loops_and_files_as_directories_are_errors() {
    let scratch = world();
    scratch.link("root/loop", "loop");
    scratch.link("root/a", "b");
    scratch.link("root/b", "a");
    each(&scratch, |root| {
        for path in ["loop", "a", "loop/x"] {
            assert_eq!(errno(root.find(path, Missing::Directory, Last::Follow)), Errno::LOOP, "{path}");
        }
        assert_eq!(errno(root.find("secret/x", Missing::Directory, Last::Follow)), Errno::NOTDIR);
        assert_eq!(errno(root.find("none/x", Missing::Fail, Last::Follow)), Errno::NOENT);
    });
}

#[test]
fn missing_parts_are_made_inside_even_behind_dangling_links() {
    let scratch = world();
    scratch.link("root/dangling", "/outside/new");
    scratch.link("root/etc/far", "../../../../outside/far");
    each(&scratch, |root| {
        assert_eq!(
            root.find("dangling/deep", Missing::Directory, Last::Follow).unwrap().path,
            "outside/new/deep"
        );
        assert_eq!(root.find("etc/far/file", Missing::File, Last::Follow).unwrap().path, "outside/far/file");
        assert!(scratch.join("root/outside/new/deep").is_dir());
        assert!(scratch.join("root/outside/far/file").is_file());
        assert_eq!(
            std::fs::read_dir(scratch.join("outside")).unwrap().count(),
            0,
            "nothing is made on the host"
        );
        std::fs::remove_dir_all(scratch.join("root/outside")).unwrap();
    });
}

#[test]
fn what_exists_is_left_as_it_is() {
    let scratch = world();
    each(&scratch, |root| {
        assert_eq!(root.find("etc/passwd", Missing::File, Last::Follow).unwrap().path, "etc/passwd");
        assert_eq!(read(root, "etc/passwd").unwrap(), b"inside");
        // A file where a directory was wanted: the mount will say so.
        assert_eq!(root.find("etc/passwd", Missing::Directory, Last::Follow).unwrap().path, "etc/passwd");
    });
}

#[test]
fn ordinary_directory_has_no_link_on_its_way() {
    let scratch = world();
    scratch.link("root/proc", "/etc");
    scratch.link("root/dir", "etc");
    each(&scratch, |root| {
        for path in ["proc", "dir/sub", "secret"] {
            assert_eq!(errno(root.ordinary_directory(path)), Errno::NOTDIR, "{path}");
        }
        assert!(root.ordinary_directory("etc").is_ok());
        assert!(root.ordinary_directory("sys/deep").is_ok());
        assert!(scratch.join("root/sys/deep").is_dir());
        std::fs::remove_dir_all(scratch.join("root/sys")).unwrap();
        std::fs::remove_dir_all(scratch.join("root/etc/sub")).ok();
    });
}

#[test]
fn last_link_is_kept_when_asked() {
    let scratch = world();
    scratch.link("root/link", "/etc/passwd");
    each(&scratch, |root| {
        let found = root.find("link", Missing::Fail, Last::Keep).unwrap();
        assert_eq!(found.path, "link");
        assert_eq!(read_link_at(&found.fd, "").unwrap(), "/etc/passwd");
    });
}

#[test]
fn symlink_is_made_once_and_must_agree() {
    let scratch = world();
    each(&scratch, |root| {
        root.symlink("/x", "a/b/link").unwrap();
        root.symlink("/x", "a/b/link").unwrap();
        assert_eq!(errno(root.symlink("/y", "a/b/link")), Errno::EXIST);
        assert_eq!(std::fs::read_link(scratch.join("root/a/b/link")).unwrap(), Path::new("/x"));
    });
}

/// Another process renames a directory out of the root and back while paths through it are looked up.
#[test]
fn renames_by_others_do_not_lead_out() {
    let scratch = world();
    scratch.file("root/a/b/c/secret", "inside");
    let (inner, outer) = (scratch.join("root/a/b"), scratch.join("outside/b"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::rename(&inner, &outer).unwrap();
                std::fs::rename(&outer, &inner).unwrap();
            }
        });
        each(&scratch, |root| {
            for _ in 0..2000 {
                if let Ok(content) = read(root, "a/b/c/../../../secret") {
                    assert_eq!(content, b"inside");
                }
            }
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
