//! From a path to its handler. What Docker's API has and this engine does not yet is answered with a sentence that says so.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answer::{self, Answer};
use super::request::Request;
use super::{containers, events, exec, images, networks, system, volumes};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Answers a request.
pub(super) async fn answer(engine: Arc<Engine>, request: Request) -> Answer {
    match route(engine, request).await {
        Ok(answer) => answer,
        Err(error) => answer::error(&error),
    }
}

async fn route(engine: Arc<Engine>, request: Request) -> Result<Answer> {
    let path: Vec<String> = request.path.clone();
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = request.method.clone();
    match (&method, parts.as_slice()) {
        (&Method::OPTIONS, _) => Ok(answer::empty(StatusCode::OK)),
        (_, ["containers", rest @ ..]) => containers::route(engine, request, &method, rest).await,
        (_, ["exec", id, verb]) => exec::route(engine, request, &method, id, verb).await,
        (_, ["images", rest @ ..]) => images::route(engine, request, &method, rest).await,
        (&Method::POST, ["commit"]) => images::commit(engine, request).await,
        (&Method::GET, ["distribution", name @ .., "json"]) => {
            images::distribution(engine, request, name).await
        }
        (_, ["networks", rest @ ..]) => networks::route(engine, request, &method, rest).await,
        (_, ["volumes", rest @ ..]) => volumes::route(engine, request, &method, rest).await,
        (&Method::GET, ["events"]) => events::stream(&engine, &request),
        // No build has left anything.
        (&Method::POST, ["build", "prune"]) => {
            Ok(answer::ok(&serde_json::json!({ "CachesDeleted": null, "SpaceReclaimed": 0 })))
        }
        (&Method::POST, ["build"] | ["build", "cancel"]) => later("building images"),
        (_, ["swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs", ..]) => {
            Err(Error::new(Kind::Unavailable, NO_SWARM))
        }
        (&Method::GET, ["plugins"]) => Ok(answer::ok(&[(); 0])),
        (_, ["plugins", name, ..]) => Err(Error::not_found(format!("plugin \"{name}\" not found"))),
        (_, rest) => system::route(engine, request, &method, rest).await,
    }
}

/// The answer to a path that is no path of the API, or to the wrong method.
pub(super) fn unknown() -> Error {
    Error::not_found("page not found")
}

pub(super) fn later<T>(what: &str) -> Result<T> {
    Err(Error::not_implemented(format!("{what} is not supported by this version of knarrd")))
}

/// Runs a verb of the engine in a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    verb: impl FnOnce(&Arc<Engine>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let engine = Arc::clone(engine);
    let done = tokio::task::spawn_blocking(move || verb(&engine)).await;
    done.unwrap_or_else(|error| Err(Error::system(format!("a thread has failed: {error}"))))
}
