//! A policy as a `BPF_PROG_TYPE_CGROUP_DEVICE` program: bpf(2), `Documentation/bpf/` and linux/bpf.h.
//!
//! The kernel runs it with R1 pointing to `{ u32 access << 16 | type, u32 major, u32 minor }`; the answer in R0 is
//! 1 for yes, 0 for no. A block per exception falls through to the next, the default comes last.

use super::rules::{Access, Device, Kind, Policy, Rule};

/// The instructions, 8 bytes each, as the kernel reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(pub(crate) Vec<[u8; 8]>);

const R0: u8 = 0;
const R1: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Class, size and operation bits of linux/bpf_common.h and linux/bpf.h, combined as they are used here.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_W | BPF_MEM
const AND_IMM: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT_IMM: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const MOVE_IMM: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const MOVE: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const IF_NOT_EQUAL_IMM: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const IF_NOT_EQUAL: u8 = 0x5d; // BPF_JMP | BPF_JNE | BPF_X
const IF_EQUAL_IMM: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const DEVICE_BLOCK: u32 = 1;
const DEVICE_CHAR: u32 = 2;

impl Program {
    pub(crate) fn compile(policy: &Policy) -> Self {
        let mut code = vec![
            instruction(LOAD_WORD, TYPE, R1, 0, 0),
            instruction(AND_IMM, TYPE, 0, 0, 0xffff),
            instruction(LOAD_WORD, ACCESS, R1, 0, 0),
            instruction(SHIFT_RIGHT_IMM, ACCESS, 0, 0, 16),
            instruction(LOAD_WORD, MAJOR, R1, 4, 0),
            instruction(LOAD_WORD, MINOR, R1, 8, 0),
        ];
        for rule in policy.transition_from(&Policy::default()) {
            if let Rule { allow, device: Some(device), access } = rule {
                push_rule(&mut code, device, access, allow);
            }
        }
        push_answer(&mut code, policy.allow_by_default);
        Self(code)
    }
}

/// Answers if the device matches and, for an exception that allows, everything asked for is in `access`; for one that
/// denies, anything asked for is.
fn push_rule(code: &mut Vec<[u8; 8]>, device: Device, access: Access, allow: bool) {
    let mut tests: Vec<(u8, u32)> =
        vec![(TYPE, if device.kind == Kind::Block { DEVICE_BLOCK } else { DEVICE_CHAR })];
    tests.extend(device.major.map(|major| (MAJOR, major)));
    tests.extend(device.minor.map(|minor| (MINOR, minor)));
    let mut block: Vec<[u8; 8]> = tests
        .into_iter()
        .map(|(register, value)| instruction(IF_NOT_EQUAL_IMM, register, 0, 0, value))
        .collect();
    if access != Access::ALL {
        block.push(instruction(MOVE, R1, ACCESS, 0, 0));
        block.push(instruction(AND_IMM, R1, 0, 0, u32::from(access.0)));
        block.push(if allow {
            instruction(IF_NOT_EQUAL, R1, ACCESS, 0, 0)
        } else {
            instruction(IF_EQUAL_IMM, R1, 0, 0, 0)
        });
    }
    push_answer(&mut block, allow);
    // Every jump leads behind the block; offsets count from the next instruction.
    let length = block.len();
    for (index, instruction) in block.iter_mut().enumerate() {
        if [IF_NOT_EQUAL_IMM, IF_NOT_EQUAL, IF_EQUAL_IMM].contains(&instruction[0]) {
            let offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
            instruction[2..4].copy_from_slice(&offset.to_ne_bytes());
        }
    }
    code.append(&mut block);
}

fn push_answer(code: &mut Vec<[u8; 8]>, yes: bool) {
    code.push(instruction(MOVE_IMM, R0, 0, 0, u32::from(yes)));
    code.push(instruction(EXIT, 0, 0, 0, 0));
}

/// `struct bpf_insn`: the two registers are bit fields, the destination in the low half on little-endian machines.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> [u8; 8] {
    let registers =
        if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::policy;
    use super::*;
    use crate::resources::DeviceRule;

    /// Runs a program as the kernel would: registers are 64 bits wide, immediates are sign-extended in comparisons.
    fn run(program: &Program, kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let [code, pair, o0, o1, i0, i1, i2, i3] = program.0[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_ne_bytes([o0, o1]);
            let immediate = i32::from_ne_bytes([i0, i1, i2, i3]);
            let wide = i64::from(immediate).cast_unsigned();
            at += 1;
            let jump = match code {
                LOAD_WORD => {
                    registers[to] = u64::from(context[usize::try_from(offset).unwrap() / 4]);
                    false
                }
                AND_IMM => {
                    registers[to] &= u64::from(immediate.cast_unsigned());
                    false
                }
                SHIFT_RIGHT_IMM => {
                    registers[to] >>= immediate;
                    false
                }
                MOVE_IMM => {
                    registers[to] = u64::from(immediate.cast_unsigned());
                    false
                }
                MOVE => {
                    registers[to] = registers[from];
                    false
                }
                IF_NOT_EQUAL_IMM => registers[to] != wide,
                IF_NOT_EQUAL => registers[to] != registers[from],
                IF_EQUAL_IMM => registers[to] == wide,
                EXIT => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            };
            if jump {
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
        DeviceRule { allow, kind: kind.into(), major: Some(major), minor: Some(minor), access: access.into() }
    }

    /// What the kernel's version 1 controller answers: an exception that allows must cover all that is asked for, one
    /// that denies any of it.
    fn expected(list: &[DeviceRule], kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let policy = policy(list).unwrap();
        let matching: Vec<Rule> = policy
            .transition_from(&Policy::default())
            .into_iter()
            .filter(|rule| {
                rule.device.is_some_and(|device| {
                    device.kind == kind
                        && device.major.is_none_or(|number| number == major)
                        && device.minor.is_none_or(|number| number == minor)
                })
            })
            .collect();
        if policy.allow_by_default {
            !matching.iter().any(|rule| rule.access.0 & access != 0)
        } else {
            matching.iter().any(|rule| rule.access.0 & access == access)
        }
    }

    #[test]
    fn the_program_answers_as_version_1_does() {
        let lists = [
            vec![],
            vec![rule(true, "a", -1, -1, "rwm")],
            vec![
                rule(false, "a", -1, -1, "rwm"),
                rule(true, "c", 10, 229, "rw"),
                rule(true, "b", 8, -1, "r"),
            ],
            vec![rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, 0, "w"), rule(false, "c", 4, -1, "rwm")],
            vec![rule(true, "b", -1, 7, "rw"), rule(true, "c", 4_294_967_295, 4_294_967_295, "w")],
        ];
        let mut allowed = 0;
        for list in &lists {
            let program = Program::compile(&policy(list).unwrap());
            for (kind, number) in [(Kind::Block, DEVICE_BLOCK), (Kind::Char, DEVICE_CHAR)] {
                for access in 1..8 {
                    for major in [0, 1, 4, 5, 8, 10, 136, 259] {
                        for minor in [0, 1, 3, 7, 200, 229] {
                            let answer = run(&program, number, u32::from(access), major, minor) == 1;
                            assert_eq!(
                                answer,
                                expected(list, kind, access, major, minor),
                                "{list:?} {kind:?} {access} {major}:{minor}"
                            );
                            allowed += u32::from(answer);
                        }
                    }
                }
            }
        }
        assert!(allowed > 100, "the table must hold both answers: {allowed}");
    }

    #[test]
    fn the_default_policy_is_small() {
        assert!(Program::compile(&policy(&[]).unwrap()).0.len() <= 68);
    }
}
