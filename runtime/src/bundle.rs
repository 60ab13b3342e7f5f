//! The bundle: a directory with `config.json` (bundle.md of runtime-spec), read once.
//!
//! The bytes are kept beside the parsed [`Spec`], so that the state directory gets what the user wrote without a
//! second reading or a re-serialisation. No rule of the configuration is checked here.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use knarr_cgroups::Resources;
use knarr_seccomp::Profile;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::{Error, Result};
use crate::spec::{self, Process, Spec};
use crate::sys::{self, Errno, Named as _};

const CONFIG: &str = "config.json";

/// Far above any real configuration (the largest carry a few hundred kilobytes of seccomp rules), so that a device
/// or an endless pipe in its place is an error and not an exhausted memory.
const MAX_BYTES: u64 = 16 << 20;

pub(crate) struct Bundle {
    /// Absolute, without symlinks.
    pub(crate) dir: PathBuf,
    /// `config.json` as it was read.
    pub(crate) raw: Vec<u8>,
    pub(crate) spec: Spec,
}

impl Bundle {
    /// Makes `dir` the working directory, in which hooks run and to which paths of the configuration are relative, and
    /// reads its `config.json`; or instead the file `config`, which is relative to the caller's directory.
    pub(crate) fn enter(dir: &Path, config: Option<&Path>) -> Result<Self> {
        let given = config.map(|file| read(file, &file.display().to_string())).transpose()?;
        std::env::set_current_dir(dir).named(|| format!("chdir {}", dir.display()))?;
        let dir = std::env::current_dir().named(|| "getcwd".into())?;
        let (raw, spec) = match given {
            Some(given) => given,
            None => read(Path::new(CONFIG), CONFIG)?,
        };
        Ok(Self { dir, raw, spec })
    }
}

/// Reads `config.json` of the bundle in `dir`, from where we are.
pub(crate) fn load_spec(dir: &Path) -> Result<Spec> {
    read(&dir.join(CONFIG), CONFIG).map(|(_, spec)| spec)
}

/// The same as it was written.
pub(crate) fn load_raw(dir: &Path) -> Result<Vec<u8>> {
    read(&dir.join(CONFIG), CONFIG).map(|(raw, _): (_, Spec)| raw)
}

/// Reads the file that `exec --process` names: one `process` object.
pub(crate) fn load_process(file: &Path) -> Result<Process> {
    read_given(file).map(|(_, process)| process)
}

/// Reads the file that `seccomp --profile` names: one `linux.seccomp` object.
pub(crate) fn load_profile(file: &Path) -> Result<Profile> {
    let (raw, profile) = read_given(file)?;
    if spec::parse::<EngineProfile>(&raw).is_ok_and(|engine| engine.has_conditions()) {
        let text = "is a profile with an engine's conditions (archMap, includes, excludes); the engine writes what \
                    becomes of it into config.json";
        return Err(Error::refused("", format!("{} {text}", file.display())));
    }
    Ok(profile)
}

/// What Docker and podman add to profiles, and resolve before they write a config.json. Read as `linux.seccomp` such
/// a profile would mean something else.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EngineProfile {
    arch_map: Option<IgnoredAny>,
    syscalls: Vec<EngineRule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EngineRule {
    includes: serde_json::Map<String, serde_json::Value>,
    excludes: serde_json::Map<String, serde_json::Value>,
}

impl EngineProfile {
    fn has_conditions(&self) -> bool {
        let conditional = |rule: &EngineRule| !(rule.includes.is_empty() && rule.excludes.is_empty());
        self.arch_map.is_some() || self.syscalls.iter().any(conditional)
    }
}

/// A file that was named on the command line.
fn read_given<T: DeserializeOwned>(file: &Path) -> Result<(Vec<u8>, T)> {
    match read(file, &file.display().to_string()) {
        Err(Error::NoConfig(name)) => {
            Err(sys::Error { call: format!("open {name}"), errno: Errno::NOENT }.into())
        }
        result => result,
    }
}

/// Reads what `update --resources` names: one `resources` object, from standard input if that is `-`.
pub(crate) fn load_resources(file: &Path) -> Result<Resources> {
    let name = file.display().to_string();
    if name == "-" {
        return Ok(read_from(std::io::stdin(), "standard input")?.1);
    }
    let file = File::open(file).named(|| format!("open {name}"))?;
    Ok(read_from(file, &name)?.1)
}

/// Reads one JSON document; `name` stands for the file in errors.
fn read<T: DeserializeOwned>(file: &Path, name: &str) -> Result<(Vec<u8>, T)> {
    let file = File::open(file).named(|| format!("open {name}")).map_err(|error| match error.errno {
        Errno::NOENT => Error::NoConfig(name.to_owned()),
        _ => error.into(),
    })?;
    read_from(file, name)
}

fn read_from<T: DeserializeOwned>(file: impl std::io::Read, name: &str) -> Result<(Vec<u8>, T)> {
    let mut raw = Vec::with_capacity(16 << 10);
    file.take(MAX_BYTES + 1).read_to_end(&mut raw).named(|| format!("read {name}"))?;
    if raw.len() as u64 > MAX_BYTES {
        return Err(Error::refused("", format!("{name} is larger than {MAX_BYTES} bytes")));
    }
    match spec::parse::<Option<T>>(&raw) {
        Ok(Some(document)) => Ok((raw, document)),
        Ok(None) => Err(Error::refused("", "config cannot be null")),
        Err(source) => {
            Err(Error::Json { what: format!("parse {name}{}", byte_position(&raw, &source)), source })
        }
    }
}

/// ` at byte N (/pointer)`, counted from 1: the place serde gives as line and column, for editors and for `jq`.
fn byte_position(raw: &[u8], error: &serde_json::Error) -> String {
    if error.line() == 0 {
        return String::new();
    }
    let lines_before = raw.split_inclusive(|&byte| byte == b'\n').take(error.line() - 1);
    let start: usize = lines_before.map(<[u8]>::len).sum();
    let byte = start + error.column();
    match spec::pointer(raw, byte) {
        pointer if pointer.is_empty() => format!(" at byte {byte}"),
        pointer => format!(" at byte {byte} ({pointer})"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory of this test alone, removed at its end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("knarr-bundle-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with_config(test: &str, json: &str) -> Self {
            let dir = Self::new(test);
            fs::write(dir.0.join(CONFIG), json).unwrap();
            dir
        }

        fn error(&self) -> String {
            enter(&self.0, None).err().unwrap().line()
        }
    }

    /// In a thread with a working directory of its own.
    fn enter(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::unshare(libc::CLONE_FS).unwrap();
                Bundle::enter(dir, config)
            });
            thread.join().unwrap()
        })
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn the_bytes_are_kept() {
        let json = "{\"hostname\": \"a\", \"unknown\": 1}\n";
        let dir = Dir::with_config("kept", json);
        let bundle = enter(&dir.0, None).unwrap();
        assert_eq!(bundle.raw, json.as_bytes());
        assert_eq!(bundle.spec.hostname, "a");
        assert_eq!(bundle.dir, dir.0.canonicalize().unwrap());
    }

    #[test]
    fn another_file_may_stand_for_it() {
        let dir = Dir::with_config("other", "{");
        let other = dir.0.join("other.json");
        fs::write(&other, "{\"hostname\":\"b\"}").unwrap();
        assert_eq!(enter(&dir.0, Some(&other)).unwrap().spec.hostname, "b");
    }

    #[test]
    fn a_missing_file_has_runc_s_text() {
        assert_eq!(Dir::new("missing").error(), "JSON specification file config.json not found");
    }

    #[test]
    fn a_missing_bundle_names_it() {
        let error = enter(Path::new("/nonexistent/bundle"), None).err().unwrap();
        assert_eq!(error.line(), "chdir /nonexistent/bundle: no such file or directory");
    }

    #[test]
    fn a_directory_in_its_place_is_named() {
        let dir = Dir::new("directory");
        fs::create_dir(dir.0.join(CONFIG)).unwrap();
        assert_eq!(dir.error(), "read config.json: is a directory");
    }

    #[test]
    fn null_has_runc_s_text() {
        assert_eq!(Dir::with_config("null", " null\n").error(), "config cannot be null");
    }

    #[test]
    fn malformed_json_is_found_by_line_column_and_byte() {
        let error = Dir::with_config("malformed", "{\n  \"hostname\": oops\n}").error();
        assert_eq!(error, "parse config.json at byte 17 (/hostname): expected value at line 2 column 15");
        let error = Dir::with_config("empty", "").error();
        assert_eq!(error, "parse config.json at byte 0: EOF while parsing a value at line 1 column 0");
    }

    #[test]
    fn an_endless_file_is_refused() {
        let dir = Dir::new("endless");
        std::os::unix::fs::symlink("/dev/zero", dir.0.join(CONFIG)).unwrap();
        assert_eq!(dir.error(), "config.json is larger than 16777216 bytes");
    }

    #[test]
    fn a_process_file_is_read_alone() {
        let dir = Dir::with_config("process", "{\"args\":[\"ls\"],\"user\":{\"uid\":7}}");
        let process = load_process(&dir.0.join(CONFIG)).unwrap();
        assert_eq!((process.args, process.user.uid), (vec!["ls".to_owned()], 7));
    }
    #[test]
    fn an_engine_s_profile_is_not_taken_for_a_container_s() {
        for (json, fine) in [
            (r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, true),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"includes":{},"excludes":null}]}"#, true),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[]}"#, false),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"includes":{"caps":["CAP_BPF"]}}]}"#, false),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"excludes":{"arches":["s390"]}}]}"#, false),
        ] {
            let dir = Dir::with_config("profile", json);
            let loaded = load_profile(&dir.0.join(CONFIG));
            assert_eq!(loaded.is_ok(), fine, "{json}");
            let line = loaded.map_or_else(|error| error.line(), |profile| profile.default_action);
            assert!(line == "SCMP_ACT_ALLOW" || line.contains("an engine's conditions"), "{line}");
        }
    }
}
