//! Credentials from a program `docker-credential-NAME get` (docker-credential-helpers, "Protocol"): the registry on its
//! standard input, JSON on its standard output, within a limit of time.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;

use super::{Credentials, Error};

/// How all helpers say that they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that makes the secret an identity token.
const TOKEN_USER: &str = "<token>";
const LONGEST_OUTPUT: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Runs the helper `name`; a helper that has nothing for `key` gives [`Credentials::Anonymous`].
pub(super) fn get(name: &str, key: &str, limit: Duration) -> Result<Credentials, Error> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(Error::HelperName(name.to_owned()));
    }
    ask(&format!("docker-credential-{name}"), key, limit)
}

fn ask(helper: &str, key: &str, limit: Duration) -> Result<Credentials, Error> {
    let failed = |source| Error::Helper { helper: helper.to_owned(), source };
    let Some((status, output)) = run(helper, key, limit).map_err(failed)? else {
        return Err(Error::HelperSlow { helper: helper.to_owned(), limit });
    };
    if !status.success() {
        let output = String::from_utf8_lossy(&output).trim().to_owned();
        return match output.as_str() {
            NOT_FOUND => Ok(Credentials::Anonymous),
            _ => Err(Error::HelperFailed { status: shown(status), output }),
        };
    }
    let unreadable = |source| Error::HelperAnswer { helper: helper.to_owned(), source };
    let answer: Answer = serde_json::from_slice(&output).map_err(unreadable)?;
    Ok(match answer.username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(answer.secret),
        "" => Credentials::Anonymous,
        _ => Credentials::Basic { user: answer.username, secret: answer.secret },
    })
}

/// `exit status 1`, as Go writes it.
fn shown(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

/// What the program wrote, and how it ended; nothing where it took too long.
fn run(helper: &str, key: &str, limit: Duration) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(helper)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = talk(&mut child, key, deadline);
    if !matches!(outcome, Ok(Some(_))) {
        // It may have ended by itself meanwhile; it is reaped in any case.
        let _ = child.kill();
        child.wait()?;
    }
    outcome
}

fn talk(child: &mut Child, key: &str, deadline: Instant) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(key.as_bytes()) {
            // A helper need not read what it is told.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut output = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        let mut chunk = [0; 4096];
        loop {
            if !is_ready(pipe.as_fd(), deadline)? {
                return Ok(None);
            }
            match pipe.read(&mut chunk)? {
                0 => break,
                count => output.extend_from_slice(&chunk[..count]),
            }
            if output.len() > LONGEST_OUTPUT {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it writes more than 1 MiB"));
            }
        }
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    if !is_ready(pidfd.as_fd(), deadline)? {
        return Ok(None);
    }
    Ok(Some((child.wait()?, output)))
}

/// Waits until there is something to read, or the end of it; false at the deadline.
fn is_ready(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Asks a helper that is this shell script.
    fn ask_script(script: &str, limit: Duration) -> Result<Credentials, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            match ask(path.to_str().unwrap(), "a.b", limit) {
                // Another test's child still has the script open for writing.
                Err(Error::Helper { source, .. }) if source.kind() == io::ErrorKind::ExecutableFileBusy => {}
                answer => return answer.map_err(|error| error.to_string()),
            }
        }
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_helper_is_told_the_registry_and_answers() {
        let echo =
            r#"[ "$1" = get ] || exit 9; printf '{"ServerURL":"x","Username":"u","Secret":"%s"}' "$(cat)""#;
        let expected = Credentials::Basic { user: "u".to_owned(), secret: "a.b".to_owned() };
        assert_eq!(ask_script(echo, LONG), Ok(expected));
        let token = r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"t"}'"#;
        assert_eq!(ask_script(token, LONG), Ok(Credentials::IdentityToken("t".to_owned())));
        let nothing = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(ask_script(nothing, LONG), Ok(Credentials::Anonymous));
    }

    #[test]
    fn a_helper_that_fails_is_quoted() {
        let error = ask_script("echo the vault is shut; exit 3", LONG).unwrap_err();
        assert_eq!(error, "error getting credentials - err: exit status 3, out: `the vault is shut`");
        assert!(ask_script("echo nonsense", LONG).unwrap_err().starts_with("parse the answer of "));
        let error = ask_script("yes | head -c 2000000", LONG).unwrap_err();
        assert!(error.starts_with("run "), "{error}");
    }

    #[test]
    fn a_helper_has_a_limit_of_time() {
        let begun = Instant::now();
        for script in ["exec sleep 100", "exec >&-; exec sleep 100", "sleep 30 & exit 0"] {
            let error = ask_script(script, Duration::from_millis(200)).unwrap_err();
            assert!(error.contains("gave no answer within"), "{error}");
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
