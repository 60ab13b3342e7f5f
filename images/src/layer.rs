//! A layer's archive becomes an unpacked tree, and its content is what the image configuration says it is.

use std::io::{self, Read};
use std::os::fd::AsFd as _;

use rustix::process::geteuid;

use crate::compression::Decoder;
use crate::store::{Finished, UnpackedTree};
use crate::unpack::{self, Policy};
use crate::{Digest, Error, Hasher, Result, Store};

/// overlayfs takes 500 (`OVL_MAX_STACK`), of which a read-only view of a snapshot needs one for what was written to it.
const MOST: usize = 499;

/// Refuses an image of more layers than can be mounted, before any of them is fetched or unpacked.
pub(crate) fn check_depth(count: usize) -> Result<()> {
    if count > MOST { Err(Error::TooDeep { count, most: MOST }) } else { Ok(()) }
}

/// Unpacks an archive, compressed or not. `expected` is the diffID, if it is known.
pub(crate) fn unpack(
    store: &Store,
    archive: impl Read + Send,
    expected: Option<&Digest>,
) -> Result<(Digest, UnpackedTree)> {
    if !geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let tree = store.new_tree()?;
    let policy = Policy { privileges: store.privileges(), ..Policy::default() };
    let applied = unpack::layer(archive, tree.root().as_fd(), &policy)?;
    check(expected, applied.diff_id)?;
    let unpack::Applied { diff_id, content: size, entries, has_root, .. } = applied;
    Ok((diff_id, UnpackedTree { tree, size, entries, has_root }))
}

/// Reads an archive and unpacks nothing: for a layer that is there, and comes in another form.
pub(crate) fn verify(archive: impl Read + Send, expected: &Digest) -> Result<()> {
    let mut hasher = Hasher::new();
    let read = Decoder::new(archive).and_then(|mut content| io::copy(&mut content, &mut hasher));
    read.map_err(Error::Decompress)?;
    check(Some(expected), hasher.finish())
}

fn check(expected: Option<&Digest>, found: Digest) -> Result<()> {
    match expected {
        Some(expected) if *expected != found => Err(Error::DiffId { expected: *expected, found }),
        _ => Ok(()),
    }
}

/// Unpacks a blob that is in the store and puts the layer on record. Returns its diffID.
pub(crate) fn unpack_blob(store: &Store, blob: &Digest, expected: Option<&Digest>) -> Result<Digest> {
    if let Some(expected) = expected
        && let Some(layer) = store.layer(expected)?
    {
        if !layer.blobs.contains(blob) {
            verify(store.open_blob(blob)?, expected)?;
            store.publish(Finished { diff_id: *expected, blob: *blob, download: None, tree: None })?;
        }
        return Ok(*expected);
    }
    let (diff_id, tree) = unpack(store, store.open_blob(blob)?, expected)?;
    let _hold = store.hold(diff_id);
    store.publish(Finished { diff_id, blob: *blob, download: None, tree: Some(tree) })?;
    Ok(diff_id)
}
