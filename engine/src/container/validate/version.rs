//! What a request of an older API means: fields it did not have are as they were then (moby's postContainersCreate).

use serde_json::Value;

use crate::error::{Error, Result};
use crate::wire::{BelowReadOnly, Config, CreateBody, EndpointSettings, HostConfig, Mount, NetworkingConfig};

/// Option of an endpoint with the parameters of its interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Makes a request of this version of the API (major, minor) one of today; gives warnings.
pub(crate) fn for_version(body: &mut CreateBody, version: (u32, u32)) -> Result<Vec<String>> {
    let CreateBody { config, host_config: host, networking_config: networking, below_read_only } = body;
    bridge(host, networking);
    let before = |minor| version < (1, minor);
    if before(25) {
        host.auto_remove = false;
    }
    if before(40) && host.ipc_mode.is_empty() {
        "shareable".clone_into(&mut host.ipc_mode);
    }
    if before(40) {
        host.kernel_memory_tcp = 0;
    }
    if before(42) {
        host.console_size = [0; 2];
    } else {
        host.kernel_memory = 0;
    }
    if before(43) {
        host.annotations = None;
    }
    if before(44) {
        *below_read_only = BelowReadOnly::AsTheyAre;
        if let Some(check) = &mut config.healthcheck {
            check.start_interval = 0;
        }
        let names: Vec<&str> = networking.endpoints_config.keys().map(String::as_str).collect();
        if names.len() > 1 {
            let why =
                format!("Container cannot be created with multiple network endpoints: {}", names.join(", "));
            return Err(Error::invalid(why));
        }
    }
    if before(48) {
        networking.endpoints_config.values_mut().for_each(|endpoint| endpoint.gw_priority = 0);
    }
    for mount in host.mounts.iter_mut().flatten() {
        self::mount(mount, version)?;
    }
    let warnings = [
        volume_driver(host, version),
        mac_address(config, host, networking, version)?,
        interface_sysctls(host, networking, version)?,
    ];
    Ok(warnings.into_iter().flatten().collect())
}

/// `default` is the bridge.
fn bridge(host: &mut HostConfig, networking: &mut NetworkingConfig) {
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
        if let Some(endpoint) = networking.endpoints_config.remove("default") {
            networking.endpoints_config.insert("bridge".to_owned(), endpoint);
        }
    }
}

fn mount(mount: &mut Mount, version: (u32, u32)) -> Result<()> {
    let before = |minor| version < (1, minor);
    let text = |options: &Option<Value>, name: &str| {
        let value = options.as_ref().and_then(|options| options.get(name));
        value.and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    };
    let set = |options: &Option<Value>, name: &str| {
        options.as_ref().and_then(|options| options.get(name)).and_then(Value::as_bool) == Some(true)
    };
    let forget = |options: &mut Option<Value>, name: &str| {
        options.as_mut().and_then(Value::as_object_mut).map(|options| options.remove(name));
    };
    if before(40) {
        forget(&mut mount.bind_options, "NonRecursive");
    }
    if before(42) {
        forget(&mut mount.bind_options, "CreateMountpoint");
        mount.volume_options.take_if(|_| mount.kind != "volume");
        mount.tmpfs_options.take_if(|_| mount.kind != "tmpfs");
    } else {
        let table = [
            ("VolumeOptions", "volume", &mount.volume_options),
            ("BindOptions", "bind", &mount.bind_options),
            ("TmpfsOptions", "tmpfs", &mount.tmpfs_options),
        ];
        for (field, kind, options) in table {
            if options.as_ref().is_some_and(|options| !options.is_null()) && mount.kind != kind {
                return Err(Error::invalid(format!(
                    "{field} must not be specified on mount type {:?}",
                    mount.kind
                )));
            }
        }
    }
    if before(44) && mount.kind == "bind" && set(&mount.bind_options, "ReadOnlyForceRecursive") {
        return Err(Error::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
    }
    if before(45) && text(&mount.volume_options, "Subpath") {
        return Err(Error::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    if before(48) && mount.kind == "image" {
        return Err(Error::invalid("Mount type \"Image\" needs API v1.48 or newer"));
    }
    Ok(())
}

fn volume_driver(host: &HostConfig, version: (u32, u32)) -> Option<String> {
    if host.volume_driver.is_empty() || version < (1, 48) {
        return None;
    }
    let named = |mount: &Mount| {
        let name = mount.volume_options.as_ref().and_then(|options| options.pointer("/DriverConfig/Name"));
        name.and_then(Value::as_str).is_some_and(|name| !name.is_empty())
    };
    let ignored = host.mounts.iter().flatten().any(|mount| mount.kind == "volume" && !named(mount));
    ignored.then(|| "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead".to_owned())
}

/// The address belongs to the endpoint; before 1.44 it was the container's.
fn mac_address(
    config: &mut Config,
    host: &HostConfig,
    networking: &mut NetworkingConfig,
    version: (u32, u32),
) -> Result<Option<String>> {
    let own_network = !matches!(host.network_mode.as_str(), "host" | "none")
        && !host.network_mode.starts_with("container:");
    if version < (1, 44) {
        if config.mac_address.is_empty() {
            networking.endpoints_config.values_mut().for_each(|endpoint| endpoint.mac_address.clear());
            return Ok(None);
        }
        if !own_network {
            return Err(Error::invalid("conflicting options: mac-address and the network mode"));
        }
        endpoint(host, networking, version)?.mac_address.clone_from(&config.mac_address);
        return Ok(None);
    }
    if config.mac_address.is_empty() {
        return Ok(None);
    }
    if own_network {
        let act = "unable to migrate container-wide MAC address to a specific network";
        let endpoint = endpoint(host, networking, version).map_err(|error| error.within(act))?;
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address.clone_from(&config.mac_address);
        } else if endpoint.mac_address != config.mac_address {
            return Err(Error::invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
    }
    config.mac_address.clear();
    Ok(Some("The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.".to_owned()))
}

/// The endpoint in the container's first network, made if no endpoint was asked for.
fn endpoint<'a>(
    host: &HostConfig,
    networking: &'a mut NetworkingConfig,
    version: (u32, u32),
) -> Result<&'a mut EndpointSettings> {
    let endpoints = &mut networking.endpoints_config;
    let name = if endpoints.is_empty() || endpoints.contains_key(&host.network_mode) {
        host.network_mode.clone()
    } else if let Some(name) = endpoints.keys().next().filter(|_| version < (1, 44)) {
        name.clone()
    } else {
        return Err(Error::invalid(
            "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
        ));
    };
    Ok(endpoints.entry(name).or_default())
}

/// Parameters of `eth0` were once the container's. They can be set only when there is an interface.
fn interface_sysctls(
    host: &mut HostConfig,
    networking: &mut NetworkingConfig,
    version: (u32, u32),
) -> Result<Option<String>> {
    if host.network_mode == "host" || host.network_mode.starts_with("container:") {
        return Ok(None);
    }
    let interface = |name: &str| {
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        matches!(parts[..], ["net", _, _, interface, _] if interface.starts_with("eth"))
    };
    let all = host.sysctls.get_or_insert_default();
    let found: Vec<String> = all.keys().filter(|name| interface(name)).cloned().collect();
    let Some(first) = found.first() else { return Ok(None) };
    if version > (1, 47) {
        let why = format!(
            "interface specific sysctl setting {first:?} must be supplied using driver option '{SYSCTLS}'"
        );
        return Err(Error::invalid(why));
    }
    if let Some(other) = found.iter().find(|name| name.split('.').nth(3) != Some("eth0")) {
        let why = format!(
            "unable to determine network endpoint for sysctl {other}, use driver option '{SYSCTLS}' to set per-interface sysctls"
        );
        return Err(Error::invalid(why));
    }
    let moved = found.iter().filter_map(|name| {
        let value = all.remove(name)?;
        Some(format!("{}={value}", name.replacen(".eth0.", ".IFNAME.", 1)))
    });
    let moved = moved.collect::<Vec<_>>().join(",");
    let options = endpoint(host, networking, version)?.driver_opts.get_or_insert_default();
    let option = match options.get(SYSCTLS) {
        Some(old) => format!("{moved},{old}"),
        None => moved,
    };
    let warning = format!("Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{option:?}}}.", found.join(","));
    options.insert(SYSCTLS.to_owned(), option);
    Ok(Some(warning))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(host: Value) -> CreateBody {
        CreateBody { host_config: serde_json::from_value(host).unwrap(), ..CreateBody::default() }
    }

    fn adapted(host: Value, minor: u32) -> Result<(CreateBody, Vec<String>)> {
        let mut body = body(host);
        for_version(&mut body, (1, minor)).map(|warnings| (body, warnings))
    }

    #[test]
    fn fields_that_an_api_did_not_have() {
        let host =
            json!({"AutoRemove": true, "ConsoleSize": [1, 2], "Annotations": {"a": "b"}, "KernelMemory": 7});
        let (old, _) = adapted(host.clone(), 24).unwrap();
        assert!(!old.host_config.auto_remove && old.host_config.annotations.is_none());
        assert_eq!((old.host_config.ipc_mode.as_str(), old.host_config.console_size), ("shareable", [0, 0]));
        assert_eq!(old.host_config.kernel_memory, 7);
        let (new, _) = adapted(host, 50).unwrap();
        assert!(new.host_config.auto_remove && new.host_config.annotations.is_some());
        assert_eq!((new.host_config.ipc_mode.as_str(), new.host_config.console_size), ("", [1, 2]));
        assert_eq!((new.host_config.kernel_memory, new.host_config.network_mode.as_str()), (0, "bridge"));
    }

    #[test]
    fn mounts_by_version() {
        let bind = |options: Value| json!({"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": options}]});
        let options = |host, minor| {
            adapted(host, minor).unwrap().0.host_config.mounts.unwrap()[0].bind_options.clone().unwrap()
        };
        let asked = json!({"NonRecursive": true, "CreateMountpoint": true});
        assert_eq!(options(bind(asked.clone()), 50), asked);
        assert_eq!(options(bind(asked.clone()), 43), asked);
        assert_eq!(options(bind(asked.clone()), 39), json!({}));
        let below = |minor| adapted(bind(asked.clone()), minor).unwrap().0.below_read_only;
        assert_eq!((below(43), below(44)), (BelowReadOnly::AsTheyAre, BelowReadOnly::ReadOnly));
        for (host, minor, text) in [
            (
                bind(json!({"ReadOnlyForceRecursive": true})),
                43,
                "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
            ),
            (
                json!({"Mounts": [{"Type": "image", "Source": "a", "Target": "/b"}]}),
                47,
                "Mount type \"Image\" needs API v1.48 or newer",
            ),
            (
                json!({"Mounts": [{"Type": "volume", "Target": "/b", "VolumeOptions": {"Subpath": "x"}}]}),
                44,
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ),
            (
                json!({"Mounts": [{"Type": "volume", "Target": "/b", "BindOptions": {}}]}),
                42,
                "BindOptions must not be specified on mount type \"volume\"",
            ),
        ] {
            assert_eq!(adapted(host, minor).unwrap_err().message, text);
        }
    }

    #[test]
    fn the_mac_address_belongs_to_the_endpoint() {
        let with = |minor, mode: &str, endpoint: &str| {
            let mut body = body(json!({"NetworkMode": mode}));
            body.config.mac_address = "02:00:00:00:00:01".to_owned();
            if !endpoint.is_empty() {
                let endpoints = &mut body.networking_config.endpoints_config;
                endpoints.insert(
                    "default".to_owned(),
                    EndpointSettings { mac_address: endpoint.to_owned(), ..Default::default() },
                );
            }
            for_version(&mut body, (1, minor)).map(|warnings| (body, warnings.len()))
        };
        let found = |body: &CreateBody| body.networking_config.endpoints_config["bridge"].mac_address.clone();
        let (new, warnings) = with(50, "default", "").unwrap();
        assert_eq!(
            (found(&new).as_str(), warnings, new.config.mac_address.as_str()),
            ("02:00:00:00:00:01", 1, "")
        );
        let (old, warnings) = with(43, "default", "").unwrap();
        assert_eq!((found(&old).as_str(), warnings), ("02:00:00:00:00:01", 0));
        assert!(with(50, "default", "02:00:00:00:00:02").unwrap_err().message.contains("must match"));
        assert_eq!(
            with(43, "host", "").unwrap_err().message,
            "conflicting options: mac-address and the network mode"
        );
    }

    #[test]
    fn parameters_of_an_interface_move_to_its_endpoint() {
        let host = |name: &str| json!({"Sysctls": {name: "1", "net.core.somaxconn": "9"}});
        let name = "net.ipv6.conf.eth0.forwarding";
        let (body, warnings) = adapted(host(name), 47).unwrap();
        let endpoint = &body.networking_config.endpoints_config["bridge"];
        let expected = "net.ipv6.conf.IFNAME.forwarding=1";
        assert_eq!(endpoint.driver_opts.as_ref().unwrap()[SYSCTLS], expected);
        assert_eq!(body.host_config.sysctls.unwrap().len(), 1);
        assert_eq!(
            warnings,
            [format!("Migrated sysctl {name:?} to DriverOpts{{{SYSCTLS:?}:{expected:?}}}.")]
        );
        assert!(
            adapted(host(name), 48).unwrap_err().message.contains("must be supplied using driver option")
        );
        assert!(
            adapted(host("net.ipv4.conf.eth1.x"), 47)
                .unwrap_err()
                .message
                .starts_with("unable to determine network endpoint")
        );
        let (body, _) = adapted(host("net.ipv4.ip_forward"), 50).unwrap();
        assert_eq!(body.host_config.sysctls.unwrap().len(), 2);
    }
}
