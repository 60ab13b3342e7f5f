//! Go's `path.Match`: what the filter `reference` is written in. A star does not match a slash.

/// Whether a whole text fits; none if the pattern is broken.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    check(&pattern)?;
    let text: Vec<char> = text.chars().collect();
    Some(fits(&pattern, &text))
}

/// A member of a class, or one character outside.
fn check(mut pattern: &[char]) -> Option<()> {
    while let Some((first, rest)) = pattern.split_first() {
        pattern = match first {
            '\\' => rest.get(1..)?,
            '[' => class(rest, None)?.1,
            _ => rest,
        };
    }
    Some(())
}

/// Reads a class behind its bracket: whether it has the character, and what follows.
fn class(pattern: &[char], wanted: Option<char>) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.split_first()? {
        ('^', rest) => (true, rest),
        _ => (false, pattern),
    };
    let (mut found, mut members) = (false, 0);
    loop {
        let (first, next) = rest.split_first()?;
        if *first == ']' && members > 0 {
            return Some((found != negated, next));
        }
        let (low, next) = member(rest)?;
        let (high, next) = match next.split_first() {
            Some(('-', next)) => member(next)?,
            _ => (low, next),
        };
        found |= wanted.is_some_and(|wanted| (low..=high).contains(&wanted));
        members += 1;
        rest = next;
    }
}

fn member(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.split_first()? {
        ('-' | ']', _) => None,
        ('\\', rest) => rest.split_first().map(|(first, rest)| (*first, rest)),
        (first, rest) => Some((*first, rest)),
    }
}

/// Goes back to the last star where something does not fit, so that time grows with the product of the lengths at most.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut rest) = (pattern, text);
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        if let Some(('*', next)) = at.split_first() {
            star = Some((next, rest));
            at = next;
            continue;
        }
        if let Some((next, left)) = step(at, rest) {
            (at, rest) = (next, left);
            continue;
        }
        if at.is_empty() && rest.is_empty() {
            return true;
        }
        match star {
            Some((next, left)) if left.first().is_some_and(|first| *first != '/') => {
                star = Some((next, &left[1..]));
                (at, rest) = (next, &left[1..]);
            }
            _ => return false,
        }
    }
}

/// One character, if it fits.
fn step<'a>(pattern: &'a [char], text: &'a [char]) -> Option<(&'a [char], &'a [char])> {
    let ((first, next), (found, left)) = (pattern.split_first()?, text.split_first()?);
    match first {
        '?' => (*found != '/').then_some((next, left)),
        '[' => {
            class(next, Some(*found)).filter(|(fits, _)| *fits && *found != '/').map(|(_, next)| (next, left))
        }
        '\\' => next.split_first().filter(|(escaped, _)| *escaped == found).map(|(_, next)| (next, left)),
        first => (first == found).then_some((next, left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        let table = [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*b*c*d", "axbxcxd", Some(true)),
            ("a*b*c*d", "axbxcxe", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("busy*:1.?", "busybox:1.3", Some(true)),
            ("busy*:1.?", "busybox:latest", Some(false)),
            ("ab[c-e]", "abd", Some(true)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("[\\-x]", "-", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("[a", "a", None),
            ("[]a]", "]", None),
            ("a[", "a", None),
            ("a\\", "a", None),
        ];
        for (pattern, text, want) in table {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
