//! The three files that each container has of its own: `hostname`, `hosts`, `resolv.conf`. They are kept in its folder and
//! bound over the image's.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use super::Sandbox;
use crate::container::Record;
use crate::error::{During as _, Error, Result};
use crate::settings::Settings;

const STANDARD: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
/// Without IPv6 in the container its addresses would only be tried in vain.
const STANDARD_V4: &str = "127.0.0.1\tlocalhost\n";
/// Where systemd-resolved keeps the servers that the host really uses.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// Writes the files, in place: they may be bound into another container.
pub(crate) fn write(record: &Record, sandbox: &Sandbox, settings: &Settings, folder: &Path) -> Result<()> {
    if let Some(other) = &sandbox.files_of {
        return ["hostname", "hosts", "resolv.conf"].into_iter().try_for_each(|name| {
            let (from, to) = (other.join(name), folder.join(name));
            fs::copy(&from, &to).during("copy", &from).map(drop)
        });
    }
    put(folder, "hostname", &format!("{}\n", hostname(record)))?;
    put(folder, "hosts", &hosts(record, sandbox)?)?;
    put(folder, "resolv.conf", &resolv_conf(record, settings)?)
}

fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).during("write", &path)
}

fn hostname(record: &Record) -> String {
    if record.config.hostname.is_empty() {
        let own = rustix::system::uname();
        return own.nodename().to_string_lossy().into_owned();
    }
    record.config.hostname.clone()
}

fn hosts(record: &Record, sandbox: &Sandbox) -> Result<String> {
    let mut text = match record.network_mode() {
        "host" => fs::read_to_string("/etc/hosts").during("read", Path::new("/etc/hosts"))?,
        "none" => STANDARD.to_owned(),
        _ => STANDARD_V4.to_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for extra in record.host_config.extra_hosts.iter().flatten() {
        let (name, address) = extra
            .split_once(['=', ':'])
            .ok_or_else(|| Error::invalid(format!("bad format for add-host: \"{extra}\"")))?;
        let address = match (address, sandbox.gateway) {
            ("host-gateway", Some(gateway)) => gateway.to_string(),
            ("host-gateway", None) => {
                return Err(Error::system("unable to derive the IP value for host-gateway"));
            }
            (address, _) => address.trim_matches(['[', ']']).to_owned(),
        };
        line(&mut text, &address, name);
    }
    let name = match record.config.domainname.as_str() {
        "" => record.config.hostname.clone(),
        domain => format!("{0}.{domain} {0}", record.config.hostname),
    };
    let addresses = sandbox.endpoints.values().filter(|endpoint| !endpoint.ip_address.is_empty());
    addresses.for_each(|endpoint| line(&mut text, &endpoint.ip_address, &name));
    Ok(text)
}

fn line(text: &mut String, address: &str, names: &str) {
    let _ = writeln!(text, "{address}\t{names}"); // a String takes everything
}

fn resolv_conf(record: &Record, settings: &Settings) -> Result<String> {
    let host = read_host_file()?;
    let own = &record.host_config;
    let first = |own: &[String], engine: &[String]| {
        if own.is_empty() { engine.to_vec() } else { own.to_vec() }
    };
    let servers = first(&own.dns, &settings.dns);
    let search = first(&own.dns_search, &settings.dns_search);
    let options = first(&own.dns_options, &settings.dns_options);
    Ok(merge(&host, &servers, &search, &options, record.network_mode() == "host"))
}

fn read_host_file() -> Result<String> {
    let read = |path: &str| match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.during("read", Path::new(path)),
    };
    let text = read(RESOLV_CONF)?;
    let stub = servers(&text).collect::<Vec<_>>() == ["127.0.0.53"];
    if stub { read(RESOLVED) } else { Ok(text) }
}

fn servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim)
}

/// The host's file with what was asked for instead. A server on the host's loopback is nobody in a container, unless that
/// has the host's network.
fn merge(host: &str, asked: &[String], search: &[String], options: &[String], keep_local: bool) -> String {
    let local = |server: &&str| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut chosen: Vec<&str> = asked.iter().map(String::as_str).collect();
    if chosen.is_empty() {
        chosen = servers(host).filter(|server| keep_local || !local(server)).collect();
    }
    if chosen.is_empty() {
        chosen = FALLBACK.to_vec();
    }
    let mut text = String::new();
    for server in chosen {
        let _ = writeln!(text, "nameserver {server}"); // a String takes everything
    }
    let of_host = |word: &str| {
        let line = host.lines().rev().find_map(|line| line.strip_prefix(word));
        line.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    for (word, asked) in [("search", search), ("options", options)] {
        let words = if asked.is_empty() { of_host(word) } else { asked.to_vec() };
        // A dot stands for no search at all.
        if !words.is_empty() && words != ["."] {
            let _ = writeln!(text, "{word} {}", words.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_hosts_servers_are_used_unless_they_are_local() {
        let host = "# x\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch a b\noptions edns0\n";
        let got = merge(host, &[], &[], &[], false);
        assert_eq!(got, "nameserver 10.0.0.2\nsearch a b\noptions edns0\n");
        assert!(merge(host, &[], &[], &[], true).starts_with("nameserver 127.0.0.1\n"));
        assert_eq!(
            merge("nameserver 127.0.0.1\n", &[], &[], &[], false),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
    }

    #[test]
    fn what_is_asked_for_replaces_the_hosts() {
        let host = "nameserver 10.0.0.2\nsearch a b\noptions edns0\n";
        let got = merge(host, &words(&["1.1.1.1"]), &words(&["."]), &words(&["ndots:2"]), false);
        assert_eq!(got, "nameserver 1.1.1.1\noptions ndots:2\n");
    }
}
