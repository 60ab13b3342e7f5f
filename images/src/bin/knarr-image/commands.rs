//! One function a command: flags to one or two calls of the library.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use knarr_images::commit::Commit;
use knarr_images::import::Import;
use knarr_images::progress::{Event, Stage};
use knarr_images::store::{Access, Prune, Removal, Removed, WhenBusy};
use knarr_images::{Error, Reference, Store};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::{Value, json};

use crate::cli::{Command, Options};
use crate::failure::Failure;
use crate::{bundle, list, registry, users};

type Result<T> = std::result::Result<T, Failure>;

/// In a bundle, where runtimes look for it.
const ROOTFS: &str = "rootfs";

pub(crate) fn run(options: &Options, command: &Command) -> Result<()> {
    let store = Arc::new(Store::open(&options.root, WhenBusy::Wait)?);
    match command {
        Command::Pull { image, platform } => registry::pull(options, store, image, platform.as_deref()),
        Command::Push { image } => registry::push(options, &store, image),
        Command::List => say(&list::images(&store)?),
        Command::Inspect { image } => inspect(&store, image),
        Command::History { image } => say(&list::history(&store, image)?),
        Command::Tag { image, name } => {
            let image = store.resolve(image)?.image;
            Ok(store.tag(&image, &to_tag(name)?)?)
        }
        Command::Remove { images, force } => remove(&store, images, *force),
        Command::Save { images, output } => save(&store, images, output.as_deref()),
        Command::Load { input } => load(options, &store, input.as_deref()),
        Command::Import { file, name, message } => import(&store, file, name.as_deref(), message.as_deref()),
        Command::Unpack { image, bundle, id } => unpack(&store, image, bundle, id.as_deref()),
        Command::Release { id } => release(&store, id),
        Command::Commit { id, name, message, author } => {
            let names = name.as_deref().map(to_tag).transpose()?.into_iter().collect();
            let commit =
                Commit { author: author.clone(), message: message.clone(), names, ..Commit::default() };
            say(&format!("{}\n", store.commit(id, &commit)?))
        }
        Command::Space => say(&list::space(&store)?),
        Command::Collect { prune } => collect(&store, prune.as_deref()),
    }
}

fn say(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

/// A name that can be given: with a tag, `latest` if none is written.
fn to_tag(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?;
    match reference.digest() {
        Some(_) => Err(Failure::Usage(format!("{text}: a digest is not given but found"))),
        None => Ok(reference.or_latest()),
    }
}

/// Prints events, each stage of a layer once.
pub(crate) fn reporter(options: &Options) -> impl FnMut(&Event) {
    let quiet = options.quiet;
    let mut last = std::collections::HashMap::new();
    move |event| {
        let repeats = match event {
            Event::Layer { blob, stage } => {
                let kind = std::mem::discriminant::<Stage>(stage);
                last.insert(*blob, kind) == Some(kind)
            }
            _ => false,
        };
        if !quiet && !repeats {
            // A reader that has gone away does not stop the work.
            let _ = match event {
                Event::Layer { blob, stage } => writeln!(io::stdout(), "{:.12}: {stage}", blob.hex()),
                event => writeln!(io::stdout(), "{event}"),
            };
        }
    }
}

fn inspect(store: &Store, name: &str) -> Result<()> {
    let image = store.image(&store.resolve(name)?.image)?;
    let config = store.config(&image.id)?;
    let what = "image configuration";
    let parsed: Value =
        serde_json::from_slice(config.bytes()).map_err(|source| Error::Json { what, source })?;
    let layers: Vec<Value> = image
        .record
        .layers
        .iter()
        .map(|layer| json!({ "diffID": layer.diff_id, "blob": layer.blob }))
        .collect();
    let text = json!({
        "id": image.id,
        "tags": image.tags().collect::<Vec<_>>(),
        "digests": image.digests().collect::<Vec<_>>(),
        "parent": image.record.parent,
        "manifest": image.record.manifest,
        "layers": layers,
        "config": parsed,
    });
    say(&format!("{text:#}\n"))
}

fn remove(store: &Store, names: &[String], force: bool) -> Result<()> {
    // Which snapshots belong to running containers only an engine knows.
    let removal = Removal { force, parents: true, runs: &|_| false };
    for name in names {
        say(&removed_lines(&store.remove_image(name, &removal)?))?;
    }
    Ok(())
}

fn removed_lines(removed: &[Removed]) -> String {
    let line = |one: &Removed| match one {
        Removed::Untagged(name) => format!("Untagged: {name}\n"),
        Removed::Deleted(digest) => format!("Deleted: {digest}\n"),
    };
    removed.iter().map(line).collect()
}

fn collect(store: &Store, prune: Option<&str>) -> Result<()> {
    let which = match prune {
        None => None,
        Some("dangling") => Some(Prune::Dangling),
        Some("unused") => Some(Prune::Unused),
        Some(other) => return Err(Failure::Usage(format!("--prune {other}: want dangling or unused"))),
    };
    if let Some(which) = which {
        say(&removed_lines(&store.prune(which, &|_| false)?))?;
    }
    let swept = store.sweep()?;
    say(&format!(
        "{} blobs, {} layers, {} downloads, {} bytes\n",
        swept.blobs, swept.layers, swept.downloads, swept.bytes
    ))
}

fn save(store: &Store, names: &[String], output: Option<&Path>) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let out: Box<dyn Write> = match output {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(File::create(path).map_err(at("create", path))?),
    };
    Ok(store.save(&names, BufWriter::with_capacity(1 << 20, out))?)
}

fn load(options: &Options, store: &Store, input: Option<&Path>) -> Result<()> {
    store.load(open_input(input)?, &mut reporter(options))?;
    Ok(())
}

fn import(store: &Store, file: &Path, name: Option<&str>, message: Option<&str>) -> Result<()> {
    let source = (file != Path::new("-")).then_some(file);
    let shown = source.map_or("-".into(), |path| path.display().to_string());
    let message = message.map_or_else(|| format!("Imported from {shown}"), str::to_owned);
    let names = name.map(to_tag).transpose()?.into_iter().collect();
    let id = store.import(open_input(source)?, &Import { message, names, ..Import::default() })?;
    say(&format!("{id}\n"))
}

fn open_input(path: Option<&Path>) -> Result<Box<dyn Read + Send>> {
    Ok(match path {
        None => Box::new(io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(at("open", path))?),
    })
}

/// A bundle whose root file system is a snapshot; the snapshot's owner is the bundle's path.
fn unpack(store: &Store, name: &str, folder: &Path, id: Option<&str>) -> Result<()> {
    let image = store.resolve(name)?.image;
    let rootfs = folder.join(ROOTFS);
    DirBuilder::new().recursive(true).mode(0o700).create(&rootfs).map_err(at("create", &rootfs))?;
    let folder = folder.canonicalize().map_err(at("resolve", folder))?;
    let own = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let snapshot = store.prepare(id.unwrap_or(&own), &image, &folder.to_string_lossy())?;
    let made = fill(store, &snapshot, &folder);
    if made.is_err() {
        // The failure is the answer; what is left of the snapshot can be released by name.
        let _ = store.remove_snapshot(&snapshot.id);
    }
    made
}

fn fill(store: &Store, snapshot: &knarr_images::store::Snapshot, folder: &Path) -> Result<()> {
    let config = store.config(&snapshot.image)?;
    let root = store.view(snapshot, Access::Writable)?;
    let identity = users::resolve(root.as_fd(), &config.parts().config.user)?;
    let path = folder.join("config.json");
    fs::write(&path, format!("{:#}\n", bundle::config(&config, &identity))).map_err(at("write", &path))?;
    let rootfs = folder.join(ROOTFS);
    store.attach(&root, File::open(&rootfs).map_err(at("open", &rootfs))?)?;
    Ok(())
}

fn release(store: &Store, id: &str) -> Result<()> {
    let rootfs = PathBuf::from(store.snapshot(id)?.owner).join(ROOTFS);
    match unmount(&rootfs, UnmountFlags::NOFOLLOW) {
        // It is not mounted any more, or not in this mount namespace.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        unmounted => unmounted.map_err(|errno| at("unmount", &rootfs)(errno.into()))?,
    }
    Ok(store.remove_snapshot(id)?)
}

fn at<'a>(act: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Failure + 'a {
    move |source| Failure::File { act, path: path.to_owned(), source }
}
