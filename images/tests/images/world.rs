//! What every test has: a folder of its own, a store in it, and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use knarr_images::store::WhenBusy;
use knarr_images::{Digest, Store};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount and make devices: run them as root");
        Self { folder: TempDir::with_prefix("knarr-images-").expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("store")
    }

    /// Waits: a process that another test starts has all descriptors for a moment, and with them the lock.
    pub(crate) fn store(&self) -> Store {
        Store::open(&self.root(), WhenBusy::Wait).expect("the store opens")
    }

    /// The program with this world's store.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knarr-image"));
        command.arg("--root").arg(self.root()).args(args);
        command
    }

    /// What the program prints when it succeeds.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        ok(&mut self.program(args))
    }

    /// What the program complains of when it fails.
    pub(crate) fn refuse(&self, args: &[&str]) -> String {
        let output = self.program(args).output().expect("the program starts");
        assert!(!output.status.success(), "{args:?} succeeded: {}", text(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Runs a command that must succeed: its standard output.
#[track_caller]
pub(crate) fn ok(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Every image on record is whole: each blob has the digest that is its name, and each layer's tree is there with as many
/// bytes as its record says.
#[track_caller]
pub(crate) fn assert_whole(store: &Store) {
    let root = store.root();
    for image in store.images().expect("images") {
        let layers = image.record.layers.iter();
        for blob in layers.map(|layer| layer.blob.digest).chain([image.id, image.record.manifest.digest]) {
            let path = root.join("blobs/sha256").join(blob.hex());
            let bytes = std::fs::read(&path).expect("a blob of an image on record");
            assert_eq!(Digest::of(&bytes), blob, "{}", path.display());
        }
        for layer in &image.record.layers {
            let record =
                store.layer(&layer.diff_id).expect("records").expect("a layer of an image on record");
            let tree = root.join("layers").join(layer.diff_id.hex());
            assert_eq!(bytes_in(&tree), record.size, "{}", tree.display());
        }
    }
}

/// Nothing is half made or half removed.
#[track_caller]
pub(crate) fn assert_tidy(root: &Path) {
    for folder in ["ingest", "layers", "snapshots"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder of the store") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with('.'), "{folder}/{name} is left");
        }
    }
}

/// Lengths of the regular files of a tree.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("metadata");
            match metadata.is_dir() {
                true => bytes_in(&entry.path()),
                false if metadata.is_file() => metadata.len(),
                false => 0,
            }
        })
        .sum()
}
