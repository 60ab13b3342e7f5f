//! `docker ps`: which containers a query wants, and what is said of each. Nothing here waits for a container.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use knarr_images::{Digest, Store};

use super::Record;
use crate::engine::{Containers, Engine};
use crate::error::{Error, Result};
use crate::wire::{
    ContainerSummary, EndpointIpam, EndpointSettings, Filters, HostConfigSummary, NetworkSettingsSummary,
    Patterns, Port,
};

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
/// The first version of the API that tells of annotations.
const WITH_ANNOTATIONS: (u32, u32) = (1, 46);

/// What `GET /containers/json` asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListQuery {
    /// Not only those that run.
    pub(crate) all: bool,
    /// The last ones created, whether they run or not; 0 is no limit.
    pub(crate) limit: usize,
    /// With the space they take, which is slow.
    pub(crate) size: bool,
    pub(crate) filters: Filters,
    /// Major and minor.
    pub(crate) api_version: (u32, u32),
}

/// A checked query.
struct Plan {
    all: bool,
    limit: Option<usize>,
    filters: Filters,
    names: Patterns,
    exit_codes: Vec<i32>,
    /// None: a task is no condition. No container is one.
    task: Option<bool>,
    before: Option<String>,
    since: Option<String>,
    images: Option<BTreeSet<String>>,
    published: BTreeSet<(u16, String)>,
    exposed: BTreeSet<(u16, String)>,
}

/// What a list is made from.
struct Known<'a> {
    containers: &'a Containers,
    images: &'a Store,
}

impl Engine {
    /// The containers that a query wants, the newest first.
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Vec<ContainerSummary>> {
        Known { containers: &self.containers, images: &self.images }.list(query)
    }
}

impl Known<'_> {
    fn list(&self, query: &ListQuery) -> Result<Vec<ContainerSummary>> {
        let plan = self.plan(query)?;
        let mut records: Vec<Arc<Record>> =
            self.containers.all().into_iter().map(|container| container.record()).collect();
        records.sort_by_key(|record| Reverse(record.created));
        let now = Timestamp::now();
        let mut images = BTreeMap::new();
        let mut list = Vec::new();
        for record in plan.choose(&records) {
            let mut summary = summary(record, now);
            if !self.still_names(&mut images, record) {
                summary.image.clone_from(&record.image);
            }
            if query.api_version >= WITH_ANNOTATIONS {
                summary.host_config.annotations.clone_from(&record.host_config.annotations);
            }
            if query.size {
                (summary.size_rw, summary.size_root_fs) = space(self.images, record)?;
            }
            list.push(summary);
        }
        Ok(list)
    }

    fn plan(&self, query: &ListQuery) -> Result<Plan> {
        let filters = &query.filters;
        filters.check(&FILTERS)?;
        check_words(filters, "status", "state", &STATES)?;
        check_words(filters, "health", "health", &HEALTHS)?;
        let exit_code = |value: &str| {
            value.parse().map_err(|_| {
                let why = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                Error::invalid(format!("invalid filter 'exited={value}': {why}"))
            })
        };
        let container = |key: &str| {
            let found =
                filters.values(key).map(|name| self.containers.find(name).map(|found| found.id.clone()));
            found.last().transpose()
        };
        Ok(Plan {
            all: query.all || filters.values("status").next().is_some() || query.limit > 0,
            limit: Some(query.limit).filter(|limit| *limit > 0),
            names: filters.patterns("name"),
            exit_codes: filters.values("exited").map(exit_code).collect::<Result<_>>()?,
            task: filters.flag("is-task")?,
            before: container("before")?,
            since: container("since")?,
            images: filters
                .contains("ancestor")
                .then(|| self.descendants(filters.values("ancestor")))
                .transpose()?,
            published: ports(filters, "publish")?,
            exposed: ports(filters, "expose")?,
            filters: filters.clone(),
        })
    }

    /// IDs of the images, and of those that were committed from them.
    fn descendants<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>> {
        let mut wanted: BTreeSet<Digest> = BTreeSet::new();
        // Docker, too, takes an image that is not there for one that nothing descends from.
        wanted.extend(names.filter_map(|name| self.images.resolve(name).ok()).map(|named| named.image));
        let images = self.images.images()?;
        loop {
            let known = wanted.len();
            let children =
                images.iter().filter(|image| image.record.parent.is_some_and(|id| wanted.contains(&id)));
            wanted = children.map(|image| image.id).chain(wanted.iter().copied()).collect();
            if wanted.len() == known {
                return Ok(wanted.iter().map(ToString::to_string).collect());
            }
        }
    }

    /// The name by which the image was asked for still leads to it.
    fn still_names<'a>(&self, images: &mut BTreeMap<&'a str, Option<String>>, record: &'a Record) -> bool {
        let name = record.config.image.as_str();
        let resolve = || self.images.resolve(name).ok().map(|named| named.image.to_string());
        name == record.image || images.entry(name).or_insert_with(resolve).as_ref() == Some(&record.image)
    }
}

/// Bytes of what a container has written, and of everything that it sees; nothing of one whose removal has taken them.
pub(super) fn space(images: &Store, record: &Record) -> Result<(u64, u64)> {
    if record.removing && !images.snapshots().contains_key(&record.id) {
        return Ok((0, 0));
    }
    let id = &record.id;
    let written = images.snapshot_space(id)?.bytes;
    let mut image = 0;
    for layer in &images.snapshot(id)?.layers {
        image += images.layer(layer)?.map_or(0, |layer| layer.size);
    }
    Ok((written, written + image))
}

impl Plan {
    /// `records` are the newest first. `before` and `since` cut the list, also one that is cut by other filters.
    fn choose<'a>(&self, records: &'a [Arc<Record>]) -> Vec<&'a Record> {
        let mut before = self.before.as_deref();
        let mut chosen = Vec::new();
        for record in records {
            if let Some(id) = before {
                before = Some(id).filter(|id| record.id != *id);
                continue;
            }
            if self.since.as_deref() == Some(record.id.as_str()) || self.limit == Some(chosen.len()) {
                break;
            }
            if self.fits(record) {
                chosen.push(&**record);
            }
        }
        chosen
    }

    fn fits(&self, record: &Record) -> bool {
        let filters = &self.filters;
        let running = record.state.status.is_running();
        (self.all || running)
            && self.names.fit(&record.name) | self.names.fit(&format!("/{}", record.name))
            && filters.begins("id", &record.id)
            && self.task != Some(true)
            && filters.has_labels("label", record.config.labels.as_ref())
            && (self.exit_codes.is_empty()
                || !running
                    && record.state.started.is_some()
                    && self.exit_codes.contains(&record.state.exit_code))
            && filters.is("status", record.state_word())
            && filters.is("health", record.health_word())
            && self.has_volume(record)
            && self.images.as_ref().is_none_or(|images| images.contains(&record.image))
            && self.is_on_network(record)
            && self.has_port(record)
    }

    fn has_volume(&self, record: &Record) -> bool {
        let mut values = self.filters.values("volume").peekable();
        let named = |value: &str| {
            record.mounts.iter().any(|mount| {
                let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
                mount.destination == value || name == value
            })
        };
        values.peek().is_none() || values.any(named)
    }

    fn is_on_network(&self, record: &Record) -> bool {
        let mut values = self.filters.values("network").peekable();
        let on = |value: &str| {
            record.networks.contains_key(value)
                || record.networks.values().any(|endpoint| endpoint.network_id.starts_with(value))
        };
        values.peek().is_none() || values.any(on)
    }

    fn has_port(&self, record: &Record) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        list_ports(record).into_iter().any(|port| {
            self.published.contains(&(port.public_port, port.protocol.clone()))
                || self.exposed.contains(&(port.private_port, port.protocol))
        })
    }
}

fn check_words(filters: &Filters, key: &str, what: &str, words: &[&str]) -> Result<()> {
    match filters.values(key).find(|value| !words.contains(value)) {
        Some(value) => Err(Error::invalid(format!(
            "invalid filter '{key}={value}': invalid value for {what} ({value}): must be one of {}",
            words.join(", ")
        ))),
        None => Ok(()),
    }
}

/// `PORT[/PROTOCOL]` or `FIRST-LAST[/PROTOCOL]`, each port of them.
fn ports(filters: &Filters, key: &str) -> Result<BTreeSet<(u16, String)>> {
    let mut ports = BTreeSet::new();
    for value in filters.values(key) {
        if value.contains(':') {
            return Err(Error::invalid(format!("filter for '{key}' should not contain ':': {value}")));
        }
        let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => {
                ports.extend((first..=last).map(|port| (port, protocol.to_ascii_lowercase())));
            }
            _ => {
                let why = format!("invalid port range {range:?}");
                return Err(Error::invalid(format!("error while looking up for {key} {value}: {why}")));
            }
        }
    }
    Ok(ports)
}

fn summary(record: &Record, now: Timestamp) -> ContainerSummary {
    ContainerSummary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: record.config.image.clone(),
        image_id: record.image.clone(),
        command: command(record),
        created: record.created.as_second(),
        ports: list_ports(record),
        size_rw: 0,
        size_root_fs: 0,
        labels: record.config.labels.clone().unwrap_or_default(),
        state: record.state_word(),
        status: record.status_text(now),
        host_config: HostConfigSummary {
            network_mode: record.host_config.network_mode.clone(),
            annotations: None,
        },
        network_settings: NetworkSettingsSummary {
            networks: record
                .networks
                .iter()
                .map(|(name, endpoint)| (name.clone(), shown(endpoint)))
                .collect(),
        },
        mounts: record.mounts.clone(),
    }
}

/// The program and its arguments; those with a space between quotes, which are not escaped in them.
fn command(record: &Record) -> String {
    let mut command = record.path.clone();
    for argument in &record.args {
        command.push(' ');
        if argument.contains(' ') {
            command.extend(["'", argument, "'"]);
        } else {
            command.push_str(argument);
        }
    }
    command
}

/// One for each binding, or without an address if there is none.
fn list_ports(record: &Record) -> Vec<Port> {
    let mut list = Vec::new();
    for (port, bindings) in &record.ports {
        let (private_port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(private_port) = private_port.parse() else { continue };
        let entry = |ip: &str, public_port| Port {
            ip: ip.to_owned(),
            private_port,
            public_port,
            protocol: protocol.to_owned(),
        };
        if bindings.is_empty() {
            list.push(entry("", 0));
        }
        let bound =
            bindings.iter().filter_map(|binding| Some((&binding.host_ip, binding.host_port.parse().ok()?)));
        list.extend(bound.map(|(ip, public_port)| entry(ip, public_port)));
    }
    list.sort_by(|one, other| {
        let key = |port: &Port| (port.private_port, port.protocol.clone(), port.public_port);
        key(one).cmp(&key(other)).then_with(|| one.ip.cmp(&other.ip))
    });
    list
}

/// A list says where a container is, not what was asked for.
fn shown(endpoint: &EndpointSettings) -> EndpointSettings {
    let ipam = |asked: &EndpointIpam| EndpointIpam { link_local_ips: Vec::new(), ..asked.clone() };
    EndpointSettings {
        ipam_config: endpoint.ipam_config.as_ref().map(ipam),
        links: None,
        aliases: None,
        driver_opts: None,
        dns_names: None,
        ..endpoint.clone()
    }
}

#[cfg(test)]
mod tests {
    use knarr_images::store::WhenBusy;

    use super::super::{Container, Health, State, Status, sample};
    use super::*;
    use crate::wire::{MountPoint, PortBinding};

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Five containers, `old` to `new`, in second 1 to 5 of their life.
    fn records() -> Vec<Arc<Record>> {
        let names = [('1', "old"), ('2', "web_1"), ('3', "web_2"), ('4', "db"), ('5', "new")];
        let mut records: Vec<Record> =
            names.iter().map(|&(digit, name)| sample::record(digit, name)).collect();
        for (second, record) in records.iter_mut().enumerate() {
            record.created = time(i64::try_from(second).unwrap());
        }
        let state = |status, exit_code| State {
            status,
            exit_code,
            started: Some(time(10)),
            finished: Some(time(20)),
            ..State::default()
        };
        records[0].state = state(Status::Exited, 3);
        records[1].state = state(Status::Running, 0);
        records[1].state.health = Some(Health { status: "healthy".to_owned(), ..Health::default() });
        records[1].config.labels = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        let binding =
            |ip: &str, port: &str| PortBinding { host_ip: ip.to_owned(), host_port: port.to_owned() };
        records[1].ports = BTreeMap::from([
            ("80/tcp".to_owned(), vec![binding("::", "8080"), binding("0.0.0.0", "8080")]),
            ("53/udp".to_owned(), Vec::new()),
        ]);
        records[2].state = state(Status::Restarting, 1);
        records[2].mounts = vec![MountPoint {
            name: "data".to_owned(),
            source: "/v/data/_data".to_owned(),
            destination: "/d".to_owned(),
            ..MountPoint::default()
        }];
        records[3].state = state(Status::Paused, 0);
        let endpoint = EndpointSettings { network_id: "abcdef".to_owned(), ..EndpointSettings::default() };
        records[3].networks = BTreeMap::from([("backend".to_owned(), endpoint)]);
        records.reverse();
        records.into_iter().map(Arc::new).collect()
    }

    /// Containers and images of a test, in a folder of its own.
    struct World {
        folder: tempfile::TempDir,
        containers: Containers,
        images: Store,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let images = Store::open(&folder.path().join("images"), WhenBusy::Refuse).unwrap();
            Self { folder, containers: Containers::default(), images }
        }

        fn add(&self, record: &Record) {
            self.containers.reserve(&record.name, &record.id).unwrap();
            self.containers.insert(Arc::new(Container::new(self.folder.path().to_owned(), record.clone())));
        }

        fn list(&self, query: &ListQuery) -> Result<Vec<ContainerSummary>> {
            Known { containers: &self.containers, images: &self.images }.list(query)
        }
    }

    fn five() -> World {
        let world = World::new();
        for record in records() {
            world.add(&record);
        }
        world
    }

    #[test]
    fn filters_are_dockers() {
        let world = five();
        for (all, limit, filters, want) in [
            (false, 0, "", "db web_2 web_1"),
            (true, 0, "", "new db web_2 web_1 old"),
            (false, 2, "", "new db"),
            (false, 0, r#"{"status":["exited"]}"#, "old"),
            (false, 0, r#"{"status":["running","restarting"]}"#, "web_2 web_1"),
            (false, 0, r#"{"status":["created"]}"#, "new"),
            (true, 0, r#"{"exited":["3"]}"#, "old"),
            (true, 0, r#"{"exited":["0"]}"#, ""),
            (false, 0, r#"{"exited":["3"]}"#, ""),
            (true, 0, r#"{"name":["web"]}"#, "web_2 web_1"),
            (true, 0, r#"{"name":["^/web_1$"]}"#, "web_1"),
            (true, 0, r#"{"name":["^db$","new"]}"#, "new db"),
            (true, 0, r#"{"id":["444"]}"#, "db"),
            (true, 0, r#"{"id":["444"],"name":["web"]}"#, ""),
            (true, 0, r#"{"label":["a=b"]}"#, "web_1"),
            (true, 0, r#"{"label":["a=c"]}"#, ""),
            (true, 0, r#"{"health":["healthy"]}"#, "web_1"),
            (true, 0, r#"{"health":["none"]}"#, "new db web_2 old"),
            (true, 0, r#"{"before":["web_2"]}"#, "web_1 old"),
            (true, 0, r#"{"since":["/web_2"]}"#, "new db"),
            (true, 0, r#"{"since":["web_1"],"before":["db"]}"#, "web_2"),
            (true, 1, r#"{"before":["web_2"]}"#, "web_1"),
            (true, 0, r#"{"volume":["data"]}"#, "web_2"),
            (true, 0, r#"{"volume":["/d"]}"#, "web_2"),
            (true, 0, r#"{"volume":["/v/data/_data"]}"#, ""),
            (true, 0, r#"{"network":["backend"]}"#, "db"),
            (true, 0, r#"{"network":["abc"]}"#, "db"),
            (true, 0, r#"{"network":["end"]}"#, ""),
            (true, 0, r#"{"publish":["8080"]}"#, "web_1"),
            (true, 0, r#"{"publish":["8000-8100/tcp"]}"#, "web_1"),
            (true, 0, r#"{"publish":["8080/udp"]}"#, ""),
            (true, 0, r#"{"expose":["53/udp"]}"#, "web_1"),
            (true, 0, r#"{"is-task":["false"]}"#, "new db web_2 web_1 old"),
            (true, 0, r#"{"is-task":["true"]}"#, ""),
            (true, 0, r#"{"isolation":["default"]}"#, "new db web_2 web_1 old"),
            (true, 0, r#"{"ancestor":["nothing:here"]}"#, ""),
        ] {
            let filters = Filters::parse(filters).unwrap();
            let query = ListQuery { all, limit, filters, ..ListQuery::default() };
            let list = world.list(&query).unwrap();
            let names: Vec<&str> = list.iter().map(|entry| &entry.names[0][1..]).collect();
            assert_eq!(names.join(" "), want, "{query:?}");
        }
    }

    #[test]
    fn wrong_filters_are_refused_in_dockers_words() {
        let world = five();
        for (filters, want) in [
            (r#"{"foo":["x"]}"#, "invalid filter 'foo'"),
            (r#"{"exited":["x"]}"#, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
            (
                r#"{"status":["x"]}"#,
                "invalid filter 'status=x': invalid value for state (x): must be one of created, running, paused, restarting, removing, exited, dead",
            ),
            (
                r#"{"health":["x"]}"#,
                "invalid filter 'health=x': invalid value for health (x): must be one of none, starting, healthy, unhealthy",
            ),
            (r#"{"is-task":["x"]}"#, "invalid filter 'is-task=[x]'"),
            (r#"{"before":["nope"]}"#, "No such container: nope"),
            (r#"{"publish":["1:2"]}"#, "filter for 'publish' should not contain ':': 1:2"),
            (r#"{"expose":["9-8"]}"#, "error while looking up for expose 9-8: invalid port range \"9-8\""),
        ] {
            let filters = Filters::parse(filters).unwrap();
            let error = world.list(&ListQuery { filters, ..ListQuery::default() }).unwrap_err();
            assert_eq!(error.message, want);
        }
    }

    #[test]
    fn an_entry_is_dockers() {
        let mut record = Record::clone(&records()[3]);
        record.args = vec!["-c".to_owned(), "sleep 1".to_owned()];
        record.networks = BTreeMap::from([(
            "bridge".to_owned(),
            EndpointSettings {
                aliases: Some(vec!["x".to_owned()]),
                ip_address: "172.17.0.2".to_owned(),
                ..EndpointSettings::default()
            },
        )]);
        let text = serde_json::to_string(&summary(&record, time(11))).unwrap();
        let want = concat!(
            r#"{"Id":"2222222222222222222222222222222222222222222222222222222222222222","Names":["/web_1"],"Image":"busybox","#,
            r#""ImageID":"sha256:0000000000000000000000000000000000000000000000000000000000000000","Command":"sh -c 'sleep 1'","#,
            r#""Created":1,"Ports":[{"PrivatePort":53,"Type":"udp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},"#,
            r#"{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],"Labels":{"a":"b"},"State":"running","#,
            r#""Status":"Up 1 second (healthy)","HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":"#,
            r#"{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"","#,
            r#""EndpointID":"","Gateway":"","IPAddress":"172.17.0.2","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","#,
            r#""GlobalIPv6PrefixLen":0,"DNSNames":null}}},"Mounts":[]}"#
        );
        assert_eq!(text, want);
    }

    #[test]
    fn two_hundred_containers_are_listed_at_once() {
        let world = World::new();
        for number in 0..200_u32 {
            let mut record = sample::record('a', &format!("c{number}"));
            record.id = format!("{number:064x}");
            record.config.image = format!("repository/image:{}", number % 20);
            world.add(&record);
        }
        let query = ListQuery { all: true, ..ListQuery::default() };
        let begin = std::time::Instant::now();
        let list = world.list(&query).unwrap();
        let took = begin.elapsed();
        assert_eq!(list.len(), 200);
        // Unoptimised, on a busy machine; the daemon takes a small part of it.
        assert!(took < std::time::Duration::from_millis(500), "{took:?}");
    }
}
