//! The execution domain of the calling process (personality(2)).

use crate::error::{During as _, Result};
use crate::sys::attributes;

// linux/personality.h
const PER_LINUX: i32 = 0x0000;
const PER_LINUX32: i32 = 0x0008;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Personality {
    Linux,
    /// uname(2) reports a 32-bit machine.
    Linux32,
}

impl Personality {
    /// From `linux.personality.domain`.
    pub(crate) fn from_domain(domain: &str) -> Option<Self> {
        match domain {
            "LINUX" => Some(Self::Linux),
            "LINUX32" => Some(Self::Linux32),
            _ => None,
        }
    }
}

/// Takes on the execution domain; it survives execve.
pub(crate) fn set(personality: Personality) -> Result<()> {
    let persona = match personality {
        Personality::Linux => PER_LINUX,
        Personality::Linux32 => PER_LINUX32,
    };
    attributes::personality(persona).during(|| "unable to set personality".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_becomes_a_32_bit_one_and_back() {
        std::thread::spawn(|| {
            let shown =
                || std::fs::read_to_string("/proc/thread-self/personality").expect("read personality");
            set(Personality::Linux32).expect("set");
            assert_eq!(shown().trim(), "00000008");
            set(Personality::Linux).expect("set");
            assert_eq!(shown().trim(), "00000000");
        })
        .join()
        .expect("the thread's own assertions");
    }
}
