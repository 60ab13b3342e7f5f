//! Archives of every form, and those that no honest program writes.

use std::io::Write as _;

use knarr_images::archive::{Entry, Kind, Writer};
use knarr_images::{Digest, Error};
use serde_json::json;

use crate::archives::{Made, tar, tar_of};
use crate::world::{World, assert_tidy, assert_whole};

fn made() -> Made {
    Made::of(&[&[("low", b"low")], &[("high", b"high")]])
}

fn loaded(archive: &[u8]) -> Result<Vec<Digest>, Error> {
    let world = World::new();
    let store = world.store();
    let loaded = store.load(archive, &mut |_| ());
    assert_whole(&store);
    assert_tidy(&world.root());
    loaded
}

#[test]
fn entries_come_in_any_order_and_compressed() {
    let made = made();
    let mut files = made.files(&["a:1"]);
    assert_eq!(loaded(&tar_of(&files)).unwrap(), [made.id()]);
    files.reverse();
    assert_eq!(loaded(&tar_of(&files)).unwrap(), [made.id()]);
    let mut encoder = knarr_images::compression::gzip(Vec::new());
    encoder.write_all(&tar_of(&files)).unwrap();
    assert_eq!(loaded(&encoder.finish().unwrap()).unwrap(), [made.id()]);
}

#[test]
fn a_layer_may_be_a_link_to_another_and_compressed() {
    let same = tar(&[("same", b"same")]);
    let made = Made::with(vec![same.clone(), same], &json!({}));
    let files = made.files(&["a:1"]);
    let config = (files[0].0.as_str(), files[0].1.as_slice());
    let manifest = ("manifest.json", files[3].1.as_slice());
    let mut encoder = knarr_images::compression::gzip(Vec::new());
    encoder.write_all(&files[1].1).unwrap();
    let layer = encoder.finish().unwrap();
    let archive = tar(&[config, manifest, ("1/layer.tar -> ../0/layer.tar", b""), ("0/layer.tar", &layer)]);
    assert_eq!(loaded(&archive).unwrap(), [made.id()]);
}

#[test]
fn what_is_saved_is_loaded_with_the_same_digests() {
    let (world, other) = (World::new(), World::new());
    let store = world.store();
    let made = made();
    store.load(&made.archive(&["a:1", "a:2", "b:1"])[..], &mut |_| ()).unwrap();
    let mut archive = Vec::new();
    store.save(&["a"], &mut archive).unwrap();
    let copy = other.store();
    let mut events = Vec::new();
    copy.load(&archive[..], &mut |event| events.push(event.to_string())).unwrap();
    assert_eq!(events, ["Loaded image: a:1", "Loaded image: a:2"]);
    let (image, copied) = (store.image(&made.id()).unwrap(), copy.image(&made.id()).unwrap());
    assert_eq!(image.record.manifest, copied.record.manifest);
    assert_eq!(image.record.layers, copied.record.layers);
    let mut again = Vec::new();
    copy.save(&["a"], &mut again).unwrap();
    assert!(archive == again, "the same images are the same archive");
    assert_whole(&copy);
}

#[test]
fn an_image_without_a_name_is_saved_without_one() {
    let world = World::new();
    let store = world.store();
    let made = made();
    store.load(&made.archive(&["a:1"])[..], &mut |_| ()).unwrap();
    let mut archive = Vec::new();
    store.save(&[&made.id().hex()[..12]], &mut archive).unwrap();
    let mut events = Vec::new();
    World::new().store().load(&archive[..], &mut |event| events.push(event.to_string())).unwrap();
    assert_eq!(events, [format!("Loaded image ID: {}", made.id())]);
    assert!(matches!(store.save(&["nothing"], Vec::new()), Err(Error::NoSuchImage(_))));
}

/// The archive with one file replaced, or without it.
fn altered(name: &str, content: Option<&[u8]>) -> Vec<u8> {
    let mut files = made().files(&["a:1"]);
    let place = files.iter().position(|(one, _)| one == name).unwrap();
    match content {
        Some(content) => files[place].1 = content.to_vec(),
        None => drop(files.remove(place)),
    }
    tar_of(&files)
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let other = tar(&[("other", b"other")]);
    let manifest = |text: serde_json::Value| altered("manifest.json", Some(text.to_string().as_bytes()));
    let config = format!("{}.json", made().id().hex());
    for (archive, complaint) in [
        (altered("1/layer.tar", Some(&other)), "layers from manifest don't match image configuration"),
        (altered("1/layer.tar", None), "is missing from the archive"),
        (altered(&config, None), "is missing from the archive"),
        (altered(&config, Some(b"{")), "read the image configuration"),
        (altered("manifest.json", Some(b"{}")), "read the manifest.json"),
        (altered("manifest.json", None), "neither a manifest.json nor an index.json"),
        (
            manifest(json!([{ "Config": config, "Layers": ["0/layer.tar"] }])),
            "layers from manifest don't match",
        ),
        (manifest(json!([{ "Config": config, "RepoTags": ["A:1"], "Layers": [] }])), "must be lowercase"),
        (manifest(json!([{ "Config": config, "RepoTags": ["a"], "Layers": [] }])), "invalid tag"),
        (manifest(json!([{ "Config": "../../etc/passwd", "Layers": [] }])), "leads out of the archive"),
        (manifest(json!([{ "Config": "/etc/passwd", "Layers": [] }])), "is an absolute path"),
    ] {
        let error = loaded(&archive).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error:?} is not about {complaint:?}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let entry = |entry: &Entry| {
        let mut writer = Writer::new(Vec::new());
        writer.entry(entry).unwrap();
        writer.finish().unwrap()
    };
    let link = |kind, target: &str| Entry { link: target.into(), ..Entry::new("a/b", kind, 0o777) };
    for hostile in [
        Entry::new("../a", Kind::File, 0o644),
        Entry::new("/a", Kind::File, 0o644),
        Entry::new("a/../../b", Kind::File, 0o644),
        link(Kind::Symlink, "../../../etc/shadow"),
        link(Kind::Symlink, "/etc/shadow"),
        link(Kind::HardLink, "../etc/shadow"),
        Entry::new("a", Kind::Fifo, 0o644),
        Entry::new("a", Kind::CharDevice, 0o644),
    ] {
        let error = loaded(&entry(&hostile)).unwrap_err();
        assert!(matches!(error, Error::LoadEntry { .. }), "{error}");
    }
    let name = format!("{}.json", made().id().hex());
    let circle = tar(&[("manifest.json -> a", b""), ("a -> manifest.json", b""), (&name, b"{}")]);
    assert!(matches!(loaded(&circle), Err(Error::LoadEntry { .. })));
}

#[test]
fn a_description_that_is_too_long_is_not_read() {
    let long = vec![b' '; 9 << 20];
    let error = loaded(&altered("manifest.json", Some(&long))).unwrap_err().to_string();
    assert!(error.contains("is too long to be a description"), "{error}");
}

#[test]
fn an_archive_that_ends_early_leaves_nothing() {
    let archive = made().archive(&["a:1"]);
    for length in [0, 1, 511, 512, 700, 2000, archive.len() - 1536] {
        assert!(loaded(&archive[..length]).is_err(), "{length} bytes");
    }
}
