//! Published ports: which host ports a container gets, and sockets that hold them so that nobody else on the host does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::container::Record;
use crate::error::{Error, Kind, Result, words};
use crate::wire::PortBinding;

/// One port of a container on one of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) protocol: Protocol,
    pub(super) host_ip: Ipv4Addr,
    pub(super) host_port: u16,
    pub(super) container_port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Published {
    /// As the firewall has it, for the container at an address.
    pub(super) fn to(&self, container_ip: Ipv4Addr) -> knarr_netns::Published {
        knarr_netns::Published {
            transport: match self.protocol {
                Protocol::Tcp => knarr_netns::Transport::Tcp,
                Protocol::Udp => knarr_netns::Transport::Udp,
            },
            host_ip: Some(self.host_ip).filter(|ip| !ip.is_unspecified()),
            host_port: self.host_port,
            container_ip,
            container_port: self.container_port,
        }
    }
}

/// What all containers hold.
#[derive(Default)]
pub(super) struct Reservations {
    held: Vec<Held>,
}

struct Held {
    container: String,
    protocol: Protocol,
    address: SocketAddr,
    /// Bound, and listening where that is possible: others get an error that says so.
    _socket: OwnedFd,
}

impl Reservations {
    /// Reserves host ports for everything that a container publishes. All or nothing.
    pub(super) fn reserve(&mut self, record: &Record, default_address: IpAddr) -> Result<Vec<Published>> {
        let mut published = Vec::new();
        for (port, bindings) in wanted(record)? {
            for binding in bindings {
                match self.reserve_one(&record.id, port, &binding, default_address) {
                    Ok(one) => published.push(one),
                    Err(error) => {
                        self.release(&record.id);
                        return Err(error);
                    }
                }
            }
        }
        Ok(published)
    }

    fn reserve_one(
        &mut self,
        container: &str,
        (container_port, protocol): (u16, Protocol),
        binding: &PortBinding,
        default_address: IpAddr,
    ) -> Result<Published> {
        let host_ip = host_address(&binding.host_ip, default_address)?;
        let (first, last) = range(&binding.host_port)?;
        let mut failure = None;
        for port in first..=last {
            match self.hold(container, protocol, host_ip, port) {
                Ok(host_port) => return Ok(Published { protocol, host_ip, host_port, container_port }),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::invalid(format!("invalid port: {}", binding.host_port))))
    }

    /// Port 0 is any free one.
    fn hold(&mut self, container: &str, protocol: Protocol, ip: Ipv4Addr, port: u16) -> Result<u16> {
        let address = SocketAddr::from((ip, port));
        let taken = |held: &&Held| {
            let ips = held.address.ip() == address.ip()
                || held.address.ip().is_unspecified()
                || ip.is_unspecified();
            held.protocol == protocol && held.address.port() == port && ips
        };
        if port != 0 && self.held.iter().any(|held| taken(&held)) {
            return Err(Error::system(format!("Bind for {address} failed: port is already allocated")));
        }
        let bound = match protocol {
            Protocol::Tcp => TcpListener::bind(address)
                .and_then(|socket| Ok((socket.local_addr()?, OwnedFd::from(socket)))),
            Protocol::Udp => {
                UdpSocket::bind(address).and_then(|socket| Ok((socket.local_addr()?, OwnedFd::from(socket))))
            }
        };
        let (address, socket) = bound.map_err(|error| {
            let why = words(&error);
            Error::new(
                Kind::System,
                format!("failed to bind host port for {address}/{}: {why}", protocol.name()),
            )
        })?;
        self.held.push(Held { container: container.to_owned(), protocol, address, _socket: socket });
        Ok(address.port())
    }

    /// Holds again what a running container has published.
    pub(super) fn adopt(&mut self, record: &Record) -> Result<()> {
        for (port, bindings) in &record.ports {
            let (_, protocol) = container_port(port)?;
            for binding in bindings {
                let ip = host_address(&binding.host_ip, IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
                self.hold(&record.id, protocol, ip, range(&binding.host_port)?.0)?;
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, container: &str) {
        self.held.retain(|held| held.container != container);
    }
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// As `inspect` shows it.
pub(super) fn shown(record: &Record, published: &[Published]) -> BTreeMap<String, Vec<PortBinding>> {
    let exposed: BTreeSet<&String> =
        record.config.exposed_ports.keys().chain(record.host_config.port_bindings.keys()).collect();
    let mut ports: BTreeMap<String, Vec<PortBinding>> =
        exposed.into_iter().map(|port| (port.clone(), Vec::new())).collect();
    for one in published {
        let port = format!("{}/{}", one.container_port, one.protocol.name());
        let binding = PortBinding { host_ip: one.host_ip.to_string(), host_port: one.host_port.to_string() };
        ports.entry(port).or_default().push(binding);
    }
    ports
}

type Wanted = ((u16, Protocol), Vec<PortBinding>);

/// What is to be published: the bindings, and with `-P` every exposed port on any free one.
fn wanted(record: &Record) -> Result<Vec<Wanted>> {
    let host = &record.host_config;
    let mut wanted = Vec::new();
    for (port, bindings) in &host.port_bindings {
        let bindings = bindings.clone().filter(|bindings| !bindings.is_empty());
        wanted.push((container_port(port)?, bindings.unwrap_or_else(|| vec![PortBinding::default()])));
    }
    if host.publish_all_ports {
        let more = record.config.exposed_ports.keys().filter(|port| !host.port_bindings.contains_key(*port));
        for port in more {
            wanted.push((container_port(port)?, vec![PortBinding::default()]));
        }
    }
    Ok(wanted)
}

/// `PORT/PROTOCOL`; without a protocol it is TCP.
fn container_port(text: &str) -> Result<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let port = port.parse().map_err(|_| Error::invalid(format!("invalid port: {text}")))?;
    match protocol {
        "tcp" => Ok((port, Protocol::Tcp)),
        "udp" => Ok((port, Protocol::Udp)),
        "sctp" => Err(Error::not_implemented(format!("publishing SCTP ports is not supported: {text}"))),
        _ => Err(Error::invalid(format!("invalid proto: {protocol}"))),
    }
}

fn host_address(text: &str, default: IpAddr) -> Result<Ipv4Addr> {
    let address = if text.is_empty() { Ok(default) } else { text.parse() };
    match address {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err(Error::not_implemented(format!(
            "publishing ports on IPv6 addresses is not supported: {text}"
        ))),
        Err(_) => Err(Error::invalid(format!("invalid IP address: {text}"))),
    }
}

/// A port, `FIRST-LAST`, or empty and 0 for any.
fn range(text: &str) -> Result<(u16, u16)> {
    let invalid = |_| Error::invalid(format!("invalid port range: {text}"));
    if text.is_empty() {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok((first.parse().map_err(invalid)?, last.parse().map_err(invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_held_and_given_back() {
        let mut reservations = Reservations::default();
        let localhost = Ipv4Addr::LOCALHOST;
        let port = reservations.hold("a", Protocol::Tcp, localhost, 0).unwrap();
        let refused = reservations.hold("b", Protocol::Tcp, localhost, port).unwrap_err();
        assert_eq!(refused.message, format!("Bind for 127.0.0.1:{port} failed: port is already allocated"));
        assert!(TcpListener::bind((localhost, port)).is_err(), "others are refused");
        reservations.release("a");
        let listener = TcpListener::bind((localhost, port)).unwrap();
        let refused = reservations.hold("b", Protocol::Tcp, localhost, port).unwrap_err();
        assert!(refused.message.ends_with("address already in use"), "{refused}");
        drop(listener);
    }

    #[test]
    fn ranges_and_ports_are_read() {
        assert_eq!(range("").unwrap(), (0, 0));
        assert_eq!(range("80").unwrap(), (80, 80));
        assert_eq!(range("80-90").unwrap(), (80, 90));
        assert!(range("x").is_err() && range("70000").is_err());
        assert_eq!(container_port("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(container_port("53/udp").unwrap(), (53, Protocol::Udp));
        assert!(container_port("80/foo").is_err());
    }
}
