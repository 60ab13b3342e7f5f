//! Mirrors of Docker Hub: asked in order, believed no more than any registry, shown no credentials.

use std::io::Read;

use knarr_images::Reference;
use knarr_images::registry::{Client, Config, Credentials};

use crate::server::{Server, reply};
use crate::{basic, config, descriptor, manifest_bytes, manifest_reply, reference, registry};

fn with_mirrors(mirrors: &[&Server]) -> Client {
    let mirrors = mirrors.iter().map(|server| format!("http://{}/hub/", server.host())).collect();
    Client::new(&Config { mirrors, ..config() }).unwrap()
}

#[test]
fn the_next_mirror_may_know_better() {
    let bytes = b"blob".to_vec();
    let served = bytes.clone();
    let lacks = Server::start(|_| reply(404));
    let fails = Server::start(|_| reply(500));
    let jealous = Server::start(|_| reply(401).header("WWW-Authenticate", "Basic"));
    let has = Server::start(move |request| {
        if request.target.contains("/blobs/") { reply(200).body(&served) } else { manifest_reply() }
    });
    let client = with_mirrors(&[&lacks, &fails, &jealous, &has]);
    let name = Reference::parse("busybox:1").unwrap();
    assert_eq!(client.manifest(&name, &basic()).unwrap().bytes, manifest_bytes());
    let mut read = Vec::new();
    client.blob(&name, &descriptor(&bytes), &basic(), 0).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    for server in [&lacks, &fails, &jealous, &has] {
        let asked: Vec<_> =
            server.seen().into_iter().filter(|request| request.target != "/hub/v2/").collect();
        assert_eq!(asked[0].target, "/hub/v2/library/busybox/manifests/1");
        assert_eq!(asked.len(), 2, "a mirror is asked once for each thing");
        assert!(asked.iter().all(|request| request.header("authorization").is_none()));
    }
}

#[test]
fn mirrors_are_docker_hubs() {
    let mirror = Server::start(|_| manifest_reply());
    let server = registry(|_| reply(404));
    let failed = with_mirrors(&[&mirror]).manifest(&reference(&server.host(), "a"), &Credentials::Anonymous);
    assert!(failed.unwrap_err().is_not_found());
    assert!(mirror.seen().is_empty());
}
