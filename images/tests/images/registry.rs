//! Debian's docker-registry on a loopback port, with its log, and a proxy in front of it that can stop in the middle.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use knarr_images::registry::{Client, Config, Credentials, Upload};
use knarr_images::{Descriptor, Digest, Index, Manifest, Reference, media_type};
use tempfile::TempDir;

use crate::archives::Made;

/// A registry of its own, gone with the test.
pub(crate) struct Registry {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("knarr-registry-").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let access = std::fs::File::create(folder.path().join("access.log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let mut child =
            command.stdout(access).stderr(Stdio::piped()).spawn().expect("docker-registry is installed");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("listening on") {
            assert_ne!(log.read_line(&mut lines).unwrap(), 0, "docker-registry ended: {lines}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port, folder }
    }

    /// `127.0.0.1:PORT/NAME`.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// For skopeo.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("docker://{}", self.name(name))
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::parse(&self.name(name)).unwrap()
    }

    /// How often it was asked for the content of a blob.
    pub(crate) fn requests(&self, blob: &Digest) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        log.lines().filter(|line| line.contains("\"GET ") && line.contains(&format!("/blobs/{blob}"))).count()
    }

    /// Where it keeps a blob.
    pub(crate) fn file(&self, blob: &Digest) -> PathBuf {
        let hex = blob.hex();
        self.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Pushes an image with layers as they are, under a configuration that may lie about them. Returns its manifest.
    pub(crate) fn push(&self, name: &str, made: &Made, layers: &[Vec<u8>]) -> Manifest {
        let describe = |media_type: &str, bytes: &[u8]| {
            Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            config: describe(media_type::OCI_CONFIG, &made.config),
            layers: layers.iter().map(|layer| describe(media_type::OCI_LAYER, layer)).collect(),
            annotations: BTreeMap::new(),
        };
        let reference = self.reference(name);
        for bytes in layers.iter().chain([&made.config]) {
            let mut source = |offset| {
                let rest = &bytes[usize::try_from(offset).unwrap()..];
                Ok(Box::new(std::io::Cursor::new(rest.to_vec())) as Box<dyn Read>)
            };
            let descriptor = &describe("", bytes);
            let upload = Upload { descriptor, source: &mut source, mount_from: None, progress: &mut |_| () };
            client().push_blob(&reference, &Credentials::Anonymous, upload).unwrap();
        }
        let bytes = serde_json::to_vec(&manifest).unwrap();
        client()
            .push_manifest(&reference, &Credentials::Anonymous, media_type::OCI_MANIFEST, &bytes)
            .unwrap();
        manifest
    }

    /// Pushes an index of manifests that are there. Returns its digest.
    pub(crate) fn push_index(&self, name: &str, index: &Index) -> Digest {
        let bytes = serde_json::to_vec(index).unwrap();
        let reference = self.reference(name);
        client().push_manifest(&reference, &Credentials::Anonymous, media_type::OCI_INDEX, &bytes).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn client() -> Client {
    Client::new(&Config::default()).unwrap()
}

/// Passes bytes on to a registry, and no more than so many of what it answers, until it is opened.
pub(crate) struct Proxy {
    port: u16,
    valve: Arc<Valve>,
}

struct Valve {
    left: AtomicU64,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Proxy {
    pub(crate) fn to(registry: &Registry, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let valve =
            Arc::new(Valve { left: AtomicU64::new(most), open: Mutex::new(false), opened: Condvar::new() });
        let (upstream, shared) = (registry.port, Arc::clone(&valve));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
                let valve = Arc::clone(&shared);
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from_client, to_server, |_| ()));
                std::thread::spawn(move || pass(server, client, |length| valve.take(length)));
            }
        });
        Self { port, valve }
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::parse(&format!("127.0.0.1:{}/{name}", self.port)).unwrap()
    }

    /// From now on all passes.
    pub(crate) fn open(&self) {
        *self.valve.open.lock().unwrap() = true;
        self.valve.opened.notify_all();
    }
}

impl Valve {
    fn take(&self, length: u64) {
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(length));
        if taken.is_err() {
            let mut open = self.open.lock().unwrap();
            while !*open {
                open = self.opened.wait(open).unwrap();
            }
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut before: impl FnMut(u64)) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        before(length as u64);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may have closed already.
    let _ = to.shutdown(Shutdown::Write);
}
