//! `/volumes/...`.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answer::{self, Answer};
use super::request::Request;
use super::route::{blocking, unknown};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::volume::{Absent, Which};
use crate::wire::{Filters, VolumeCreate, VolumeList};

pub(super) async fn route(
    engine: Arc<Engine>,
    mut request: Request,
    method: &Method,
    path: &[&str],
) -> Result<Answer> {
    match (method, path) {
        (&Method::GET, []) => {
            let filters = filters(&request)?;
            let volumes = blocking(&engine, move |engine| engine.volume_list(&filters)).await?;
            Ok(answer::ok(&VolumeList { volumes, warnings: None }))
        }
        (&Method::POST, ["create"]) => {
            let body: VolumeCreate = request.body().await?;
            let volume = blocking(&engine, move |engine| engine.volume_create(body)).await?;
            Ok(answer::json(StatusCode::CREATED, &volume))
        }
        (&Method::POST, ["prune"]) => {
            let filters = filters(&request)?;
            let which = if request.version.numbers() < (1, 42) { Which::All } else { Which::Anonymous };
            Ok(answer::ok(&blocking(&engine, move |engine| engine.volume_prune(&filters, which)).await?))
        }
        (&Method::GET, [name]) => Ok(answer::ok(&engine.volume_inspect(name)?)),
        (&Method::PUT, [_]) => {
            let why = "volume update only valid for cluster volumes, but swarm is unavailable";
            Err(Error::new(Kind::Unavailable, why))
        }
        (&Method::DELETE, [name]) => {
            let name = (*name).to_owned();
            let absent = if request.query.flag("force") { Absent::Fine } else { Absent::Failure };
            blocking(&engine, move |engine| engine.volume_remove(&name, absent)).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(unknown()),
    }
}

fn filters(request: &Request) -> Result<Filters> {
    Filters::parse(request.query.text("filters").unwrap_or_default())
}
