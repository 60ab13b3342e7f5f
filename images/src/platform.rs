//! Which manifest of an index is for this machine: names of platforms (`linux/arm/v7`) and the order in which a machine
//! accepts them (image-spec image-index.md "platform"; the order is containerd's).

use std::fmt;
use std::str::FromStr;

use crate::{Descriptor, Index, Platform};

/// The order of preference for one machine or one explicit choice of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As errors show it.
    named: Platform,
    accepted: Vec<Platform>,
}

/// A text that names no platform.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}: cannot parse platform specifier: want OS[/ARCH[/VARIANT]] or ARCH")]
pub struct InvalidPlatform(String);

/// An index without a manifest for the wanted platform.
#[derive(Debug, thiserror::Error)]
#[error("no matching manifest for {0} in the manifest list entries")]
pub struct NoMatchingManifest(Platform);

impl Wanted {
    /// What this machine runs, best first: of amd64 the highest micro-architecture level that the CPU has, down to plain amd64,
    /// then 386; of arm64 the 32-bit variants last.
    pub fn host() -> Self {
        let named = Platform::host();
        let highest = match named.architecture.as_str() {
            "amd64" => amd64_level(),
            _ => named.variant.clone(),
        };
        Self { accepted: accepted_by(&Platform { variant: highest, ..named.clone() }), named }
    }

    /// What a user asked for, and what the same machine runs besides.
    pub fn only(platform: &Platform) -> Self {
        Self { named: platform.clone(), accepted: accepted_by(platform) }
    }

    pub fn platform(&self) -> &Platform {
        &self.named
    }

    /// The best manifest of an index. Of two equal ones the first wins; one that names no platform is the last resort;
    /// attestations (`unknown/unknown`) never match.
    pub fn choose<'a>(&self, index: &'a Index) -> Result<&'a Descriptor, NoMatchingManifest> {
        let ranked = index.manifests.iter().filter_map(|one| Some((self.rank(one.platform.as_ref())?, one)));
        let best = ranked.min_by_key(|(rank, _)| *rank);
        best.map(|(_, descriptor)| descriptor).ok_or_else(|| NoMatchingManifest(self.named.clone()))
    }

    /// Whether an image built for this platform runs here.
    pub fn accepts(&self, platform: &Platform) -> bool {
        self.rank(Some(platform)).is_some()
    }

    fn rank(&self, platform: Option<&Platform>) -> Option<usize> {
        let Some(platform) = platform else { return Some(self.accepted.len()) };
        let offered = normalized(platform);
        let same = |one: &Platform| {
            (&one.os, &one.architecture, &one.variant)
                == (&offered.os, &offered.architecture, &offered.variant)
        };
        // A feature of the operating system is a demand, and none is wanted here.
        if platform.os_features.is_empty() { self.accepted.iter().position(same) } else { None }
    }
}

impl Platform {
    /// This machine in Go's names.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        let variant = match architecture {
            "arm64" => Some("v8"),
            "arm" if cfg!(target_feature = "v7") => Some("v7"),
            "arm" => Some("v6"),
            _ => None,
        };
        named("linux", architecture, variant)
    }
}

fn named(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
    Platform {
        architecture: architecture.to_owned(),
        os: os.to_owned(),
        variant: variant.map(str::to_owned),
        os_version: None,
        os_features: Vec::new(),
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// `OS/ARCH[/VARIANT]`, or one of OS and ARCH alone with the machine's other half. Other spellings (`x86_64`, `armhf`)
    /// become Go's.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let is_name = |part: &&str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            !part.is_empty() && part.bytes().all(fits)
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_name) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        let host = Self::host();
        let written = match parts[..] {
            [os] if KNOWN_SYSTEMS.contains(&os) => named(os, &host.architecture, host.variant.as_deref()),
            [architecture] => named(&host.os, architecture, None),
            [os, architecture] => named(os, architecture, None),
            [os, architecture, variant] => named(os, architecture, Some(variant)),
            _ => return Err(InvalidPlatform(text.to_owned())),
        };
        let platform = normalized(&written);
        let is_guess = parts.len() == 1 && !KNOWN_ARCHITECTURES.contains(&platform.architecture.as_str());
        if is_guess { Err(InvalidPlatform(text.to_owned())) } else { Ok(platform) }
    }
}

const KNOWN_SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];
const KNOWN_ARCHITECTURES: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x",
];

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// One spelling for each platform: `amd64` and `arm64` have no variant where it is the oldest one, `arm` always has one.
fn normalized(platform: &Platform) -> Platform {
    let variant = platform.variant.as_deref().unwrap_or_default().to_lowercase();
    let architecture = platform.architecture.to_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    named(&platform.os.to_lowercase(), architecture, Some(variant).filter(|variant| !variant.is_empty()))
}

/// All platforms whose programs run on this one, the best first.
fn accepted_by(platform: &Platform) -> Vec<Platform> {
    let wanted = normalized(platform);
    let os = wanted.os.as_str();
    let version =
        |variant: Option<&str>| variant.and_then(|name| name.strip_prefix('v')?.parse::<u32>().ok());
    let arm_from = |highest: u32| (5..=highest).rev().map(|n| named(os, "arm", Some(&format!("v{n}"))));
    match (wanted.architecture.as_str(), version(wanted.variant.as_deref())) {
        ("amd64", highest) => {
            let levels =
                (2..=highest.unwrap_or(1).min(4)).rev().map(|n| named(os, "amd64", Some(&format!("v{n}"))));
            levels.chain([named(os, "amd64", None), named(os, "386", None)]).collect()
        }
        ("arm", Some(highest @ 5..=8)) => arm_from(highest).collect(),
        ("arm64", _) => arm64_down_to_arm(&wanted).into_iter().chain(arm_from(8)).collect(),
        _ => vec![wanted],
    }
}

/// `v9.M` also runs `v8.M+5` and below; `v8` is written without a variant.
fn arm64_down_to_arm(wanted: &Platform) -> Vec<Platform> {
    let variant = wanted.variant.as_deref().unwrap_or("v8");
    let version = variant.trim_start_matches('v');
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let minor = minor.parse::<u32>().unwrap_or_default().min(9);
    let steps = |major: u32, minor: u32| (0..=minor).rev().map(move |minor| (major, minor));
    let versions: Vec<(u32, u32)> = match major {
        "9" => steps(9, minor).chain(steps(8, (minor + 5).min(9))).collect(),
        "8" => steps(8, minor).collect(),
        _ => return vec![wanted.clone()],
    };
    let names = versions.into_iter().map(|(major, minor)| match (major, minor) {
        (8, 0) => None,
        (major, 0) => Some(format!("v{major}")),
        (major, minor) => Some(format!("v{major}.{minor}")),
    });
    names.map(|variant| named(&wanted.os, "arm64", variant.as_deref())).collect()
}

/// The micro-architecture level of this CPU (x86-64 psABI, "Micro-Architecture Levels"); none for the oldest.
#[cfg(target_arch = "x86_64")]
fn amd64_level() -> Option<String> {
    macro_rules! has {
        ($($feature:tt)*) => { [$(std::arch::is_x86_feature_detected!($feature)),*].iter().all(|has| *has) };
    }
    let v2 = has!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
    let v3 = v2 && has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
    let v4 = v3 && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    let level = 1 + u32::from(v2) + u32::from(v3) + u32::from(v4);
    (level > 1).then(|| format!("v{level}"))
}

#[cfg(not(target_arch = "x86_64"))]
fn amd64_level() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    fn index(offered: &[&str]) -> Index {
        let manifests = offered.iter().map(|text| Descriptor {
            media_type: String::new(),
            digest: Digest::of(text.as_bytes()),
            size: 0,
            urls: Vec::new(),
            annotations: std::collections::BTreeMap::default(),
            platform: match text.split('/').collect::<Vec<_>>()[..] {
                [""] => None,
                [os, architecture] => Some(named(os, architecture, None)),
                [os, architecture, variant] => Some(named(os, architecture, Some(variant))),
                _ => panic!("{text}"),
            },
        });
        Index {
            schema_version: 2,
            media_type: None,
            manifests: manifests.collect(),
            annotations: std::collections::BTreeMap::default(),
        }
    }

    #[test]
    fn the_best_manifest_is_chosen() {
        let cases: [(&str, &[&str], Option<&str>); 20] = [
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["windows/amd64"], None),
            ("linux/amd64", &["linux/386"], Some("linux/386")),
            ("linux/amd64", &["linux/386", "linux/amd64/v1"], Some("linux/amd64/v1")),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some("linux/amd64/v2")),
            ("linux/amd64", &["unknown/unknown"], None),
            ("linux/amd64", &["", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/arm64", ""], Some("")),
            ("linux/x86_64", &["linux/amd64"], Some("linux/amd64")),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm", &["linux/arm/v7"], Some("linux/arm/v7")),
            ("linux/arm64", &["linux/arm64/v8"], Some("linux/arm64/v8")),
            ("linux/arm64/v8", &["linux/arm64"], Some("linux/arm64")),
            ("linux/arm64", &["linux/arm/v7", "linux/arm/v8"], Some("linux/arm/v8")),
            (
                "linux/arm64/v8.2",
                &["linux/arm64", "linux/arm64/v8.1", "linux/arm64/v8.3"],
                Some("linux/arm64/v8.1"),
            ),
            ("linux/arm64/v9", &["linux/arm64/v8.5", "linux/arm64/v8.6"], Some("linux/arm64/v8.5")),
            ("linux/riscv64", &["linux/riscv64"], Some("linux/riscv64")),
            ("linux/s390x", &["linux/ppc64le"], None),
        ];
        for (wanted, offered, expected) in cases {
            let index = index(offered);
            let chosen = Wanted::only(&platform(wanted)).choose(&index).map(|one| one.digest);
            assert_eq!(
                chosen.ok(),
                expected.map(|text| Digest::of(text.as_bytes())),
                "{wanted} of {offered:?}"
            );
        }
    }

    #[test]
    fn the_refusal_names_the_platform_as_docker_does() {
        let error = Wanted::only(&platform("linux/amd64")).choose(&index(&["linux/s390x"])).unwrap_err();
        assert_eq!(error.to_string(), "no matching manifest for linux/amd64 in the manifest list entries");
        let error = Wanted::host().choose(&index(&["unknown/unknown"])).unwrap_err().to_string();
        assert!(error.contains(&format!("for {} in", Platform::host())), "{error}");
    }

    #[test]
    fn this_machine_accepts_what_it_runs() {
        let host = Wanted::host();
        assert!(host.accepts(&Platform::host()));
        assert!(!host.accepts(&platform("windows/amd64")));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(host.platform().to_string(), "linux/amd64");
            assert!(host.accepts(&platform("linux/386")));
            assert_eq!(
                host.accepts(&platform("linux/amd64/v3")),
                std::arch::is_x86_feature_detected!("avx2")
            );
        }
    }

    #[test]
    fn platforms_are_read_as_written_by_users() {
        let host = Platform::host();
        let cases = [
            ("linux", format!("linux/{}", normalized(&host).architecture)),
            ("arm64", "linux/arm64".into()),
            ("linux/aarch64", "linux/arm64".into()),
            ("linux/armhf", "linux/arm/v7".into()),
            ("Linux/AMD64", "linux/amd64".into()),
            ("windows/amd64", "windows/amd64".into()),
            ("linux/arm/6", "linux/arm/v6".into()),
        ];
        for (text, expected) in cases {
            assert_eq!(platform(text).to_string(), expected);
        }
        for text in ["", "/", "linux/", "a/b/c/d", "nosuch", "linux/*", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
