//! A new name for a container.

use super::names;
use crate::engine::Engine;
use crate::error::{Error, Result};

impl Engine {
    pub(crate) fn rename(&self, name: &str, new: &str) -> Result<()> {
        if name.is_empty() || new.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.containers.find(name)?;
        let slashed = format!("/{}", new.strip_prefix('/').unwrap_or(new));
        let refused = |error: Error| error.within("Error when allocating new name");
        let new = names::check(&slashed).map_err(refused)?;
        // A removal that has begun is not waited for.
        container.record().refuse_if_removed("renamed")?;
        let _act = container.begin_act();
        container.record().refuse_if_removed("renamed")?;
        let old = container.record().name.clone();
        if old == new {
            let why = "Renaming a container with the same name as its current name";
            return Err(Error::invalid(why));
        }
        self.containers.reserve(new, &container.id).map_err(refused)?;
        let renamed = container.change(|record| new.clone_into(&mut record.name));
        // Of the two names, the one that is not on record is free again.
        self.containers.release(if renamed.is_ok() { &old } else { new });
        let record = renamed?;
        self.events.of_container("rename", &record, &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}
