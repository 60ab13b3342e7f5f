//! Answers that a thread writes while it works.

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Answer};
use crate::error::{Error, Result};

/// Chunks that may wait for the client.
const WAITING: usize = 16;

/// Where a thread writes the body of an answer. Once the client has gone, writing fails.
pub(super) struct Chunks {
    sender: mpsc::Sender<Bytes>,
    /// Told with the first chunk: until then an error can still have a status of its own.
    begun: Option<oneshot::Sender<()>>,
}

impl Chunks {
    pub(super) fn send(&mut self, chunk: impl Into<Bytes>) -> io::Result<()> {
        self.begin();
        self.sender.blocking_send(chunk.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends the head of the answer, whatever comes after it.
    pub(super) fn begin(&mut self) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(()); // the client may have gone
        }
    }

    /// One JSON object and the end of its line, as Docker sends progress.
    pub(super) fn object(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.extend_from_slice(b"\r\n");
        self.send(text)
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes.to_vec())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` in a thread and answers with what it writes. An error before the first chunk is the answer; a later one
/// breaks the connection.
pub(super) async fn answer(
    content_type: &'static str,
    work: impl FnOnce(&mut Chunks) -> Result<()> + Send + 'static,
) -> Answer {
    let (sender, chunks) = mpsc::channel(WAITING);
    let (begun, mut has_begun) = oneshot::channel();
    let (breaks, broken) = oneshot::channel();
    let mut writer = Chunks { sender, begun: Some(begun) };
    let work = tokio::task::spawn_blocking(move || {
        let outcome = work(&mut writer);
        // Without a chunk it is the answer's status; after one it can only break the stream.
        if let (Err(error), None) = (&outcome, &writer.begun) {
            crate::log::debug(error);
            let _ = breaks.send(()); // the client may have gone
        }
        outcome
    });
    let outcome = tokio::select! {
        Ok(()) = &mut has_begun => Ok(()),
        // It may have begun and ended at once.
        outcome = work => match has_begun.try_recv() {
            Ok(()) => Ok(()),
            Err(_) => {
                outcome.unwrap_or_else(|error| Err(Error::system(format!("a thread has failed: {error}"))))
            }
        },
    };
    match outcome {
        Ok(()) => answer::breakable(content_type, chunks, Some(broken)),
        Err(error) => answer::error(&error),
    }
}

/// The same with progress: an error after the first object is the last object.
pub(super) async fn progress(work: impl FnOnce(&mut Chunks) -> Result<()> + Send + 'static) -> Answer {
    answer("application/json", move |chunks| {
        let outcome = work(chunks);
        match outcome {
            Err(error) if chunks.begun.is_none() => {
                let text = error.message;
                let last = serde_json::json!({"errorDetail": {"message": text}, "error": text});
                // Who has gone needs no error.
                let _ = chunks.object(&last);
                Ok(())
            }
            outcome => outcome,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_fails_does_not_end_as_if_it_were_complete() {
        let complete = answer("text/plain", |chunks| {
            chunks.send("all").unwrap();
            Ok(())
        })
        .await;
        assert_eq!(complete.into_body().collect().await.unwrap().to_bytes(), "all");
        let broken = answer("text/plain", |chunks| {
            chunks.send("half").unwrap();
            Err(Error::system("the disk is gone"))
        })
        .await;
        assert_eq!(broken.status(), 200);
        assert!(broken.into_body().collect().await.is_err());
        let refused = answer("text/plain", |_| Err(Error::conflict("busy"))).await;
        assert_eq!(refused.status(), 409);
    }
}
