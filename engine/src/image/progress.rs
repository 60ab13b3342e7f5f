//! Progress of images in the objects that Docker's clients read, and not more of them than they can show.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use knarr_images::Digest;
use knarr_images::progress::{Event, Stage};
use serde_json::{Value, json};

/// The least time between two numbers of one layer.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Characters of a full bar.
const BAR: usize = 50;

/// Turns events into objects.
#[derive(Default)]
pub(super) struct Reporter {
    /// When a layer's numbers were last told.
    told: BTreeMap<Digest, Instant>,
}

impl Reporter {
    /// The objects for an event; none if it comes too soon after another of its layer.
    pub(super) fn objects(&mut self, event: &Event) -> Vec<Value> {
        match event {
            Event::Layer { blob, stage } => {
                if self.is_too_soon(blob, stage) {
                    Vec::new()
                } else {
                    vec![layer(blob, stage)]
                }
            }
            event => objects(event),
        }
    }

    fn is_too_soon(&mut self, blob: &Digest, stage: &Stage) -> bool {
        let Some((done, total)) = stage.detail() else {
            self.told.remove(blob);
            return false;
        };
        let now = Instant::now();
        let soon = self.told.get(blob).is_some_and(|told| now.duration_since(*told) < PAUSE) && done < total;
        if !soon {
            self.told.insert(*blob, now);
        }
        soon
    }
}

fn objects(event: &Event) -> Vec<Value> {
    match event {
        Event::PullingFrom { repository, tag } => {
            vec![json!({"status": format!("Pulling from {repository}"), "id": tag})]
        }
        Event::Mounted { blob, from } => {
            vec![json!({"status": format!("Mounted from {from}"), "progressDetail": {}, "id": short(blob)})]
        }
        Event::Pushed { tag, digest, size } => vec![
            json!({"status": event.to_string()}),
            json!({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest.to_string(), "Size": size}}),
        ],
        Event::Loaded { .. } | Event::LoadedId { .. } | Event::Renamed { .. } => {
            vec![json!({"stream": format!("{event}\n")})]
        }
        event => vec![json!({"status": event.to_string()})],
    }
}

fn layer(blob: &Digest, stage: &Stage) -> Value {
    let mut object = json!({"status": stage.to_string(), "progressDetail": {}, "id": short(blob)});
    if let Some((done, total)) = stage.detail() {
        let mut detail = serde_json::Map::new();
        // As Go leaves out what is zero.
        for (name, number) in
            [("current", done), ("total", total)].into_iter().filter(|(_, number)| *number > 0)
        {
            detail.insert(name.to_owned(), number.into());
        }
        object["progressDetail"] = detail.into();
        let bar = bar(done, total);
        if !bar.is_empty() {
            object["progress"] = bar.into();
        }
    }
    object
}

fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

/// `[=====>     ]  1.2MB/3MB`, as Docker draws it.
pub(super) fn bar(done: u64, total: u64) -> String {
    if total == 0 {
        return if done == 0 { String::new() } else { format!("{:>8}", human_size(done)) };
    }
    let full = usize::try_from(done.saturating_mul(100) / total / 2).unwrap_or(BAR).min(BAR);
    let numbers = if done > total {
        format!("{:>8}", human_size(done))
    } else {
        format!("{:>8}/{}", human_size(done), human_size(total))
    };
    format!("[{}>{}] {numbers}", "=".repeat(full), " ".repeat(BAR - full))
}

/// Four digits and a decimal unit.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 1000.0 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let decimals = if number >= 1000.0 {
        0
    } else if number >= 100.0 {
        1
    } else if number >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.024kB"),
            (1_234_567, "1.235MB"),
            (12_345_678, "12.35MB"),
            (750_000_000, "750MB"),
            (1_500_000_000, "1.5GB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn bars_are_dockers() {
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(1000, 0), "     1kB");
        assert_eq!(bar(50, 100), format!("[{}>{}]      50B/100B", "=".repeat(25), " ".repeat(25)));
        assert_eq!(bar(100, 100), format!("[{}>]     100B/100B", "=".repeat(50)));
        assert_eq!(bar(200, 100), format!("[{}>]     200B", "=".repeat(50)));
    }

    #[test]
    fn events_become_objects() {
        let blob = Digest::of(b"");
        let objects = |event: Event| Reporter::default().objects(&event);
        let pulling = Event::PullingFrom { repository: "library/busybox".into(), tag: "latest".into() };
        assert_eq!(objects(pulling), [json!({"status": "Pulling from library/busybox", "id": "latest"})]);
        let layer = |stage| objects(Event::Layer { blob, stage });
        assert_eq!(
            layer(Stage::Waiting),
            [json!({"status": "Waiting", "progressDetail": {}, "id": "e3b0c44298fc"})]
        );
        let downloading = &layer(Stage::Downloading { done: 0, total: 10 })[0];
        assert_eq!(downloading["progressDetail"], json!({"total": 10}));
        let pushed = objects(Event::Pushed { tag: "t".into(), digest: blob, size: 7 });
        assert_eq!(pushed[0]["status"], format!("t: digest: {blob} size: 7"));
        assert_eq!(pushed[1]["aux"], json!({"Tag": "t", "Digest": blob.to_string(), "Size": 7}));
        let loaded = objects(Event::Loaded { reference: "x:latest".into() });
        assert_eq!(loaded, [json!({"stream": "Loaded image: x:latest\n"})]);
    }

    #[test]
    fn numbers_are_not_told_too_often_but_the_last_ones_are() {
        let blob = Digest::of(b"");
        let mut reporter = Reporter::default();
        let mut told = |done| {
            reporter.objects(&Event::Layer { blob, stage: Stage::Downloading { done, total: 9 } }).len()
        };
        assert_eq!((told(1), told(2), told(9)), (1, 0, 1));
    }
}
