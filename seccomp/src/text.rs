//! A program for people: one line an instruction, jumps by the number of the line they lead to.

use std::fmt;

use crate::abi::Abi;
use crate::action::Action;
use crate::program::{Program, SockFilter};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut loaded = "";
        for (at, instruction) in self.instructions.iter().enumerate() {
            write!(f, "{at:4}  ")?;
            if instruction.code == LOAD {
                loaded = word(instruction.k);
            }
            line(f, at, *instruction, loaded)?;
        }
        Ok(())
    }
}

const LOAD: u16 = 0x20;

fn line(f: &mut fmt::Formatter<'_>, at: usize, instruction: SockFilter, loaded: &str) -> fmt::Result {
    let k = instruction.k;
    let mut test = |sign: &str| {
        let (to, not) = (at + 1 + usize::from(instruction.jt), at + 1 + usize::from(instruction.jf));
        writeln!(f, "if {sign} {} go to {to} else {not}", constant(k, loaded))
    };
    match instruction.code {
        0x15 => test("=="),
        0x25 => test(">"),
        0x35 => test(">="),
        0x45 => test("&"),
        LOAD => writeln!(f, "load {loaded}"),
        0x54 => writeln!(f, "and {k:#x}"),
        0x05 => writeln!(f, "go to {}", at + 1 + k as usize),
        0x06 => match Action::from_ret(k) {
            Some(action) => writeln!(f, "return {action}"),
            None => writeln!(f, "return {k:#x}"),
        },
        code => writeln!(f, "code {code:#x} {k:#x}"),
    }
}

fn constant(k: u32, loaded: &str) -> String {
    let abi = Abi::ALL.into_iter().find(|abi| loaded == "arch" && abi.token() == k);
    match abi {
        Some(abi) => abi.name().to_owned(),
        None if loaded == "number" && k < 0x1_0000 => k.to_string(),
        None => format!("{k:#x}"),
    }
}

fn word(offset: u32) -> &'static str {
    const WORDS: [&str; 16] = [
        "number",
        "arch",
        "lower half of the instruction pointer",
        "upper half of the instruction pointer",
        "lower half of argument 0",
        "upper half of argument 0",
        "lower half of argument 1",
        "upper half of argument 1",
        "lower half of argument 2",
        "upper half of argument 2",
        "lower half of argument 3",
        "upper half of argument 3",
        "lower half of argument 4",
        "upper half of argument 4",
        "lower half of argument 5",
        "upper half of argument 5",
    ];
    WORDS.get(offset as usize / 4).copied().unwrap_or("a word outside of the call")
}

#[cfg(test)]
mod tests {
    use crate::{Profile, Rule, compile};

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_small_program_reads_well() {
        let rule = Rule { names: vec!["mkdir".into()], action: "SCMP_ACT_ERRNO".into(), ..Rule::default() };
        let profile =
            Profile { default_action: "SCMP_ACT_ALLOW".into(), syscalls: vec![rule], ..Profile::default() };
        let text = compile(&profile).expect("the profile is valid").to_string();
        let expected = "   0  load arch
   1  if == SCMP_ARCH_X86_64 go to 2 else 8
   2  load number
   3  if >= 0x40000000 go to 6 else 4
   4  if == 83 go to 5 else 7
   5  return SCMP_ACT_ERRNO(1)
   6  if == 0xffffffff go to 7 else 8
   7  return SCMP_ACT_ALLOW
   8  return SCMP_ACT_KILL_THREAD
";
        assert_eq!(text, expected);
    }
}
