//! A host with bridges, an outside it is linked to, and containers. The machine's own namespace is never touched.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use knarr_netns::firewall::{self, RuleSet, Unrelated};
use knarr_netns::{
    Attachment, Bridge, Interface, Link, LinkName, Neighbours, Published, Reach, Route, Table, Transport,
    bridge,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// A network namespace and a process in it, which ends when the test does, however that ends: its standard input does.
pub(crate) struct Namespace {
    pub(crate) pid: u32,
    fd: OwnedFd,
    holder: Child,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare(1)");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "unshare needs root");
        let fd = knarr_netns::of_process(holder.id()).unwrap();
        Self { pid: holder.id(), fd, holder }
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Does `act` inside.
    #[track_caller]
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program inside, and returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> String {
        let mut words = words.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        let output = self.inside(move || command.output()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Whether bridges show their frames to the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrNetfilter {
    On,
    Off,
}

pub(crate) struct World {
    pub(crate) host: Namespace,
    pub(crate) outside: Namespace,
    pub(crate) table: Table,
    pub(crate) bridges: Vec<Bridge>,
}

/// A bridge called `name` with `172.NUMBER.0.1/16`.
pub(crate) fn plain_bridge(name: &str, number: u8) -> Bridge {
    Bridge {
        name: name.parse().unwrap(),
        address: format!("172.{number}.0.1/16").parse().unwrap(),
        mac: format!("02:42:00:00:00:{number:02}").parse().unwrap(),
        mtu: None,
        reach: Reach::Masqueraded,
        neighbours: Neighbours::Connected,
    }
}

impl World {
    /// A host that has applied those bridges, and is linked to the outside.
    pub(crate) fn new(bridges: Vec<Bridge>, br_netfilter: BrNetfilter) -> Self {
        let (host, outside) = (Namespace::new(), Namespace::new());
        let far = outside.pid;
        host.run("ip link set lo up");
        host.run(&format!("ip link add wan0 type veth peer name eth0 netns {far}"));
        host.run(&format!("ip address add {HOST}/24 dev wan0"));
        host.run("ip link set wan0 up");
        outside.run(&format!("ip address add {OUTSIDE}/24 dev eth0"));
        outside.run("ip link set eth0 up");
        // Somebody who tries to reach containers without being asked.
        outside.run(&format!("ip route add 172.16.0.0/12 via {HOST}"));
        let switch = if br_netfilter == BrNetfilter::On { "1" } else { "0" };
        host.inside(|| {
            let file = "/proc/sys/net/bridge/bridge-nf-call-iptables";
            let there = std::fs::exists(file).unwrap();
            assert!(
                there || br_netfilter == BrNetfilter::Off,
                "br_netfilter is not there: modprobe br_netfilter"
            );
            if there {
                std::fs::write(file, switch).unwrap();
            }
        });
        let world = Self { host, outside, table: "knarr_test".parse().unwrap(), bridges };
        world.host.inside(|| {
            firewall::enable_forwarding().unwrap();
            for wanted in &world.bridges {
                bridge::ensure(wanted).unwrap();
            }
        });
        world.apply(&[]);
        world
    }

    /// Replaces the rule set.
    #[track_caller]
    pub(crate) fn apply(&self, published: &[Published]) -> Vec<String> {
        let (table, bridges) = (&self.table, &self.bridges);
        let wanted = RuleSet { table, bridges, published, unrelated: Unrelated::Untouched };
        self.host.inside(|| firewall::apply(&wanted)).unwrap()
    }

    /// What a container gets that is the `number`th of a bridge (2 for the first).
    pub(crate) fn attachment(&self, bridge: usize, number: u8, published: &[Published]) -> Attachment {
        Attachment {
            container: format!("c{bridge}-{number}"),
            table: self.table.clone(),
            interfaces: vec![self.interface(bridge, number)],
            published: published.to_vec(),
        }
    }

    pub(crate) fn interface(&self, bridge: usize, number: u8) -> Interface {
        let bridge = &self.bridges[bridge];
        let [a, b, ..] = octets(bridge);
        let link = Link::Bridge {
            bridge: bridge.name.clone(),
            host_name: host_name(bridge, number),
            isolated: bridge.neighbours == Neighbours::Apart,
        };
        let mut routes = vec![Route::default_by(bridge.address.address())];
        routes.retain(|_| bridge.reach != Reach::Internal);
        Interface {
            name: "eth0".parse().unwrap(),
            link,
            mac: Some(format!("02:42:{a:02x}:{b:02x}:00:{number:02x}").parse().unwrap()),
            addresses: vec![format!("{}/16", address(bridge, number)).parse().unwrap()],
            routes,
            mtu: None,
            sysctls: std::iter::once((
                "net.ipv4.conf.IFNAME.log_martians".to_owned().try_into().unwrap(),
                "1".into(),
            ))
            .collect(),
        }
    }

    /// A container on the bridge: its namespace and its address.
    #[track_caller]
    pub(crate) fn container(
        &self,
        bridge: usize,
        number: u8,
        published: &[Published],
    ) -> (Namespace, Ipv4Addr) {
        let namespace = Namespace::new();
        let attachment = self.attachment(bridge, number, published);
        let outcome = self.host.inside(|| knarr_netns::setup(&attachment, namespace.fd()));
        outcome.unwrap_or_else(|error| panic!("{}", knarr_netns::chain(&error)));
        (namespace, address(&self.bridges[bridge], number))
    }

    /// The rule set as nft lists it.
    #[track_caller]
    pub(crate) fn rules(&self) -> String {
        self.host.run("nft list ruleset")
    }

    /// The names of the host's links.
    #[track_caller]
    pub(crate) fn links(&self) -> String {
        self.host
            .run("ip -brief link")
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned() + "\n")
            .collect()
    }
}

pub(crate) fn octets(bridge: &Bridge) -> [u8; 4] {
    let std::net::IpAddr::V4(address) = bridge.address.address() else { unreachable!() };
    address.octets()
}

pub(crate) fn address(bridge: &Bridge, number: u8) -> Ipv4Addr {
    let [a, b, ..] = octets(bridge);
    Ipv4Addr::new(a, b, 0, number)
}

pub(crate) fn host_name(bridge: &Bridge, number: u8) -> LinkName {
    format!("veth{}{number}", bridge.name).parse().unwrap()
}

/// `8080` of every address of the host leads to `80` of the container, say.
pub(crate) fn published(transport: Transport, host_port: u16, to: (Ipv4Addr, u16)) -> Published {
    Published { transport, host_ip: None, host_port, container_ip: to.0, container_port: to.1 }
}
