//! Tables and figures for people.

use std::fmt::Write as _;

use knarr_images::store::Image;
use knarr_images::{History, Reference, Store};

use crate::failure::Failure;

const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

/// Columns as wide as their widest entry.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A row for each tag, `<none>` where there is none.
pub(crate) fn images(store: &Store) -> Result<String, Failure> {
    let mut rows = vec![["REPOSITORY", "TAG", "IMAGE ID", "SIZE"].map(str::to_owned).to_vec()];
    let usage = store.images_usage()?.images;
    for image in store.images()? {
        let size = usage.get(&image.id).map_or(0, |one| one.size);
        for (repository, tag) in names(&image) {
            rows.push(vec![repository, tag, image.id.hex()[..12].to_owned(), human(size)]);
        }
    }
    Ok(table(&rows))
}

fn names(image: &Image) -> Vec<(String, String)> {
    let tagged = image.references.iter().filter(|reference| reference.tag().is_some());
    let names: Vec<_> = tagged.map(|one| (one.familiar_name(), one.wanted())).collect();
    if !names.is_empty() {
        return names;
    }
    let repository = image.references.first().map_or("<none>".into(), Reference::familiar_name);
    vec![(repository, "<none>".into())]
}

/// The newest step first, as Docker prints it.
pub(crate) fn history(store: &Store, name: &str) -> Result<String, Failure> {
    let id = store.resolve(name)?.image;
    let mut rows = Vec::new();
    rows.push(["CREATED", "SIZE", "CREATED BY", "COMMENT"].map(str::to_owned).to_vec());
    rows.extend(store.history(&id)?.iter().map(|one| step_row(&one.step, one.size)));
    Ok(table(&rows))
}

fn step_row(step: &History, size: u64) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![text(&step.created), human(size), text(&step.created_by), text(&step.comment)]
}

pub(crate) fn space(store: &Store) -> Result<String, Failure> {
    let usage = store.usage()?;
    let mut text = String::new();
    let mut line = |what: &str, bytes: u64| {
        // A String takes all that is written to it.
        let _ = writeln!(text, "{what:<12}{}", human(bytes));
    };
    line("layers", usage.images.layers);
    line("blobs", usage.blobs);
    line("downloads", usage.downloads);
    line("snapshots", usage.snapshots.values().map(|space| space.bytes).sum());
    let mut rows = vec![["IMAGE ID", "SIZE", "SHARED", "SNAPSHOTS"].map(str::to_owned).to_vec()];
    rows.extend(usage.images.images.iter().map(|(id, image)| {
        let id = id.hex()[..12].to_owned();
        vec![id, human(image.size), human(image.shared), image.snapshots.to_string()]
    }));
    Ok(format!("{text}\n{}", table(&rows)))
}

/// Three significant digits in decimal units, as Docker: `4.26MB`.
fn human(bytes: u64) -> String {
    let (mut whole, mut unit) = (bytes, 0);
    let mut thousandths = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        thousandths = whole % 1000;
        whole /= 1000;
        unit += 1;
    }
    let number = match whole {
        _ if unit == 0 => whole.to_string(),
        0..10 => format!("{whole}.{:02}", thousandths / 10),
        10..100 => format!("{whole}.{}", thousandths / 100),
        _ => whole.to_string(),
    };
    number + UNITS[unit]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (4_260_000, "4.26MB"),
            (42_600_000, "42.6MB"),
            (426_000_000, "426MB"),
            (5_000_000_000_000_000, "5000TB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["A".into(), "B".into()], vec!["long".into(), "x".into()]];
        assert_eq!(table(&rows), "A      B\nlong   x\n");
    }
}
