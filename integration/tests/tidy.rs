//! Rules about the tree itself that a machine can check: who depends on whom, where unsafe is, sizes, names.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::path::{Path, PathBuf};

/// Crates that link into a process that must stay single-threaded and never sleeps.
const CORE: [&str; 4] = ["runtime", "cgroups", "seccomp", "shim"];
const MOST_LINES: usize = 700;
const BANNED_NAMES: [&str; 7] = ["utils", "util", "helpers", "common", "manager", "misc", "base"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Folders of the workspace's crates.
fn crates() -> Vec<PathBuf> {
    let listing = fs::read_dir(workspace()).expect("the workspace").flatten();
    listing.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").is_file()).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in listing.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// All Rust files: path below the workspace, and text.
fn rust_files() -> Vec<(String, String)> {
    let root = workspace();
    let files = crates().into_iter().flat_map(|folder| sources(&folder));
    files
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the workspace").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a source file"))
        })
        .collect()
}

/// Test code in files of its own: in a `tests` folder, or declared as `#[cfg(test)] mod NAME;`.
fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs") || is_declared_for_tests(name)
}

fn is_declared_for_tests(name: &str) -> bool {
    let path = workspace().join(name);
    let (Some(folder), Some(stem)) = (path.parent(), path.file_stem()) else { return false };
    let declaration = format!("mod {};", stem.to_string_lossy());
    let beside = ["mod.rs", "main.rs", "lib.rs"].map(|file| folder.join(file));
    let declared = beside.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    let above = declared.filter_map(|text| Some(text.split_once(&declaration)?.0.to_owned()));
    above
        .into_iter()
        .any(|above| above.lines().last() == Some("#[cfg(test)]") || above.ends_with("#[cfg(test)]\n"))
}

/// The text before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_core(name: &str) -> bool {
    CORE.iter().any(|folder| name.starts_with(&format!("{folder}/src/")))
}

#[track_caller]
fn assert_none(what: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{what}:\n{}", offenders.join("\n"));
}

fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn crates_depend_downwards() {
    let ours = |folder: &str| {
        dependencies(folder).into_iter().filter(|name| name.starts_with("knarr")).collect::<Vec<_>>()
    };
    assert_eq!(ours("cgroups"), Vec::<String>::new());
    assert_eq!(ours("images"), Vec::<String>::new());
    assert_eq!(ours("netns-hooks"), Vec::<String>::new());
    assert_eq!(ours("seccomp"), Vec::<String>::new());
    assert_eq!(ours("shim"), Vec::<String>::new());
    let mut runtime = ours("runtime");
    runtime.sort();
    assert_eq!(runtime, ["knarr-cgroups", "knarr-seccomp"]);
    let mut engine = ours("engine");
    engine.sort();
    assert_eq!(engine, ["knarr-cgroups", "knarr-images", "knarr-netns", "knarr-seccomp"]);
    assert_eq!(ours("integration"), Vec::<String>::new(), "it runs binaries, it links none");
}

#[test]
fn the_core_links_no_async_and_no_catch_all_errors() {
    let banned =
        ["tokio", "async-std", "smol", "futures", "anyhow", "eyre", "regex", "clap", "tracing", "hyper"];
    for folder in CORE {
        let found: Vec<String> =
            dependencies(folder).into_iter().filter(|name| banned.contains(&name.as_str())).collect();
        assert_none(folder, &found);
    }
}

#[test]
fn unsafe_is_in_sys_alone() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("/sys.rs") && !name.contains("/sys/"))
        .filter(|(_, text)| text.contains("allow(unsafe_code)") || text.contains("unsafe {"))
        .map(|(name, _)| name)
        // This file speaks of it.
        .filter(|name| !name.ends_with("tests/tidy.rs"))
        .collect();
    assert_none("unsafe outside sys.rs", &offenders);
}

#[test]
fn every_file_says_what_it_owns() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert_none("files without a first line of `//! `", &offenders);
}

#[test]
fn names_say_something() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.trim_end_matches(".rs").split('/').any(|part| BANNED_NAMES.contains(&part)))
        .collect();
    assert_none("names that say nothing", &offenders);
}

#[test]
fn files_are_of_a_size_to_read() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, text)| (name, without_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(name, lines)| format!("{name}: {lines}"))
        .collect();
    assert_none("files to split", &offenders);
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["TO\u{44}O", "FIX\u{4d}E", "unimplemented\u{21}(", "to\u{64}o!("];
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| words.iter().any(|word| text.contains(word)))
        .map(|(name, _)| name)
        .collect();
    assert_none("left for later", &offenders);
}

#[test]
fn the_core_does_not_sleep_and_has_one_thread() {
    let words = ["thread::sleep", "thread::spawn", "thread::Builder", "thread::scope"];
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(name, _)| is_core(name) && !is_test(name))
        .filter(|(_, text)| words.iter().any(|word| without_tests(text).contains(word)))
        .map(|(name, _)| name)
        .collect();
    assert_none("sleeps or threads", &offenders);
}

#[test]
fn no_path_of_a_build_machine() {
    let words = ["\u{2f}work/main", "\u{2f}work/shared", "\u{2f}home/runner", "\u{2f}builds/"];
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| words.iter().any(|word| text.contains(word)))
        .map(|(name, _)| name)
        .collect();
    assert_none("paths of a machine", &offenders);
}

#[test]
fn silenced_lints_have_a_reason() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|(name, _)| !is_test(name))
        .flat_map(|(name, text)| {
            let bare = silenced_without_reason(&text);
            bare.into_iter().map(|number| format!("{name}:{number}")).collect::<Vec<_>>()
        })
        .collect();
    assert_none("lints silenced without a reason on the line or above it", &offenders);
}

fn silenced_without_reason(text: &str) -> Vec<usize> {
    let mut above = "";
    let mut bare = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let starts = line.trim_start();
        let silences = starts.starts_with("#[allow(") || starts.starts_with("#![allow(");
        let obvious = line.contains("allow(unsafe_code)") || line.contains("//") || line.contains("reason =");
        if silences && !obvious && !above.trim_start().starts_with("//") {
            bare.push(number);
        }
        above = line;
    }
    bare
}
