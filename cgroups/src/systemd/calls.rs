//! What is asked of systemd's manager object, org.freedesktop.systemd1(5).

use rustix::process::Pid;

use crate::error::{Error, Result};

use super::bus::{Bus, Call, Connection, Value};
use super::unit::Unit;

/// A unit property: name and value.
pub(crate) type Property = (String, Value);

#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
    version: Option<u32>,
}

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

impl Manager {
    pub(crate) fn connect(bus: Bus) -> Result<Self> {
        Ok(Self { connection: Connection::open(bus)?, version: None })
    }

    /// The major version, 252 of `252.22-1~deb12u1`.
    pub(crate) fn version(&mut self) -> Result<u32> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let text = self.property("Version")?;
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        let version =
            digits.parse().map_err(|_| Error::BusProtocol(format!("systemd's version is {text:?}")))?;
        self.version = Some(version);
        Ok(version)
    }

    /// The manager's own cgroup, from the top of the hierarchy.
    pub(crate) fn control_group(&mut self) -> Result<String> {
        self.property("ControlGroup")
    }

    /// Makes and starts a unit. One of that name that failed earlier is forgotten first, once.
    pub(crate) fn start(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        let body = [
            Value::str(&unit.name),
            Value::str("replace"),
            Value::Array("(sv)".to_owned(), properties.iter().map(to_struct).collect()),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let job = match self.call("StartTransientUnit", &body) {
            Err(Error::BusReply { name, .. }) if name.ends_with(".UnitExists") => {
                self.forget_failure(unit);
                self.call("StartTransientUnit", &body)?
            }
            result => result?,
        };
        let result = self.wait(job, unit);
        if result.is_err() {
            self.forget_failure(unit);
        }
        result
    }

    /// Stops a unit and with it all its processes; one that is gone is no error.
    pub(crate) fn stop(&mut self, unit: &Unit) -> Result<()> {
        let result = match self.call("StopUnit", &[Value::str(&unit.name), Value::str("replace")]) {
            Err(Error::BusReply { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            Err(error) => Err(error),
            Ok(job) => self.wait(job, unit),
        };
        self.forget_failure(unit);
        result
    }

    /// Changes properties until the next reboot.
    pub(crate) fn set(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        let properties = Value::Array("(sv)".to_owned(), properties.iter().map(to_struct).collect());
        self.call("SetUnitProperties", &[Value::str(&unit.name), Value::Bool(true), properties]).map(drop)
    }

    /// Moves a process into the unit, for those who may not write to its directory.
    pub(crate) fn attach(&mut self, unit: &Unit, pid: Pid) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![pid_value(pid)]);
        self.call("AttachProcessesToUnit", &[Value::str(&unit.name), Value::str("/"), pids]).map(drop)
    }

    /// A unit that is not there or has not failed needs no forgetting: the answer does not matter.
    fn forget_failure(&mut self, unit: &Unit) {
        drop(self.call("ResetFailedUnit", &[Value::str(&unit.name)]));
    }

    fn wait(&mut self, job: Vec<Value>, unit: &Unit) -> Result<()> {
        let Some(Value::Path(job)) = job.into_iter().next() else {
            return Err(Error::BusProtocol("a job without a path".to_owned()));
        };
        match self.connection.wait_for_job(&job)?.as_str() {
            "done" => Ok(()),
            result => Err(Error::UnitJob { unit: unit.name.clone(), result: result.to_owned() }),
        }
    }

    fn property(&mut self, name: &str) -> Result<String> {
        let body = [Value::str(MANAGER), Value::str(name)];
        let interface = "org.freedesktop.DBus.Properties";
        let call = Call { destination: SYSTEMD, path: OBJECT, interface, member: "Get", body: &body };
        if let Some(Value::Variant(value)) = self.connection.call(&call)?.into_iter().next()
            && let Value::Str(text) = *value
        {
            return Ok(text);
        }
        Err(Error::BusProtocol(format!("property {name} is no text")))
    }

    fn call(&mut self, member: &str, body: &[Value]) -> Result<Vec<Value>> {
        self.connection.call(&Call { destination: SYSTEMD, path: OBJECT, interface: MANAGER, member, body })
    }
}

pub(crate) fn pid_value(pid: Pid) -> Value {
    Value::U32(pid.as_raw_nonzero().get().unsigned_abs())
}

fn to_struct((name, value): &Property) -> Value {
    Value::Struct(vec![Value::str(name), Value::Variant(Box::new(value.clone()))])
}
