//! The program inside the containers under test. It reads its arguments as a list of verbs, does them in
//! order and prints one line of JSON for each, so that a test can say what it expects of a live process.
//!
//! Verbs: `facts` (everything known about this process), `act`s of `acts.rs`, and `hook FILE` (what an OCI
//! hook sees, appended to FILE). It judges nothing: tests do.

mod acts;
mod attacks;
mod calls;
mod facts;
mod hook;
mod sys;

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(verb) = words.next() {
        if verb == "exit" {
            let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            return ExitCode::from(status);
        }
        let Some(answer) = perform(&verb, &mut words) else {
            say(&json!({"verb": verb, "error": "no such verb, or an argument is missing"}));
            return ExitCode::from(99);
        };
        say(&answer);
    }
    ExitCode::SUCCESS
}

fn perform(verb: &str, words: &mut dyn Iterator<Item = String>) -> Option<Value> {
    match verb {
        "facts" => Some(json!({"verb": "facts", "facts": facts::all()})),
        "hook" => Some(hook::record(&words.next()?)),
        _ => acts::perform(verb, words),
    }
}

/// One line, flushed: the reader may be waiting for it while we go on.
fn say(answer: &Value) {
    let mut line = answer.to_string();
    line.push('\n');
    let mut out = std::io::stdout();
    let done = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    if done.is_err() {
        std::process::exit(98);
    }
}
