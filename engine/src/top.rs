//! `docker top`: the host's ps(1) with the client's arguments, narrowed down to a container's processes.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use knarr_cgroups::Hierarchies;
use regex::bytes::RegexBuilder;

use crate::container::Status;
use crate::engine::Engine;
use crate::error::{During as _, Error, Result};
use crate::stats;
use crate::wire::TopAnswer;

const DEFAULT_ARGUMENTS: &str = "-ef";

impl Engine {
    /// `arguments` are those of ps(1), words between single spaces; empty: `-ef`.
    pub(crate) fn top(&self, name: &str, arguments: &str) -> Result<TopAnswer> {
        let arguments = if arguments.is_empty() { DEFAULT_ARGUMENTS } else { arguments };
        check(arguments)?;
        let record = self.containers.find(name)?.record();
        match record.state.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                let why = "is restarting, wait until the container is running";
                return Err(Error::conflict(format!("Container {} {why}", record.id)));
            }
            _ => return Err(Error::conflict(format!("container {} is not running", record.id))),
        }
        let hierarchies = Hierarchies::discover().map_err(Error::system)?;
        let cgroup = stats::cgroup(&hierarchies, &record)?;
        let processes = cgroup.all_processes().map_err(Error::system)?;
        let processes: BTreeSet<i32> = processes.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        let answer = narrow_down(&ps(arguments, &processes)?, &processes)?;
        self.events.of_container("top", &record, &[]);
        Ok(answer)
    }
}

/// A column that is called PID and is another would show other processes.
fn check(arguments: &str) -> Result<()> {
    let renamed = RegexBuilder::new(r"\s+(\S*)=\s*(PID\S*)").unicode(false).build().map_err(Error::system)?;
    for found in renamed.captures_iter(arguments.as_bytes()) {
        let part = |index| {
            found
                .get(index)
                .map_or_else(String::new, |part| String::from_utf8_lossy(part.as_bytes()).into_owned())
        };
        let (column, title) = (part(1), part(2));
        if column != "pid" {
            return Err(Error::invalid(format!("specifying \"{column}={title}\" is not allowed")));
        }
    }
    Ok(())
}

/// Some options do not go together with a choice of processes; then all are shown, to be narrowed down.
fn ps(arguments: &str, processes: &BTreeSet<i32>) -> Result<String> {
    let run = |choice: Option<String>| -> Result<Output> {
        let mut command = Command::new("ps");
        command.args(arguments.split(' ')).args(choice);
        command.output().while_doing("ps")
    };
    let list = processes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut output = run(Some(format!("-q{list}")))?;
    if !output.status.success() {
        output = run(None)?;
    }
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().next().filter(|line| !line.is_empty());
    Err(Error::system(format!("ps: {}", first.map_or_else(|| output.status.to_string(), str::to_owned))))
}

fn narrow_down(output: &str, processes: &BTreeSet<i32>) -> Result<TopAnswer> {
    let mut lines = output.lines();
    let titles: Vec<String> = fields(lines.next().unwrap_or_default()).map(str::to_owned).collect();
    let pid_column = titles.iter().position(|title| title == "PID");
    let pid_column = pid_column.ok_or_else(|| Error::system("Couldn't find PID field in ps output"))?;
    let mut answer = TopAnswer { titles, processes: Vec::new() };
    // Threads follow their process and have no number of their own.
    let mut is_its = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let words: Vec<&str> = fields(line).collect();
        match words.get(pid_column) {
            Some(&"-") => {}
            Some(pid) => {
                let number = pid.parse::<i32>();
                let number =
                    number.map_err(|error| Error::system(format!("Unexpected pid '{pid}': {error}")))?;
                is_its = processes.contains(&number);
            }
            None => is_its = false,
        }
        if is_its {
            answer.processes.push(row(&words, answer.titles.len()));
        }
    }
    Ok(answer)
}

/// As many columns as there are titles: the last one has the rest of the line.
fn row(words: &[&str], columns: usize) -> Vec<String> {
    let (first, rest) = words.split_at(words.len().min(columns.saturating_sub(1)));
    let mut row: Vec<String> = first.iter().map(|word| (*word).to_owned()).collect();
    row.push(rest.join(" "));
    row
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(['\t', '\n', '\x0c', '\r', ' ']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_processes_are_shown() {
        let output = "UID PID PPID CMD\nroot 1 0 /sbin/init\nroot 20 1 sh -c  x y\nroot 21 20 sleep 9\n- - - thread\nroot 3 1 z\n- - - t\n";
        let answer = narrow_down(output, &BTreeSet::from([20, 21])).unwrap();
        assert_eq!(answer.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(
            answer.processes,
            [["root", "20", "1", "sh -c x y"], ["root", "21", "20", "sleep 9"], ["-", "-", "-", "thread"]]
        );
        let error = narrow_down("UID CMD\nroot x\n", &BTreeSet::new()).unwrap_err();
        assert_eq!(error.message, "Couldn't find PID field in ps output");
        assert!(
            narrow_down("PID\nx\n", &BTreeSet::new()).unwrap_err().message.starts_with("Unexpected pid 'x'")
        );
    }

    #[test]
    fn no_other_column_is_called_pid() {
        for arguments in ["-ef", "aux", "-o pid,cmd", "-o pid=PID", "-o ppid=PPID"] {
            assert!(check(arguments).is_ok(), "{arguments}");
        }
        for (arguments, column) in [("-o ppid=PID", "ppid=PID"), ("-o user,uid= PIDx", "user,uid=PIDx")] {
            let error = check(arguments).unwrap_err();
            assert_eq!(error.message, format!("specifying \"{column}\" is not allowed"));
        }
    }

    #[test]
    fn the_hosts_ps_is_run() {
        let own = i32::try_from(std::process::id()).unwrap();
        let processes = BTreeSet::from([own]);
        for arguments in ["-ef", "aux", "-o pid,comm", "-eo user,pid", "axf"] {
            let answer = narrow_down(&ps(arguments, &processes).unwrap(), &processes).unwrap();
            let pid = answer.titles.iter().position(|title| title == "PID").unwrap();
            assert_eq!(answer.processes.len(), 1, "{arguments}");
            assert_eq!(answer.processes[0][pid], own.to_string(), "{arguments}");
        }
        assert!(ps("--nonsense", &processes).unwrap_err().message.starts_with("ps: error: "));
    }
}
