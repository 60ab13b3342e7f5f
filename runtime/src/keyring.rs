//! The session keyring of a container (session-keyring(7)): one of its own, so that it does not inherit the caller's.

use std::ffi::CString;

use crate::error::{During as _, Error, Result};
use crate::sys::Errno;
use crate::sys::attributes::{keyctl_join_session_keyring, keyctl_setperm};

/// What a new keyring lets its possessor and its user do (`keyctl_setperm(3)`); the kernel's own choice.
const DEFAULT_PERMISSIONS: u32 = 0x3f13_0000;
const USER_SEARCH: u32 = 0x0008_0000;
const OTHER_SEARCH: u32 = 0x0000_0008;

/// Who must be able to find a key in the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Searchable {
    /// Processes of the same user.
    ByUser,
    /// Anyone: the users inside a user namespace are not the one who made the keyring.
    ByAll,
}

/// Makes or joins the keyring `name` and lets the container's processes search it. Returns a warning where
/// that is impossible but no reason to fail: a kernel without keyrings, or a user whose quota of keys is used up.
pub(crate) fn create(name: &CString, searchable: Searchable) -> Result<Option<String>> {
    let keyring = match join_session(name)? {
        Joined::Keyring(keyring) => keyring,
        Joined::Not(warning) => return Ok(Some(warning)),
    };
    let search = match searchable {
        Searchable::ByUser => USER_SEARCH,
        Searchable::ByAll => OTHER_SEARCH,
    };
    keyctl_setperm(keyring, DEFAULT_PERMISSIONS | search)
        .during(|| "unable to mod keyring permissions".into())?;
    Ok(None)
}

/// Joins the keyring `name` of a container that runs, or makes it; the same warnings.
pub(crate) fn join(name: &CString) -> Result<Option<String>> {
    match join_session(name)? {
        Joined::Keyring(_) => Ok(None),
        Joined::Not(warning) => Ok(Some(warning)),
    }
}

enum Joined {
    Keyring(i32),
    Not(String),
}

fn join_session(name: &CString) -> Result<Joined> {
    let error = match keyctl_join_session_keyring(name) {
        Ok(keyring) => return Ok(Joined::Keyring(keyring)),
        Err(error) => error,
    };
    let errno = error.errno;
    let warning = format!("KeyctlJoinSessionKeyring: unable to create session key: {error}");
    match errno {
        Errno::NOSYS => Ok(Joined::Not(warning)),
        Errno::DQUOT => Ok(Joined::Not(format!(
            "{warning}; the container keeps the session keyring of the caller: raise kernel.keys.maxkeys and \
             kernel.keys.maxbytes, or use --no-new-keyring"
        ))),
        _ => Err(Error::from(error))
            .during(|| "unable to join session keyring: unable to create session key".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyring_has_its_name_and_permissions() {
        let name = CString::new(format!("_ses.knarr-unit-{}", std::process::id())).expect("no nul");
        // A keyring belongs to the thread that joins it.
        std::thread::spawn(move || {
            assert_eq!(create(&name, Searchable::ByUser).expect("make"), None);
            let keys = std::fs::read_to_string("/proc/keys").expect("read keys");
            let line =
                keys.lines().find(|line| line.contains(name.to_str().expect("utf-8"))).expect("listed");
            assert!(line.split_whitespace().any(|word| word == "3f1b0000"), "{line}");
            assert_eq!(join(&name).expect("join"), None);
        })
        .join()
        .expect("the thread's own assertions");
    }
}
