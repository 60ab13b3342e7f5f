//! `docker images`, and the images of `docker system df`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use knarr_images::store::{Image, ImagesUsage};
use knarr_images::{Digest, ImageConfig, Reference};

use super::pattern;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::{Filters, ImageSummary, point_in_time};

const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

/// What of the images is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageQuery {
    /// Those without a name that others were made from as well.
    pub(crate) all: bool,
    pub(crate) shared_size: bool,
    /// How many containers each has.
    pub(crate) containers: bool,
    pub(crate) filters: Filters,
    /// For names, beside those of the filter `reference`.
    pub(crate) pattern: Option<String>,
}

impl ImageQuery {
    /// Patterns of which one fits the names that are shown; none at all fits every name.
    fn patterns(&self) -> Vec<&str> {
        self.filters.values("reference").chain(self.pattern.as_deref()).collect()
    }
}

/// The filters, read.
struct Conditions {
    /// Created before the first and after the second.
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    dangling: Option<bool>,
}

impl Engine {
    /// Images that fit, the newest first.
    pub(crate) fn image_list(&self, query: &ImageQuery) -> Result<Vec<ImageSummary>> {
        query.filters.check(&FILTERS)?;
        let conditions = self.conditions(&query.filters)?;
        let images = self.images.images()?;
        let parents: BTreeSet<Digest> = images.iter().filter_map(|image| image.record.parent).collect();
        let usage = self.images.images_usage()?;
        let users = if query.containers { self.containers_of_images() } else { BTreeMap::new() };
        let mut list = Vec::new();
        for image in &images {
            let config = match self.images.config(&image.id) {
                Ok(config) => config,
                // It was removed meanwhile.
                Err(_) if self.images.image(&image.id).is_err() => continue,
                Err(error) => return Err(error.into()),
            };
            let names = named(image, &query.patterns())?;
            let unnamed = names.tags.is_empty() && names.digests.is_empty();
            if (unnamed && parents.contains(&image.id) && !query.all)
                || !conditions.accept(&config, &names, query)
            {
                continue;
            }
            let mut summary = summary(image, &config, &names, &usage);
            if query.shared_size || query.containers {
                let shared = usage.images.get(&image.id).map_or(0, |usage| usage.shared);
                summary.shared_size = signed(shared);
            }
            if query.containers {
                summary.containers = signed(users.get(&image.id.to_string()).copied().unwrap_or(0));
            }
            list.push(summary);
        }
        list.sort_by_key(|summary| std::cmp::Reverse(summary.created));
        Ok(list)
    }

    /// All images with what they share and how many containers each has.
    pub(crate) fn images_for_usage(&self) -> Result<Vec<ImageSummary>> {
        self.image_list(&ImageQuery {
            all: true,
            shared_size: true,
            containers: true,
            ..ImageQuery::default()
        })
    }

    fn containers_of_images(&self) -> BTreeMap<String, u64> {
        let mut users = BTreeMap::new();
        for container in self.containers.all() {
            *users.entry(container.record().image.clone()).or_insert(0) += 1;
        }
        users
    }

    fn conditions(&self, filters: &Filters) -> Result<Conditions> {
        let now = Timestamp::now();
        let mut before: Option<Timestamp> = None;
        for name in filters.values("before") {
            let time = self.created(name)?;
            before = before.into_iter().chain(time).min();
        }
        for text in filters.values("until") {
            let time = point_in_time(text, now)?;
            before = before.into_iter().chain([time]).min();
        }
        let mut since: Option<Timestamp> = None;
        for name in filters.values("since") {
            since = since.into_iter().chain(self.created(name)?).max();
        }
        Ok(Conditions { before, since, dangling: filters.flag("dangling")? })
    }

    fn created(&self, name: &str) -> Result<Option<Timestamp>> {
        let image = self.images.resolve(name)?.image;
        Ok(created(&self.images.config(&image)?))
    }
}

impl Conditions {
    fn accept(&self, config: &ImageConfig, names: &Names, query: &ImageQuery) -> bool {
        let created = created(config);
        if self.before.is_some_and(|before| created.is_none_or(|created| created >= before))
            || self.since.is_some_and(|since| created.is_none_or(|created| created <= since))
            || !query.filters.has_labels("label", Some(&config.parts().config.labels))
        {
            return false;
        }
        if names.tags.is_empty() && names.digests.is_empty() {
            return self.dangling != Some(false) && query.patterns().is_empty();
        }
        self.dangling != Some(true) || names.tags.is_empty()
    }
}

/// Names of an image that are shown.
struct Names {
    tags: Vec<String>,
    digests: Vec<String>,
}

fn named(image: &Image, patterns: &[&str]) -> Result<Names> {
    let mut names = Names { tags: Vec::new(), digests: Vec::new() };
    for reference in &image.references {
        if !patterns.is_empty() && !fits(reference, patterns)? {
            continue;
        }
        let list = if reference.digest().is_some() { &mut names.digests } else { &mut names.tags };
        list.push(reference.familiar());
    }
    Ok(names)
}

/// A pattern is for the whole name or for the repository alone.
fn fits(reference: &Reference, patterns: &[&str]) -> Result<bool> {
    for wanted in patterns {
        for text in [reference.familiar(), reference.familiar_name()] {
            match pattern::matches(wanted, &text) {
                None => return Err(Error::invalid("syntax error in pattern")),
                Some(true) => return Ok(true),
                Some(false) => {}
            }
        }
    }
    Ok(false)
}

fn summary(image: &Image, config: &ImageConfig, names: &Names, usage: &ImagesUsage) -> ImageSummary {
    let labels = config.parts().config.labels.clone();
    ImageSummary {
        containers: -1,
        created: created(config).map_or(0, Timestamp::as_second),
        id: image.id.to_string(),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        parent_id: image.record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        repo_digests: names.digests.clone(),
        repo_tags: names.tags.clone(),
        shared_size: -1,
        size: signed(usage.images.get(&image.id).map_or(0, |usage| usage.size)),
        virtual_size: None,
    }
}

pub(super) fn created(config: &ImageConfig) -> Option<Timestamp> {
    config.parts().created.as_deref()?.parse().ok()
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
