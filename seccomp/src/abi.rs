//! The ABIs a filter can tell apart: `SCMP_ARCH_*` names, the kernel's audit tokens, and what differs in arguments.
//!
//! Several ABIs may share one token: x32 calls come with x86-64's and bit 30 of the number set (seccomp(2)).
//! Only little-endian ABIs are here, because a filter for a host of the other byte order cannot be built at all.

use crate::syscalls::NATIVE;

/// Set in the number of every x32 call, `__X32_SYSCALL_BIT` of asm/unistd.h.
pub const X32_BIT: u32 = 0x4000_0000;

/// One column of the syscall table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc64Le,
    Riscv64,
    Loongarch64,
}

use Abi::{Aarch64, Arm, Loongarch64, Mipsel, Mipsel64, Mipsel64N32, Ppc64Le, Riscv64, X32, X86, X86_64};

/// Whether an argument is compared as 64 bits or by its lower half only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Bits32,
    Bits64,
}

/// What `SCMP_ARCH_*` says to this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Known(Abi),
    /// Defined by the spec, of the other byte order than the host.
    OtherByteOrder,
    Unknown,
}

impl Abi {
    /// Every ABI, in the order of the columns of the syscall table.
    pub const ALL: [Abi; 11] =
        [X86_64, X86, X32, Aarch64, Arm, Mipsel, Mipsel64, Mipsel64N32, Ppc64Le, Riscv64, Loongarch64];

    /// The ABI of this build.
    pub const fn native() -> Self {
        NATIVE
    }

    pub(crate) fn named(name: &str) -> Named {
        match name {
            "SCMP_ARCH_MIPS"
            | "SCMP_ARCH_MIPS64"
            | "SCMP_ARCH_MIPS64N32"
            | "SCMP_ARCH_PPC"
            | "SCMP_ARCH_PPC64"
            | "SCMP_ARCH_S390"
            | "SCMP_ARCH_S390X" => Named::OtherByteOrder,
            _ => Self::ALL.into_iter().find(|abi| abi.name() == name).map_or(Named::Unknown, Named::Known),
        }
    }

    /// The name in a profile.
    pub const fn name(self) -> &'static str {
        match self {
            X86_64 => "SCMP_ARCH_X86_64",
            X86 => "SCMP_ARCH_X86",
            X32 => "SCMP_ARCH_X32",
            Aarch64 => "SCMP_ARCH_AARCH64",
            Arm => "SCMP_ARCH_ARM",
            Mipsel => "SCMP_ARCH_MIPSEL",
            Mipsel64 => "SCMP_ARCH_MIPSEL64",
            Mipsel64N32 => "SCMP_ARCH_MIPSEL64N32",
            Ppc64Le => "SCMP_ARCH_PPC64LE",
            Riscv64 => "SCMP_ARCH_RISCV64",
            Loongarch64 => "SCMP_ARCH_LOONGARCH64",
        }
    }

    /// `seccomp_data.arch` of its calls: `AUDIT_ARCH_*` of linux/audit.h.
    pub const fn token(self) -> u32 {
        match self {
            X86_64 | X32 => 0xc000_003e,
            X86 => 0x4000_0003,
            Aarch64 => 0xc000_00b7,
            Arm => 0x4000_0028,
            Mipsel => 0x4000_0008,
            Mipsel64 => 0xc000_0008,
            Mipsel64N32 => 0xe000_0008,
            Ppc64Le => 0xc000_0015,
            Riscv64 => 0xc000_00f3,
            Loongarch64 => 0xc000_0102,
        }
    }

    /// libseccomp compares 64 bits on 64-bit ABIs alone, and counts x32 and n32 to the 32-bit ones.
    pub(crate) const fn width(self) -> Width {
        match self {
            X86 | X32 | Arm | Mipsel | Mipsel64N32 => Width::Bits32,
            X86_64 | Aarch64 | Mipsel64 | Ppc64Le | Riscv64 | Loongarch64 => Width::Bits64,
        }
    }

    /// Whether socketcall(2) and ipc(2) carry other calls, so that a rule for `socket` has to look into them.
    pub(crate) const fn multiplexes(self) -> bool {
        matches!(self, X86 | Mipsel | Ppc64Le)
    }

    /// The column of the syscall table.
    pub(crate) const fn column(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_follow_the_order_of_all() {
        for (column, abi) in Abi::ALL.into_iter().enumerate() {
            assert_eq!(abi.column(), column);
        }
    }

    #[test]
    fn tokens_are_machine_numbers_with_the_flags_of_64_bits_and_little_endian() {
        // EM_* of elf.h, __AUDIT_ARCH_64BIT, __AUDIT_ARCH_LE and __AUDIT_ARCH_CONVENTION_MIPS64_N32 of linux/audit.h.
        let token = |machine: u32, bits64: bool| machine | 0x4000_0000 | if bits64 { 0x8000_0000 } else { 0 };
        assert_eq!(X86_64.token(), token(62, true));
        assert_eq!(X86.token(), token(3, false));
        assert_eq!(Aarch64.token(), token(183, true));
        assert_eq!(Arm.token(), token(40, false));
        assert_eq!(Mipsel64N32.token(), token(8, true) | 0x2000_0000);
        assert_eq!(Ppc64Le.token(), token(21, true));
        assert_eq!(Riscv64.token(), token(243, true));
        assert_eq!(Loongarch64.token(), token(258, true));
    }

    #[test]
    fn a_big_endian_name_is_known_but_not_usable() {
        assert_eq!(Abi::named("SCMP_ARCH_S390X"), Named::OtherByteOrder);
        assert_eq!(Abi::named("SCMP_ARCH_X32"), Named::Known(X32));
        assert_eq!(Abi::named("SCMP_ARCH_x32"), Named::Unknown);
    }
}
