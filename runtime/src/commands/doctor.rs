//! `knarr doctor`: what this machine has for containers, what is done without, and what to do about it.

use std::fmt::Write as _;

use serde::Serialize;

use super::view::to_indented_json;
use crate::cli::{DoctorArgs, Globals, ListFormat};
use crate::doctor::{Check, Status, examine};
use crate::error::Result;
use crate::sys;

/// 0 when containers can be made, 1 when something needed is missing.
pub(crate) fn run(globals: &Globals, args: &DoctorArgs) -> Result<i32> {
    let checks = examine(&globals.root.path);
    let able = checks.iter().all(|check| check.status < Status::Broken);
    let text = match args.format {
        ListFormat::Json => to_json(able, &checks)?,
        ListFormat::Table => to_table(able, &checks).into_bytes(),
    };
    sys::print(&text)?;
    Ok(i32::from(!able))
}

fn to_json(able: bool, checks: &[Check]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Report<'a> {
        able: bool,
        checks: &'a [Check],
    }
    let mut json = to_indented_json(&Report { able, checks }, "  ")?;
    json.push(b'\n');
    Ok(json)
}

fn to_table(able: bool, checks: &[Check]) -> String {
    let mut table = String::new();
    for check in checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Fallback => "fallback",
            Status::Missing => "missing",
            Status::Broken => "BROKEN",
        };
        let _ = writeln!(table, "{status:9} {:23} {}", check.name, check.found);
        for (word, text) in [("so", check.effect), ("do", &check.advice)] {
            if !text.is_empty() {
                let _ = writeln!(table, "{:33} {word}: {text}", "");
            }
        }
    }
    let verdict = if able { "Containers can be made." } else { "No container can be made: see BROKEN." };
    table + verdict + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(status: Status) -> [Check; 2] {
        let check = |name, status, effect| Check {
            name,
            status,
            found: "x".into(),
            effect,
            advice: effect.to_owned(),
        };
        [check("a", Status::Ok, ""), check("b", status, "then")]
    }

    #[test]
    fn the_table_explains_what_is_not_well() {
        let blanks = " ".repeat(33);
        let expected = format!(
            "ok        a                       x\n\
             BROKEN    b                       x\n{blanks} so: then\n{blanks} do: then\n\
             No container can be made: see BROKEN.\n"
        );
        assert_eq!(to_table(false, &checks(Status::Broken)), expected);
    }

    #[test]
    fn json_has_all_of_each_check() {
        let json = to_json(true, &checks(Status::Fallback)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let b = serde_json::json!({"name": "b", "status": "fallback", "found": "x", "effect": "then", "advice": "then"});
        assert_eq!((&value["able"], &value["checks"][1]), (&serde_json::json!(true), &b));
    }
}
