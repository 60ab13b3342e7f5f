//! `/images/...`, `/commit` and `/distribution/...`. Names of images have slashes, so that the last part of a path says what
//! is meant.

use std::io;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use knarr_images::registry::Credentials;
use serde_json::Value;

use super::answer::{self, Answer};
use super::request::Request;
use super::route::{blocking, unknown};
use super::stream::{self, Chunks};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::{self, Commit, ImageQuery, Import, Pull, Remove, Search};
use crate::wire::request::read;
use crate::wire::{Committed, Config, Filters};

const AUTHORITY: &str = "x-registry-auth";
/// Bytes of an archive that go out at once.
const ARCHIVE_CHUNK: usize = 256 << 10;

pub(super) async fn route(
    engine: Arc<Engine>,
    request: Request,
    method: &Method,
    path: &[&str],
) -> Result<Answer> {
    match (method, path) {
        (&Method::GET, ["json"]) => list(engine, &request).await,
        (&Method::GET, ["search"]) => search(engine, &request).await,
        (&Method::GET, ["get"]) => {
            let names = request.query.all("names").map(str::to_owned).collect();
            save(engine, &request, names).await
        }
        (&Method::POST, ["create"]) => create(engine, request).await,
        (&Method::POST, ["load"]) => load(engine, request).await,
        (&Method::POST, ["prune"]) => {
            let filters = filters(&request)?;
            Ok(answer::ok(&blocking(&engine, move |engine| engine.image_prune(&filters)).await?))
        }
        (&Method::GET, [name @ .., "json"]) => {
            let (name, version) = (name.join("/"), request.version.numbers());
            Ok(answer::ok(&blocking(&engine, move |engine| engine.image_inspect(&name, version)).await?))
        }
        (&Method::GET, [name @ .., "history"]) => {
            let name = name.join("/");
            Ok(answer::ok(&blocking(&engine, move |engine| engine.image_history(&name)).await?))
        }
        (&Method::GET, [name @ .., "get"]) => save(engine, &request, vec![name.join("/")]).await,
        (&Method::POST, [name @ .., "push"]) => push(engine, request, &name.join("/")).await,
        (&Method::POST, [name @ .., "tag"]) => {
            let text = |name| request.query.text(name).unwrap_or_default();
            let (name, new) = (name.join("/"), image::reference(text("repo"), text("tag"))?);
            blocking(&engine, move |engine| engine.image_tag(&name, &new)).await?;
            Ok(answer::empty(StatusCode::CREATED))
        }
        (&Method::DELETE, name @ [_, ..]) => {
            if request.query.text("platforms").is_some() {
                return Err(Error::not_implemented("removing platforms of an image is not supported"));
            }
            let query = &request.query;
            let remove = Remove { force: query.flag("force"), keep_parents: query.flag("noprune") };
            let name = name.join("/");
            Ok(answer::ok(&blocking(&engine, move |engine| engine.image_remove(&name, remove)).await?))
        }
        _ => Err(unknown()),
    }
}

async fn search(engine: Arc<Engine>, request: &Request) -> Result<Answer> {
    let search = Search {
        term: request.query.text("term").unwrap_or_default().to_owned(),
        limit: image::search_limit(request.query.text("limit"))?,
        filters: filters(request)?,
        credentials: credentials(request),
    };
    Ok(answer::ok(&blocking(&engine, move |engine| engine.image_search(&search)).await?))
}

async fn list(engine: Arc<Engine>, request: &Request) -> Result<Answer> {
    let version = request.version.numbers();
    let query = ImageQuery {
        all: request.query.flag("all"),
        shared_size: version >= (1, 42) && request.query.flag("shared-size"),
        // What clients had before there were filters.
        pattern: request.query.text("filter").filter(|_| version < (1, 41)).map(str::to_owned),
        filters: filters(request)?,
        ..ImageQuery::default()
    };
    let mut images = blocking(&engine, move |engine| engine.image_list(&query)).await?;
    for image in &mut images {
        if version < (1, 43) && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
            image.repo_tags.push("<none>:<none>".to_owned());
            image.repo_digests.push("<none>@<none>".to_owned());
        }
        image.virtual_size = (version < (1, 44)).then_some(image.size);
    }
    Ok(answer::ok(&images))
}

/// A pull, or an import of the body.
async fn create(engine: Arc<Engine>, request: Request) -> Result<Answer> {
    let text = |name| request.query.text(name).unwrap_or_default().to_owned();
    let platform = request.query.text("platform").map(str::to_owned);
    if let Some(name) = request.query.text("fromImage") {
        // Old clients ask for all tags by a colon without one.
        let reference = image::reference(name.trim_end_matches(':'), &text("tag"))?;
        let pull = Pull { reference, platform, credentials: credentials(&request) };
        return Ok(stream::progress(move |chunks| engine.image_pull(&pull, &mut teller(chunks))).await);
    }
    let source = text("fromSrc");
    if source.is_empty() {
        return Err(Error::invalid("neither fromImage nor fromSrc is given"));
    }
    let name = Some(text("repo")).filter(|name| !name.is_empty());
    let name = name.map(|name| image::reference(&name, &text("tag"))).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::invalid("cannot import digest reference"));
    }
    let import = Import {
        name,
        message: request
            .query
            .text("message")
            .map_or_else(|| format!("Imported from {source}"), str::to_owned),
        changes: request.query.all("changes").map(str::to_owned).collect(),
        platform: platform.map(|platform| image::platform(&platform)).transpose()?,
    };
    if source != "-" {
        let act = move |chunks: &mut Chunks| engine.image_import_from(&source, import, &mut teller(chunks));
        return Ok(stream::progress(act).await);
    }
    let body = request.into_reader();
    Ok(stream::progress(move |chunks| engine.image_import(body, import, &mut teller(chunks))).await)
}

async fn push(engine: Arc<Engine>, mut request: Request, name: &str) -> Result<Answer> {
    let reference = image::reference(name, request.query.text("tag").unwrap_or_default())?;
    let credentials = match request.headers().get(AUTHORITY) {
        Some(_) => credentials(&request),
        None => match request.json().await {
            Ok(Some(body)) => image::from_body(body),
            Ok(None) => {
                return Err(Error::invalid(
                    "bad parameters and missing X-Registry-Auth: invalid X-Registry-Auth header: EOF",
                ));
            }
            Err(error) => return Err(error.within("bad parameters and missing X-Registry-Auth")),
        },
    };
    Ok(stream::progress(move |chunks| engine.image_push(&reference, &credentials, &mut teller(chunks))).await)
}

async fn load(engine: Arc<Engine>, request: Request) -> Result<Answer> {
    refuse_platform(&request)?;
    let body = request.into_reader();
    let load = move |chunks: &mut Chunks| {
        // Clients look for the error of a load in its progress, whenever it came.
        chunks.begin();
        engine.image_load(body, &mut teller(chunks))
    };
    Ok(stream::progress(load).await)
}

async fn save(engine: Arc<Engine>, request: &Request, names: Vec<String>) -> Result<Answer> {
    refuse_platform(request)?;
    let write = move |chunks: &mut Chunks| {
        engine.image_save(&names, io::BufWriter::with_capacity(ARCHIVE_CHUNK, chunks))
    };
    Ok(stream::answer("application/x-tar", write).await)
}

/// An image here is for one platform.
fn refuse_platform(request: &Request) -> Result<()> {
    if request.version.numbers() >= (1, 48) && request.query.text("platform").is_some() {
        return Err(Error::not_implemented("choosing a platform of an archive is not supported"));
    }
    Ok(())
}

/// `POST /commit`.
pub(super) async fn commit(engine: Arc<Engine>, mut request: Request) -> Result<Answer> {
    let body = request.json().await?.filter(|body| !body.is_null());
    let config = body.map(read::<Config>).transpose();
    let config = config.map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?;
    let text = |name| request.query.text(name).unwrap_or_default().to_owned();
    let name = Some(text("repo")).filter(|name| !name.is_empty());
    let name = name.map(|name| image::reference(&name, &text("tag"))).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::invalid("cannot commit to digest reference"));
    }
    let commit = Commit {
        name,
        author: text("author"),
        comment: text("comment"),
        pause: request.query.flag_or("pause", true),
        changes: request.query.all("changes").map(str::to_owned).collect(),
        config,
    };
    let container = text("container");
    let id = blocking(&engine, move |engine| engine.commit(&container, &commit)).await?;
    Ok(answer::json(StatusCode::CREATED, &Committed { id }))
}

/// `GET /distribution/NAME/json`.
pub(super) async fn distribution(engine: Arc<Engine>, request: Request, name: &[&str]) -> Result<Answer> {
    let (name, credentials) = (name.join("/"), credentials(&request));
    Ok(answer::ok(&blocking(&engine, move |engine| engine.distribution(&name, &credentials)).await?))
}

fn filters(request: &Request) -> Result<Filters> {
    Filters::parse(request.query.text("filters").unwrap_or_default())
}

fn credentials(request: &Request) -> Credentials {
    image::from_header(request.headers().get(AUTHORITY).and_then(|value| value.to_str().ok()))
}

fn teller(chunks: &mut Chunks) -> impl FnMut(&Value) -> io::Result<()> {
    |object| chunks.object(object)
}
