//! The terminal of who called the runtime, while it shows a container's (termios(3)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::{During as _, Result};
use crate::sys::{Errno, Named as _};
use crate::tty::Size;

/// Gets its settings back when this is dropped.
#[derive(Debug)]
pub(crate) struct HostTerminal {
    fd: OwnedFd,
    settings: Termios,
}

impl HostTerminal {
    /// The terminal that is one of stderr, stdout and stdin, or the one that controls this process. `None` if there
    /// is neither: then there is nothing to set and nothing that changes its size.
    pub(crate) fn find() -> Result<Option<Self>> {
        let stdio = [stderr(), stdout(), stdin()].into_iter().find(|fd| isatty(fd));
        let fd = match stdio {
            Some(fd) => fcntl_dupfd_cloexec(fd, 3).named(|| "fcntl(F_DUPFD_CLOEXEC)".into())?,
            None => {
                match openat(CWD, "/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                {
                    Err(Errno::NXIO | Errno::NOENT) => return Ok(None),
                    result => result.named(|| "open /dev/tty".into())?,
                }
            }
        };
        let settings = tcgetattr(&fd).named(|| "tcgetattr()".into())?;
        Ok(Some(Self { fd, settings }))
    }

    /// Passes every key on as it is. Output is still processed: the container's terminal leaves new lines to this one.
    pub(crate) fn make_raw(&self) -> Result<()> {
        let mut raw = self.settings.clone();
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&self.fd, OptionalActions::Now, &raw)
            .named(|| "tcsetattr(raw)".into())
            .during(|| "failed to set the terminal from the stdin".into())
    }

    pub(crate) fn size(&self) -> Result<Size> {
        let size = tcgetwinsize(&self.fd).named(|| "ioctl(TIOCGWINSZ)".into())?;
        Ok(Size { rows: size.ws_row, columns: size.ws_col })
    }
}

impl Drop for HostTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.settings);
    }
}

/// Stops the container's terminal from turning a new line into two characters: the caller's does it, or there is a
/// file or a pipe that wants one.
pub(crate) fn clear_onlcr(master: BorrowedFd<'_>) -> Result<()> {
    let mut settings = tcgetattr(master).named(|| "tcgetattr(master)".into())?;
    settings.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(master, OptionalActions::Now, &settings).named(|| "tcsetattr(master, -ONLCR)".into())?;
    Ok(())
}

impl AsFd for HostTerminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
