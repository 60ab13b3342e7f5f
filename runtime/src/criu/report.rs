//! What criu's own log says of a failure, for ours.

use std::path::Path;

use crate::log;
use crate::sys::io_error_text;

/// Lines shown before one that tells of an error.
const BEFORE: usize = 5;

/// Quotes each error of the log with the lines before it.
pub(crate) fn quote_errors(path: &Path) {
    let name = path.display();
    match std::fs::read(path) {
        Err(error) => log::warn(format_args!("open {name}: {}", io_error_text(&error))),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let quoted = quotation(&text);
            if !quoted.is_empty() {
                log::warn(format_args!("--- Quoting {:?}", name.to_string()));
                for line in &quoted {
                    log::warn(format_args!("{line}"));
                }
                log::warn(format_args!("---"));
            }
        }
    }
}

/// The lines with their numbers, and `...` where some are left out in between.
fn quotation(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut quoted = Vec::new();
    let mut shown = 0;
    for at in (0..lines.len()).filter(|at| lines[*at].contains("Error")) {
        let from = shown.max(at.saturating_sub(BEFORE));
        if shown > 0 && from > shown {
            quoted.push("...".into());
        }
        quoted.extend((from..=at).map(|at| format!("{}:{}", at + 1, lines[at])));
        shown = at + 1;
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_with_the_lines_before_them_and_none_twice() {
        let lines: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let text = lines.join("\n").replace("\n7\n", "\nError x\n").replace("\n9\n", "\nError y\n");
        let quoted = quotation(&text.replace("\n20", "\nError z"));
        let numbers: Vec<_> = quoted.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(
            numbers,
            ["2", "3", "4", "5", "6", "7", "8", "9", "...", "15", "16", "17", "18", "19", "20"]
        );
        assert_eq!(quoted[5], "7:Error x");
        assert_eq!(quotation("all is well\n"), Vec::<String>::new());
    }
}
