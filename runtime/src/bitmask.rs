//! A set of CPUs or NUMA nodes as the kernel takes it: an array of words, as long as it needs to be.
//!
//! Owns the text form too (cpuset(7), "List format").

use std::fmt::{self, Write as _};

/// The highest number a list may name: no kernel is built for more CPUs (`NR_CPUS`) or nodes.
const LAST: u32 = 8191;
const WORD: u32 = u64::BITS;

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bitmask {
    words: Vec<u64>,
}

impl Bitmask {
    /// Every number a kernel can know.
    pub(crate) fn full() -> Self {
        Self { words: vec![u64::MAX; ((LAST + 1) / WORD) as usize] }
    }

    /// Reads `0-3,7`; spaces around an element and empty elements are allowed, as in runc.
    ///
    /// # Errors
    /// A text that names the rule: a number that is none or above 8191, a range that runs backwards, no number at all.
    pub(crate) fn from_list(list: &str) -> Result<Self, String> {
        let mut mask = Self::default();
        for element in list.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            let (first, last) = element.split_once('-').unwrap_or((element, element));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("invalid range: {element}"));
            }
            (first..=last).for_each(|bit| mask.insert(bit));
        }
        if mask.words.is_empty() {
            return Err(format!("no members found in set {list:?}"));
        }
        Ok(mask)
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// How many numbers are in the set.
    pub(crate) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    fn insert(&mut self, bit: u32) {
        let word = (bit / WORD) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (bit % WORD);
    }
}

/// The mask as one number, as taskset(1) writes it.
impl fmt::LowerHex for Bitmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = String::new();
        self.words.iter().rev().try_for_each(|word| write!(digits, "{word:016x}"))?;
        let digits = digits.trim_start_matches('0');
        f.pad_integral(true, "0x", if digits.is_empty() { "0" } else { digits })
    }
}

fn number(text: &str) -> Result<u32, String> {
    // `parse` takes a leading plus, the list format does not.
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    match number {
        Some(number) if number <= LAST => Ok(number),
        Some(_) => Err(format!("values larger than {LAST} are not supported")),
        None => Err(format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_words() {
        let cases: &[(&str, &[u64])] = &[
            ("0", &[1]),
            ("0-3,7", &[0b1000_1111]),
            (" 1 ,, 2,", &[0b110]),
            ("63-64", &[1 << 63, 1]),
            ("3,3,1-3", &[0b1110]),
            ("128", &[0, 0, 1]),
        ];
        for (list, words) in cases {
            assert_eq!(Bitmask::from_list(list).map(|mask| mask.words), Ok(words.to_vec()), "{list}");
        }
    }

    #[test]
    fn the_highest_number_fits_and_the_next_does_not() {
        assert_eq!(Bitmask::from_list("0-8191"), Ok(Bitmask::full()));
        assert_eq!(Bitmask::from_list("8192"), Err("values larger than 8191 are not supported".into()));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in ["", " , ", "a", "1-", "-1", "3-1", "1-2-3", "+1", "0x1", "99999999999"] {
            assert!(Bitmask::from_list(list).is_err(), "{list:?} was taken");
        }
    }

    #[test]
    fn a_mask_is_written_as_one_number() {
        for (list, number) in [("0-1", "0x3"), ("1", "0x2"), ("64", "0x10000000000000000"), ("4", "0x10")] {
            assert_eq!(
                Bitmask::from_list(list).map(|mask| format!("{mask:#x}")),
                Ok(number.into()),
                "{list}"
            );
        }
        assert_eq!(format!("{:x}", Bitmask::default()), "0");
    }

    #[test]
    fn members_are_counted() {
        assert_eq!(Bitmask::from_list("0-3,70").map(|mask| mask.len()), Ok(5));
    }
}
