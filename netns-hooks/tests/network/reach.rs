//! Who reaches whom without a published port.

use std::net::Ipv4Addr;

use knarr_netns::{Bridge, Neighbours, Reach};

use crate::traffic::{assert_closed, assert_open, assert_open_by_tcp, serve};
use crate::world::{BrNetfilter, HOST, OUTSIDE, World, address, plain_bridge};

fn neighbours_and_the_outside(br_netfilter: BrNetfilter) {
    let world = World::new(vec![plain_bridge("br0", 17)], br_netfilter);
    let (one, own) = world.container(0, 2, &[]);
    let (two, other) = world.container(0, 3, &[]);
    serve(&one, 80);
    serve(&two, 80);
    serve(&world.outside, 80);
    serve(&world.host, 80);
    assert_open(&one, other, 80, own);
    assert_open(&two, own, 80, other);
    assert_open(&one, OUTSIDE, 80, HOST);
    // The host, by any of its addresses, sees the container; and reaches it.
    assert_open_by_tcp(&one, HOST, 80, own);
    assert_open(&one, address(&world.bridges[0], 1), 80, own);
    assert_open(&world.host, own, 80, address(&world.bridges[0], 1));
    // Nobody has published anything.
    assert_closed(&world.outside, own, 80);
    assert_eq!(one.run("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1\n");
    assert_eq!(one.run("cat /proc/sys/net/ipv4/conf/eth0/log_martians"), "1\n");
    assert_open(&one, Ipv4Addr::LOCALHOST, 80, Ipv4Addr::LOCALHOST);
}

#[test]
fn neighbours_and_the_outside_with_br_netfilter() {
    neighbours_and_the_outside(BrNetfilter::On);
}

#[test]
fn neighbours_and_the_outside_without_br_netfilter() {
    neighbours_and_the_outside(BrNetfilter::Off);
}

#[test]
fn a_routed_bridge_keeps_its_addresses() {
    let routed = Bridge { reach: Reach::Routed, ..plain_bridge("br0", 17) };
    let world = World::new(vec![routed], BrNetfilter::Off);
    let (one, own) = world.container(0, 2, &[]);
    serve(&world.outside, 80);
    assert_open(&one, OUTSIDE, 80, own);
}

#[test]
fn two_bridges_are_apart() {
    for br_netfilter in [BrNetfilter::On, BrNetfilter::Off] {
        let world = World::new(vec![plain_bridge("br0", 17), plain_bridge("br1", 18)], br_netfilter);
        let (one, own) = world.container(0, 2, &[]);
        let (two, other) = world.container(1, 2, &[]);
        serve(&one, 80);
        serve(&two, 80);
        assert_closed(&one, other, 80);
        assert_closed(&two, own, 80);
        // Not even with the rule out of the way that forbids it first.
        world.host.run("nft flush chain ip knarr_test raw");
        assert_closed(&one, other, 80);
        world.host.run("nft flush chain ip knarr_test forward");
        assert_open(&one, other, 80, address(&world.bridges[1], 1));
    }
}

#[test]
fn neighbours_of_icc_false_are_apart() {
    for br_netfilter in [BrNetfilter::On, BrNetfilter::Off] {
        let apart = Bridge { neighbours: Neighbours::Apart, ..plain_bridge("br0", 17) };
        let world = World::new(vec![apart], br_netfilter);
        let (one, own) = world.container(0, 2, &[]);
        let (two, _) = world.container(0, 3, &[]);
        serve(&one, 80);
        serve(&world.host, 80);
        serve(&world.outside, 80);
        assert_closed(&two, own, 80);
        assert_open_by_tcp(&two, HOST, 80, address(&world.bridges[0], 3));
        assert_open(&two, OUTSIDE, 80, HOST);
    }
}

#[test]
fn an_internal_bridge_ends_at_the_host() {
    let inner = Bridge { reach: Reach::Internal, ..plain_bridge("br0", 17) };
    let world = World::new(vec![inner, plain_bridge("br1", 18)], BrNetfilter::On);
    let (one, own) = world.container(0, 2, &[]);
    let (two, other) = world.container(0, 3, &[]);
    let (beyond, far) = world.container(1, 2, &[]);
    for place in [&one, &two, &beyond, &world.outside, &world.host] {
        serve(place, 80);
    }
    let gateway = address(&world.bridges[0], 1);
    assert_open(&one, other, 80, own);
    assert_open(&one, gateway, 80, own);
    assert_eq!(one.run("ip route show default"), "");
    // Somebody inside who knows the way.
    one.run(&format!("ip route add default via {gateway}"));
    assert_closed(&one, OUTSIDE, 80);
    assert_closed(&one, far, 80);
    assert_closed(&beyond, own, 80);
    assert_closed(&world.outside, own, 80);
}

#[test]
fn the_loopback_of_the_host_is_not_to_be_had() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let (one, _) = world.container(0, 2, &[]);
    serve(&world.host, 80);
    let gateway = address(&world.bridges[0], 1);
    // A container that is root in its namespace can send this.
    one.run("ip route del local 127.0.0.0/8 dev lo table local");
    one.run("ip route del local 127.0.0.1 dev lo table local");
    one.run("ip address del 127.0.0.1/8 dev lo");
    one.run(&format!("ip route add 127.0.0.1/32 via {gateway}"));
    one.inside(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")).unwrap();
    one.inside(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1")).unwrap();
    assert_closed(&one, Ipv4Addr::LOCALHOST, 80);
    // It is the rule that keeps it out, nothing else.
    world.host.run("nft flush chain ip knarr_test raw");
    assert_open_by_tcp(&one, Ipv4Addr::LOCALHOST, 80, address(&world.bridges[0], 2));
}

#[test]
fn a_table_takes_a_host_that_was_no_router_for_the_bridges_alone() {
    use knarr_netns::firewall::{self, RuleSet, Unrelated};

    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let far = crate::world::Namespace::new();
    world.host.run(&format!("ip link add lan0 type veth peer name eth0 netns {}", far.pid));
    world.host.run("ip address add 198.51.100.1/24 dev lan0");
    world.host.run("ip link set lan0 up");
    far.run("ip address add 198.51.100.9/24 dev eth0");
    far.run("ip link set eth0 up");
    far.run("ip route add default via 198.51.100.1");
    world.outside.run(&format!("ip route add default via {HOST}"));
    serve(&world.outside, 80);
    let (one, _) = world.container(0, 2, &[]);
    assert_open(&far, OUTSIDE, 80, Ipv4Addr::new(198, 51, 100, 9));
    let (table, bridges) = (&world.table, &world.bridges);
    let wanted = RuleSet { table, bridges, published: &[], unrelated: Unrelated::Dropped };
    world.host.inside(|| firewall::apply(&wanted)).unwrap();
    assert_closed(&far, OUTSIDE, 80);
    assert_open(&one, OUTSIDE, 80, HOST);
}

/// An address goes to another container: whoever remembers the old MAC is told at once.
#[test]
fn neighbours_learn_the_new_owner_of_an_address() {
    use std::time::{Duration, Instant};

    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let (one, _) = world.container(0, 2, &[]);
    let attachment = world.attachment(0, 3, &[]);
    for mac in ["02:42:00:00:00:aa", "02:42:00:00:00:bb", "02:42:00:00:00:cc"] {
        let mut attachment = attachment.clone();
        attachment.interfaces[0].mac = Some(mac.parse().unwrap());
        let namespace = crate::world::Namespace::new();
        world.host.inside(|| knarr_netns::setup(&attachment, namespace.fd())).unwrap();
        serve(&namespace, 80);
        let begun = Instant::now();
        assert_open_by_tcp(&one, address(&world.bridges[0], 3), 80, address(&world.bridges[0], 2));
        assert_open_by_tcp(&world.host, address(&world.bridges[0], 3), 80, address(&world.bridges[0], 1));
        // Without the word, it takes the neighbours five seconds to doubt what they know, and three to ask.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        world.host.inside(|| knarr_netns::teardown(&attachment)).unwrap();
    }
}
