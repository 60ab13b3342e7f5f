//! What is refused with which words, and what a plain request becomes.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn settings() -> Settings {
    Settings::new(Path::new("/opt"))
}

fn validated(config: Value, host: Value) -> Result<(Config, HostConfig, Vec<String>)> {
    let (mut config, mut host) =
        (serde_json::from_value(config).unwrap(), serde_json::from_value(host).unwrap());
    let warnings = validate(&mut config, &mut host, &NetworkingConfig::default(), &settings())?;
    Ok((config, host, warnings))
}

#[allow(clippy::needless_pass_by_value)] // tables are easier to read
fn refusal(config: Value, host: Value) -> String {
    let taken = |_| format!("{config} {host} was taken");
    validated(config.clone(), host.clone()).map_or_else(|error| error.message, taken)
}

#[test]
fn a_plain_request_gets_the_defaults() {
    let (_, host, _) = validated(json!({}), json!({"NetworkMode": "default", "Memory": 8 << 20})).unwrap();
    assert_eq!((host.network_mode.as_str(), host.ipc_mode.as_str()), ("bridge", "private"));
    assert_eq!((host.restart_policy.name.as_str(), host.runtime.as_str()), ("no", "runc"));
    assert_eq!((host.shm_size, host.log_config.kind.as_str()), (64 << 20, "json-file"));
    assert!(host.memory_swap == 16 << 20 || host.memory_swap == -1);
    assert!(host.masked_paths.unwrap().len() >= 12 && host.readonly_paths.unwrap().len() == 5);
    let (_, host, _) = validated(json!({}), json!({"Privileged": true})).unwrap();
    assert!(host.masked_paths.is_none() && host.readonly_paths.is_none());
    let (_, host, _) = validated(json!({}), json!({"MaskedPaths": [], "ReadonlyPaths": []})).unwrap();
    assert_eq!((host.masked_paths, host.readonly_paths), (Some(vec![]), Some(vec![])));
}

#[test]
fn what_of_the_configuration_is_refused() {
    for (config, text) in [
        (json!({"WorkingDir": "a"}), "the working directory 'a' is invalid, it needs to be an absolute path"),
        (json!({"StopSignal": "SIGNOPE"}), "invalid signal: SIGNOPE"),
        (json!({"Env": ["=x"]}), "invalid environment variable: =x"),
        (json!({"Env": [""]}), "invalid environment variable: "),
        (json!({"Healthcheck": {"Interval": 1}}), "Interval in Healthcheck cannot be less than 1ms"),
        (json!({"Healthcheck": {"Timeout": -5}}), "Timeout in Healthcheck cannot be less than 1ms"),
        (json!({"Healthcheck": {"StartPeriod": 1}}), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (
            json!({"Healthcheck": {"StartInterval": 1}}),
            "StartInterval in Healthcheck cannot be less than 1ms",
        ),
        (json!({"Healthcheck": {"Retries": -1}}), "Retries in Healthcheck cannot be negative"),
        (json!({"Healthcheck": {"Test": ["x"]}}), "Unknown healthcheck type 'x' (expected 'CMD')"),
        (json!({"ExposedPorts": {"abc/tcp": {}}}), "invalid port specification: \"abc\""),
        (json!({"ExposedPorts": {"80/icmp": {}}}), "invalid port specification: \"80\""),
    ] {
        assert_eq!(refusal(config, json!({})), text);
    }
    let (config, ..) = validated(json!({"WorkingDir": "/a/./../b//c/"}), json!({})).unwrap();
    assert_eq!(config.working_dir, "/b/c");
}

#[test]
fn what_of_the_host_configuration_is_refused() {
    let policy = |name, count| json!({"RestartPolicy": {"Name": name, "MaximumRetryCount": count}});
    let log = |kind, config: Value| json!({"LogConfig": {"Type": kind, "Config": config}});
    let only = "maximum retry count can only be used with 'on-failure'";
    for (host, text) in [
        (json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}}), "can't create 'AutoRemove' container with restart policy".to_owned()),
        (policy("always", 1), format!("invalid restart policy: {only}")),
        (policy("no", -1), format!("invalid restart policy: {only} and cannot be negative")),
        (policy("on-failure", -1), "invalid restart policy: maximum retry count cannot be negative".into()),
        (policy("maybe", 0), "invalid restart policy: unknown policy 'maybe'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'".into()),
        (json!({"CapAdd": ["x"]}), "invalid CapAdd: unknown capability: \"CAP_X\"".into()),
        (json!({"CapDrop": ["x"]}), "invalid CapDrop: unknown capability: \"CAP_X\"".into()),
        (json!({"SecurityOpt": ["x=y"]}), "invalid --security-opt 2: \"x=y\"".into()),
        (json!({"DeviceCgroupRules": ["x"]}), "invalid device cgroup rule format: 'x'".into()),
        (json!({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}]}), "invalid device mode: x".into()),
        (json!({"Sysctls": {"vm.swappiness": "1"}}), "sysctl 'vm.swappiness=1' is not allowed".into()),
        (json!({"Annotations": {"": "x"}}), "invalid Annotations: the empty string is not permitted as an annotation key".into()),
        (json!({"IpcMode": "x"}), "invalid IPC mode: x".into()),
        (json!({"PidMode": "container:"}), "invalid PID mode: container:".into()),
        (json!({"UTSMode": "x"}), "invalid UTS mode: x".into()),
        (json!({"UsernsMode": "x"}), "invalid user namespace mode: x".into()),
        (json!({"CgroupnsMode": "x"}), "invalid cgroup namespace mode: x".into()),
        (json!({"Isolation": "hyperv"}), "invalid isolation (hyperv): linux only supports 'default'".into()),
        (json!({"IOMaximumIOps": 1}), "invalid option: QoS maximum IOPs configuration is not supported on linux".into()),
        (json!({"IOMaximumBandwidth": 1}), "invalid option: QoS maximum bandwidth configuration is not supported on linux".into()),
        (json!({"CpuCount": 1}), "invalid option: CpuCount is not supported on linux".into()),
        (json!({"Cgroup": "container:x"}), "HostConfig.Cgroup is not supported: container:x".into()),
        (json!({"StorageOpt": {"size": "1"}}), "--storage-opt is supported only for overlay over xfs with 'pquota' mount option".into()),
        (json!({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}), "could not select device driver \"\" with capabilities: [[gpu]]".into()),
        (json!({"Runtime": "x"}), "unknown or invalid runtime name: x".into()),
        (json!({"Ulimits": [{"Name": "x"}]}), "invalid ulimit type: x".into()),
        (json!({"Ulimits": [{"Name": "core", "Soft": 2, "Hard": 1}]}), "ulimit soft limit must be less than or equal to hard limit: 2 > 1".into()),
        (log("x", json!({})), "logger: no log driver named 'x' is registered".into()),
        (log("json-file", json!({"x": "1"})), "unknown log opt 'x' for json-file log driver".into()),
        (log("local", json!({"x": "1"})), "unknown log opt 'x' for log driver local".into()),
        (log("json-file", json!({"max-size": "0"})), "max-size must be a positive number".into()),
        (log("json-file", json!({"max-size": "x"})), "invalid size: 'x'".into()),
        (log("json-file", json!({"max-file": "0"})), "max-file cannot be less than 1".into()),
        (log("json-file", json!({"compress": "true", "max-size": "1m"})), "compress cannot be true when max-file is less than 2 or max-size is not set".into()),
        (log("json-file", json!({"mode": "x"})), "logger: logging mode not supported: x".into()),
        (log("json-file", json!({"max-buffer-size": "1m"})), "logger: max-buffer-size option is only supported with 'mode=non-blocking'".into()),
    ] {
        assert_eq!(refusal(json!({}), host), text);
    }
    for fine in [
        policy("on-failure", 3),
        log(
            "json-file",
            json!({"max-size": "10m", "max-file": "3", "compress": "true", "labels": "a", "mode": "non-blocking", "max-buffer-size": "4m"}),
        ),
        log("local", json!({"max-file": "2"})),
        log("none", json!({})),
        json!({"Ulimits": [{"Name": "core", "Soft": -1, "Hard": -1}, {"Name": "nofile", "Soft": 5, "Hard": -1}]}),
        json!({"UsernsMode": "host", "PidMode": "container:x", "IpcMode": "shareable"}),
    ] {
        validated(json!({}), fine).unwrap();
    }
}

#[test]
fn networks_and_what_they_exclude() {
    for (config, host, text) in [
        (json!({}), json!({"NetworkMode": "mine"}), "user-defined networks are not supported: network mine"),
        (
            json!({}),
            json!({"NetworkMode": "container:"}),
            "invalid network mode: invalid container format container:<name|id>",
        ),
        (
            json!({"Hostname": "h"}),
            json!({"NetworkMode": "container:x"}),
            "conflicting options: hostname and the network mode",
        ),
        (
            json!({}),
            json!({"NetworkMode": "container:x", "Dns": ["1.1.1.1"]}),
            "conflicting options: dns and the network mode",
        ),
        (
            json!({}),
            json!({"NetworkMode": "container:x", "ExtraHosts": ["a:1.1.1.1"]}),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            json!({}),
            json!({"NetworkMode": "container:x", "PublishAllPorts": true}),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            json!({"ExposedPorts": {"1/tcp": {}}}),
            json!({"NetworkMode": "container:x"}),
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            json!({}),
            json!({"NetworkMode": "container:x", "Links": ["a"]}),
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ),
        (
            json!({}),
            json!({"NetworkMode": "host", "Links": ["a"]}),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (
            json!({"Hostname": "h"}),
            json!({"UTSMode": "host"}),
            "conflicting options: hostname and the UTS mode",
        ),
        (
            json!({}),
            json!({"Links": ["a"]}),
            "HostConfig.Links is not supported: use a network's names instead",
        ),
        (json!({}), json!({"ExtraHosts": ["x"]}), "bad format for add-host: \"x\""),
        (json!({}), json!({"ExtraHosts": ["x:y"]}), "invalid IP address in add-host: \"y\""),
        (json!({}), json!({"Dns": ["x"]}), "bad nameserver address x"),
        (json!({}), json!({"PortBindings": {"80000/tcp": null}}), "invalid port specification: \"80000\""),
        (
            json!({}),
            json!({"PortBindings": {"80/tcp": [{"HostPort": "9-8"}]}}),
            "invalid port specification: \"9-8\"",
        ),
        (json!({}), json!({"PortBindings": {"80/tcp": [{"HostIp": "x"}]}}), "invalid IP address: x"),
    ] {
        assert_eq!(refusal(config, host), text);
    }
    let (config, host, _) =
        validated(json!({}), json!({"PortBindings": {"80": null, "53/udp": [{"HostPort": "8000-8010"}]}}))
            .unwrap();
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
    assert_eq!(host.port_bindings["80/tcp"].as_ref().unwrap().len(), 1);
    let (_, _, warnings) =
        validated(json!({}), json!({"NetworkMode": "host", "PortBindings": {"80/tcp": []}})).unwrap();
    assert!(warnings.contains(&"Published ports are discarded when using host network mode".to_owned()));
    let extra = json!({"ExtraHosts": ["a:::1", "b=1.2.3.4", "c:host-gateway", "d:[::1]"]});
    validated(json!({}), extra).unwrap();
}

#[test]
fn endpoints_of_the_predefined_networks() {
    let refusal = |mode: &str, name: &str, endpoint: Value| {
        let mut host = serde_json::from_value(json!({"NetworkMode": mode})).unwrap();
        let networking = serde_json::from_value(json!({"EndpointsConfig": {name: endpoint}})).unwrap();
        let done = validate(&mut Config::default(), &mut host, &networking, &settings());
        done.err().map(|error| error.message).unwrap_or_default()
    };
    let within = "invalid config for network bridge: invalid endpoint settings:\n";
    let address = "user specified IP address is supported on user defined networks only";
    for (mode, name, endpoint, text) in [
        ("default", "default", json!({}), String::new()),
        ("default", "bridge", json!({"MacAddress": "02:00:00:00:00:01"}), String::new()),
        ("default", "default", json!({"MacAddress": "x"}), "invalid config for network bridge: invalid MAC address x".into()),
        ("bridge", "bridge", json!({"IPAMConfig": {"IPv4Address": "1.2.3.4"}}), format!("{within}{address}")),
        ("bridge", "bridge", json!({"IPAMConfig": {"IPv4Address": "x"}}), format!("{within}{address}\ninvalid IPv4 address: x")),
        ("bridge", "bridge", json!({"Aliases": ["a"]}), format!("{within}network-scoped alias is supported only for containers in user defined networks")),
        ("bridge", "mine", json!({}), "user-defined networks are not supported: network mine".into()),
        ("host", "bridge", json!({}), "container sharing network namespace with another container or host cannot be connected to any other network".into()),
        ("bridge", "none", json!({}), "container cannot be connected to multiple networks with one of the networks in private (none) mode".into()),
    ] {
        assert_eq!(refusal(mode, name, endpoint), text, "{mode} {name}");
    }
}
