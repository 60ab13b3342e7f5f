//! The arguments of `update`.

use std::path::PathBuf;
use std::str::FromStr;

use knarr_cgroups::{BlockIo, Cpu, Memory, Pids, Resources};

use super::create::path;
use super::flag::Flag;
use super::scan::Stop;
use super::verb::{Count, Manual, Verb};
use crate::error::{Error, Result};

/// Texts are as typed, and empty where a flag was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UpdateArgs {
    pub(crate) id: String,
    /// A file with a JSON `resources` object, or `-`; the other flags have no effect then.
    pub(crate) resources: Option<PathBuf>,
    blkio_weight: Option<u16>,
    pids_limit: Option<i64>,
    cpuset_cpus: String,
    cpuset_mems: String,
    cpu_idle: String,
    cpu_burst: String,
    cpu_period: String,
    cpu_quota: String,
    cpu_rt_period: String,
    cpu_rt_runtime: String,
    cpu_share: String,
    memory: String,
    memory_swap: String,
    memory_reservation: String,
    kernel_memory: String,
    kernel_memory_tcp: String,
    pub(crate) l3_cache_schema: String,
    pub(crate) mem_bw_schema: String,
}

impl UpdateArgs {
    /// The limits that the flags give.
    pub(crate) fn limits(&self) -> Result<Resources> {
        Ok(Resources {
            memory: Some(self.memory()?),
            cpu: Some(self.cpu()?),
            pids: Some(Pids { limit: self.pids_limit }),
            block_io: Some(BlockIo {
                weight: self.blkio_weight.filter(|weight| *weight != 0),
                ..BlockIo::default()
            }),
            ..Resources::default()
        })
    }

    fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            limit: size("memory", &self.memory)?,
            swap: size("memory-swap", &self.memory_swap)?,
            kernel: size("kernel-memory", &self.kernel_memory)?,
            kernel_tcp: size("kernel-memory-tcp", &self.kernel_memory_tcp)?,
            reservation: size("memory-reservation", &self.memory_reservation)?,
            ..Memory::default()
        })
    }

    fn cpu(&self) -> Result<Cpu> {
        Ok(Cpu {
            cpus: self.cpuset_cpus.clone(),
            mems: self.cpuset_mems.clone(),
            idle: number("cpu-idle", &self.cpu_idle)?,
            burst: number("cpu-burst", &self.cpu_burst)?,
            period: number("cpu-period", &self.cpu_period)?,
            realtime_period: number("cpu-rt-period", &self.cpu_rt_period)?,
            shares: number("cpu-share", &self.cpu_share)?,
            quota: number("cpu-quota", &self.cpu_quota)?,
            realtime_runtime: number("cpu-rt-runtime", &self.cpu_rt_runtime)?,
        })
    }
}

fn number<T: FromStr<Err: std::fmt::Display>>(flag: &str, text: &str) -> Result<Option<T>> {
    let invalid = |error: T::Err| Error::Usage(format!("invalid value for {flag}: {error}"));
    (!text.is_empty()).then(|| text.parse().map_err(invalid)).transpose()
}

fn size(flag: &str, text: &str) -> Result<Option<i64>> {
    let invalid = |why| Error::Usage(format!("invalid value for {flag}: {why}"));
    (!text.is_empty()).then(|| parse_size(text).map_err(invalid)).transpose()
}

/// Bytes, with a unit of 1024 and its powers: `512M`, `1.5g`, `64KiB`; or -1. As docker's go-units reads it.
fn parse_size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let invalid = || format!("invalid size: '{text}'");
    let end =
        text.rfind(|letter: char| letter.is_ascii_digit() || ". ".contains(letter)).ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let suffix = suffix.to_lowercase();
    let unit = unit(&suffix).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    multiply(number, unit).ok_or_else(invalid)
}

fn unit(suffix: &str) -> Option<u64> {
    let power = match suffix.trim_end_matches("ib").trim_end_matches('b') {
        "" if matches!(suffix, "" | "b") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    // `kbb` and the like.
    (suffix.len() <= 3 && !suffix.ends_with("bb") && !suffix.ends_with("bib")).then(|| 1 << (10 * power))
}

/// Exact, and rounded down to a byte.
fn multiply(number: &str, unit: u64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(18)];
    let part = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let unit = u128::from(unit);
    let total = part(whole)?.checked_mul(unit)?.checked_add(part(fraction)? * unit / scale)?;
    i64::try_from(total).ok()
}

fn parse_number<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) const UPDATE: Verb<UpdateArgs> = Verb {
    manual: Manual {
        name: "update",
        summary: "update container resource constraints",
        arguments: "<container-id>",
        about: "Limits that are not given stay as they are. Sizes are in bytes, or have a unit: 512M, 1g. If a limit\n\
                cannot be set none is changed.",
    },
    flags: &[FLAGS],
    count: Count::Exactly(1),
    stop: Stop::Never,
    take: |args, positional| args.id = positional[0].into(),
};

const FLAGS: &[Flag<UpdateArgs>] = &[
    Flag::text(
        &["resources", "r"],
        |a, text| a.resources = path(text),
        "read a JSON 'resources' object from this file, or from standard input if it is '-'; no other flag counts then",
    ),
    Flag::parsed(
        &["blkio-weight"],
        |a, text| parse_number(text).map(|weight| a.blkio_weight = Some(weight)),
        "share of block I/O, 10 to 1000",
    ),
    Flag::text(
        &["cpu-period"],
        |a, text| a.cpu_period = text.into(),
        "period of the CPU quota, in microseconds",
    ),
    Flag::text(
        &["cpu-quota"],
        |a, text| a.cpu_quota = text.into(),
        "CPU time in each period, in microseconds; -1: no limit",
    ),
    Flag::text(
        &["cpu-burst"],
        |a, text| a.cpu_burst = text.into(),
        "unused CPU time that may be saved for later, in microseconds",
    ),
    Flag::text(&["cpu-share"], |a, text| a.cpu_share = text.into(), "share of CPU time, 2 to 262144"),
    Flag::text(
        &["cpu-rt-period"],
        |a, text| a.cpu_rt_period = text.into(),
        "period of the real-time limit, in microseconds",
    ),
    Flag::text(
        &["cpu-rt-runtime"],
        |a, text| a.cpu_rt_runtime = text.into(),
        "real-time CPU time in each period, in microseconds",
    ),
    Flag::text(&["cpuset-cpus"], |a, text| a.cpuset_cpus = text.into(), "CPUs to run on, such as 0-3,7"),
    Flag::text(&["cpuset-mems"], |a, text| a.cpuset_mems = text.into(), "memory nodes to use"),
    Flag::text(&["kernel-memory"], |a, text| a.kernel_memory = text.into(), ""),
    Flag::text(&["kernel-memory-tcp"], |a, text| a.kernel_memory_tcp = text.into(), ""),
    Flag::text(&["memory"], |a, text| a.memory = text.into(), "memory limit; -1: none"),
    Flag::text(
        &["cpu-idle"],
        |a, text| a.cpu_idle = text.into(),
        "1: run only when a CPU has nothing else to do; 0: as usual",
    ),
    Flag::text(
        &["memory-reservation"],
        |a, text| a.memory_reservation = text.into(),
        "memory to be left to the container when it is scarce",
    ),
    Flag::text(
        &["memory-swap"],
        |a, text| a.memory_swap = text.into(),
        "limit of memory and swap together; -1: no limit",
    ),
    Flag::parsed(
        &["pids-limit"],
        |a, text| parse_number(text).map(|limit| a.pids_limit = Some(limit)),
        "number of processes and threads; -1: no limit",
    ),
    Flag::text(
        &["l3-cache-schema"],
        |a, text| a.l3_cache_schema = text.into(),
        "Intel RDT: share of the L3 cache, a line of resctrl's schemata",
    ),
    Flag::text(
        &["mem-bw-schema"],
        |a, text| a.mem_bw_schema = text.into(),
        "Intel RDT: share of the memory bandwidth, a line of resctrl's schemata",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("67108864", 64 << 20),
            ("512M", 512 << 20),
            ("1g", 1 << 30),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("64KiB", 65536),
            ("10 mb", 10 << 20),
            ("7b", 7),
            ("0.3333333333333333333333k", 341),
            ("2T", 2 << 40),
            ("8191p", 8191 << 50),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("", "invalid size: ''"),
            ("M", "invalid size: 'M'"),
            ("-5", "invalid size: '-5'"),
            ("1.2.3", "invalid size: '1.2.3'"),
            (".", "invalid size: '.'"),
            ("8192p", "invalid size: '8192p'"),
            ("99999999999999999999", "invalid size: '99999999999999999999'"),
            ("5x", "invalid suffix: 'x'"),
            ("5bb", "invalid suffix: 'bb'"),
            ("5kbb", "invalid suffix: 'kbb'"),
            ("5ib", "invalid suffix: 'ib'"),
            ("5kibb", "invalid suffix: 'kibb'"),
        ] {
            assert_eq!(parse_size(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_given_is_not_there() {
        let limits = UpdateArgs::default().limits().unwrap();
        assert_eq!(limits, serde_json::from_str(r#"{"memory":{},"cpu":{},"pids":{},"blockIO":{}}"#).unwrap());
    }

    #[test]
    fn a_bad_number_names_its_flag() {
        let error = |args: UpdateArgs| args.limits().unwrap_err().line();
        assert_eq!(
            error(UpdateArgs { cpu_period: "x".into(), ..UpdateArgs::default() }),
            "invalid value for cpu-period: invalid digit found in string"
        );
        assert_eq!(
            error(UpdateArgs { memory: "12q".into(), ..UpdateArgs::default() }),
            "invalid value for memory: invalid suffix: 'q'"
        );
    }
}
