//! What of a container does not depend on the host.

use crate::container::signal_number;
use crate::error::{Error, Result};
use crate::wire::{Config, Healthcheck};

/// The shortest time of a health check, in nanoseconds.
const SHORTEST: i64 = 1_000_000;
/// What sethostname(2) takes.
const LONGEST_HOSTNAME: usize = 64;

pub(super) fn check(config: &mut Config) -> Result<()> {
    if !config.working_dir.is_empty() {
        config.working_dir = absolute(&config.working_dir)?;
    }
    if !config.stop_signal.is_empty() {
        signal_number(&config.stop_signal)?;
    }
    if let Some(variable) =
        config.env.iter().flatten().find(|variable| variable.is_empty() || variable.starts_with('='))
    {
        return Err(Error::invalid(format!("invalid environment variable: {variable}")));
    }
    for (kind, name) in [("hostname", &config.hostname), ("domainname", &config.domainname)] {
        if name.len() > LONGEST_HOSTNAME || name.contains('\0') {
            return Err(Error::invalid(format!("invalid {kind} format: {name}")));
        }
    }
    config.healthcheck.as_ref().map_or(Ok(()), healthcheck)
}

/// The path without `.`, `..` and needless slashes.
fn absolute(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        let why = format!("the working directory '{path}' is invalid, it needs to be an absolute path");
        return Err(Error::invalid(why));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

fn healthcheck(check: &Healthcheck) -> Result<()> {
    let times = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    if let Some((name, _)) = times.into_iter().find(|(_, time)| *time != 0 && *time < SHORTEST) {
        return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
    }
    if check.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    match check.test.first().map(String::as_str) {
        None | Some("" | "NONE" | "CMD" | "CMD-SHELL") => Ok(()),
        Some(kind) => Err(Error::invalid(format!("Unknown healthcheck type '{kind}' (expected 'CMD')"))),
    }
}
