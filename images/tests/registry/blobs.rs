//! Blobs: whole whatever the connections do, and never what a registry makes of them.

use std::io::Read;

use knarr_images::Descriptor;
use knarr_images::registry::Credentials;

use crate::server::{After, Reply, Request, Server, reply};
use crate::{chain, descriptor, impatient_client, reference, registry};

const ANONYMOUS: Credentials = Credentials::Anonymous;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn read(server: &Server, descriptor: &Descriptor, offset: u64) -> Result<Vec<u8>, String> {
    let reference = reference(&server.host(), "a/b");
    let mut reader =
        impatient_client().blob(&reference, descriptor, &ANONYMOUS, offset).map_err(|error| chain(&error))?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| chain(&error))?;
    Ok(bytes)
}

/// `FIRST` of `Range: bytes=FIRST-`.
fn first_of(request: &Request) -> Option<usize> {
    request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// What a correct registry sends.
fn honest(request: &Request, content: &[u8]) -> Reply {
    match first_of(request) {
        None => reply(200).body(content),
        Some(first) => {
            let range = format!("bytes {first}-{}/{}", content.len() - 1, content.len());
            reply(206).header("Content-Range", range).body(&content[first..])
        }
    }
}

#[test]
fn a_blob_is_read_whole_or_from_an_offset() {
    let bytes = content(300_000);
    let served = bytes.clone();
    let server = registry(move |request| honest(request, &served));
    let descriptor = descriptor(&bytes);
    assert_eq!(read(&server, &descriptor, 0).unwrap(), bytes);
    assert_eq!(read(&server, &descriptor, 299_999).unwrap(), bytes[299_999..]);
    assert_eq!(read(&server, &descriptor, 300_000).unwrap(), b"");
    assert!(read(&server, &descriptor, 300_001).unwrap_err().contains("has no byte 300001"));
    let targets: Vec<_> = server.seen().iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, vec![format!("/v2/a/b/blobs/{}", descriptor.digest); 2]);
}

#[test]
fn an_empty_blob_is_read() {
    let server = registry(|_| reply(200));
    assert_eq!(read(&server, &descriptor(b""), 0).unwrap(), b"");
    let server = registry(|_| reply(200).body("x"));
    assert!(read(&server, &descriptor(b""), 0).unwrap_err().contains("is announced with 1 bytes, but has 0"));
}

#[test]
fn what_drops_or_stalls_is_continued() {
    for ending in [After::Drop, After::Stall] {
        for is_chunked in [false, true] {
            let bytes = content(1_000_000);
            let served = bytes.clone();
            let server = registry(move |request| {
                let answer = honest(request, &served);
                let answer = if is_chunked { answer.chunked() } else { answer };
                // The third time it is all sent.
                if first_of(request).is_some_and(|first| first >= 400_000) {
                    answer
                } else {
                    answer.after(ending(200_000))
                }
            });
            assert_eq!(read(&server, &descriptor(&bytes), 0).unwrap(), bytes);
            let firsts: Vec<_> = server.seen().iter().map(first_of).collect();
            assert_eq!(firsts, [None, Some(200_000), Some(400_000)], "{:?} {is_chunked}", ending(0));
        }
    }
}

#[test]
fn a_registry_without_ranges_sends_it_all_again() {
    let bytes = content(500_000);
    for refuses in [false, true] {
        let served = bytes.clone();
        let mut asked = 0;
        let server = registry(move |request| {
            asked += 1;
            match first_of(request) {
                Some(_) if refuses => reply(416),
                _ if asked == 1 => reply(200).body(&served).after(After::Drop(123_456)),
                _ => reply(200).body(&served),
            }
        });
        assert_eq!(read(&server, &descriptor(&bytes), 0).unwrap(), bytes);
        assert_eq!(server.seen().len(), if refuses { 3 } else { 2 });
    }
}

#[test]
fn attempts_without_progress_are_bounded() {
    for ending in [After::Drop(0), After::Drop(100)] {
        let bytes = content(100_000);
        let served = bytes.clone();
        let server = registry(move |request| honest(request, &served).after(ending));
        let failed = read(&server, &descriptor(&bytes), 0).unwrap_err();
        assert!(failed.contains("broke off at byte"), "{failed}");
        assert_eq!(server.seen().len(), 5);
    }
}

#[test]
fn progress_makes_failures_new_ones() {
    // Ten connections, each dropped after more than a mebibyte.
    let bytes = content(12_000_000);
    let served = bytes.clone();
    let server = registry(move |request| honest(request, &served).after(After::Drop(1_200_000)));
    assert_eq!(read(&server, &descriptor(&bytes), 0).unwrap(), bytes);
    assert_eq!(server.seen().len(), 10);
}

#[test]
fn lies_about_lengths_and_ranges_are_refused() {
    let bytes = content(1000);
    let short = reply(200).body(&bytes[..999]);
    let long = reply(200).body([&bytes[..], b"x"].concat());
    let cases = [
        (0, short, "is announced with 999 bytes, but has 1000"),
        (0, long.clone(), "is announced with 1001 bytes, but has 1000"),
        (0, long.chunked(), "is longer than its 1000 bytes"),
        (
            5,
            reply(206).header("Content-Range", "bytes 0-999/1000").body(&bytes),
            "from byte 5 came as \"bytes 0-999/1000\"",
        ),
        (5, reply(206).header("Content-Range", "bytes 5-999/2000").body(&bytes[5..]), "from byte 5 came as"),
        (5, reply(206).body(&bytes[5..]), "from byte 5 came as \"\""),
    ];
    for (offset, answer, expected) in cases {
        let server = registry(move |_| answer.clone());
        let failed = read(&server, &descriptor(&bytes), offset).unwrap_err();
        assert!(failed.contains(expected), "{failed}");
        assert_eq!(server.seen().len(), 1, "a lie is not asked for again");
    }
}

#[test]
fn the_trouble_of_a_moment_passes() {
    let bytes = content(1000);
    let served = bytes.clone();
    let mut answers =
        vec![reply(200).body(&served), reply(503), reply(429).header("Retry-After", 0), reply(500)];
    let server = registry(move |_| answers.pop().unwrap());
    assert_eq!(read(&server, &descriptor(&bytes), 0).unwrap(), bytes);
    let server = registry(|_| {
        reply(404).body(r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#)
    });
    assert_eq!(read(&server, &descriptor(&bytes), 0).unwrap_err(), "blob unknown: blob unknown to registry");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_foreign_layer_is_fetched_where_it_is() {
    let bytes = content(1000);
    let served = bytes.clone();
    let elsewhere = Server::start(move |request| honest(request, &served));
    let server = registry(|_| reply(404));
    let mut foreign = descriptor(&bytes);
    foreign.urls = vec![
        "ftp://a.b/c".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://{}/layer", elsewhere.host()),
    ];
    assert_eq!(read(&server, &foreign, 0).unwrap(), bytes);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
    // Nobody but the registry is asked for what the registry refuses.
    let server = registry(|_| reply(403));
    assert!(read(&server, &foreign, 0).unwrap_err().starts_with("denied"));
    assert_eq!(elsewhere.seen().len(), 1);
}
