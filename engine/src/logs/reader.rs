//! Reading a log from where it was asked for to its end, or on and on while the container runs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::watch;

use super::destination::Format;
use super::files::{Files, Found, Source};
use super::framer::{Framer, Framing};
use super::watches::Watch;
use super::{Entry, LogQuery, tail};
use crate::container::Turn;
use crate::error::Result;
use crate::log;

/// Bytes of frames after which a read returns.
const ENOUGH: usize = 64 * 1024;
/// Entries that a read looks at before it returns, also when none is wanted.
const LOOKED_AT: usize = 4096;

/// What is left after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More, at once.
    More,
    /// Nothing now. [`Reader::changed`] tells when it is worth reading again.
    Idle,
    /// Nothing, ever.
    End,
}

/// A log that is being read. A read may wait for the disk, so it belongs into a thread that may; waiting for changes does not.
pub(crate) struct Reader {
    files: Files,
    query: LogQuery,
    framer: Framer,
    /// The oldest first. The last one is that which is being written.
    sources: VecDeque<Source>,
    follow: Option<Follow>,
    /// What was found when the end was reached. It counts if there is nothing new after it.
    look: Option<Look>,
    /// Time of the last entry that was read.
    last: Option<Timestamp>,
    /// If none was read, there is none that is as old as this.
    opened: Timestamp,
    /// Entries up to this time have been read from a file that has no name any more.
    known: Option<Timestamp>,
    damage_told: bool,
}

struct Follow {
    watch: Watch,
    turns: watch::Receiver<Turn>,
    /// The run that is followed is over when there are more.
    ends: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Quiet,
    Ended,
    Rotated,
    Cut,
}

impl Reader {
    /// With `turns` the log is followed until the container's run ends.
    pub(super) fn open(
        format: Format,
        path: PathBuf,
        query: LogQuery,
        framing: Framing,
        turns: Option<watch::Receiver<Turn>>,
    ) -> Result<Self> {
        let opened = Timestamp::now();
        let files = Files::new(format, path);
        let follow = match turns {
            Some(turns) => {
                let ends = turns.borrow().ends;
                Some(Follow { watch: Watch::on(files.folder())?, turns, ends })
            }
            None => None,
        };
        let mut sources = files.open()?;
        if let Some(lines) = query.tail {
            tail::seek(&mut sources, lines)?;
        }
        let mut sources = VecDeque::from(sources);
        if let (None, Some(source)) = (&follow, sources.back_mut()) {
            // Who writes faster than a client reads would keep it for ever.
            source.stop_at_what_is_there()?;
        }
        if let Some(since) = query.since {
            // Nothing was written to these after that. The last one may be written at any moment.
            while sources.len() > 1 && sources[0].changed < SystemTime::from(since) {
                sources.pop_front();
            }
        }
        let framer = Framer::new(framing, &query);
        Ok(Self {
            files,
            framer,
            query,
            sources,
            follow,
            look: None,
            last: None,
            opened,
            known: None,
            damage_told: false,
        })
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framer.framing
    }

    /// After this time nothing is wanted: who waits for changes may stop.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.query.until
    }

    /// Adds whole frames to `out`.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<Progress> {
        for _ in 0..LOOKED_AT {
            if out.len() >= ENOUGH {
                break;
            }
            match self.next()? {
                Next::Entry(entry) if self.query.is_over(&entry) => return Ok(Progress::End),
                Next::Entry(entry) if self.query.wants(&entry) => self.framer.write(&entry, out),
                Next::Entry(_) => {}
                Next::Idle => return Ok(Progress::Idle),
                Next::End => return Ok(Progress::End),
            }
        }
        Ok(Progress::More)
    }

    /// Waits until there may be something new, or the container's run has ended. Does not end if nothing is followed.
    pub(crate) async fn changed(&mut self) {
        match &mut self.follow {
            // Neither sender goes away: one is held by the watch, the other by the container while it is there.
            Some(Follow { watch, turns, .. }) => tokio::select! {
                _ = watch.changes.changed() => {}
                _ = turns.changed() => {}
            },
            None => std::future::pending().await,
        }
    }

    fn next(&mut self) -> Result<Next> {
        loop {
            let Some(source) = self.sources.front_mut() else {
                return Ok(Next::End);
            };
            match source.next()? {
                Found::Entry(entry) => {
                    self.look = None;
                    if self.known.is_some_and(|known| entry.time <= known) {
                        continue;
                    }
                    self.known = None;
                    self.last = Some(entry.time);
                    return Ok(Next::Entry(entry));
                }
                Found::Damage => self.tell_damage(),
                Found::End if self.sources.len() > 1 => drop(self.sources.pop_front()),
                Found::End => {
                    if let Some(next) = self.at_end()? {
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// Looks around, and if there is still nothing to read after that, acts on what was found: an end is written before it is
    /// told, and a file is complete before it is put aside.
    fn at_end(&mut self) -> Result<Option<Next>> {
        let Some(follow) = &mut self.follow else { return Ok(Some(Next::End)) };
        let Some(look) = self.look.take() else {
            let look = look_around(&self.files, &self.sources, follow)?;
            self.look = Some(look);
            return Ok(None);
        };
        match look {
            Look::Quiet => return Ok(Some(Next::Idle)),
            Look::Ended => return Ok(Some(Next::End)),
            Look::Rotated => self.go_on_with_newer_files()?,
            Look::Cut => {
                if let Some(source) = self.sources.front_mut() {
                    source.seek(0)?;
                }
            }
        }
        Ok(None)
    }

    /// The file that was read has another name now, or, compressed, none: then times tell what has been read.
    fn go_on_with_newer_files(&mut self) -> Result<()> {
        let Some(read) = self.sources.pop_front() else { return Ok(()) };
        // It stays open meanwhile: no other file can get its identity.
        if let Some(successor) = self.files.open_after(read.identity)? {
            self.sources.push_back(successor);
            return Ok(());
        }
        self.known = Some(self.last.unwrap_or(self.opened));
        self.sources = self.files.open()?.into();
        if self.sources.is_empty() {
            // The new one is about to come.
            self.sources.push_back(read);
        }
        Ok(())
    }

    fn tell_damage(&mut self) {
        if !self.damage_told {
            let folder = self.files.folder().display();
            log::warn(&format!("a log in {folder} has lines that are no entries; they are skipped"));
        }
        self.damage_told = true;
    }
}

enum Next {
    Entry(Entry),
    Idle,
    End,
}

fn look_around(files: &Files, sources: &VecDeque<Source>, follow: &mut Follow) -> Result<Look> {
    // What changes from here on wakes who waits.
    follow.watch.changes.borrow_and_update();
    let ended = {
        let turn = follow.turns.borrow_and_update();
        !turn.running || turn.ends > follow.ends || turn.removed
    };
    let read = sources.front();
    let newest = files.newest()?;
    Ok(match (read, newest) {
        (Some(read), Some(newest)) if read.identity != newest => Look::Rotated,
        (Some(read), _) if read.is_cut()? => Look::Cut,
        _ if ended => Look::Ended,
        _ => Look::Quiet,
    })
}

#[cfg(test)]
mod tests;
