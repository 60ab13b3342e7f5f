//! The command line: what was typed becomes an [`Invocation`], or a text to print.
//!
//! Owns the flags of every command (one definition each), the rules by which they are found, help and version, and
//! what the name we were started under changes. The grammar is runc's, with crun's flags added; nothing is done here
//! but reading the arguments and the environment.

mod create;
mod events;
mod exec;
mod flag;
mod globals;
mod help;
mod inspect;
mod lifecycle;
mod program;
mod root_dir;
mod scan;
mod seccomp;
mod update;
mod verb;

pub(crate) use create::CreateArgs;
pub(crate) use events::EventsArgs;
pub(crate) use exec::ExecArgs;
pub(crate) use globals::Globals;
pub(crate) use inspect::{ListArgs, ListFormat, PsArgs, SpecArgs};
pub(crate) use lifecycle::{ContainerArgs, DeleteArgs, KillArgs};
pub(crate) use program::{Manners, Program};
pub(crate) use root_dir::Origin;
pub(crate) use seccomp::SeccompArgs;
pub(crate) use update::UpdateArgs;

use crate::error::Error;
use flag::parse_bool;
use globals::GlobalFlags;
use scan::{Accepted, Given, Stop, scan};
use verb::{Manual, Verb};

/// One command, with all it needs to know.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) globals: Globals,
    pub(crate) command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Create(CreateArgs),
    Delete(DeleteArgs),
    Events(EventsArgs),
    Exec(ExecArgs),
    Features,
    Kill(KillArgs),
    List(ListArgs),
    Pause(ContainerArgs),
    Ps(PsArgs),
    Resume(ContainerArgs),
    Run(CreateArgs),
    Seccomp(SeccompArgs),
    Spec(SpecArgs),
    Start(ContainerArgs),
    State(ContainerArgs),
    Update(UpdateArgs),
}

/// What comes out instead of an [`Invocation`].
#[derive(Debug)]
pub(crate) enum Reply {
    /// `--help` or `--version`: for stdout, and all is well.
    Text(String),
    Misuse(Misuse),
}

#[derive(Debug)]
pub(crate) struct Misuse {
    pub(crate) error: Error,
    /// For stdout, before the error.
    pub(crate) usage: String,
    /// The status to exit with.
    pub(crate) code: u8,
    /// Where to log the error, as far as the flags could be read.
    pub(crate) globals: Option<Globals>,
}

const MANUALS: &[&Manual] = &[
    &create::CREATE.manual,
    &lifecycle::DELETE.manual,
    &events::EVENTS.manual,
    &exec::EXEC.manual,
    &inspect::FEATURES.manual,
    &lifecycle::KILL.manual,
    &inspect::LIST.manual,
    &lifecycle::PAUSE.manual,
    &inspect::PS.manual,
    &lifecycle::RESUME.manual,
    &create::RUN.manual,
    &seccomp::SECCOMP.manual,
    &inspect::SPEC.manual,
    &lifecycle::START.manual,
    &lifecycle::STATE.manual,
    &update::UPDATE.manual,
];

/// runc's commands that this version lacks: told apart from words that mean nothing.
const MISSING: &[&str] = &["checkpoint", "restore"];

/// Reads the command line; `args` begins with the name we were started under.
pub(crate) fn parse(args: &[String]) -> Result<Invocation, Reply> {
    let (argv0, args) = args.split_first().map_or(("knarr", args), |(argv0, rest)| (argv0.as_str(), rest));
    let mut line = Line { program: Program::new(argv0), flags: GlobalFlags::default(), help: false };
    match line.command(args) {
        Ok(command) => {
            let Line { program, flags, .. } = line;
            let globals = flags.resolve(program).map_err(|error| plain_misuse(error, 1))?;
            Ok(Invocation { globals, command })
        }
        Err(Reply::Misuse(misuse)) => {
            let globals = line.flags.resolve(line.program).ok();
            Err(Reply::Misuse(Misuse { globals, ..misuse }))
        }
        Err(text) => Err(text),
    }
}

/// The line as read so far.
struct Line {
    program: Program,
    flags: GlobalFlags,
    help: bool,
}

impl Line {
    fn command(&mut self, args: &[String]) -> Result<Command, Reply> {
        let scanned = scan(args, Stop::AtFirst, &mut |given| self.accept_first(given));
        let positional =
            scanned.map_err(|why| self.misuse(&why, || help::of_program(&self.program, MANUALS)))?;
        if self.flags.version {
            return Err(self.version());
        }
        match positional.split_first() {
            None => Err(Reply::Text(help::of_program(&self.program, MANUALS))),
            Some((&name, rest)) => {
                let rest = &args[args.len() - rest.len()..];
                self.command_named(name, rest)
            }
        }
    }

    fn command_named(&mut self, name: &str, rest: &[String]) -> Result<Command, Reply> {
        match name {
            "create" => self.verb(&create::CREATE, rest).map(Command::Create),
            "delete" => self.verb(&lifecycle::DELETE, rest).map(Command::Delete),
            "events" => self.verb(&events::EVENTS, rest).map(Command::Events),
            "exec" => self.verb(&exec::EXEC, rest).map(Command::Exec),
            "features" => self.verb(&inspect::FEATURES, rest).map(|()| Command::Features),
            "kill" => self.verb(&lifecycle::KILL, rest).map(Command::Kill),
            "list" => self.verb(&inspect::LIST, rest).map(Command::List),
            "pause" => self.verb(&lifecycle::PAUSE, rest).map(Command::Pause),
            "ps" => self.verb(&inspect::PS, rest).map(Command::Ps),
            "resume" => self.verb(&lifecycle::RESUME, rest).map(Command::Resume),
            "run" => self.verb(&create::RUN, rest).map(Command::Run),
            "seccomp" => self.verb(&seccomp::SECCOMP, rest).map(Command::Seccomp),
            "spec" => self.verb(&inspect::SPEC, rest).map(Command::Spec),
            "start" => self.verb(&lifecycle::START, rest).map(Command::Start),
            "state" => self.verb(&lifecycle::STATE, rest).map(Command::State),
            "update" => self.verb(&update::UPDATE, rest).map(Command::Update),
            "help" | "h" => self.help_on(rest),
            _ if MISSING.contains(&name) => {
                let text = format!("{}: \"{name}\" is not implemented in this version", self.program.name());
                Err(plain_misuse(Error::Usage(text), 1))
            }
            _ => Err(plain_misuse(Error::Usage(format!("No help topic for '{name}'")), 3)),
        }
    }

    /// `help` and `help COMMAND`.
    fn help_on(&mut self, rest: &[String]) -> Result<Command, Reply> {
        match rest.first() {
            Some(topic) if !matches!(topic.as_str(), "help" | "h") => {
                self.help = true;
                self.command_named(topic, &[])
            }
            _ => Err(Reply::Text(help::of_program(&self.program, MANUALS))),
        }
    }

    fn verb<A: Default>(&mut self, verb: &Verb<A>, rest: &[String]) -> Result<A, Reply> {
        let mut args = A::default();
        let scanned = scan(rest, verb.stop, &mut |given| match scan::accept(verb.flags, &mut args, given) {
            Accepted::Unknown => self.accept(given),
            accepted => accepted,
        });
        if self.help {
            return Err(Reply::Text(help::of_verb(&self.program, verb)));
        }
        let usage = || help::of_verb(&self.program, verb);
        let positional = scanned.map_err(|why| self.misuse(&why, usage))?;
        if let Some(complaint) = verb.count.complaint(positional.len()) {
            let why = format!("{}: \"{}\" {complaint}", self.program.argv0, verb.manual.name);
            return Err(self.misuse(&why, usage));
        }
        let names_container = verb.manual.arguments.starts_with("<container-id>");
        if names_container && positional.first().is_some_and(|id| id.is_empty()) {
            return Err(plain_misuse(Error::Usage("container id cannot be empty".into()), 1));
        }
        (verb.take)(&mut args, &positional);
        Ok(args)
    }

    /// The flags that every command understands beside its own.
    fn accept(&mut self, given: Given<'_>) -> Accepted {
        if matches!(given.name, "help" | "h") {
            return match parse_bool(given.value.unwrap_or("true")) {
                Ok(on) => {
                    self.help = on;
                    Accepted::Yes
                }
                Err(why) => Accepted::Refused(why),
            };
        }
        scan::accept(&[globals::FLAGS], &mut self.flags, given)
    }

    /// The flags before the command.
    fn accept_first(&mut self, given: Given<'_>) -> Accepted {
        match self.accept(given) {
            Accepted::Unknown => scan::accept(&[globals::FIRST_FLAGS], &mut self.flags, given),
            accepted => accepted,
        }
    }

    fn version(&mut self) -> Reply {
        let program = self.program.clone();
        match std::mem::take(&mut self.flags).resolve(program) {
            Ok(globals) => Reply::Text(globals.program.version_lines(&globals.root.path)),
            Err(error) => plain_misuse(error, 1),
        }
    }

    fn misuse(&self, why: &str, usage: impl Fn() -> String) -> Reply {
        if self.help {
            return Reply::Text(usage());
        }
        Reply::Misuse(Misuse {
            error: Error::Usage(why.to_owned()),
            usage: format!("Incorrect Usage.\n\n{}", usage()),
            code: 1,
            globals: None,
        })
    }
}

fn plain_misuse(error: Error, code: u8) -> Reply {
    Reply::Misuse(Misuse { error, usage: String::new(), code, globals: None })
}

#[cfg(test)]
mod tests;
