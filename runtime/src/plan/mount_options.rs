//! The words of a mount's `options`: what each means, and what a list of them adds up to.
//!
//! The words are those of mount(8), runc and crun; a word that is none of them belongs to the file system.
//! See the runtime specification's `config.md` (Mounts, Linux mount options) and mount_setattr(2).

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_STRICTATIME,
};

/// A change to the attributes of a mount, as mount_setattr(2) takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

impl Attributes {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// How mount events travel between a mount and its peers: mount_namespaces(7), SHARED SUBTREES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    Private,
    Shared,
    Slave,
    Unbindable,
}

/// A propagation type for one mount or for all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagation {
    pub(crate) peers: Peers,
    pub(crate) recursive: bool,
}

impl Propagation {
    /// What `word` says, if it is one of the eight.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match find(word)? {
            Meaning::Propagation(propagation) => Some(propagation),
            _ => None,
        }
    }
}

/// An option for the file system itself, one fsconfig(2) call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FsOption {
    Flag(String),
    Pair(String, String),
}

impl FsOption {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Flag(key) | Self::Pair(key, _) => key,
        }
    }
}

/// Id-mapped mount, as far as the options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdmapWord {
    pub(crate) recursive: bool,
    /// What follows `idmap=`.
    pub(crate) mapping: Option<String>,
}

/// A list of options, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) bind: bool,
    pub(crate) recursive_bind: bool,
    pub(crate) remount: bool,
    pub(crate) propagation: Vec<Propagation>,
    pub(crate) recursive: Attributes,
    pub(crate) copy_up: bool,
    pub(crate) copy_symlink: bool,
    pub(crate) source_nofollow: bool,
    pub(crate) target_nofollow: bool,
    pub(crate) idmap: Option<IdmapWord>,
    /// Options of the file system, in order.
    pub(crate) data: Vec<FsOption>,
    /// A word with a meaning that no kernel can give it.
    pub(crate) impossible: Option<String>,
    /// Flags of the mount that were asked for, and those that were asked to be off.
    vfs: Attributes,
    /// The four `MS_*ATIME` words that were asked for, as mount(2) has them.
    time: libc::c_ulong,
    time_cleared: bool,
    superblock: Vec<(&'static str, &'static str, bool)>,
}

#[derive(Debug, Clone, Copy)]
enum Meaning {
    Nothing,
    Bind {
        recursive: bool,
    },
    Remount,
    Vfs {
        flag: u64,
        on: bool,
    },
    Time {
        flag: libc::c_ulong,
        on: bool,
    },
    /// A flag of the superblock: its name when on, its name when off.
    Superblock {
        on_word: &'static str,
        off_word: &'static str,
        on: bool,
    },
    Recursive {
        flag: u64,
        on: bool,
    },
    Propagation(Propagation),
    CopyUp,
    CopySymlink,
    SourceNofollow,
    TargetNofollow,
    Idmap {
        recursive: bool,
    },
    /// crun's recursive forms of superblock flags: mount_setattr(2) has no attribute for them.
    Impossible,
}

const fn on(flag: u64) -> Meaning {
    Meaning::Vfs { flag, on: true }
}
const fn off(flag: u64) -> Meaning {
    Meaning::Vfs { flag, on: false }
}
const fn time(flag: libc::c_ulong, on: bool) -> Meaning {
    Meaning::Time { flag, on }
}
const fn superblock(on_word: &'static str, off_word: &'static str, on: bool) -> Meaning {
    Meaning::Superblock { on_word, off_word, on }
}
const fn all_on(flag: u64) -> Meaning {
    Meaning::Recursive { flag, on: true }
}
const fn all_off(flag: u64) -> Meaning {
    Meaning::Recursive { flag, on: false }
}
const fn peers(peers: Peers, recursive: bool) -> Meaning {
    Meaning::Propagation(Propagation { peers, recursive })
}

/// Every word with a meaning of its own, sorted.
const WORDS: &[(&str, Meaning)] = &[
    ("async", superblock("sync", "async", false)),
    ("atime", time(libc::MS_NOATIME, false)),
    ("bind", Meaning::Bind { recursive: false }),
    ("copy-symlink", Meaning::CopySymlink),
    ("defaults", Meaning::Nothing),
    ("dest-nofollow", Meaning::TargetNofollow),
    ("dev", off(MOUNT_ATTR_NODEV)),
    ("diratime", time(libc::MS_NODIRATIME, false)),
    // No word turns it off again.
    ("dirsync", superblock("dirsync", "", true)),
    ("exec", off(MOUNT_ATTR_NOEXEC)),
    ("idmap", Meaning::Idmap { recursive: false }),
    ("iversion", superblock("iversion", "noiversion", true)),
    ("lazytime", superblock("lazytime", "nolazytime", true)),
    // The kernel never prints about a mount made by descriptor, its words go to that descriptor: silent already.
    ("loud", Meaning::Nothing),
    ("mand", superblock("mand", "nomand", true)),
    ("noatime", time(libc::MS_NOATIME, true)),
    ("nodev", on(MOUNT_ATTR_NODEV)),
    ("nodiratime", time(libc::MS_NODIRATIME, true)),
    ("noexec", on(MOUNT_ATTR_NOEXEC)),
    ("noiversion", superblock("iversion", "noiversion", false)),
    ("nolazytime", superblock("lazytime", "nolazytime", false)),
    ("nomand", superblock("mand", "nomand", false)),
    ("norelatime", time(libc::MS_RELATIME, false)),
    ("nostrictatime", time(libc::MS_STRICTATIME, false)),
    ("nosuid", on(MOUNT_ATTR_NOSUID)),
    ("nosymfollow", on(MOUNT_ATTR_NOSYMFOLLOW)),
    ("private", peers(Peers::Private, false)),
    ("rasync", Meaning::Impossible),
    ("ratime", all_off(MOUNT_ATTR_NOATIME)),
    ("rbind", Meaning::Bind { recursive: true }),
    ("rdev", all_off(MOUNT_ATTR_NODEV)),
    ("rdiratime", all_off(MOUNT_ATTR_NODIRATIME)),
    ("rdirsync", Meaning::Impossible),
    ("relatime", time(libc::MS_RELATIME, true)),
    ("remount", Meaning::Remount),
    ("rexec", all_off(MOUNT_ATTR_NOEXEC)),
    ("ridmap", Meaning::Idmap { recursive: true }),
    ("rmand", Meaning::Impossible),
    ("rnoatime", all_on(MOUNT_ATTR_NOATIME)),
    ("rnodev", all_on(MOUNT_ATTR_NODEV)),
    ("rnodiratime", all_on(MOUNT_ATTR_NODIRATIME)),
    ("rnoexec", all_on(MOUNT_ATTR_NOEXEC)),
    ("rnomand", Meaning::Impossible),
    ("rnorelatime", all_off(MOUNT_ATTR_RELATIME)),
    ("rnostrictatime", all_off(MOUNT_ATTR_STRICTATIME)),
    ("rnosuid", all_on(MOUNT_ATTR_NOSUID)),
    ("rnosymfollow", all_on(MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro", on(MOUNT_ATTR_RDONLY)),
    ("rprivate", peers(Peers::Private, true)),
    ("rrelatime", all_on(MOUNT_ATTR_RELATIME)),
    ("rro", all_on(MOUNT_ATTR_RDONLY)),
    ("rrw", all_off(MOUNT_ATTR_RDONLY)),
    ("rshared", peers(Peers::Shared, true)),
    ("rslave", peers(Peers::Slave, true)),
    ("rstrictatime", all_on(MOUNT_ATTR_STRICTATIME)),
    ("rsuid", all_off(MOUNT_ATTR_NOSUID)),
    ("rsymfollow", all_off(MOUNT_ATTR_NOSYMFOLLOW)),
    ("rsync", Meaning::Impossible),
    ("runbindable", peers(Peers::Unbindable, true)),
    ("rw", off(MOUNT_ATTR_RDONLY)),
    ("shared", peers(Peers::Shared, false)),
    ("silent", Meaning::Nothing),
    ("slave", peers(Peers::Slave, false)),
    ("src-nofollow", Meaning::SourceNofollow),
    ("strictatime", time(libc::MS_STRICTATIME, true)),
    ("suid", off(MOUNT_ATTR_NOSUID)),
    ("symfollow", off(MOUNT_ATTR_NOSYMFOLLOW)),
    ("sync", superblock("sync", "async", true)),
    ("tmpcopyup", Meaning::CopyUp),
    ("unbindable", peers(Peers::Unbindable, false)),
];

/// The words that `features` lists, sorted. The id-map words have a place of their own there.
pub(crate) fn known_words() -> impl Iterator<Item = &'static str> {
    let listed = |meaning: &Meaning| !matches!(meaning, Meaning::Idmap { .. } | Meaning::Impossible);
    WORDS.iter().filter(move |(_, meaning)| listed(meaning)).map(|&(word, _)| word)
}

fn find(word: &str) -> Option<Meaning> {
    let index = WORDS.binary_search_by_key(&word, |&(known, _)| known).ok()?;
    Some(WORDS[index].1)
}

/// Every flag of a mount that a bind takes from its source unless options say otherwise; access times are apart.
const VFS_FLAGS: u64 =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;

impl Options {
    pub(crate) fn parse(words: &[String]) -> Self {
        let mut options = Self::default();
        for word in words {
            match find(word) {
                Some(meaning) => options.add(word, meaning),
                None => options.add_unknown(word),
            }
        }
        options
    }

    fn add(&mut self, word: &str, meaning: Meaning) {
        match meaning {
            Meaning::Nothing => {}
            Meaning::Bind { recursive } => {
                self.bind = true;
                self.recursive_bind |= recursive;
            }
            Meaning::Remount => self.remount = true,
            Meaning::Vfs { flag, on } => self.vfs = changed(self.vfs, flag, on),
            Meaning::Time { flag, on: true } => self.time |= flag,
            Meaning::Time { flag, on: false } => {
                self.time &= !flag;
                self.time_cleared = true;
            }
            Meaning::Superblock { on_word, off_word, on } => {
                self.superblock.retain(|&(known, ..)| known != on_word);
                self.superblock.push((on_word, off_word, on));
            }
            Meaning::Recursive { flag, on } => self.add_recursive(flag, on),
            Meaning::Propagation(propagation) => self.propagation.push(propagation),
            Meaning::CopyUp => self.copy_up = true,
            Meaning::CopySymlink => self.copy_symlink = true,
            Meaning::SourceNofollow => self.source_nofollow = true,
            Meaning::TargetNofollow => self.target_nofollow = true,
            Meaning::Idmap { recursive } => self.idmap = Some(IdmapWord { recursive, mapping: None }),
            Meaning::Impossible => self.impossible = Some(word.to_owned()),
        }
    }

    /// The access time is one value of several bits: to change it, all of them are cleared (mount_setattr(2)).
    fn add_recursive(&mut self, flag: u64, on: bool) {
        if flag & MOUNT_ATTR__ATIME != flag {
            self.recursive = changed(self.recursive, flag, on);
            return;
        }
        self.recursive.clear |= MOUNT_ATTR__ATIME;
        self.recursive.set &= if on { !MOUNT_ATTR__ATIME } else { !flag };
        self.recursive.set |= if on { flag } else { 0 };
    }

    fn add_unknown(&mut self, word: &str) {
        let mapping = |prefix| word.strip_prefix(prefix).map(str::to_owned);
        if let Some(mapping) = mapping("idmap=") {
            self.idmap = Some(IdmapWord { recursive: false, mapping: Some(mapping) });
        } else if let Some(mapping) = mapping("ridmap=") {
            self.idmap = Some(IdmapWord { recursive: true, mapping: Some(mapping) });
        } else {
            self.data.extend(split_data(word));
        }
    }

    /// Whether any flag of the mount was named: a bind without any keeps its source's.
    pub(crate) fn names_flags(&self) -> bool {
        !self.vfs.is_empty() || self.time != 0 || self.time_cleared || !self.superblock.is_empty()
    }

    /// Exactly the flags named, all others off; access times stay as they are unless one was named.
    pub(crate) fn exact(&self) -> Attributes {
        let Attributes { set, clear } = self.asked();
        Attributes { set, clear: clear | (VFS_FLAGS & !set) }
    }

    /// Only what was named: for a mount whose other flags are locked. Whether links are followed is never locked.
    pub(crate) fn lenient(&self) -> Attributes {
        let Attributes { set, clear } = self.asked();
        Attributes { set, clear: clear | (MOUNT_ATTR_NOSYMFOLLOW & !set) }
    }

    fn asked(&self) -> Attributes {
        let time = self.access_time();
        Attributes { set: self.vfs.set | time.set, clear: self.vfs.clear | time.clear }
    }

    /// mount(2): strict wins, then none, and relative is the rule.
    fn access_time(&self) -> Attributes {
        if self.time == 0 {
            return Attributes::default();
        }
        let has = |flag| self.time & flag != 0;
        let mut set = match () {
            () if has(libc::MS_STRICTATIME) => MOUNT_ATTR_STRICTATIME,
            () if has(libc::MS_NOATIME) => MOUNT_ATTR_NOATIME,
            () => MOUNT_ATTR_RELATIME,
        };
        if has(libc::MS_NODIRATIME) {
            set |= MOUNT_ATTR_NODIRATIME;
        }
        Attributes { set, clear: MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME }
    }

    /// Superblock flags to set on a new file system.
    pub(crate) fn superblock_on(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.superblock.iter().filter(|(.., on)| *on).map(|&(word, ..)| word)
    }

    /// Superblock flags to set and to clear on one that exists.
    pub(crate) fn superblock_changes(&self) -> impl Iterator<Item = &'static str> + '_ {
        let access = match (self.vfs.set & MOUNT_ATTR_RDONLY, self.vfs.clear & MOUNT_ATTR_RDONLY) {
            (0, 0) => None,
            (0, _) => Some("rw"),
            _ => Some("ro"),
        };
        let others =
            self.superblock.iter().map(|&(on_word, off_word, on)| if on { on_word } else { off_word });
        access.into_iter().chain(others)
    }
}

/// The later word of a pair wins.
fn changed(attributes: Attributes, flag: u64, on: bool) -> Attributes {
    let Attributes { set, clear } = attributes;
    if on {
        Attributes { set: set | flag, clear: clear & !flag }
    } else {
        Attributes { set: set & !flag, clear: clear | flag }
    }
}

/// Splits `a,b=c` as the kernel splits the data of mount(2): a comma within double quotes (a security context) or
/// after a backslash (a layer of overlayfs) does not separate.
fn split_data(word: &str) -> Vec<FsOption> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in word.chars() {
        let separates = c == ',' && !quoted && !escaped;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        match parts.last_mut() {
            Some(part) if !separates => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts.iter().filter(|part| !part.is_empty()).map(|part| option(part)).collect()
}

fn option(part: &str) -> FsOption {
    let Some((key, value)) = part.split_once('=') else {
        return FsOption::Flag(part.to_owned());
    };
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = if key.ends_with("context") { unquoted.unwrap_or(value) } else { value };
    FsOption::Pair(key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Options {
        Options::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn flags(set: u64, clear: u64) -> Attributes {
        Attributes { set, clear }
    }

    #[test]
    fn words_are_sorted_so_that_the_search_finds_them() {
        assert!(WORDS.is_sorted_by_key(|&(word, _)| word));
        assert!(WORDS.iter().all(|&(word, _)| find(word).is_some()));
    }

    #[test]
    fn features_list_every_word_runc_lists() {
        let runc = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
            nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime \
            rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
        let known: Vec<_> = known_words().collect();
        for word in runc.split_whitespace() {
            assert!(known.contains(&word), "{word}");
        }
        assert!(!known.contains(&"idmap") && !known.contains(&"rsync"));
    }

    #[test]
    fn later_word_of_a_pair_wins() {
        assert_eq!(parse("ro rw").asked(), flags(0, MOUNT_ATTR_RDONLY));
        assert_eq!(parse("rw ro").asked(), flags(MOUNT_ATTR_RDONLY, 0));
        assert_eq!(parse("noexec exec nosuid").asked(), flags(MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOEXEC));
        assert_eq!(parse("sync async").superblock_on().count(), 0);
    }

    #[test]
    fn exact_clears_the_flags_not_named_but_leaves_access_times() {
        let exact = parse("bind ro").exact();
        assert_eq!(exact.set, MOUNT_ATTR_RDONLY);
        assert_eq!(exact.clear, VFS_FLAGS & !MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn access_times_are_one_choice() {
        let all = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
        for (words, set) in [
            ("noatime", MOUNT_ATTR_NOATIME),
            ("relatime", MOUNT_ATTR_RELATIME),
            ("noatime strictatime", MOUNT_ATTR_STRICTATIME),
            ("nodiratime", MOUNT_ATTR_NODIRATIME),
            ("noatime nodiratime", MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME),
        ] {
            assert_eq!(parse(words).asked(), flags(set, all), "{words}");
        }
        assert_eq!(parse("atime diratime norelatime nostrictatime").asked(), Attributes::default());
        assert!(parse("atime").names_flags(), "a word that clears makes a bind lose its source's flags");
    }

    #[test]
    fn recursive_access_times_clear_the_whole_group() {
        assert_eq!(parse("rnoatime").recursive, flags(MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME));
        assert_eq!(parse("rrelatime").recursive, flags(0, MOUNT_ATTR__ATIME));
        assert_eq!(parse("rstrictatime rnoatime").recursive, flags(MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME));
        assert_eq!(parse("rnoatime ratime").recursive, flags(0, MOUNT_ATTR__ATIME));
        assert_eq!(
            parse("rro rnodiratime rdev").recursive,
            flags(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NODEV)
        );
    }

    #[test]
    fn bind_alone_or_with_propagation_names_no_flag() {
        let options = parse("rbind rprivate slave rro");
        assert!(!options.names_flags());
        assert!(options.bind && options.recursive_bind);
        assert_eq!(
            options.propagation,
            [
                Propagation { peers: Peers::Private, recursive: true },
                Propagation { peers: Peers::Slave, recursive: false },
            ]
        );
    }

    #[test]
    fn unknown_words_go_to_the_file_system_split_as_the_kernel_splits() {
        let pair = |key: &str, value: &str| FsOption::Pair(key.into(), value.into());
        assert_eq!(
            parse("size=64k,mode=1777 newinstance acl").data,
            [
                pair("size", "64k"),
                pair("mode", "1777"),
                FsOption::Flag("newinstance".into()),
                FsOption::Flag("acl".into()),
            ]
        );
        assert_eq!(
            parse(r#"context="a:b:c1,c2",uid=1"#).data,
            [pair("context", "a:b:c1,c2"), pair("uid", "1")]
        );
        assert_eq!(
            parse(r"lowerdir=/a\,b:/c,xino=on").data,
            [pair("lowerdir", r"/a\,b:/c"), pair("xino", "on")]
        );
    }

    #[test]
    fn idmap_words() {
        assert_eq!(parse("idmap").idmap, Some(IdmapWord { recursive: false, mapping: None }));
        assert_eq!(parse("ridmap").idmap, Some(IdmapWord { recursive: true, mapping: None }));
        let mapped = Some(IdmapWord { recursive: false, mapping: Some("uids=0-1-10;gids=0-1-10".into()) });
        assert_eq!(parse("idmap=uids=0-1-10;gids=0-1-10").idmap, mapped);
    }

    #[test]
    fn remount_says_on_and_off() {
        assert_eq!(
            parse("remount rw nolazytime sync").superblock_changes().collect::<Vec<_>>(),
            ["rw", "nolazytime", "sync"]
        );
        assert_eq!(parse("rsync").impossible.as_deref(), Some("rsync"));
    }
}
