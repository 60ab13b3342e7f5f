//! Things a container's program tries to do. Each answers `{"verb", "on", "ok": true, "value"}` or
//! `{"verb", "on", "ok": false, "errno", "error"}`; a refusal is a result, not a failure of the probe.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};

use rustix::fs::{CWD, Dev, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

use crate::{facts, sys};

const AWAITED: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGQUIT,
    libc::SIGALRM,
];

pub(crate) fn outcome(verb: &str, on: &str, result: io::Result<Value>) -> Value {
    match result {
        Ok(value) => json!({"verb": verb, "on": on, "ok": true, "value": value}),
        Err(error) => json!({
            "verb": verb, "on": on, "ok": false,
            "errno": error.raw_os_error(), "error": error.to_string(),
        }),
    }
}

pub(crate) fn perform(verb: &str, words: &mut dyn Iterator<Item = String>) -> Option<Value> {
    let (on, result) = match verb {
        "wait" => (String::new(), sys::wait_for_signal(&AWAITED).map(Value::from)),
        "block" => {
            sys::block_signals(&AWAITED);
            (String::new(), Ok(Value::Null))
        }
        "stdin" => (String::new(), read_stdin()),
        "line" => (String::new(), read_line()),
        "fork" => (String::new(), sys::fork_sleeper().map(Value::from)),
        "pause" => loop {
            std::thread::park();
        },
        _ => {
            let on = words.next()?;
            let result = perform_on(verb, &on, words)?;
            (on, result)
        }
    };
    Some(outcome(verb, &on, result))
}

fn perform_on(verb: &str, on: &str, words: &mut dyn Iterator<Item = String>) -> Option<io::Result<Value>> {
    Some(match verb {
        "echo" => Ok(Value::from(on)),
        "stderr" => io::stderr().write_all(format!("{on}\n").as_bytes()).map(|()| Value::Null),
        "read" => read(on),
        "write" => write(on, &words.next()?),
        "open-read" => OpenOptions::new().read(true).open(on).map(|_| Value::Null),
        "open-write" => OpenOptions::new().write(true).open(on).map(|_| Value::Null),
        "create" => OpenOptions::new().write(true).create_new(true).open(on).map(|_| Value::Null),
        "lock" => lock(on),
        "mkdir" => fs::create_dir(on).map(|()| Value::Null),
        "stat" => stat(on),
        "list" => Ok(json!(facts::entries(on))),
        "mknod" => mknod(on, &words.next()?, &words.next()?, &words.next()?),
        "mount" => try_mount(on, &words.next()?, &words.next()?),
        "umount" => unmount(on, UnmountFlags::empty()).map_err(io::Error::from).map(|()| Value::Null),
        "chown" => std::os::unix::fs::chown(on, words.next()?.parse().ok(), None).map(|()| Value::Null),
        "signal" => {
            sys::kill(i32::try_from(std::process::id()).ok()?, on.parse().ok()?).map(|()| Value::Null)
        }
        "spy" => Ok(crate::attacks::spy(on)),
        "overwrite" => Ok(crate::attacks::overwrite(on)),
        "touch-memory" => Ok(touch_memory(on.parse().ok()?)),
        "fork-many" => Ok(fork_many(on.parse().ok()?)),
        _ => return crate::calls::perform(verb, on, &words.next()?),
    })
}

fn read_stdin() -> io::Result<Value> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(Value::from(text))
}

fn read_line() -> io::Result<Value> {
    let mut text = String::new();
    io::stdin().read_line(&mut text)?;
    Ok(Value::from(text))
}

/// At most 64 KiB, so that endless devices end.
fn read(path: &str) -> io::Result<Value> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(65536).read_to_end(&mut bytes)?;
    Ok(Value::from(String::from_utf8_lossy(&bytes).into_owned()))
}

fn write(path: &str, text: &str) -> io::Result<Value> {
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(Value::Null)
}

/// Until this process ends.
fn lock(path: &str) -> io::Result<Value> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    std::mem::forget(file);
    Ok(Value::Null)
}

fn stat(path: &str) -> io::Result<Value> {
    let data = fs::symlink_metadata(path)?;
    let kind = data.file_type();
    let named = [
        ("dir", kind.is_dir()),
        ("file", kind.is_file()),
        ("symlink", kind.is_symlink()),
        ("char", kind.is_char_device()),
        ("block", kind.is_block_device()),
        ("fifo", kind.is_fifo()),
        ("socket", kind.is_socket()),
    ];
    Ok(json!({
        "kind": named.iter().find(|(_, is)| *is).map(|(name, _)| *name),
        "mode": data.mode() & 0o7777,
        "uid": data.uid(), "gid": data.gid(), "size": data.size(), "ino": data.ino(), "nlink": data.nlink(),
        "major": rustix::fs::major(data.rdev()), "minor": rustix::fs::minor(data.rdev()),
        "target": fs::read_link(path).ok(),
        "magic": sys::file_system_magic(path).ok(),
    }))
}

fn mknod(path: &str, kind: &str, major: &str, minor: &str) -> io::Result<Value> {
    let kind = match kind {
        "c" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let device: Dev = makedev(number(major)?, number(minor)?);
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device)?;
    Ok(Value::Null)
}

fn try_mount(source: &str, target: &str, kind: &str) -> io::Result<Value> {
    let flags = if kind == "bind" { MountFlags::BIND } else { MountFlags::empty() };
    mount(source, target, kind, flags, None)?;
    Ok(Value::Null)
}

/// Dirties `mib` MiB page by page: what a memory limit has to stop.
fn touch_memory(mib: usize) -> Value {
    let mut held = Vec::new();
    for _ in 0..mib {
        let mut block = vec![0_u8; 1 << 20];
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        held.push(std::hint::black_box(block));
    }
    Value::from(held.len())
}

/// How many of `count` forks succeed; the children stay until the container ends.
fn fork_many(count: usize) -> Value {
    let made = (0..count).take_while(|_| sys::fork_sleeper().is_ok()).count();
    Value::from(made)
}
