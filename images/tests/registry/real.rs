//! Debian's docker-registry on a loopback port, plain, with a password, and with TLS; skopeo is the second opinion.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use knarr_images::registry::{Client, Config, Credentials, Pushed, Upload};
use knarr_images::{Descriptor, Digest, Manifest, Reference, media_type};
use tempfile::TempDir;

use crate::certificates::{Authority, certs_dir};
use crate::{basic, chain, client, config, descriptor, reference};

/// Whether these programs are installed. A test that lacks one is skipped, visibly, where that is allowed.
pub(crate) fn has(programs: &[&str]) -> bool {
    let found = |program: &&&str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let missing: Vec<_> = programs.iter().filter(|program| !found(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let skipped = format!("skipped: not installed here: {missing:?}");
    assert!(std::env::var_os("KNARR_TEST_NO_SKIP").is_none(), "{skipped}");
    eprintln!("{skipped}");
    false
}

const TOOLS: [&str; 3] = ["docker-registry", "skopeo", "openssl"];

/// `htpasswd -Bbn otto geh:eim`
const HTPASSWD: &str = "otto:$2y$05$1yscfimYhYQ7wQGHwDgqnOUt5AenGRF4EFF22U3Pqbmhp8EgVY3.q\n";

/// A registry of its own, gone with the test.
struct Registry {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Registry {
    /// `http` and `rest` are more of its configuration, in YAML; PORT and FOLDER are put in.
    fn start(http: &str, rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: FOLDER/data}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{rest}"
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("listening on") {
            assert_ne!(log.read_line(&mut lines).unwrap(), 0, "docker-registry ended: {lines}");
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port, folder }
    }

    fn plain() -> Self {
        Self::start("", "")
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An image of one configuration and two layers, and the OCI layout that skopeo reads.
struct Image {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
    layout: TempDir,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

impl Image {
    fn new() -> Self {
        let archives = [vec![0; 10_240], noise(3_000_000)];
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive)).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut blobs = vec![serde_json::to_vec(&config).unwrap()];
        blobs.extend(archives.iter().map(|archive| gzip(archive)));
        let config = Descriptor { media_type: media_type::OCI_CONFIG.to_owned(), ..descriptor(&blobs[0]) };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config,
            "layers": blobs[1..].iter().map(|blob| descriptor(blob)).collect::<Vec<_>>(),
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let layout = tempfile::tempdir().unwrap();
        let image = Self { blobs, manifest, layout };
        image.write_layout();
        image
    }

    fn write_layout(&self) {
        let at = self.layout.path();
        std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
        for blob in self.blobs.iter().chain([&self.manifest]) {
            std::fs::write(at.join("blobs/sha256").join(Digest::of(blob).hex()), blob).unwrap();
        }
        std::fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let mut listed = serde_json::to_value(descriptor(&self.manifest)).unwrap();
        listed["mediaType"] = media_type::OCI_MANIFEST.into();
        listed["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "it"});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [listed]});
        std::fs::write(at.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    }

    fn layout(&self) -> String {
        format!("oci:{}:it", self.layout.path().display())
    }

    fn descriptors(&self) -> Vec<Descriptor> {
        self.blobs.iter().map(|blob| descriptor(blob)).collect()
    }

    fn assert_pulled(&self, client: &Client, name: &Reference, credentials: &Credentials) {
        let fetched = client.manifest(name, credentials).unwrap();
        assert_eq!(
            (fetched.bytes.as_slice(), fetched.digest),
            (self.manifest.as_slice(), Digest::of(&self.manifest))
        );
        let manifest: Manifest = serde_json::from_slice(&fetched.bytes).unwrap();
        for (descriptor, blob) in [manifest.config].iter().chain(&manifest.layers).zip(&self.blobs) {
            for offset in [0, descriptor.size / 2] {
                let mut read = Vec::new();
                client.blob(name, descriptor, credentials, offset).unwrap().read_to_end(&mut read).unwrap();
                assert!(
                    read == blob[usize::try_from(offset).unwrap()..],
                    "{} from {offset}",
                    descriptor.digest
                );
            }
        }
    }

    fn push(
        &self,
        client: &Client,
        name: &Reference,
        credentials: &Credentials,
        mount_from: Option<&str>,
    ) -> Vec<Pushed> {
        let push = |blob: &Descriptor| {
            let path = self.layout.path().join("blobs/sha256").join(blob.digest.hex());
            let upload = Upload {
                descriptor: blob,
                source: &mut |offset| {
                    let mut file = File::open(&path)?;
                    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset))?;
                    Ok(Box::new(file) as Box<dyn Read>)
                },
                mount_from,
                progress: &mut |_| {},
            };
            client.push_blob(name, credentials, upload).unwrap()
        };
        let pushed = self.descriptors().iter().map(push).collect();
        let digest =
            client.push_manifest(name, credentials, media_type::OCI_MANIFEST, &self.manifest).unwrap();
        assert_eq!(digest, Digest::of(&self.manifest));
        pushed
    }
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// skopeo reads every blob and verifies it.
fn assert_skopeo_pulls(image: &Image, name: &str, options: &[&str]) {
    let back = tempfile::tempdir().unwrap();
    let (source, target) = (format!("docker://{name}"), format!("oci:{}:back", back.path().display()));
    skopeo(&[&["copy", "--quiet"], options, &[&source, &target]].concat());
    for blob in image.blobs.iter().chain([&image.manifest]) {
        let path = back.path().join("blobs/sha256").join(Digest::of(blob).hex());
        assert!(std::fs::read(&path).unwrap() == *blob, "{}", path.display());
    }
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    if !has(&TOOLS) {
        return;
    }
    let (registry, image) = (Registry::plain(), Image::new());
    let name = reference(&registry.host(), "a/b:1");
    skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &image.layout(), &format!("docker://{name}")]);
    let client = client();
    image.assert_pulled(&client, &name, &Credentials::Anonymous);
    image.assert_pulled(&client, &name.with_digest(Digest::of(&image.manifest)), &Credentials::Anonymous);
    let head = client.head_manifest(&name, &Credentials::Anonymous).unwrap();
    assert_eq!((head.digest, head.size), (Digest::of(&image.manifest), image.manifest.len() as u64));

    let failed = client.manifest(&name.with_tag("2").unwrap(), &Credentials::Anonymous).unwrap_err();
    let expected =
        format!("manifest for {}/a/b:2 not found: manifest unknown: manifest unknown", registry.host());
    assert_eq!(chain(&failed), expected);
    let gone = descriptor(b"nowhere");
    let failed = client.blob(&name, &gone, &Credentials::Anonymous, 0).err().unwrap();
    assert_eq!(failed.to_string(), "blob unknown: blob unknown to registry");
}

#[test]
fn what_is_pushed_skopeo_pulls() {
    if !has(&TOOLS) {
        return;
    }
    let (registry, image, client) = (Registry::plain(), Image::new(), client());
    let name = reference(&registry.host(), "a/b:1");
    let pushed = image.push(&client, &name, &Credentials::Anonymous, None);
    assert_eq!(pushed, [Pushed::Uploaded; 3]);
    assert_skopeo_pulls(&image, &name.to_string(), &["--src-tls-verify=false"]);
    assert_eq!(image.push(&client, &name, &Credentials::Anonymous, None), [Pushed::Existed; 3]);

    let neighbour = reference(&registry.host(), "c:1");
    assert_eq!(image.push(&client, &neighbour, &Credentials::Anonymous, Some("a/b")), [Pushed::Mounted; 3]);
    assert_skopeo_pulls(&image, &neighbour.to_string(), &["--src-tls-verify=false"]);
    let stranger = reference(&registry.host(), "d:1");
    assert_eq!(
        image.push(&client, &stranger, &Credentials::Anonymous, Some("no/such")),
        [Pushed::Uploaded; 3]
    );
}

#[test]
fn a_password_is_shown() {
    if !has(&TOOLS) {
        return;
    }
    let registry = Registry::start("", "auth: {htpasswd: {realm: r, path: FOLDER/htpasswd}}\n");
    let (image, client) = (Image::new(), client());
    let name = reference(&registry.host(), "a:1");
    assert_eq!(image.push(&client, &name, &basic(), None), [Pushed::Uploaded; 3]);
    image.assert_pulled(&client, &name, &basic());
    assert_skopeo_pulls(&image, &name.to_string(), &["--src-tls-verify=false", "--src-creds=otto:geh:eim"]);
    let failed = client.manifest(&name, &Credentials::Anonymous).unwrap_err();
    assert!(chain(&failed).ends_with("no basic auth credentials"), "{failed}");
    let wrong = Credentials::Basic { user: "otto".to_owned(), secret: "wrong".to_owned() };
    let failed = client.manifest(&name, &wrong).unwrap_err();
    assert_eq!(failed.to_string(), "unauthorized: authentication required");
}

#[test]
fn tls_with_an_own_authority_and_own_certificates() {
    if !has(&TOOLS) {
        return;
    }
    let authority = Authority::new();
    let (server, user) = (authority.issue("server", "IP:0.0.0.0"), authority.issue("user", "DNS:user"));
    let show = |path: &Path| path.display().to_string();
    let tls = format!("  tls: {{certificate: {}, key: {}", show(&server.certificate), show(&server.key));
    let clients = format!("{tls}, clientcas: [{}]}}\n", show(&authority.certificate()));
    let ca: PathBuf = authority.certificate();
    for (http, files) in [
        (format!("{tls}}}\n"), vec![("ca.crt", &*ca)]),
        (clients, vec![("ca.crt", &*ca), ("client.cert", &*user.certificate), ("client.key", &*user.key)]),
    ] {
        let (registry, image) = (Registry::start(&http, ""), Image::new());
        let host = format!("0.0.0.0:{}", registry.port);
        let certs = certs_dir(&host, &files);
        let client = Client::new(&Config { certs_dir: certs.path().to_owned(), ..config() }).unwrap();
        let name = reference(&host, "a:1");
        image.push(&client, &name, &Credentials::Anonymous, None);
        image.assert_pulled(&client, &name, &Credentials::Anonymous);
        let folder = format!("--src-cert-dir={}", certs.path().join(&host).display());
        assert_skopeo_pulls(&image, &name.to_string(), &[&folder]);
        if files.len() > 1 {
            let certs = certs_dir(&host, &files[..1]);
            let stranger = Client::new(&Config { certs_dir: certs.path().to_owned(), ..config() }).unwrap();
            assert!(stranger.manifest(&name, &Credentials::Anonymous).is_err(), "without a certificate");
        }
    }
}

/// Passes connections on to `port`; the first one that has sent more than `limit` bytes is cut.
fn cutting_proxy(port: u16, limit: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for mut inside in listener.incoming().flatten() {
            let mut outside = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut back, mut answers) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            let cut = cut.clone();
            std::thread::spawn(move || {
                let mut sent = 0;
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = inside.read(&mut chunk) {
                    sent += count;
                    if outside.write_all(&chunk[..count]).is_err() {
                        break;
                    }
                    if sent > limit && !cut.swap(true, std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                }
                let _ = (inside.shutdown(Shutdown::Both), outside.shutdown(Shutdown::Both));
            });
        }
    });
    own
}

#[test]
fn a_push_goes_on_where_it_was_cut() {
    if !has(&TOOLS) {
        return;
    }
    let (registry, image) = (Registry::plain(), Image::new());
    let port = cutting_proxy(registry.port, 1_000_000);
    let name = reference(&format!("127.0.0.1:{port}"), "a:1");
    let (layer, bytes) = (descriptor(&image.blobs[2]), &image.blobs[2]);
    let mut offsets = Vec::new();
    let upload = Upload {
        descriptor: &layer,
        source: &mut |offset| {
            offsets.push(offset);
            let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
            Ok(Box::new(std::io::Cursor::new(rest)) as Box<dyn Read>)
        },
        mount_from: None,
        progress: &mut |_| {},
    };
    assert_eq!(client().push_blob(&name, &Credentials::Anonymous, upload).unwrap(), Pushed::Uploaded);
    assert_eq!((offsets.len(), offsets[0]), (2, 0), "{offsets:?}");
    assert!(registry.folder.path().join("data").is_dir());
    image.push(&client(), &reference(&registry.host(), "a:1"), &Credentials::Anonymous, None);
    assert_skopeo_pulls(&image, &format!("{}/a:1", registry.host()), &["--src-tls-verify=false"]);
}
