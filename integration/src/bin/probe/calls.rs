//! System calls by number, for what a seccomp filter does to them: `VERB NUMBER ARGUMENTS`, the arguments in decimal or
//! hexadecimal with commas between, `-` for none.

use std::io;

use serde_json::{Value, json};

use crate::sys::entry::{self, Args};

pub(crate) fn perform(verb: &str, number: &str, args: &str) -> Option<io::Result<Value>> {
    let number = i64::try_from(value(number)?).ok()?;
    let args = arguments(args)?;
    Some(match verb {
        "syscall" => entry::syscall(number, args).map(Value::from),
        #[cfg(target_arch = "x86_64")]
        "int80" => entry::int80(number, args).map(Value::from),
        "syscall-in-thread" => entry::outlived_by_thread(number, args).map(Value::from),
        "trapped-syscall" => {
            let (number, arch, errno) = entry::trapped(number, args);
            Ok(json!({"number": number, "arch": arch, "errno": errno}))
        }
        "traced-syscall" => entry::traced(number, args).map(Value::from),
        _ => return None,
    })
}

fn arguments(text: &str) -> Option<Args> {
    let mut args = Args::default();
    let given = text.split(',').filter(|text| *text != "-");
    for (index, text) in given.enumerate() {
        *args.get_mut(index)? = value(text)?;
    }
    Some(args)
}

fn value(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
