//! knarrd on the wire: what clients see of HTTP, whatever they ask for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod daemon;
mod streams;

use serde_json::json;

use daemon::{Client, Daemon};

#[test]
fn every_answer_says_who_gives_it() {
    let daemon = Daemon::start(&[]);
    for line in ["HEAD /_ping", "GET /_ping", "GET /v1.24/version", "GET /nowhere", "GET /v1.99/info"] {
        let answer = daemon.ask(line);
        for (name, value) in [
            ("Server", "Docker/28.2.2 (linux)"),
            ("Api-Version", "1.50"),
            ("Ostype", "linux"),
            ("Docker-Experimental", "false"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {line}");
        }
    }
}

#[test]
fn a_ping_is_answered_with_and_without_a_body() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    let head = client.ask("HEAD /_ping", &[], "");
    let ping = client.ask("GET /_ping", &[], "");
    assert_eq!((head.status.as_str(), head.header("Content-Length")), ("200 OK", Some("0")));
    assert_eq!((ping.status.as_str(), ping.text()), ("200 OK", "OK"));
    for answer in [head, ping] {
        assert_eq!(answer.header("Builder-Version"), Some("1"));
        assert_eq!(answer.header("Swarm"), Some("inactive"));
        assert_eq!(answer.header("Cache-Control"), Some("no-cache, no-store, must-revalidate"));
        assert_eq!(answer.header("Pragma"), Some("no-cache"));
    }
}

#[test]
fn versions_are_checked() {
    let daemon = Daemon::start(&[]);
    let error = |line: &str| {
        let answer = daemon.ask(line);
        let (status, message) = answer.error();
        (status.to_owned(), message)
    };
    let old = "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    let new = "client version 1.51 is too new. Maximum supported API version is 1.50";
    assert_eq!(error("GET /v1.23/info"), ("400".to_owned(), old.to_owned()));
    assert_eq!(error("GET /v1.51/info"), ("400".to_owned(), new.to_owned()));
    for line in ["GET /version", "GET /v1.24/version", "GET /v1.50/version"] {
        let answer = daemon.ask(line);
        assert_eq!(answer.status, "200 OK");
        let version = answer.json();
        assert_eq!((&version["ApiVersion"], &version["MinAPIVersion"]), (&json!("1.50"), &json!("1.24")));
        assert!(version["Version"].as_str().unwrap().starts_with("28."));
    }
}

#[test]
fn what_is_no_page_is_said_to_be_none() {
    let daemon = Daemon::start(&[]);
    for line in
        ["GET /nowhere", "GET /v1.50/containers/a/b/c", "DELETE /info", "PUT /v1.40/containers/create"]
    {
        assert_eq!(daemon.ask(line).error(), ("404", "page not found".to_owned()), "{line}");
    }
    assert_eq!(daemon.ask("OPTIONS /v1.50/containers/json").status, "200 OK");
}

#[test]
fn what_is_not_there_yet_says_so() {
    let daemon = Daemon::start(&[]);
    let swarm = daemon.ask("GET /swarm");
    assert_eq!(swarm.error().0, "503");
    assert!(swarm.error().1.starts_with("This node is not a swarm manager."));
    assert_eq!(daemon.ask("GET /plugins").text(), "[]\n");
    assert_eq!(daemon.ask("GET /plugins/x/json").error(), ("404", "plugin \"x\" not found".to_owned()));
    assert_eq!(daemon.ask("POST /build").error().0, "501");
    assert_eq!(daemon.ask("POST /session").error().0, "404");
    assert_eq!(daemon.post("/networks/create", r#"{"Name": "n"}"#).error().0, "501");
}

#[test]
fn bodies_have_dockers_rules() {
    let daemon = Daemon::start(&[]);
    let create = |headers: &[&str], body: &str| {
        let answer = daemon.connect().ask("POST /v1.50/containers/create", headers, body);
        let (status, message) = answer.error();
        format!("{status} {message}")
    };
    let json = ["Content-Type: application/json"];
    assert_eq!(
        create(&["Content-Type: text/plain"], "{}"),
        "400 unsupported Content-Type header (text/plain): must be 'application/json'"
    );
    assert_eq!(create(&[], "{}"), "400 malformed Content-Type header (): mime: no media type");
    assert_eq!(create(&json, "{} {}"), "400 unexpected content after JSON");
    assert_eq!(create(&json, "{\"Image\": "), "400 invalid JSON: got EOF while reading request body");
    assert!(create(&json, "{Image}").starts_with("400 invalid JSON: "));
    assert!(create(&json, r#"{"Image": "a", "HostConfig": {"Memory": 1.5}}"#).contains("Memory"));
    assert_eq!(create(&json, ""), "400 invalid JSON: got EOF while reading request body");
    // In any case of the letters, and with what nobody knows beside it.
    let charset = ["Content-Type: application/json; charset=utf-8"];
    assert_eq!(
        create(&charset, r#"{"iMAGE": "missing", "Invented": {}}"#),
        "404 No such image: missing:latest"
    );
}

#[test]
fn a_connection_is_kept_whatever_was_answered() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.connect();
    let json = ["Content-Type: application/json"];
    for _ in 0..3 {
        assert_eq!(client.ask("POST /containers/create", &json, "{").error().0, "400");
        assert_eq!(client.ask("POST /containers/none/start", &json, "{}").error().0, "404");
        assert_eq!(client.ask("GET /containers/json?all=1", &[], "").text(), "[]\n");
    }
}

#[test]
fn info_tells_of_this_host() {
    let daemon = Daemon::start(&["--label", "a=b"]);
    let info = daemon.ask("GET /v1.50/info").json();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(info["KernelVersion"], json!(kernel.trim()));
    assert_eq!(info["Labels"], json!(["a=b"]));
    assert_eq!((&info["Images"], &info["Containers"]), (&json!(1), &json!(0)));
    assert_eq!(info["DockerRootDir"], json!(daemon.folder().join("data")));
    assert_eq!(info["OSType"], json!("linux"));
    assert!(info["MemTotal"].as_u64().unwrap() > 1 << 20);
    let version = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" };
    assert_eq!(info["CgroupVersion"], json!(version));
    let keys = [
        "ID",
        "Driver",
        "DriverStatus",
        "Plugins",
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "IPv4Forwarding",
        "OomKillDisable",
        "NCPU",
        "NFd",
        "NGoroutines",
        "NEventsListener",
        "SystemTime",
        "LoggingDriver",
        "CgroupDriver",
        "OperatingSystem",
        "OSVersion",
        "Architecture",
        "IndexServerAddress",
        "RegistryConfig",
        "Name",
        "ServerVersion",
        "Runtimes",
        "DefaultRuntime",
        "Swarm",
        "LiveRestoreEnabled",
        "Isolation",
        "InitBinary",
        "ContainerdCommit",
        "RuncCommit",
        "InitCommit",
        "SecurityOptions",
        "Warnings",
        "HttpProxy",
        "HttpsProxy",
        "NoProxy",
        "ExperimentalBuild",
        "GenericResources",
        "CDISpecDirs",
        "Debug",
    ];
    for key in keys {
        assert!(info.get(key).is_some(), "{key} is missing");
    }
    for key in ["Volume", "Network", "Authorization", "Log"] {
        assert!(info["Plugins"].get(key).is_some(), "{key} is missing");
    }
}

#[test]
fn disk_usage_is_told_of_what_is_asked_for() {
    let daemon = Daemon::start(&[]);
    let id = container(&daemon);
    let all = daemon.ask("GET /v1.50/system/df").json();
    assert_eq!(all["Images"][0]["RepoTags"], json!(["box:latest"]));
    assert_eq!(all["Images"][0]["Containers"], json!(1));
    assert_eq!(all["Containers"][0]["Id"], json!(id));
    assert_eq!((&all["Volumes"], &all["BuildCache"]), (&json!([]), &json!([])));
    let some = daemon.ask("GET /v1.50/system/df?type=volume&type=build-cache").json();
    assert_eq!(
        (&some["Images"], &some["Containers"], &some["Volumes"]),
        (&json!(null), &json!(null), &json!([]))
    );
    assert_eq!(daemon.ask("GET /system/df?type=x").error(), ("400", "unknown object type: x".to_owned()));
}

/// A container that never runs.
fn container(daemon: &Daemon) -> String {
    let body = r#"{"image": "box", "CMD": ["/x"], "hostconfig": {"networkmode": "none"}}"#;
    let created = daemon.post("/v1.50/containers/create", body);
    assert_eq!(created.status, "201 Created", "{created:?}");
    assert_eq!(created.json()["Warnings"], json!([]));
    created.json()["Id"].as_str().unwrap().to_owned()
}

/// Asks for a connection of its own.
fn upgrade(client: &mut Client, path: &str) -> daemon::Answer {
    client.send(
        &format!("POST {path}"),
        &["Connection: Upgrade", "Upgrade: tcp", "Content-Type: text/plain"],
        "",
    );
    client.head()
}
