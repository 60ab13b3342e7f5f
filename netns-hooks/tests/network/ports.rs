//! Published ports: from where they are reached, and as whom.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use knarr_netns::{Bridge, Neighbours, Published, Transport, firewall};

use crate::traffic::{assert_closed, assert_open, serve};
use crate::world::{BrNetfilter, HOST, OUTSIDE, World, address, plain_bridge, published};

/// TCP and UDP alike.
fn both(host_port: u16, to: (Ipv4Addr, u16)) -> [Published; 2] {
    [published(Transport::Tcp, host_port, to), published(Transport::Udp, host_port, to)]
}

fn reached_from_everywhere(br_netfilter: BrNetfilter) {
    let world = World::new(vec![plain_bridge("br0", 17), plain_bridge("br1", 18)], br_netfilter);
    let own = address(&world.bridges[0], 2);
    let gateway = address(&world.bridges[0], 1);
    let (one, _) = world.container(0, 2, &both(8080, (own, 80)));
    let (neighbour, _) = world.container(0, 3, &[]);
    let (beyond, far) = world.container(1, 2, &[]);
    serve(&one, 80);
    assert_open(&world.outside, HOST, 8080, OUTSIDE);
    assert_open(&world.host, HOST, 8080, gateway);
    assert_open(&world.host, Ipv4Addr::LOCALHOST, 8080, gateway);
    assert_open(&world.host, Ipv4Addr::new(127, 1, 2, 3), 8080, gateway);
    assert_open(&neighbour, HOST, 8080, gateway);
    assert_open(&neighbour, gateway, 8080, gateway);
    assert_open(&one, HOST, 8080, gateway);
    // Masqueraded on its way out of its own bridge.
    assert_open(&beyond, HOST, 8080, gateway);
    assert_ne!(far, gateway);
    // Not by the container's own address, on no port.
    assert_closed(&world.outside, own, 80);
    assert_closed(&world.outside, own, 8080);
    assert_closed(&world.outside, HOST, 80);
    assert_closed(&world.outside, HOST, 8081);
}

#[test]
fn a_port_is_reached_from_everywhere_with_br_netfilter() {
    reached_from_everywhere(BrNetfilter::On);
}

#[test]
fn a_port_is_reached_from_everywhere_without_br_netfilter() {
    reached_from_everywhere(BrNetfilter::Off);
}

#[test]
fn a_port_bound_to_an_address_is_there_alone() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let own = address(&world.bridges[0], 2);
    let at = |address: Ipv4Addr, port| {
        both(port, (own, 80)).map(|each| Published { host_ip: Some(address), ..each })
    };
    let ports = [at(HOST, 8080), at(Ipv4Addr::LOCALHOST, 8081), at(Ipv4Addr::UNSPECIFIED, 8082)].concat();
    let (one, _) = world.container(0, 2, &ports);
    serve(&one, 80);
    let gateway = address(&world.bridges[0], 1);
    assert_open(&world.outside, HOST, 8080, OUTSIDE);
    assert_closed(&world.host, Ipv4Addr::LOCALHOST, 8080);
    assert_open(&world.host, Ipv4Addr::LOCALHOST, 8081, gateway);
    assert_closed(&world.outside, HOST, 8081);
    assert_open(&world.outside, HOST, 8082, OUTSIDE);
}

#[test]
fn a_port_of_the_loopback_is_not_reached_from_outside() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let own = address(&world.bridges[0], 2);
    let ports = both(8080, (own, 80)).map(|each| Published { host_ip: Some(Ipv4Addr::LOCALHOST), ..each });
    let (one, _) = world.container(0, 2, &ports);
    serve(&one, 80);
    let outside = &world.outside;
    // lo is down there: nothing but this route knows the address.
    outside.run(&format!("ip route add 127.0.0.1/32 via {HOST}"));
    outside.inside(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")).unwrap();
    assert_closed(outside, Ipv4Addr::LOCALHOST, 8080);
    // It is the rule that keeps it out, nothing else.
    world.host.run("nft flush chain ip knarr_test raw");
    assert_open(outside, Ipv4Addr::LOCALHOST, 8080, OUTSIDE);
}

#[test]
fn with_icc_false_a_port_is_reached_from_outside_and_not_by_neighbours() {
    for br_netfilter in [BrNetfilter::On, BrNetfilter::Off] {
        let apart = Bridge { neighbours: Neighbours::Apart, ..plain_bridge("br0", 17) };
        let world = World::new(vec![apart], br_netfilter);
        let own = address(&world.bridges[0], 2);
        let (one, _) = world.container(0, 2, &both(8080, (own, 80)));
        let (two, _) = world.container(0, 3, &[]);
        serve(&one, 80);
        assert_open(&world.outside, HOST, 8080, OUTSIDE);
        assert_open(&world.host, Ipv4Addr::LOCALHOST, 8080, address(&world.bridges[0], 1));
        assert_closed(&two, HOST, 8080);
    }
}

#[test]
fn thousands_of_ports_come_and_go_together() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let own = address(&world.bridges[0], 2);
    let before = world.rules();
    let ports: Vec<_> = (1..=20_000).map(|port| published(Transport::Tcp, port, (own, port))).collect();
    world.host.inside(|| firewall::publish(&world.table, &ports)).unwrap();
    assert_eq!(world.rules().matches(" : 172.17.0.2 . ").count(), ports.len());
    world.host.inside(|| firewall::withdraw(&world.table, &ports)).unwrap();
    assert_eq!(world.rules(), before);
}

#[test]
fn a_port_belongs_to_who_published_it_first() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let first = [published(Transport::Sctp, 8080, (address(&world.bridges[0], 2), 80))];
    let second = [first[0], published(Transport::Tcp, 9090, (address(&world.bridges[0], 3), 80))]
        .map(|port| Published { container_ip: address(&world.bridges[0], 3), ..port });
    world.host.inside(|| firewall::publish(&world.table, &first)).unwrap();
    world.host.inside(|| firewall::publish(&world.table, &first)).expect("once more is no failure");
    let rules = world.rules();
    let error = world.host.inside(|| firewall::publish(&world.table, &second)).unwrap_err();
    let text = knarr_netns::chain(&error);
    assert!(text.ends_with(": port is already published"), "{text}");
    assert_eq!(world.rules(), rules, "all or none");
    // Who failed is cleaned up after, and takes nothing from who did not.
    world.host.inside(|| firewall::withdraw(&world.table, &second)).unwrap();
    assert_eq!(world.rules(), rules);
    world.host.inside(|| firewall::withdraw(&world.table, &first)).unwrap();
    world.host.inside(|| firewall::withdraw(&world.table, &first)).expect("once more is no failure");
    assert!(!world.rules().contains("8080"));
}

/// A client that keeps its port and goes on sending, as many do.
#[test]
fn a_udp_client_follows_a_port_from_container_to_container() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let client = world.outside.inside(|| UdpSocket::bind((OUTSIDE, 0)).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let ask = || {
        let mut buffer = [0; 64];
        client.send_to(b"who", (HOST, 8080)).unwrap();
        client.recv_from(&mut buffer).map(|(length, from)| (buffer[..length].to_vec(), from))
    };
    ask().expect_err("nobody is there");
    for number in [2, 3] {
        let own = address(&world.bridges[0], number);
        let port = [published(Transport::Udp, 8080, (own, 80))];
        let (one, _) = world.container(0, number, &port);
        let socket = one.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let server = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let (_, peer) = socket.recv_from(&mut buffer).expect("the client's packet");
            socket.send_to(&[number], peer).unwrap();
        });
        let (answer, from) = ask().expect("an answer of the container that has the port");
        assert_eq!((answer, from), (vec![number], (HOST, 8080).into()));
        server.join().unwrap();
        // The namespace stays, and with it the container's end.
        world.host.inside(|| firewall::withdraw(&world.table, &port)).unwrap();
        ask().expect_err("the port is nobody's");
    }
}
