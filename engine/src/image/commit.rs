//! `docker commit`: a container's files and configuration become an image.

use knarr_images::{Reference, commit};

use super::changes;
use super::transfer::process;
use crate::container::{Container, Record, Status, hidden};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log;
use crate::wire::{Config, Healthcheck};

/// What is said of the image.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) name: Option<Reference>,
    pub(crate) author: String,
    pub(crate) comment: String,
    /// Processes stand still meanwhile.
    pub(crate) pause: bool,
    /// Lines of a Dockerfile.
    pub(crate) changes: Vec<String>,
    /// In place of the container's; what it does not say is the container's.
    pub(crate) config: Option<Config>,
}

impl Engine {
    /// Makes an image of a container. Gives its ID.
    pub(crate) fn commit(&self, name: &str, asked: &Commit) -> Result<String> {
        let container = self.containers.find(name)?;
        let record = container.record();
        if record.state.status == Status::Dead {
            return Err(Error::conflict(format!("You cannot commit container {} which is Dead", record.id)));
        }
        if record.removing {
            let why = format!("You cannot commit container {} which is being removed", record.id);
            return Err(Error::conflict(why));
        }
        let config = configuration(&record, asked)?;
        let paused = asked.pause && record.state.status == Status::Running && self.pause(&record.id).is_ok();
        let made = self.make_image(&container, &config, asked);
        if paused && let Err(error) = self.unpause(&record.id) {
            // It was unpaused, or has ended, meanwhile.
            log::debug(&error);
        }
        let id = made?;
        let image_ref = asked.name.as_ref().map(|name| name.or_latest().familiar()).unwrap_or_default();
        let special = [("comment", asked.comment.clone()), ("imageID", id.clone()), ("imageRef", image_ref)];
        self.events.of_container("commit", &record, &special);
        Ok(id)
    }

    fn make_image(&self, container: &Container, config: &Config, asked: &Commit) -> Result<String> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let command = container.record().config.cmd.clone();
        let commit = commit::Commit {
            author: text(&asked.author),
            message: text(&asked.comment),
            created_by: command.map(|words| words.0.join(" ")),
            process: Some(process(config)?),
            names: asked.name.iter().map(Reference::or_latest).collect(),
            hidden: hidden(container),
        };
        let image = self.images.commit(&container.id, &commit)?;
        let (id, labels) = (image.to_string(), || self.image_labels(&image));
        self.tell_image("create", &id, &id, labels());
        for name in &commit.names {
            self.tell_image("tag", &id, &name.familiar(), labels());
        }
        Ok(id)
    }
}

fn configuration(record: &Record, asked: &Commit) -> Result<Config> {
    let mut config = asked.config.clone().unwrap_or_else(|| record.config.clone());
    changes::apply(&mut config, &asked.changes)?;
    complete(&mut config, &record.config);
    Ok(config)
}

/// What one configuration does not say is as in the other.
fn complete(config: &mut Config, other: &Config) {
    let empty = |text: &String| text.is_empty();
    for (own, theirs) in [
        (&mut config.user, &other.user),
        (&mut config.working_dir, &other.working_dir),
        (&mut config.stop_signal, &other.stop_signal),
    ] {
        if empty(own) {
            own.clone_from(theirs);
        }
    }
    for (port, value) in &other.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert_with(|| value.clone());
    }
    if let Some(volumes) = &other.volumes {
        config.volumes.get_or_insert_default().extend(volumes.clone());
    }
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let own = config.env.get_or_insert_default();
    for variable in other.env.iter().flatten() {
        if !own.iter().any(|known| name(known) == name(variable)) {
            own.push(variable.clone());
        }
    }
    let labels = config.labels.get_or_insert_default();
    for (label, value) in other.labels.iter().flatten() {
        labels.entry(label.clone()).or_insert_with(|| value.clone());
    }
    if config.entrypoint.as_ref().is_none_or(|words| words.0.is_empty()) {
        if config.cmd.as_ref().is_none_or(|words| words.0.is_empty()) {
            config.cmd.clone_from(&other.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&other.entrypoint);
        }
    }
    complete_health_check(&mut config.healthcheck, other.healthcheck.as_ref());
}

fn complete_health_check(own: &mut Option<Healthcheck>, other: Option<&Healthcheck>) {
    let Some(other) = other else { return };
    let Some(own) = own else {
        *own = Some(other.clone());
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&other.test);
    }
    for (own, theirs) in [
        (&mut own.interval, other.interval),
        (&mut own.timeout, other.timeout),
        (&mut own.start_period, other.start_period),
        (&mut own.start_interval, other.start_interval),
        (&mut own.retries, other.retries),
    ] {
        if *own == 0 {
            *own = theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Words;

    #[test]
    fn what_is_not_said_is_the_containers() {
        let words = |word: &str| Some(Words(vec![word.to_owned()]));
        let other = Config {
            user: "u".to_owned(),
            cmd: words("theirs"),
            env: Some(vec!["A=1".to_owned(), "B=2".to_owned()]),
            ..Config::default()
        };
        let mut config = Config { env: Some(vec!["A=x".to_owned()]), ..Config::default() };
        complete(&mut config, &other);
        assert_eq!((config.user.as_str(), config.cmd), ("u", words("theirs")));
        assert_eq!(config.env.unwrap(), ["A=x", "B=2"]);

        // A command was for the entrypoint that it came with.
        let mut config = Config { entrypoint: words("e"), ..Config::default() };
        complete(&mut config, &other);
        assert_eq!((config.entrypoint, config.cmd), (words("e"), None));
    }
}
