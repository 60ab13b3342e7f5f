//! Pushes: nothing is sent twice that is there, and what breaks off goes on where it broke.

use std::cell::RefCell;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};

use knarr_images::registry::{Credentials, Error, Pushed, Upload};
use knarr_images::{Digest, media_type};

use crate::server::{Server, reply};
use crate::{BASIC, basic, chain, client, descriptor, manifest_bytes, reference, registry};

const ANONYMOUS: Credentials = Credentials::Anonymous;

/// A registry with one place for uploads: what it took, and answers as docker-registry's.
#[derive(Default)]
struct Storage {
    taken: Vec<u8>,
    committed: Option<Vec<u8>>,
}

fn storage() -> (Server, Arc<Mutex<Storage>>) {
    let storage = Arc::new(Mutex::new(Storage::default()));
    let shared = storage.clone();
    let server = registry(move |request| {
        let mut storage = shared.lock().unwrap();
        let at = |status| reply(status).header("Location", "/upload/1?state=x");
        match request.method.as_str() {
            "HEAD" => reply(if storage.committed.is_some() { 200 } else { 404 }),
            "POST" => {
                storage.taken.clear();
                at(202)
            }
            "PATCH" => {
                storage.taken.extend_from_slice(&request.body);
                at(202)
            }
            "GET" => at(204).header("Range", format!("0-{}", storage.taken.len().saturating_sub(1))),
            "PUT" => {
                storage.committed = Some(storage.taken.clone());
                reply(201)
            }
            _ => reply(202),
        }
    });
    (server, storage)
}

fn push(
    server: &Server,
    bytes: &[u8],
    mount_from: Option<&str>,
    credentials: &Credentials,
) -> Result<(Pushed, Vec<u64>), Error> {
    let sent = RefCell::new(Vec::new());
    let owned = bytes.to_vec();
    let pushed = client().push_blob(
        &reference(&server.host(), "a/b"),
        credentials,
        Upload {
            descriptor: &descriptor(bytes),
            source: &mut |offset| {
                let rest = owned[usize::try_from(offset).unwrap()..].to_vec();
                Ok(Box::new(Cursor::new(rest)) as Box<dyn Read>)
            },
            mount_from,
            progress: &mut |bytes| sent.borrow_mut().push(bytes),
        },
    )?;
    Ok((pushed, sent.into_inner()))
}

#[test]
fn a_blob_is_uploaded_once() {
    let (server, storage) = storage();
    let bytes = vec![7; 1_000_000];
    let (pushed, progress) = push(&server, &bytes, None, &ANONYMOUS).unwrap();
    assert_eq!((pushed, progress.last()), (Pushed::Uploaded, Some(&1_000_000)));
    assert_eq!(storage.lock().unwrap().committed.as_ref(), Some(&bytes));
    let methods: Vec<_> = server.seen().iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, ["HEAD", "POST", "PATCH", "PUT"]);
    assert_eq!(
        server.seen()[3].target,
        format!("/upload/1?state=x&digest=sha256%3A{}", Digest::of(&bytes).hex())
    );
    assert_eq!(push(&server, &bytes, None, &ANONYMOUS).unwrap().0, Pushed::Existed);
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn an_empty_blob_is_uploaded() {
    let (server, storage) = storage();
    assert_eq!(push(&server, b"", None, &ANONYMOUS).unwrap().0, Pushed::Uploaded);
    assert_eq!(storage.lock().unwrap().committed, Some(Vec::new()));
}

#[test]
fn what_broke_off_goes_on_where_it_broke() {
    let (server, storage) = storage();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    server.break_next_patch_after(400_000);
    assert_eq!(push(&server, &bytes, None, &ANONYMOUS).unwrap().0, Pushed::Uploaded);
    assert!(storage.lock().unwrap().committed.as_ref() == Some(&bytes), "the blob is what was pushed");
    let patches: Vec<_> = server.seen().into_iter().filter(|request| request.method == "PATCH").collect();
    assert_eq!((patches.len(), patches[1].header("content-range")), (2, Some("400000-999999")));
    // Of what is as good as nothing, it begins anew.
    let (server, storage) = self::storage();
    server.break_next_patch_after(0);
    assert_eq!(push(&server, &bytes, None, &ANONYMOUS).unwrap().0, Pushed::Uploaded);
    assert!(storage.lock().unwrap().committed.as_ref() == Some(&bytes));
    assert_eq!(server.count("POST", "/"), 2);
}

#[test]
fn progress_makes_failures_of_uploads_new_ones() {
    let (server, storage) = storage();
    let bytes = vec![7; 12_000_000];
    for _ in 0..8 {
        server.break_next_patch_after(1_200_000);
    }
    assert_eq!(push(&server, &bytes, None, &ANONYMOUS).unwrap().0, Pushed::Uploaded);
    assert!(storage.lock().unwrap().committed.as_ref() == Some(&bytes));
    assert_eq!(server.count("PATCH", "/"), 9);
}

#[test]
fn uploads_are_given_up_in_the_end() {
    let server = registry(|request| match request.method.as_str() {
        "HEAD" => reply(404),
        "POST" => reply(202).header("Location", "/upload/1"),
        "PATCH" => reply(500),
        _ => reply(204),
    });
    let failed = push(&server, b"blob", None, &ANONYMOUS).unwrap_err();
    assert_eq!(failed.to_string(), "received unexpected HTTP status: 500 Internal Server Error");
    assert_eq!((server.count("PATCH", "/"), server.count("DELETE", "/upload/1")), (5, 1));
}

#[test]
fn a_blob_is_mounted_where_the_registry_will() {
    let digest = Digest::of(b"blob");
    for (status, expected) in [(201, Pushed::Mounted), (202, Pushed::Uploaded), (404, Pushed::Uploaded)] {
        let server = registry(move |request| match request.method.as_str() {
            "HEAD" => reply(404),
            "POST" if request.target.contains("mount=") => reply(status).header("Location", "/upload/1"),
            "POST" | "PATCH" => reply(202).header("Location", "/upload/1"),
            _ => reply(201),
        });
        assert_eq!(push(&server, b"blob", Some("c/d"), &ANONYMOUS).unwrap().0, expected);
        let asked = server.seen().into_iter().find(|request| request.method == "POST").unwrap();
        assert_eq!(
            asked.target,
            format!("/v2/a/b/blobs/uploads/?mount=sha256%3A{}&from=c%2Fd", digest.hex())
        );
    }
}

#[test]
fn an_upload_elsewhere_is_shown_no_credentials() {
    let elsewhere = Server::start(|request| match request.method.as_str() {
        "PATCH" => reply(202).header("Location", "/next"),
        _ => reply(201),
    });
    let location = format!("http://{}/first", elsewhere.host());
    let server =
        Server::start(move |request| match (request.header("authorization"), request.method.as_str()) {
            (None, _) => reply(401).header("WWW-Authenticate", "Basic"),
            (_, "HEAD") => reply(404),
            _ => reply(202).header("Location", &location),
        });
    assert_eq!(push(&server, b"blob", None, &basic()).unwrap().0, Pushed::Uploaded);
    let seen = elsewhere.seen();
    assert_eq!((seen[0].target.as_str(), seen[1].target.split('?').next()), ("/first", Some("/next")));
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn what_a_registry_says_of_an_upload_is_checked() {
    for location in ["file:///tmp/x", "ftp://a.b/", ""] {
        let server = registry(move |request| {
            if request.method == "HEAD" { reply(404) } else { reply(202).header("Location", location) }
        });
        assert!(
            matches!(push(&server, b"blob", None, &ANONYMOUS), Err(Error::Redirect { .. })),
            "{location}"
        );
    }
    let server = registry(|request| reply(if request.method == "HEAD" { 404 } else { 202 }));
    assert!(matches!(push(&server, b"blob", None, &ANONYMOUS), Err(Error::UploadLocation(_))));
    let server = registry(|request| match request.method.as_str() {
        "HEAD" => reply(404),
        "PUT" => reply(201).header("Docker-Content-Digest", Digest::of(b"other")),
        _ => reply(202).header("Location", "/upload/1"),
    });
    let failed = push(&server, b"blob", None, &ANONYMOUS).unwrap_err();
    assert_eq!(
        failed.to_string(),
        format!("registry took \"{}\" for {}", Digest::of(b"other"), Digest::of(b"blob"))
    );
}

#[test]
fn a_source_that_fails_is_named() {
    let (server, storage) = storage();
    let push = |source: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read>>| {
        let (name, layer) = (reference(&server.host(), "a"), descriptor(b"0123456789"));
        let upload = Upload { descriptor: &layer, source, mount_from: None, progress: &mut |_| {} };
        chain(&client().push_blob(&name, &ANONYMOUS, upload).unwrap_err())
    };
    let closed = push(&mut |_| Err(io::ErrorKind::PermissionDenied.into()));
    assert!(closed.ends_with("from byte 0: permission denied"), "{closed}");
    let short = push(&mut |_| Ok(Box::new(Cursor::new(b"01234"))));
    assert!(short.ends_with("from byte 0: unexpected end of file"), "{short}");
    assert_eq!(storage.lock().unwrap().committed, None);
}

#[test]
fn a_manifest_is_pushed_under_its_tag_or_its_digest() {
    let server = registry(|request| {
        reply(201).header("Docker-Content-Digest", Digest::of(&request.body)).header("Location", "/ignored")
    });
    let bytes = manifest_bytes();
    let digest = Digest::of(&bytes);
    let name = reference(&server.host(), "a");
    for name in [name.clone(), name.with_tag("1").unwrap(), name.with_digest(digest)] {
        assert_eq!(
            client().push_manifest(&name, &ANONYMOUS, media_type::OCI_MANIFEST, &bytes).unwrap(),
            digest
        );
    }
    let targets: Vec<_> = server.seen().iter().map(|request| request.target.clone()).collect();
    assert_eq!(
        targets,
        ["/v2/a/manifests/latest", "/v2/a/manifests/1", &format!("/v2/a/manifests/{digest}")]
    );
    assert_eq!(server.seen()[0].header("content-type"), Some(media_type::OCI_MANIFEST));
    assert_eq!(server.seen()[0].body, bytes);
    let server = registry(|_| reply(201).header("Docker-Content-Digest", Digest::of(b"other")));
    let lied =
        client().push_manifest(&reference(&server.host(), "a"), &ANONYMOUS, media_type::OCI_MANIFEST, &bytes);
    assert!(matches!(lied, Err(Error::PushedDigest { .. })));
}

#[test]
fn a_manifest_is_pushed_again_with_what_the_registry_wants_to_see() {
    let server = registry(|request| match request.header("authorization") {
        Some(BASIC) => reply(if request.body == manifest_bytes() { 201 } else { 400 }),
        _ => reply(401).header("WWW-Authenticate", "Basic"),
    });
    let name = reference(&server.host(), "a");
    client().push_manifest(&name, &basic(), media_type::OCI_MANIFEST, &manifest_bytes()).unwrap();
    assert_eq!(server.count("PUT", "/v2/a/manifests/latest"), 2);
}
