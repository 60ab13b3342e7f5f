//! Nothing is left: after a teardown, after a failure half-way, after a table is removed.

use knarr_netns::firewall::{self, RuleSet, Unrelated};
use knarr_netns::{Link, MacvlanMode, Neighbours, Published, Reach, Transport, bridge, host, interface};

use crate::traffic::{assert_open, serve};
use crate::world::{BrNetfilter, HOST, Namespace, OUTSIDE, World, address, plain_bridge, published};

fn world() -> World {
    World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off)
}

fn port(world: &World, host_port: u16) -> Published {
    published(Transport::Tcp, host_port, (address(&world.bridges[0], 2), 80))
}

#[test]
fn a_teardown_leaves_nothing_and_can_be_repeated() {
    let world = world();
    let (rules, links) = (world.rules(), world.links());
    let attachment = world.attachment(0, 2, &[port(&world, 8080)]);
    let namespace = Namespace::new();
    world.host.inside(|| knarr_netns::setup(&attachment, namespace.fd())).unwrap();
    assert_ne!((world.rules(), world.links()), (rules.clone(), links.clone()));
    for _ in 0..2 {
        world.host.inside(|| knarr_netns::teardown(&attachment)).unwrap();
        assert_eq!((world.rules(), world.links()), (rules.clone(), links.clone()));
    }
    // And the same names again.
    world.host.inside(|| knarr_netns::setup(&attachment, namespace.fd())).unwrap();
    drop(namespace);
    world.host.inside(|| knarr_netns::teardown(&attachment)).unwrap();
    assert_eq!((world.rules(), world.links()), (rules, links));
}

#[track_caller]
fn assert_fails(world: &World, attachment: &knarr_netns::Attachment, said: &str) {
    let (rules, links) = (world.rules(), world.links());
    let namespace = Namespace::new();
    let error = world.host.inside(|| knarr_netns::setup(attachment, namespace.fd())).unwrap_err();
    let text = knarr_netns::chain(&error);
    assert!(text.contains(said), "{text}");
    assert_eq!((world.rules(), world.links()), (rules, links));
    assert_eq!(namespace.run("ip -brief link").lines().count(), 1, "lo alone");
}

#[test]
fn a_setup_that_fails_half_way_leaves_nothing() {
    let world = world();
    let whole = world.attachment(0, 2, &[port(&world, 8080)]);

    let mut attachment = whole.clone();
    attachment.interfaces[0].link =
        Link::Bridge { bridge: "br9".parse().unwrap(), host_name: "vethx".parse().unwrap(), isolated: false };
    assert_fails(&world, &attachment, "make interface eth0: RTM_GETLINK(br9): No such device");

    // The second interface has an address that the first has, and a gateway nobody reaches.
    let mut attachment = whole.clone();
    let mut second = world.interface(0, 3);
    second.name = "eth1".parse().unwrap();
    second.routes = attachment.interfaces[0].routes.clone();
    attachment.interfaces.push(second);
    assert_fails(&world, &attachment, "configure interface eth1: RTM_NEWROUTE");

    let mut attachment = whole.clone();
    let missing = "net.ipv4.conf.IFNAME.no_such_thing".to_owned().try_into().unwrap();
    attachment.interfaces[0].sysctls.insert(missing, "1".into());
    assert_fails(&world, &attachment, "write /proc/sys/net/ipv4/conf/eth0/no_such_thing");

    // Last of all the ports.
    let elsewhere = published(Transport::Tcp, 8080, (address(&world.bridges[0], 9), 80));
    world.host.inside(|| firewall::publish(&world.table, &[elsewhere])).unwrap();
    assert_fails(&world, &whole, "port is already published");
    world.host.inside(|| firewall::remove(&world.table)).unwrap();
    assert_fails(&world, &whole, "nftables table knarr_test is not there");
}

#[test]
fn the_hosts_own_namespace_is_refused() {
    let world = world();
    let attachment = world.attachment(0, 2, &[]);
    let outcome = world.host.inside(|| knarr_netns::setup(&attachment, world.host.fd()));
    assert_eq!(outcome.unwrap_err().to_string(), "the container has the host's network namespace");
}

#[test]
fn applied_twice_is_as_once_and_ports_survive() {
    let world = world();
    let ports = [port(&world, 8080), Published { host_ip: Some(HOST), ..port(&world, 8081) }];
    let (one, _) = world.container(0, 2, &ports);
    let rules = world.rules();
    for _ in 0..2 {
        assert_eq!(world.apply(&ports), Vec::<String>::new());
        assert_eq!(world.rules(), rules);
    }
    serve(&one, 80);
    let answer = crate::traffic::tcp(&world.outside, HOST, 8081).unwrap();
    assert_eq!(answer, OUTSIDE.to_string());
}

#[test]
fn a_bridge_is_ensured_and_removed() {
    let world = world();
    let with = |change: fn(&mut knarr_netns::Bridge)| {
        let mut wanted = plain_bridge("br7", 27);
        change(&mut wanted);
        wanted
    };
    let first = with(|_| {});
    let second = with(|wanted| {
        wanted.mac = "02:00:00:00:00:77".parse().unwrap();
        wanted.mtu = Some(1400);
        wanted.reach = Reach::Internal;
        wanted.neighbours = Neighbours::Apart;
    });
    let links = world.links();
    for wanted in [&first, &first, &second] {
        world.host.inside(|| bridge::ensure(wanted)).unwrap();
        let shown = world.host.run("ip address show br7");
        assert!(shown.contains(&format!("link/ether {}", wanted.mac)), "{shown}");
        assert_eq!(shown.matches("inet 172.27.0.1/16 brd 172.27.255.255").count(), 1, "{shown}");
        assert!(shown.contains(&format!("mtu {}", wanted.mtu.unwrap_or(1500))), "{shown}");
    }
    assert_eq!(world.host.run("cat /proc/sys/net/ipv4/conf/br7/route_localnet"), "1\n");
    let used = world.host.inside(host::addresses).unwrap();
    assert!(used.contains(&("br7".to_owned(), first.address)), "{used:?}");
    assert!(world.host.inside(host::routes).unwrap().contains(&first.address.network()));
    for _ in 0..2 {
        world.host.inside(|| bridge::remove(&first.name)).unwrap();
        assert_eq!(world.links(), links);
    }
    let other = "wan0".parse().unwrap();
    world.host.inside(|| bridge::remove(&other)).unwrap_err();
    let taken = knarr_netns::Bridge { name: other, ..first };
    world.host.inside(|| bridge::ensure(&taken)).unwrap_err();
    assert_eq!(world.links(), links);
}

#[test]
fn a_policy_of_iptables_is_answered_and_taken_back() {
    let world = world();
    world.host.run("iptables -P FORWARD DROP");
    world.host.run("iptables -N DOCKER-USER");
    world.host.run("iptables -A FORWARD -j DOCKER-USER");
    let before = world.host.run("iptables -S");
    let (one, own) = world.container(0, 2, &[port(&world, 8080)]);
    serve(&one, 80);
    serve(&world.outside, 80);
    crate::traffic::assert_closed(&one, OUTSIDE, 80);
    for _ in 0..2 {
        assert_eq!(world.apply(&[port(&world, 8080)]), Vec::<String>::new());
        assert_open(&one, OUTSIDE, 80, HOST);
        assert_eq!(crate::traffic::tcp(&world.outside, HOST, 8080).unwrap(), OUTSIDE.to_string());
        let rules = world.host.run("iptables -S");
        assert_eq!(rules.matches("-A FORWARD -j KNARR_TEST-FWD").count(), 1, "{rules}");
    }
    // Whoever forbids something there is still heard.
    world.host.run(&format!("iptables -A DOCKER-USER -s {own} -j DROP"));
    crate::traffic::assert_closed(&one, OUTSIDE, 80);
    world.host.run(&format!("iptables -D DOCKER-USER -s {own} -j DROP"));
    world.host.inside(|| firewall::remove(&world.table)).unwrap();
    assert_eq!(world.host.run("iptables -S"), before);
}

#[test]
fn a_policy_of_somebody_else_is_reported() {
    let world = world();
    world.host.run("nft add table inet site");
    world.host.run("nft add chain inet site gate { type filter hook forward priority 10 ; policy drop ; }");
    let said = world.apply(&[]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("chain gate of nftables table inet site drops"), "{said:?}");
}

#[test]
fn two_engines_stand_side_by_side() {
    let world = World::new(vec![plain_bridge("br0", 17)], BrNetfilter::Off);
    let other = [plain_bridge("br5", 25)];
    let table = "knarr_two".parse().unwrap();
    let rules = world.rules();
    world.host.inside(|| {
        bridge::ensure(&other[0]).unwrap();
        let wanted =
            RuleSet { table: &table, bridges: &other, published: &[], unrelated: Unrelated::Untouched };
        firewall::apply(&wanted).unwrap();
    });
    let (one, _) = world.container(0, 2, &[port(&world, 8080)]);
    serve(&one, 80);
    let second = World { bridges: other.to_vec(), table: table.clone(), ..world };
    let (two, _) = second.container(0, 2, &[]);
    let answer = crate::traffic::tcp(&two, HOST, 8080).unwrap();
    assert_eq!(answer, "172.17.0.1", "masqueraded by whose bridge it leaves");
    crate::traffic::assert_closed(&two, "172.17.0.2".parse().unwrap(), 80);
    second.host.inside(|| firewall::remove(&table)).unwrap();
    second.host.inside(|| firewall::remove(&table)).expect("once more is no failure");
    let first = "knarr_test".parse().unwrap();
    let ports = [published(Transport::Tcp, 8080, ("172.17.0.2".parse().unwrap(), 80))];
    second.host.inside(|| firewall::withdraw(&first, &ports)).unwrap();
    assert_eq!(second.rules(), rules);
}

#[test]
fn a_macvlan_link_is_moved_in_and_taken_away() {
    let world = world();
    let namespace = Namespace::new();
    let mut wanted = world.interface(0, 2);
    wanted.link = Link::Macvlan { parent: "wan0".parse().unwrap(), mode: MacvlanMode::Bridge };
    wanted.addresses = vec!["203.0.113.5/24".parse().unwrap(), "fd00:7::5/64".parse().unwrap()];
    wanted.routes.clear();
    wanted.mtu = Some(1400);
    world.host.inside(|| interface::attach(namespace.fd(), &wanted)).unwrap();
    serve(&world.outside, 80);
    assert_open(&namespace, OUTSIDE, 80, "203.0.113.5".parse().unwrap());
    let shown = namespace.run("ip -detail address show eth0");
    for part in ["macvlan mode bridge", "mtu 1400", "inet6 fd00:7::5/64", "inet6 fe80::"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for _ in 0..2 {
        world.host.inside(|| interface::detach(namespace.fd(), &wanted)).unwrap();
        assert_eq!(namespace.run("ip -brief link").lines().count(), 1, "lo alone");
    }
}
