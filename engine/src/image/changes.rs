//! `--change` of a commit and an import: lines of a Dockerfile that change a configuration and run nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::wire::{Config, Healthcheck, Words};

const KNOWN: [&str; 12] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies lines in their order. None of them is applied if one is wrong.
pub(super) fn apply(config: &mut Config, lines: &[String]) -> Result<()> {
    let lines: Vec<&str> = lines.iter().flat_map(|lines| lines.lines()).map(str::trim).collect();
    let lines = lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed: Vec<(String, &str)> = lines.map(split).collect::<Result<_>>()?;
    let mut changed = config.clone();
    let mut has_command = false;
    for (name, text) in parsed {
        if text.is_empty() {
            return Err(refused(&name, "requires at least one argument"));
        }
        match name.as_str() {
            "CMD" => {
                changed.cmd = Some(command(&changed, text));
                has_command = true;
            }
            "ENTRYPOINT" => {
                changed.entrypoint = Some(command(&changed, text));
                // The command before was for another entrypoint.
                if !has_command {
                    changed.cmd = None;
                }
            }
            name => setting(&mut changed, name, text)?,
        }
    }
    *config = changed;
    Ok(())
}

fn split(line: &str) -> Result<(String, &str)> {
    let (name, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let known = name.to_ascii_uppercase();
    if KNOWN.contains(&known.as_str()) {
        return Ok((known, text.trim()));
    }
    Err(Error::invalid(format!("{name} is not a valid change command")))
}

fn refused(name: &str, why: &str) -> Error {
    Error::invalid(format!("{name} {why}"))
}

fn setting(config: &mut Config, name: &str, text: &str) -> Result<()> {
    match name {
        "ENV" => {
            for (name, value) in pairs(config, "ENV", text)? {
                set_variable(config.env.get_or_insert_default(), &name, &value);
            }
        }
        "LABEL" => {
            let pairs = pairs(config, "LABEL", text)?;
            config.labels.get_or_insert_default().extend(pairs);
        }
        "EXPOSE" => {
            for word in words(config, text) {
                config.exposed_ports.extend(ports(&word)?);
            }
        }
        "VOLUME" => {
            let paths = json_words(text).unwrap_or_else(|| words(config, text));
            if paths.iter().any(|path| path.trim().is_empty()) {
                return Err(refused("VOLUME", "specified can not be an empty string"));
            }
            config.volumes.get_or_insert_default().extend(paths.into_iter().map(|path| (path, json!({}))));
        }
        "USER" => config.user = expand(config, text),
        "WORKDIR" => config.working_dir = within(&config.working_dir, &expand(config, text)),
        "STOPSIGNAL" => {
            let signal = expand(config, text);
            crate::container::signal_number(&signal)?;
            config.stop_signal = signal;
        }
        "HEALTHCHECK" => config.healthcheck = Some(health_check(text)?),
        "ONBUILD" => {
            let trigger = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if matches!(trigger.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(Error::invalid(format!("{trigger} isn't allowed as an ONBUILD trigger")));
            }
            config.on_build.get_or_insert_default().push(text.to_owned());
        }
        // An author is given beside the changes; the line is Docker's oldest, and has no place in a configuration.
        _ => {}
    }
    Ok(())
}

/// A list in JSON as it is; anything else is a line for the shell.
fn command(config: &Config, text: &str) -> Words {
    json_words(text).map_or_else(|| shell(config, text), Words)
}

fn shell(config: &Config, line: &str) -> Words {
    let shell = config.shell.as_ref().map(|shell| shell.0.clone()).filter(|shell| !shell.is_empty());
    let mut words = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    words.push(line.to_owned());
    Words(words)
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `NAME=VALUE ...`, or `NAME VALUE` in the old form.
fn pairs(config: &Config, what: &str, text: &str) -> Result<Vec<(String, String)>> {
    let words = raw_words(text);
    let first = words.first().map_or("", String::as_str);
    if !first.contains('=') {
        let (name, value) =
            text.split_once(char::is_whitespace).ok_or_else(|| refused(what, "must have two arguments"))?;
        return Ok(vec![(expand(config, name), expand(config, value.trim()))]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(refused(what, "names can not be blank")),
        Some((name, value)) => Ok((expand(config, name), expand(config, value))),
        None => {
            let why = format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value");
            Err(Error::invalid(why))
        }
    };
    words.iter().map(pair).collect()
}

fn words(config: &Config, text: &str) -> Vec<String> {
    raw_words(text).iter().map(|word| expand(config, word)).collect()
}

/// Words by blanks outside quotes, with their quotes.
fn raw_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut escaped) = (String::new(), None, false);
    for character in text.chars() {
        let ends = character.is_whitespace() && quote.is_none() && !escaped;
        if ends {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            continue;
        }
        match character {
            _ if escaped => escaped = false,
            '\\' if quote != Some('\'') => escaped = true,
            '"' | '\'' if quote.is_none() => quote = Some(character),
            _ if quote == Some(character) => quote = None,
            _ => {}
        }
        word.push(character);
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Takes quotes away and puts variables of the configuration in their place.
fn expand(config: &Config, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    let mut quote = None;
    while let Some(character) = rest.next() {
        match (character, quote) {
            ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
            (_, Some('\'')) => out.push(character),
            ('\'' | '"', None) => quote = Some(character),
            ('\\', _) => match rest.next() {
                // Inside quotes it is kept before what it says nothing of.
                Some(next) if quote == Some('"') && !matches!(next, '"' | '$' | '\\') => {
                    out.extend(['\\', next]);
                }
                Some(next) => out.push(next),
                None => out.push('\\'),
            },
            ('$', _) => out.push_str(&variable(config, &mut rest)),
            _ => out.push(character),
        }
    }
    out
}

fn variable(config: &Config, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let fits = |character: &char| character.is_ascii_alphanumeric() || *character == '_';
    if rest.peek() != Some(&'{') {
        let mut name = String::new();
        while let Some(character) = rest.next_if(fits) {
            name.push(character);
        }
        return if name.is_empty() { "$".to_owned() } else { value(config, &name).unwrap_or_default() };
    }
    let braced: String = rest.skip(1).take_while(|character| *character != '}').collect();
    let end = braced.find(|character: char| !fits(&character)).unwrap_or(braced.len());
    let (name, how) = braced.split_at(end);
    let found = value(config, name);
    let word = |how: &str| expand(config, how);
    match (how.get(..2), how) {
        (_, "") => found.unwrap_or_default(),
        (Some(":-"), _) => found.filter(|value| !value.is_empty()).unwrap_or_else(|| word(&how[2..])),
        (Some(":+"), _) => {
            found.filter(|value| !value.is_empty()).map(|_| word(&how[2..])).unwrap_or_default()
        }
        // As it was written: the shell has more forms than a configuration needs.
        _ => format!("${{{braced}}}"),
    }
}

fn value(config: &Config, name: &str) -> Option<String> {
    let variables = config.env.iter().flatten();
    let mut found =
        variables.filter_map(|variable| variable.split_once('=')).filter(|(known, _)| *known == name);
    found.next().map(|(_, value)| value.to_owned())
}

fn set_variable(variables: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    let known = variables.iter_mut().find(|known| known.split('=').next() == Some(name));
    match known {
        Some(known) => *known = text,
        None => variables.push(text),
    }
}

/// `PORT[-PORT][/PROTOCOL]`, as keys.
fn ports(text: &str) -> Result<BTreeMap<String, Value>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| Error::invalid(format!("invalid containerPort: {range}")))
    };
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(Error::invalid(format!("invalid containerPort: {range}")));
    }
    Ok((first..=last).map(|port| (format!("{port}/{protocol}"), json!({}))).collect())
}

/// A path below the one before, unless it is absolute.
fn within(before: &str, path: &str) -> String {
    let before = if before.is_empty() { "/" } else { before };
    let joined = std::path::Path::new("/").join(before).join(path);
    let mut clean = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean.to_string_lossy().into_owned()
}

/// `NONE`, or `[--OPTION=VALUE ...] CMD ...`.
fn health_check(text: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "interval" => check.interval = duration(name, value)?,
            "timeout" => check.timeout = duration(name, value)?,
            "start-period" => check.start_period = duration(name, value)?,
            "start-interval" => check.start_interval = duration(name, value)?,
            "retries" => {
                let number = value.parse().ok().filter(|number| *number >= 0);
                check.retries =
                    number.ok_or_else(|| refused("HEALTHCHECK", "--retries must be at least 0"))?;
            }
            name => return Err(Error::invalid(format!("unknown flag: {name}"))),
        }
        rest = after.trim_start();
    }
    let (kind, command_line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command_line.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("NONE", _) => return Err(refused("HEALTHCHECK", "NONE takes no arguments")),
        ("CMD", "") => return Err(Error::invalid("Missing command after HEALTHCHECK CMD")),
        ("CMD", line) => match json_words(line) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            // Its variables are those of the container.
            None => vec!["CMD-SHELL".to_owned(), line.to_owned()],
        },
        (other, _) => {
            let why = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
            return Err(Error::invalid(why));
        }
    };
    Ok(check)
}

/// Nanoseconds of a duration in Go's words.
fn duration(name: &str, text: &str) -> Result<i64> {
    let refused = || Error::invalid(format!("invalid duration {text:?} of --{name}"));
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|digit: char| !digit.is_ascii_digit() && digit != '.').ok_or_else(refused)?;
        let (number, after) = rest.split_at(end);
        let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let unit = units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(refused)?;
        sum += number.parse::<f64>().map_err(|_| refused())? * unit.1;
        rest = &after[unit.0.len()..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let nanoseconds = sum as i64;
    if nanoseconds > 0 && nanoseconds < 1_000_000 {
        return Err(Error::invalid(format!("Interval {name:?} cannot be less than 1ms")));
    }
    Ok(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Result<Config> {
        let mut config = Config {
            env: Some(vec!["A=1".to_owned(), "B=2".to_owned()]),
            cmd: Some(Words(vec!["old".to_owned()])),
            working_dir: "/srv".to_owned(),
            ..Config::default()
        };
        apply(&mut config, &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())?;
        Ok(config)
    }

    fn words(words: &[&str]) -> Words {
        Words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn commands() {
        assert_eq!(changed(&["CMD [\"a\", \"b c\"]"]).unwrap().cmd, Some(words(&["a", "b c"])));
        assert_eq!(changed(&["cmd echo $A"]).unwrap().cmd, Some(words(&["/bin/sh", "-c", "echo $A"])));
        assert_eq!(changed(&["CMD [broken"]).unwrap().cmd, Some(words(&["/bin/sh", "-c", "[broken"])));
        let both = changed(&["CMD x", "ENTRYPOINT [\"e\"]"]).unwrap();
        assert_eq!((both.entrypoint, both.cmd), (Some(words(&["e"])), Some(words(&["/bin/sh", "-c", "x"]))));
        assert_eq!(changed(&["ENTRYPOINT [\"e\"]"]).unwrap().cmd, None);
    }

    #[test]
    fn settings() {
        let config = changed(&[
            "ENV A=x C=\"y z\" D='$A' E=${A}/${Q:-no}${A:+yes}",
            "ENV F one two",
            "LABEL a=b \"c d\"=e",
            "EXPOSE 80 81-82/udp",
            "VOLUME /data [x",
            "VOLUME [\"/j\"]",
            "USER nobody",
            "WORKDIR sub/../app",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN true",
        ])
        .unwrap();
        let env: Vec<&str> = config.env.iter().flatten().map(String::as_str).collect();
        assert_eq!(env, ["A=x", "B=2", "C=y z", "D=$A", "E=1/noyes", "F=one two"]);
        let labels = config.labels.unwrap();
        assert_eq!((labels["a"].as_str(), labels["c d"].as_str()), ("b", "e"));
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp", "81/udp", "82/udp"]);
        assert_eq!(config.volumes.unwrap().keys().collect::<Vec<_>>(), ["/data", "/j", "[x"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("nobody", "/srv/app"));
        assert_eq!(config.on_build.unwrap(), ["RUN true"]);
    }

    #[test]
    fn health_checks() {
        let check = |line: &str| changed(&[line]).map(|config| config.healthcheck.unwrap());
        let found = check("HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x").unwrap();
        assert_eq!(found.test, ["CMD-SHELL", "curl -f x"]);
        assert_eq!((found.interval, found.retries), (90_000_000_000, 2));
        assert_eq!(check("HEALTHCHECK CMD [\"a\"]").unwrap().test, ["CMD", "a"]);
        assert_eq!(check("HEALTHCHECK NONE").unwrap().test, ["NONE"]);
        for wrong in [
            "HEALTHCHECK --x=1 CMD a",
            "HEALTHCHECK RUN a",
            "HEALTHCHECK --interval=5 CMD a",
            "HEALTHCHECK CMD",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_changes_if_a_line_is_wrong() {
        let mut config = Config::default();
        let lines = ["USER a".to_owned(), "RUN b".to_owned()];
        assert_eq!(apply(&mut config, &lines).unwrap_err().message, "RUN is not a valid change command");
        assert_eq!(config.user, "");
        for (line, text) in [
            ("USER", "USER requires at least one argument"),
            ("ENV x", "ENV must have two arguments"),
            ("EXPOSE 70000", "invalid containerPort: 70000"),
            ("EXPOSE 1/x", "invalid proto: x"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ] {
            assert_eq!(changed(&[line]).unwrap_err().message, text, "{line}");
        }
    }
}
