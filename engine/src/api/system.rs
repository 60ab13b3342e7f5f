//! `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};
use hyper::{Method, StatusCode};

use super::answer::{self, Answer};
use super::request::Request;
use super::route::{blocking, unknown};
use crate::engine::Engine;
use crate::error::{Error, Result};

pub(super) async fn route(
    engine: Arc<Engine>,
    mut request: Request,
    method: &Method,
    path: &[&str],
) -> Result<Answer> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => Ok(ping()),
        (&Method::GET, ["version"]) => Ok(answer::ok(&crate::system::version())),
        (&Method::GET, ["info"]) => Ok(answer::ok(&blocking(&engine, |engine| engine.info()).await?)),
        (&Method::GET, ["system", "df"]) => {
            let kinds: Vec<String> = request.query.all("type").map(str::to_owned).collect();
            let version = request.version.numbers();
            Ok(answer::ok(&blocking(&engine, move |engine| engine.disk_usage(&kinds, version)).await?))
        }
        (&Method::POST, ["auth"]) => {
            let body = request.json().await?.unwrap_or_default();
            let answer = blocking(&engine, move |engine| engine.login(&body)).await?;
            Ok(answer::ok(&answer))
        }
        (&Method::POST, ["session" | "grpc"]) => {
            Err(Error::not_found("there is no BuildKit in this version of knarrd"))
        }
        _ => Err(unknown()),
    }
}

fn ping() -> Answer {
    let mut answer = answer::text(StatusCode::OK, "OK");
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // 2 would make clients speak BuildKit's protocol.
    headers.insert(HeaderName::from_static("builder-version"), HeaderValue::from_static("1"));
    headers.insert(HeaderName::from_static("swarm"), HeaderValue::from_static("inactive"));
    answer
}
