//! The hint that goes with an act on a cgroup that was not permitted.

use crate::error::{Error, Result};
use crate::log;

/// Warns, in runc's words, when an act failed for lack of permission: rootless containers often have no cgroup of
/// their own.
pub(super) fn explain_denial<T>(command: &str, result: Result<T>) -> Result<T> {
    let errno = result.as_ref().err().and_then(Error::errno);
    if matches!(errno, Some(libc::EPERM | libc::EACCES)) {
        log::warn(format_args!("runc {command} failure might be caused by lack of full access to cgroups"));
    }
    result
}
