//! An import from an address: what comes is told while it is unpacked, in the objects that Docker's clients draw.

use std::io::{self, Read};
use std::time::Instant;

use knarr_images::registry::{self, Download, Failure};
use serde_json::{Value, json};

use super::Import;
use super::progress::{PAUSE, bar};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};

/// The most bytes between two numbers.
const STEP: u64 = 512 << 10;

/// Where progress goes, from whichever thread reads.
pub(crate) type TellOfBytes<'a> = &'a mut (dyn FnMut(&Value) -> io::Result<()> + Send);

/// Tells of the bytes that go through it.
struct Watched<'a, R> {
    inner: R,
    tell: TellOfBytes<'a>,
    total: Option<u64>,
    done: u64,
    /// Bytes at the last number.
    told: u64,
    last: Option<Instant>,
    is_over: bool,
}

impl Engine {
    /// Makes an image of the archive at an address. It is there, whoever reads the progress.
    pub(crate) fn image_import_from(
        &self,
        address: &str,
        asked: Import,
        tell: TellOfBytes<'_>,
    ) -> Result<()> {
        let download = self.puller.client().download(address).map_err(refused)?;
        let _ = tell(&json!({"status": format!("Downloading from {}", download.address())}));
        let image = self.import_archive(Watched::new(download, tell), asked)?;
        let _ = tell(&json!({"status": image.to_string()}));
        Ok(())
    }
}

/// Docker finds a host that has no address to be one that is not there.
fn refused(error: registry::Error) -> Error {
    let is_unknown = matches!(&error, registry::Error::Exchange { source, .. }
        if matches!(**source, Failure::NoSuchHost(_) | Failure::Lookup { .. }));
    let error = Error::from(error);
    if is_unknown { Error { kind: Kind::NotFound, ..error } } else { error }
}

impl<'a> Watched<'a, Download> {
    fn new(inner: Download, tell: TellOfBytes<'a>) -> Self {
        let total = inner.length();
        Self { inner, tell, total, done: 0, told: 0, last: None, is_over: false }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = self.inner.read(buffer);
        let count = outcome.as_ref().map_or(0, |count| *count);
        self.done += count as u64;
        if count == 0 && !buffer.is_empty() {
            self.tell_end();
        } else if self.is_due() {
            self.tell_number();
        }
        outcome
    }
}

impl<R> Watched<'_, R> {
    fn is_due(&self) -> bool {
        let step = self.total.map_or(STEP, |total| STEP.min(total / 100));
        let is_last = self.total == Some(self.done);
        let is_soon = self.last.is_some_and(|last| last.elapsed() < PAUSE);
        self.done - self.told > step && (is_last || !is_soon)
    }

    fn tell_number(&mut self) {
        let _ = (self.tell)(&importing(self.done, self.total));
        (self.told, self.last) = (self.done, Some(Instant::now()));
    }

    /// The last number, and the end of its line.
    fn tell_end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.tell_number();
            let _ = (self.tell)(&json!({}));
        }
    }
}

/// A total of -1 is unknown.
fn importing(done: u64, total: Option<u64>) -> Value {
    let mut object = json!({"status": "Importing", "progressDetail": {}});
    if done > 0 {
        object["progressDetail"]["current"] = done.into();
    }
    match total {
        Some(0) => {}
        Some(total) => object["progressDetail"]["total"] = total.into(),
        None => object["progressDetail"]["total"] = (-1).into(),
    }
    let bar = bar(done, total.unwrap_or(0));
    if !bar.is_empty() {
        object["progress"] = bar.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told while `content` is read in small pieces.
    fn told(content: &[u8], total: Option<u64>) -> Vec<Value> {
        let mut objects = Vec::new();
        let mut tell = |object: &Value| {
            objects.push(object.clone());
            Ok(())
        };
        let mut watched =
            Watched { inner: content, tell: &mut tell, total, done: 0, told: 0, last: None, is_over: false };
        let mut piece = [0; 64];
        while watched.read(&mut piece).unwrap() > 0 {}
        assert_eq!(watched.read(&mut piece).unwrap(), 0, "the end is told once");
        objects
    }

    #[test]
    fn bytes_are_told_seldom_but_the_first_and_the_last() {
        let numbers: Vec<Value> = told(&[0; 1000], Some(1000));
        let current: Vec<&Value> =
            numbers.iter().map(|object| &object["progressDetail"]["current"]).collect();
        assert_eq!(current, [&json!(64), &json!(1000), &json!(1000), &Value::Null]);
        assert_eq!(numbers.last(), Some(&json!({})));
        assert_eq!(numbers[0]["progressDetail"]["total"], 1000);
    }

    #[test]
    fn a_length_that_nobody_knows_is_minus_one() {
        let numbers = told(b"abc", None);
        let last = json!({"status": "Importing", "progressDetail": {"current": 3, "total": -1}, "progress": "      3B"});
        assert_eq!(numbers, [last, json!({})]);
        let empty = json!({"status": "Importing", "progressDetail": {}});
        assert_eq!(told(b"", Some(0)), [empty, json!({})]);
    }
}
