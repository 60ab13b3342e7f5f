//! The user of an image: `USER[:GROUP]`, names or numbers, looked up in the image's own /etc/passwd and /etc/group.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::failure::Failure;

/// A file of users that is longer is no such file.
const MOST: u64 = 1 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Looks a user up below the root of a file system. Links are followed inside it.
pub(crate) fn resolve(root: BorrowedFd<'_>, user: &str) -> Result<Identity, Failure> {
    find(user, &read(root, "etc/passwd")?, &read(root, "etc/group")?)
}

fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, Failure> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat2(
        root.as_fd(),
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let named = |source| Failure::File { act: "read the image's", path: PathBuf::from(path), source };
    let mut bytes = Vec::new();
    match opened {
        Err(Errno::NOENT | Errno::NOTDIR) => {}
        opened => {
            let file = File::from(opened.map_err(|errno| named(errno.into()))?);
            file.take(MOST).read_to_end(&mut bytes).map_err(named)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(user: &str, passwd: &str, group: &str) -> Result<Identity, Failure> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let unknown = || Failure::User(user.to_owned());
    let name = if name.is_empty() { "0" } else { name };
    let entry = fields(passwd).find(|fields| is(fields, name, 2));
    let number = |fields: &[&str], place: usize| fields.get(place).and_then(|text| text.parse().ok());
    let uid = entry
        .as_ref()
        .and_then(|fields| number(fields, 2))
        .or_else(|| name.parse().ok())
        .ok_or_else(unknown)?;
    let own = entry.as_ref().and_then(|fields| number(fields, 3)).unwrap_or(0);
    let Some(group_name) = group_name else {
        let login = entry.as_ref().map_or(name, |fields| fields[0]);
        let member =
            |fields: &Vec<&str>| fields.get(3).is_some_and(|list| list.split(',').any(|one| one == login));
        let groups = fields(group).filter(member).filter_map(|fields| number(&fields, 2)).collect();
        return Ok(Identity { uid, gid: own, groups });
    };
    let found = fields(group).find(|fields| is(fields, group_name, 2)).and_then(|fields| number(&fields, 2));
    let gid = found.or_else(|| group_name.parse().ok()).ok_or_else(unknown)?;
    Ok(Identity { uid, gid, groups: Vec::new() })
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// Whether a line is the one of that name, or of that number in the field at `place`.
fn is(fields: &[&str], name: &str, place: usize) -> bool {
    fields.first() == Some(&name) || fields.get(place) == Some(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:2::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:daemon,other\nextra:x:101:other\n";

    #[test]
    fn names_and_numbers() {
        for (user, uid, gid, groups) in [
            ("", 0, 0, vec![]),
            ("daemon", 1, 2, vec![100]),
            ("1", 1, 2, vec![100]),
            ("77", 77, 0, vec![]),
            ("daemon:extra", 1, 101, vec![]),
            ("77:88", 77, 88, vec![]),
            ("root:100", 0, 100, vec![]),
        ] {
            assert_eq!(find(user, PASSWD, GROUP).unwrap(), Identity { uid, gid, groups }, "{user}");
        }
        assert!(find("nobody", PASSWD, GROUP).is_err());
        assert!(find("0:nobody", PASSWD, GROUP).is_err());
    }
}
