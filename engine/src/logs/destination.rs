//! Where the monitor writes a container's log, and how: what `LogConfig` means.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use regex::bytes::{Regex, RegexBuilder};

use crate::container::Record;
use crate::error::{During as _, Error, Result};
use crate::monitor::{Log, LogFiles};
use crate::wire::LogConfig;

/// Docker's defaults of the driver `local`.
const LOCAL_SIZE: u64 = 20 * 1024 * 1024;
const LOCAL_FILES: u32 = 5;

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    JsonFile,
    Local,
}

impl Format {
    /// The format and the path of the file that is written; none without a log.
    pub(super) fn of(record: &Record, folder: &Path) -> Option<(Self, PathBuf)> {
        match record.host_config.log_config.kind.as_str() {
            "" | "json-file" => Some((Self::JsonFile, folder.join(format!("{}-json.log", record.id)))),
            "local" => Some((Self::Local, folder.join("local-logs/container.log"))),
            _ => None,
        }
    }
}

/// The log of a container that logs in the format that other programs read as well.
pub(crate) fn json_file(record: &Record, folder: &Path) -> Option<PathBuf> {
    Format::of(record, folder).filter(|(format, _)| *format == Format::JsonFile).map(|(_, path)| path)
}

/// What the monitor is to be told. Makes the folder that the log is in.
pub(crate) fn destination(record: &Record, folder: &Path) -> Result<Log> {
    let Some(options) = options(&record.host_config.log_config)? else { return Ok(Log::None) };
    let (format, path) = Format::of(record, folder)
        .ok_or_else(|| Error::system(format!("no log of driver {}", record.host_config.log_config.kind)))?;
    let files = LogFiles {
        path,
        max_size: options.max_size,
        keep: options.keep,
        compress: options.compress,
        attributes: attributes(record)?,
    };
    Ok(match format {
        Format::JsonFile => Log::JsonFile(files),
        Format::Local => {
            let folder = folder.join("local-logs");
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).during("create", &folder)?;
            Log::Local(files)
        }
    })
}

/// Options of the files.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    max_size: Option<u64>,
    keep: u32,
    compress: bool,
}

/// None: the driver `none`.
fn options(config: &LogConfig) -> Result<Option<Options>> {
    let (driver, defaults): (_, (Option<u64>, u32, bool)) = match config.kind.as_str() {
        "none" => return Ok(None),
        "" | "json-file" => ("json-file", (None, 1, false)),
        "local" => ("local", (Some(LOCAL_SIZE), LOCAL_FILES, true)),
        other => return Err(Error::invalid(format!("logger: no log driver named '{other}' is registered"))),
    };
    check_names(config, driver)?;
    let option = |name: &str| config.config.get(name).map(String::as_str);
    let max_size = option("max-size").map(size).transpose()?.or(defaults.0);
    let keep =
        option("max-file").map(|text| text.parse().map_err(|_| wrong("max-file", text))).transpose()?;
    let compress =
        option("compress").map(|text| boolean(text).ok_or_else(|| wrong("compress", text))).transpose()?;
    let keep = keep.unwrap_or(defaults.1);
    if keep < 1 {
        return Err(Error::invalid("max-file cannot be less than 1"));
    }
    let compress = compress.unwrap_or(defaults.2);
    if compress && (keep < 2 || max_size.is_none()) {
        let why = match driver {
            "local" => "compression cannot be enabled when max file count is 1",
            _ => "compress cannot be true when max-file is less than 2 or max-size is not set",
        };
        return Err(Error::invalid(why));
    }
    check_mode(option("mode"), option("max-buffer-size"))?;
    Ok(Some(Options { max_size, keep, compress }))
}

fn check_names(config: &LogConfig, driver: &str) -> Result<()> {
    let known = |name: &str| match name {
        // How the engine is fed, which the monitor does not need: no output waits for the engine.
        "max-size" | "max-file" | "compress" | "mode" | "max-buffer-size" => true,
        "labels" | "labels-regex" | "env" | "env-regex" | "tag" => driver == "json-file",
        _ => false,
    };
    let text = match driver {
        "local" => "log driver local",
        _ => "json-file log driver",
    };
    match config.config.keys().find(|name| !known(name)) {
        Some(name) => Err(Error::invalid(format!("unknown log opt '{name}' for {text}"))),
        None => Ok(()),
    }
}

fn check_mode(mode: Option<&str>, buffer: Option<&str>) -> Result<()> {
    match (mode, buffer) {
        (None | Some("" | "blocking" | "non-blocking"), None) => Ok(()),
        (Some("non-blocking"), Some(buffer)) => size(buffer).map(drop),
        (Some(mode), None) => Err(Error::invalid(format!("logger: logging mode not supported: {mode}"))),
        (_, Some(_)) => {
            Err(Error::invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'"))
        }
    }
}

fn wrong(option: &str, text: &str) -> Error {
    Error::invalid(format!("invalid value for log opt '{option}': {text:?}"))
}

/// As Go's strconv.ParseBool.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A size as people write it, `10m`, `1.5GB`, `512k`: powers of 1000.
fn size(text: &str) -> Result<u64> {
    let invalid = || Error::invalid(format!("invalid size: '{text}'"));
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let bytes = number.parse::<f64>().map_err(|_| invalid())? * 1000_f64.powi(power);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it has no sign, and saturates
    let bytes = bytes as u64;
    if bytes == 0 {
        return Err(Error::invalid("max-size must be a positive number"));
    }
    Ok(bytes)
}

/// Labels and variables that every entry shows, and the tag.
fn attributes(record: &Record) -> Result<BTreeMap<String, String>> {
    let options = &record.host_config.log_config.config;
    let option = |name: &str| options.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let labels: Vec<(&str, &str)> =
        record.config.labels.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let variables: Vec<(&str, &str)> =
        record.config.env.iter().flatten().filter_map(|variable| variable.split_once('=')).collect();
    let mut attributes = BTreeMap::new();
    for (all, names, expression) in
        [(labels, option("labels"), option("labels-regex")), (variables, option("env"), option("env-regex"))]
    {
        let expression = expression.map(compile).transpose()?;
        let wanted = |name: &str| {
            names.is_some_and(|names| names.split(',').any(|wanted| wanted == name))
                || expression.as_ref().is_some_and(|expression| expression.is_match(name.as_bytes()))
        };
        let found = all.into_iter().filter(|(name, _)| wanted(name));
        attributes.extend(found.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    if let Some(template) = option("tag") {
        attributes.insert("tag".to_owned(), tag(template, record)?);
    }
    Ok(attributes)
}

fn compile(expression: &str) -> Result<Regex> {
    let compiled = RegexBuilder::new(expression).unicode(false).build();
    compiled
        .map_err(|error| Error::invalid(format!("invalid expression {expression:?} of a log opt: {error}")))
}

/// A tag with what stands between `{{` and `}}` filled in.
fn tag(template: &str, record: &Record) -> Result<String> {
    let image = record.image.strip_prefix("sha256:").unwrap_or(&record.image);
    let short_image = image.get(..12).unwrap_or(image);
    let mut tag = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) = after
            .split_once("}}")
            .ok_or_else(|| Error::invalid(format!("log tag {template:?} has no end of a field")))?;
        tag.push_str(before);
        match field.trim() {
            ".ID" => tag.push_str(record.short_id()),
            ".FullID" => tag.push_str(&record.id),
            ".Name" => tag.push_str(&record.name),
            ".ImageID" => tag.push_str(short_image),
            ".ImageFullID" => tag.push_str(&record.image),
            ".ImageName" => tag.push_str(&record.config.image),
            ".Command" => {
                tag.push_str(&record.path);
                record.args.iter().for_each(|argument| tag.extend([" ", argument]));
            }
            ".DaemonName" => tag.push_str("docker"),
            other => return Err(Error::invalid(format!("unknown field {other:?} in log tag {template:?}"))),
        }
        rest = after;
    }
    tag.push_str(rest);
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::sample;

    fn config(kind: &str, options: &[(&str, &str)]) -> LogConfig {
        let config = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        LogConfig { kind: kind.to_owned(), config }
    }

    #[test]
    fn sizes_are_powers_of_1000() {
        for (text, bytes) in
            [("10m", 10_000_000), ("1.5k", 1500), ("512", 512), ("2GB", 2_000_000_000), ("3 kb", 3000)]
        {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "m", "10x", "0", "-1", "1..2k"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_have_dockers_defaults_and_limits() {
        let table = [
            (config("json-file", &[]), (None, 1, false)),
            (config("", &[("max-size", "10m"), ("max-file", "3")]), (Some(10_000_000), 3, false)),
            (config("local", &[]), (Some(LOCAL_SIZE), 5, true)),
            (config("local", &[("max-file", "1"), ("compress", "false")]), (Some(LOCAL_SIZE), 1, false)),
            (config("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "4m")]), (None, 1, false)),
        ];
        for (config, (max_size, keep, compress)) in table {
            assert_eq!(options(&config).unwrap(), Some(Options { max_size, keep, compress }), "{config:?}");
        }
        assert_eq!(options(&config("none", &[])).unwrap(), None);
        for (config, why) in [
            (config("syslog", &[]), "logger: no log driver named 'syslog' is registered"),
            (
                config("json-file", &[("max-files", "3")]),
                "unknown log opt 'max-files' for json-file log driver",
            ),
            (config("local", &[("tag", "x")]), "unknown log opt 'tag' for log driver local"),
            (config("local", &[("max-file", "1")]), "compression cannot be enabled when max file count is 1"),
            (config("json-file", &[("max-file", "0")]), "max-file cannot be less than 1"),
            (
                config("json-file", &[("compress", "true")]),
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            (config("json-file", &[("mode", "x")]), "logger: logging mode not supported: x"),
        ] {
            assert_eq!(options(&config).unwrap_err().message, why);
        }
    }

    #[test]
    fn attributes_are_labels_variables_and_the_tag() {
        let mut record = sample::record('c', "web");
        let pairs = [("com.x", "1"), ("org.y", "2")];
        record.config.labels =
            Some(pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect());
        record.config.env = Some(vec!["A=b=c".to_owned(), "OS_X=y".to_owned(), "NONE".to_owned()]);
        let options =
            [("labels", "com.x,none"), ("env-regex", "^OS_"), ("env", "A"), ("tag", "{{.Name}}/{{ .ID }}!")];
        record.host_config.log_config = config("json-file", &options);
        let found = attributes(&record).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("A", "b=c"), ("OS_X", "y"), ("com.x", "1"), ("tag", "web/cccccccccccc!")]);
        record.host_config.log_config = config("json-file", &[("tag", "{{.Nope}}")]);
        assert!(attributes(&record).unwrap_err().message.contains("unknown field \".Nope\""));
    }
}
