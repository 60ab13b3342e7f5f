//! `--pid-file`: the pid in decimal, without a newline; a reader sees the whole file or none.

use std::fs::{OpenOptions, rename};
use std::io::Write;
use std::path::Path;

use rustix::process::Pid;

use crate::error::{During, Error, Result};
use crate::sys::Named;

pub(crate) fn write(path: &Path, pid: Pid) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::Usage(format!("{}: is not the path of a file", path.display())));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    write_new(&temporary, pid)
        .and_then(|()| rename(&temporary, path))
        .named(|| format!("write {}", path.display()))
        .during(|| "write the pid file".into())
}

fn write_new(path: &Path, pid: Pid) -> std::io::Result<()> {
    // A left-over of a killed runtime must not stop this one.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(pid.as_raw_nonzero().to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_number_alone_and_nothing_stays_beside_it() {
        let dir = std::env::temp_dir().join(format!("knarr-pid-file-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("pid");
        std::fs::write(dir.join(".pid"), "left over").unwrap();
        write(&path, rustix::process::getpid()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(write(Path::new("/"), rustix::process::getpid()).is_err());
    }
}
