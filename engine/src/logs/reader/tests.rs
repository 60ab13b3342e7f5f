//! Logs as the monitor writes them, read while they are, and after.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;

const ALL: LogQuery = LogQuery {
    stdout: true,
    stderr: true,
    since: None,
    until: None,
    tail: None,
    follow: false,
    timestamps: false,
    details: false,
};

/// An entry of stdout, or of stderr behind a `!`, in a second of its own. A line that goes on has no newline.
fn encoded(format: Format, second: i64, text: &str) -> Vec<u8> {
    let (stream, text) = text.strip_prefix('!').map_or(("stdout", text), |text| ("stderr", text));
    match format {
        Format::JsonFile => {
            let time = Timestamp::from_second(second).unwrap();
            let log = serde_json::to_string(text).unwrap();
            format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n").into_bytes()
        }
        Format::Local => {
            let (text, goes_on) = text.strip_suffix('\n').map_or((text, true), |text| (text, false));
            let mut message = vec![0x0a, 6];
            message.extend(stream.as_bytes());
            message.push(0x10);
            let mut time = u64::try_from(second).unwrap() * 1_000_000_000;
            while time >= 0x80 {
                message.push(u8::try_from(time & 0x7f).unwrap() | 0x80);
                time >>= 7;
            }
            message.push(u8::try_from(time).unwrap());
            message.extend([0x1a, u8::try_from(text.len()).unwrap()]);
            message.extend(text.as_bytes());
            if goes_on {
                message.extend([0x20, 1]);
            }
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            [&length[..], &message, &length].concat()
        }
    }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Files of a log, the oldest first; all but the last are put aside, the first one compressed.
fn write_files(folder: &Path, format: Format, files: &[&[&str]]) -> PathBuf {
    let path = folder.join("log");
    let mut second = 0;
    for (index, entries) in files.iter().enumerate() {
        let number = files.len() - 1 - index;
        let mut bytes = Vec::new();
        for entry in *entries {
            second += 1;
            bytes.extend(encoded(format, second, entry));
        }
        if number == 0 {
            fs::write(&path, bytes).unwrap();
        } else if index == 0 {
            let file = File::create(folder.join(format!("log.{number}.gz"))).unwrap();
            let mut encoder = knarr_images::compression::gzip(file);
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
        } else {
            fs::write(folder.join(format!("log.{number}")), bytes).unwrap();
        }
    }
    path
}

fn open(format: Format, path: &Path, query: LogQuery) -> Reader {
    Reader::open(format, path.to_owned(), query, Framing::Raw, None).unwrap()
}

fn rest(reader: &mut Reader) -> (String, Progress) {
    let mut text = Vec::new();
    loop {
        let mut out = Vec::new();
        let progress = reader.read(&mut out).unwrap();
        text.extend(out);
        if progress != Progress::More {
            return (String::from_utf8(text).unwrap(), progress);
        }
    }
}

fn whole(format: Format, path: &Path, query: LogQuery) -> String {
    let (text, progress) = rest(&mut open(format, path, query));
    assert_eq!(progress, Progress::End);
    text
}

#[test]
fn all_files_are_read_and_the_last_lines_are_found_in_any() {
    for format in [Format::JsonFile, Format::Local] {
        let folder = tempfile::tempdir().unwrap();
        let files: [&[&str]; 4] =
            [&["a\n", "b\n", "!c\n"], &["d\n", "lo"], &["ng\n", "!e\n"], &["f\n", "g\n", "prompt"]];
        let path = write_files(folder.path(), format, &files);
        let lines = ["a\n", "b\n", "c\n", "d\n", "long\n", "e\n", "f\n", "g\n", "prompt"];
        assert_eq!(whole(format, &path, ALL), lines.concat());
        for tail in 0..=12 {
            let want = lines[lines.len().saturating_sub(tail)..].concat();
            let query = LogQuery { tail: Some(tail as u64), ..ALL };
            assert_eq!(whole(format, &path, query), want, "{format:?}, {tail}");
        }
    }
}

#[test]
fn streams_and_times_narrow_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_files(folder.path(), Format::JsonFile, &[&["a\n", "!b\n", "c\n", "!d\n", "e\n"]]);
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    for (query, want) in [
        (LogQuery { stderr: false, ..ALL }, "a\nc\ne\n"),
        (LogQuery { stdout: false, ..ALL }, "b\nd\n"),
        (LogQuery { since: at(3), ..ALL }, "c\nd\ne\n"),
        (LogQuery { until: at(3), ..ALL }, "a\nb\nc\n"),
        (LogQuery { since: at(2), until: at(4), stdout: false, ..ALL }, "b\nd\n"),
        (LogQuery { timestamps: true, tail: Some(1), ..ALL }, "1970-01-01T00:00:05.000000000Z e\n"),
    ] {
        assert_eq!(whole(Format::JsonFile, &path, query.clone()), want, "{query:?}");
    }
}

#[test]
fn what_is_damaged_or_unfinished_is_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let json = |text| encoded(Format::JsonFile, 1, text);
    append(&path, &[&json("a\n")[..], b"\0\0\0\0\n", &json("b\n"), b"{\"log\":\"half"].concat());
    assert_eq!(whole(Format::JsonFile, &path, ALL), "a\nb\n");
    assert_eq!(whole(Format::JsonFile, &path, LogQuery { tail: Some(2), ..ALL }), "a\nb\n");
    fs::remove_file(&path).unwrap();
    let local = |text| encoded(Format::Local, 1, text);
    append(&path, &[&local("a\n")[..], &local("b\n"), &local("c\n")[..9]].concat());
    assert_eq!(whole(Format::Local, &path, ALL), "a\nb\n");
    assert_eq!(whole(Format::Local, &path, LogQuery { tail: Some(1), ..ALL }), "b\n");
    fs::write(&path, [0xff; 40]).unwrap();
    assert!(open(Format::Local, &path, ALL).read(&mut Vec::new()).is_err());
    assert_eq!(whole(Format::JsonFile, &folder.path().join("none"), ALL), "");
}

#[test]
fn the_end_of_a_huge_file_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // Two gigabytes of nothing before the last lines.
    File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let mut bytes = b"\n".to_vec();
    (0..100).for_each(|number| bytes.extend(encoded(Format::JsonFile, number, &format!("{number}\n"))));
    append(&path, &bytes);
    let begin = std::time::Instant::now();
    assert_eq!(whole(Format::JsonFile, &path, LogQuery { tail: Some(2), ..ALL }), "98\n99\n");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

/// A container's turns, and a reader that follows its log.
struct Followed {
    folder: tempfile::TempDir,
    turns: watch::Sender<Turn>,
    reader: Reader,
    runtime: tokio::runtime::Runtime,
}

impl Followed {
    fn new(tail: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, encoded(Format::JsonFile, 1, "first\n")).unwrap();
        let turns = watch::Sender::new(Turn { running: true, ..Turn::default() });
        let query = LogQuery { follow: true, tail, ..ALL };
        let reader =
            Reader::open(Format::JsonFile, path, query, Framing::Raw, Some(turns.subscribe())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { folder, turns, reader, runtime }
    }

    fn write(&self, second: i64, text: &str) {
        append(&self.folder.path().join("log"), &encoded(Format::JsonFile, second, text));
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.folder.path().join(from), self.folder.path().join(to)).unwrap();
    }

    /// Reads, and waits, until as much text has come, or the end.
    fn read(&mut self, length: usize) -> (String, Progress) {
        let limit = Duration::from_secs(20);
        let reader = &mut self.reader;
        self.runtime.block_on(async {
            tokio::time::timeout(limit, async {
                let mut text = String::new();
                loop {
                    let (more, progress) = rest(reader);
                    text.push_str(&more);
                    if text.len() >= length || progress == Progress::End {
                        return (text, progress);
                    }
                    reader.changed().await;
                }
            })
            .await
            .expect("nothing came")
        })
    }
}

#[test]
fn what_is_written_comes_until_the_container_stops() {
    let mut followed = Followed::new(None);
    assert_eq!(followed.read(6), ("first\n".to_owned(), Progress::Idle));
    followed.write(2, "second\n");
    followed.write(3, "!third\n");
    assert_eq!(followed.read(13), ("second\nthird\n".to_owned(), Progress::Idle));
    followed.write(4, "last");
    followed.turns.send_modify(|turn| (turn.running, turn.ends) = (false, 1));
    assert_eq!(followed.read(100), ("last".to_owned(), Progress::End));
}

#[test]
fn a_restart_ends_a_follow() {
    let mut followed = Followed::new(Some(0));
    assert_eq!(followed.read(0), (String::new(), Progress::Idle));
    followed.write(2, "x\n");
    followed.turns.send_modify(|turn| turn.ends += 1);
    assert_eq!(followed.read(100), ("x\n".to_owned(), Progress::End));
}

#[test]
fn a_follow_goes_on_over_rotations() {
    let mut followed = Followed::new(None);
    assert_eq!(followed.read(6).0, "first\n");
    followed.write(2, "old\n");
    followed.rename("log", "log.1");
    followed.write(3, "new\n");
    assert_eq!(followed.read(8), ("old\nnew\n".to_owned(), Progress::Idle));
    // Several at once, and what was read has been compressed: it has no name any more.
    followed.write(4, "more\n");
    fs::remove_file(followed.folder.path().join("log.1")).unwrap();
    followed.rename("log", "log.1");
    followed.write(5, "and\n");
    followed.rename("log.1", "log.2");
    followed.rename("log", "log.1");
    let second = followed.folder.path().join("log.2");
    let mut encoder =
        knarr_images::compression::gzip(File::create(followed.folder.path().join("log.2.gz")).unwrap());
    encoder.write_all(&fs::read(&second).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(second).unwrap();
    followed.write(6, "more\n");
    assert_eq!(followed.read(14), ("more\nand\nmore\n".to_owned(), Progress::Idle));
}

#[test]
fn a_file_that_is_cut_is_read_from_its_beginning() {
    let mut followed = Followed::new(None);
    assert_eq!(followed.read(6).0, "first\n");
    OpenOptions::new().write(true).open(followed.folder.path().join("log")).unwrap().set_len(0).unwrap();
    followed.write(2, "x\n");
    assert_eq!(followed.read(2), ("x\n".to_owned(), Progress::Idle));
}

#[test]
fn a_writer_that_rotates_all_the_time_loses_nothing() {
    const LINES: i64 = 3000;
    let mut followed = Followed::new(Some(0));
    let folder = followed.folder.path().to_owned();
    let turns = followed.turns.clone();
    let writer = std::thread::spawn(move || {
        for number in 1..=LINES {
            append(&folder.join("log"), &encoded(Format::JsonFile, 10 + number, &format!("{number}\n")));
            if number % 50 == 0 {
                // None is thrown away: a reader that is behind by more files than are kept loses some, as with Docker.
                for aside in (1..number / 50).rev() {
                    let name = |number| folder.join(format!("log.{number}"));
                    fs::rename(name(aside), name(aside + 1)).unwrap();
                }
                fs::rename(folder.join("log"), folder.join("log.1")).unwrap();
            }
        }
        turns.send_modify(|turn| turn.running = false);
    });
    let (text, progress) = followed.read(usize::MAX);
    writer.join().unwrap();
    let want = (1..=LINES).fold(String::new(), |mut want, number| {
        writeln!(want, "{number}").unwrap();
        want
    });
    assert_eq!(progress, Progress::End);
    let differs = text.lines().zip(want.lines()).find(|(got, want)| got != want);
    assert!(text == want, "{} bytes in place of {}, first {differs:?}", text.len(), want.len());
}
