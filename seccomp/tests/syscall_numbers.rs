//! The generated table against the crate most of it comes from; `libseccomp.rs` compares it with a third party.

use knarr_seccomp::{Abi, syscalls};

type Name = fn(core::ffi::c_long) -> Option<&'static str>;

#[test]
fn the_table_has_every_call_of_syscall_numbers() {
    let sources: [(Abi, Name); 6] = [
        (Abi::X86_64, syscall_numbers::x86_64::sys_call_name),
        (Abi::X32, syscall_numbers::x32::sys_call_name),
        (Abi::Aarch64, syscall_numbers::aarch64::sys_call_name),
        (Abi::Mipsel64, syscall_numbers::mips64::sys_call_name),
        (Abi::Ppc64Le, syscall_numbers::powerpc64::sys_call_name),
        (Abi::Riscv64, syscall_numbers::riscv64::sys_call_name),
    ];
    for (abi, name_of) in sources {
        let base = match abi {
            Abi::X32 => 0x4000_0000,
            Abi::Mipsel64 => 5000,
            _ => 0,
        };
        let mut found = 0;
        for number in base..base + 600 {
            let Some(name) = name_of(number.into()).filter(|name| is_a_call(name)) else {
                continue;
            };
            assert_eq!(syscalls::number(name, abi), Some(number), "{name} on {abi:?}");
            found += 1;
        }
        assert!(found > 300, "{abi:?}: {found}");
    }
}

fn is_a_call(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("reserved") && name != "arch_specific_syscall"
}

#[test]
fn the_running_kernels_headers_agree() {
    for (name, number) in [
        ("read", libc::SYS_read),
        ("openat2", libc::SYS_openat2),
        ("clone3", libc::SYS_clone3),
        ("futex_waitv", libc::SYS_futex_waitv),
        ("clock_gettime", libc::SYS_clock_gettime),
    ] {
        assert_eq!(syscalls::number(name, Abi::native()).map(i64::from), Some(number), "{name}");
    }
}
