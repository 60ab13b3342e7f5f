//! Pulls from and pushes to a real registry.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use knarr_images::platform::Wanted;
use knarr_images::progress::{Event, Stage};
use knarr_images::pull::{Pull, Puller};
use knarr_images::push::Push;
use knarr_images::registry::Credentials;
use knarr_images::{Descriptor, Digest, Error, Index, Platform, Reference, Store, media_type};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::archives::{Made, noise, tar};
use crate::registry::{Proxy, Registry, client};
use crate::store::peak_kib;
use crate::world::{World, assert_tidy, assert_whole, ok};

fn puller(store: &Arc<Store>) -> Puller {
    Puller::new(Arc::clone(store), client())
}

fn wanted(reference: &Reference) -> Pull {
    Pull { reference: reference.clone(), credentials: Credentials::Anonymous, machine: Wanted::host() }
}

/// A pull with all that it tells.
fn pull(store: &Arc<Store>, reference: &Reference) -> Result<(Digest, Vec<Event>), Error> {
    let puller = puller(store);
    let mut events = Vec::new();
    let id = puller.pull(&wanted(reference), &puller.cancel(), &mut |event| events.push(event.clone()))?;
    Ok((id, events))
}

fn stages(events: &[Event], layer: &Digest) -> Vec<String> {
    let mut stages: Vec<String> = Vec::new();
    for event in events {
        if let Event::Layer { blob, stage } = event
            && blob == layer
            && stages.last() != Some(&stage.to_string())
        {
            stages.push(stage.to_string());
        }
    }
    stages
}

fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_second_image_brings_only_what_is_new() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let base: &[(&str, &[u8])] = &[("base", b"base")];
    let (one, two) = (Made::of(&[base, &[("1", b"1")]]), Made::of(&[base, &[("2", b"2")]]));
    let first = registry.push("a/one:1", &one, &one.layers);
    let second = registry.push("a/two:1", &two, &two.layers);
    let (id, events) = pull(&store, &registry.reference("a/one:1")).unwrap();
    assert_eq!(id, one.id());
    let texts: Vec<String> = events.iter().map(ToString::to_string).collect();
    assert_eq!(texts[0], "1: Pulling from a/one");
    assert_eq!(
        texts.last().unwrap(),
        &format!("Status: Downloaded newer image for {}", registry.name("a/one:1"))
    );
    let seen = stages(&events, &first.layers[1].digest);
    assert_eq!(seen.last().map(String::as_str), Some("Pull complete"), "{seen:?}");

    let shared = first.layers[0].digest;
    fs::remove_file(registry.file(&shared)).unwrap();
    let (id, events) = pull(&store, &registry.reference("a/two:1")).unwrap();
    assert_eq!(id, two.id());
    assert_eq!(stages(&events, &shared), ["Already exists"]);
    assert_eq!((registry.requests(&shared), registry.requests(&second.layers[1].digest)), (1, 1));
    assert_whole(&store);
    let (_, events) = pull(&store, &registry.reference("a/two:1")).unwrap();
    assert_eq!(events.last().unwrap(), &Event::UpToDate { reference: registry.name("a/two:1") });
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let made = Made::of(&[&[("noise", &noise(3, 5 << 20))]]);
    let blob = registry.push("a:1", &made, &made.layers).layers[0].digest;
    let partial = world.root().join("ingest").join(blob.hex());
    fs::write(&partial, &made.layers[0][..3 << 20]).unwrap();
    let (_, events) = pull(&store, &registry.reference("a:1")).unwrap();
    let first = events.iter().find_map(|event| match event {
        Event::Layer { stage: Stage::Downloading { done, .. }, .. } => Some(*done),
        _ => None,
    });
    assert!(first >= Some(3 << 20), "{first:?}");
    assert!(!partial.exists());
    assert_whole(&store);
}

#[test]
fn what_was_left_of_something_else_is_thrown_away() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let made = Made::of(&[&[("noise", &noise(4, 1 << 20))]]);
    let blob = registry.push("a:1", &made, &made.layers).layers[0].digest;
    let partial = world.root().join("ingest").join(blob.hex());
    fs::write(&partial, noise(5, 1 << 19)).unwrap();
    let error = message(&pull(&store, &registry.reference("a:1")).unwrap_err());
    assert!(error.contains(&blob.to_string()), "{error}");
    assert!(!partial.exists());
    assert!(store.images().unwrap().is_empty());
    // Longer than it should be: nothing of it is believed.
    fs::write(&partial, noise(5, 2 << 20)).unwrap();
    pull(&store, &registry.reference("a:1")).unwrap();
    assert_whole(&store);
}

#[test]
fn two_pulls_of_one_blob_are_one_download() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let made = Made::of(&[&[("noise", &noise(6, 4 << 20))]]);
    let blob = registry.push("a:1", &made, &made.layers).layers[0].digest;
    let proxy = Proxy::to(&registry, 2 << 20);
    let (puller, wanted) = (puller(&store), wanted(&proxy.reference("a:1")));
    let started = std::sync::Barrier::new(3);
    thread::scope(|threads| {
        let both: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    let mut events = Vec::new();
                    let mut waiting = true;
                    let told = &mut |event: &Event| {
                        events.push(event.clone());
                        if waiting && matches!(event, Event::Layer { stage: Stage::Downloading { .. }, .. }) {
                            waiting = false;
                            started.wait();
                        }
                    };
                    puller.pull(&wanted, &puller.cancel(), told).unwrap();
                    stages(&events, &blob)
                })
            })
            .collect();
        started.wait();
        proxy.open();
        for one in both {
            let stages = one.join().unwrap();
            assert_eq!(stages.last().map(String::as_str), Some("Pull complete"), "{stages:?}");
        }
    });
    assert_eq!(registry.requests(&blob), 1);
    assert_whole(&store);
}

#[test]
fn a_cancelled_pull_leaves_what_it_has() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let made = Made::of(&[&[("noise", &noise(8, 8 << 20))]]);
    let blob = registry.push("a:1", &made, &made.layers).layers[0].digest;
    let proxy = Proxy::to(&registry, 5 << 20);
    let puller = puller(&store);
    let cancel = puller.cancel();
    let ended = puller.pull(&wanted(&proxy.reference("a:1")), &cancel, &mut |event| {
        if matches!(event, Event::Layer { stage: Stage::Downloading { done: 1.., .. }, .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let partial = world.root().join("ingest").join(blob.hex());
    assert!(fs::metadata(&partial).unwrap().len() >= 1 << 20);
    assert!(store.images().unwrap().is_empty());
    // The old job ends first, then a new one goes on.
    proxy.open();
    puller.pull(&wanted(&registry.reference("a:1")), &puller.cancel(), &mut |_| ()).unwrap();
    assert!(!partial.exists());
    assert_whole(&store);
}

#[test]
fn a_configuration_that_lies_about_its_layers_is_refused() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let honest = Made::of(&[&[("a", b"a")], &[("b", b"b")]]);
    let other = tar(&[("c", b"c")]);
    registry.push("a:1", &honest, &[honest.layers[0].clone(), other]);
    let error = message(&pull(&store, &registry.reference("a:1")).unwrap_err());
    assert!(error.contains("layers from manifest don't match image configuration"), "{error}");
    registry.push("a:2", &honest, &honest.layers[..1]);
    let error = message(&pull(&store, &registry.reference("a:2")).unwrap_err());
    assert_eq!(error, "layers from manifest don't match image configuration");
    assert!(store.images().unwrap().is_empty());
    drop(store);
    assert_tidy(&world.root());
}

/// One blob cannot be two layers, whatever a configuration says of it.
#[test]
fn a_layer_that_no_blob_is_puts_no_image_on_record() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let layer = tar(&[("a", b"1")]);
    let lying = Made::with(vec![layer.clone(), tar(&[("b", b"2")])], &serde_json::json!({}));
    registry.push("lying:1", &lying, &[layer.clone(), layer]);
    let refused = pull(&store, &registry.reference("lying:1")).unwrap_err();
    let missing = Digest::of(&lying.layers[1]);
    assert_eq!(message(&refused), format!("layer {missing} is not in the store"));
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn more_layers_than_can_be_mounted_are_refused_at_once() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let layer = tar(&[("a", b"1")]);
    let layers = vec![layer.clone(); 500];
    let made = Made::with(layers.clone(), &serde_json::json!({}));
    registry.push("deep:1", &made, std::slice::from_ref(&layer));
    let text = String::from_utf8(registry_manifest(&made, &layers)).unwrap();
    let reference = registry.reference("deep:1");
    let oci = media_type::OCI_MANIFEST;
    client().push_manifest(&reference, &Credentials::Anonymous, oci, text.as_bytes()).unwrap();
    let refused = pull(&store, &reference).unwrap_err();
    assert_eq!(message(&refused), "max depth exceeded: the image has 500 layers, more than 499");
    assert_eq!(registry.requests(&Digest::of(&layer)), 0);
    let refused = store.load(&made.archive(&["deep:1"])[..], &mut |_| ()).unwrap_err();
    assert!(matches!(refused, Error::TooDeep { count: 500, .. }), "{refused}");
}

fn registry_manifest(made: &Made, layers: &[Vec<u8>]) -> Vec<u8> {
    let describe = |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
    let manifest = knarr_images::Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        config: describe(media_type::OCI_CONFIG, &made.config),
        layers: layers.iter().map(|layer| describe(media_type::OCI_LAYER, layer)).collect(),
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&manifest).unwrap()
}

#[test]
fn an_index_is_what_the_name_means() {
    let (world, registry) = (World::new(), Registry::start());
    let store = Arc::new(world.store());
    let made = Made::of(&[&[("a", b"a")]]);
    let bytes = serde_json::to_vec(&registry.push("a:one", &made, &made.layers)).unwrap();
    let machine = Wanted::host();
    let describe = |platform: Platform| Descriptor {
        platform: Some(platform),
        ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64)
    };
    let index = |platform| Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.into()),
        manifests: vec![describe(platform)],
        annotations: BTreeMap::new(),
    };
    let digest = registry.push_index("a:all", &index(machine.platform().clone()));
    let (id, _) = pull(&store, &registry.reference("a:all")).unwrap();
    let image = store.image(&id).unwrap();
    assert_eq!(image.digests().collect::<Vec<_>>(), [registry.name(&format!("a@{digest}"))]);
    assert_eq!(image.tags().collect::<Vec<_>>(), [registry.name("a:all")]);
    let by_digest = registry.reference(&format!("a@{digest}"));
    assert_eq!(store.resolve(&by_digest.to_string()).unwrap().image, id);
    let foreign = Platform { architecture: "mips64le".into(), ..machine.platform().clone() };
    registry.push_index("a:foreign", &index(foreign));
    let error = pull(&store, &registry.reference("a:foreign")).unwrap_err().to_string();
    assert!(error.starts_with("no matching manifest for linux/"), "{error}");
}

#[test]
fn what_is_pushed_is_what_was_pulled() {
    let (world, registry, other) = (World::new(), Registry::start(), Registry::start());
    let store = Arc::new(world.store());
    let layout = layout_of_umoci(&world);
    let copy = |from: &str, to: &str| {
        let flags =
            ["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--quiet"];
        ok(Command::new("skopeo").args(flags).args([from, to]));
    };
    copy(&format!("oci:{layout}:box"), &registry.url("box:1"));
    let raw = |url: &str| ok(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", url]));
    let (id, _) = pull(&store, &registry.reference("box:1")).unwrap();
    assert_eq!(
        Digest::of(raw(&registry.url("box:1")).as_bytes()),
        store.image(&id).unwrap().record.manifest.digest
    );

    // To the same registry: mounted. To another: uploaded. Twice: nothing to do.
    for (registry, name, words) in [
        (&registry, "team/copy:2", "Mounted from box"),
        (&other, "copy:2", "Pushed"),
        (&other, "copy:2", "Layer already exists"),
    ] {
        store.tag(&id, &registry.reference(name)).unwrap();
        let push = Push { reference: registry.reference(name), credentials: Credentials::Anonymous };
        let mut told = Vec::new();
        let digest = store.push(&client(), &push, &mut |event| told.push(event.to_string())).unwrap();
        assert!(told.iter().any(|line| line.ends_with(words)), "{words}: {told:?}");
        assert_eq!(Digest::of(raw(&registry.url(name)).as_bytes()), digest);
        copy(&registry.url(name), &format!("oci:{layout}:again"));
    }
    let digests = store.image(&id).unwrap().digests().count();
    assert_eq!(digests, 3, "one for each repository");
}

/// A layout with an image of the static busybox.
fn layout_of_umoci(world: &World) -> String {
    let layer = world.path("layer.tar");
    let busybox = fs::read("/bin/busybox").unwrap();
    fs::write(&layer, tar(&[("bin/", b""), ("bin/busybox", &busybox), ("bin/sh -> busybox", b"")])).unwrap();
    let layout = world.path("layout").to_str().unwrap().to_owned();
    let image = format!("{layout}:box");
    let umoci = |args: &[&str]| drop(ok(Command::new("umoci").args(args)));
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    umoci(&["raw", "add-layer", "--image", &image, layer.to_str().unwrap()]);
    umoci(&["config", "--image", &image, "--config.cmd", "/bin/sh"]);
    layout
}

#[test]
fn what_is_saved_is_what_skopeo_reads_and_back() {
    let world = World::new();
    let layout = layout_of_umoci(&world);
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let skopeo = |from: &str, to: &str| {
        ok(Command::new("skopeo").args(["copy", "--insecure-policy", "--quiet", from, to]));
    };
    // An OCI layout that others made.
    ok(Command::new("tar").args(["-C", &layout, "-cf", &path("layout.tar"), "."]));
    world.run(&["load", "--input", &path("layout.tar")]);
    let id = world.store().images().unwrap()[0].id;
    world.run(&["tag", &id.to_string(), "box:1"]);
    world.run(&["save", "box:1", "--output", &path("ours.tar")]);
    // Both of its forms are read by others; the configuration, and so the ID, is the same.
    skopeo(&format!("docker-archive:{}", path("ours.tar")), &format!("dir:{}", path("dir")));
    let config = fs::read(world.path("dir").join(id.hex())).unwrap();
    assert_eq!(Digest::of(&config), id);
    fs::create_dir(world.path("ours")).unwrap();
    ok(Command::new("tar").args(["-C", &path("ours"), "-xf", &path("ours.tar")]));
    skopeo(&format!("oci:{}:1", path("ours")), &format!("docker-archive:{}:box:2", path("theirs.tar")));
    // And what skopeo writes as a Docker archive.
    world.run(&["rm", "box:1"]);
    assert_eq!(world.run(&["load", "--input", &path("theirs.tar")]), "Loaded image: box:2\n");
    assert_eq!(world.store().resolve("box:2").unwrap().image, id);
}

#[test]
fn a_full_disk_is_told_and_leaves_a_whole_store() {
    let (world, registry) = (World::new(), Registry::start());
    let made = Made::of(&[&[("small", b"small")], &[("noise", &noise(9, 24 << 20))]]);
    registry.push("big:1", &made, &made.layers);
    let small = Made::of(&[&[("small", b"small")]]);
    registry.push("small:1", &small, &small.layers);
    let _disk = Disk::mount(world.root(), "size=24m");
    let complaint = world.refuse(&["pull", &registry.name("big:1")]);
    assert!(complaint.contains("No space left on device"), "{complaint}");
    let store = world.store();
    assert_tidy(&world.root());
    assert!(store.images().unwrap().is_empty());
    drop(store);
    world.run(&["pull", &registry.name("small:1")]);
    assert_whole(&world.store());
}

/// A small file system that goes away with the test.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        mount("tmpfs", &at, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_large_layer_is_pulled_in_little_memory() {
    let (world, registry) = (World::new(), Registry::start());
    let made = Made::of(&[&[("noise", &noise(10, 192 << 20))]]);
    registry.push("large:1", &made, &made.layers);
    let peak = peak_kib(&world, &["pull", &registry.name("large:1")]);
    println!("pull of a layer of 192 MiB: {peak} KiB");
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// What a container wrote becomes a layer that another container sees.
#[test]
fn a_commit_is_a_layer_more() {
    let world = World::new();
    let path = world.path("image.tar");
    let made = Made::of(&[&[("keep", b"keep"), ("gone", b"gone")]]);
    fs::write(&path, made.archive(&["base:1"])).unwrap();
    world.run(&["load", "--input", path.to_str().unwrap()]);
    let bundle = world.path("bundle");
    world.run(&["unpack", "base:1", bundle.to_str().unwrap()]);
    fs::write(bundle.join("rootfs/new"), "new").unwrap();
    fs::remove_file(bundle.join("rootfs/gone")).unwrap();
    let id = world.run(&["commit", "bundle", "changed:1", "--message", "why"]);
    let store = world.store();
    let image = store.image(&store.resolve("changed:1").unwrap().image).unwrap();
    assert_eq!((format!("{}\n", image.id), image.record.parent), (id, Some(made.id())));
    assert_eq!(image.record.layers.len(), 2);
    let tree = store.root().join("layers").join(image.record.layers[1].diff_id.hex());
    assert_eq!(fs::read(tree.join("new")).unwrap(), b"new");
    assert!(
        fs::symlink_metadata(tree.join("gone")).is_ok() && fs::symlink_metadata(tree.join("keep")).is_err()
    );
    let config = store.config(&image.id).unwrap();
    let step = config.parts().history.last().unwrap();
    assert_eq!(step.comment.as_deref(), Some("why"));
    assert_whole(&store);
    drop(store);
    world.run(&["release", "bundle"]);
    let nothing = world.path("nothing");
    world.run(&["unpack", "changed:1", nothing.to_str().unwrap()]);
    let id = world.run(&["commit", "nothing"]);
    world.run(&["release", "nothing"]);
    let store = world.store();
    let image = store.image(&id.trim().parse().unwrap()).unwrap();
    assert_eq!(image.record.layers.len(), 2, "no change is no layer");
    assert!(store.config(&image.id).unwrap().parts().history.last().unwrap().empty_layer);
}

#[test]
fn an_import_is_an_image_of_one_layer() {
    let world = World::new();
    let path = world.path("root.tar.xz");
    let plain = world.path("root.tar");
    fs::write(&plain, tar(&[("etc/", b""), ("etc/issue", b"here")])).unwrap();
    ok(Command::new("xz").arg("--keep").arg(&plain));
    let id = world.run(&["import", path.to_str().unwrap(), "mine", "--message", "from a test"]);
    let store = world.store();
    let image = store.image(&id.trim().parse().unwrap()).unwrap();
    assert_eq!(image.tags().collect::<Vec<_>>(), ["mine:latest"]);
    assert_eq!(image.record.layers[0].diff_id, Digest::of(&fs::read(&plain).unwrap()));
    assert_eq!(store.config(&image.id).unwrap().parts().history[0].comment.as_deref(), Some("from a test"));
    assert_whole(&store);
}
