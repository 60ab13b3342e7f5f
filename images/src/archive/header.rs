//! The 512 bytes before each entry (POSIX pax(1) "ustar Interchange Format"; the GNU, star and V7 variants of tar(5)).

use super::number;
use super::{Kind, Time};

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..263;
const MAJOR: std::ops::Range<usize> = 329..337;
const MINOR: std::ops::Range<usize> = 337..345;
const PREFIX: std::ops::Range<usize> = 345..500;
/// star keeps access and change times where the prefix ends.
const STAR_PREFIX: std::ops::Range<usize> = 345..476;
const STAR_TRAILER: std::ops::Range<usize> = 508..512;

/// What a header is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Entry(Kind),
    /// Old GNU form: the map begins in the header.
    SparseFile,
    /// A directory whose content is a listing (`tar --incremental`).
    Listing,
    Pax,
    GlobalPax,
    LongName,
    LongLink,
    /// A label, which is no file.
    Label,
}

/// A header whose checksum was right.
pub(super) struct Header<'a>(&'a Block);

impl<'a> Header<'a> {
    /// The error says what is wrong.
    pub(super) fn new(block: &'a Block) -> Result<Self, &'static str> {
        let stored = number::field(&block[CHECKSUM]).ok_or("its checksum is no number")?;
        let outside =
            block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
        // Some writers summed signed characters.
        let (unsigned, signed) = outside.fold((0_i64, 0_i64), |(unsigned, signed), byte| {
            (unsigned + i64::from(byte), signed + i64::from(byte.cast_signed()))
        });
        if stored != unsigned && stored != signed {
            return Err("its checksum is wrong: this is no tar archive, or it is damaged");
        }
        Ok(Self(block))
    }

    pub(super) fn purpose(&self) -> Result<Purpose, &'static str> {
        Ok(match self.0[TYPE] {
            0 | b'0' | b'7' => Purpose::Entry(Kind::File),
            b'1' => Purpose::Entry(Kind::HardLink),
            b'2' => Purpose::Entry(Kind::Symlink),
            b'3' => Purpose::Entry(Kind::CharDevice),
            b'4' => Purpose::Entry(Kind::BlockDevice),
            b'5' => Purpose::Entry(Kind::Directory),
            b'6' => Purpose::Entry(Kind::Fifo),
            b'D' => Purpose::Listing,
            b'K' => Purpose::LongLink,
            b'L' => Purpose::LongName,
            b'S' => Purpose::SparseFile,
            b'V' => Purpose::Label,
            b'X' | b'x' => Purpose::Pax,
            b'g' => Purpose::GlobalPax,
            _ => return Err("its type is unknown"),
        })
    }

    fn name_field(&self) -> &'a [u8] {
        text(&self.0[NAME])
    }

    /// Name and prefix joined.
    pub(super) fn name(&self) -> Vec<u8> {
        let is_ustar = &self.0[MAGIC] == b"ustar\0";
        let is_star = &self.0[STAR_TRAILER] == b"tar\0";
        let prefix = match (is_ustar, is_star) {
            (true, true) => text(&self.0[STAR_PREFIX]),
            (true, false) => text(&self.0[PREFIX]),
            (false, _) => b"",
        };
        if prefix.is_empty() {
            self.name_field().to_vec()
        } else {
            [prefix, b"/", self.name_field()].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[LINK]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, &'static str> {
        let mode = number::field(&self.0[MODE]).ok_or("its mode is no number")?;
        u32::try_from(mode & 0o7777).map_err(|_| "its mode is no number")
    }

    pub(super) fn uid(&self) -> Result<i64, &'static str> {
        number::field(&self.0[UID]).ok_or("its user id is no number")
    }

    pub(super) fn gid(&self) -> Result<i64, &'static str> {
        number::field(&self.0[GID]).ok_or("its group id is no number")
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        let size = number::field(&self.0[SIZE]).ok_or("its size is no number")?;
        u64::try_from(size).map_err(|_| "its size is negative")
    }

    pub(super) fn mtime(&self) -> Result<Time, &'static str> {
        let seconds = number::field(&self.0[MTIME]).ok_or("its time is no number")?;
        Ok(Time { seconds, nanoseconds: 0 })
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> Result<(u32, u32), &'static str> {
        let part = |bytes| number::field(bytes).and_then(|number| u32::try_from(number).ok());
        part(&self.0[MAJOR]).zip(part(&self.0[MINOR])).ok_or("its device number is none")
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// An entry to be written, as far as USTAR goes. The fields that do not fit are for PAX records.
pub(super) struct Fields<'a> {
    pub(super) name: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) type_flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) device: (u32, u32),
}

/// The widest number of seven, and of eleven, octal digits.
pub(super) const WIDEST_ID: u64 = 0o7_777_777;
pub(super) const WIDEST_SIZE: u64 = 0o77_777_777_777;

impl Fields<'_> {
    /// Names are cut and numbers become zero where they do not fit.
    pub(super) fn to_block(&self) -> Block {
        let mut block = [0; BLOCK];
        let (prefix, name) = split_name(self.name).unwrap_or((b"", self.name));
        put(&mut block[NAME], name);
        put(&mut block[PREFIX], prefix);
        put(&mut block[LINK], self.link);
        put_octal(&mut block[MODE], self.mode.into());
        put_octal(&mut block[UID], if self.uid <= WIDEST_ID { self.uid } else { 0 });
        put_octal(&mut block[GID], if self.gid <= WIDEST_ID { self.gid } else { 0 });
        put_octal(&mut block[SIZE], if self.size <= WIDEST_SIZE { self.size } else { 0 });
        let mtime = u64::try_from(self.mtime).ok().filter(|mtime| *mtime <= WIDEST_SIZE);
        put_octal(&mut block[MTIME], mtime.unwrap_or(0));
        block[TYPE] = self.type_flag;
        put(&mut block[MAGIC.start..MAGIC.end + 2], b"ustar\x0000");
        put_octal(&mut block[MAJOR], self.device.0.into());
        put_octal(&mut block[MINOR], self.device.1.into());
        block[CHECKSUM].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        put_octal(&mut block[CHECKSUM.start..CHECKSUM.end - 1], sum);
        block
    }
}

/// Prefix and name at the last `/` where both fit; `None` when there is no such place.
pub(super) fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME.len() {
        return Some((b"", name));
    }
    let earliest = name.len() - NAME.len() - 1;
    let slash = (earliest..name.len() - 1).find(|at| name[*at] == b'/')?;
    (slash > 0 && slash <= PREFIX.len()).then(|| (&name[..slash], &name[slash + 1..]))
}

fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Octal digits to the width of the field less a NUL.
fn put_octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    put(field, format!("{number:0width$o}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_both_halves_fit() {
        let deep = [b"p".repeat(100), b"/".to_vec(), b"n".repeat(100)].concat();
        let (prefix, name) = split_name(&deep).unwrap();
        assert_eq!((prefix.len(), name.len()), (100, 100));
        assert!(split_name(&b"n".repeat(101)).is_none());
        assert!(split_name(&[b"p".repeat(156), b"/n".to_vec()].concat()).is_none());
        let folder = [b"p".repeat(60), b"/".to_vec(), b"n".repeat(60), b"/".to_vec()].concat();
        assert_eq!(split_name(&folder).unwrap().0, &b"p".repeat(60)[..]);
    }

    #[test]
    fn a_checksum_of_signed_characters_is_right_too() {
        let fields = Fields {
            name: b"caf\xe9",
            link: b"",
            type_flag: b'0',
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
        };
        let mut block = fields.to_block();
        assert!(Header::new(&block).is_ok());
        let unsigned = number::field(&block[CHECKSUM]).unwrap();
        put_octal(&mut block[CHECKSUM.start..CHECKSUM.end - 1], u64::try_from(unsigned - 256).unwrap());
        assert_eq!(Header::new(&block).unwrap().name(), b"caf\xe9");
        block[0] = b'x';
        assert!(Header::new(&block).is_err());
    }
}
