//! Splits one level of the command line into flags and positional arguments, by the rules of runc's parser
//! (urfave/cli v3): one dash or two, `--flag=value` and `--flag value`, no clusters of short flags, flags and
//! arguments in any order up to `--`.

use super::flag::{Flag, Takes, parse_bool};

/// When a positional argument ends the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Never: `delete ID --force` is fine.
    Never,
    /// At the second: what follows the container's id belongs to a program (`exec ID ls -l`).
    AfterFirst,
    /// At the first: it names the command, which has flags of its own.
    AtFirst,
}

/// What one argument turned out to be.
enum Word<'a> {
    Flag { name: &'a str, value: Option<&'a str> },
    Positional,
    EndOfFlags,
}

/// What became of a flag.
pub(super) enum Accepted {
    Yes,
    /// The flag took the argument after it.
    YesWithNext,
    /// No such flag; somebody else may know it.
    Unknown,
    Refused(String),
}

/// A flag as it stands on the command line.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// Without dashes.
    pub(super) name: &'a str,
    /// With dashes.
    pub(super) written: &'a str,
    /// After `=`.
    pub(super) value: Option<&'a str>,
    /// The argument that follows, which may be the value.
    pub(super) next: Option<&'a str>,
}

/// Sets one flag of `tables` in `target`.
pub(super) fn accept<A>(tables: &[&[Flag<A>]], target: &mut A, given: Given<'_>) -> Accepted {
    let Some(flag) = tables.iter().copied().flatten().find(|flag| flag.names.contains(&given.name)) else {
        return Accepted::Unknown;
    };
    let (value, accepted) = match (&flag.takes, given.value, given.next) {
        (Takes::Switch(_), None | Some(""), _) => ("true", Accepted::Yes),
        (_, Some(value), _) => (value, Accepted::Yes),
        (_, None, Some(next)) => (next, Accepted::YesWithNext),
        (_, None, None) => return Accepted::Refused(format!("flag needs an argument: {}", given.written)),
    };
    let set = match flag.takes {
        Takes::Switch(set) => parse_bool(value).map(|on| set(target, on)),
        Takes::Text(set) => {
            set(target, value);
            Ok(())
        }
        Takes::Parsed(set) => set(target, value),
    };
    match set {
        Ok(()) => accepted,
        Err(why) => Accepted::Refused(format!("invalid value \"{value}\" for flag -{}: {why}", given.name)),
    }
}

/// Hands the flags among `args` to `accept` and returns the positional arguments.
///
/// # Errors
/// The text that belongs after `Incorrect Usage: `.
pub(super) fn scan<'a>(
    args: &'a [String],
    stop: Stop,
    accept: &mut dyn FnMut(Given<'_>) -> Accepted,
) -> Result<Vec<&'a str>, String> {
    let mut positional = Vec::new();
    let mut rest = args.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match classify(word, stop, positional.len()) {
            Word::EndOfFlags => return Ok(positional.into_iter().chain(rest).collect()),
            Word::Positional if ends(stop, positional.len()) => {
                positional.push(word);
                return Ok(positional.into_iter().chain(rest).collect());
            }
            Word::Positional => positional.push(word),
            Word::Flag { name, value } => {
                let next = rest.clone().next();
                match accept(Given { name, written: word, value, next }) {
                    Accepted::Yes => {}
                    Accepted::YesWithNext => drop(rest.next()),
                    Accepted::Unknown => return Err(format!("flag provided but not defined: -{name}")),
                    Accepted::Refused(why) => return Err(why),
                }
            }
        }
    }
    Ok(positional)
}

/// Whether a positional argument that follows `seen` others is the last that is looked at.
fn ends(stop: Stop, seen: usize) -> bool {
    match stop {
        Stop::Never => false,
        Stop::AfterFirst => seen == 1,
        Stop::AtFirst => true,
    }
}

fn classify(word: &str, stop: Stop, seen: usize) -> Word<'_> {
    if word == "--" {
        return Word::EndOfFlags;
    }
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or_default();
    // `-` and `-9` are no flags. After the id of `exec`, nothing is.
    if !name.starts_with(char::is_alphabetic) && !word.starts_with("--")
        || stop == Stop::AfterFirst && seen == 1
    {
        return Word::Positional;
    }
    match name.split_once('=') {
        Some((name, value)) => Word::Flag { name, value: Some(value) },
        None => Word::Flag { name, value: None },
    }
}
