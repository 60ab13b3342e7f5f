//! What of a container's network can be checked before there is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::oci;
use crate::wire::{Config, EndpointSettings, HostConfig, NetworkingConfig, PortBinding};

/// How the names of Docker's own options of endpoints begin.
const DOCKERS_OPTION: &str = "com.docker.network.";
const UNPUBLISHED: &str = "Published ports are discarded when using host network mode";
const NOT_FORWARDED: &str = "IPv4 forwarding is disabled. Networking will not work.";

pub(super) fn check(
    config: &mut Config,
    host: &mut HostConfig,
    networking: &NetworkingConfig,
) -> Result<Vec<String>> {
    mode(config, host)?;
    for extra in host.extra_hosts.iter().flatten() {
        extra_host(extra)?;
    }
    for server in &host.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(Error::invalid(format!("bad nameserver address {server}")));
        }
    }
    ports(config, host)?;
    endpoints(&host.network_mode, networking)?;
    let mut warnings = Vec::new();
    let mode = host.network_mode.as_str();
    if !matches!(mode, "host" | "none") && !oci::forwards_ipv4() {
        warnings.push(NOT_FORWARDED.to_owned());
    }
    if mode == "host" && !host.port_bindings.is_empty() {
        warnings.push(UNPUBLISHED.to_owned());
    }
    Ok(warnings)
}

fn mode(config: &mut Config, host: &mut HostConfig) -> Result<()> {
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    if std::mem::take(&mut config.network_disabled) {
        // An interface that nobody can use is none.
        "none".clone_into(&mut host.network_mode);
    }
    let links = host.links.iter().flatten().next().is_some();
    match host.network_mode.as_str() {
        "container" | "container:" => {
            return Err(Error::invalid("invalid network mode: invalid container format container:<name|id>"));
        }
        mode if mode.starts_with("container:") => shared(config, host)?,
        "host" if links => {
            return Err(conflict(
                "host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
        "bridge" | "host" | "none" => {}
        name => {
            return Err(Error::not_implemented(format!(
                "user-defined networks are not supported: network {name}"
            )));
        }
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(conflict("hostname and the UTS mode"));
    }
    if links {
        return Err(Error::not_implemented(
            "HostConfig.Links is not supported: use a network's names instead",
        ));
    }
    Ok(())
}

/// What a container cannot have of its own when the network is another's.
fn shared(config: &Config, host: &HostConfig) -> Result<()> {
    let links = host.links.iter().flatten().next().is_some();
    let hosts = host.extra_hosts.iter().flatten().next().is_some();
    let table = [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (links, "container type network can't be used with links. This would result in undefined behavior"),
        (!host.dns.is_empty(), "dns and the network mode"),
        (hosts, "custom host-to-IP mapping and the network mode"),
        (
            !host.port_bindings.is_empty() || host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (!config.exposed_ports.is_empty(), "port exposing and the container type network mode"),
    ];
    table.into_iter().find(|(found, _)| *found).map_or(Ok(()), |(_, what)| Err(conflict(what)))
}

fn conflict(what: &str) -> Error {
    Error::invalid(format!("conflicting options: {what}"))
}

/// `name:address`, or `name=address` as newer clients write it.
fn extra_host(text: &str) -> Result<()> {
    let (name, address) = text.split_once([':', '=']).unwrap_or((text, ""));
    if name.is_empty() || name.len() == text.len() {
        return Err(Error::invalid(format!("bad format for add-host: {text:?}")));
    }
    let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && plain.parse::<IpAddr>().is_err() {
        return Err(Error::invalid(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok(())
}

/// A port that is published is exposed as well, and one without a binding is published at any free port.
fn ports(config: &mut Config, host: &mut HostConfig) -> Result<()> {
    for port in config.exposed_ports.keys() {
        range(port).ok_or_else(|| bad_port(port))?;
    }
    let bindings = std::mem::take(&mut host.port_bindings);
    for (name, asked) in bindings {
        let name = with_protocol(&name)?;
        let asked = asked.filter(|list| !list.is_empty()).unwrap_or_else(|| vec![PortBinding::default()]);
        for binding in &asked {
            let port = &binding.host_port;
            if !port.is_empty() {
                range(port).ok_or_else(|| bad_port(port))?;
            }
            if !binding.host_ip.is_empty() && binding.host_ip.parse::<IpAddr>().is_err() {
                return Err(Error::invalid(format!("invalid IP address: {}", binding.host_ip)));
            }
        }
        config.exposed_ports.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        host.port_bindings.insert(name, Some(asked));
    }
    Ok(())
}

fn bad_port(text: &str) -> Error {
    let port = text.split('/').next().unwrap_or_default();
    Error::invalid(format!("invalid port specification: {port:?}"))
}

/// The key of a binding: one port, `80/tcp`.
fn with_protocol(text: &str) -> Result<String> {
    match range(text) {
        Some((first, last)) if first == last && !text.contains('-') => {
            let protocol = text.split_once('/').map_or("tcp", |(_, protocol)| protocol);
            let protocol = if protocol.is_empty() { "tcp" } else { protocol };
            Ok(format!("{first}/{}", protocol.to_lowercase()))
        }
        _ => Err(bad_port(text)),
    }
}

/// The ports of `80`, `80/tcp`, `8000-8010/udp`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol.to_lowercase().as_str(), "" | "tcp" | "udp" | "sctp") {
        return None;
    }
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn endpoints(mode: &str, networking: &NetworkingConfig) -> Result<()> {
    for (name, endpoint) in &networking.endpoints_config {
        let name = if name == "default" { "bridge" } else { name };
        endpoint_settings(endpoint)
            .map_err(|error| error.within(format!("invalid config for network {name}")))?;
        if mode.starts_with("container:")
            || (mode == "host") != (name == "host")
            || (mode == "none") != (name == "none")
        {
            let why = "container sharing network namespace with another container or host cannot be connected to any other network";
            let alone = "container cannot be connected to multiple networks with one of the networks in private (none) mode";
            let none = mode == "none" || name == "none";
            return Err(Error::invalid(if none { alone } else { why }));
        }
        if name != mode {
            return Err(Error::not_implemented(format!(
                "user-defined networks are not supported: network {name}"
            )));
        }
    }
    Ok(())
}

fn endpoint_settings(endpoint: &EndpointSettings) -> Result<()> {
    let mut failures = Vec::new();
    let addresses = endpoint.ipam_config.clone().unwrap_or_default();
    if !addresses.ipv4_address.is_empty() || !addresses.ipv6_address.is_empty() {
        failures.push("user specified IP address is supported on user defined networks only".to_owned());
    }
    if endpoint.aliases.iter().flatten().next().is_some() {
        failures.push(
            "network-scoped alias is supported only for containers in user defined networks".to_owned(),
        );
    }
    let v4 = |text: &str| text.parse::<Ipv4Addr>().is_ok_and(|address| !address.is_unspecified());
    let v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_unspecified());
    if !addresses.ipv4_address.is_empty() && !v4(&addresses.ipv4_address) {
        failures.push(format!("invalid IPv4 address: {}", addresses.ipv4_address));
    }
    if !addresses.ipv6_address.is_empty() && !v6(&addresses.ipv6_address) {
        failures.push(format!("invalid IPv6 address: {}", addresses.ipv6_address));
    }
    for address in addresses.link_local_ips.iter().filter(|address| !v4(address) && !v6(address)) {
        failures.push(format!("invalid link-local IP address: {address}"));
    }
    if !endpoint.mac_address.is_empty() && !is_mac(&endpoint.mac_address) {
        return Err(Error::invalid(format!("invalid MAC address {}", endpoint.mac_address)));
    }
    // Those of others are kept and shown; no driver reads them.
    let options = endpoint.driver_opts.iter().flatten().filter(|(name, _)| name.starts_with(DOCKERS_OPTION));
    failures.extend(options.map(|(name, _)| format!("endpoint option {name} is not supported")));
    if endpoint.links.iter().flatten().next().is_some() {
        failures.push("endpoint links are not supported".to_owned());
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid endpoint settings:\n{}", failures.join("\n"))))
}

/// Six bytes in hexadecimal, with colons or dashes between them.
fn is_mac(text: &str) -> bool {
    let parts = |separator: char| text.split(separator).collect::<Vec<_>>();
    let bytes = |parts: &[&str]| {
        parts.len() == 6
            && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    bytes(&parts(':')) || bytes(&parts('-'))
}
