//! The rule set as text for nft(8): the rules stand in `rules.nft`, this file fills the sets they look into.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::{RuleSet, Unrelated};
use crate::attachment::Published;
use crate::bridge::{Bridge, Neighbours, Reach};
use crate::error::{Error, Result};

/// The chains, and the sets and maps they look into, empty. The same for every host and every number of bridges.
const CHAINS: &str = include_str!("rules.nft");
/// For a host that routes for the bridges alone.
const UNRELATED: &str = r"
	chain unrelated {
		type filter hook forward priority filter; policy accept;
		iifname != @bridges oifname != @bridges drop
	}
";

/// The input of `nft -f -`: one transaction.
pub(super) fn text(wanted: &RuleSet<'_>) -> Result<String> {
    let table = wanted.table;
    let more = if wanted.unrelated == Unrelated::Dropped { UNRELATED } else { "" };
    // Deleting what may not be there is a failure; adding what is there is none.
    let mut text =
        format!("add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n{CHAINS}{more}}}\n");
    let bridges = wanted.bridges;
    let name = |bridge: &Bridge| format!("\"{}\"", bridge.name);
    let pair = |bridge: &Bridge| format!("\"{0}\" . \"{0}\"", bridge.name);
    let network = |bridge: &Bridge| bridge.address.network().to_string();
    let home = |bridge: &Bridge| format!("\"{}\" . {}", bridge.name, bridge.address.network());
    let sets = [
        ("bridges", bridges.iter().map(name).collect()),
        ("internal", bridges.iter().filter(|bridge| bridge.reach == Reach::Internal).map(name).collect()),
        ("within", bridges.iter().map(pair).collect()),
        ("apart", bridges.iter().filter(|bridge| bridge.neighbours == Neighbours::Apart).map(pair).collect()),
        ("hidden", bridges.iter().filter(|bridge| bridge.reach != Reach::Routed).map(network).collect()),
        ("homes", bridges.iter().map(home).collect()),
        (
            "masqueraded",
            bridges.iter().filter(|bridge| bridge.reach == Reach::Masqueraded).map(network).collect(),
        ),
        ("published", ports(wanted.published, |port| port.bound_to().is_none().then(|| anywhere(port)))),
        ("published_at", ports(wanted.published, |port| port.bound_to().map(|host| at(host, port)))),
    ];
    check_bridges(bridges)?;
    for (set, elements) in &sets {
        add(&mut text, table.as_str(), set, elements);
    }
    Ok(text)
}

fn add(text: &mut String, table: &str, set: &str, elements: &[String]) {
    if !elements.is_empty() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "add element ip {table} {set} {{ {} }}", elements.join(", "));
    }
}

fn ports(published: &[Published], element: impl Fn(&Published) -> Option<String>) -> Vec<String> {
    published.iter().filter_map(element).collect()
}

fn anywhere(port: &Published) -> String {
    let (transport, number) = (port.transport.name(), port.host_port);
    format!("{transport} . {number} : {} . {}", port.container_ip, port.container_port)
}

fn at(host: Ipv4Addr, port: &Published) -> String {
    format!("{host} . {}", anywhere(port))
}

fn check_bridges(bridges: &[Bridge]) -> Result<()> {
    for (index, bridge) in bridges.iter().enumerate() {
        let (name, address) = (&bridge.name, bridge.address);
        if !address.address().is_ipv4() {
            return Err(Error::Value(format!("bridge {name}: {address} is no IPv4 address")));
        }
        if let Some(other) = bridges[..index].iter().find(|other| other.address.overlaps(address)) {
            return Err(Error::Conflict(format!(
                "bridges {} and {name} have overlapping networks",
                other.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::Transport;

    fn bridge(name: &str, address: &str) -> Bridge {
        Bridge {
            name: name.parse().unwrap(),
            address: address.parse().unwrap(),
            mac: "02:42:00:00:00:01".parse().unwrap(),
            mtu: None,
            reach: Reach::Masqueraded,
            neighbours: Neighbours::Connected,
        }
    }

    fn port(host_ip: Option<[u8; 4]>, host_port: u16) -> Published {
        let host_ip = host_ip.map(Ipv4Addr::from);
        let container_ip = Ipv4Addr::new(172, 17, 0, 2);
        Published { transport: Transport::Tcp, host_ip, host_port, container_ip, container_port: 80 }
    }

    fn elements(bridges: &[Bridge], published: &[Published]) -> Result<Vec<String>> {
        let table = "knarr".parse().unwrap();
        let whole = text(&RuleSet { table: &table, bridges, published, unrelated: Unrelated::Untouched })?;
        let lines = whole.lines().filter_map(|line| line.strip_prefix("add element ip knarr "));
        Ok(lines.map(str::to_owned).collect())
    }

    #[test]
    fn a_bridge_is_in_the_sets_of_its_kind() {
        let inner =
            Bridge { reach: Reach::Internal, neighbours: Neighbours::Apart, ..bridge("br1", "10.1.0.1/24") };
        assert_eq!(
            elements(&[bridge("br0", "172.17.0.1/16"), inner], &[]).unwrap(),
            [
                r#"bridges { "br0", "br1" }"#,
                r#"internal { "br1" }"#,
                r#"within { "br0" . "br0", "br1" . "br1" }"#,
                r#"apart { "br1" . "br1" }"#,
                r"hidden { 172.17.0.0/16, 10.1.0.0/24 }",
                r#"homes { "br0" . 172.17.0.0/16, "br1" . 10.1.0.0/24 }"#,
                r"masqueraded { 172.17.0.0/16 }",
            ]
        );
    }

    #[test]
    fn a_port_is_in_the_map_of_its_address() {
        let ports = [port(None, 8080), port(Some([0; 4]), 8081), port(Some([127, 0, 0, 1]), 8082)];
        assert_eq!(
            elements(&[], &ports).unwrap(),
            [
                "published { tcp . 8080 : 172.17.0.2 . 80, tcp . 8081 : 172.17.0.2 . 80 }",
                "published_at { 127.0.0.1 . tcp . 8082 : 172.17.0.2 . 80 }",
            ]
        );
    }

    #[test]
    fn overlapping_bridges_are_refused() {
        let error = elements(&[bridge("br0", "10.0.0.1/8"), bridge("br1", "10.1.0.1/16")], &[]).unwrap_err();
        assert_eq!(error.to_string(), "bridges br0 and br1 have overlapping networks");
    }
}
