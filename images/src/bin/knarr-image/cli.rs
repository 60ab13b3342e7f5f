//! The command line: `knarr-image [FLAGS] COMMAND [ARGUMENTS]`, flags anywhere up to `--`.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Usage: knarr-image [--root DIR] COMMAND

Images without a daemon: fetch them, keep them, make bundles of them that knarr runs.

  pull IMAGE               fetch an image from its registry; --platform OS/ARCH[/VARIANT]
  push IMAGE               send an image to the registry that its name begins with
  ls                       list images
  inspect IMAGE            print an image's configuration and manifest as JSON
  history IMAGE            print how its layers came about
  tag IMAGE NAME           give it one more name
  rm IMAGE...              take a name away, and the image with its last one; --force
  save IMAGE...            write images to an archive; --output FILE
  load                     read images from an archive of docker, podman or skopeo; --input FILE
  import FILE [NAME]       make an image of a root file system's archive; - is stdin; --message TEXT
  unpack IMAGE BUNDLE      make a bundle: config.json, and the image mounted on rootfs; --id NAME
  release NAME             unmount and remove what unpack made in the store
  commit NAME [IMAGE]      make an image of what a bundle's container wrote; --message TEXT, --author TEXT
  df                       print what takes the space
  gc                       remove what no image needs; --prune dangling|unused removes images too

  --root DIR               the store [/var/lib/knarr/images]
  --insecure HOST[:PORT]   a registry that may be spoken to without a certificate or without TLS; may be repeated
  --quiet                  tell no progress

Credentials are those of docker login ($DOCKER_CONFIG, ~/.docker/config.json).
";

/// What holds for every command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) root: PathBuf,
    pub(crate) insecure: Vec<String>,
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Pull { image: String, platform: Option<String> },
    Push { image: String },
    List,
    Inspect { image: String },
    History { image: String },
    Tag { image: String, name: String },
    Remove { images: Vec<String>, force: bool },
    Save { images: Vec<String>, output: Option<PathBuf> },
    Load { input: Option<PathBuf> },
    Import { file: PathBuf, name: Option<String>, message: Option<String> },
    Unpack { image: String, bundle: PathBuf, id: Option<String> },
    Release { id: String },
    Commit { id: String, name: Option<String>, message: Option<String>, author: Option<String> },
    Space,
    Collect { prune: Option<String> },
}

#[derive(Debug)]
pub(crate) enum Parsed {
    /// What was asked for is this text.
    Told(String),
    Run(Options, Command),
}

/// Flags by name with their values, and the rest.
#[derive(Default)]
struct Words {
    flags: Vec<(&'static str, String)>,
    rest: Vec<String>,
}

/// Flags that take a value, long and short.
const VALUES: [(&str, &str); 9] = [
    ("root", ""),
    ("insecure", ""),
    ("platform", ""),
    ("output", "o"),
    ("input", "i"),
    ("message", "m"),
    ("author", "a"),
    ("id", ""),
    ("prune", ""),
];
const SWITCHES: [(&str, &str); 4] = [("quiet", "q"), ("force", "f"), ("help", "h"), ("version", "")];

/// # Errors
/// What is wrong, for a person.
pub(crate) fn parse(args: &[String]) -> Result<Parsed, String> {
    let mut words = Words::scan(args)?;
    if words.switch("version") {
        return Ok(Parsed::Told(format!("knarr-image version {}\n", env!("CARGO_PKG_VERSION"))));
    }
    if words.switch("help") || words.rest.first().is_none_or(|word| word == "help") {
        return Ok(Parsed::Told(HELP.to_owned()));
    }
    let options = Options {
        root: words.value("root").map_or_else(|| PathBuf::from("/var/lib/knarr/images"), PathBuf::from),
        insecure: std::iter::from_fn(|| words.value("insecure")).collect(),
        quiet: words.switch("quiet"),
    };
    let command = words.command()?;
    match words.flags.first() {
        Some((name, _)) => Err(format!("the command has no flag --{name}")),
        None => Ok(Parsed::Run(options, command)),
    }
}

impl Words {
    fn scan(args: &[String]) -> Result<Self, String> {
        let mut words = Self::default();
        let mut args = args.iter();
        while let Some(word) = args.next() {
            if word == "--" {
                words.rest.extend(args.cloned());
                break;
            }
            let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
                words.rest.push(word.clone());
                continue;
            };
            let (name, value) = match name.trim_start_matches('-').split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name.trim_start_matches('-'), None),
            };
            let named = |table: &[(&'static str, &str)]| {
                table
                    .iter()
                    .find(|(long, short)| *long == name || (*short == name && !short.is_empty()))
                    .map(|flag| flag.0)
            };
            let flag = match (named(&VALUES), named(&SWITCHES)) {
                (Some(flag), _) => {
                    (flag, value.or_else(|| args.next().cloned()).ok_or(format!("{word} needs a value"))?)
                }
                (None, Some(flag)) if value.is_none() => (flag, String::new()),
                _ => return Err(format!("unknown flag {word}")),
            };
            words.flags.push(flag);
        }
        Ok(words)
    }

    /// The first value of a flag, which is then done with.
    fn value(&mut self, name: &str) -> Option<String> {
        let place = self.flags.iter().position(|flag| flag.0 == name)?;
        Some(self.flags.remove(place).1)
    }

    fn switch(&mut self, name: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|flag| flag.0 != name);
        self.flags.len() < before
    }

    fn command(&mut self) -> Result<Command, String> {
        let rest = std::mem::take(&mut self.rest);
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Ok(match rest.as_slice() {
            ["pull", image] => Command::Pull { image: owned(image), platform: self.value("platform") },
            ["push", image] => Command::Push { image: owned(image) },
            ["ls"] => Command::List,
            ["inspect", image] => Command::Inspect { image: owned(image) },
            ["history", image] => Command::History { image: owned(image) },
            ["tag", image, name] => Command::Tag { image: owned(image), name: owned(name) },
            ["rm", images @ ..] if !images.is_empty() => {
                Command::Remove { images: all(images), force: self.switch("force") }
            }
            ["save", images @ ..] if !images.is_empty() => {
                Command::Save { images: all(images), output: self.value("output").map(PathBuf::from) }
            }
            ["load"] => Command::Load { input: self.value("input").map(PathBuf::from) },
            ["import", file, name @ ..] if name.len() < 2 => Command::Import {
                file: PathBuf::from(file),
                name: name.first().map(|name| owned(name)),
                message: self.value("message"),
            },
            ["unpack", image, bundle] => {
                Command::Unpack { image: owned(image), bundle: PathBuf::from(bundle), id: self.value("id") }
            }
            ["release", id] => Command::Release { id: owned(id) },
            ["commit", id, name @ ..] if name.len() < 2 => Command::Commit {
                id: owned(id),
                name: name.first().map(|name| owned(name)),
                message: self.value("message"),
                author: self.value("author"),
            },
            ["df"] => Command::Space,
            ["gc"] => Command::Collect { prune: self.value("prune") },
            [name, ..] if HELP.contains(&format!("\n  {name} ")) => {
                return Err(format!("wrong number of arguments for {name}"));
            }
            _ => return Err(format!("unknown command {:?}", rest.first().copied().unwrap_or_default())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<(Options, Command), String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&args)? {
            Parsed::Run(options, command) => Ok((options, command)),
            Parsed::Told(text) => Err(text),
        }
    }

    #[test]
    fn flags_stand_anywhere() {
        let (options, found) = command("--root /r rm -f --insecure a:1 x --insecure=b y").unwrap();
        assert_eq!(options.root, PathBuf::from("/r"));
        assert_eq!(options.insecure, ["a:1", "b"]);
        assert_eq!(found, Command::Remove { images: vec!["x".into(), "y".into()], force: true });
        let (_, found) = command("import - -m why").unwrap();
        assert_eq!(found, Command::Import { file: "-".into(), name: None, message: Some("why".into()) });
    }

    #[test]
    fn misuse_is_named() {
        for (line, complaint) in [
            ("pull", "wrong number of arguments for pull"),
            ("frobnicate", "unknown command \"frobnicate\""),
            ("ls --force", "the command has no flag --force"),
            ("ls --fo", "unknown flag --fo"),
            ("ls --root", "--root needs a value"),
            ("ls --quiet=1", "unknown flag --quiet=1"),
        ] {
            assert_eq!(command(line).unwrap_err(), complaint);
        }
        assert_eq!(command("").unwrap_err(), HELP);
        assert_eq!(command("pull --help").unwrap_err(), HELP);
    }
}
