//! Proxies of the environment. A process has one environment, so each case is a process of its own: `child` below.

use std::process::Command;

use knarr_images::registry::Credentials;

use crate::server::{Server, reply};
use crate::{chain, client, manifest_reply};

const REFERENCE: &str = "KNARR_TEST_REFERENCE";

#[test]
#[ignore = "the other tests here run it, with an environment"]
fn child() {
    let reference = std::env::var(REFERENCE).unwrap().parse().unwrap();
    match client().manifest(&reference, &Credentials::Anonymous) {
        Ok(_) => println!("FETCHED"),
        Err(error) => println!("{}", chain(&error)),
    }
}

/// What a process with these variables says of fetching a manifest.
fn fetch(reference: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "proxies::child", "--ignored", "--nocapture"])
        .env_clear()
        .env(REFERENCE, reference)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_hosts_are_asked_for_through_the_proxy() {
    let proxy = Server::start(|_| reply(403));
    let address = format!("http://{}", proxy.host());
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let said = fetch("registry.invalid/a", &[(variable, &address)]);
        assert!(said.contains("Get \"https://registry.invalid/v2/\": "), "{said}");
    }
    let asked: Vec<_> =
        proxy.seen().iter().map(|request| (request.method.clone(), request.target.clone())).collect();
    assert_eq!(asked, vec![("CONNECT".to_owned(), "registry.invalid:443".to_owned()); 3]);

    let said = fetch("registry.invalid/a", &[("HTTPS_PROXY", &address), ("NO_PROXY", "b.example,*.invalid")]);
    assert!(said.contains("lookup registry.invalid"), "{said}");
    assert_eq!(proxy.seen().len(), 3);
}

#[test]
fn this_machine_is_asked_itself() {
    let proxy = Server::start(|_| reply(403));
    let server = Server::start(|_| manifest_reply());
    let said = fetch(&format!("{}/a", server.host()), &[("ALL_PROXY", &format!("http://{}", proxy.host()))]);
    assert!(said.contains("FETCHED"), "{said}");
    assert!(proxy.seen().is_empty());
}

/// 0.0.0.0 is this machine to connect(2), and an address like any other to us.
#[test]
fn a_network_may_need_no_proxy() {
    let proxy = Server::start(|_| reply(403));
    let server = Server::start(|_| manifest_reply());
    let address = format!("http://{}", proxy.host());
    let reference = format!("0.0.0.0:{}/a", server.host().rsplit(':').next().unwrap());
    for (list, through) in [("192.0.2.0/24", 1), ("192.0.2.0/24, 0.0.0.0/30", 0), ("0.0.0.1/32", 1)] {
        let before = proxy.seen().len();
        fetch(&reference, &[("ALL_PROXY", &address), ("NO_PROXY", list)]);
        assert_eq!(proxy.seen().len() - before, through, "{list}");
    }
}
