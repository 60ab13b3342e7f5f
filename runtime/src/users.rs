//! The home directory of a user, from the container's own /etc/passwd (passwd(5)).
//!
//! Read by hand: the C library's lookup would load modules that the image chose. The file is the image's, so it is
//! opened as nothing but a file and read up to a limit.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use crate::error::{During as _, Result};
use crate::sys::{self, Errno, Named as _};

const PASSWD: &str = "/etc/passwd";
/// Bytes; about forty thousand users.
const MAX_PASSWD: u64 = 4 << 20;

/// The home of `uid` in the caller's root, `/` where there is none, and what kept us from reading the file.
pub(crate) fn home(uid: u32) -> (CString, Option<String>) {
    let found = read_home(uid)
        .during(|| format!("HOME not set in process.env, and getting UID {uid} homedir failed"));
    match found {
        Ok(home) => (home.unwrap_or_else(|| c"/".into()), None),
        Err(error) => (c"/".into(), Some(error.line())),
    }
}

fn read_home(uid: u32) -> Result<Option<CString>> {
    // A device is not even opened: some act on that alone.
    match statat(CWD, PASSWD, AtFlags::empty()) {
        Ok(stat) => require_file(&stat)?,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => Err(errno).named(|| format!("stat {PASSWD}"))?,
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(CWD, PASSWD, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        result => result.named(|| format!("open {PASSWD}"))?,
    };
    require_file(&fstat(&file).named(|| format!("fstat {PASSWD}"))?)?;
    let home = find_home(BufReader::new(File::from(file).take(MAX_PASSWD)), uid)
        .named(|| format!("read {PASSWD}"))?;
    Ok(home)
}

fn require_file(stat: &Stat) -> Result<()> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(sys::Error { call: format!("open {PASSWD} as a file"), errno: Errno::INVAL }.into())
}

fn find_home(passwd: impl BufRead, uid: u32) -> std::io::Result<Option<CString>> {
    for line in passwd.split(b'\n') {
        if let Some(home) = home_in(&line?, uid) {
            return Ok(Some(home));
        }
    }
    Ok(None)
}

/// The sixth field of a line whose third is `uid`; a line that is damaged is as good as absent.
fn home_in(line: &[u8], uid: u32) -> Option<CString> {
    let mut fields = line.split(|byte| *byte == b':');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?;
    // `parse` takes a leading plus.
    if number.starts_with('+') || number.parse() != Ok(uid) {
        return None;
    }
    let home = fields.nth(2)?;
    if home.is_empty() { None } else { CString::new(home).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_of(uid: u32, passwd: &str) -> Option<String> {
        let home = find_home(passwd.as_bytes(), uid).expect("memory can be read");
        home.map(|home| home.into_string().expect("utf-8"))
    }

    #[test]
    fn the_first_line_of_the_user_counts() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nb:x:5:5::/home/b:/bin/sh\nc:x:5:6::/home/c:\n";
        assert_eq!(home_of(0, passwd).as_deref(), Some("/root"));
        assert_eq!(home_of(5, passwd).as_deref(), Some("/home/b"));
        assert_eq!(home_of(6, passwd), None);
    }

    #[test]
    fn damaged_lines_are_nobody() {
        for line in
            ["", ":", "x", "a:b:", "a:x:0", "a:x::0::/h:", "a:x:+7:0::/h:", "a:x:7x:0::/h:", "a:x:7:0:::"]
        {
            assert_eq!((home_of(0, line), home_of(7, line)), (None, None), "{line:?}");
        }
        assert_eq!(home_of(7, "a:x:7:0:gecos:/h").as_deref(), Some("/h"));
    }

    #[test]
    fn a_nul_byte_is_no_path() {
        assert_eq!(home_of(7, "a:x:7:0::/h\0i:"), None);
    }
}
