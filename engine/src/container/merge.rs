//! What an image says of its containers, below what the user says (moby's daemon/commit.go).

use std::collections::BTreeMap;

use knarr_images::ImageConfig;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::wire::{Config, Healthcheck, Words};

/// Completes a container's configuration from its image's, and refuses one without a command.
pub(crate) fn merge(config: &mut Config, image: &ImageConfig) -> Result<()> {
    let process = &image.parts().config;
    let rest = Rest::read(image.bytes())?;
    if config.user.is_empty() {
        config.user.clone_from(&process.user);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&process.working_dir);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&process.stop_signal);
    }
    for port in process.exposed_ports.keys() {
        config.exposed_ports.entry(port.clone()).or_insert_with(empty);
    }
    config.volumes.take_if(|volumes| volumes.is_empty());
    if !process.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_default();
        volumes.extend(process.volumes.keys().map(|path| (path.clone(), empty())));
    }
    environment(config.env.get_or_insert_default(), &process.env);
    let labels = config.labels.get_or_insert_default();
    for (name, value) in &process.labels {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    command(config, &process.entrypoint, &process.cmd);
    config.healthcheck = healthcheck(config.healthcheck.take(), rest.healthcheck);
    if config.shell.as_ref().is_none_or(|shell| shell.0.is_empty()) {
        config.shell = rest.shell;
    }
    let words = |words: &Option<Words>| words.as_ref().map_or(0, |words| words.0.len());
    if words(&config.entrypoint) == 0 && words(&config.cmd) == 0 {
        return Err(Error::invalid("no command specified"));
    }
    Ok(())
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// What the user sets stands first, and takes the image's place.
fn environment(own: &mut Vec<String>, image: &[String]) {
    fn name(variable: &str) -> &str {
        variable.split_once('=').map_or(variable, |(name, _)| name)
    }
    let missing: Vec<_> =
        image.iter().filter(|theirs| !own.iter().any(|ours| name(ours) == name(theirs))).cloned().collect();
    own.extend(missing);
}

/// The image's command is for the image's entrypoint: a user who sets one gets no command with it. An entrypoint of one
/// empty word asks for none.
fn command(config: &mut Config, entrypoint: &[String], command: &[String]) {
    let some =
        |words: &[String]| Some(words).filter(|words| !words.is_empty()).map(|words| Words(words.to_vec()));
    let none = |words: &Option<Words>| words.as_ref().is_none_or(|words| words.0.is_empty());
    if none(&config.entrypoint) {
        if none(&config.cmd) {
            config.cmd = some(command);
        }
        if config.entrypoint.is_none() {
            config.entrypoint = some(entrypoint);
        }
    }
    if config.entrypoint.as_ref().is_some_and(|words| words.0 == [""]) {
        config.entrypoint = None;
    }
}

fn healthcheck(own: Option<Healthcheck>, image: Option<Healthcheck>) -> Option<Healthcheck> {
    let (own, image) = match (own, image) {
        (Some(own), Some(image)) => (own, image),
        (own, image) => return own.or(image),
    };
    let time = |own: i64, image: i64| if own == 0 { image } else { own };
    Some(Healthcheck {
        test: if own.test.is_empty() { image.test } else { own.test },
        interval: time(own.interval, image.interval),
        timeout: time(own.timeout, image.timeout),
        start_period: time(own.start_period, image.start_period),
        start_interval: time(own.start_interval, image.start_interval),
        retries: time(own.retries, image.retries),
    })
}

/// What Docker adds to the configuration of an image.
#[derive(Default)]
struct Rest {
    healthcheck: Option<Healthcheck>,
    shell: Option<Words>,
}

impl Rest {
    fn read(text: &[u8]) -> Result<Self> {
        let bad = |error| Error::invalid(format!("invalid image configuration: {error}"));
        let mut image: BTreeMap<String, Value> = serde_json::from_slice(text).map_err(bad)?;
        let mut part = |name: &str| {
            let mut part =
                image.get_mut("config").and_then(|config| config.get_mut(name)).map(Value::take)?;
            without_nulls(&mut part);
            Some(part).filter(|part| !part.is_null())
        };
        Ok(Self {
            healthcheck: part("Healthcheck").map(serde_json::from_value).transpose().map_err(bad)?,
            shell: part("Shell").map(serde_json::from_value).transpose().map_err(bad)?,
        })
    }
}

/// Go writes null for what is empty.
fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(config: &Value) -> ImageConfig {
        let rootfs = json!({"type": "layers", "diff_ids": []});
        let whole = json!({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs});
        ImageConfig::parse(serde_json::to_vec(&whole).unwrap()).unwrap()
    }

    fn merged(own: Value, from: &Value) -> Value {
        let mut config: Config = serde_json::from_value(own).unwrap();
        merge(&mut config, &image(from)).unwrap();
        serde_json::to_value(config).unwrap()
    }

    #[test]
    fn the_command_follows_the_entrypoint() {
        let both = json!({"Entrypoint": ["/e"], "Cmd": ["c"]});
        for (own, from, entrypoint, cmd) in [
            (json!({}), &both, json!(["/e"]), json!(["c"])),
            (json!({"Cmd": ["x"]}), &both, json!(["/e"]), json!(["x"])),
            (json!({"Cmd": []}), &both, json!(["/e"]), json!(["c"])),
            (json!({"Entrypoint": "/u"}), &both, json!(["/u"]), json!(null)),
            (json!({"Entrypoint": ["/u"], "Cmd": ["x"]}), &both, json!(["/u"]), json!(["x"])),
            // An empty list is not null: no entrypoint, and the image's command.
            (json!({"Entrypoint": []}), &both, json!([]), json!(["c"])),
            (json!({"Entrypoint": [""], "Cmd": ["x"]}), &both, json!(null), json!(["x"])),
            (json!({}), &json!({"Cmd": ["sh"], "Entrypoint": null}), json!(null), json!(["sh"])),
        ] {
            let found = merged(own.clone(), from);
            assert_eq!((&found["Entrypoint"], &found["Cmd"]), (&entrypoint, &cmd), "{own}");
        }
    }

    #[test]
    fn without_a_command_there_is_no_container() {
        for own in [json!({}), json!({"Entrypoint": [""]}), json!({"Entrypoint": [], "Cmd": []})] {
            let mut config: Config = serde_json::from_value(own).unwrap();
            let image = image(&json!({}));
            assert_eq!(merge(&mut config, &image).unwrap_err().message, "no command specified");
        }
        let mut config: Config = serde_json::from_value(json!({"Entrypoint": [""]})).unwrap();
        let image = image(&json!({"Cmd": ["x"], "Entrypoint": ["y"]}));
        assert_eq!(merge(&mut config, &image).unwrap_err().message, "no command specified");
    }

    #[test]
    fn the_user_stands_above_the_image() {
        let own = json!({"Cmd": ["x"], "Env": ["A=1", "GONE"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
            "Labels": {"l": "own"}, "User": "me", "StopSignal": "SIGHUP"});
        let from = json!({"Env": ["A=2", "GONE=x", "B=3"], "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Volumes": {"/w": {}}, "Labels": {"l": "image", "m": "image"}, "User": "them", "WorkingDir": "/w",
            "StopSignal": "SIGINT", "Shell": ["/bin/bash", "-c"]});
        let found = merged(own, &from);
        for (field, expected) in [
            ("Env", json!(["A=1", "GONE", "B=3"])),
            ("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}})),
            ("Volumes", json!({"/v": {}, "/w": {}})),
            ("Labels", json!({"l": "own", "m": "image"})),
            ("User", json!("me")),
            ("WorkingDir", json!("/w")),
            ("StopSignal", json!("SIGHUP")),
            ("Shell", json!(["/bin/bash", "-c"])),
        ] {
            assert_eq!(found[field], expected, "{field}");
        }
    }

    #[test]
    fn a_health_check_is_merged_by_its_fields() {
        let image_check = json!({"Test": ["CMD", "a"], "Interval": 5, "Retries": 2, "Timeout": null});
        let from = json!({"Cmd": ["x"], "Healthcheck": image_check});
        for (own, test, interval, retries) in [
            (json!({}), json!(["CMD", "a"]), json!(5), json!(2)),
            (json!({"Healthcheck": {"Interval": 9}}), json!(["CMD", "a"]), json!(9), json!(2)),
            (json!({"Healthcheck": {"Test": ["NONE"]}}), json!(["NONE"]), json!(5), json!(2)),
        ] {
            let found = merged(own, &from);
            let check = &found["Healthcheck"];
            assert_eq!((&check["Test"], &check["Interval"], &check["Retries"]), (&test, &interval, &retries));
        }
    }
}
