//! Runs one case in one combination: its own thread, mount namespace and world; counts skips where they are seen.

use std::io::Write;
use std::panic::resume_unwind;

use crate::{Layout, Runtime, World};

/// Thrown by [`World::skip`].
pub(crate) struct Skip(pub(crate) String);

/// Runs `case`. The thread carries the combination's name, so a panic names it.
pub fn play(name: &str, runtime: Runtime, layout: Layout, case: fn(&mut World)) {
    let named = name.to_owned();
    let body = move || {
        if let Err(reason) = layout.enter() {
            std::panic::panic_any(Skip(reason));
        }
        let mut world = World::new(&named, runtime, layout);
        case(&mut world);
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    let outcome = thread.map(std::thread::JoinHandle::join);
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(payload)) => match payload.downcast::<Skip>() {
            Ok(skip) => report_skip(name, &skip.0),
            Err(payload) => resume_unwind(payload),
        },
        Err(error) => panic!("start a thread for {name}: {error}"),
    }
}

/// Past libtest's capture, so that a skip is visible in every run. `KNARR_TEST_NO_SKIP=1` makes it a failure.
fn report_skip(name: &str, reason: &str) {
    let strict = std::env::var_os("KNARR_TEST_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!strict, "{name} cannot run: {reason}");
    let line = format!("SKIPPED {name}: {reason}\n");
    let shown = std::io::stderr().write_all(line.as_bytes());
    assert!(shown.is_ok(), "report a skip: {shown:?}");
}
