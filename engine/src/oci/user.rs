//! Who a process is, looked up in the container's own /etc/passwd and /etc/group with the leniency and the words of moby's
//! sys/user. The files are the image's: they are opened below the root, and read up to a bound.

use std::io::Read as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::{During as _, Error, Result};

/// Far more than any real file has, and nothing that hurts.
const LONGEST: u64 = 16 << 20;
/// User and group IDs that Docker takes (moby's sys/user).
const IDS: std::ops::RangeInclusive<i64> = 0..=(1 << 31) - 1;

const NO_USER: &str = "no matching entries in passwd file";
const NO_GROUP: &str = "no matching entries in group file";

/// IDs of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The primary group first, as Docker has it.
    pub(super) groups: Vec<u32>,
}

/// Refuses a user whom the container does not have.
pub(crate) fn check_user(root: BorrowedFd<'_>, spec: &str) -> Result<()> {
    look_up(root, spec, &[]).map(drop)
}

/// The identity of `name`, `uid`, `name:group` and their like, with more groups by name or ID.
pub(super) fn look_up(root: BorrowedFd<'_>, spec: &str, more_groups: &[String]) -> Result<Identity> {
    let passwd = read(root, "etc/passwd")?;
    let group = read(root, "etc/group")?;
    find(spec, more_groups, &passwd, &group)
}

/// User and group of `spec` for files that are copied into the container, with the words that Docker has for that.
pub(crate) fn owner(root: BorrowedFd<'_>, spec: &str) -> Result<(u32, u32)> {
    let found = look_up(root, spec, &[]).map_err(|error| {
        let words = |kind: &str| {
            let (name, why) =
                error.message.strip_prefix(&format!("unable to find {kind} "))?.split_once(": ")?;
            Some(Error::invalid(format!("failed to look up {kind} {name:?} in container: {why}")))
        };
        words("user").or_else(|| words("group")).unwrap_or(error.clone())
    })?;
    Ok((found.uid, found.gid))
}

/// A file of the container. That there is none is no failure: IDs need no names.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>> {
    // Not to wait for a writer, should it be a FIFO.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(file) = openat2(root, path, flags, Mode::empty(), resolve) else { return Ok(Vec::new()) };
    let file = std::fs::File::from(file);
    let act = || format!("read /{path} of the container");
    if !file.metadata().while_doing(act())?.is_file() {
        return Ok(Vec::new());
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text).while_doing(act())?;
    if text.len() as u64 > LONGEST {
        return Err(Error::invalid(format!("{}: it is longer than {LONGEST} bytes", act())));
    }
    Ok(text)
}

/// A line's fields. Lines may have blanks around them and be empty.
fn lines(text: &[u8]) -> impl Iterator<Item = Vec<String>> + '_ {
    text.split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned())
        .filter(|line| !line.is_empty())
        .map(|line| line.split(':').map(str::to_owned).collect())
}

/// A number as Go's `Atoi` has it; what is no number counts as 0 in these files.
fn number(fields: &[String], at: usize) -> i64 {
    fields.get(at).and_then(|field| integer(field)).unwrap_or(0)
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn id(number: i64) -> Result<u32> {
    let fits =
        Some(number).filter(|number| IDS.contains(number)).and_then(|number| u32::try_from(number).ok());
    fits.ok_or_else(|| {
        Error::invalid(format!("uids and gids must be in range {}-{}", IDS.start(), IDS.end()))
    })
}

struct Group {
    name: String,
    gid: i64,
    members: Vec<String>,
}

fn groups(text: &[u8]) -> impl Iterator<Item = Group> + '_ {
    lines(text).filter(|fields| !fields[0].starts_with('#')).map(|fields| Group {
        gid: number(&fields, 2),
        members: fields.get(3).map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        name: fields.into_iter().next().unwrap_or_default(),
    })
}

fn find(spec: &str, more_groups: &[String], passwd: &[u8], group: &[u8]) -> Result<Identity> {
    let mut parts = spec.split(':');
    let (user, wanted) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let uid = integer(user);
    let entry = lines(passwd).find(|fields| match (user, uid) {
        ("", _) => number(fields, 2) == 0,
        (_, Some(uid)) => number(fields, 2) == uid,
        (name, None) => fields[0] == name,
    });
    let (name, uid, mut gid) = match (entry, uid) {
        (Some(fields), _) => {
            let ids = (number(&fields, 2), number(&fields, 3));
            (fields.into_iter().next().unwrap_or_default(), ids.0, ids.1)
        }
        (None, _) if user.is_empty() => (String::new(), 0, 0),
        (None, Some(uid)) => (String::new(), uid, 0),
        (None, None) => return Err(Error::invalid(format!("unable to find user {user}: {NO_USER}"))),
    };
    let mut supplementary = Vec::new();
    if !wanted.is_empty() {
        gid = group_id(wanted, group)?;
    } else if !name.is_empty() {
        let of_user = groups(group).filter(|group| group.members.contains(&name));
        supplementary.extend(of_user.map(|group| group.gid));
    }
    supplementary.extend(additional(more_groups, group)?);
    let mut list = vec![id(gid)?];
    for group in supplementary {
        let group = id(group)?;
        if !list.contains(&group) {
            list.push(group);
        }
    }
    Ok(Identity { uid: id(uid)?, gid: id(gid)?, groups: list })
}

fn group_id(wanted: &str, text: &[u8]) -> Result<i64> {
    let number = integer(wanted);
    let found =
        groups(text).find(|group| number.map_or_else(|| group.name == wanted, |gid| group.gid == gid));
    match (found, number) {
        (Some(group), _) => Ok(group.gid),
        (None, Some(gid)) => Ok(gid),
        (None, None) => Err(Error::invalid(format!("unable to find group {wanted}: {NO_GROUP}"))),
    }
}

/// A name is looked for before a number: a group may be called as another's number is.
fn additional(wanted: &[String], text: &[u8]) -> Result<Vec<i64>> {
    let one = |wanted: &String| {
        let found = groups(text).find(|group| group.name == *wanted || group.gid.to_string() == *wanted);
        found
            .map(|group| group.gid)
            .or_else(|| integer(wanted))
            .ok_or_else(|| Error::invalid(format!("Unable to find group {wanted}: {NO_GROUP}")))
    };
    wanted.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root user:/root:/bin/bash\nadm:x:42:43:adm:/var/adm:/bin/false\n111:x:222:333::/var/garbage\nodd:x:111:112::/home/odd:::::\n  user7456:x:7456:100:Vasya:/home/user7456\nthis is just some garbage data\n";
    const GROUP: &[u8] = b"root:x:0:root\nadm:x:43:\n#comment:x:9:adm\ngrp:x:1234:root,adm,user7456\n444:x:555:111\nodd:x:444:\nthis is just some garbage data\nmany:x:10:user7456";

    fn identity(uid: u32, gid: u32, more: &[u32]) -> Identity {
        Identity { uid, gid, groups: [gid].iter().chain(more).copied().collect() }
    }

    #[test]
    fn users_as_docker_finds_them() {
        for (spec, expected) in [
            ("root", identity(0, 0, &[1234])),
            ("", identity(0, 0, &[1234])),
            ("adm", identity(42, 43, &[1234])),
            ("root:adm", identity(0, 43, &[])),
            ("adm:1234", identity(42, 1234, &[])),
            ("42:1234", identity(42, 1234, &[])),
            ("1337:1234", identity(1337, 1234, &[])),
            ("1337", identity(1337, 0, &[])),
            // A number is never a name.
            ("111", identity(111, 112, &[])),
            ("111:444", identity(111, 444, &[])),
            ("user7456", identity(7456, 100, &[1234, 10])),
            ("0:10:ignored", identity(0, 10, &[])),
        ] {
            assert_eq!(find(spec, &[], PASSWD, GROUP).unwrap(), expected, "{spec}");
        }
    }

    #[test]
    fn who_is_not_there() {
        for (spec, text) in [
            ("notuser", "unable to find user notuser: no matching entries in passwd file"),
            ("notuser:notgroup", "unable to find user notuser: no matching entries in passwd file"),
            ("root:notgroup", "unable to find group notgroup: no matching entries in group file"),
            ("-1", "uids and gids must be in range 0-2147483647"),
            ("2147483648", "uids and gids must be in range 0-2147483647"),
            ("0:-5", "uids and gids must be in range 0-2147483647"),
        ] {
            assert_eq!(find(spec, &[], PASSWD, GROUP).unwrap_err().message, text, "{spec}");
        }
        assert_eq!(find("8:7", &[], b"", b"").unwrap(), identity(8, 7, &[]));
        assert_eq!(find("", &[], b"", b"").unwrap(), identity(0, 0, &[]));
    }

    #[test]
    fn owners_of_copied_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/passwd"), PASSWD).unwrap();
        fs::write(folder.path().join("etc/group"), GROUP).unwrap();
        let root = fs::File::open(folder.path()).unwrap();
        let found = |spec| owner(root.as_fd(), spec).map_err(|error| error.message);
        for (spec, ids) in [("adm", (42, 43)), ("7456", (7456, 100)), ("8:grp", (8, 1234)), (":33", (0, 33))]
        {
            assert_eq!(found(spec), Ok(ids), "{spec}");
        }
        for (spec, text) in [
            ("x", "failed to look up user \"x\" in container: no matching entries in passwd file"),
            ("adm:y", "failed to look up group \"y\" in container: no matching entries in group file"),
        ] {
            assert_eq!(found(spec), Err(text.to_owned()));
        }
    }

    #[test]
    fn more_groups() {
        let more = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            find("1337", &names, PASSWD, GROUP).map(|found| found.groups).map_err(|error| error.message)
        };
        assert_eq!(more(&["adm", "777", "grp", "adm"]).unwrap(), [0, 43, 777, 1234]);
        assert_eq!(more(&["444"]).unwrap(), [0, 555]);
        assert_eq!(
            more(&["nobody"]).unwrap_err(),
            "Unable to find group nobody: no matching entries in group file"
        );
    }

    #[test]
    fn files_are_those_of_the_container() {
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("root/etc");
        fs::create_dir_all(&etc).unwrap();
        let (outside, inside) = (folder.path().join("passwd"), etc.join("passwd"));
        fs::write(&outside, "x:x:7:7::/:/\n").unwrap();
        symlink(&outside, &inside).unwrap();
        let root = fs::File::open(folder.path().join("root")).unwrap();
        let found = look_up(root.as_fd(), "x", &[]).unwrap_err();
        assert_eq!(found.message, "unable to find user x: no matching entries in passwd file");
        symlink("/../../passwd", etc.join("group")).unwrap();
        assert_eq!(look_up(root.as_fd(), "5", &[]).unwrap(), identity(5, 0, &[]));
        fs::remove_file(&inside).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &inside,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(look_up(root.as_fd(), "5", &[]).unwrap(), identity(5, 0, &[]));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::File::create(folder.path().join("etc/passwd")).unwrap().set_len(LONGEST + 1).unwrap();
        let root = fs::File::open(folder.path()).unwrap();
        let found = look_up(root.as_fd(), "0", &[]).unwrap_err();
        assert_eq!(found.message, "read /etc/passwd of the container: it is longer than 16777216 bytes");
    }
}
