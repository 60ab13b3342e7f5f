//! The name we were started under, and what depends on it: an engine that is pointed at a link named `runc` or
//! `crun` gets that program's state directory, version lines and silence.

use std::path::Path;

use crate::log::Level;
use crate::spec;

/// The releases whose command line and texts we follow; build metadata says who is speaking.
const AS_RUNC: &str = concat!("1.5.0+knarr.", env!("CARGO_PKG_VERSION"));
const AS_CRUN: &str = concat!("1.29.1+knarr.", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Knarr,
    Runc,
    Crun,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// As we were called, for errors: runc begins some of them with it.
    pub(crate) argv0: String,
    pub(crate) manners: Manners,
}

impl Program {
    /// The commit this binary was built from; the Makefile says it.
    pub(crate) const COMMIT: &str = match option_env!("KNARR_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    };

    pub(crate) fn new(argv0: &str) -> Self {
        let mut program = Self { argv0: argv0.to_owned(), manners: Manners::Knarr };
        program.manners = match program.name() {
            "runc" => Manners::Runc,
            "crun" => Manners::Crun,
            _ => Manners::Knarr,
        };
        program
    }

    /// The last component of the path we were called by.
    pub(crate) fn name(&self) -> &str {
        Path::new(&self.argv0).file_name().and_then(|name| name.to_str()).unwrap_or("knarr")
    }

    /// What we answer as, and the directory below `/run` or `$XDG_RUNTIME_DIR` that holds the state by default.
    pub(super) fn role(&self) -> &'static str {
        match self.manners {
            Manners::Knarr => "knarr",
            Manners::Runc => "runc",
            Manners::Crun => "crun",
        }
    }

    /// crun keeps warnings to itself unless asked.
    pub(super) fn default_level(&self) -> Level {
        if self.manners == Manners::Crun { Level::Error } else { Level::Info }
    }

    pub(crate) fn version(&self) -> &'static str {
        match self.manners {
            Manners::Knarr => env!("CARGO_PKG_VERSION"),
            Manners::Runc => AS_RUNC,
            Manners::Crun => AS_CRUN,
        }
    }

    /// What `--version` prints. dockerd takes the first line that contains `version` and the one that begins with
    /// `commit:`; containerd and podman read the lines below under the name `runc` or `crun`, and need nothing of
    /// them under another.
    pub(super) fn version_lines(&self, root: &Path) -> String {
        let name = self.role();
        let head = format!("{name} version {}\ncommit: {}\n", self.version(), Self::COMMIT);
        match self.manners {
            Manners::Knarr | Manners::Runc => format!("{head}spec: {}\n", spec::VERSION),
            Manners::Crun => {
                let root = root.display();
                format!("{head}rundir: {root}\nspec: 1.0.0\n+SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(argv0: &str) -> String {
        Program::new(argv0).version_lines(Path::new("/run/crun"))
    }

    #[test]
    fn the_base_name_decides() {
        for (argv0, manners, name) in [
            ("/usr/sbin/runc", Manners::Runc, "runc"),
            ("crun", Manners::Crun, "crun"),
            ("./knarr", Manners::Knarr, "knarr"),
            ("runc-static", Manners::Knarr, "runc-static"),
            ("", Manners::Knarr, "knarr"),
            ("/", Manners::Knarr, "knarr"),
        ] {
            let program = Program::new(argv0);
            assert_eq!((program.manners, program.name()), (manners, name), "{argv0:?}");
        }
    }

    #[test]
    fn as_runc_the_lines_are_those_go_runc_and_the_test_suite_read() {
        let text = version("runc");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("runc version 1."), "{text}");
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert_eq!(lines[2], "spec: 1.3.0");
    }

    #[test]
    fn as_knarr_dockerd_finds_name_version_and_commit() {
        let text = version("/opt/knarr");
        let line = text.lines().find(|line| line.contains("version")).unwrap();
        let (name, number) = line.split_once("version").unwrap();
        assert_eq!((name.trim(), number.trim()), ("knarr", env!("CARGO_PKG_VERSION")));
        assert!(text.lines().any(|line| line.starts_with("commit:")));
    }

    #[test]
    fn as_crun_the_features_stand_on_the_last_line() {
        let text = version("crun");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("crun version 1."), "{text}");
        assert_eq!(lines[2], "rundir: /run/crun");
        assert_eq!(lines[3], "spec: 1.0.0");
        assert!(lines[4].split(' ').all(|feature| feature.starts_with('+')), "{text}");
        assert_eq!(lines.len(), 5);
    }
}
