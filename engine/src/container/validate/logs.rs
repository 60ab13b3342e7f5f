//! The log driver of a container and its options.

use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::wire::LogConfig;

const JSON_FILE: [&str; 8] =
    ["max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];
/// Options of how messages get to a driver, whichever it is.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];

/// Completes it with the engine's settings and refuses what the driver would not take.
pub(super) fn check(log: &mut LogConfig, settings: &Settings) -> Result<()> {
    if log.kind.is_empty() {
        log.kind.clone_from(&settings.log.kind);
    }
    if log.kind == settings.log.kind {
        for (name, value) in &settings.log.config {
            log.config.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    match log.kind.as_str() {
        "none" => Ok(()),
        "json-file" | "local" => options(log),
        kind => Err(Error::invalid(format!("logger: no log driver named '{kind}' is registered"))),
    }
}

fn options(log: &LogConfig) -> Result<()> {
    for name in log.config.keys() {
        let known = JSON_FILE.contains(&name.as_str()) || COMMON.contains(&name.as_str());
        if !known {
            let driver = if log.kind == "local" { "log driver local" } else { "json-file log driver" };
            return Err(Error::invalid(format!("unknown log opt '{name}' for {driver}")));
        }
    }
    let size = log.config.get("max-size").map(|text| bytes(text)).transpose()?;
    if size.is_some_and(|size| size == 0) {
        return Err(Error::invalid("max-size must be a positive number"));
    }
    let files = log.config.get("max-file").map(|text| count(text)).transpose()?;
    let files = files.unwrap_or(if log.kind == "local" { 5 } else { 1 });
    if files < 1 {
        return Err(Error::invalid("max-file cannot be less than 1"));
    }
    let limited = size.is_some() || log.kind == "local";
    if log.config.get("compress").map(|text| boolean(text)).transpose()? == Some(true)
        && (files == 1 || !limited)
    {
        let why = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return Err(Error::invalid(why));
    }
    for name in ["labels-regex", "env-regex"] {
        if let Some(text) = log.config.get(name) {
            regex::Regex::new(text).map_err(|error| Error::invalid(format!("log opt {name}: {error}")))?;
        }
    }
    mode(log)
}

fn mode(log: &LogConfig) -> Result<()> {
    let mode = log.config.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    if let Some(size) = log.config.get("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(Error::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        bytes(size).map_err(|error| error.within("error parsing option max-buffer-size"))?;
    }
    Ok(())
}

/// A size such as `10m` or `1.5 GB`, in powers of 1000 as Docker has it for logs.
fn bytes(text: &str) -> Result<u64> {
    let invalid = || Error::invalid(format!("invalid size: '{text}'"));
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[number.len()..].to_lowercase();
    let number: f64 = number.trim_end().parse().map_err(|_| invalid())?;
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let size = number * 1000_f64.powi(power);
    if !(0.0..=9e18).contains(&size) {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range; a part of a byte is none
    let size = size as u64;
    Ok(size)
}

fn count(text: &str) -> Result<i64> {
    text.parse().map_err(|_| Error::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
}

fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::invalid(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
    }
}
