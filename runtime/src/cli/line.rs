//! From the words of the command line to the command they name.

use super::globals::{FIRST_FLAGS, FLAGS, GlobalFlags, HELP};
use super::program::Program;
use super::scan::{Accepted, Stop, accept, scan};
use super::verb::{Manual, Verb};
use super::{
    Command, Invocation, Misuse, Reply, create, criu, events, exec, help, inspect, lifecycle, seccomp, update,
};
use crate::error::Error;

/// What help lists: all that [`Line::command`] knows.
pub(super) const MANUALS: &[&Manual] = &[
    &criu::CHECKPOINT.manual,
    &create::CREATE.manual,
    &lifecycle::DELETE.manual,
    &inspect::DOCTOR.manual,
    &events::EVENTS.manual,
    &exec::EXEC.manual,
    &inspect::FEATURES.manual,
    &lifecycle::KILL.manual,
    &inspect::LIST.manual,
    &lifecycle::PAUSE.manual,
    &inspect::PS.manual,
    &criu::RESTORE.manual,
    &lifecycle::RESUME.manual,
    &create::RUN.manual,
    &seccomp::SECCOMP.manual,
    &inspect::SPEC.manual,
    &lifecycle::START.manual,
    &lifecycle::STATE.manual,
    &update::UPDATE.manual,
];

/// Reads the command line; `args` begins with the name we were started under.
pub(crate) fn parse(args: &[String]) -> Result<Invocation, Reply> {
    let (argv0, args) = match args.split_first() {
        Some((argv0, rest)) => (argv0.as_str(), rest),
        None => ("knarr", args),
    };
    let mut line = Line { program: Program::new(argv0), flags: GlobalFlags::default() };
    let command = line.read(args);
    let reply = match (command, line.flags.resolve(line.program)) {
        (Ok(command), Ok(globals)) => return Ok(Invocation { globals, command }),
        (Err(Stopped::Help(text)), _) => Reply::Text(text),
        (Err(Stopped::Version), Ok(globals)) => {
            Reply::Text(globals.program.version_lines(&globals.root.path))
        }
        (Err(Stopped::Misuse(misuse)), globals) => {
            Reply::Misuse(Box::new(Misuse { globals: globals.ok(), ..*misuse }))
        }
        (_, Err(error)) => Reply::Misuse(Box::new(Misuse::new(error, 1))),
    };
    Err(reply)
}

/// The line as read so far.
struct Line {
    program: Program,
    flags: GlobalFlags,
}

/// Why no command came of it.
enum Stopped {
    Help(String),
    Version,
    Misuse(Box<Misuse>),
}

impl Line {
    fn read(&mut self, args: &[String]) -> Result<Command, Stopped> {
        let flags = &mut self.flags;
        let scanned =
            scan(args, Stop::AtFirst, &mut |given| accept(&[FLAGS, FIRST_FLAGS, HELP], flags, given));
        let usage = || help::of_program(&self.program, MANUALS);
        let positional = scanned.map_err(|why| self.misuse(&why, usage))?;
        match positional.split_first() {
            _ if self.flags.version => Err(Stopped::Version),
            Some((&name, rest)) => self.command(name, &args[args.len() - rest.len()..]),
            None => Err(Stopped::Help(usage())),
        }
    }

    fn command(&mut self, name: &str, rest: &[String]) -> Result<Command, Stopped> {
        match name {
            "checkpoint" => self.verb(&criu::CHECKPOINT, rest).map(Command::Checkpoint),
            "create" => self.verb(&create::CREATE, rest).map(Command::Create),
            "delete" => self.verb(&lifecycle::DELETE, rest).map(Command::Delete),
            "doctor" => self.verb(&inspect::DOCTOR, rest).map(Command::Doctor),
            "events" => self.verb(&events::EVENTS, rest).map(Command::Events),
            "exec" => self.verb(&exec::EXEC, rest).map(Command::Exec),
            "features" => self.verb(&inspect::FEATURES, rest).map(|()| Command::Features),
            "kill" => self.verb(&lifecycle::KILL, rest).map(Command::Kill),
            "list" => self.verb(&inspect::LIST, rest).map(Command::List),
            "pause" => self.verb(&lifecycle::PAUSE, rest).map(Command::Pause),
            "ps" => self.verb(&inspect::PS, rest).map(Command::Ps),
            "restore" => self.verb(&criu::RESTORE, rest).map(Command::Restore),
            "resume" => self.verb(&lifecycle::RESUME, rest).map(Command::Resume),
            "run" => self.verb(&create::RUN, rest).map(Command::Run),
            "seccomp" => self.verb(&seccomp::SECCOMP, rest).map(Command::Seccomp),
            "spec" => self.verb(&inspect::SPEC, rest).map(Command::Spec),
            "start" => self.verb(&lifecycle::START, rest).map(Command::Start),
            "state" => self.verb(&lifecycle::STATE, rest).map(Command::State),
            "update" => self.verb(&update::UPDATE, rest).map(Command::Update),
            "help" | "h" => self.help_on(rest),
            _ => Err(mistake(format!("No help topic for '{name}'"), 3)),
        }
    }

    /// `help` and `help COMMAND`.
    fn help_on(&mut self, rest: &[String]) -> Result<Command, Stopped> {
        match rest.first() {
            Some(topic) if !matches!(topic.as_str(), "help" | "h") => {
                self.flags.help = true;
                self.command(topic, &[])
            }
            _ => Err(Stopped::Help(help::of_program(&self.program, MANUALS))),
        }
    }

    fn verb<A: Default>(&mut self, verb: &Verb<A>, rest: &[String]) -> Result<A, Stopped> {
        let mut args = A::default();
        let flags = &mut self.flags;
        let scanned = scan(rest, verb.stop, &mut |given| match accept(verb.flags, &mut args, given) {
            Accepted::Unknown => accept(&[FLAGS, HELP], flags, given),
            accepted => accepted,
        });
        let usage = || help::of_verb(&self.program, verb);
        let positional = scanned.map_err(|why| self.misuse(&why, usage))?;
        if self.flags.help {
            return Err(Stopped::Help(usage()));
        }
        if let Some(complaint) = verb.count.complaint(positional.len()) {
            let why = format!("{}: \"{}\" {complaint}", self.program.argv0, verb.manual.name);
            return Err(self.misuse(&why, usage));
        }
        let names_container = verb.manual.arguments.starts_with("<container-id>");
        if names_container && positional.first().is_some_and(|id| id.is_empty()) {
            return Err(mistake("container id cannot be empty".into(), 1));
        }
        (verb.take)(&mut args, &positional);
        Ok(args)
    }

    /// Who asks for help gets it, whatever else is wrong.
    fn misuse(&self, why: &str, usage: impl Fn() -> String) -> Stopped {
        if self.flags.help {
            return Stopped::Help(usage());
        }
        let usage = format!("Incorrect Usage.\n\n{}", usage());
        Stopped::Misuse(Box::new(Misuse { usage, ..Misuse::new(Error::Usage(why.into()), 1) }))
    }
}

/// A misuse that the list of flags would not explain.
fn mistake(why: String, code: u8) -> Stopped {
    Stopped::Misuse(Box::new(Misuse::new(Error::Usage(why), code)))
}
