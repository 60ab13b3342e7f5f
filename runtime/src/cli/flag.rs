//! A flag, defined once: its names, what it takes, where the value goes, and its line of help.

/// A flag that fills a field of `A`.
pub(super) struct Flag<A> {
    /// The long name first, then the others, without dashes.
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes<A>,
    /// Empty: accepted, but not shown.
    pub(super) help: &'static str,
}

/// A second occurrence replaces the first or adds to it: that is up to the function.
pub(super) enum Takes<A> {
    /// Nothing, or `=true` and `=false`.
    Switch(fn(&mut A, bool)),
    /// One value, whatever it is.
    Text(fn(&mut A, &str)),
    /// One value of a certain form; the error says which.
    Parsed(fn(&mut A, &str) -> Result<(), String>),
}

type Names = &'static [&'static str];

impl<A> Flag<A> {
    pub(super) const fn switch(names: Names, set: fn(&mut A, bool), help: &'static str) -> Self {
        Self { names, takes: Takes::Switch(set), help }
    }

    pub(super) const fn text(names: Names, set: fn(&mut A, &str), help: &'static str) -> Self {
        Self { names, takes: Takes::Text(set), help }
    }

    pub(super) const fn parsed(
        names: Names,
        set: fn(&mut A, &str) -> Result<(), String>,
        help: &'static str,
    ) -> Self {
        Self { names, takes: Takes::Parsed(set), help }
    }

    /// `--bundle value, -b value`, as help shows it.
    pub(super) fn usage(&self) -> String {
        let value = if matches!(self.takes, Takes::Switch(_)) { "" } else { " value" };
        let form = |name: &&str| format!("{}{name}{value}", if name.len() == 1 { "-" } else { "--" });
        self.names.iter().map(form).collect::<Vec<_>>().join(", ")
    }
}

/// The words Go's `strconv.ParseBool` knows.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".into()),
    }
}
