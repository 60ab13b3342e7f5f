//! What is told of images: history, sizes, tags, imports.

use knarr_images::commit::Commit;
use knarr_images::import::Import;
use knarr_images::registry::Credentials;
use knarr_images::{Platform, Reference};

use crate::archives::{Made, tar};
use crate::registry::{Registry, client};
use crate::world::World;

#[test]
fn a_history_goes_back_to_the_images_it_was_committed_from() {
    let world = World::new();
    let store = world.store();
    let made = Made::of(&[&[("a", b"12345")], &[("b", b"123")]]);
    let id = store.load(&made.archive(&["a:1", "a:2"])[..], &mut |_| ()).unwrap()[0];
    store.prepare("one", &id, "").unwrap();
    let commit = Commit {
        message: Some("why".into()),
        names: vec![Reference::parse("child").unwrap().or_latest()],
        ..Commit::default()
    };
    let child = store.commit("one", &commit).unwrap();
    let steps = store.history(&child).unwrap();
    assert_eq!(steps.iter().map(|step| step.size).collect::<Vec<_>>(), [0, 3, 5]);
    assert_eq!(steps.iter().map(|step| step.image).collect::<Vec<_>>(), [Some(child), Some(id), None]);
    assert_eq!((steps[0].step.comment.as_deref(), steps[0].step.empty_layer), (Some("why"), true));
    assert_eq!(steps[0].tags, ["child:latest"]);
    assert_eq!(steps[1].tags, ["a:1", "a:2"]);
    assert_eq!(steps[1].step.created_by.as_deref(), Some("step 1"));
}

#[test]
fn what_images_take_is_told_without_looking_at_files() {
    let world = World::new();
    let store = world.store();
    let id = store.load(&Made::of(&[&[("a", b"12345")]]).archive(&["a:1"])[..], &mut |_| ()).unwrap()[0];
    store.prepare("one", &id, "").unwrap();
    store.prepare("two", &id, "").unwrap();
    let usage = store.images_usage().unwrap();
    assert_eq!((usage.images[&id].size, usage.images[&id].shared, usage.images[&id].snapshots), (5, 0, 2));
    assert_eq!(usage.layers, 5);
}

#[test]
fn a_name_given_here_has_a_time() {
    let world = World::new();
    let store = world.store();
    let id = store.load(&Made::of(&[&[("a", b"")]]).archive(&["a:1"])[..], &mut |_| ()).unwrap()[0];
    assert_eq!(store.image(&id).unwrap().record.tagged, None);
    store.tag(&id, &Reference::parse("b:1").unwrap()).unwrap();
    assert!(store.image(&id).unwrap().record.tagged.unwrap().ends_with('Z'));
}

#[test]
fn an_import_is_what_it_is_said_to_be() {
    let world = World::new();
    let store = world.store();
    let platform = Platform {
        architecture: "arm".into(),
        os: "linux".into(),
        variant: Some("v7".into()),
        os_version: None,
        os_features: Vec::new(),
    };
    let import = Import {
        message: "Imported from -".into(),
        process: Some(serde_json::json!({ "Cmd": ["x"], "Env": ["A=b"] })),
        platform: Some(platform.clone()),
        names: Vec::new(),
    };
    let id = store.import(&tar(&[("a", b"1")])[..], &import).unwrap();
    let config = store.config(&id).unwrap();
    let parts = config.parts();
    assert_eq!(parts.platform, platform);
    assert_eq!(
        (parts.config.cmd.as_slice(), parts.config.env.as_slice()),
        (&["x".to_owned()][..], &["A=b".to_owned()][..])
    );
    assert_eq!(parts.history[0].comment.as_deref(), Some("Imported from -"));
}

#[test]
fn all_tags_of_a_repository_are_listed() {
    let registry = Registry::start();
    let made = Made::of(&[&[("a", b"1")]]);
    for tag in ["team/a:1", "team/a:2", "team/a:3"] {
        registry.push(tag, &made, &made.layers);
    }
    let tags = |name: &str| {
        let mut found = client().tags(&registry.reference(name), &Credentials::Anonymous)?;
        found.sort();
        Ok::<_, knarr_images::registry::Error>(found)
    };
    let expected: Vec<Reference> =
        ["team/a:1", "team/a:2", "team/a:3"].iter().map(|name| registry.reference(name)).collect();
    assert_eq!(tags("team/a").unwrap(), expected);
    let unknown = tags("team/b").unwrap_err().to_string();
    assert!(unknown.starts_with("repository ") && unknown.ends_with("/team/b not found"), "{unknown}");
}
