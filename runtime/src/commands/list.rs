//! `knarr list`: the containers below a root.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::view::{Users, View, to_indented_json};
use crate::cli::{Globals, ListArgs, ListFormat, Manners, Origin};
use crate::container::{Container, Status};
use crate::error::{During as _, Error, Result};
use crate::store::Store;
use crate::sys::{self, Errno};

pub(crate) fn run(globals: &Globals, args: &ListArgs) -> Result<()> {
    let views = views(globals)?;
    let text = match (args.quiet, args.format, globals.program.manners) {
        (true, ..) => views.iter().flat_map(|view| [view.id.as_str(), "\n"]).collect(),
        (false, ListFormat::Table, Manners::Crun) => to_crun_table(&views),
        (false, ListFormat::Json, Manners::Crun) => to_crun_json(&views)?,
        (false, ListFormat::Table, Manners::Knarr | Manners::Runc) => to_table(&views),
        (false, ListFormat::Json, Manners::Knarr | Manners::Runc) => to_json(&views)?,
    };
    Ok(sys::print(text.as_bytes())?)
}

fn views(globals: &Globals) -> Result<Vec<View>> {
    let root = &globals.root;
    let store = match Store::open(&root.path) {
        // A root that was named has to be there; another one comes with the first container.
        Err(Error::NotExist) if root.origin == Origin::Given => {
            let call = format!("open {}", root.path.display());
            return Err(sys::Error { call, errno: Errno::NOENT }.into());
        }
        Err(Error::NotExist) => return Ok(Vec::new()),
        result => result?,
    };
    let users = Users::load();
    let mut views = Vec::new();
    for id in store.ids()? {
        match view(&store, &id, &users) {
            Ok(view) => views.push(view),
            // crun keeps directories of its own under such names.
            Err(Error::During { source, .. })
                if id.starts_with('.') && matches!(*source, Error::NotExist) => {}
            Err(error) => report(&error),
        }
    }
    Ok(views)
}

fn view(store: &Store, id: &str, users: &Users) -> Result<View> {
    let container = store.dir(id).and_then(Container::load).during(|| format!("load container {id}"))?;
    let owner = users.owner(&container).during(|| format!("owner of {id}"))?;
    View::of(&container, owner).during(|| format!("status for {id}"))
}

/// One container that cannot be read does not hide the others.
fn report(error: &Error) {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{}", error.line());
}

/// Columns of at least 12, three blanks between them, as Go's tabwriter lays them out for runc.
fn to_table(views: &[View]) -> String {
    let titles = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(titles).chain(views.iter().map(cells)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut table = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(table, "{cell:width$}");
        }
        table.push_str(&row[5]);
        table.push('\n');
    }
    table
}

fn cells(view: &View) -> [String; 6] {
    let View { id, pid, status, bundle, created, owner, .. } = view;
    [
        id.clone(),
        pid.to_string(),
        status.name().to_owned(),
        bundle.display().to_string(),
        created.clone(),
        owner.clone(),
    ]
}

/// On one line; Go writes a list that was never filled as `null`.
fn to_json(views: &[View]) -> Result<String> {
    let views = (!views.is_empty()).then_some(views);
    let json =
        serde_json::to_string(&views).map_err(|source| Error::Json { what: "write JSON".into(), source })?;
    Ok(json + "\n")
}

fn to_crun_table(views: &[View]) -> String {
    let name = views.iter().map(|view| view.id.len()).max().unwrap_or(0).max(4) + 1;
    let titles = ["NAME", "PID", "STATUS", "BUNDLE PATH", "CREATED", "OWNER"].map(str::to_owned);
    let rows = std::iter::once(titles).chain(views.iter().map(cells));
    rows.fold(String::new(), |mut table, [id, pid, status, bundle, created, owner]| {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{id:name$}{pid:10}{status:8} {bundle:39} {created:30} {owner}");
        table
    })
}

fn to_crun_json(views: &[View]) -> Result<String> {
    #[derive(Serialize)]
    struct Item<'a> {
        id: &'a str,
        pid: i32,
        status: Status,
        bundle: &'a Path,
        created: &'a str,
        owner: &'a str,
    }
    let items: Vec<Item<'_>> = views
        .iter()
        .map(|View { id, pid, status, bundle, created, owner, .. }| Item {
            id,
            pid: *pid,
            status: *status,
            bundle,
            created,
            owner,
        })
        .collect();
    let mut json = to_indented_json(&items, "    ")?;
    json.push(b'\n');
    Ok(String::from_utf8_lossy(&json).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::view::example;
    use super::*;

    #[test]
    fn the_table_is_laid_out_as_runc_does() {
        let mut long = example();
        long.id = "a-container-name".into();
        long.owner = "#1000".into();
        assert_eq!(
            to_table(&[example(), long]),
            "ID                 PID         STATUS      BUNDLE      CREATED                  OWNER\n\
             web                4711        running     /b          2026-01-02T03:04:05.8Z   root\n\
             a-container-name   4711        running     /b          2026-01-02T03:04:05.8Z   #1000\n"
        );
        assert_eq!(to_table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }

    #[test]
    fn json_is_one_line_as_runc_writes_it() {
        assert_eq!(
            to_json(&[example()]).unwrap(),
            "[{\"ociVersion\":\"1.2.0\",\"id\":\"web\",\"pid\":4711,\"status\":\"running\",\"bundle\":\"/b\",\
             \"rootfs\":\"/b/rootfs\",\"created\":\"2026-01-02T03:04:05.8Z\",\"owner\":\"root\"}]\n"
        );
        assert_eq!(to_json(&[]).unwrap(), "null\n");
    }

    #[test]
    fn crun_has_its_own_layout() {
        let table = to_crun_table(&[example()]);
        let mut lines = table.lines();
        assert_eq!(
            lines.next().unwrap(),
            "NAME PID       STATUS   BUNDLE PATH                             CREATED                        OWNER"
        );
        assert_eq!(
            lines.next().unwrap(),
            "web  4711      running  /b                                      2026-01-02T03:04:05.8Z         root"
        );
        assert_eq!(
            to_crun_json(&[example()]).unwrap(),
            "[\n    {\n        \"id\": \"web\",\n        \"pid\": 4711,\n        \"status\": \"running\",\n        \
             \"bundle\": \"/b\",\n        \"created\": \"2026-01-02T03:04:05.8Z\",\n        \"owner\": \"root\"\n    }\n]\n"
        );
    }
}
