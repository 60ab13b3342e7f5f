//! Syscall names and numbers of every ABI: lookups by name for the compiler, by number for people.
//!
//! The table and an index over its names are packed at compile time, so a lookup is one hash and usually one comparison.

mod packed;
mod table;

use crate::abi::Abi;
use packed::{ROWS, name_of, number_of, row_named};

#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: Abi = Abi::X86_64;
#[cfg(target_arch = "x86")]
pub(crate) const NATIVE: Abi = Abi::X86;
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: Abi = Abi::Aarch64;
#[cfg(target_arch = "arm")]
pub(crate) const NATIVE: Abi = Abi::Arm;
#[cfg(target_arch = "riscv64")]
pub(crate) const NATIVE: Abi = Abi::Riscv64;
#[cfg(target_arch = "loongarch64")]
pub(crate) const NATIVE: Abi = Abi::Loongarch64;
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
pub(crate) const NATIVE: Abi = Abi::Ppc64Le;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    all(target_arch = "powerpc64", target_endian = "little")
)))]
compile_error!("there is no syscall table for this architecture");

/// A call known by name on at least one ABI: its row in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syscall(u16);

impl Syscall {
    pub(crate) fn named(name: &str) -> Option<Self> {
        row_named(name).map(Self)
    }

    /// The number on an ABI, with the bits and the base the kernel shows in `seccomp_data.nr`.
    pub(crate) fn number(self, abi: Abi) -> Option<u32> {
        number_of(self.0, abi)
    }
}

/// The call that carries `name` on ABIs that multiplex, and the first argument it does so with: the `SYS_*` of
/// linux/net.h for socketcall(2), the codes of linux/ipc.h for ipc(2).
pub(crate) fn multiplexed(name: &str) -> Option<(Syscall, u8)> {
    let (carrier, selector) = match name {
        "socket" => ("socketcall", 1),
        "bind" => ("socketcall", 2),
        "connect" => ("socketcall", 3),
        "listen" => ("socketcall", 4),
        "accept" => ("socketcall", 5),
        "getsockname" => ("socketcall", 6),
        "getpeername" => ("socketcall", 7),
        "socketpair" => ("socketcall", 8),
        "send" => ("socketcall", 9),
        "recv" => ("socketcall", 10),
        "sendto" => ("socketcall", 11),
        "recvfrom" => ("socketcall", 12),
        "shutdown" => ("socketcall", 13),
        "setsockopt" => ("socketcall", 14),
        "getsockopt" => ("socketcall", 15),
        "sendmsg" => ("socketcall", 16),
        "recvmsg" => ("socketcall", 17),
        "accept4" => ("socketcall", 18),
        "recvmmsg" => ("socketcall", 19),
        "sendmmsg" => ("socketcall", 20),
        "semop" => ("ipc", 1),
        "semget" => ("ipc", 2),
        "semctl" => ("ipc", 3),
        "semtimedop" => ("ipc", 4),
        "msgsnd" => ("ipc", 11),
        "msgrcv" => ("ipc", 12),
        "msgget" => ("ipc", 13),
        "msgctl" => ("ipc", 14),
        "shmat" => ("ipc", 21),
        "shmdt" => ("ipc", 22),
        "shmget" => ("ipc", 23),
        "shmctl" => ("ipc", 24),
        _ => return None,
    };
    Some((Syscall::named(carrier)?, selector))
}

/// The number of a call on an ABI, as in `seccomp_data.nr`.
pub fn number(name: &str, abi: Abi) -> Option<u32> {
    Syscall::named(name)?.number(abi)
}

/// The name of a number on an ABI.
pub fn name(number: u32, abi: Abi) -> Option<&'static str> {
    all(abi).find(|(_, nr)| *nr == number).map(|(name, _)| name)
}

/// Every call of an ABI by name, with its number.
pub fn all(abi: Abi) -> impl Iterator<Item = (&'static str, u32)> {
    (0..ROWS).filter_map(move |row| Some((name_of(row), number_of(row, abi)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_what_the_kernel_shows() {
        assert_eq!(number("read", Abi::X32), Some(0x4000_0000));
        assert_eq!(number("rt_sigaction", Abi::X32), Some(0x4000_0200));
        assert_eq!(number("set_tls", Abi::Arm), Some(0x000f_0005));
        assert_eq!(number("openat", Abi::Mipsel), Some(4288));
        assert_eq!(number("open", Abi::Aarch64), None);
        assert_eq!(name(57, Abi::X86_64), Some("fork"));
    }
}
