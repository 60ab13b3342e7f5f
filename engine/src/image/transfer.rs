//! Images come and go: pull, push, load, save, import.

use std::io::{Read, Write};

use knarr_images::platform::Wanted;
use knarr_images::progress::Event;
use knarr_images::pull;
use knarr_images::push::Push;
use knarr_images::registry::Credentials;
use knarr_images::{Digest, Platform, Reference, import};
use serde_json::{Value, json};

use super::progress::Reporter;
use super::{Tell, changes};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire::Config;

/// What is pulled: a reference without a tag or digest means all tags.
pub(crate) struct Pull {
    pub(crate) reference: Reference,
    pub(crate) platform: Option<String>,
    pub(crate) credentials: Credentials,
}

/// What is said of an image that is imported.
pub(crate) struct Import {
    pub(crate) name: Option<Reference>,
    pub(crate) message: String,
    /// Lines of a Dockerfile.
    pub(crate) changes: Vec<String>,
    pub(crate) platform: Option<Platform>,
}

impl Engine {
    /// Fetches an image. When nobody reads the progress any more, the pull ends.
    pub(crate) fn image_pull(&self, asked: &Pull, tell: Tell<'_>) -> Result<()> {
        if asked.reference.familiar_name() == "scratch" {
            return Err(Error::forbidden("'scratch' is a reserved name"));
        }
        let machine = match asked.platform.as_deref().filter(|platform| !platform.is_empty()) {
            Some(platform) => Wanted::only(&super::platform(platform)?),
            None => Wanted::host(),
        };
        let bare = asked.reference.tag().is_none() && asked.reference.digest().is_none();
        let references = if bare {
            self.puller.tags(&asked.reference, &asked.credentials)?
        } else {
            vec![asked.reference.clone()]
        };
        for reference in references {
            let credentials = asked.credentials.clone();
            let pull = pull::Pull { reference, credentials, machine: machine.clone() };
            let image = self.pull_one(&pull, tell)?;
            let name = pull.reference.or_latest();
            self.tell_image("pull", &name.familiar(), &name.familiar_name(), self.image_labels(&image));
        }
        Ok(())
    }

    fn pull_one(&self, pull: &pull::Pull, tell: Tell<'_>) -> Result<Digest> {
        let cancel = self.puller.cancel();
        let mut reporter = Reporter::default();
        let mut report = |event: &Event| {
            if reporter.objects(event).iter().any(|object| tell(object).is_err()) {
                cancel.cancel();
            }
        };
        Ok(self.puller.pull(pull, &cancel, &mut report)?)
    }

    /// Sends an image under its name, or all tags of a repository.
    pub(crate) fn image_push(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        tell: Tell<'_>,
    ) -> Result<()> {
        for reference in self.to_push(reference)? {
            let push = Push { reference: reference.clone(), credentials: credentials.clone() };
            let mut reporter = Reporter::default();
            // A push goes on without anybody who reads: what the registry has got need not be sent again.
            let mut report = |event: &Event| {
                for object in reporter.objects(event) {
                    let _ = tell(&object);
                }
            };
            self.images.push(self.puller.client(), &push, &mut report)?;
            let image = self.images.target(&reference)?.map(|target| target.image);
            let labels = image.map(|image| self.image_labels(&image)).unwrap_or_default();
            self.tell_image("push", &reference.familiar(), &reference.familiar_name(), labels);
        }
        Ok(())
    }

    fn to_push(&self, reference: &Reference) -> Result<Vec<Reference>> {
        if reference.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference"));
        }
        if reference.tag().is_some() {
            return match self.images.target(reference)? {
                Some(_) => Ok(vec![reference.clone()]),
                None => Err(missing(&reference.familiar_name())),
            };
        }
        let images = self.images.images()?;
        let names = images.iter().flat_map(|image| &image.references);
        let tags: Vec<Reference> =
            names.filter(|name| name.tag().is_some() && name.name() == reference.name()).cloned().collect();
        if tags.is_empty() { Err(missing(&reference.familiar_name())) } else { Ok(tags) }
    }

    /// Reads images from an archive.
    pub(crate) fn image_load(&self, archive: impl Read + Send, tell: Tell<'_>) -> Result<()> {
        let mut reporter = Reporter::default();
        let mut report = |event: &Event| {
            for object in reporter.objects(event) {
                // What was sent is loaded, whoever reads that.
                let _ = tell(&object);
            }
        };
        for image in self.images.load(archive, &mut report)? {
            self.tell_image("load", &image.to_string(), &image.to_string(), self.image_labels(&image));
        }
        Ok(())
    }

    /// Writes images to an archive.
    pub(crate) fn image_save(&self, names: &[String], out: impl Write) -> Result<()> {
        let list: Vec<&str> = names.iter().map(String::as_str).collect();
        self.images.save(&list, out)?;
        // A repository without a tag is no name of one image.
        for image in names.iter().filter_map(|name| self.images.resolve(name).ok()).map(|named| named.image) {
            self.tell_image("save", &image.to_string(), &image.to_string(), self.image_labels(&image));
        }
        Ok(())
    }

    /// Makes an image of an archive of files.
    pub(crate) fn image_import(
        &self,
        archive: impl Read + Send,
        asked: Import,
        tell: Tell<'_>,
    ) -> Result<()> {
        let image = self.import_archive(archive, asked)?;
        // The image is there, whoever reads that.
        let _ = tell(&json!({"status": image.to_string()}));
        Ok(())
    }

    pub(super) fn import_archive(&self, archive: impl Read + Send, asked: Import) -> Result<Digest> {
        let Import { name, message, changes: lines, platform } = asked;
        let mut config = Config::default();
        changes::apply(&mut config, &lines)?;
        let import = import::Import {
            message,
            process: Some(process(&config)?),
            platform,
            names: name.iter().map(Reference::or_latest).collect(),
        };
        let image = self.images.import(archive, &import)?;
        self.tell_image("import", &image.to_string(), &image.to_string(), self.image_labels(&image));
        Ok(image)
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("An image does not exist locally with the tag: {name}"))
}

/// A configuration as an image has it.
pub(super) fn process(config: &Config) -> Result<Value> {
    serde_json::to_value(config).map_err(|error| Error::system(format!("write the configuration: {error}")))
}
