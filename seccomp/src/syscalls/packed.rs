//! The table without pointers, which would have to be relocated at each start of a program, and with half-words.
//!
//! Owns how names and numbers are stored and found; what they are is `table`'s.

use super::table::{TABLE, X};
use crate::abi::{Abi, X32_BIT};

#[expect(clippy::cast_possible_truncation, reason = "the table has some hundred rows")]
pub(super) const ROWS: u16 = TABLE.len() as u16;

/// All names, one behind the other.
static NAMES: [u8; LENGTH] = names();
/// By row: where its name begins; and the end of the last one.
static STARTS: [u16; TABLE.len() + 1] = starts();
/// By row and by column of the table.
static NUMBERS: [[u16; 11]; TABLE.len()] = numbers();

/// Power of two, several times the rows.
const SLOTS: usize = 2048;
/// Open addressing over the names: 0 is a free slot, else the row plus one.
static INDEX: [u16; SLOTS] = index();

/// `X`, packed.
const NONE: u16 = u16::MAX;
/// The numbers of ARM's private calls begin at `__ARM_NR_BASE` (asm/unistd.h); packed, at this.
const ARM_BASE: u32 = 0xf_0000;
const ARM_PACKED: u16 = 0xf000;

/// The row of a name.
pub(super) fn row_named(name: &str) -> Option<u16> {
    let mut slot = hash(name.as_bytes()) & (SLOTS - 1);
    loop {
        let row = INDEX[slot].checked_sub(1)?;
        if bytes_of(row) == name.as_bytes() {
            return Some(row);
        }
        slot = (slot + 1) & (SLOTS - 1);
    }
}

pub(super) fn name_of(row: u16) -> &'static str {
    std::str::from_utf8(bytes_of(row)).unwrap_or_default()
}

fn bytes_of(row: u16) -> &'static [u8] {
    let row = usize::from(row);
    &NAMES[usize::from(STARTS[row])..usize::from(STARTS[row + 1])]
}

pub(super) fn number_of(row: u16, abi: Abi) -> Option<u32> {
    let packed = NUMBERS[usize::from(row)][abi.column()];
    let number = u32::from(packed);
    match abi {
        _ if packed == NONE => None,
        Abi::X32 => Some(X32_BIT | number),
        Abi::Arm if packed >= ARM_PACKED => Some(ARM_BASE | number & 0xfff),
        _ => Some(number),
    }
}

const fn pack(number: u32) -> u16 {
    let packed = match number {
        X => NONE as u32,
        X32_BIT.. => number - X32_BIT,
        ARM_BASE.. => ARM_PACKED as u32 | number & 0xfff,
        _ => number,
    };
    assert!(packed <= NONE as u32);
    #[expect(clippy::cast_possible_truncation, reason = "asserted")]
    let packed = packed as u16;
    packed
}

const LENGTH: usize = {
    let mut length = 0;
    let mut row = 0;
    while row < TABLE.len() {
        length += TABLE[row].0.len();
        row += 1;
    }
    length
};

const fn names() -> [u8; LENGTH] {
    let mut names = [0; LENGTH];
    let mut end = 0;
    let mut row = 0;
    while row < TABLE.len() {
        let name = TABLE[row].0.as_bytes();
        let mut at = 0;
        while at < name.len() {
            names[end] = name[at];
            end += 1;
            at += 1;
        }
        row += 1;
    }
    names
}

const fn starts() -> [u16; TABLE.len() + 1] {
    let mut starts = [0; TABLE.len() + 1];
    let mut row = 0;
    while row < TABLE.len() {
        #[expect(clippy::cast_possible_truncation, reason = "the names have a few thousand bytes")]
        let length = TABLE[row].0.len() as u16;
        starts[row + 1] = starts[row] + length;
        row += 1;
    }
    starts
}

const fn numbers() -> [[u16; 11]; TABLE.len()] {
    let mut numbers = [[NONE; 11]; TABLE.len()];
    let mut row = 0;
    while row < TABLE.len() {
        let mut column = 0;
        while column < 11 {
            numbers[row][column] = pack(TABLE[row].1[column]);
            column += 1;
        }
        row += 1;
    }
    numbers
}

const fn index() -> [u16; SLOTS] {
    let mut index = [0; SLOTS];
    let mut row = 0;
    while row < ROWS {
        let mut slot = hash(TABLE[row as usize].0.as_bytes()) & (SLOTS - 1);
        while index[slot] != 0 {
            slot = (slot + 1) & (SLOTS - 1);
        }
        row += 1;
        index[slot] = row;
    }
    index
}

/// FNV-1a.
const fn hash(bytes: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ (hash >> 15)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name_with_all_its_numbers() {
        for (row, (name, numbers)) in (0..).zip(&TABLE) {
            assert_eq!(row_named(name), Some(row), "{name}");
            assert_eq!(name_of(row), *name);
            let found = Abi::ALL.map(|abi| number_of(row, abi).unwrap_or(X));
            assert_eq!(found, *numbers, "{name}");
        }
    }

    #[test]
    fn names_nobody_has_are_not_found() {
        for name in ["", "reads", "READ", "rea", "no_such_call"] {
            assert_eq!(row_named(name), None, "{name}");
        }
    }
}
