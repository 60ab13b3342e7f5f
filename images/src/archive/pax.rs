//! PAX extended headers (POSIX pax(1) "pax Extended Header"), with the `GNU.sparse` and `SCHILY.xattr` vendors' records.
//!
//! Records that cannot be applied to a file (comments, names of owners, change times) are known and passed over, as every
//! reader of layers does: owners are numbers.

use super::number;
use super::sparse::{Extent, MOST_EXTENTS, TOO_MANY};
use super::{Time, Xattr};

const XATTR: &[u8] = b"SCHILY.xattr.";
/// Global records add up over an archive: so many, of so many bytes.
const MOST_XATTRS: usize = 256;
const MOST_XATTR_BYTES: usize = 1 << 20;

/// What the records of one extended header say.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// The three PAX forms of sparse files, as far as records say it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// Versions 0.1 and 1.0: `path` holds a made-up name.
    pub(super) name: Option<Vec<u8>>,
    /// The size with its holes.
    pub(super) size: Option<u64>,
    /// Versions 0.0 and 0.1: the map.
    pub(super) map: Option<Vec<Extent>>,
    /// Version 0.0: an offset whose length comes with the next record.
    offset: Option<u64>,
}

impl Records {
    /// Reads `LENGTH KEYWORD=VALUE\n` until the text ends; later records win.
    pub(super) fn read(&mut self, mut text: &[u8]) -> Result<(), &'static str> {
        while !text.is_empty() && text[0] != 0 {
            let (record, rest) = split_record(text).ok_or("a record of its extended header is malformed")?;
            let equals = record.iter().position(|byte| *byte == b'=');
            let equals = equals.ok_or("a record of its extended header has no keyword")?;
            self.set(&record[..equals], &record[equals + 1..])?;
            text = rest;
        }
        Ok(())
    }

    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match keyword {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link = name(value)?,
            b"size" => self.size = optional(value, number::decimal, "its size is no number")?,
            b"uid" => self.uid = optional(value, id, "its user id is no number")?,
            b"gid" => self.gid = optional(value, id, "its group id is no number")?,
            b"mtime" => self.mtime = optional(value, time, "its modification time is none")?,
            b"atime" => self.atime = optional(value, time, "its access time is none")?,
            _ => match (keyword.strip_prefix(XATTR), keyword.strip_prefix(b"GNU.sparse.")) {
                (Some(attribute), _) => self.set_xattr(attribute, value)?,
                (_, Some(keyword)) => self.sparse.set(keyword, value)?,
                _ => {}
            },
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if name.is_empty() || name.contains(&0) {
            return Err("the name of an extended attribute is none");
        }
        self.xattrs.retain(|xattr| xattr.name != name);
        let bytes: usize = self.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        if self.xattrs.len() >= MOST_XATTRS || bytes + name.len() + value.len() > MOST_XATTR_BYTES {
            return Err("its extended attributes are too large");
        }
        self.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const DEFECT: &str = "its sparse map is malformed";
        let count = number::decimal(value);
        match keyword {
            b"name" => self.name = name(value)?,
            b"major" => self.major = Some(count.ok_or(DEFECT)?),
            b"minor" => self.minor = Some(count.ok_or(DEFECT)?),
            b"size" | b"realsize" => self.size = Some(count.ok_or(DEFECT)?),
            // The map says it as well.
            b"numblocks" => {}
            b"offset" => self.offset = Some(count.ok_or(DEFECT)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(DEFECT)?;
                let map = self.map.get_or_insert_default();
                if map.len() >= MOST_EXTENTS {
                    return Err(TOO_MANY);
                }
                map.push(Extent { offset, length: count.ok_or(DEFECT)? });
            }
            b"map" => self.map = Some(read_map(value).ok_or(DEFECT)?),
            _ => return Err("its form of sparse files is unknown"),
        }
        Ok(())
    }
}

/// `OFFSET,LENGTH,OFFSET,LENGTH`
fn read_map(text: &[u8]) -> Option<Vec<Extent>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut numbers = text.split(|byte| *byte == b',').map(number::decimal);
    let mut extents = Vec::new();
    while let Some(offset) = numbers.next() {
        extents.push(Extent { offset: offset?, length: numbers.next()?? });
    }
    Some(extents)
}

/// The record without its length and newline, and what follows it.
fn split_record(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::decimal(&text[..space])?).ok()?;
    let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, &text[length..]))
}

/// An empty value undoes the keyword.
fn name(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("a name in its extended header contains a NUL");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn optional<T>(
    value: &[u8],
    read: fn(&[u8]) -> Option<T>,
    defect: &'static str,
) -> Result<Option<T>, &'static str> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some).ok_or(defect) }
}

fn id(value: &[u8]) -> Option<i64> {
    i64::try_from(number::decimal(value)?).ok()
}

fn time(value: &[u8]) -> Option<Time> {
    number::time(value).map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

/// Appends one record; its length counts itself.
pub(super) fn write_record(out: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(keyword);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The keyword of an extended attribute.
pub(super) fn xattr_keyword(name: &[u8]) -> Vec<u8> {
    [XATTR, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Result<Records, &'static str> {
        let mut records = Records::default();
        records.read(text).map(|()| records)
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 5, 90, 91, 92, 93, 94, 95, 988, 989, 990, 991, 9_000] {
            let mut text = Vec::new();
            let value = b"v".repeat(length);
            write_record(&mut text, b"path", &value);
            write_record(&mut text, b"uid", b"7");
            let read = records(&text).unwrap();
            assert_eq!(read.path.unwrap(), value, "{length}");
            assert_eq!(read.uid, Some(7));
        }
    }

    fn text(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut text = Vec::new();
        for (keyword, value) in records {
            write_record(&mut text, keyword.as_bytes(), value);
        }
        text
    }

    #[test]
    fn values_may_hold_newlines_and_be_undone() {
        let value = b"1\n2\0\n9 uid=1\n";
        let text =
            text(&[("SCHILY.xattr.user.a", value), ("path", b"before"), ("path", b""), ("uname", b"x")]);
        let read = records(&text).unwrap();
        assert_eq!(read.xattrs, [Xattr { name: b"user.a".to_vec(), value: value.to_vec() }]);
        assert_eq!((read.path, read.uid), (None, None));
    }

    #[test]
    fn one_entry_cannot_fill_the_memory_with_attributes() {
        let mut read = Records::default();
        let outcome =
            (0..=MOST_XATTRS).try_for_each(|number| read.set_xattr(number.to_string().as_bytes(), b""));
        assert!(outcome.is_err());
        let large = vec![0; MOST_XATTR_BYTES];
        assert!(records(&text(&[("SCHILY.xattr.user.a", &large)])).is_err());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "path=x\n",
            "99 path=x\n",
            "9 path=x ",
            "0 path=x\n",
            "1 \n",
            "4 a\n",
            "99999999999999999999 path=x\n",
        ] {
            assert!(records(text.as_bytes()).is_err(), "{text:?}");
        }
        let cases: [(&str, &[u8]); 7] = [
            ("path", b"a\0b"),
            ("uid", b"-1"),
            ("size", b"0x1"),
            ("mtime", b"today"),
            ("GNU.sparse.map", b"1"),
            ("GNU.sparse.numbytes", b"1"),
            ("GNU.sparse.x", b"1"),
        ];
        for (keyword, value) in cases {
            assert!(records(&text(&[(keyword, value)])).is_err(), "{keyword}");
        }
    }

    #[test]
    fn sparse_maps() {
        let read = records(&text(&[("GNU.sparse.map", b"1,2,7,0")])).unwrap();
        let map = vec![Extent { offset: 1, length: 2 }, Extent { offset: 7, length: 0 }];
        assert_eq!(read.sparse.map, Some(map));
        let read = records(&text(&[("GNU.sparse.offset", b"10"), ("GNU.sparse.numbytes", b"5")])).unwrap();
        assert_eq!(read.sparse.map, Some(vec![Extent { offset: 10, length: 5 }]));
    }
}
