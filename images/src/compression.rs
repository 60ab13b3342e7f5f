//! Compression of archives: told by its magic, never by a media type or a file name; streaming decoders; the gzip encoder.
//!
//! Formats: RFC 1952 (gzip, all members), RFC 8878 (zstd), bzip2 and xz. Memory of a decoder is bounded: zstd by its
//! library (windows up to 128 MiB), xz by [`XZ_MEMORY_KIB`].

use std::io::{self, BufReader, Cursor, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::{Compression as Level, GzBuilder, write::GzEncoder};

const INPUT_BUFFER: usize = 128 * 1024;
/// The longest magic: `BZh`, a level and the magic of the first block.
const LONGEST_MAGIC: usize = 10;
/// KiB. What `xz -9` needs to decode, and a little.
const XZ_MEMORY_KIB: u32 = 80 * 1024;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Judges by the first bytes; ten are enough. What is no known magic is `None`.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // Skippable frames may come first (RFC 8878, 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // A plain archive may begin with a file whose name begins with BZh.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Reads what `input` contains, whatever it is compressed with.
pub struct Decoder<'a> {
    compression: Compression,
    content: Box<dyn Read + Send + 'a>,
}

impl<'a> Decoder<'a> {
    /// Reads the first bytes to see what it is.
    pub fn new(mut input: impl Read + Send + 'a) -> io::Result<Self> {
        let mut start = Vec::with_capacity(LONGEST_MAGIC);
        input.by_ref().take(LONGEST_MAGIC as u64).read_to_end(&mut start)?;
        let compression = Compression::of(&start);
        let whole = Cursor::new(start).chain(input);
        if compression == Compression::None {
            return Ok(Self { compression, content: Box::new(whole) });
        }
        let input = BufReader::with_capacity(INPUT_BUFFER, whole);
        let content: Box<dyn Read + Send + 'a> = match compression {
            Compression::None | Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(input)?),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)),
        };
        Ok(Self { compression, content })
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

/// Compresses into `out`; `finish` writes the end. Equal content gives equal bytes: no name, no time in the header.
pub fn gzip<W: Write>(out: W) -> GzEncoder<W> {
    GzBuilder::new().mtime(0).write(out, Level::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> (Compression, io::Result<Vec<u8>>) {
        let mut decoder = Decoder::new(bytes).unwrap();
        let mut content = Vec::new();
        let result = decoder.read_to_end(&mut content);
        (decoder.compression(), result.map(|_| content))
    }

    fn gzipped(content: &[u8]) -> Vec<u8> {
        let mut encoder = gzip(Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_member_of_a_gzip_file_is_read() {
        let bytes = [gzipped(b"one "), gzipped(b"two")].concat();
        let (compression, content) = decoded(&bytes);
        assert_eq!(compression, Compression::Gzip);
        assert_eq!(content.unwrap(), b"one two");
        assert_eq!(gzipped(b"same"), gzipped(b"same"));
    }

    #[test]
    fn zstd_is_told_from_its_frames() {
        let frame = zstd::encode_all(&b"content"[..], 3).unwrap();
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &frame].concat();
        for bytes in [frame, skippable] {
            let (compression, content) = decoded(&bytes);
            assert_eq!(compression, Compression::Zstd);
            assert_eq!(content.unwrap(), b"content");
        }
    }

    #[test]
    fn what_has_no_magic_is_plain() {
        for bytes in [&b""[..], b"B", b"BZh9 a file name of a plain archive", b"\x1f\x8b"] {
            let (compression, content) = decoded(bytes);
            assert_eq!(compression, Compression::None);
            assert_eq!(content.unwrap(), bytes);
        }
    }

    #[test]
    fn a_truncated_or_damaged_member_is_an_error() {
        let whole = gzipped(b"some content that is long enough");
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(decoded(&whole[..whole.len() - 9]).1.is_err());
        assert!(decoded(&damaged).1.is_err());
    }
}
