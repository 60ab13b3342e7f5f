//! Limits as unit properties: systemd.resource-control(5). systemd writes them to the same files that we write, and
//! again whenever it reloads: what it is not told it resets.

use crate::error::Refusal;
use crate::hierarchy::Mode;
use crate::limits::Limits;
use crate::limits::convert;
use crate::resources::{BlockIo, Cpu, Resources, ThrottleDevice};

use super::bus::Value;
use super::calls::Property;
use super::devices::device_properties;

/// "No limit".
const INFINITY: u64 = u64::MAX;
/// Properties, and what could not be said to systemd.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Compiled {
    pub(crate) properties: Vec<Property>,
    pub(crate) warnings: Vec<String>,
}

/// `version` is systemd's: what it does not know yet is left to the cgroup's files.
pub(crate) fn compile(limits: &Limits, mode: Mode, version: u32) -> Result<Compiled, Refusal> {
    let mut compiled = Compiled::default();
    if let Some(devices) = &limits.devices {
        compiled.properties = device_properties(&devices.policy, &mut compiled.warnings);
    }
    let resources = &limits.resources;
    if mode == Mode::Unified {
        compiled.memory(resources)?;
        compiled.block_io(resources);
    } else {
        compiled.version_1(resources);
    }
    if let Some(cpu) = &resources.cpu {
        compiled.cpu(cpu, mode, version)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        compiled.add("TasksMax", u64::try_from(limit).map_or(INFINITY, |limit| limit.max(1)));
    }
    for (key, value) in &resources.unified {
        compiled.unified(key, value.trim(), version)?;
    }
    Ok(compiled)
}

impl Compiled {
    /// The last word counts: `unified` comes after the fields.
    fn add(&mut self, name: &str, value: u64) {
        self.add_value(name, Value::U64(value));
    }

    fn add_value(&mut self, name: &str, value: Value) {
        self.properties.retain(|(known, _)| known != name);
        self.properties.push((name.to_owned(), value));
    }

    fn memory(&mut self, resources: &Resources) -> Result<(), Refusal> {
        let Some(memory) = &resources.memory else { return Ok(()) };
        let limit = memory.limit.unwrap_or(0);
        for (name, value) in [("MemoryMax", limit), ("MemoryLow", memory.reservation.unwrap_or(0))] {
            if value != 0 {
                self.add(name, u64::try_from(value).unwrap_or(INFINITY));
            }
        }
        if let Some(swap) = convert::swap_max(limit, memory.swap.unwrap_or(0))? {
            self.add("MemorySwapMax", swap.parse().unwrap_or(INFINITY));
        }
        Ok(())
    }

    fn version_1(&mut self, resources: &Resources) {
        let limit = resources.memory.as_ref().and_then(|memory| memory.limit).filter(|limit| *limit != 0);
        if let Some(limit) = limit {
            self.add("MemoryLimit", u64::try_from(limit).unwrap_or(INFINITY));
        }
        let weight =
            resources.block_io.as_ref().and_then(|block_io| block_io.weight).filter(|weight| *weight != 0);
        if let Some(weight) = weight {
            self.add("BlockIOWeight", u64::from(weight));
        }
    }

    fn block_io(&mut self, resources: &Resources) {
        let Some(block_io) = &resources.block_io else { return };
        if let Some(weight) = block_io.weight.filter(|weight| *weight != 0) {
            self.add("IOWeight", convert::io_weight(weight));
        }
        for (name, devices) in throttles(block_io) {
            if !devices.is_empty() {
                let entry = |device: &ThrottleDevice| {
                    let path = format!("/dev/block/{}:{}", device.major, device.minor);
                    Value::Struct(vec![Value::Str(path), Value::U64(device.rate)])
                };
                self.add_value(name, Value::Array("(st)".to_owned(), devices.iter().map(entry).collect()));
            }
        }
    }

    fn cpu(&mut self, cpu: &Cpu, mode: Mode, version: u32) -> Result<(), Refusal> {
        let shares = cpu.shares.filter(|shares| *shares != 0);
        match (shares, mode) {
            (Some(shares), Mode::Unified) => self.add("CPUWeight", convert::weight_of_shares(shares)),
            (Some(shares), _) => self.add("CPUShares", shares),
            (None, _) => {}
        }
        if cpu.idle == Some(1) && mode == Mode::Unified {
            self.idle(version, shares.is_some());
        }
        self.quota(cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0), version);
        self.nodes("AllowedCPUs", "cpu.cpus", &cpu.cpus, version)?;
        self.nodes("AllowedMemoryNodes", "cpu.mems", &cpu.mems, version)
    }

    /// From version 252 on a weight of 0 means idle; it cannot hold a weight as well then.
    fn idle(&mut self, version: u32, has_weight: bool) {
        if version >= 252 {
            self.add("CPUWeight", 0);
            if has_weight {
                let text = "unable to apply both CPUWeight and CpuIdle to systemd, ignoring CPUWeight";
                self.warnings.push(text.to_owned());
            }
        }
    }

    fn quota(&mut self, quota: i64, period: u64, version: u32) {
        if period != 0 && version >= 242 {
            self.add("CPUQuotaPeriodUSec", period);
        }
        if quota != 0 || period != 0 {
            let quota = u64::try_from(quota).ok().filter(|quota| *quota > 0);
            self.add(
                "CPUQuotaPerSecUSec",
                quota.map_or(INFINITY, |quota| convert::quota_per_second(quota, period)),
            );
        }
    }

    /// systemd takes CPU and memory node sets from version 244 on.
    fn nodes(&mut self, name: &str, field: &'static str, list: &str, version: u32) -> Result<(), Refusal> {
        if list.is_empty() || version < 244 {
            return Ok(());
        }
        let bits = bits_of_list(list).ok_or_else(|| Refusal::NodeList { field, list: list.to_owned() })?;
        self.add_value(name, Value::bytes(bits));
        Ok(())
    }

    /// Files without a property are left to us alone.
    fn unified(&mut self, key: &str, value: &str, version: u32) -> Result<(), Refusal> {
        let refused = || Refusal::UnifiedValue { key: key.to_owned(), value: value.to_owned() };
        let number = || if value == "max" { Ok(INFINITY) } else { value.parse().map_err(|_| refused()) };
        match key {
            "memory.high" => self.add("MemoryHigh", number()?),
            "memory.low" => self.add("MemoryLow", number()?),
            "memory.min" => self.add("MemoryMin", number()?),
            "memory.max" => self.add("MemoryMax", number()?),
            "memory.swap.max" => self.add("MemorySwapMax", number()?),
            "pids.max" => self.add("TasksMax", number()?.max(1)),
            "cpu.idle" if value == "1" => {
                self.idle(version, self.properties.iter().any(|(name, _)| name == "CPUWeight"));
            }
            "cpu.weight" if self.properties.contains(&("CPUWeight".to_owned(), Value::U64(0))) => {
                let text = "unable to apply both cpu.weight and cpu.idle to systemd, ignoring cpu.weight";
                self.warnings.push(text.to_owned());
            }
            "cpu.weight" => self.add("CPUWeight", number()?),
            "cpu.max" => {
                let mut words = value.split_whitespace();
                let quota = match words.next().ok_or_else(refused)? {
                    "max" => 0,
                    word => word.parse().map_err(|_| refused())?,
                };
                let period = words
                    .next()
                    .map_or(Ok(convert::DEFAULT_PERIOD), |word| word.parse().map_err(|_| refused()))?;
                if words.next().is_some() {
                    return Err(refused());
                }
                self.quota(quota, period, version);
            }
            "cpuset.cpus" => self.nodes("AllowedCPUs", "unified.cpuset.cpus", value, version)?,
            "cpuset.mems" => self.nodes("AllowedMemoryNodes", "unified.cpuset.mems", value, version)?,
            _ => {}
        }
        Ok(())
    }
}

fn throttles(block_io: &BlockIo) -> [(&'static str, &[ThrottleDevice]); 4] {
    [
        ("IOReadBandwidthMax", &block_io.throttle_read_bps_device),
        ("IOWriteBandwidthMax", &block_io.throttle_write_bps_device),
        ("IOReadIOPSMax", &block_io.throttle_read_iops_device),
        ("IOWriteIOPSMax", &block_io.throttle_write_iops_device),
    ]
}

/// A list as in cpuset(7), as systemd's mask: bit n of the mask, lowest byte first, is CPU n.
fn bits_of_list(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        for number in usize::from(first)..=usize::from(last) {
            if bits.len() <= number / 8 {
                bits.resize(number / 8 + 1, 0);
            }
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DeviceRules;

    fn compiled(json: &str, mode: Mode, version: u32) -> Compiled {
        let resources = serde_json::from_str(json).unwrap();
        compile(&Limits::compile(&resources, mode, DeviceRules::Keep).unwrap(), mode, version).unwrap()
    }

    fn lines(json: &str, mode: Mode, version: u32) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::U64(u64::MAX) => "infinity".to_owned(),
            Value::U64(value) => value.to_string(),
            Value::Array(_, values) => format!("{values:?}").replace("Byte", ""),
            other => format!("{other:?}"),
        };
        let compiled = compiled(json, mode, version);
        compiled.properties.iter().map(|(name, value)| format!("{name}={}", text(value))).collect()
    }

    #[test]
    fn fields_of_version_2() {
        let json = r#"{"memory":{"limit":100,"swap":300,"reservation":50},"pids":{"limit":0},
            "cpu":{"shares":1024,"quota":12345,"period":100000,"cpus":"0-1,9","mems":"0"}}"#;
        assert_eq!(
            lines(json, Mode::Unified, 252),
            [
                "MemoryMax=100",
                "MemoryLow=50",
                "MemorySwapMax=200",
                "CPUWeight=100",
                "CPUQuotaPeriodUSec=100000",
                "CPUQuotaPerSecUSec=130000",
                "AllowedCPUs=[(3), (2)]",
                "AllowedMemoryNodes=[(1)]",
                "TasksMax=1",
            ]
        );
        let old = lines(json, Mode::Unified, 241);
        assert!(
            !old.iter().any(|line| line.starts_with("Allowed") || line.starts_with("CPUQuotaPeriod")),
            "{old:?}"
        );
    }

    #[test]
    fn fields_of_version_1() {
        let json = r#"{"memory":{"limit":-1},"cpu":{"shares":512,"quota":-1},"blockIO":{"weight":100},"pids":{"limit":-1}}"#;
        assert_eq!(
            lines(json, Mode::Hybrid, 252),
            [
                "MemoryLimit=infinity",
                "BlockIOWeight=100",
                "CPUShares=512",
                "CPUQuotaPerSecUSec=infinity",
                "TasksMax=infinity"
            ]
        );
    }

    #[test]
    fn unified_overrides() {
        let json = r#"{"pids":{"limit":5},"unified":{"pids.max":"7","memory.high":"max","cpu.max":"50000","hugetlb.2MB.max":"1"}}"#;
        assert_eq!(
            lines(json, Mode::Unified, 252),
            ["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=500000", "MemoryHigh=infinity", "TasksMax=7",]
        );
    }

    #[test]
    fn idle_is_a_weight_of_zero() {
        let json = r#"{"cpu":{"idle":1,"shares":1024}}"#;
        assert_eq!(lines(json, Mode::Unified, 252), ["CPUWeight=0"]);
        assert!(compiled(json, Mode::Unified, 252).warnings[0].starts_with("unable to apply both"));
        assert_eq!(lines(json, Mode::Unified, 251), ["CPUWeight=100"]);
        let json = r#"{"unified":{"cpu.idle":"1","cpu.weight":"50"}}"#;
        assert_eq!(lines(json, Mode::Unified, 252), ["CPUWeight=0"]);
    }

    #[test]
    fn values_that_cannot_be_said_are_refused() {
        for (json, text) in [
            (
                r#"{"cpu":{"cpus":"3-1"}}"#,
                "linux.resources.cpu.cpus: \"3-1\" is not a list of numbers and ranges",
            ),
            (r#"{"unified":{"cpu.max":"1 2 3"}}"#, "unified resource \"cpu.max\" value invalid: \"1 2 3\""),
            (r#"{"unified":{"pids.max":"many"}}"#, "unified resource \"pids.max\" value invalid: \"many\""),
        ] {
            let limits =
                Limits::compile(&serde_json::from_str(json).unwrap(), Mode::Unified, DeviceRules::Keep)
                    .unwrap();
            assert_eq!(compile(&limits, Mode::Unified, 252).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn block_io_names_devices_by_number() {
        let json = r#"{"blockIO":{"weight":100,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}]}}"#;
        assert_eq!(
            lines(json, Mode::Unified, 252),
            ["IOWeight=910", "IOReadBandwidthMax=[Struct([Str(\"/dev/block/8:0\"), U64(5)])]"]
        );
    }
}
