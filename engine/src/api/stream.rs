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

/// Runs `work` in a thread and answers with what it writes. An error before the first chunk is the answer.
pub(super) async fn answer(
    content_type: &'static str,
    work: impl FnOnce(&mut Chunks) -> Result<()> + Send + 'static,
) -> Answer {
    let (outcome, chunks) = begin(work).await;
    match outcome {
        Ok(()) => answer::stream(content_type, chunks),
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

/// Waits until `work` has written or has ended.
pub(super) async fn begin(
    work: impl FnOnce(&mut Chunks) -> Result<()> + Send + 'static,
) -> (Result<()>, mpsc::Receiver<Bytes>) {
    let (sender, chunks) = mpsc::channel(WAITING);
    let (begun, has_begun) = oneshot::channel();
    let mut writer = Chunks { sender, begun: Some(begun) };
    let work = tokio::task::spawn_blocking(move || {
        let outcome = work(&mut writer);
        // Without a chunk it is the answer's status; after one it can only end the stream.
        if let (Err(error), None) = (&outcome, &writer.begun) {
            crate::log::debug(error);
        }
        outcome
    });
    tokio::pin!(work);
    tokio::select! {
        Ok(()) = has_begun => (Ok(()), chunks),
        outcome = &mut work => {
            (outcome.unwrap_or_else(|error| Err(Error::system(format!("a thread has failed: {error}")))), chunks)
        }
    }
}
