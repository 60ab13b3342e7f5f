//! `docker inspect`: everything on record, in Docker's shape.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Container, Health, Record, Status, list};
use crate::engine::Engine;
use crate::error::Result;
use crate::logs;
use crate::wire::{
    ContainerInspect, EndpointSettings, GraphDriver, HealthInspect, HostConfig, NetworkSettings,
    ProbeInspect, StateInspect, go_time,
};

/// As Docker calls it.
const DRIVER: &str = "overlay2";
/// From here on the short ID is no alias on networks of users.
const WITHOUT_ID_ALIAS: (u32, u32) = (1, 45);

/// Whether the space that a container takes is measured, which is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Measured,
    Untold,
}

impl Engine {
    /// One container, for a client of an API version (major and minor).
    pub(crate) fn inspect(
        &self,
        name: &str,
        size: Size,
        api_version: (u32, u32),
    ) -> Result<ContainerInspect> {
        let container = self.containers.find(name)?;
        let record = container.record();
        let (size_rw, size_root_fs) = match size {
            Size::Measured => list::space(&self.images, &record).map(|(own, all)| (Some(own), Some(all)))?,
            Size::Untold => (None, None),
        };
        let files = self.files_of(&container, &record);
        let exec_ids = self.execs.of_container(&record.id);
        Ok(ContainerInspect {
            id: record.id.clone(),
            created: record.created.to_string(),
            path: record.path.clone(),
            args: record.args.clone(),
            state: state(&record),
            image: record.image.clone(),
            resolv_conf_path: files("resolv.conf"),
            hostname_path: files("hostname"),
            hosts_path: files("hosts"),
            log_path: log_path(&container, &record),
            name: format!("/{}", record.name),
            restart_count: record.restart_count,
            driver: DRIVER,
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: Some(exec_ids).filter(|ids| !ids.is_empty()),
            host_config: self.host_config(&record),
            graph_driver: GraphDriver { data: self.overlay(&record)?, name: DRIVER },
            size_rw,
            size_root_fs,
            mounts: record.mounts.clone(),
            config: record.config.clone(),
            network_settings: network_settings(&record, api_version),
        })
    }

    /// The files that are mounted into the container: its own, or those of the container whose network it uses. They come
    /// with the first start.
    fn files_of(&self, container: &Container, record: &Record) -> impl Fn(&str) -> String + use<> {
        let joined = record.network_mode().strip_prefix("container:");
        let joined =
            joined.and_then(|name| self.containers.find(name).ok()).map(|other| other.folder.clone());
        let folder = joined.unwrap_or_else(|| container.folder.clone());
        move |name| text_if_there(&folder.join(name))
    }

    /// Limits that the engine sets by default are the container's.
    fn host_config(&self, record: &Record) -> HostConfig {
        let mut host_config = record.host_config.clone();
        host_config.links = None;
        let mut ulimits = host_config.ulimits.take().unwrap_or_default();
        for (name, ulimit) in &self.settings.default_ulimits {
            if ulimits.iter().all(|own| own.name != *name) {
                ulimits.push(ulimit.clone());
            }
        }
        host_config.ulimits = Some(ulimits);
        host_config
    }

    /// The folders of the overlay. A container that is being removed may have lost them.
    fn overlay(&self, record: &Record) -> Result<Option<BTreeMap<&'static str, String>>> {
        let places = self.images.snapshot(&record.id).and_then(|snapshot| self.images.places(&snapshot));
        if places.is_err() && is_dead(record) {
            return Ok(None);
        }
        let places = places?;
        let lowers: Vec<String> = places.lowers.iter().map(|lower| text(lower)).collect();
        Ok(Some(BTreeMap::from([
            ("ID", record.id.clone()),
            ("LowerDir", lowers.join(":")),
            ("MergedDir", text(&self.run_folder(&record.id).join("bundle/rootfs"))),
            ("UpperDir", text(&places.upper)),
            ("WorkDir", text(&places.work)),
        ])))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn text_if_there(path: &Path) -> String {
    if path.exists() { text(path) } else { String::new() }
}

/// Docker tells where the log is only of the format that others read.
fn log_path(container: &Container, record: &Record) -> String {
    logs::json_file(record, &container.folder).map_or_else(String::new, |path| text_if_there(&path))
}

fn state(record: &Record) -> StateInspect {
    let state = &record.state;
    StateInspect {
        status: record.state_word(),
        running: state.status.is_running(),
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: is_dead(record),
        pid: state.pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: go_time(state.started),
        finished_at: go_time(state.finished),
        health: state.health.as_ref().map(health),
    }
}

/// As Docker, which says so from the moment at which a removal takes things away.
fn is_dead(record: &Record) -> bool {
    record.state.status == Status::Dead || record.removing && !record.state.status.is_running()
}

fn health(health: &Health) -> HealthInspect {
    let probes = health.log.iter().map(|probe| ProbeInspect {
        start: probe.start.to_string(),
        end: probe.end.to_string(),
        exit_code: probe.exit_code,
        output: probe.output.clone(),
    });
    HealthInspect {
        status: health.status.clone(),
        failing_streak: health.failing_streak,
        log: probes.collect(),
    }
}

/// The network namespace of a running container is reachable through its process; it has no name elsewhere.
fn network_settings(record: &Record, api_version: (u32, u32)) -> NetworkSettings {
    let up = record.state.status.is_up();
    let bindings = record.ports.iter();
    let ports =
        bindings.map(|(port, bound)| (port.clone(), Some(bound.clone()).filter(|bound| !bound.is_empty())));
    let bridge = record.networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        sandbox_id: if up { record.id.clone() } else { String::new() },
        sandbox_key: if up { format!("/proc/{}/ns/net", record.state.pid) } else { String::new() },
        ports: ports.collect(),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks: networks(record, api_version),
        ..NetworkSettings::default()
    }
}

fn networks(record: &Record, api_version: (u32, u32)) -> BTreeMap<String, EndpointSettings> {
    let mut networks = record.networks.clone();
    if api_version < WITHOUT_ID_ALIAS {
        let of_users = networks.iter_mut().filter(|(name, _)| is_of_a_user(name));
        for endpoint in of_users.map(|(_, endpoint)| endpoint) {
            let aliases = endpoint.aliases.get_or_insert_default();
            for alias in [record.short_id(), &record.config.hostname] {
                if !aliases.iter().any(|known| known == alias) {
                    aliases.push(alias.to_owned());
                }
            }
        }
    }
    networks
}

fn is_of_a_user(network: &str) -> bool {
    !matches!(network, "" | "default" | "bridge" | "host" | "none") && !network.starts_with("container:")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{Probe, State, sample};
    use super::*;
    use crate::wire::PortBinding;

    fn running() -> Record {
        let mut record = sample::record('a', "web");
        let time = |second| Some(Timestamp::from_second(second).unwrap());
        let probe = Probe {
            start: Timestamp::from_second(3).unwrap(),
            end: Timestamp::from_second(4).unwrap(),
            exit_code: 0,
            output: "ok".to_owned(),
        };
        record.state = State {
            status: Status::Running,
            pid: 42,
            started: time(2),
            health: Some(Health { status: "healthy".to_owned(), failing_streak: 0, log: vec![probe] }),
            ..State::default()
        };
        let binding = PortBinding { host_ip: "0.0.0.0".to_owned(), host_port: "8080".to_owned() };
        record.ports =
            BTreeMap::from([("80/tcp".to_owned(), vec![binding]), ("443/tcp".to_owned(), Vec::new())]);
        let endpoint =
            EndpointSettings { ip_address: "172.17.0.2".to_owned(), ..EndpointSettings::default() };
        record.networks = BTreeMap::from([
            ("bridge".to_owned(), endpoint),
            ("mine".to_owned(), EndpointSettings::default()),
        ]);
        record.config.hostname = "host".to_owned();
        record
    }

    #[test]
    fn states_are_dockers() {
        assert_eq!(
            serde_json::to_string(&state(&running())).unwrap(),
            concat!(
                r#"{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":42,"#,
                r#""ExitCode":0,"Error":"","StartedAt":"1970-01-01T00:00:02Z","FinishedAt":"0001-01-01T00:00:00Z","#,
                r#""Health":{"Status":"healthy","FailingStreak":0,"Log":[{"Start":"1970-01-01T00:00:03Z","#,
                r#""End":"1970-01-01T00:00:04Z","ExitCode":0,"Output":"ok"}]}}"#
            )
        );
        let created = serde_json::to_string(&state(&sample::record('b', "x"))).unwrap();
        assert!(
            created.starts_with(r#"{"Status":"created","Running":false,"#) && !created.contains("Health")
        );
    }

    #[test]
    fn network_settings_are_dockers() {
        let settings = network_settings(&running(), (1, 50));
        let mut value = serde_json::to_value(&settings).unwrap();
        let networks = value.as_object_mut().unwrap().remove("Networks").unwrap();
        assert_eq!(networks["bridge"]["IPAddress"], "172.17.0.2");
        assert_eq!(networks["mine"]["Aliases"], serde_json::Value::Null);
        assert_eq!(
            value,
            serde_json::json!({
                "Bridge": "", "SandboxID": "a".repeat(64), "SandboxKey": "/proc/42/ns/net",
                "Ports": {"443/tcp": null, "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
                "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
                "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "EndpointID": "", "Gateway": "",
                "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "172.17.0.2", "IPPrefixLen": 0,
                "IPv6Gateway": "", "MacAddress": ""
            })
        );
        let old = network_settings(&running(), (1, 44)).networks;
        assert_eq!(old["mine"].aliases.as_deref().unwrap(), ["aaaaaaaaaaaa", "host"]);
        assert_eq!(old["bridge"].aliases, None);
    }

    #[test]
    fn keys_are_in_dockers_order() {
        let keys = |text: &str| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let mut keys: Vec<(usize, String)> = value
                .as_object()
                .unwrap()
                .keys()
                .map(|key| (text.find(&format!("\"{key}\":")).unwrap(), key.clone()))
                .collect();
            keys.sort();
            keys.into_iter().map(|(_, key)| key).collect::<Vec<_>>().join(" ")
        };
        let inspect = ContainerInspect {
            id: "i".to_owned(),
            created: String::new(),
            path: String::new(),
            args: Vec::new(),
            state: state(&running()),
            image: String::new(),
            resolv_conf_path: String::new(),
            hostname_path: String::new(),
            hosts_path: String::new(),
            log_path: String::new(),
            name: "/web".to_owned(),
            restart_count: 0,
            driver: DRIVER,
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: None,
            host_config: HostConfig::default(),
            graph_driver: GraphDriver { data: None, name: DRIVER },
            size_rw: None,
            size_root_fs: None,
            mounts: Vec::new(),
            config: crate::wire::Config::default(),
            network_settings: NetworkSettings::default(),
        };
        let text = serde_json::to_string(&inspect).unwrap();
        assert!(
            text.contains(r#""ExecIDs":null"#)
                && text.contains(r#""GraphDriver":{"Data":null,"Name":"overlay2"}"#)
        );
        // Only what is unique in the text has a certain place.
        let order = keys(&text);
        let firsts = [
            "Id",
            "Created",
            "Path",
            "Args",
            "State",
            "ResolvConfPath",
            "HostnamePath",
            "HostsPath",
            "LogPath",
        ];
        let lasts = ["AppArmorProfile", "ExecIDs", "HostConfig", "GraphDriver", "NetworkSettings"];
        for names in [&firsts[..], &lasts[..]] {
            let places: Vec<usize> = names.iter().map(|name| order.find(name).unwrap()).collect();
            assert!(places.is_sorted(), "{order}");
        }
        assert_eq!(order.split(' ').count(), 23);
    }
}
