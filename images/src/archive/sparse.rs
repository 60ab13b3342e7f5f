//! Maps of sparse files: which bytes of a file an archive holds (GNU tar manual, "Storing Sparse Files").

use super::header::{BLOCK, Block};
use super::number;

/// Maps are kept in memory: so many extents are accepted.
pub(super) const MOST_EXTENTS: usize = 1 << 16;

const IN_HEADER: usize = 386;
const EXTENTS_IN_HEADER: usize = 4;
const MORE_AFTER_HEADER: usize = 482;
const REAL_SIZE: std::ops::Range<usize> = 483..495;
const EXTENTS_IN_BLOCK: usize = 21;
const MORE_AFTER_BLOCK: usize = 504;
const NUMBER: usize = 12;

/// Bytes of a file that are stored; what no extent covers is a hole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

pub(super) const TOO_MANY: &str = "its sparse map is too long";
const DEFECT: &str = "its sparse map is malformed";

/// Checks order, overlap and sums; extents without bytes are dropped.
pub(super) fn check(mut map: Vec<Extent>, size: u64, stored: u64) -> Result<Vec<Extent>, &'static str> {
    if map.len() > MOST_EXTENTS {
        return Err(TOO_MANY);
    }
    let mut end = 0;
    let mut sum = 0_u64;
    for extent in &map {
        if extent.offset < end {
            return Err("its sparse map overlaps");
        }
        end = extent.offset.checked_add(extent.length).ok_or(DEFECT)?;
        sum = sum.checked_add(extent.length).ok_or(DEFECT)?;
    }
    if end > size || sum != stored {
        return Err("its sparse map does not add up");
    }
    map.retain(|extent| extent.length > 0);
    Ok(map)
}

/// The old GNU form, begun in the header.
pub(super) struct OldMap {
    pub(super) extents: Vec<Extent>,
    pub(super) size: u64,
    /// Another block of extents follows.
    pub(super) continues: bool,
}

impl OldMap {
    pub(super) fn from_header(block: &Block) -> Result<Self, &'static str> {
        let size =
            number::field(&block[REAL_SIZE]).and_then(|size| u64::try_from(size).ok()).ok_or(DEFECT)?;
        let mut map = Self { extents: Vec::new(), size, continues: block[MORE_AFTER_HEADER] != 0 };
        map.read(&block[IN_HEADER..], EXTENTS_IN_HEADER)?;
        Ok(map)
    }

    pub(super) fn go_on(&mut self, block: &Block) -> Result<(), &'static str> {
        self.continues = block[MORE_AFTER_BLOCK] != 0;
        self.read(block, EXTENTS_IN_BLOCK)
    }

    fn read(&mut self, fields: &[u8], count: usize) -> Result<(), &'static str> {
        for pair in fields.chunks_exact(2 * NUMBER).take(count) {
            // An unused pair is all NUL.
            if pair[0] == 0 {
                break;
            }
            let number =
                |bytes| number::field(bytes).and_then(|value| u64::try_from(value).ok()).ok_or(DEFECT);
            self.extents.push(Extent { offset: number(&pair[..NUMBER])?, length: number(&pair[NUMBER..])? });
        }
        if self.extents.len() > MOST_EXTENTS { Err(TOO_MANY) } else { Ok(()) }
    }
}

/// Version 1.0: the map is text in front of the content, padded to a block.
#[derive(Default)]
pub(super) struct TextMap {
    line: Vec<u8>,
    numbers: Vec<u64>,
    /// Numbers that the first line announces.
    announced: Option<usize>,
}

impl TextMap {
    /// Takes one block; true when the map is complete and the content begins.
    pub(super) fn go_on(&mut self, block: &[u8; BLOCK]) -> Result<bool, &'static str> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            if *byte == b'\n' {
                let number = number::decimal(&self.line).ok_or(DEFECT)?;
                self.line.clear();
                self.take(number)?;
            } else {
                self.line.push(*byte);
            }
            // A u64 has at most twenty digits.
            if self.line.len() > 20 {
                return Err(DEFECT);
            }
        }
        Ok(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.announced == Some(self.numbers.len())
    }

    fn take(&mut self, number: u64) -> Result<(), &'static str> {
        if self.announced.is_some() {
            self.numbers.push(number);
            return Ok(());
        }
        let extents = usize::try_from(number).ok().filter(|extents| *extents <= MOST_EXTENTS);
        self.announced = Some(2 * extents.ok_or(TOO_MANY)?);
        Ok(())
    }

    pub(super) fn extents(self) -> Vec<Extent> {
        self.numbers.chunks_exact(2).map(|pair| Extent { offset: pair[0], length: pair[1] }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn maps_must_add_up() {
        let map = vec![extent(0, 5), extent(10, 5), extent(20, 0)];
        assert_eq!(check(map.clone(), 20, 10).unwrap(), [extent(0, 5), extent(10, 5)]);
        assert!(check(map.clone(), 14, 10).is_err(), "beyond the end");
        assert!(check(map, 20, 11).is_err(), "more stored than mapped");
        assert!(check(vec![extent(5, 5), extent(0, 5)], 20, 10).is_err(), "out of order");
        assert!(check(vec![extent(0, 5), extent(4, 5)], 20, 10).is_err(), "overlap");
        assert!(check(vec![extent(u64::MAX, 2)], u64::MAX, 2).is_err(), "overflow");
    }

    #[test]
    fn a_text_map_ends_with_its_last_number() {
        let mut block = [0; BLOCK];
        block[..11].copy_from_slice(b"2\n0\n5\n10\n5\n");
        let mut map = TextMap::default();
        assert!(!TextMap::default().go_on(&[b'\n'; BLOCK]).is_ok_and(|done| done));
        assert!(map.go_on(&block).unwrap());
        assert_eq!(map.extents(), [extent(0, 5), extent(10, 5)]);
        assert!(TextMap::default().go_on(&[b'1'; BLOCK]).is_err(), "an endless number");
    }
}
