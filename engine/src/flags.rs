//! The command line and what its directives mean. They have dockerd's names, as in daemon.json (`daemon_json`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::daemon_json::{self, Presence};
use crate::error::{During as _, Error, Result};
use crate::settings::{CgroupDriver, Listen, Runtime, Settings, Tls};
use crate::wire::{LogConfig, Ulimit};

const DEFAULT_FILE: &str = "/etc/knarr/daemon.json";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Docker's Engine API over knarr.
#[derive(Debug, Clone, Parser)]
#[command(name = "knarrd", version, disable_help_subcommand = true)]
pub(crate) struct Flags {
    /// Configuration file [default: /etc/knarr/daemon.json, if it is there]
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Check the configuration and end
    #[arg(long)]
    pub(crate) validate: bool,
    /// Allow TCP without TLS on a loopback address
    #[arg(long)]
    allow_plain_tcp: bool,
    #[command(flatten)]
    directives: Directives,
}

/// What daemon.json may have, and most of it as flags.
#[derive(Debug, Clone, Default, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Directives {
    /// Where clients connect: unix://PATH, fd:// or tcp://HOST:PORT
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    hosts: Option<Vec<String>>,
    /// Root of what is kept: images, containers, volumes
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Root of what runs: mounts, sockets, the runtime's state
    #[arg(long, value_name = "DIR")]
    exec_root: Option<PathBuf>,
    /// Where the process ID is written
    #[arg(short = 'p', long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Group that may use the Unix socket
    #[arg(short = 'G', long)]
    group: Option<String>,
    /// Demand certificates of clients
    #[arg(long, num_args = 0, default_missing_value = "true")]
    tlsverify: Option<bool>,
    /// Authority of clients' certificates
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// Certificate of the engine
    #[arg(long, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    tlskey: Option<PathBuf>,
    /// Runtime of containers that name none
    #[arg(long, value_name = "NAME")]
    default_runtime: Option<String>,
    #[arg(skip)]
    runtimes: Option<BTreeMap<String, RuntimeEntry>>,
    /// One more OCI runtime
    #[arg(long = "add-runtime", value_name = "NAME=PATH")]
    #[serde(skip)]
    add_runtime: Option<Vec<String>>,
    /// Give --init to containers that do not say [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init: Option<bool>,
    /// Program for --init
    #[arg(long, value_name = "FILE")]
    init_path: Option<PathBuf>,
    /// Logging driver of containers that name none
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,
    #[arg(skip)]
    log_opts: Option<BTreeMap<String, String>>,
    /// Option of that driver
    #[arg(long = "log-opt", value_name = "NAME=VALUE")]
    #[serde(skip)]
    log_opt: Option<Vec<String>>,
    /// native.cgroupdriver=cgroupfs or systemd
    #[arg(long = "exec-opt", value_name = "NAME=VALUE")]
    exec_opts: Option<Vec<String>>,
    /// Parent cgroup of containers
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    #[arg(skip)]
    default_ulimits: Option<BTreeMap<String, UlimitEntry>>,
    /// Limit of containers that set none
    #[arg(long = "default-ulimit", value_name = "NAME=SOFT[:HARD]")]
    #[serde(skip)]
    default_ulimit: Option<Vec<String>>,
    /// Size of /dev/shm, in bytes or with k, m or g
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "text_or_number")]
    default_shm_size: Option<String>,
    /// Default bridge, or none
    #[arg(short = 'b', long, value_name = "NAME")]
    bridge: Option<String>,
    /// Address and prefix of the default bridge
    #[arg(long, value_name = "CIDR")]
    bip: Option<String>,
    /// Name of the nftables table
    #[arg(long, value_name = "NAME")]
    firewall_table: Option<String>,
    /// Let containers on the default bridge reach each other [default: true]
    #[arg(long, value_name = "BOOL")]
    icc: Option<bool>,
    /// Hide containers' addresses from the outside [default: true]
    #[arg(long, value_name = "BOOL")]
    ip_masq: Option<bool>,
    /// Default host address of published ports
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<std::net::IpAddr>,
    /// Largest packet on the default bridge, in bytes
    #[arg(long)]
    mtu: Option<u32>,
    /// DNS server of containers
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Option<Vec<String>>,
    /// Option of containers' resolvers
    #[arg(long = "dns-opt", value_name = "OPTION")]
    dns_opts: Option<Vec<String>>,
    /// Domain that containers search
    #[arg(long = "dns-search", value_name = "DOMAIN")]
    dns_search: Option<Vec<String>>,
    /// Registry that may do without TLS
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    insecure_registries: Option<Vec<String>>,
    /// Mirror of Docker Hub
    #[arg(long = "registry-mirror", value_name = "URL")]
    registry_mirrors: Option<Vec<String>>,
    /// Label of this engine
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Option<Vec<String>>,
    /// Keep containers running while the engine is down [default: true]
    #[arg(long, value_name = "BOOL")]
    live_restore: Option<bool>,
    /// Seconds for containers to end when the engine stops them
    #[arg(long, value_name = "SECONDS")]
    shutdown_timeout: Option<u64>,
    /// Tell more in the log
    #[arg(short = 'D', long, num_args = 0, default_missing_value = "true")]
    debug: Option<bool>,
    /// What the log tells: debug or info
    #[arg(short = 'l', long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Published ports need no process: only false is supported
    #[arg(long, value_name = "BOOL")]
    userland_proxy: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuntimeEntry {
    path: PathBuf,
    #[serde(default)]
    runtime_args: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UlimitEntry {
    name: String,
    hard: i64,
    soft: i64,
}

impl Flags {
    /// The settings that flags and file make together.
    pub(crate) fn settings(self) -> Result<Settings> {
        let presence = if self.config_file.is_some() { Presence::Required } else { Presence::Optional };
        let path = self.config_file.unwrap_or_else(|| DEFAULT_FILE.into());
        let file = daemon_json::read(&path, presence)?;
        let file = Directives::check(file).map_err(|why| daemon_json::refused(&path, &why))?;
        let flags = Directives::check(self.directives.fold()?.into_object()).map_err(Error::invalid)?;
        let directives = daemon_json::merge(flags, file).map_err(|why| daemon_json::refused(&path, &why))?;
        let directives: Directives =
            serde_json::from_value(directives.into()).map_err(|error| daemon_json::refused(&path, &error))?;
        let beside = std::env::current_exe().while_doing("find our own path")?;
        let mut settings = Settings::new(beside.parent().unwrap_or(Path::new("/")));
        settings.plain_tcp = self.allow_plain_tcp;
        directives.apply(&mut settings)?;
        Ok(settings)
    }
}

impl Directives {
    /// Refuses what is wrong, by its name.
    fn check(directives: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let alone = |name: &str, value: &Value| {
            serde_json::from_value::<Self>(Map::from_iter([(name.to_owned(), value.clone())]).into())
        };
        let directives = daemon_json::check(directives, |name| alone(name, &Value::Null).is_ok())?;
        for (name, value) in &directives {
            alone(name, value).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(directives)
    }

    /// Puts flags that are one entry each into the directives that have all of them.
    fn fold(mut self) -> Result<Self> {
        for text in self.log_opt.take().unwrap_or_default() {
            self.log_opts.get_or_insert_default().extend([pair("log-opt", &text)?]);
        }
        for text in self.add_runtime.take().unwrap_or_default() {
            let (name, path) = pair("add-runtime", &text)?;
            let entry = RuntimeEntry { path: path.into(), runtime_args: Vec::new() };
            self.runtimes.get_or_insert_default().insert(name, entry);
        }
        for text in self.default_ulimit.take().unwrap_or_default() {
            let (name, limits) = pair("default-ulimit", &text)?;
            let (soft, hard) = limits.split_once(':').unwrap_or((&limits, &limits));
            let number = |limit: &str| {
                limit
                    .parse()
                    .map_err(|_| Error::invalid(format!("default-ulimit: {text}: {limit} is no number")))
            };
            let entry = UlimitEntry { name: name.clone(), hard: number(hard)?, soft: number(soft)? };
            self.default_ulimits.get_or_insert_default().insert(name, entry);
        }
        Ok(self)
    }

    /// What is given.
    fn into_object(self) -> Map<String, Value> {
        let Ok(Value::Object(mut object)) = serde_json::to_value(self) else { return Map::new() };
        object.retain(|_, value| !value.is_null());
        object
    }

    fn apply(self, settings: &mut Settings) -> Result<()> {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(value) = from {
                *to = value;
            }
        }
        settings.tls = self.tls()?;
        settings.log = self.log(&settings.log);
        set(&mut settings.data_root, self.data_root.as_deref().map(absolute).transpose()?);
        set(&mut settings.exec_root, self.exec_root.as_deref().map(absolute).transpose()?);
        settings.pidfile = self.pidfile.or(settings.pidfile.take());
        set(&mut settings.group, self.group);
        for (name, entry) in self.runtimes.unwrap_or_default() {
            settings.runtimes.insert(name, Runtime { path: entry.path, arguments: entry.runtime_args });
        }
        set(&mut settings.default_runtime, self.default_runtime);
        if !settings.runtimes.contains_key(&settings.default_runtime) {
            return Err(Error::invalid(format!(
                "specified default runtime '{}' does not exist",
                settings.default_runtime
            )));
        }
        set(&mut settings.init_by_default, self.init);
        settings.init = self.init_path.or(settings.init.take());
        for option in self.exec_opts.unwrap_or_default() {
            settings.cgroup_driver = match pair("exec-opt", &option)? {
                (name, value) if name == "native.cgroupdriver" => match value.as_str() {
                    "cgroupfs" => CgroupDriver::Cgroupfs,
                    "systemd" => CgroupDriver::Systemd,
                    _ => {
                        return Err(Error::invalid(format!(
                            "invalid option for native.cgroupdriver: {value}"
                        )));
                    }
                },
                (name, _) => return Err(Error::invalid(format!("unknown exec-opt: {name}"))),
            };
        }
        set(&mut settings.cgroup_parent, self.cgroup_parent);
        for (name, limit) in self.default_ulimits.unwrap_or_default() {
            let limit = Ulimit { name: limit.name, hard: limit.hard, soft: limit.soft };
            settings.default_ulimits.insert(name, limit);
        }
        if let Some(size) = self.default_shm_size {
            settings.default_shm_size = bytes(&size)?;
        }
        set(&mut settings.bridge, self.bridge);
        settings.bridge_address = self.bip;
        set(&mut settings.firewall_table, self.firewall_table);
        set(&mut settings.icc, self.icc);
        set(&mut settings.ip_masquerade, self.ip_masq);
        set(&mut settings.publish_address, self.ip);
        settings.mtu = self.mtu;
        set(&mut settings.dns, self.dns);
        set(&mut settings.dns_options, self.dns_opts);
        set(&mut settings.dns_search, self.dns_search);
        set(&mut settings.insecure_registries, self.insecure_registries);
        set(&mut settings.registry_mirrors, self.registry_mirrors);
        set(&mut settings.labels, self.labels);
        set(&mut settings.live_restore, self.live_restore);
        set(&mut settings.shutdown_timeout, self.shutdown_timeout);
        set(&mut settings.debug, self.debug);
        match self.log_level.as_deref() {
            None | Some("info") => {}
            Some("debug") => settings.debug = true,
            Some(other) => {
                return Err(Error::invalid(format!("log-level: {other} is neither debug nor info")));
            }
        }
        let hosts = self.hosts.unwrap_or_else(|| vec![format!("unix://{DEFAULT_SOCKET}")]);
        settings.listen = hosts.iter().map(|host| listen(host)).collect::<Result<_>>()?;
        Ok(())
    }

    fn tls(&self) -> Result<Option<Tls>> {
        if self.tlsverify != Some(true) {
            return Ok(None);
        }
        let needed = |name: &str, path: &Option<PathBuf>| {
            path.clone().ok_or_else(|| Error::invalid(format!("tlsverify needs {name}")))
        };
        Ok(Some(Tls {
            authority: needed("tlscacert", &self.tlscacert)?,
            certificate: needed("tlscert", &self.tlscert)?,
            key: needed("tlskey", &self.tlskey)?,
        }))
    }

    fn log(&self, default: &LogConfig) -> LogConfig {
        let kind = self.log_driver.clone().unwrap_or_else(|| default.kind.clone());
        LogConfig { kind, config: self.log_opts.clone().unwrap_or_default() }
    }
}

/// Sizes are either.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Either>::deserialize(deserializer)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    }))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).during("find", path)
}

fn pair(flag: &str, text: &str) -> Result<(String, String)> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| Error::invalid(format!("{flag}: {text} is not NAME=VALUE")))
}

fn listen(host: &str) -> Result<Listen> {
    if let Some(path) = host.strip_prefix("unix://") {
        let path = if path.is_empty() { DEFAULT_SOCKET } else { path };
        return Ok(Listen::Unix(absolute(Path::new(path))?));
    }
    if host.starts_with("fd://") {
        return Ok(Listen::Passed);
    }
    match host.strip_prefix("tcp://") {
        Some(address) if !address.is_empty() => Ok(Listen::Tcp(address.trim_end_matches('/').to_owned())),
        _ => Err(Error::invalid(format!("unable to parse bind address ({host})"))),
    }
}

/// Bytes, or kibibytes and so on with `k`, `m`, `g`.
fn bytes(text: &str) -> Result<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.trim_end_matches('b');
    let (number, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(number) => (
            number,
            [('k', 10), ('m', 20), ('g', 30)]
                .iter()
                .find(|(unit, _)| lower.ends_with(*unit))
                .map_or(0, |(_, shift)| *shift),
        ),
        None => (lower, 0),
    };
    let parsed = number.parse::<i64>().ok().and_then(|number| number.checked_mul(1 << shift));
    parsed.ok_or_else(|| Error::invalid(format!("invalid size: '{text}'")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(words: &[&str], file: Option<&str>) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        fs::write(&path, file.unwrap_or("{}")).unwrap();
        let path = path.to_string_lossy().into_owned();
        let words = ["knarrd", "--config-file", &path].into_iter().chain(words.iter().copied());
        Flags::try_parse_from(words).unwrap().settings()
    }

    #[test]
    fn flags_and_file_make_the_settings() {
        let file = r#"{"bridge": "b0", "log-driver": "local", "log-opts": {"max-size": "1m"}, "default-shm-size": "8M",
            "runtimes": {"other": {"path": "/bin/other", "runtimeArgs": ["--debug"]}}, "debug": true,
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 2, "Soft": 1}}, "userland-proxy": false}"#;
        let settings =
            settings(&["-H", "unix:///run/x.sock", "--data-root", "/d", "--icc", "false"], Some(file))
                .unwrap();
        assert_eq!(settings.listen, [Listen::Unix("/run/x.sock".into())]);
        assert_eq!((settings.bridge.as_str(), settings.icc, settings.debug), ("b0", false, true));
        assert_eq!((settings.log.kind.as_str(), settings.log.config["max-size"].as_str()), ("local", "1m"));
        assert_eq!(settings.runtimes["other"].arguments, ["--debug"]);
        assert_eq!(settings.default_shm_size, 8 << 20);
        assert_eq!(settings.default_ulimits["nofile"].hard, 2);
        assert_eq!(settings.data_root, Path::new("/d"));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        let refused = |words: &[&str], file: &str| settings(words, Some(file)).unwrap_err().message;
        let twice = refused(&["--bridge", "a"], r#"{"bridge": "b"}"#);
        assert!(twice.starts_with("unable to configure the Docker daemon with file "), "{twice}");
        assert!(
            twice.ends_with(
                "both as a flag and in the configuration file: bridge: (from flag: a, from file: b)"
            ),
            "{twice}"
        );
        let unknown = refused(&[], r#"{"invented": 1}"#);
        assert!(
            unknown.ends_with("the following directives don't match any configuration option: invented"),
            "{unknown}"
        );
        assert!(refused(&[], r#"{"labels": "a=b"}"#).contains("labels: invalid type"));
        assert!(refused(&["--log-level", "loud"], "{}").contains("log-level: loud"));
        assert!(refused(&["--default-ulimit", "nofile=x"], "{}").contains("nofile=x: x is no number"));
        assert!(
            refused(&["--default-runtime", "x"], "{}")
                .contains("specified default runtime 'x' does not exist")
        );
        assert!(refused(&["-H", "http://x"], "{}").contains("unable to parse bind address"));
        assert!(refused(&["--tlsverify"], "{}").contains("tlscacert"));
        assert!(refused(&["--userland-proxy", "true"], "{}").contains("userland-proxy"));
    }
}
