//! What an older version of the API means.

use std::fs;

use knarr_integration::json;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::daemon::Daemon;
use crate::image;
use crate::nest::inside;

/// Since 1.44 what is mounted below a read-only bind mount is read-only as well, unless a client says otherwise.
#[test]
fn mounts_below_a_read_only_one_are_as_the_version_has_it() {
    inside("versions::mounts_below_a_read_only_one_are_as_the_version_has_it", |site| {
        let daemon = Daemon::new(site);
        let source = site.dir.join("source");
        let below = source.join("below");
        fs::create_dir_all(&below).expect("a folder");
        mount("below", &below, "tmpfs", MountFlags::empty(), None).expect("a mount below");
        let bind = format!("{}:/d:ro", source.display());
        let long = |options: &str| {
            let options: knarr_integration::Value = options.parse().expect("JSON");
            let source = source.to_str().expect("a path");
            let mount = json!({"Type": "bind", "Source": source, "Target": "/d", "ReadOnly": true, "BindOptions": options});
            json!({"Mounts": [mount]})
        };
        let short = json!({"Binds": [bind]});
        for (version, host, writable) in [
            ("1.43", short.clone(), true),
            ("1.44", short.clone(), false),
            ("1.50", short, false),
            ("1.43", long("null"), true),
            ("1.50", long("null"), false),
            ("1.50", long(r#"{"ReadOnlyNonRecursive": true}"#), true),
            ("1.50", long(r#"{"ReadOnlyForceRecursive": true, "Propagation": "rprivate"}"#), false),
        ] {
            let client = daemon.client.of_version(version);
            let body = json!({"Image": image::BOX, "Cmd": ["touch", "/d/below/x"], "HostConfig": host});
            let ask = |method: &str, path: &str, body: &str| {
                client.ask(method, &format!("/containers/{path}"), body.as_bytes()).expect("an answer")
            };
            ask("POST", "create?name=one", &body.to_string()).assert(201);
            ask("POST", "one/start", "").assert(204);
            let code = ask("POST", "one/wait", "").assert(200).json()["StatusCode"].clone();
            assert_eq!(code, json!(i32::from(!writable)), "{version} {host}");
            daemon.remove("one");
        }
        // What an older client wants writable has never been refused for it.
        let client = daemon.client.of_version("1.41");
        let writable = json!({"Type": "bind", "Source": source.to_str(), "Target": "/d"});
        let body = json!({"Image": image::BOX, "HostConfig": {"Mounts": [writable]}}).to_string();
        client.ask("POST", "/containers/create?name=one", body.as_bytes()).expect("an answer").assert(201);
        unmount(&below, UnmountFlags::DETACH).expect("unmount what is below");
        daemon.finish();
    });
}
