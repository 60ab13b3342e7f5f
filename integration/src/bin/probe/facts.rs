//! Everything a process can find out about itself, as JSON. A fact that cannot be had (no /proc, for
//! instance) is null rather than missing.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::sys;

const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

const RLIMITS: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

pub(crate) fn all() -> Value {
    let mut all = Map::new();
    for part in [identity(), privileges(), kernel_view(), scheduling()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn identity() -> Value {
    json!({
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "sid": rustix::process::getsid(None).ok().map(|id| id.as_raw_nonzero().get()),
        "pgid": rustix::process::getpgrp().as_raw_nonzero().get(),
        "uid": status_numbers("Uid"),
        "gid": status_numbers("Gid"),
        "groups": status_numbers("Groups"),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": environment(),
        "env_list": std::env::vars_os().map(|(name, value)| {
            format!("{}={}", name.to_string_lossy(), value.to_string_lossy())
        }).collect::<Vec<_>>(),
        "cwd": directory(),
        "exe": fs::read_link("/proc/self/exe").ok(),
        "comm": text("/proc/self/comm"),
    })
}

fn privileges() -> Value {
    let rlimits: Map<String, Value> = RLIMITS
        .iter()
        .map(|(name, resource)| {
            let limit = getrlimit(*resource);
            ((*name).to_owned(), json!([limit.current, limit.maximum]))
        })
        .collect();
    json!({
        "caps": {
            "bounding": capabilities("CapBnd"),
            "effective": capabilities("CapEff"),
            "permitted": capabilities("CapPrm"),
            "inheritable": capabilities("CapInh"),
            "ambient": capabilities("CapAmb"),
        },
        "no_new_privs": status_numbers("NoNewPrivs").first().copied(),
        "seccomp": status_numbers("Seccomp").first().copied(),
        "umask": status("Umask").and_then(|text| u32::from_str_radix(&text, 8).ok()),
        "rlimits": rlimits,
        "keyring": sys::session_keyring().ok(),
        "apparmor": text("/proc/self/attr/current"),
    })
}

fn kernel_view() -> Value {
    let names = rustix::system::uname();
    json!({
        "ns": namespaces(),
        "mounts": mounts(),
        "root_entries": entries("/"),
        "hostname": names.nodename().to_string_lossy(),
        "domainname": names.domainname().to_string_lossy(),
        "machine": names.machine().to_string_lossy(),
        "cgroup": text("/proc/self/cgroup"),
        "timens_offsets": text("/proc/self/timens_offsets"),
        "uptime": text("/proc/uptime"),
        "fds": descriptors(),
        "tty": terminal(),
        "links": entries("/sys/class/net"),
        "signals_ignored": status("SigIgn"),
        "signals_blocked": status("SigBlk"),
    })
}

fn scheduling() -> Value {
    let attr = sys::sched_getattr().ok();
    let ioprio = sys::ioprio_get().ok();
    let memory = sys::get_mempolicy().ok();
    json!({
        "oom_score_adj": text("/proc/self/oom_score_adj").and_then(|text| text.trim().parse::<i64>().ok()),
        "scheduler": attr.map(|attr| json!({
            "policy": attr.policy, "flags": attr.flags, "nice": attr.nice, "priority": attr.priority,
            "runtime": attr.runtime, "deadline": attr.deadline, "period": attr.period,
        })),
        "ioprio": ioprio.map(|raw| json!({"class": raw >> 13, "level": raw & 0x1fff})),
        "affinity": status("Cpus_allowed_list"),
        "personality": sys::personality().ok(),
        "mempolicy": memory.map(|(mode, nodes)| json!({"mode": mode, "nodes": nodes})),
    })
}

pub(crate) fn environment() -> Value {
    let pairs = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), Value::from(value.to_string_lossy().into_owned()))
        })
        .collect();
    Value::Object(pairs)
}

pub(crate) fn directory() -> Option<String> {
    std::env::current_dir().ok().map(|path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned())
}

pub(crate) fn namespaces() -> Value {
    let inodes = NAMESPACES
        .iter()
        .map(|name| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).ok();
            let inode = link.and_then(|link| {
                let link = link.to_string_lossy().into_owned();
                link.split(['[', ']']).nth(1).and_then(|inode| inode.parse::<u64>().ok())
            });
            ((*name).to_owned(), json!(inode))
        })
        .collect();
    Value::Object(inodes)
}

/// `proc_pid_mountinfo(5)`, one object a line.
fn mounts() -> Value {
    let lines = text("/proc/self/mountinfo").unwrap_or_default();
    let rows: Option<Vec<Value>> = lines.lines().map(mount).collect();
    json!(rows)
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left.first()?, "parent": left.get(1)?, "device": left.get(2)?,
        "root": left.get(3)?, "point": left.get(4)?,
        "options": left.get(5)?.split(',').collect::<Vec<_>>(),
        "propagation": left.get(6..)?,
        "fs": right.first()?, "source": right.get(1)?,
        "super": right.get(2)?.split(',').collect::<Vec<_>>(),
    }))
}

pub(crate) fn descriptors() -> Value {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else {
        return Value::Null;
    };
    let numbers: Vec<i32> =
        listing.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect();
    let open = numbers
        .into_iter()
        // The listing's own descriptor is gone by now.
        .filter_map(|number| Some((number, fs::read_link(format!("/proc/self/fd/{number}")).ok()?)))
        .map(|(number, target)| {
            let known = json!({"target": target.to_string_lossy(), "cloexec": sys::is_cloexec(number)});
            (number.to_string(), known)
        })
        .collect();
    Value::Object(open)
}

fn terminal() -> Value {
    let stdin = std::io::stdin();
    let size = rustix::termios::tcgetwinsize(&stdin).ok();
    json!({
        "stdin": rustix::termios::isatty(&stdin),
        "stdout": rustix::termios::isatty(std::io::stdout()),
        "rows": size.map(|size| size.ws_row),
        "columns": size.map(|size| size.ws_col),
        "controlling": fs::File::open("/dev/tty").is_ok(),
        "foreground": sys::foreground_group(0).ok(),
        "name": fs::read_link("/proc/self/fd/0").ok(),
    })
}

fn capabilities(field: &str) -> Value {
    let Some(bits) = status(field).and_then(|text| u64::from_str_radix(&text, 16).ok()) else {
        return Value::Null;
    };
    let names = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    json!(names.map(|(_, name)| *name).collect::<Vec<_>>())
}

fn status(field: &str) -> Option<String> {
    let status = text("/proc/self/status")?;
    let line = status.lines().find(|line| line.split(':').next() == Some(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub(crate) fn status_numbers(field: &str) -> Vec<u64> {
    let line = status(field).unwrap_or_default();
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

pub(crate) fn entries(directory: &str) -> Option<Vec<String>> {
    let listing = fs::read_dir(directory).ok()?;
    let mut names: Vec<String> =
        listing.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Some(names)
}

fn text(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
