//! Why the kernel would not run a program: which other program it needs, the one in its `#!` line or its dynamic loader
//! (execve(2), elf(5)), which machine it is for, and whether its mount lets nothing run.
//!
//! Only for a hint: the kernel says "no such file" about the program where it means the interpreter.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, stat, statvfs};
use rustix::io::{Errno, pread};

/// As much of a `#!` line as the kernel looks at (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;
/// A longer path is no path.
const MAX_PATH: usize = 4096;
const PT_INTERP: u64 = 3;
/// Bytes of program headers; the kernel takes no more (`load_elf_phdrs` of its `fs/binfmt_elf.c`), whatever a file of
/// the image claims to have.
const MAX_TABLE: usize = 1 << 16;

/// What is behind `errno` of an attempt to run `path`, if that can be seen.
pub(crate) fn trouble(path: &CStr, errno: Errno) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = || openat(CWD, path, flags, Mode::empty()).ok();
    match errno {
        Errno::NOENT => {
            let interpreter = of(open()?)?;
            let missing = stat(interpreter.as_str()).err() == Some(Errno::NOENT);
            let line_end =
                if interpreter.ends_with('\r') { ": its first line ends in a carriage return" } else { "" };
            let place = "is not in the container's root filesystem";
            missing.then(|| format!("its interpreter {interpreter:?} {place}{line_end}"))
        }
        Errno::NOEXEC => Some(unknown_format(&read(open()?, 0, LINE)?)),
        Errno::ACCESS => statvfs(path)
            .is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOEXEC))
            .then(|| "the mount that it is on has the option noexec".to_owned()),
        _ => None,
    }
}

fn unknown_format(head: &[u8]) -> String {
    let Some(machine) = Elf::new(head).and_then(|elf| elf.field(head, 18, 2)) else {
        return "it is no ELF program, and no script with the path of an interpreter after #! in its first line".into();
    };
    let name =
        MACHINES.iter().find(|(number, _)| *number == machine).map_or("another machine", |(_, name)| name);
    format!("it is a program for {name} (ELF machine {machine}), this machine is {}", std::env::consts::ARCH)
}

/// `e_machine` of elf.h, as uname(1) calls it.
const MACHINES: [(u64, &str); 9] = [
    (3, "i386"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv"),
    (258, "loongarch"),
];

/// The interpreter that `program` names, if it names one.
fn of(program: impl AsFd) -> Option<String> {
    let head = read(&program, 0, LINE)?;
    let path = match head.strip_prefix(b"#!") {
        Some(line) => script_interpreter(line)?.to_vec(),
        None => elf_interpreter(&program, &head)?,
    };
    Some(String::from_utf8_lossy(&path).into_owned())
}

fn script_interpreter(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())
}

fn elf_interpreter(program: impl AsFd, head: &[u8]) -> Option<Vec<u8>> {
    let elf = Elf::new(head)?;
    let (table, size, count) = elf.program_headers(head)?;
    let table = read(&program, table, size.checked_mul(count).filter(|bytes| *bytes <= MAX_TABLE)?)?;
    let segment = table.chunks_exact(size).find(|entry| elf.field(entry, 0, 4) == Some(PT_INTERP))?;
    let (offset, length) = elf.segment(segment)?;
    let path = read(&program, offset, length.min(MAX_PATH))?;
    path.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
}

/// How numbers are written in an ELF file.
struct Elf {
    is_64_bit: bool,
    is_big_endian: bool,
}

impl Elf {
    fn new(head: &[u8]) -> Option<Self> {
        let ident = head.strip_prefix(b"\x7fELF")?;
        Some(Self { is_64_bit: *ident.first()? == 2, is_big_endian: *ident.get(1)? == 2 })
    }

    fn field(&self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at + size)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }

    /// Offset, size of one and number of the program headers.
    fn program_headers(&self, head: &[u8]) -> Option<(u64, usize, usize)> {
        let (offset, size, count) = if self.is_64_bit { ((32, 8), 54, 56) } else { ((28, 4), 42, 44) };
        let size = self.field(head, size, 2)?.try_into().ok().filter(|size| *size > 0)?;
        Some((self.field(head, offset.0, offset.1)?, size, self.field(head, count, 2)?.try_into().ok()?))
    }

    /// Offset and length of a segment in the file.
    fn segment(&self, header: &[u8]) -> Option<(u64, usize)> {
        let (offset, length) = if self.is_64_bit { ((8, 8), (32, 8)) } else { ((4, 4), (16, 4)) };
        let length = self.field(header, length.0, length.1)?;
        Some((self.field(header, offset.0, offset.1)?, length.try_into().ok()?))
    }
}

fn read(file: impl AsFd, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = pread(file, &mut bytes, offset).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn interpreter_of(content: &[u8]) -> Option<String> {
        let name = std::env::temp_dir().join(format!(
            "knarr-interp-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&name);
        let file = file.as_mut().expect("create");
        std::fs::remove_file(name).expect("unlink");
        file.write_all(content).expect("write");
        of(&*file)
    }

    #[test]
    fn a_script_names_its_interpreter() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (b"#!/bin/sh\nexit", Some("/bin/sh")),
            (b"#! /usr/bin/env python3\n", Some("/usr/bin/env")),
            (b"#!/bin/sh\r\n", Some("/bin/sh\r")),
            (b"#!\n/bin/sh", None),
            (b"#!/bin/sh", Some("/bin/sh")),
            (b"echo", None),
        ];
        for (content, interpreter) in cases {
            assert_eq!(interpreter_of(content).as_deref(), interpreter, "{content:?}");
        }
    }

    fn elf64(segment_length: u64) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 3;
        elf[64 + 8] = 120;
        elf[64 + 32..64 + 40].copy_from_slice(&segment_length.to_le_bytes());
        elf.extend_from_slice(b"/lib/ld-x.so\0");
        elf
    }

    #[test]
    fn a_dynamic_program_names_its_loader() {
        assert_eq!(interpreter_of(&elf64(13)).as_deref(), Some("/lib/ld-x.so"));
        assert_eq!(interpreter_of(&elf64(u64::MAX / 2)).as_deref(), Some("/lib/ld-x.so"));
    }

    #[test]
    fn a_table_beyond_the_kernels_limit_is_not_read() {
        let mut elf = elf64(13);
        // 56 bytes each: more than 64 KiB, all of it there.
        elf[56..58].copy_from_slice(&2000_u16.to_le_bytes());
        elf.resize(2000 * 56 + 64, 0);
        assert_eq!(interpreter_of(&elf), None);
    }

    #[test]
    fn a_damaged_program_names_none() {
        let whole = elf64(13);
        for length in [0, 3, 5, 40, 63, 100] {
            assert_eq!(interpreter_of(&whole[..length]), None, "{length} bytes");
        }
    }
}
