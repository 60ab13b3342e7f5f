//! `/events`: what is kept, then what comes, until a time or the client's end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};

use super::Version;
use super::answer::{self, Answer};
use super::request::Request;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::wire::{EventMessage, Filters};

/// Clients older than this are not told that an image was made.
const IMAGES_CREATED_SINCE: Version = Version(1, 46);

pub(super) fn stream(engine: &Arc<Engine>, request: &Request) -> Result<Answer> {
    let time = |name: &str| request.query.text(name).map(instant).transpose();
    let (since, until) = (time("since")?, time("until")?);
    let filters = Filters::parse(request.query.text("filters").unwrap_or_default())?;
    filters.check_for_events()?;
    let images = request.version >= IMAGES_CREATED_SINCE;
    let (kept, told) = engine.events.listen();
    let (sender, chunks) = mpsc::channel(16);
    tokio::spawn(async move {
        let is_told = |event: &Event| images || event.kind != "image" || event.action != "create";
        let wanted = |event: &Event| is_told(event) && filters.event_fits(event);
        // Without a beginning or an end nothing of before is told.
        if since.is_some() || until.is_some() {
            let after = |event: &&Event| since.is_none_or(|since| event.time >= since);
            let before = |event: &&Event| until.is_none_or(|until| event.time <= until);
            for event in kept.iter().filter(after).filter(before).filter(|event| wanted(event)) {
                if sender.send(line(event)).await.is_err() {
                    return;
                }
            }
        }
        let left =
            until.map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
        tokio::select! {
            () = follow(told, &sender, wanted) => {}
            () = sender.closed() => {}
            () = at_end(left) => {}
        }
    });
    Ok(answer::stream("application/json", chunks))
}

fn line(event: &Event) -> Bytes {
    // What is written are texts and numbers: that does not fail.
    let mut text = serde_json::to_vec(&EventMessage::from(event)).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

async fn at_end(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

async fn follow(
    mut told: broadcast::Receiver<Event>,
    sender: &mpsc::Sender<Bytes>,
    wanted: impl Fn(&Event) -> bool,
) {
    loop {
        match told.recv().await {
            Ok(event) if wanted(&event) => {
                if sender.send(line(&event)).await.is_err() {
                    return;
                }
            }
            // A listener that is too slow has lost some, and goes on.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Seconds since the epoch with or without a fraction, or RFC 3339.
pub(super) fn instant(text: &str) -> Result<Timestamp> {
    let invalid = || Error::invalid(format!("invalid value for time: {text}"));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    let nanoseconds: i32 = match fraction {
        "" => 0,
        digits if digits.len() <= 9 => format!("{digits:0<9}").parse().map_err(|_| invalid())?,
        _ => return Err(invalid()),
    };
    Timestamp::new(seconds, nanoseconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_forms() {
        assert_eq!(instant("5").unwrap(), Timestamp::new(5, 0).unwrap());
        assert_eq!(instant("5.000000001").unwrap(), Timestamp::new(5, 1).unwrap());
        assert_eq!(instant("5.5").unwrap(), Timestamp::new(5, 500_000_000).unwrap());
        assert_eq!(instant("1970-01-01T01:00:05+01:00").unwrap(), Timestamp::new(5, 0).unwrap());
        assert!(instant("soon").is_err() && instant("1.x").is_err());
    }
}
