//! What one command of a runtime answered: status, output, errors, and the probe's lines in its output.
#![allow(clippy::return_self_not_must_use)] // assertions chain, and stand alone as well

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;

/// The end of one command. Its `assert_*` methods panic with everything that is known.
#[derive(Clone)]
pub struct Answer {
    /// The command, for messages.
    pub command: String,
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The exit code, 128 + n when it died of signal n.
    pub fn code(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// Standard error with the quoting of the log's text format undone.
    pub fn said(&self) -> String {
        self.err.replace("\\\"", "\"")
    }

    #[track_caller]
    pub fn assert_ok(self) -> Self {
        assert!(self.status.success(), "expected success: {self}");
        self
    }

    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "expected another exit code: {self}");
        self
    }

    /// Failed, and said `text` on standard error.
    #[track_caller]
    pub fn assert_fails_with(self, text: &str) -> Self {
        assert!(!self.status.success(), "expected a failure that says `{text}`: {self}");
        assert!(self.said().contains(text), "expected `{text}` in the error: {self}");
        self
    }

    /// Failed, and said one of `texts` on standard error.
    #[track_caller]
    pub fn assert_fails_with_any(self, texts: &[&str]) -> Self {
        assert!(!self.status.success(), "expected a failure: {self}");
        let said = texts.iter().any(|text| self.said().contains(text));
        assert!(said, "expected one of {texts:?} in the error: {self}");
        self
    }

    /// The probe's answers, in order. Lines that are not JSON are left out.
    pub fn answers(&self) -> Vec<Value> {
        answers(&self.out)
    }

    /// The first `facts` line.
    #[track_caller]
    pub fn facts(&self) -> Value {
        let found = self.answers().into_iter().find(|answer| answer["verb"] == "facts");
        found.unwrap_or_else(|| panic!("the probe did not tell its facts: {self}"))["facts"].clone()
    }

    /// The probe's answer number `index`, counted from zero.
    #[track_caller]
    pub fn act(&self, index: usize) -> Value {
        let answers = self.answers();
        answers.get(index).cloned().unwrap_or_else(|| panic!("the probe has no answer {index}: {self}"))
    }
}

/// The JSON lines of `text`.
pub fn answers(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl fmt::Display for Answer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.out.chars().take(3000).collect();
        write!(to, "{}\n  exit: {}\n  out: {shown}\n  err: {}", self.command, self.code(), self.err)
    }
}
