//! Two hundred kills at random moments, under traffic.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use knarr_integration::{Value, eventually, json};

use crate::client::Client;
use crate::daemon::Daemon;
use crate::image::BOX;
use crate::nest::inside;

/// `KNARR_ROUNDS` says how many.
const KILLS: usize = 200;

/// What the traffic knows of its containers.
#[derive(Default)]
struct Confirmed {
    /// Created, and no removal was asked for.
    there: BTreeSet<String>,
    /// A removal was confirmed.
    gone: BTreeSet<String>,
    acts: usize,
    /// Names of containers whose removal was asked for; whether it came is not known.
    doubtful: BTreeSet<String>,
}

/// Ends the traffic, also when an expectation fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates, starts, stops and removes, whether the engine is there or not.
fn traffic(client: &Client, who: &str, over: &AtomicBool, confirmed: &Mutex<Confirmed>) {
    let port = json!({"80/tcp": [{"HostPort": "0"}]});
    let body = json!({"Image": BOX, "Cmd": ["sleep", "1000"], "Volumes": {"/data": {}}, "HostConfig": {"PortBindings": port}});
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{who}{number}");
        let ask = |method: &str, path: &str, body: &str| {
            let answer = ask_again(client, over, method, path, body);
            if let Some((status, text)) = &answer {
                // 409: the first time has come through although its answer did not.
                assert!([201, 204, 304, 404, 409].contains(status), "{method} {path}: {status} {text}");
                confirmed.lock().expect("alone").acts += 1;
            }
            answer.map(|(status, _)| status)
        };
        let created = ask("POST", &format!("/containers/create?name={name}"), &body.to_string());
        if created.is_none() {
            return;
        }
        confirmed.lock().expect("alone").there.insert(name.clone());
        ask("POST", &format!("/containers/{name}/start"), "");
        if number % 2 == 0 {
            ask("POST", &format!("/containers/{name}/stop?t=0"), "");
        }
        if number % 8 == 0 {
            continue;
        }
        {
            let mut confirmed = confirmed.lock().expect("alone");
            confirmed.there.remove(&name);
            confirmed.doubtful.insert(name.clone());
        }
        let removed = ask("DELETE", &format!("/containers/{name}?force=1&v=1"), "");
        // Busy with it, it may be removed by the engine itself.
        if matches!(removed, Some(204 | 404)) {
            let mut confirmed = confirmed.lock().expect("alone");
            confirmed.doubtful.remove(&name);
            confirmed.gone.insert(name);
        }
    }
}

/// Asks until there is an answer, or all is over.
fn ask_again(
    client: &Client,
    over: &AtomicBool,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    while !over.load(Ordering::Relaxed) {
        if let Ok(reply) = client.ask(method, path, body.as_bytes()) {
            return Some((reply.status, String::from_utf8_lossy(&reply.body).into_owned()));
        }
        thread::sleep(Duration::from_millis(3));
    }
    None
}

fn serves() -> io::Result<()> {
    let mut stream = TcpStream::connect("127.0.0.1:8080")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// The containers that run on while the engine comes and goes.
fn start_residents(daemon: &Daemon) {
    let count = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 3000; done"];
    let check =
        json!({"Test": ["CMD", "true"], "Interval": 100_000_000, "Timeout": 5_000_000_000_i64, "Retries": 3});
    daemon.create_as("counts", &json!({"Cmd": count, "Healthcheck": check}));
    daemon.post("/containers/counts/start").assert(204);
    let port = json!({"80/tcp": [{"HostPort": "8080"}]});
    daemon.run("serves", &["httpd", "-f", "-p", "80"], &json!({"PortBindings": port}));
    daemon.run("returns", &["sleep", "0.3"], &json!({"RestartPolicy": {"Name": "always"}}));
}

/// An exec that a client is attached to; it goes on when the client and the engine are gone.
fn attach_exec(daemon: &Daemon) {
    let asked = json!({"Cmd": ["sh", "-c", "while :; do echo x; usleep 50000; done"], "AttachStdout": true});
    let exec = daemon.ask("POST", "/containers/counts/exec", &asked).assert(201).json();
    let path = format!("/exec/{}/start", exec["Id"].as_str().expect("an ID"));
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let mut stream = daemon.client.send("POST", &path, upgrade, b"{}").expect("attach");
    let mut buffer = [0; 64];
    eventually("the exec says something", || match stream.read(&mut buffer) {
        Ok(length) => buffer[..length].contains(&b'x').then_some(()),
        Err(_) => None,
    });
    thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
}

/// A moment that nobody has chosen.
fn random(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("random bytes");
    u64::from_le_bytes(bytes) % limit
}

fn numbers(daemon: &Daemon) -> usize {
    let log = daemon.logs("counts");
    for (line, number) in log.lines().zip(1..) {
        assert_eq!(line, number.to_string(), "the log has all numbers");
    }
    log.lines().count()
}

#[test]
fn two_hundred_kills_lose_nothing() {
    inside("storm::two_hundred_kills_lose_nothing", |site| {
        let mut daemon = Daemon::new(site);
        let kills = std::env::var("KNARR_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
        start_residents(&daemon);
        attach_exec(&daemon);
        let (over, confirmed) = (AtomicBool::new(false), Mutex::default());
        let began = Instant::now();
        let mut starts = Vec::new();
        thread::scope(|scope| {
            let _end = Over(&over);
            // Not hexadecimal: the name of a container that is gone would be the beginning of another's ID.
            for who in ["x", "y"] {
                let (client, over, confirmed) = (daemon.client.clone(), &over, &confirmed);
                scope.spawn(move || traffic(&client, who, over, confirmed));
            }
            for round in 0..kills {
                // Now and then there is time for a whole start, also on a busy machine.
                thread::sleep(Duration::from_millis(random(if round % 5 == 0 { 400 } else { 80 })));
                daemon.kill();
                if round % 10 == 0 {
                    serves().expect("the port answers while the engine is down");
                }
                starts.push(daemon.start());
            }
        });
        let took = began.elapsed();
        let confirmed = confirmed.into_inner().expect("alone");
        starts.sort();
        println!(
            "{kills} kills in {took:?}, {} acts; {} containers there, {} gone, {} in doubt; a start took {:?} at the median, {:?} at most",
            confirmed.acts,
            confirmed.there.len(),
            confirmed.gone.len(),
            confirmed.doubtful.len(),
            starts[kills / 2],
            starts[kills - 1],
        );
        assert!(confirmed.acts >= kills / 10, "there was traffic: {} acts", confirmed.acts);
        check(&daemon, &confirmed, took);
        daemon.finish();
    });
}

fn check(daemon: &Daemon, confirmed: &Confirmed, took: Duration) {
    serves().expect("the port answers");
    let before = numbers(daemon);
    eventually("it goes on counting", || (numbers(daemon) > before).then_some(()));
    eventually("it is healthy", || {
        (daemon.inspect("counts")["State"]["Health"]["Status"] == "healthy").then_some(())
    });
    let last_probe = || daemon.inspect("counts")["State"]["Health"]["Log"][4]["Start"].clone();
    let probe = last_probe();
    eventually("it is probed again", || (last_probe() != probe).then_some(()));
    let restarts = daemon.inspect("returns")["RestartCount"].as_u64().expect("a number");
    let most = took.as_millis() / 300 + 2;
    assert!(restarts >= 2 && u128::from(restarts) <= most, "{restarts} restarts in {took:?}");

    let list = daemon.ask("GET", "/containers/json?all=1", &Value::Null).assert(200).json();
    let list = list.as_array().expect("a list");
    let name = |one: &Value| one["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
    let names: BTreeSet<String> = list.iter().map(name).collect();
    assert_eq!(names.len(), list.len(), "names are unique");
    let lost: Vec<_> = confirmed.there.difference(&names).collect();
    assert_eq!(lost, Vec::<&String>::new(), "created and lost; the engine says: {}", daemon.log());
    let back: Vec<_> = confirmed.gone.intersection(&names).collect();
    assert_eq!(back, Vec::<&String>::new(), "removed and there again");
    // What the list says is what the kernel says.
    let mut addresses = BTreeSet::new();
    for one in list.iter().filter(|one| name(one) != "returns") {
        let seen = daemon.inspect(&name(one));
        let pid = seen["State"]["Pid"].as_i64().unwrap_or_default();
        assert_eq!(one["State"] == "running", pid > 0, "{seen}");
        if pid > 0 {
            let pid = i32::try_from(pid).expect("a process ID");
            assert!(crate::daemon::lives(pid), "{} has a process", name(one));
            let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
            assert!(cgroup.contains(one["Id"].as_str().expect("an ID")), "{cgroup}");
            let address = seen["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].to_string();
            assert!(addresses.insert(address), "two have the same address: {seen}");
        }
    }
}
