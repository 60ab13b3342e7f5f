//! Removing images as `docker rmi` does: what is said, and what stands in the way.

use knarr_images::store::{Prune, Removal, Removed};
use knarr_images::{Digest, Error, Reference, Store, chain};

use crate::archives::Made;
use crate::world::World;

fn load(store: &Store, made: &Made, tags: &[&str]) -> Digest {
    store.load(&made.archive(tags)[..], &mut |_| ()).unwrap()[0]
}

fn two_layers() -> Made {
    Made::of(&[&[("low", b"low")], &[("high", b"high")]])
}

fn remove(store: &Store, name: &str, force: bool, runs: bool) -> Result<Vec<String>, String> {
    let removal = Removal { force, parents: true, runs: &|_| runs };
    let line = |one: Removed| match one {
        Removed::Untagged(name) => format!("Untagged: {name}"),
        Removed::Deleted(digest) => format!("Deleted: {digest}"),
    };
    match store.remove_image(name, &removal) {
        Ok(removed) => Ok(removed.into_iter().map(line).collect()),
        Err(error @ (Error::Conflict(_) | Error::NoSuchImage(_))) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

fn short(id: Digest) -> String {
    id.hex()[..12].to_owned()
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let world = World::new();
    let store = world.store();
    let made = two_layers();
    let id = load(&store, &made, &["a:1", "a:2", "b:1"]);
    assert_eq!(remove(&store, "a:1", false, false).unwrap(), ["Untagged: a:1"]);
    assert_eq!(remove(&store, "a:2", false, false).unwrap(), ["Untagged: a:2"]);
    let chains = chain::ids(made.layers.iter().map(|layer| Digest::of(layer)));
    let lines = [
        "Untagged: b:1".into(),
        format!("Deleted: {id}"),
        format!("Deleted: {}", chains[1]),
        format!("Deleted: {}", chains[0]),
    ];
    assert_eq!(remove(&store, "b:1", false, false).unwrap(), lines);
    assert_eq!(remove(&store, "b:1", false, false).unwrap_err(), "No such image: b:1");
    assert_eq!(remove(&store, "b", false, false).unwrap_err(), "No such image: b:latest");
    let usage = store.usage().unwrap();
    assert_eq!((usage.images.layers, usage.blobs), (0, 0));
}

#[test]
fn an_id_goes_with_its_names_if_they_are_of_one_repository() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers(), &["a:1"]);
    assert_eq!(
        remove(&store, &short(id), false, false).unwrap()[..2],
        ["Untagged: a:1".to_owned(), format!("Deleted: {id}")]
    );

    let id = load(&store, &two_layers(), &["a:1", "b:1"]);
    let conflict = format!(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        short(id)
    );
    assert_eq!(remove(&store, &short(id), false, false).unwrap_err(), conflict);
    let lines = remove(&store, &id.to_string(), true, false).unwrap();
    assert_eq!(lines[..3], ["Untagged: a:1".to_owned(), "Untagged: b:1".into(), format!("Deleted: {id}")]);
}

#[test]
fn what_containers_use_stays() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers(), &["a:1"]);
    store.prepare("0123456789abcdef", &id, "").unwrap();
    let image = short(id);
    let why = |text: &str| format!("conflict: unable to {text}");
    assert_eq!(
        remove(&store, "a:1", false, false).unwrap_err(),
        why(&format!(
            "remove repository reference \"a:1\" (must force) - container 0123456789ab is using its referenced image {image}"
        ))
    );
    assert_eq!(
        remove(&store, &image, false, false).unwrap_err(),
        why(&format!(
            "delete {image} (must be forced) - image is being used by stopped container 0123456789ab"
        ))
    );
    assert_eq!(
        remove(&store, &image, true, true).unwrap_err(),
        why(&format!(
            "delete {image} (cannot be forced) - image is being used by running container 0123456789ab"
        ))
    );
    // The name goes, the image stays for the container that runs.
    assert_eq!(remove(&store, "a:1", true, true).unwrap(), ["Untagged: a:1"]);
    assert!(store.image(&id).is_ok());
    assert_eq!(remove(&store, &image, true, false).unwrap()[0], format!("Deleted: {id}"));
    assert!(store.image(&id).is_err());
}

#[test]
fn a_shared_layer_is_not_reported_as_deleted() {
    let world = World::new();
    let store = world.store();
    let made = two_layers();
    let id = load(&store, &made, &["a:1"]);
    load(&store, &Made::of(&[&[("low", b"low")], &[("other", b"other")]]), &["b:1"]);
    let chains = chain::ids(made.layers.iter().map(|layer| Digest::of(layer)));
    let lines = remove(&store, "a:1", false, false).unwrap();
    assert_eq!(lines, ["Untagged: a:1".into(), format!("Deleted: {id}"), format!("Deleted: {}", chains[1])]);
    assert_eq!(store.images_usage().unwrap().layers, 8);
}

#[test]
fn a_name_that_moves_leaves_a_dangling_image() {
    let world = World::new();
    let store = world.store();
    let old = load(&store, &two_layers(), &["a:1"]);
    let new = Made::of(&[&[("new", b"new")]]);
    let mut events = Vec::new();
    store.load(&new.archive(&["a:1"])[..], &mut |event| events.push(event.to_string())).unwrap();
    let renamed = format!("The image a:1 already exists, renaming the old one with ID {old} to empty string");
    assert_eq!(events, [renamed, "Loaded image: a:1".into()]);
    store.tag(&new.id(), &Reference::parse("kept").unwrap()).unwrap();
    store.prepare("user", &new.id(), "").unwrap();
    let pruned = store.prune(Prune::Dangling, &|_| false).unwrap();
    assert_eq!(pruned[0], Removed::Deleted(old));
    assert_eq!(store.prune(Prune::Unused, &|_| false).unwrap(), []);
    store.remove_snapshot("user").unwrap();
    let pruned = store.prune(Prune::Unused, &|_| false).unwrap();
    assert_eq!(pruned[..2], [Removed::Untagged("a:1".into()), Removed::Untagged("kept:latest".into())]);
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn names_are_resolved_as_docker_does() {
    let world = World::new();
    let store = world.store();
    let id = load(&store, &two_layers(), &["host.example:5000/team/a:latest"]);
    for name in [
        "host.example:5000/team/a",
        "host.example:5000/team/a:latest",
        &id.to_string(),
        &id.hex(),
        &short(id),
        &id.hex()[..3],
    ] {
        assert_eq!(store.resolve(name).unwrap().image, id, "{name}");
    }
    for name in ["team/a", "a", "", "zzz", "host.example:5000/team/a:2"] {
        assert!(matches!(store.resolve(name), Err(Error::NoSuchImage(_))), "{name}");
    }
}
