//! The archive uncompressed, hashed on the way and stopped at its limits.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Limits;
use crate::compression::Decoder;
use crate::{Digest, Hasher};

pub(super) struct Stream<'a> {
    decoder: Decoder<'a>,
    hasher: Hasher,
    /// Bytes that the decoder has read.
    compressed: Arc<AtomicU64>,
    limits: Limits,
}

#[derive(Debug, thiserror::Error)]
enum Excess {
    #[error("the archive has more than {0} bytes uncompressed")]
    Size(u64),
    #[error("the archive is more than {0} times as large uncompressed")]
    Ratio(u64),
}

struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(archive: impl Read + Send + 'a, limits: Limits) -> io::Result<Self> {
        let compressed = Arc::new(AtomicU64::new(0));
        let decoder = Decoder::new(Counted { input: archive, count: Arc::clone(&compressed) })?;
        Ok(Self { decoder, hasher: Hasher::new(), compressed, limits })
    }

    /// The digest and the length of what was read.
    pub(super) fn finish(self) -> (Digest, u64) {
        let length = self.hasher.length();
        (self.hasher.finish(), length)
    }

    fn check(&self) -> Result<(), Excess> {
        let (length, limits) = (self.hasher.length(), &self.limits);
        let compressed = self.compressed.load(Ordering::Relaxed);
        if length > limits.uncompressed {
            return Err(Excess::Size(limits.uncompressed));
        }
        if length > limits.ratio_floor && length > compressed.saturating_mul(limits.ratio) {
            return Err(Excess::Ratio(limits.ratio));
        }
        Ok(())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What was read is given out before it is judged, so that the entry that goes too far has a name.
        self.check().map_err(io::Error::other)?;
        let count = self.decoder.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
