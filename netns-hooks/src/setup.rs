//! An attachment as a whole: applied when the container is created, removed when it is gone.

use std::os::fd::BorrowedFd;

use crate::attachment::Attachment;
use crate::error::{Error, Result};
use crate::{firewall, interface, loopback, netns};

/// Raises `lo`, makes every interface and publishes every port. After a failure nothing of it is left.
pub fn setup(attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<()> {
    attachment.check()?;
    if netns::same(netns, netns::current()?)? {
        return Err(Error::Conflict("the container has the host's network namespace".to_owned()));
    }
    loopback::raise(netns)?;
    let mut made = Vec::new();
    let outcome = attachment
        .interfaces
        .iter()
        .try_for_each(|wanted| interface::attach(netns, wanted).map(|()| made.push(wanted)))
        // Last: packets come when there is somebody to answer.
        .and_then(|()| firewall::publish(&attachment.table, &attachment.published));
    outcome.inspect_err(|_| {
        for interface in made {
            // The failure that is reported is the first one.
            let _ = interface::detach(netns, interface);
        }
    })
}

/// Removes what the host has of the attachment, whatever is left of it. The container's namespace may be gone. It goes on
/// after a failure; the first one is the answer.
pub fn teardown(attachment: &Attachment) -> Result<()> {
    let mut outcome = firewall::withdraw(&attachment.table, &attachment.published);
    for interface in &attachment.interfaces {
        outcome = outcome.and(interface::forget(interface));
    }
    outcome
}
