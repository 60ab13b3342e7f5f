//! What `docker ps` says of a container: its state in a word, and a sentence with how long it has been so.

use jiff::Timestamp;

use super::{Record, Status};

/// In seconds.
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// In hours.
const DAY: i64 = 24;
const WEEK: i64 = 7 * DAY;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

impl Record {
    /// Docker's word for the state.
    pub(crate) fn state_word(&self) -> &'static str {
        match self.state.status {
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            _ if self.removing => "removing",
            Status::Dead => "dead",
            Status::Created => "created",
            Status::Exited => "exited",
        }
    }

    /// `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`.
    pub(crate) fn status_text(&self, now: Timestamp) -> String {
        let state = &self.state;
        let since =
            |time: Option<Timestamp>| human(time.map_or(0, |time| now.duration_since(time).as_secs()));
        let code = state.exit_code;
        match state.status {
            Status::Paused => format!("Up {} (Paused)", since(state.started)),
            Status::Restarting => format!("Restarting ({code}) {} ago", since(state.finished)),
            Status::Running => match &state.health {
                None => format!("Up {}", since(state.started)),
                Some(health) if health.status == "starting" => {
                    format!("Up {} (health: starting)", since(state.started))
                }
                Some(health) => format!("Up {} ({})", since(state.started), health.status),
            },
            _ if self.removing => "Removal In Progress".to_owned(),
            Status::Dead => "Dead".to_owned(),
            Status::Created => "Created".to_owned(),
            Status::Exited => format!("Exited ({code}) {} ago", since(state.finished)),
        }
    }

    /// As filters and `inspect` have it: `none` without a health check.
    pub(crate) fn health_word(&self) -> &str {
        self.state.health.as_ref().map_or("none", |health| &health.status)
    }
}

/// About how long some seconds are, in Docker's words.
fn human(seconds: i64) -> String {
    let minutes = seconds / MINUTE;
    // Hours are rounded to the nearest.
    let hours = (seconds + HOUR / 2) / HOUR;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < MINUTE => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 2 * DAY => format!("{hours} hours"),
        () if hours < 2 * WEEK => format!("{} days", hours / DAY),
        () if hours < 2 * MONTH => format!("{} weeks", hours / WEEK),
        () if hours < 2 * YEAR => format!("{} months", hours / MONTH),
        () => format!("{} years", seconds / HOUR / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Health, State};
    use super::*;

    #[test]
    fn durations_are_dockers() {
        // Those of go-units' own tests, and the places where the unit changes.
        for (seconds, want) in [
            (0, "Less than a second"),
            (-5, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (180, "3 minutes"),
            (3 * 60 + 50, "3 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (3600, "About an hour"),
            (3600 + 29 * 60, "About an hour"),
            (3600 + 45 * 60, "2 hours"),
            (3 * 3600 + 1800, "4 hours"),
            (35 * 3600, "35 hours"),
            (48 * 3600, "2 days"),
            (2 * 24 * 3600 + 7200, "2 days"),
            (13 * 24 * 3600, "13 days"),
            (14 * 24 * 3600, "2 weeks"),
            (35 * 24 * 3600, "5 weeks"),
            (60 * 24 * 3600, "2 months"),
            (10 * 30 * 24 * 3600, "10 months"),
            (729 * 24 * 3600, "24 months"),
            (730 * 24 * 3600, "2 years"),
            (3 * 365 * 24 * 3600 + 60, "3 years"),
        ] {
            assert_eq!(human(seconds), want, "{seconds} s");
        }
    }

    #[test]
    fn every_state_has_its_text() {
        let now = Timestamp::from_second(10_000).unwrap();
        let ago = |seconds: i64| Some(Timestamp::from_second(10_000 - seconds).unwrap());
        let health = |status: &str| Some(Health { status: status.to_owned(), ..Health::default() });
        let state = |status, exit_code| State {
            status,
            exit_code,
            started: ago(300),
            finished: ago(5),
            ..State::default()
        };
        let texts = |state: State, removing| {
            let record = Record { state, removing, ..super::super::sample::record('a', "x") };
            (record.state_word(), record.status_text(now))
        };
        let healthy = |status| State { health: health(status), ..state(Status::Running, 0) };
        for (state, removing, word, text) in [
            (state(Status::Running, 0), false, "running", "Up 5 minutes"),
            (healthy("healthy"), false, "running", "Up 5 minutes (healthy)"),
            (healthy("unhealthy"), true, "running", "Up 5 minutes (unhealthy)"),
            (healthy("starting"), false, "running", "Up 5 minutes (health: starting)"),
            (state(Status::Paused, 0), false, "paused", "Up 5 minutes (Paused)"),
            (state(Status::Restarting, 1), false, "restarting", "Restarting (1) 5 seconds ago"),
            (state(Status::Exited, 137), false, "exited", "Exited (137) 5 seconds ago"),
            (state(Status::Exited, 0), true, "removing", "Removal In Progress"),
            (State::default(), false, "created", "Created"),
            (state(Status::Dead, 0), false, "dead", "Dead"),
            (state(Status::Dead, 0), true, "removing", "Removal In Progress"),
        ] {
            assert_eq!(texts(state, removing), (word, text.to_owned()));
        }
    }
}
