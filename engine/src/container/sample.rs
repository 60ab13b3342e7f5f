//! A record for tests.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Record, State};
use crate::wire::{Config, HostConfig};

/// A container that was created in second 1000 and never ran. Its ID is one digit, 64 times.
pub(crate) fn record(digit: char, name: &str) -> Record {
    Record {
        id: String::from(digit).repeat(64),
        name: name.to_owned(),
        created: Timestamp::from_second(1000).unwrap(),
        image: format!("sha256:{}", "0".repeat(64)),
        path: "sh".to_owned(),
        args: Vec::new(),
        config: Config { image: "busybox".to_owned(), ..Config::default() },
        host_config: HostConfig { network_mode: "bridge".to_owned(), ..HostConfig::default() },
        mounts: Vec::new(),
        mount_details: BTreeMap::new(),
        networks: BTreeMap::new(),
        ports: BTreeMap::new(),
        state: State::default(),
        asked_macs: BTreeMap::new(),
        restart_count: 0,
        short_runs: 0,
        stopped_by_hand: false,
        removing: false,
        removing_volumes: false,
        memory_cgroup: None,
    }
}
