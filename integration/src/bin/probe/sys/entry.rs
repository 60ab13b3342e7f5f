//! The ways into the kernel: one system call by number, so that a filter is met where it stands.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use super::checked;

/// What the tests' calls take: integers and null pointers only.
pub(crate) type Args = [u64; 6];

/// The native entry; the number may have the bit of x32.
pub(crate) fn syscall(number: i64, args: Args) -> io::Result<i64> {
    let [first, second, third, fourth, fifth, sixth] = args;
    // SAFETY: no argument points to memory.
    checked(unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) })
}

/// The entry of 32-bit programs, which 64-bit ones may use too. The sixth argument, which would be in ebp, is left out.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int80(number: i64, args: Args) -> io::Result<i64> {
    let result: i64;
    // SAFETY: no argument points to memory; the call changes rax, and r8 to r11 before Linux 4.17; rbx, which the
    // compiler keeps for itself, gets its value back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) args[0] => _,
            inlateout("rax") number => result,
            in("rcx") args[1],
            in("rdx") args[2],
            in("rsi") args[3],
            in("rdi") args[4],
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    match i32::try_from(-result) {
        Ok(errno @ 1..=4095) => Err(io::Error::from_raw_os_error(errno)),
        _ => Ok(result),
    }
}

struct Order {
    number: i64,
    args: Args,
    came_back: AtomicBool,
}

/// Makes the call in a thread of its own; whether the thread outlived it.
pub(crate) fn outlived_by_thread(number: i64, args: Args) -> io::Result<bool> {
    extern "C" fn act(order: *mut c_void) -> *mut c_void {
        // SAFETY: the order lives until this thread has been joined.
        let order = unsafe { &*order.cast::<Order>() };
        // What it returns is not asked.
        let _ = syscall(order.number, order.args);
        order.came_back.store(true, Ordering::SeqCst);
        null_mut()
    }
    let order = Order { number, args, came_back: AtomicBool::new(false) };
    // SAFETY: the attributes are the default, `act` takes an `Order`, and the thread is joined before `order` goes. A
    // thread that the kernel killed can be joined as well: the kernel says when it is gone.
    unsafe {
        let mut thread = std::mem::zeroed();
        let made = libc::pthread_create(
            &raw mut thread,
            std::ptr::null(),
            act,
            (&raw const order).cast_mut().cast(),
        );
        if made != 0 {
            return Err(io::Error::from_raw_os_error(made));
        }
        libc::pthread_join(thread, null_mut());
    }
    Ok(order.came_back.load(Ordering::SeqCst))
}

/// The part of siginfo_t that belongs to SIGSYS, on 64-bit machines (sigaction(2)).
#[repr(C)]
struct SigSys {
    signal: i32,
    errno: i32,
    code: i32,
    padding: i32,
    address: u64,
    number: i32,
    arch: u32,
}

static TRAPPED_NUMBER: AtomicI32 = AtomicI32::new(-1);
static TRAPPED_ARCH: AtomicU32 = AtomicU32::new(0);
static TRAPPED_ERRNO: AtomicI32 = AtomicI32::new(0);

/// Makes the call with a handler for SIGSYS; number, audit token and errno as the signal told them, -1 when none came.
pub(crate) fn trapped(number: i64, args: Args) -> (i32, u32, i32) {
    extern "C" fn note(_: c_int, info: *mut SigSys, _: *mut c_void) {
        // SAFETY: the kernel passes a siginfo_t to handlers with SA_SIGINFO.
        let info = unsafe { &*info };
        TRAPPED_NUMBER.store(info.number, Ordering::SeqCst);
        TRAPPED_ARCH.store(info.arch, Ordering::SeqCst);
        TRAPPED_ERRNO.store(info.errno, Ordering::SeqCst);
    }
    // SAFETY: an all-zero sigaction is valid; the handler only stores to atomics.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &raw const action, null_mut());
    }
    // What it returns is not asked.
    let _ = syscall(number, args);
    (
        TRAPPED_NUMBER.load(Ordering::SeqCst),
        TRAPPED_ARCH.load(Ordering::SeqCst),
        TRAPPED_ERRNO.load(Ordering::SeqCst),
    )
}

/// Lets a traced child make the call; the message of the filter that stopped it (ptrace(2), PTRACE_EVENT_SECCOMP).
pub(crate) fn traced(number: i64, args: Args) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: one thread; the child makes system calls only; the message goes to a local.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            let _ = syscall(number, args);
            libc::_exit(0);
        }
        checked(i64::from(pid))?;
        stop_of(pid)?;
        let options = libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL;
        checked(libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options))?;
        checked(libc::ptrace(libc::PTRACE_CONT, pid, 0, 0))?;
        let status = stop_of(pid)?;
        if status >> 8 != libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8 {
            return Err(io::Error::other(format!("wait status {status:#x} instead of a seccomp stop")));
        }
        checked(libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message))?;
        libc::kill(pid, libc::SIGKILL);
        stop_of(pid)?;
    }
    Ok(message)
}

fn stop_of(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: the status goes to a local.
    checked(i64::from(unsafe { libc::waitpid(pid, &raw mut status, 0) }))?;
    Ok(status)
}
