//! A file that one thread appends to while another reads it: the download and its unpacking.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex};

use crate::mutex::{lock, wait};

/// How much of the file may be read, and whether more will come.
#[derive(Default)]
pub(super) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    length: u64,
    end: End,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// All is there, and is what was asked for.
    Complete,
    /// The writer gave up.
    Broken,
}

impl Growth {
    /// The first `length` bytes are in the file.
    pub(super) fn grow_to(&self, length: u64) {
        lock(&self.state).length = length;
        self.changed.notify_all();
    }

    pub(super) fn end(&self, good: bool) {
        lock(&self.state).end = if good { End::Complete } else { End::Broken };
        self.changed.notify_all();
    }

    pub(super) fn is_complete(&self) -> bool {
        lock(&self.state).end == End::Complete
    }

    /// Waits until more than `position` bytes are there, or all: the number of bytes there are.
    fn beyond(&self, position: u64) -> io::Result<u64> {
        let mut state = lock(&self.state);
        loop {
            match state.end {
                End::Broken => return Err(io::Error::other("the download has ended early")),
                _ if state.length > position => return Ok(state.length),
                End::Complete => return Ok(position),
                End::Open => state = wait(&self.changed, state),
            }
        }
    }
}

/// Reads the file from its beginning.
pub(super) struct Follower<'a, F: FnMut(u64)> {
    pub(super) file: File,
    pub(super) growth: &'a Growth,
    pub(super) position: u64,
    /// Told the position now and then.
    pub(super) on_progress: F,
}

impl<F: FnMut(u64)> Read for Follower<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.growth.beyond(self.position)? - self.position;
        let most = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let length = self.file.read(&mut buffer[..most])?;
        self.position += length as u64;
        (self.on_progress)(self.position);
        Ok(length)
    }
}
