//! Writes `src/syscalls/table.rs` anew: `cargo run -p knarr-seccomp --example syscall_table`.
//!
//! The numbers come from two dev-dependencies, read as source because neither crate can list all of its names:
//! linux-sysno for x86, arm and the 32-bit MIPS ABIs (syscall-numbers lacks the old clock and timer calls there),
//! syscall-numbers for the others (linux-sysno gives one generic list for them). `SUPPLEMENT` holds what neither
//! has. libseccomp's own table is the oracle in `tests/syscall_numbers.rs`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const NONE: u32 = u32::MAX;

enum Source {
    LinuxSysno,
    SyscallNumbers,
}

/// Column, the crate it comes from, and the module there.
const COLUMNS: [(&str, Source, &str); 11] = [
    ("x86_64", Source::SyscallNumbers, "x86_64"),
    ("x86", Source::LinuxSysno, "x86"),
    ("x32", Source::SyscallNumbers, "x32"),
    ("aarch64", Source::SyscallNumbers, "aarch64"),
    ("arm", Source::LinuxSysno, "arm"),
    ("mipsel", Source::LinuxSysno, "mips"),
    ("mipsel64", Source::SyscallNumbers, "mips64"),
    ("mipsel64n32", Source::LinuxSysno, "mipsn32"),
    ("ppc64le", Source::SyscallNumbers, "powerpc64"),
    ("riscv64", Source::SyscallNumbers, "riscv64"),
    ("loongarch64", Source::SyscallNumbers, "loongarch64"),
];

/// In the kernel's tables (arch/*/kernel/syscalls, include/uapi/asm-generic/unistd.h) but in neither crate.
const SUPPLEMENT: [(&str, &str, u32); 15] = [
    ("break", "x86", 17),
    ("break", "mipsel", 4017),
    ("riscv_hwprobe", "riscv64", 258),
    ("riscv_flush_icache", "riscv64", 259),
    ("fcntl", "loongarch64", 25),
    ("statfs", "loongarch64", 43),
    ("fstatfs", "loongarch64", 44),
    ("truncate", "loongarch64", 45),
    ("ftruncate", "loongarch64", 46),
    ("lseek", "loongarch64", 62),
    ("sendfile", "loongarch64", 71),
    ("newfstatat", "loongarch64", 79),
    ("fstat", "loongarch64", 80),
    ("mmap", "loongarch64", 222),
    ("fadvise64", "loongarch64", 223),
];

/// Linux 7.0 gave these one number everywhere; MIPS adds its base.
const EVERYWHERE: [(&str, u32); 1] = [("rseq_slice_yield", 471)];

fn main() -> Result<(), Box<dyn Error>> {
    let sysno = crate_sources("linux-sysno")?;
    let numbers = crate_sources("syscall-numbers")?;
    let mut table: BTreeMap<String, [u32; COLUMNS.len()]> = BTreeMap::new();
    for (column, (name, source, module)) in COLUMNS.iter().enumerate() {
        let calls = match source {
            Source::LinuxSysno => enum_variants(&sysno.join(format!("{module}.rs")))?,
            Source::SyscallNumbers => constants(&numbers.join(format!("{module}.rs")))?,
        };
        let supplement = SUPPLEMENT.iter().filter(|(_, abi, _)| abi == name);
        let everywhere = EVERYWHERE.iter().map(|(call, nr)| ((*call).to_owned(), base(name) + nr));
        let calls = calls.into_iter().chain(everywhere);
        for (call, nr) in calls.chain(supplement.map(|(call, _, nr)| ((*call).to_owned(), *nr))) {
            table.entry(call).or_insert([NONE; COLUMNS.len()])[column] = nr;
        }
    }
    table.retain(|name, _| !is_placeholder(name));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/syscalls/table.rs");
    std::fs::write(target, rust(&table)?)?;
    Ok(())
}

fn base(abi: &str) -> u32 {
    match abi {
        "x32" => 0x4000_0000,
        "mipsel" => 4000,
        "mipsel64" => 5000,
        "mipsel64n32" => 6000,
        _ => 0,
    }
}

fn is_placeholder(name: &str) -> bool {
    name.starts_with("unused") || name.starts_with("reserved") || name == "arch_specific_syscall"
}

fn crate_sources(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let out = Command::new(env!("CARGO")).args(["metadata", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let package = packages.iter().find(|p| p["name"] == name).ok_or("the crate is not a dependency")?;
    let manifest = package["manifest_path"].as_str().ok_or("a package has no manifest")?;
    Ok(Path::new(manifest).with_file_name("src"))
}

/// The `    name = 17,` lines of linux-sysno's enums.
fn enum_variants(path: &Path) -> Result<Vec<(String, u32)>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let variants =
        text.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(',')?.split_once(" = "));
    variants.map(|(name, nr)| Ok((name.to_owned(), nr.parse()?))).collect()
}

/// The `pub const SYS_name: c_long = 0x4000_0000;` lines of syscall-numbers.
fn constants(path: &Path) -> Result<Vec<(String, u32)>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("pub const SYS_")?.strip_suffix(';'));
    let pairs = lines.filter_map(|line| line.split_once(": c_long = 0x"));
    pairs.map(|(name, nr)| Ok((name.to_owned(), u32::from_str_radix(&nr.replace('_', ""), 16)?))).collect()
}

fn cell(nr: u32) -> String {
    match nr {
        NONE => "X".to_owned(),
        0..0x1_0000 => nr.to_string(),
        _ => format!("{:#x}_{:04x}", nr >> 16, nr & 0xffff),
    }
}

fn rust(table: &BTreeMap<String, [u32; COLUMNS.len()]>) -> Result<String, Box<dyn Error>> {
    let mut out = String::from(
        "//! Syscall numbers by name and ABI. Generated by `examples/syscall_table.rs`, which says from what; do not edit.\n\n\
         /// The ABI has no such call.\npub(super) const X: u32 = u32::MAX;\n\n",
    );
    let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    writeln!(out, "// Columns: {}.", names.join(" "))?;
    writeln!(out, "#[rustfmt::skip]")?;
    writeln!(out, "pub(super) static TABLE: [(&str, [u32; {}]); {}] = [", COLUMNS.len(), table.len())?;
    for (name, row) in table {
        let cells: Vec<String> = row.iter().map(|nr| cell(*nr)).collect();
        writeln!(out, "    (\"{name}\", [{}]),", cells.join(", "))?;
    }
    out.push_str("];\n");
    Ok(out)
}
