//! The content of an entry as a stream: holes read as zeros.

use std::io::{self, Read};

use super::reader::{Piece, Reader};

/// Reads the current entry of a [`Reader`]; made anew for each entry.
pub struct Content<'a, R> {
    reader: &'a mut Reader<R>,
    /// Bytes read so far, and bytes in all.
    position: u64,
    size: u64,
    /// What is read next; its offset is where it began.
    piece: Option<Piece>,
}

impl<R: Read> Reader<R> {
    /// The content of the entry read last, whose `size` is given, from its beginning.
    pub fn content(&mut self, size: u64) -> Content<'_, R> {
        Content { reader: self, position: 0, size, piece: None }
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.size.saturating_sub(self.position).min(buffer.len() as u64);
        if wanted == 0 {
            return Ok(0);
        }
        if self.piece.is_none() {
            self.piece = self.reader.piece().map_err(io::Error::other)?;
        }
        let count = match &self.piece {
            Some(piece) if piece.offset <= self.position => {
                let start = usize::try_from(self.position - piece.offset).map_err(io::Error::other)?;
                let bytes = &piece.bytes[start..];
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if count == bytes.len() {
                    self.piece = None;
                }
                count
            }
            other => {
                let hole = other.as_ref().map_or(wanted, |piece| (piece.offset - self.position).min(wanted));
                let count = usize::try_from(hole).map_err(io::Error::other)?;
                buffer[..count].fill(0);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
