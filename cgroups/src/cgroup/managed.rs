//! A cgroup that systemd makes: when the unit is started, and what is left to do in the file system.

use std::cell::{Cell, RefCell};

use rustix::process::Pid;

use crate::cgroup::{Cgroup, Request, locate};
use crate::error::{Error, Result};
use crate::hierarchy::{Hierarchies, Mode};
use crate::limits::Limits;
use crate::systemd::{self, Bus, Manager, Property, Unit, Value, annotation_properties, pid_value};

/// The version that knows `OOMPolicy=` for scopes.
const OOM_POLICY_SINCE: u32 = 253;

/// The unit behind a cgroup.
#[derive(Debug)]
pub(super) struct Managed {
    unit: Unit,
    bus: Bus,
    mode: Mode,
    annotations: Vec<Property>,
    /// Connected when systemd is asked first.
    manager: RefCell<Option<Manager>>,
    /// A new unit, its limits known, waits for its first process: there is no scope without one.
    waiting: RefCell<Option<Limits>>,
    /// Limits that the unit has: they are not sent twice.
    in_force: RefCell<Vec<Property>>,
    started: Cell<bool>,
    warnings: RefCell<Vec<String>>,
}

impl Cgroup {
    pub(super) fn locate_unit(hierarchies: &Hierarchies, request: &Request) -> Result<Self> {
        let mode = hierarchies.mode();
        let user = request.rootless && mode == Mode::Unified;
        let (bus, slice) = if user { (Bus::User, "user.slice") } else { (Bus::System, "system.slice") };
        let unit = Unit::parse(request.cgroups_path, request.id, request.scope_prefix, slice)?;
        let mut managed = Managed::new(unit, bus, mode);
        managed.annotations = annotation_properties(request.annotations)?;
        let mut directory = managed.unit.directory()?;
        if user {
            // The user's own manager has its cgroup deep in the hierarchy.
            directory = locate::clean(managed.ask(Manager::control_group)?.as_ref()).join(directory);
        }
        let mut cgroup = Self::at(hierarchies, |hierarchy| Ok(hierarchy.mount_point.join(&directory)))?;
        cgroup.rootless = request.rootless;
        cgroup.unit = Some(managed);
        Ok(cgroup)
    }

    /// For one from [`Cgroup::from_paths`], possibly [`Cgroup::rootless`]: systemd made it. Its unit is named by the
    /// directory.
    #[must_use]
    pub fn by_systemd(mut self) -> Self {
        let node = self.node("name=systemd").or_else(|| self.main());
        let mode = if self.pure_v2 { Mode::Unified } else { Mode::Legacy };
        let bus = if self.rootless && self.pure_v2 { Bus::User } else { Bus::System };
        if let Some(unit) = node.and_then(|node| Unit::at(&node.path)) {
            let managed = Managed::new(unit, bus, mode);
            managed.started.set(true);
            self.unit = Some(managed);
        }
        self
    }

    /// What systemd could not be told of the limits that were created, applied or updated last, one sentence each: for
    /// the caller's log. The cgroup's files have it all.
    pub fn warnings(&self) -> Vec<String> {
        self.unit.as_ref().map(|managed| managed.warnings.borrow().clone()).unwrap_or_default()
    }

    /// A slice is started at once, a scope with its first process.
    pub(super) fn create_unit(&self, managed: &Managed, limits: &Limits) -> Result<()> {
        // Whatever cannot be said to systemd is told before anything exists.
        managed.compile(limits)?;
        managed.waiting.replace(Some(limits.clone()));
        if managed.unit.is_slice() { self.start_unit(managed, None).map(drop) } else { Ok(()) }
    }

    /// Starts the unit if that is still to be done; whether it was.
    pub(super) fn start_unit(&self, managed: &Managed, pid: Option<Pid>) -> Result<bool> {
        let Some(limits) = managed.waiting.take() else { return Ok(false) };
        let in_force = managed.compile(&limits)?;
        let mut properties = managed.start_properties(&limits, pid)?;
        properties.extend(in_force.iter().cloned());
        managed.ask(|manager| manager.start(&managed.unit, &properties)).map_err(|source| {
            Error::StartUnit { unit: managed.unit.name.clone(), source: Box::new(source) }
        })?;
        managed.in_force.replace(in_force);
        managed.started.set(true);
        // systemd enables the controllers that it manages, and on version 1 makes directories only for those.
        let mut made = Vec::new();
        self.nodes.iter().try_for_each(|node| node.make(&limits, self.pure_v2, &mut made))?;
        Ok(true)
    }
}

impl Managed {
    fn new(unit: Unit, bus: Bus, mode: Mode) -> Self {
        Self {
            unit,
            bus,
            mode,
            annotations: Vec::new(),
            manager: RefCell::new(None),
            waiting: RefCell::new(None),
            in_force: RefCell::new(Vec::new()),
            started: Cell::new(false),
            warnings: RefCell::new(Vec::new()),
        }
    }

    /// The unit's properties first: systemd writes the same files.
    pub(super) fn set(&self, limits: &Limits) -> Result<()> {
        let properties = self.compile(limits)?;
        if self.started.get() && *self.in_force.borrow() != properties {
            self.ask(|manager| manager.set(&self.unit, &properties)).map_err(|source| Error::SetUnit {
                unit: self.unit.name.clone(),
                source: Box::new(source),
            })?;
            self.in_force.replace(properties);
        }
        Ok(())
    }

    pub(super) fn attach(&self, pid: Pid) -> Result<()> {
        self.ask(|manager| manager.attach(&self.unit, pid))
    }

    pub(super) fn stop(&self) -> Result<()> {
        if !self.started.get() {
            return Ok(());
        }
        self.ask(|manager| manager.stop(&self.unit))
    }

    fn compile(&self, limits: &Limits) -> Result<Vec<Property>> {
        let version = self.ask(Manager::version)?;
        let compiled = systemd::compile(limits, self.mode, version)?;
        self.warnings.replace(compiled.warnings);
        Ok(compiled.properties)
    }

    /// What a unit is made with and keeps; the user's annotations may say otherwise.
    fn start_properties(&self, limits: &Limits, pid: Option<Pid>) -> Result<Vec<Property>> {
        let named = |name: &str, value| (name.to_owned(), value);
        let mut properties = vec![named("Description", Value::str(&self.unit.description))];
        let slice = Value::str(&self.unit.slice);
        if self.unit.is_slice() {
            properties.push(named("Wants", Value::Array("s".to_owned(), vec![slice])));
        } else {
            properties.push(named("Slice", slice));
            properties.push(named("Delegate", Value::Bool(true)));
        }
        if let Some(pid) = pid {
            properties.push(named("PIDs", Value::Array("u".to_owned(), vec![pid_value(pid)])));
        }
        let io = if self.mode == Mode::Unified { "IOAccounting" } else { "BlockIOAccounting" };
        for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
            properties.push(named(name, Value::Bool(true)));
        }
        properties.push(named("DefaultDependencies", Value::Bool(false)));
        properties.extend(self.annotations.iter().cloned());
        properties.extend(self.oom_policy(limits)?.map(|policy| named("OOMPolicy", Value::str(policy))));
        Ok(properties)
    }

    /// `memory.oom.group`, which systemd takes only when a unit is made.
    fn oom_policy(&self, limits: &Limits) -> Result<Option<&'static str>> {
        let policy = match limits.resources.unified.get("memory.oom.group").map(|value| value.trim()) {
            Some("0") => "continue",
            Some("1") => "kill",
            _ => return Ok(None),
        };
        Ok((self.ask(Manager::version)? >= OOM_POLICY_SINCE).then_some(policy))
    }

    fn ask<T>(&self, question: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T> {
        let mut manager = self.manager.borrow_mut();
        if let Some(manager) = manager.as_mut() {
            return question(manager);
        }
        question(manager.insert(Manager::connect(self.bus)?))
    }
}
