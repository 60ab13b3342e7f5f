//! `knarr events`: what a container uses, and when it runs out of memory, as runc prints it.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use knarr_cgroups::rdt::RdtStats;
use knarr_cgroups::{OomNotice, OomWatch, Stats};
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;

use crate::cli::{EventsArgs, Globals};
use crate::container::Container;
use crate::error::{Error, Result};
use crate::process_id::Process;
use crate::sys;
use crate::{log, resctrl};

/// The kernel may tell of the end of a process before it tells why.
const AFTERMATH: Duration = Duration::from_millis(50);

pub(crate) fn run(globals: &Globals, args: &EventsArgs) -> Result<()> {
    let container = Container::find(&globals.root.path, &args.id)?;
    if args.interval.is_zero() {
        return Err(Error::Usage("duration interval must be greater than 0".into()));
    }
    let not_running = || Error::WrongState(format!("container with id {} is not running", args.id));
    let init = container.init()?.ok_or_else(not_running)?;
    let printed = if args.stats {
        print_stats(&container)
    } else {
        Monitor { container: &container, init, interval: args.interval }.run()
    };
    match printed {
        // Who does not read any more wants no more.
        Err(error) if error.errno() == Some(libc::EPIPE) => Ok(()),
        result => result,
    }
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    cgroup: Stats,
    intel_rdt: RdtStats,
    /// Always `null`, as in runc: it counts only interfaces that it has made itself, and a bundle cannot ask for one.
    network_interfaces: (),
}

fn print_stats(container: &Container) -> Result<()> {
    let rdt = resctrl::group_of(container)?.map(|(group, _)| group.stats()).transpose()?;
    let data = Data {
        cgroup: container.cgroup().stats()?,
        intel_rdt: rdt.unwrap_or_default(),
        network_interfaces: (),
    };
    print(&Event { kind: "stats", id: container.dir.id(), data: Some(data) })
}

fn print_oom(container: &Container) -> Result<()> {
    print(&Event { kind: "oom", id: container.dir.id(), data: None })
}

fn print(event: &Event<'_>) -> Result<()> {
    let written = serde_json::to_vec(event);
    let mut line = written.map_err(|source| Error::Json { what: "write an event".into(), source })?;
    line.push(b'\n');
    Ok(sys::print(&line)?)
}

struct Monitor<'a> {
    container: &'a Container,
    init: Process,
    interval: Duration,
}

impl Monitor<'_> {
    /// Ends with the container.
    fn run(&self) -> Result<()> {
        let cgroup = self.container.cgroup();
        let oom = match cgroup.watch_oom() {
            Ok(watch) => Some(watch),
            Err(error) => {
                let error = Error::from(error).line();
                log::warn(format_args!(
                    "no OOM notices without full access to the memory controller: {error}"
                ));
                None
            }
        };
        let mut next = Instant::now() + self.interval;
        loop {
            let Ready { init, oom: notice } = self.wait(oom.as_ref(), next)?;
            match (&oom, notice, init) {
                (Some(oom), true, _) => {
                    if self.tell(oom)? == OomNotice::Gone {
                        return Ok(());
                    }
                }
                (_, _, true) => return oom.as_ref().map_or(Ok(()), |oom| self.tell_last(oom)),
                _ => {
                    self.print_stats()?;
                    next = (next + self.interval).max(Instant::now());
                }
            }
        }
    }

    /// Neither: the time has come.
    fn wait(&self, oom: Option<&OomWatch<'_>>, until: Instant) -> Result<Ready> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.init.as_fd(), PollFlags::IN)];
        fds.extend(oom.map(|oom| PollFd::from_borrowed_fd(oom.as_fd(), PollFlags::IN)));
        sys::poll_until(&mut fds, until)?;
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { init: is_ready(0), oom: is_ready(1) })
    }

    fn tell(&self, oom: &OomWatch<'_>) -> Result<OomNotice> {
        let notice = oom.read()?;
        if notice == OomNotice::Oom {
            print_oom(self.container)?;
        }
        Ok(notice)
    }

    fn tell_last(&self, oom: &OomWatch<'_>) -> Result<()> {
        if sys::poll_readable(oom.as_fd(), Instant::now() + AFTERMATH)? {
            self.tell(oom).map(drop)
        } else {
            Ok(())
        }
    }

    /// A look that fails does not end the watch: the next one may not, and OOM notices come all the same.
    fn print_stats(&self) -> Result<()> {
        match print_stats(self.container) {
            Err(error @ Error::Cgroup(_)) => {
                log::warn(format_args!("{}", error.line()));
                Ok(())
            }
            result => result,
        }
    }
}

struct Ready {
    init: bool,
    oom: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_laid_out_as_runc_does() {
        let data = Data { cgroup: Stats::default(), intel_rdt: RdtStats::default(), network_interfaces: () };
        let json = serde_json::to_string(&Event { kind: "stats", id: "web", data: Some(data) }).unwrap();
        assert!(json.starts_with(r#"{"type":"stats","id":"web","data":{"cpu":{"#), "{json}");
        assert!(json.ends_with(r#""hugetlb":{},"intel_rdt":{},"network_interfaces":null}}"#), "{json}");
        let json = serde_json::to_string(&Event { kind: "oom", id: "web", data: None }).unwrap();
        assert_eq!(json, r#"{"type":"oom","id":"web"}"#);
    }
}
