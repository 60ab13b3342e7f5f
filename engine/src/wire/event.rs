//! Events as `GET /events` tells them, and which of them a client wants.

use std::collections::BTreeMap;

use knarr_images::Reference;
use serde::Serialize;

use super::Filters;
use crate::events::Event;

/// Filters of the stream.
const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// Filters by what an event happened to: its ID, its name, or the beginning of one.
const KINDS: [&str; 8] = ["daemon", "container", "plugin", "volume", "network", "service", "node", "secret"];
/// Actions that go on with a colon and what was done.
const LONG_ACTIONS: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// One line of the stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventMessage<'a> {
    #[serde(flatten)]
    legacy: Option<Legacy<'a>>,
    #[serde(rename = "Type")]
    kind: &'a str,
    #[serde(rename = "Action")]
    action: &'a str,
    #[serde(rename = "Actor")]
    actor: Actor<'a>,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

/// What events of containers and images also had before `Actor`. Clients of every version up to 1.51 get it.
#[derive(Debug, Clone, Serialize)]
struct Legacy<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Actor<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    attributes: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a Event> for EventMessage<'a> {
    fn from(event: &'a Event) -> Self {
        let from = event.attributes.get("image").map_or("", String::as_str);
        let legacy = match event.kind {
            "container" => Some(from),
            "image" => Some(""),
            _ => None,
        };
        Self {
            legacy: legacy.map(|from| Legacy { status: &event.action, id: &event.id, from }),
            kind: event.kind,
            action: &event.action,
            actor: Actor { id: &event.id, attributes: &event.attributes },
            scope: "local",
            time: event.time.as_second(),
            // Of the years 1677 to 2262, as Docker's.
            time_nano: i64::try_from(event.time.as_nanosecond()).unwrap_or_default(),
        }
    }
}

impl Filters {
    /// Refuses what is no filter of events. Docker lets it pass, and then nothing is filtered.
    pub(crate) fn check_for_events(&self) -> crate::error::Result<()> {
        self.check(&FILTERS)
    }

    /// The client wants this event.
    pub(crate) fn event_fits(&self, event: &Event) -> bool {
        let name = event.attributes.get("name").map_or("", String::as_str);
        let of_kind = |kind: &str| self.begins(kind, &event.id) || self.begins(kind, name);
        self.action_fits(&event.action)
            && self.is("type", event.kind)
            && self.is("scope", "local")
            && KINDS.iter().all(|kind| of_kind(kind))
            && of_kind("config")
            && self.image_fits(event)
            && self.has_labels("label", Some(&event.attributes))
    }

    fn action_fits(&self, action: &str) -> bool {
        if self.values("event").any(|value| LONG_ACTIONS.contains(&value)) {
            self.begins("event", action)
        } else {
            self.is("event", action)
        }
    }

    /// Events of an image, and of containers that were made from it; with its tag or without.
    fn image_fits(&self, event: &Event) -> bool {
        if self.values("image").next().is_none() {
            return true;
        }
        let attribute = if event.kind == "image" { "name" } else { "image" };
        let name = event.attributes.get(attribute).map_or("", String::as_str);
        let without_tag = |name: &str| {
            Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar_name())
        };
        [&event.id, name].iter().any(|name| self.is("image", name) || self.is("image", &without_tag(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &'static str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes =
            attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let time = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        Event { kind, action: action.to_owned(), id: id.to_owned(), attributes, time }
    }

    #[test]
    fn lines_are_dockers() {
        let line = |event: &Event| serde_json::to_string(&EventMessage::from(event)).unwrap();
        assert_eq!(
            line(&event("container", "start", "abc", &[("image", "busybox"), ("name", "web")])),
            concat!(
                r#"{"status":"start","id":"abc","from":"busybox","Type":"container","Action":"start","#,
                r#""Actor":{"ID":"abc","Attributes":{"image":"busybox","name":"web"}},"scope":"local","#,
                r#""time":1767323045,"timeNano":1767323045000000006}"#
            )
        );
        assert_eq!(
            line(&event("image", "pull", "busybox:latest", &[("name", "busybox")])),
            concat!(
                r#"{"status":"pull","id":"busybox:latest","Type":"image","Action":"pull","#,
                r#""Actor":{"ID":"busybox:latest","Attributes":{"name":"busybox"}},"scope":"local","#,
                r#""time":1767323045,"timeNano":1767323045000000006}"#
            )
        );
        assert!(
            line(&event("network", "connect", "n", &[]))
                .starts_with(r#"{"Type":"network","Action":"connect","#)
        );
    }

    #[test]
    fn a_client_gets_what_it_wants() {
        let started = event(
            "container",
            "exec_start: sh -c x",
            "abcdef",
            &[("image", "busybox:1.36"), ("name", "web"), ("com.x", "y")],
        );
        let pulled = event("image", "pull", "busybox:1.36", &[("name", "busybox")]);
        for (text, want) in [
            ("{}", [true, true]),
            (r#"{"type":["container"]}"#, [true, false]),
            (r#"{"event":["exec_start"]}"#, [true, false]),
            (r#"{"event":["exec_start: sh"]}"#, [false, false]),
            (r#"{"event":["pull","die"]}"#, [false, true]),
            (r#"{"container":["abc"]}"#, [true, false]),
            (r#"{"container":["web"]}"#, [true, false]),
            (r#"{"image":["busybox"]}"#, [true, true]),
            (r#"{"image":["busybox:1.36"]}"#, [true, true]),
            (r#"{"image":["alpine"]}"#, [false, false]),
            (r#"{"label":["com.x=y"]}"#, [true, false]),
            (r#"{"scope":["swarm"]}"#, [false, false]),
        ] {
            let filters = Filters::parse(text).unwrap();
            assert_eq!([filters.event_fits(&started), filters.event_fits(&pulled)], want, "{text}");
        }
    }
}
