//! New limits, and a new restart policy, for a container that may run.

use std::fs;

use super::validate::{Act, check_resources, policy};
use super::{Record, Status};
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::oci;
use crate::wire::HostConfig;

impl Engine {
    /// Of `asked` only the limits and the restart policy are looked at; what is zero or empty stays as it is.
    pub(crate) fn update(&self, name: &str, asked: &HostConfig) -> Result<Vec<String>> {
        policy(&mut asked.restart_policy.clone())?;
        // Also what contradicts itself without what is there already.
        check_resources(&mut asked.clone(), Act::Update)?;
        let container = self.containers.find(name)?;
        // A removal that has begun is not waited for.
        refuse_if_removed(&container.record())?;
        let _act = container.begin_act();
        let record = container.record();
        refuse_if_removed(&record)?;
        let refused = |error: Error| error.within(format!("Cannot update container {}", record.id));
        let mut host = record.host_config.clone();
        merge(&mut host, asked).map_err(refused)?;
        let warnings = check_resources(&mut host, Act::Update)?;
        if record.state.status.is_up() {
            let resources = oci::resources(&host)?;
            let path = self.run_folder(&container.id).join("resources.json");
            let text = serde_json::to_vec(&resources).map_err(Error::system)?;
            fs::write(&path, text).during("write", &path)?;
            self.runtime_of(&record)?.update(&container.id, &path).map_err(refused)?;
        }
        let record = container.change(|record| record.host_config = host)?;
        self.events.of_container("update", &record, &[]);
        Ok(warnings)
    }
}

fn refuse_if_removed(record: &Record) -> Result<()> {
    if record.removing || record.state.status == Status::Dead {
        let why = "container is marked for removal and cannot be \"update\"";
        return Err(Error::conflict(format!("Cannot update container {}: {why}", record.id)));
    }
    Ok(())
}

fn merge(host: &mut HostConfig, asked: &HostConfig) -> Result<()> {
    if asked.kernel_memory != 0 || asked.kernel_memory_tcp != 0 {
        return Err(Error::invalid("kernel memory limits are not supported"));
    }
    if asked.cpu_realtime_period != 0 || asked.cpu_realtime_runtime != 0 {
        host.cpu_realtime_period = asked.cpu_realtime_period;
        host.cpu_realtime_runtime = asked.cpu_realtime_runtime;
    }
    let pairs = [
        ("Nano CPUs", asked.nano_cpus, "CPU Period", host.cpu_period),
        ("Nano CPUs", asked.nano_cpus, "CPU Quota", host.cpu_quota),
        ("CPU Period", asked.cpu_period, "NanoCPUs", host.nano_cpus),
        ("CPU Quota", asked.cpu_quota, "NanoCPUs", host.nano_cpus),
    ];
    if let Some((new, _, old, _)) = pairs.iter().find(|(_, new, _, old)| *new > 0 && *old > 0) {
        let why = format!("Conflicting options: {new} cannot be updated as {old} has already been set");
        return Err(Error::conflict(why));
    }
    if asked.memory != 0 && asked.memory > host.memory_swap && asked.memory_swap == 0 {
        let why = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time";
        return Err(Error::invalid(why));
    }
    let numbers = [
        (&mut host.cpu_shares, asked.cpu_shares),
        (&mut host.cpu_period, asked.cpu_period),
        (&mut host.cpu_quota, asked.cpu_quota),
        (&mut host.nano_cpus, asked.nano_cpus),
        (&mut host.memory, asked.memory),
        (&mut host.memory_swap, asked.memory_swap),
        (&mut host.memory_reservation, asked.memory_reservation),
    ];
    for (now, new) in numbers.into_iter().filter(|(_, new)| *new != 0) {
        *now = new;
    }
    if asked.blkio_weight != 0 {
        host.blkio_weight = asked.blkio_weight;
    }
    for (now, new) in
        [(&mut host.cpuset_cpus, &asked.cpuset_cpus), (&mut host.cpuset_mems, &asked.cpuset_mems)]
    {
        if !new.is_empty() {
            now.clone_from(new);
        }
    }
    // Unlike everywhere, 0 is no limit, as is a negative number.
    host.pids_limit = asked.pids_limit.map(|limit| limit.max(0)).or(host.pids_limit);
    let policy = &asked.restart_policy;
    if !policy.name.is_empty() {
        if host.auto_remove && policy.name != "no" {
            return Err(Error::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        host.restart_policy.clone_from(policy);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RestartPolicy;

    #[test]
    fn zero_is_unchanged() {
        let mut host = HostConfig {
            memory: 100,
            memory_swap: 200,
            cpu_shares: 5,
            pids_limit: Some(9),
            ..HostConfig::default()
        };
        merge(&mut host, &HostConfig { memory: 150, ..HostConfig::default() }).unwrap();
        assert_eq!((host.memory, host.memory_swap, host.cpu_shares, host.pids_limit), (150, 200, 5, Some(9)));
        merge(
            &mut host,
            &HostConfig { pids_limit: Some(-1), cpuset_cpus: "0".into(), ..HostConfig::default() },
        )
        .unwrap();
        assert_eq!((host.pids_limit, host.cpuset_cpus.as_str()), (Some(0), "0"));
        host.pids_limit = Some(9);
        merge(&mut host, &HostConfig { pids_limit: Some(0), ..HostConfig::default() }).unwrap();
        assert_eq!(host.pids_limit, Some(0));
    }

    #[test]
    fn conflicts_are_told() {
        let mut host = HostConfig {
            memory: 100,
            memory_swap: 200,
            nano_cpus: 1,
            auto_remove: true,
            ..HostConfig::default()
        };
        let mut refused = |asked: HostConfig| merge(&mut host, &asked).unwrap_err().message;
        assert!(
            refused(HostConfig { memory: 300, ..HostConfig::default() })
                .contains("already set memoryswap limit")
        );
        assert!(
            refused(HostConfig { cpu_quota: 1, ..HostConfig::default() })
                .contains("NanoCPUs has already been set")
        );
        let restart_policy = RestartPolicy { name: "always".to_owned(), maximum_retry_count: 0 };
        assert!(
            refused(HostConfig { restart_policy, ..HostConfig::default() }).contains("AutoRemove is enabled")
        );
    }
}
