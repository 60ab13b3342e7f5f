//! `knarr ps`: the processes of a container, alone or as the host's ps(1) describes them.

use std::fmt::Write as _;
use std::process::{Command, Output};

use super::denial::explain_denial;
use crate::cli::{Globals, ListFormat, Manners, PsArgs};
use crate::container::Container;
use crate::error::{During as _, Error, Result};
use crate::sys::{self, Errno};

pub(crate) fn run(globals: &Globals, args: &PsArgs) -> Result<()> {
    let container = Container::find(&globals.root.path, &args.id)?;
    let processes = container.cgroup().all_processes().during(|| "unable to get all container pids".into());
    let processes = explain_denial("ps", processes)?;
    let pids: Vec<i32> = processes.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    let text = match (args.format, globals.program.manners) {
        (ListFormat::Json, Manners::Crun) => to_crun_json(&pids),
        (ListFormat::Table, Manners::Crun) => to_crun_table(&pids),
        (ListFormat::Json, Manners::Knarr | Manners::Runc) => to_json(&pids),
        (ListFormat::Table, Manners::Knarr | Manners::Runc) => select_lines(&host_ps(&args.options)?, &pids)?,
    };
    Ok(sys::print(text.as_bytes())?)
}

fn joined(pids: &[i32], separator: &str) -> String {
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    pids.join(separator)
}

/// Go writes an empty list that was never filled as `null`.
fn to_json(pids: &[i32]) -> String {
    if pids.is_empty() { "null\n".into() } else { format!("[{}]\n", joined(pids, ",")) }
}

fn to_crun_json(pids: &[i32]) -> String {
    if pids.is_empty() { "[\n]\n".into() } else { format!("[\n  {}\n]\n", joined(pids, ",\n  ")) }
}

fn to_crun_table(pids: &[i32]) -> String {
    pids.iter().fold("PID\n".into(), |mut table, pid| {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{pid}");
        table
    })
}

fn host_ps(options: &[String]) -> Result<String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef");
    } else {
        ps.args(options);
    }
    let Output { status, stdout, stderr } =
        ps.output().map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Error::Ps("exec: \"ps\": executable file not found in $PATH".into()),
            errno => Error::Ps(format!("run ps: {}", sys::errno_text(errno.unwrap_or(Errno::IO)))),
        })?;
    let text = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        let status = status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
        return Err(Error::Ps(format!("{status}: {text}{}", String::from_utf8_lossy(&stderr))));
    }
    Ok(text)
}

/// The header of a table of ps(1), and the lines of the processes asked for.
fn select_lines(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::Ps("couldn't find PID field in ps output".into()))?;
    let mut selected = format!("{header}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid =
            field.parse().map_err(|_| Error::Ps(format!("unable to parse pid: {field:?} in ps output")))?;
        if pids.contains(&pid) {
            selected.push_str(line);
            selected.push('\n');
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_are_listed_as_runc_and_crun_do() {
        for (pids, json, crun_json, crun_table) in [
            (&[][..], "null\n", "[\n]\n", "PID\n"),
            (&[7], "[7]\n", "[\n  7\n]\n", "PID\n7\n"),
            (&[7, 8], "[7,8]\n", "[\n  7,\n  8\n]\n", "PID\n7\n8\n"),
        ] {
            assert_eq!(to_json(pids), json);
            assert_eq!(to_crun_json(pids), crun_json);
            assert_eq!(to_crun_table(pids), crun_table);
        }
    }

    #[test]
    fn the_table_keeps_the_header_and_the_lines_of_the_container() {
        let table =
            "UID   PID  PPID CMD\nroot    7     1 7 sleep 8\nroot   78     7 sh\n\nroot    8     7 ps 7\n";
        assert_eq!(
            select_lines(table, &[7, 8]).unwrap(),
            "UID   PID  PPID CMD\nroot    7     1 7 sleep 8\nroot    8     7 ps 7\n"
        );
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        for (table, text) in [
            ("", "couldn't find PID field in ps output"),
            ("UID PPID\nroot 1\n", "couldn't find PID field in ps output"),
            ("UID PID\nroot x\n", "unable to parse pid: \"x\" in ps output"),
            ("UID PID\nroot\n", "unable to parse pid: \"\" in ps output"),
        ] {
            assert_eq!(select_lines(table, &[]).unwrap_err().line(), text);
        }
    }

    #[test]
    fn the_host_has_a_ps_that_shows_this_process() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let table = select_lines(&host_ps(&[]).unwrap(), &[own]).unwrap();
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(host_ps(&["--no-such-option".into()]).unwrap_err().line().starts_with("exit status 1: "));
    }
}
