//! Runs a program on a call as the kernel would: the tests' oracle.
//!
//! Only the instructions seccomp(2) accepts and some compiler writes; anything else is an error, never a guess.

use crate::program::SockFilter;

/// What a filter sees of a call: `struct seccomp_data` (linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The number, with [`crate::abi::X32_BIT`] for x32.
    pub number: u32,
    /// The audit token of the ABI, [`crate::Abi::token`].
    pub token: u32,
    /// The arguments.
    pub args: [u64; 6],
}

/// What running a filter gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The value returned, see [`crate::Action::from_ret`].
    pub ret: u32,
    /// Instructions executed, the return included.
    pub executed: usize,
}

/// Why a program cannot be run: the index of the instruction and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Outside of the subset described above.
    #[error("instruction {0} is of no known kind")]
    Instruction(usize),
    /// A jump or the end leads outside of the program.
    #[error("instruction {0} is outside of the program")]
    End(usize),
}

/// Runs a program.
pub fn run(program: &[SockFilter], call: &Call) -> Result<Run, RunError> {
    let mut accumulator = 0;
    let mut at = 0;
    let mut executed = 0;
    loop {
        let instruction = program.get(at).ok_or(RunError::End(at))?;
        executed += 1;
        let k = instruction.k;
        let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
        at += match instruction.code {
            0x20 => {
                accumulator = load(call, k).ok_or(RunError::Instruction(at))?;
                0
            }
            0x54 => {
                accumulator &= k;
                0
            }
            0x05 => k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return Ok(Run { ret: k, executed }),
            _ => return Err(RunError::Instruction(at)),
        };
        at += 1;
    }
}

fn load(call: &Call, offset: u32) -> Option<u32> {
    use crate::resolve::{lower, upper};
    match offset {
        0 => Some(call.number),
        4 => Some(call.token),
        // The instruction pointer: no compiler of OCI profiles reads it.
        8..16 => None,
        _ => {
            let argument = call.args.get(offset as usize / 8 - 2)?;
            match offset % 8 {
                0 => Some(lower(*argument)),
                4 => Some(upper(*argument)),
                _ => None,
            }
        }
    }
}

/// The most instructions any call can make the kernel execute.
pub fn longest_path(program: &[SockFilter]) -> usize {
    let mut longest = vec![0; program.len() + 1];
    for (at, instruction) in program.iter().enumerate().rev() {
        let after = |distance: usize| longest.get(at + 1 + distance).copied().unwrap_or(0);
        longest[at] = 1 + match instruction.code {
            0x06 => 0,
            0x05 => after(instruction.k as usize),
            code if code & 0x07 == 0x05 => after(instruction.jt.into()).max(after(instruction.jf.into())),
            _ => after(0),
        };
    }
    longest[0]
}
