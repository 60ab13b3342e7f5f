//! Kernel parameters of the container's namespaces (sysctl(8)), written through the private procfs.

use rustix::fs::OFlags;

use crate::error::{During as _, Result};
use crate::proc::Proc;
use crate::sys::files::write_whole;

/// One parameter, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// With dots, for messages.
    pub(crate) name: String,
    /// Its file, relative to /proc/sys.
    pub(crate) path: String,
    pub(crate) value: String,
}

/// Writes them in the order given; `proc` must show the whole of /proc.
pub(crate) fn write(proc: &Proc, sysctls: &[Sysctl]) -> Result<()> {
    for Sysctl { name, path, value } in sysctls {
        let file = proc
            .open_file(&format!("sys/{path}"), OFlags::WRONLY)
            .during(|| format!("open sysctl {name} file"))?;
        write_whole(&file, value.as_bytes())
            .during(|| format!("failed to write sysctl {name} = {value:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Scope;

    fn sysctl(name: &str, value: &str) -> Sysctl {
        Sysctl { name: name.into(), path: name.replace('.', "/"), value: value.into() }
    }

    #[test]
    fn a_parameter_of_the_callers_namespace_is_written() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make a namespace");
            return;
        }
        std::thread::spawn(|| {
            crate::sys::unshare(libc::CLONE_NEWUTS).expect("unshare");
            let proc = Proc::open(Scope::Everything).expect("open proc");
            write(&proc, &[sysctl("kernel.domainname", "knarr.test")]).expect("write");
            assert_eq!(rustix::system::uname().domainname(), c"knarr.test");

            let line = write(&proc, &[sysctl("kernel.no_such_thing", "1")]).expect_err("no file").line();
            assert!(line.starts_with("open sysctl kernel.no_such_thing file: "), "{line}");
            assert!(line.ends_with(": no such file or directory"), "{line}");
        })
        .join()
        .expect("the thread's own assertions");
    }

    #[test]
    fn a_value_that_the_kernel_refuses_is_shown() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make a namespace");
            return;
        }
        std::thread::spawn(|| {
            crate::sys::unshare(libc::CLONE_NEWIPC).expect("unshare");
            let proc = Proc::open(Scope::Everything).expect("open proc");
            let line = write(&proc, &[sysctl("kernel.shm_rmid_forced", "7")]).expect_err("not 0 or 1").line();
            let start = r#"failed to write sysctl kernel.shm_rmid_forced = "7": "#;
            assert!(line.starts_with(start) && line.ends_with(": invalid argument"), "{line}");
        })
        .join()
        .expect("the thread's own assertions");
    }
}
