//! Making the directories, and what must be there before a process can be moved in.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode};
use rustix::io::{self, retry_on_intr};

use crate::cgroup::apply::write_group;
use crate::cgroup::{Cgroup, Node};
use crate::dir::{Dir, read_path};
use crate::error::{Errno, Error, Result};
use crate::limits::{Limits, Write};

/// Controllers of version 2 that work on processes, not threads, and so cannot be used in a threaded cgroup.
const DOMAIN_CONTROLLERS: [&str; 6] = ["memory", "io", "hugetlb", "rdma", "misc", "dmem"];

const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

impl Cgroup {
    /// Makes the directories and, on version 2, enables the controllers above them. A scope of systemd's is made later,
    /// by [`Cgroup::join`]: there is none without a process.
    ///
    /// A rootless cgroup that nobody asked for is left out of a hierarchy in which it may not be made; on version 2 that
    /// is an error if `limits` need it, on version 1 [`Cgroup::apply`] will say so. Directories made before a failure
    /// are removed.
    ///
    /// # Errors
    /// A directory that cannot be made, or a cgroup on version 2 that cannot hold what `limits` ask for.
    pub fn create(&mut self, limits: &Limits) -> Result<()> {
        if let Some(managed) = &self.unit {
            return self.create_unit(managed, limits);
        }
        let mut made = Vec::new();
        let result = self.make_all(limits, &mut made);
        if result.is_err() {
            // A directory made again is another one.
            self.nodes.iter_mut().for_each(|node| node.dir = OnceCell::new());
            for path in made.iter().rev() {
                // The first error is the answer; what cannot be removed is not empty, so not ours alone.
                let _ = fs::rmdir(path);
            }
        }
        result
    }

    fn make_all(&mut self, limits: &Limits, made: &mut Vec<PathBuf>) -> Result<()> {
        let mut left_out = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match node.make(limits, self.pure_v2, made) {
                Err(error) if self.optional && error.is_permission() => {
                    if self.pure_v2 && !limits.writes().is_empty() {
                        return Err(Error::RootlessNeedsPermission { source: Box::new(error) });
                    }
                    left_out.push(index);
                }
                result => result?,
            }
        }
        for index in left_out.into_iter().rev() {
            let node = self.nodes.remove(index);
            self.paths.retain(|controller, _| !node.controllers.contains(controller));
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn make(&self, limits: &Limits, pure_v2: bool, made: &mut Vec<PathBuf>) -> Result<()> {
        let before = made.len();
        let fresh = make_dir(&self.path, made)?;
        if pure_v2 {
            return self.enable_controllers(self.dir()?, limits);
        }
        for controller in &self.controllers {
            match controller.as_str() {
                "cpuset" => self.fill_cpuset(self.dir()?, limits, fresh)?,
                "cpu" => self.give_realtime(limits, &made[before..])?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A version 1 cpuset is made empty and takes no process until it has CPUs and memory nodes: those asked for, or
    /// the parent's. The kernel does that only if the hierarchy says `cgroup.clone_children`.
    fn fill_cpuset(&self, dir: &Dir, limits: &Limits, fresh: bool) -> Result<()> {
        // First the parent's: a cpuset may only have what its parent has.
        let parents = filled_cpuset(self.path.parent().unwrap_or(&self.path), &self.mount_point)?;
        for (file, value) in CPUSET_FILES.iter().zip(parents) {
            let given = limits.writes().iter().any(|write| write.file == *file);
            if !given && (fresh || dir.read(file)?.trim().is_empty()) {
                dir.write(file, &value)?;
            }
        }
        write_group(dir, &early(limits, "cpuset."))
    }

    /// A real-time process cannot join a cgroup without real-time bandwidth, and a cgroup has none where the one above it,
    /// possibly made just now, has none.
    fn give_realtime(&self, limits: &Limits, made: &[PathBuf]) -> Result<()> {
        let early = early(limits, "cpu.rt_");
        if early.is_empty() {
            return Ok(());
        }
        let mut above = made.iter().filter(|path| **path != self.path);
        above.try_for_each(|path| write_group(&Dir::open(path)?, &early))?;
        write_group(self.dir()?, &early)
    }

    /// All controllers of the hierarchy are enabled down to here, whether a limit needs them or not: their statistics
    /// count as well. One look tells whether they are already, as they are for all but the first container.
    fn enable_controllers(&self, dir: &Dir, limits: &Limits) -> Result<()> {
        let file = "cgroup.controllers";
        let offered = Dir::open(&self.mount_point)?.read(file)?;
        let enabled = dir.read(file)?;
        let missing: Vec<&str> = offered
            .split_whitespace()
            .filter(|name| !enabled.split_whitespace().any(|other| other == *name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> =
            self.path.ancestors().skip(1).take_while(|path| path.starts_with(&self.mount_point)).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            enable_below(&Dir::open(ancestor)?, &missing);
        }
        self.settle_type(dir, limits)
    }

    /// A cgroup made below a threaded one is unusable until it is made threaded too, and then has no domain controllers.
    fn settle_type(&self, dir: &Dir, limits: &Limits) -> Result<()> {
        let Some(kind) = dir.read_if_present("cgroup.type")? else {
            return Ok(());
        };
        let needs_domain =
            limits.writes().iter().any(|write| DOMAIN_CONTROLLERS.contains(&write.controller.as_ref()));
        let state = match kind.trim() {
            "domain invalid" if needs_domain => "an invalid state",
            "domain threaded" | "threaded" if needs_domain => "threaded mode",
            "domain invalid" => return dir.write("cgroup.type", "threaded"),
            _ => return Ok(()),
        };
        Err(Error::NoDomainControllers { path: self.path.clone(), state: state.to_owned() })
    }
}

/// What must be set before a process comes.
fn early<'a>(limits: &'a Limits, prefix: &str) -> Vec<&'a Write> {
    limits.writes().iter().filter(|write| write.file.starts_with(prefix)).collect()
}

/// All at once; if the kernel refuses one (it refuses them all then), each for itself. What cannot be enabled is told
/// when a limit needs it.
fn enable_below(dir: &Dir, controllers: &[&str]) {
    let file = "cgroup.subtree_control";
    let all: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    if dir.write(file, &all.join(" ")).is_err() && all.len() > 1 {
        for one in &all {
            drop(dir.write(file, one));
        }
    }
}

/// Whether the directory was made now; its parents are made as well.
fn make_dir(path: &Path, made: &mut Vec<PathBuf>) -> Result<bool> {
    let mode = Mode::from_raw_mode(0o755);
    match retry_on_intr(|| fs::mkdir(path, mode)) {
        Ok(()) => {
            made.push(path.to_owned());
            Ok(true)
        }
        Err(io::Errno::EXIST) => Ok(false),
        Err(io::Errno::NOENT) if path.parent().is_some() => {
            make_dir(path.parent().unwrap_or(path), made)?;
            make_dir(path, made)
        }
        // A read-only mount refuses before it looks: the cgroup may be there.
        Err(_) if path.is_dir() => Ok(false),
        Err(source) => Err(Error::MakeDir { path: path.to_owned(), source: Errno(source) }),
    }
}

/// What a cpuset has; an empty one is given what its nearest ancestor has.
fn filled_cpuset(path: &Path, mount_point: &Path) -> Result<[String; 2]> {
    let read = |file| read_path(&path.join(file)).map(|text| text.trim().to_owned());
    let mut values = [read(CPUSET_FILES[0])?, read(CPUSET_FILES[1])?];
    let parent = path.parent().filter(|parent| parent.starts_with(mount_point));
    if let Some(parent) = parent.filter(|_| values.iter().any(String::is_empty)) {
        let parents = filled_cpuset(parent, mount_point)?;
        let dir = Dir::open(path)?;
        for (file, (value, parents)) in CPUSET_FILES.iter().zip(values.iter_mut().zip(parents)) {
            if value.is_empty() {
                dir.write(file, &parents)?;
                *value = parents;
            }
        }
    }
    Ok(values)
}
