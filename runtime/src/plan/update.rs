//! What `update` changes: the limits given now beside those the container has.
//!
//! Only what is given is set again, with what it cannot be set without: the kernel checks memory against swap, quota
//! against period. So values that somebody else has changed meanwhile stay.

use knarr_cgroups::{BlockIo, Cpu, Memory, Network, Pids, Resources, ThrottleDevice, WeightDevice};

/// Two views of the same change.
#[derive(Debug, PartialEq)]
pub(crate) struct Update {
    /// To be set now.
    pub(crate) now: Resources,
    /// What the container has from then on, for the next update.
    pub(crate) from_then_on: Resources,
}

impl Update {
    /// Devices are never touched: others, such as a GPU's tools, may have changed them.
    pub(crate) fn new(given: &Resources, before: &Resources) -> Self {
        let mut now = Resources { devices: Vec::new(), ..given.clone() };
        let mut after = before.clone();
        if let Some(given) = given_values(given.memory.as_ref()) {
            let before = after.memory.get_or_insert_default();
            now.memory = Some(memory(given, before));
        }
        if let Some(given) = given_values(given.cpu.as_ref()) {
            let before = after.cpu.get_or_insert_default();
            now.cpu = Some(cpu(given, before));
        }
        if let Some(limit) = given.pids.as_ref().and_then(|pids| pids.limit) {
            after.pids = Some(Pids { limit: Some(limit) });
        }
        if let Some(given) = given_values(given.block_io.as_ref()) {
            block_io(given, after.block_io.get_or_insert_default());
        }
        for limit in &given.hugepage_limits {
            upsert(&mut after.hugepage_limits, limit, |one, other| one.page_size == other.page_size);
        }
        if let Some(given) = given_values(given.network.as_ref()) {
            network(given, after.network.get_or_insert_default());
        }
        for (device, limit) in &given.rdma {
            let after = after.rdma.entry(device.clone()).or_default();
            replace(&mut after.hca_handles, limit.hca_handles);
            replace(&mut after.hca_objects, limit.hca_objects);
        }
        after.unified.extend(given.unified.clone());
        Self { now, from_then_on: after }
    }
}

/// A section that says something.
fn given_values<T: Default + PartialEq>(section: Option<&T>) -> Option<&T> {
    section.filter(|section| **section != T::default())
}

/// Changes `before` to what holds afterwards, and returns what is to be set. A limit and the one with swap go together;
/// without any limit on memory alone there is none with swap, unless one is given.
fn memory(given: &Memory, before: &mut Memory) -> Memory {
    let mut now = given.clone();
    if given.limit == Some(-1) && given.swap.is_none() {
        now.swap = Some(0);
    }
    replace(&mut before.limit, now.limit);
    replace(&mut before.swap, now.swap);
    replace(&mut before.reservation, now.reservation);
    replace(&mut before.swappiness, now.swappiness);
    replace(&mut before.disable_oom_killer, now.disable_oom_killer);
    replace(&mut before.use_hierarchy, now.use_hierarchy);
    replace(&mut before.check_before_update, now.check_before_update);
    if now.limit.is_some() || now.swap.is_some() {
        (now.limit, now.swap) = (before.limit, before.swap);
    }
    now
}

/// Zero is "leave it" for all but burst and idle.
fn cpu(given: &Cpu, before: &mut Cpu) -> Cpu {
    let mut now = given.clone();
    let set = |value: Option<u64>| value.filter(|value| *value != 0);
    let set_signed = |value: Option<i64>| value.filter(|value| *value != 0);
    (now.period, now.quota) = (set(now.period), set_signed(now.quota));
    (now.realtime_period, now.realtime_runtime) =
        (set(now.realtime_period), set_signed(now.realtime_runtime));
    replace(&mut before.period, now.period);
    replace(&mut before.quota, now.quota);
    replace(&mut before.burst, now.burst);
    replace(&mut before.realtime_period, now.realtime_period);
    replace(&mut before.realtime_runtime, now.realtime_runtime);
    if now.period.is_some() || now.quota.is_some() {
        (now.period, now.quota) = (before.period, before.quota);
    }
    if now.realtime_period.is_some() || now.realtime_runtime.is_some() {
        (now.realtime_period, now.realtime_runtime) = (before.realtime_period, before.realtime_runtime);
    }
    // A cgroup is idle or has a share: the kernel forgets the one when it gets the other.
    if now.idle.is_some() || now.shares.is_some() {
        (before.idle, before.shares) = (now.idle, now.shares);
    }
    for (before, now) in [(&mut before.cpus, &now.cpus), (&mut before.mems, &now.mems)] {
        if !now.is_empty() {
            before.clone_from(now);
        }
    }
    now
}

fn block_io(given: &BlockIo, before: &mut BlockIo) {
    replace(&mut before.weight, given.weight);
    replace(&mut before.leaf_weight, given.leaf_weight);
    for device in &given.weight_device {
        upsert_weight(&mut before.weight_device, device);
    }
    let same =
        |one: &ThrottleDevice, other: &ThrottleDevice| (one.major, one.minor) == (other.major, other.minor);
    for (before, given) in [
        (&mut before.throttle_read_bps_device, &given.throttle_read_bps_device),
        (&mut before.throttle_write_bps_device, &given.throttle_write_bps_device),
        (&mut before.throttle_read_iops_device, &given.throttle_read_iops_device),
        (&mut before.throttle_write_iops_device, &given.throttle_write_iops_device),
    ] {
        for device in given {
            upsert(before, device, same);
        }
    }
}

/// A device may have either weight given alone.
fn upsert_weight(devices: &mut Vec<WeightDevice>, given: &WeightDevice) {
    let known = devices.iter_mut().rfind(|known| (known.major, known.minor) == (given.major, given.minor));
    match known {
        Some(known) => {
            replace(&mut known.weight, given.weight);
            replace(&mut known.leaf_weight, given.leaf_weight);
        }
        None => devices.push(given.clone()),
    }
}

fn network(given: &Network, before: &mut Network) {
    replace(&mut before.class_id, given.class_id);
    for priority in &given.priorities {
        upsert(&mut before.priorities, priority, |one, other| one.name == other.name);
    }
}

/// Of two entries for the same thing the last one counts.
fn upsert<T: Clone>(entries: &mut Vec<T>, given: &T, same: impl Fn(&T, &T) -> bool) {
    match entries.iter_mut().rfind(|known| same(known, given)) {
        Some(known) => known.clone_from(given),
        None => entries.push(given.clone()),
    }
}

fn replace<T>(before: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *before = given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    /// `given` over `before`: what is set, and what is kept.
    fn update(before: &str, given: &str) -> (Resources, Resources) {
        let Update { now, from_then_on } = Update::new(&resources(given), &resources(before));
        (now, from_then_on)
    }

    #[test]
    fn pairs_are_set_together_and_nothing_else_is() {
        for (before, given, now, after) in [
            (
                r#"{"cpu":{"quota":5,"period":10,"shares":7,"cpus":"0"},"pids":{"limit":3}}"#,
                r#"{"cpu":{"period":20}}"#,
                r#"{"cpu":{"quota":5,"period":20}}"#,
                r#"{"cpu":{"quota":5,"period":20,"shares":7,"cpus":"0"},"pids":{"limit":3}}"#,
            ),
            (
                r#"{"cpu":{"quota":5,"period":10}}"#,
                r#"{"cpu":{"quota":-1,"period":0}}"#,
                r#"{"cpu":{"quota":-1,"period":10}}"#,
                r#"{"cpu":{"quota":-1,"period":10}}"#,
            ),
            (
                r#"{"cpu":{"realtimePeriod":10,"realtimeRuntime":5,"burst":4}}"#,
                r#"{"cpu":{"realtimeRuntime":6,"mems":"1"}}"#,
                r#"{"cpu":{"realtimePeriod":10,"realtimeRuntime":6,"mems":"1"}}"#,
                r#"{"cpu":{"realtimePeriod":10,"realtimeRuntime":6,"burst":4,"mems":"1"}}"#,
            ),
            (
                r#"{"memory":{"limit":100,"swap":300,"reservation":50,"swappiness":9}}"#,
                r#"{"memory":{"limit":200}}"#,
                r#"{"memory":{"limit":200,"swap":300}}"#,
                r#"{"memory":{"limit":200,"swap":300,"reservation":50,"swappiness":9}}"#,
            ),
            (
                r#"{"memory":{"limit":100,"swap":300}}"#,
                r#"{"memory":{"reservation":7}}"#,
                r#"{"memory":{"reservation":7}}"#,
                r#"{"memory":{"limit":100,"swap":300,"reservation":7}}"#,
            ),
            ("{}", r#"{"pids":{"limit":0}}"#, r#"{"pids":{"limit":0}}"#, r#"{"pids":{"limit":0}}"#),
            (r#"{"pids":{"limit":4}}"#, r#"{"pids":{}}"#, r#"{"pids":{}}"#, r#"{"pids":{"limit":4}}"#),
        ] {
            assert_eq!(update(before, given), (resources(now), resources(after)), "{given} over {before}");
        }
    }

    #[test]
    fn no_limit_on_memory_is_none_with_swap() {
        let before = r#"{"memory":{"limit":100,"swap":300}}"#;
        let (now, after) = update(before, r#"{"memory":{"limit":-1}}"#);
        assert_eq!(now, resources(r#"{"memory":{"limit":-1,"swap":0}}"#));
        assert_eq!(after, now);
        let (now, _) = update(before, r#"{"memory":{"limit":-1,"swap":500}}"#);
        assert_eq!(now, resources(r#"{"memory":{"limit":-1,"swap":500}}"#));
    }

    #[test]
    fn idle_and_shares_exclude_each_other() {
        let (now, after) = update(r#"{"cpu":{"shares":100}}"#, r#"{"cpu":{"idle":1}}"#);
        assert_eq!((now.clone(), after), (resources(r#"{"cpu":{"idle":1}}"#), now));
        let (_, after) = update(r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"shares":5}}"#);
        assert_eq!(after, resources(r#"{"cpu":{"shares":5}}"#));
    }

    #[test]
    fn devices_of_block_io_are_added_or_replaced_by_number() {
        let before = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":0,"rate":2}],
            "weightDevice":[{"major":8,"minor":0,"weight":10,"leafWeight":20}]}}"#;
        let given = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":3}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":4}],
            "weightDevice":[{"major":8,"minor":0,"weight":30},{"major":8,"minor":16,"leafWeight":40}]}}"#;
        let (now, after) = update(before, given);
        assert_eq!(now, resources(given));
        let expected = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":0,"rate":3}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":4}],
            "weightDevice":[{"major":8,"minor":0,"weight":30,"leafWeight":20},{"major":8,"minor":16,"leafWeight":40}]}}"#;
        assert_eq!(after, resources(expected));
    }

    #[test]
    fn named_limits_are_added_or_replaced_by_name() {
        let before = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}],"unified":{"a.b":"1","c.d":"2"},
            "network":{"classID":1,"priorities":[{"name":"lo","priority":1}]},"rdma":{"m":{"hcaHandles":1,"hcaObjects":2}}}"#;
        let given = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":3},{"pageSize":"1GB","limit":4}],"unified":{"a.b":"5"},
            "network":{"priorities":[{"name":"lo","priority":6}]},"rdma":{"m":{"hcaObjects":7}}}"#;
        let expected = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":3},{"pageSize":"1GB","limit":4}],
            "unified":{"a.b":"5","c.d":"2"},"network":{"classID":1,"priorities":[{"name":"lo","priority":6}]},
            "rdma":{"m":{"hcaHandles":1,"hcaObjects":7}}}"#;
        assert_eq!(update(before, given), (resources(given), resources(expected)));
    }

    #[test]
    fn device_rules_are_kept_and_never_set() {
        let (now, after) = update(r#"{"devices":[{"allow":true}]}"#, r#"{"devices":[{"allow":false}]}"#);
        assert_eq!((now, after), (Resources::default(), resources(r#"{"devices":[{"allow":true}]}"#)));
    }
}
