//! One log line, as logrus' `TextFormatter` (without a terminal) and `JSONFormatter` write it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Format, Level};
use crate::timestamp::rfc3339;

/// What one line says. `errno`, `call`, `field` and `hint` are ours, in JSON alone: the number of the failed call's error
/// and the call, the JSON pointer of the configuration field at fault, and what to do.
pub(super) struct Record<'a> {
    pub(super) seconds: u64,
    pub(super) level: Level,
    pub(super) message: String,
    pub(super) caller: Option<String>,
    pub(super) errno: Option<i32>,
    pub(super) call: Option<String>,
    pub(super) field: Option<&'a str>,
    pub(super) hint: Option<String>,
}

impl Record<'_> {
    /// The line with its newline.
    pub(super) fn line(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => self.json(),
        }
    }

    fn text(&self) -> String {
        let (time, level) = (rfc3339(Duration::from_secs(self.seconds)), self.level.name());
        let mut line = format!("time=\"{time}\" level={level} msg=");
        push_value(&mut line, &self.message);
        if let Some(caller) = &self.caller {
            line.push_str(" file=");
            push_value(&mut line, caller);
        }
        line.push('\n');
        line
    }

    /// Keys in the alphabet's order: Go writes a map so.
    fn json(&self) -> String {
        let mut line = String::from("{");
        let quoted = |text: Option<&str>| text.map(quoted_json);
        for (key, value) in [
            ("call", quoted(self.call.as_deref())),
            ("errno", self.errno.map(|errno| errno.to_string())),
            ("field", quoted(self.field)),
            ("file", quoted(self.caller.as_deref())),
            ("hint", quoted(self.hint.as_deref())),
        ] {
            if let Some(value) = value {
                let _ = write!(line, "\"{key}\":{value},");
            }
        }
        let (level, message) = (self.level.name(), quoted_json(&self.message));
        let time = rfc3339(Duration::from_secs(self.seconds));
        let _ = writeln!(line, "\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}");
        line
    }
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

fn quoted_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value of a text line: bare if it needs no quotes, else quoted as Go's `%q` does.
fn push_value(line: &mut String, value: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if value.chars().all(bare) {
        line.push_str(value);
        return;
    }
    line.push('"');
    value.chars().for_each(|c| push_quoted(line, c));
    line.push('"');
}

fn push_quoted(line: &mut String, c: char) {
    match c {
        '"' | '\\' => line.extend(['\\', c]),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\x07' => line.push_str("\\a"),
        '\x08' => line.push_str("\\b"),
        '\x0b' => line.push_str("\\v"),
        '\x0c' => line.push_str("\\f"),
        c if c.is_ascii_control() => {
            let _ = write!(line, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() => {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        }
        c => line.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str) -> Record<'static> {
        let level = Level::Error;
        Record {
            seconds: 1_795_490_354,
            level,
            message: message.into(),
            caller: None,
            errno: None,
            call: None,
            field: None,
            hint: None,
        }
    }

    #[test]
    fn text_is_what_runc_prints() {
        assert_eq!(
            record("runc: \"create\" requires exactly 1 argument(s)").line(Format::Text),
            "time=\"2026-11-24T03:19:14Z\" level=error msg=\"runc: \\\"create\\\" requires exactly 1 argument(s)\"\n"
        );
        assert_eq!(record("done").line(Format::Text), "time=\"2026-11-24T03:19:14Z\" level=error msg=done\n");
    }

    #[test]
    fn text_stays_on_one_line_whatever_the_message() {
        let line = record("a\nb\tc\u{1b}[1m\u{85}é\\").line(Format::Text);
        assert!(line.ends_with("msg=\"a\\nb\\tc\\x1b[1m\\u0085é\\\\\"\n"), "{line}");
    }

    #[test]
    fn json_has_sorted_keys_and_ours_only_where_known() {
        assert_eq!(
            record("a \"b\"\nc").line(Format::Json),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"2026-11-24T03:19:14Z\"}\n"
        );
        let mut full = record("x");
        (full.errno, full.field, full.caller) =
            (Some(13), Some("/process/args"), Some("runtime/src/a.rs:7".into()));
        (full.call, full.hint) = (Some("execve(a)".into()), Some("look".into()));
        let line = full.line(Format::Json);
        assert_eq!(
            line,
            "{\"call\":\"execve(a)\",\"errno\":13,\"field\":\"/process/args\",\"file\":\"runtime/src/a.rs:7\",\
             \"hint\":\"look\",\"level\":\"error\",\"msg\":\"x\",\"time\":\"2026-11-24T03:19:14Z\"}\n"
        );
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn the_caller_is_shown_in_text() {
        let mut debug = record("a b");
        (debug.level, debug.caller) = (Level::Debug, Some("runtime/src/a.rs:7".into()));
        let line = debug.line(Format::Text);
        assert!(line.ends_with("level=debug msg=\"a b\" file=\"runtime/src/a.rs:7\"\n"), "{line}");
    }
}
