//! What `--help` prints: runc's layout (its test suite reads the first two lines), our words.

use std::fmt::Write as _;

use super::flag::Flag;
use super::globals::{FIRST_FLAGS, FLAGS, HELP};
use super::program::Program;
use super::verb::{Manual, Verb};

/// The two columns of one line.
type Row = (String, &'static str);

pub(super) fn of_program(program: &Program, manuals: &[&Manual]) -> String {
    let name = program.name();
    let mut text = format!(
        "NAME:\n   {name} - Open Container Initiative runtime\n\n\
         A container is described by a bundle: a directory with a config.json and a root filesystem.\n\
         '{name} spec' writes a first config.json, '{name} run <container-id>' runs it.\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {}\n\nCOMMANDS:\n",
        env!("CARGO_PKG_VERSION")
    );
    let commands: Vec<_> = manuals.iter().map(|manual| (manual.name.to_owned(), manual.summary)).collect();
    push_columns(&mut text, &commands);
    text.push_str("\nGLOBAL OPTIONS:\n");
    push_columns(&mut text, &options(&[FLAGS, FIRST_FLAGS, HELP]));
    text
}

pub(super) fn of_verb<A>(program: &Program, verb: &Verb<A>) -> String {
    let name = program.name();
    let manual = &verb.manual;
    let arguments =
        if manual.arguments.is_empty() { String::new() } else { format!(" {}", manual.arguments) };
    let mut text = format!(
        "NAME:\n   {name} {command} - {}\n\nUSAGE:\n   {name} {command} [options]{arguments}\n",
        manual.summary,
        command = manual.name
    );
    if !manual.about.is_empty() {
        let _ = write!(text, "\nDESCRIPTION:\n   {}\n", manual.about.replace('\n', "\n   "));
    }
    text.push_str("\nOPTIONS:\n");
    push_columns(&mut text, &[options(verb.flags), options(&[HELP])].concat());
    text.push_str("\nGLOBAL OPTIONS:\n");
    push_columns(&mut text, &options(&[FLAGS]));
    text
}

fn options<A>(tables: &[&[Flag<A>]]) -> Vec<Row> {
    let shown = tables.iter().copied().flatten().filter(|flag| !flag.help.is_empty());
    shown.map(|flag| (flag.usage(), flag.help)).collect()
}

fn push_columns(text: &mut String, rows: &[Row]) {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(text, "   {left:width$}  {right}");
    }
}
