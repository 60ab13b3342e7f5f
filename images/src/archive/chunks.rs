//! The archive as chunks whose parts can be handed to other threads without copying.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::header::{BLOCK, Block};

/// Fits into a core's second-level cache: what is inflated is hashed and copied from there. A multiple of a block, so that
/// a header lies in one chunk.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Part of a chunk. The chunk is used again when its last part is gone.
#[derive(Clone)]
pub(crate) struct Bytes {
    chunk: Arc<Chunk>,
    start: usize,
    end: usize,
}

struct Chunk {
    bytes: Box<[u8]>,
    home: Sender<Box<[u8]>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // There is no home any more when the reader ended first.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk.bytes[self.start..self.end]
    }
}

impl Bytes {
    /// The first `length` bytes, or all; they are gone from `self`.
    fn split_off_front(&mut self, length: usize) -> Self {
        let end = self.end.min(self.start.saturating_add(length));
        let front = Self { chunk: Arc::clone(&self.chunk), start: self.start, end };
        self.start = end;
        front
    }
}

/// Reads `input` chunk by chunk.
pub(super) struct Chunks<R> {
    input: R,
    current: Bytes,
    filled: u64,
    offset: u64,
    /// Met after the bytes of the current chunk.
    failure: Option<io::Error>,
    home: Sender<Box<[u8]>>,
    returned: Receiver<Box<[u8]>>,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(input: R) -> Self {
        let (home, returned) = channel();
        let chunk = Arc::new(Chunk { bytes: Box::default(), home: home.clone() });
        let current = Bytes { chunk, start: 0, end: 0 };
        Self { input, current, filled: 0, offset: 0, failure: None, home, returned }
    }

    /// Bytes from the beginning of the archive.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Chunks read so far.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }

    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// At most `most` bytes; none at the end.
    pub(super) fn take(&mut self, most: u64) -> io::Result<Option<Bytes>> {
        if self.current.is_empty() && most > 0 {
            self.fill()?;
        }
        let bytes = self.current.split_off_front(usize::try_from(most).unwrap_or(usize::MAX));
        self.offset += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// `None` at the end; an end within the block is an error.
    pub(super) fn block(&mut self) -> io::Result<Option<Block>> {
        let mut block = [0; BLOCK];
        let mut length = 0;
        while length < BLOCK {
            match self.take((BLOCK - length) as u64)? {
                Some(bytes) => {
                    block[length..length + bytes.len()].copy_from_slice(&bytes);
                    length += bytes.len();
                }
                None if length == 0 => return Ok(None),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(Some(block))
    }

    fn fill(&mut self) -> io::Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        // What is left of the old chunk is nothing: let it go before a buffer is looked for.
        let nothing = Arc::new(Chunk { bytes: Box::default(), home: self.home.clone() });
        self.current = Bytes { chunk: nothing, start: 0, end: 0 };
        let spare = self.returned.try_iter().find(|buffer| !buffer.is_empty());
        let mut bytes = spare.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        let mut end = 0;
        while end < bytes.len() {
            match self.input.read(&mut bytes[end..]) {
                Ok(0) => break,
                Ok(count) => end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read before is read first, so that an error names the entry where it is.
                Err(error) if end > 0 => {
                    self.failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.filled += 1;
        self.current = Bytes { chunk: Arc::new(Chunk { bytes, home: self.home.clone() }), start: 0, end };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_when_their_parts_are_gone() {
        let content = vec![7_u8; 3 * CHUNK + 10];
        let mut chunks = Chunks::new(&content[..]);
        let first = chunks.take(u64::MAX).unwrap().unwrap();
        assert_eq!(first.len(), CHUNK);
        let address = first.as_ptr();
        let second = chunks.take(5).unwrap().unwrap();
        drop(first);
        chunks.take(u64::MAX).unwrap();
        let third = chunks.take(1).unwrap().unwrap();
        assert_eq!(third.as_ptr(), address, "the buffer of the first chunk");
        assert_eq!(&second[..], [7; 5]);
        while chunks.take(u64::MAX).unwrap().is_some() {}
        assert_eq!(chunks.offset(), content.len() as u64);
    }

    #[test]
    fn a_block_is_whole_or_an_error() {
        let content = vec![1_u8; BLOCK + 1];
        let mut chunks = Chunks::new(&content[..]);
        assert_eq!(chunks.block().unwrap(), Some([1; BLOCK]));
        assert_eq!(chunks.block().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Chunks::new(&b""[..]).block().unwrap(), None);
    }
}
