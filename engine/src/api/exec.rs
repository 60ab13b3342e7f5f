//! `/exec/{id}/...`.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answer::{self, Answer};
use super::hijack::{self, Session};
use super::request::Request;
use super::route::{blocking, unknown};
use crate::container::ExecStart;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::wire;

pub(super) async fn route(
    engine: Arc<Engine>,
    request: Request,
    method: &Method,
    id: &str,
    verb: &str,
) -> Result<Answer> {
    match (method, verb) {
        (&Method::GET, "json") => Ok(answer::ok(&engine.exec_inspect(id)?)),
        (&Method::POST, "start") => start(engine, request, id).await,
        (&Method::POST, "resize") => {
            let id = id.to_owned();
            let (rows, columns) = size(&request)?;
            blocking(&engine, move |engine| engine.exec_resize(&id, rows, columns)).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        _ => Err(unknown()),
    }
}

async fn start(engine: Arc<Engine>, mut request: Request, id: &str) -> Result<Answer> {
    let body: wire::ExecStart = request.body().await?;
    let how = ExecStart { detach: body.detach, terminal: body.tty, console_size: body.console_size };
    let inspected = engine.exec_inspect(id)?;
    let container = engine.exec_container(id)?.id.clone();
    let keys = Some(inspected.detach_keys.as_str()).filter(|keys| !keys.is_empty());
    let keys = hijack::detach_keys(keys)?;
    let id = id.to_owned();
    let attached = blocking(&engine, move |engine| engine.exec_start(&id, how)).await?;
    let Some(attached) = attached else { return Ok(answer::empty(StatusCode::OK)) };
    let on_detach = hijack::tell_detached(&engine, &container, "exec_detach");
    let session = Session {
        attached,
        before: None,
        stdin: inspected.open_stdin,
        only_before: false,
        detach_keys: if inspected.open_stdin { keys } else { Vec::new() },
        on_detach,
        framing: hijack::Framing::Dockers,
    };
    Ok(hijack::begin(request, session))
}

/// The size of a terminal, in characters.
pub(super) fn size(request: &Request) -> Result<(u16, u16)> {
    let number = |name: &str| -> Result<u16> {
        let value = request.query.number(name)?.unwrap_or(0);
        u16::try_from(value).map_err(|_| Error::invalid(format!("invalid {name}: {value}")))
    };
    Ok((number("h")?, number("w")?))
}
