//! When a request is repeated, and after how long.

use std::time::Duration;

use super::Error;

/// A registry that wants a longer pause than this is told as the failure that it is.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// After so many bytes of a blob a failure is a new one. Who moves less each time is given up after the usual attempts.
pub(super) const PROGRESS: u64 = 1 << 20;

/// The attempts left for one thing that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Retries {
    attempts: u32,
    failed: u32,
    /// After the first failure; doubled for each one more.
    pause: Duration,
}

impl Retries {
    pub(super) fn new(attempts: u32, pause: Duration) -> Self {
        Self { attempts, failed: 0, pause }
    }

    /// One attempt, of whoever counts by himself.
    pub(super) fn none() -> Self {
        Self::new(1, Duration::ZERO)
    }

    /// Pauses before the next attempt, or gives the failure back: it is final, or it was the last attempt.
    pub(super) fn wait_after(&mut self, failure: Error) -> Result<(), Error> {
        self.failed += 1;
        let asked = failure.retry_after();
        let pause = asked.unwrap_or(self.pause.saturating_mul(1 << (self.failed - 1).min(16)));
        let too_long = asked.is_some_and(|asked| asked > LONGEST_PAUSE);
        if !failure.passes() || too_long || self.failed >= self.attempts {
            return Err(failure);
        }
        std::thread::sleep(pause.min(LONGEST_PAUSE));
        Ok(())
    }

    /// All attempts again: there was progress.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn passing() -> Error {
        Error::BlobBroken {
            digest: crate::Digest::of(b""),
            position: 0,
            source: io::ErrorKind::BrokenPipe.into(),
        }
    }

    #[test]
    fn attempts_are_bounded_until_there_is_progress() {
        let mut retries = Retries::new(3, Duration::ZERO);
        assert!(retries.wait_after(passing()).is_ok());
        assert!(retries.wait_after(passing()).is_ok());
        assert!(retries.wait_after(passing()).is_err());
        retries.reset();
        assert!(retries.wait_after(passing()).is_ok());
        assert!(retries.wait_after(Error::Realm(String::new())).is_err());
    }
}
