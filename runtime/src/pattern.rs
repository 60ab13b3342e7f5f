//! POSIX extended regular expressions (regex(7)) for short texts such as a container's id.
//!
//! The C library's would be a thirtieth of the program, with its locales. What POSIX leaves undefined or to the locale is
//! refused: back references and other escaped letters, collating symbols, equivalence classes.

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Pattern(Node);

#[derive(Debug)]
enum Node {
    /// One byte that is, or is not, in one of the ranges.
    Byte {
        ranges: Vec<(u8, u8)>,
        inside: bool,
    },
    Start,
    End,
    Row(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u16,
        most: u16,
    },
}

/// As `most`: without end.
const ENDLESS: u16 = u16::MAX;
/// The highest number of an interval, the C library's `RE_DUP_MAX`.
const MOST_REPEATS: u16 = 0x7fff;
/// The longest expression, in bytes: parsing and matching descend into it.
const LONGEST: usize = 512;

const CLASSES: [(&str, &[(u8, u8)]); 12] = [
    ("alnum", &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')]),
    ("alpha", &[(b'A', b'Z'), (b'a', b'z')]),
    ("blank", &[(b'\t', b'\t'), (b' ', b' ')]),
    ("cntrl", &[(0, 0x1f), (0x7f, 0x7f)]),
    ("digit", &[(b'0', b'9')]),
    ("graph", &[(b'!', b'~')]),
    ("lower", &[(b'a', b'z')]),
    ("print", &[(b' ', b'~')]),
    ("punct", &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')]),
    ("space", &[(b'\t', b'\r'), (b' ', b' ')]),
    ("upper", &[(b'A', b'Z')]),
    ("xdigit", &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')]),
];

impl Pattern {
    /// None when the text is no regular expression, or too long a one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parser = Parser { rest: text.as_bytes(), depth: 0 };
        let node = parser.alternatives()?;
        parser.rest.is_empty().then_some(Self(node))
    }

    /// Whether some part of `text` matches.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let everywhere = vec![true; text.len() + 1];
        self.0.ends(text.as_bytes(), everywhere).contains(&true)
    }
}

impl Node {
    /// The places of `text` where a match ends that begins at one of `from`. All places at once, as one after the other
    /// some expressions would take exponentially long.
    fn ends(&self, text: &[u8], mut from: Vec<bool>) -> Vec<bool> {
        match self {
            Self::Byte { ranges, inside } => {
                let fits =
                    |byte: u8| ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) == *inside;
                let after = from.iter().zip(text).map(|(here, byte)| *here && fits(*byte));
                std::iter::once(false).chain(after).collect()
            }
            Self::Start => {
                from[1..].fill(false);
                from
            }
            Self::End => {
                from[..text.len()].fill(false);
                from
            }
            Self::Row(nodes) => nodes.iter().fold(from, |from, node| node.ends(text, from)),
            Self::Either(nodes) => {
                let none = vec![false; from.len()];
                nodes.iter().fold(none, |ends, node| union(ends, &node.ends(text, from.clone())))
            }
            Self::Repeat { node, least, most } => {
                // Places only move on: when a round changes nothing, no later one does.
                let enough = rounds(from, 0..*least, |from| node.ends(text, from));
                rounds(enough, *least..*most, |from| union(from.clone(), &node.ends(text, from)))
            }
        }
    }
}

fn rounds(
    mut places: Vec<bool>,
    count: std::ops::Range<u16>,
    round: impl Fn(Vec<bool>) -> Vec<bool>,
) -> Vec<bool> {
    for _ in count {
        let next = round(places.clone());
        if next == places {
            break;
        }
        places = next;
    }
    places
}

fn union(mut one: Vec<bool>, other: &[bool]) -> Vec<bool> {
    one.iter_mut().zip(other).for_each(|(one, other)| *one |= *other);
    one
}

struct Parser<'t> {
    rest: &'t [u8],
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let taken = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(taken)..];
        taken
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn alternatives(&mut self) -> Option<Node> {
        let mut rows = vec![self.row()?];
        while self.take(b'|') {
            rows.push(self.row()?);
        }
        Some(Node::Either(rows))
    }

    fn row(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        loop {
            match self.rest.first() {
                None | Some(b'|') => return Some(Node::Row(nodes)),
                // Alone, the closing one is a character as any other.
                Some(b')') if self.depth > 0 => return Some(Node::Row(nodes)),
                Some(_) => nodes.push(self.repeated()?),
            }
        }
    }

    fn repeated(&mut self) -> Option<Node> {
        let mut node = self.atom()?;
        loop {
            let (least, most) = match self.rest.first() {
                Some(b'*') => (0, ENDLESS),
                Some(b'+') => (1, ENDLESS),
                Some(b'?') => (0, 1),
                Some(b'{') => self.interval()?,
                _ => return Some(node),
            };
            self.next();
            node = Node::Repeat { node: Box::new(node), least, most };
        }
    }

    /// `{2}`, `{2,}`, `{,3}` or `{2,3}`, up to the closing brace.
    fn interval(&mut self) -> Option<(u16, u16)> {
        let length = self.rest.iter().position(|byte| *byte == b'}')?;
        let (interval, rest) = self.rest.split_at(length);
        self.rest = rest;
        let interval = std::str::from_utf8(&interval[1..]).ok()?;
        let number = |digits: &str, absent: Option<u16>| match digits {
            "" => absent,
            _ => digits.parse().ok().filter(|number| *number <= MOST_REPEATS),
        };
        let (least, most) = match interval.split_once(',') {
            Some(("", "")) => return None,
            Some((least, most)) => (number(least, Some(0))?, number(most, Some(ENDLESS))?),
            None => (number(interval, None)?, number(interval, None)?),
        };
        (least <= most).then_some((least, most))
    }

    fn atom(&mut self) -> Option<Node> {
        let one = |byte| Some(Node::Byte { ranges: vec![(byte, byte)], inside: true });
        match self.next()? {
            b'^' => Some(Node::Start),
            b'$' => Some(Node::End),
            b'.' => Some(Node::Byte { ranges: Vec::new(), inside: false }),
            b'[' => self.bracket(),
            b'(' => {
                self.depth += 1;
                let inner = self.alternatives()?;
                self.depth -= 1;
                self.take(b')').then_some(inner)
            }
            b'\\' => one(self.next().filter(|byte| !byte.is_ascii_alphanumeric())?),
            b'*' | b'+' | b'?' | b'{' => None,
            byte => one(byte),
        }
    }

    /// Behind `[`.
    fn bracket(&mut self) -> Option<Node> {
        let inside = !self.take(b'^');
        let mut ranges = Vec::new();
        loop {
            match self.next()? {
                b']' if !ranges.is_empty() => return Some(Node::Byte { ranges, inside }),
                b'[' if self.take(b':') => ranges.extend(self.class()?),
                b'[' if matches!(self.rest, [b'.' | b'=', ..]) => return None,
                low => {
                    let is_range = matches!(self.rest, [b'-', high, ..] if *high != b']');
                    let high = if is_range { self.rest[1] } else { low };
                    self.rest = &self.rest[if is_range { 2 } else { 0 }..];
                    let is_symbol = is_range && high == b'[' && matches!(self.rest, [b'.' | b'=' | b':', ..]);
                    if low > high || is_symbol {
                        return None;
                    }
                    ranges.push((low, high));
                }
            }
        }
    }

    /// Behind `[:`.
    fn class(&mut self) -> Option<&'static [(u8, u8)]> {
        CLASSES.iter().find_map(|(name, ranges)| {
            self.rest = self.rest.strip_prefix(name.as_bytes())?.strip_prefix(b":]")?;
            Some(*ranges)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::c_library::regex_matches;

    const TEXTS: [&str; 14] =
        ["", "a", "b", "ab", "ba", "aab", "abab", "web-1", "my-web_12", "a.b", "A9+z", "]", "aaaaaaa", "a)b"];

    const PATTERNS: [&str; 61] = [
        "",
        "a",
        "^a",
        "b$",
        "^$",
        "a|b",
        "^(a|b)$",
        "(a|b)*",
        "^(a|b){2}$",
        "^(ab)+$",
        "^(ab)*$",
        "a{3}",
        "^a{2,}$",
        "^a{,2}$",
        "^a{1,2}b?$",
        "^a{0}$",
        "^(a|)$",
        "()",
        "^()b",
        "a**",
        "^(a*)*$",
        "^(a|b*){3}$",
        "^(a?b){2}$",
        "web",
        "^web-[0-9]+$",
        "^[[:alpha:]]+-[[:digit:]]$",
        "[^a]",
        "^[^[:alnum:]]",
        "[]]",
        "[^]a]",
        "[a-]",
        "[-a]",
        "[!-[]",
        "^[a-cx-z]+$",
        "[.]",
        "a\\.b",
        "a.b",
        "\\+",
        "[+]",
        "a)",
        "^a)b$",
        ".",
        "^.{5}$",
        "(^a)|(b$)",
        "x*",
        "^(x*|y)a",
        "((a))",
        "$^",
        "^[[:upper:]]",
        "[[:punct:]]",
        "[[:space:]]",
        "^(((a|b)a)|b)*$",
        "a$|^b",
        "(a$)|b",
        "^aa+",
        "(aa)+$",
        "a{2}{2}",
        "^(a{2,3}){2}",
        "a]",
        "}",
        "a}",
    ];

    const BROKEN: [&str; 23] = [
        "(",
        "(a",
        "[",
        "[a",
        "[]",
        "[^]",
        "*",
        "+a",
        "?",
        "{1}",
        "a|*",
        "(*a)",
        "a{",
        "a{x}",
        "a{2,1}",
        "a{40000}",
        "a{1",
        "[[:alpha:]",
        "[[:nothing:]]",
        "[b-a]",
        "\\",
        "a\\",
        "a{,}x{",
    ];

    #[test]
    fn an_expression_matches_what_the_c_library_says() {
        for pattern in PATTERNS {
            let ours = Pattern::parse(pattern).unwrap_or_else(|| panic!("{pattern} is refused"));
            for text in TEXTS {
                assert_eq!(Some(ours.is_match(text)), regex_matches(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn what_the_c_library_refuses_is_refused() {
        for pattern in BROKEN {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
            assert_eq!(regex_matches(pattern, ""), None, "{pattern}");
        }
    }

    #[test]
    fn what_a_locale_would_decide_is_refused() {
        for pattern in ["(a)\\1", "\\w", "[[.a.]]", "[[=a=]]", "[a-[.b.]]"] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn no_expression_takes_long_or_deep() {
        let text = "a".repeat(1024);
        let hard = Pattern::parse("^(((a*)*)*){9}{9}{9}{9}b$").unwrap();
        assert!(!hard.is_match(&text));
        let nested = format!("{}a{}", "(".repeat(255), ")".repeat(255));
        assert!(Pattern::parse(&nested).unwrap().is_match(&text));
        assert!(Pattern::parse(&"a*".repeat(256)).unwrap().is_match(&text));
        assert!(Pattern::parse(&format!("a{}", "*".repeat(511))).unwrap().is_match(&text));
        assert!(Pattern::parse(&"a".repeat(513)).is_none());
    }
}
