//! The names of signals: signal(7).

/// By number, less one. `SIGSTKFLT` is the one that no other system has.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first real-time signal that the C library leaves to programs, and the last of all.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal that is given as a number (any: the kernel judges it) or as a name, in any case, with `SIG`
/// or without: `9`, `KILL`, `sigkill`, `RTMIN+3`, `SIGRTMAX-1`.
pub(crate) fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let standard = (1..).zip(NAMES).find_map(|(number, known)| (known == name).then_some(number));
    let alias = || ALIASES.iter().find_map(|&(known, number)| (known == name).then_some(number));
    standard.or_else(alias).or_else(|| realtime(name))
}

fn realtime(name: &str) -> Option<i32> {
    let offset = |digits: &str, sign| match digits {
        "" => Some(0),
        _ => digits.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN + offset(rest, '+')?,
        (_, Some(rest)) => RTMAX - offset(rest, '-')?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_number_of_the_c_library() {
        for (name, number_in_c) in [
            ("HUP", libc::SIGHUP),
            ("ILL", libc::SIGILL),
            ("KILL", libc::SIGKILL),
            ("USR2", libc::SIGUSR2),
            ("TERM", libc::SIGTERM),
            ("STKFLT", libc::SIGSTKFLT),
            ("CHLD", libc::SIGCHLD),
            ("TTOU", libc::SIGTTOU),
            ("WINCH", libc::SIGWINCH),
            ("IO", libc::SIGIO),
            ("POLL", libc::SIGPOLL),
            ("SYS", libc::SIGSYS),
            ("RTMIN", libc::SIGRTMIN()),
            ("RTMAX", libc::SIGRTMAX()),
        ] {
            assert_eq!(number(name), Some(number_in_c), "{name}");
        }
    }

    #[test]
    fn a_signal_may_be_spelt_in_many_ways() {
        for (text, expected) in [
            ("9", 9),
            ("0", 0),
            ("-1", -1),
            ("64", 64),
            ("KILL", 9),
            ("sigkill", 9),
            ("SigUsr1", 10),
            ("RTMIN+3", 37),
            ("sigrtmin", 34),
            ("SIGRTMAX-1", 63),
            ("RTMAX-30", 34),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_has_no_number() {
        for text in [
            "",
            "SIG",
            "FOO",
            "KILL ",
            "SIGSIGKILL",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+x",
            "9x",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
