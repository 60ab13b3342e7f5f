//! `/containers/...`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;

use super::Version;
use super::answer::{self, Answer, Body};
use super::exec::size;
use super::hijack::{self, Session};
use super::request::Request;
use super::route::{blocking, unknown};
use super::stream::{self, Chunks};
use super::websocket;
use crate::container::{Attach, Condition, Done, ListQuery, Put, Remove, Size, Stop, for_version};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::logs::{Framing, LogQuery, Progress, Reader};
use crate::monitor::Streams;
use crate::wire::{CreateBody, ExecCreate, FileChange, Filters, HostConfig, PathStat, unix_time};

/// Bytes of the body that clients of old send with a start.
const EMPTY_OBJECT: u64 = 7;

pub(super) async fn route(
    engine: Arc<Engine>,
    mut request: Request,
    method: &Method,
    path: &[&str],
) -> Result<Answer> {
    match (method, path) {
        (&Method::GET, ["json"]) => list(engine, request).await,
        (&Method::POST, ["create"]) => create(engine, request).await,
        (&Method::POST, ["prune"]) => {
            let filters = Filters::parse(request.query.text("filters").unwrap_or_default())?;
            Ok(answer::ok(&blocking(&engine, move |engine| engine.prune_containers(&filters)).await?))
        }
        (&Method::DELETE, [name]) => {
            let query = &request.query;
            let remove =
                Remove { force: query.flag("force"), volumes: query.flag("v"), link: query.flag("link") };
            act(engine, name, move |engine, name| engine.remove(name, remove)).await
        }
        (&Method::GET, [name, "json"]) => {
            let size = if request.query.flag("size") { Size::Measured } else { Size::Untold };
            let (name, version) = ((*name).to_owned(), request.version.numbers());
            Ok(answer::ok(&blocking(&engine, move |engine| engine.inspect(&name, size, version)).await?))
        }
        (&Method::POST, [name, verb]) => verb_of(engine, request, name, verb).await,
        (&Method::GET, [name, "logs"]) => logs(engine, request, name).await,
        (&Method::GET, [name, "stats"]) => stats(engine, request, name).await,
        (&Method::GET, [name, "top"]) => {
            let name = (*name).to_owned();
            let arguments = request.query.text("ps_args").unwrap_or_default().to_owned();
            let top = blocking(&engine, move |engine| engine.top(&name, &arguments)).await?;
            Ok(answer::ok(&top))
        }
        (&Method::GET, [name, "changes"]) => {
            let name = (*name).to_owned();
            let changes = blocking(&engine, move |engine| engine.changes(&name)).await?;
            Ok(answer::ok(&changes.into_iter().map(FileChange::from).collect::<Vec<_>>()))
        }
        (&Method::GET, [name, "export"]) => {
            let name = (*name).to_owned();
            engine.containers.find(&name)?;
            let work = move |chunks: &mut Chunks| engine.export(&name, chunks);
            Ok(stream::answer("application/octet-stream", work).await)
        }
        (&Method::HEAD | &Method::GET | &Method::PUT, [name, "archive"]) => {
            let path = request.query.text("path").map(str::to_owned);
            let path = path.ok_or_else(|| Error::invalid("bad parameter: path cannot be empty"))?;
            archive(engine, request, method, name, path).await
        }
        (&Method::GET, [name, "attach", "ws"]) => {
            let session = attachment(&engine, &request, name).await?;
            websocket::begin(request, session)
        }
        _ => {
            // A body that nobody reads would be taken for the next request.
            let _ = request.json().await;
            Err(unknown())
        }
    }
}

async fn verb_of(engine: Arc<Engine>, mut request: Request, name: &str, verb: &str) -> Result<Answer> {
    let query = &request.query;
    let stop = || -> Result<Stop> {
        Ok(Stop { signal: query.text("signal").map(str::to_owned), timeout: query.number("t")? })
    };
    match verb {
        "start" => {
            let length = request.http.headers().get(hyper::header::CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
            if length > EMPTY_OBJECT {
                return Err(Error::invalid(
                    "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
                ));
            }
            done(engine, name, Engine::start).await
        }
        "stop" => {
            let stop = stop()?;
            done(engine, name, move |engine, name| engine.stop(name, &stop)).await
        }
        "restart" => {
            let stop = stop()?;
            act(engine, name, move |engine, name| engine.restart(name, &stop)).await
        }
        "kill" => {
            let signal = query.text("signal").map(str::to_owned);
            act(engine, name, move |engine, name| engine.kill(name, signal.as_deref())).await
        }
        "pause" => act(engine, name, |engine, name| engine.pause(name)).await,
        "unpause" => act(engine, name, |engine, name| engine.unpause(name)).await,
        "rename" => {
            let new = query.text("name").unwrap_or_default().to_owned();
            act(engine, name, move |engine, name| engine.rename(name, &new)).await
        }
        "resize" => {
            let (rows, columns) = size(&request)?;
            let name = name.to_owned();
            blocking(&engine, move |engine| engine.resize(&name, rows, columns)).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        "update" => {
            let mut update: HostConfig = request.body().await?;
            // Fields that older versions did not have, or newer ones have no more.
            if request.version < Version(1, 40) {
                update.pids_limit = None;
            }
            if request.version >= Version(1, 42) {
                update.kernel_memory = 0;
            }
            let name = name.to_owned();
            let warnings = blocking(&engine, move |engine| engine.update(&name, &update)).await?;
            Ok(answer::ok(&json!({ "Warnings": warnings })))
        }
        "wait" => wait(&engine, &request, name),
        "attach" => attach(engine, request, name).await,
        "exec" => {
            let asked: ExecCreate = request.body().await?;
            // Which they are is said once more when it is attached to.
            let keys = Some(asked.detach_keys.as_str()).filter(|keys| !keys.is_empty());
            hijack::detach_keys(keys).map_err(|_| {
                Error::invalid(format!("Invalid escape keys ({}) provided", asked.detach_keys))
            })?;
            let name = name.to_owned();
            let id = blocking(&engine, move |engine| engine.exec_create(&name, asked)).await?;
            Ok(answer::json(StatusCode::CREATED, &json!({ "Id": id })))
        }
        _ => Err(unknown()),
    }
}

/// A verb that answers 204.
async fn act(
    engine: Arc<Engine>,
    name: &str,
    verb: impl FnOnce(&Arc<Engine>, &str) -> Result<()> + Send + 'static,
) -> Result<Answer> {
    let name = name.to_owned();
    blocking(&engine, move |engine| verb(engine, &name)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// A verb that answers 304 when there was nothing to do.
async fn done(
    engine: Arc<Engine>,
    name: &str,
    verb: impl FnOnce(&Arc<Engine>, &str) -> Result<Done> + Send + 'static,
) -> Result<Answer> {
    let name = name.to_owned();
    Ok(match blocking(&engine, move |engine| verb(engine, &name)).await? {
        Done::Changed => answer::empty(StatusCode::NO_CONTENT),
        Done::Already => answer::empty(StatusCode::NOT_MODIFIED),
    })
}

async fn list(engine: Arc<Engine>, request: Request) -> Result<Answer> {
    let query = &request.query;
    let list = ListQuery {
        all: query.flag("all"),
        // A negative limit is none, as 0 is.
        limit: query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
        size: query.flag("size"),
        filters: Filters::parse(query.text("filters").unwrap_or_default())?,
        api_version: request.version.numbers(),
    };
    Ok(answer::ok(&blocking(&engine, move |engine| engine.list(&list)).await?))
}

async fn create(engine: Arc<Engine>, mut request: Request) -> Result<Answer> {
    let body = request
        .json()
        .await?
        .ok_or_else(|| Error::invalid("invalid JSON: got EOF while reading request body"))?;
    let mut body =
        CreateBody::read(&body).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))?;
    let mut warnings = for_version(&mut body, request.version.numbers())?;
    let (name, platform) =
        (request.query.text("name").map(str::to_owned), request.query.text("platform").map(str::to_owned));
    let created =
        blocking(&engine, move |engine| engine.create(name.as_deref(), platform.as_deref(), body)).await?;
    warnings.extend(created.warnings);
    Ok(answer::json(StatusCode::CREATED, &json!({ "Id": created.id, "Warnings": warnings })))
}

/// The head goes out at once: clients start the container only when it is there.
fn wait(engine: &Engine, request: &Request, name: &str) -> Result<Answer> {
    let condition = Condition::parse(request.query.text("condition").unwrap_or_default())?;
    let wait = engine.wait(name, condition)?;
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            (code, error) = wait.outcome() => {
                let mut outcome = json!({ "StatusCode": code });
                if let Some(error) = error {
                    outcome["Error"] = json!({ "Message": error });
                }
                let _ = sender.send(format!("{outcome}\n").into()).await; // the client may have gone
            }
            () = sender.closed() => {}
        }
    });
    Ok(answer::stream("application/json", chunks))
}

async fn attach(engine: Arc<Engine>, request: Request, name: &str) -> Result<Answer> {
    let session = attachment(&engine, &request, name).await?;
    Ok(hijack::begin(request, session))
}

/// What an attach asks for, begun.
async fn attachment(engine: &Arc<Engine>, request: &Request, name: &str) -> Result<Session> {
    let query = &request.query;
    let keys = hijack::detach_keys(query.text("detachKeys"))?;
    let streams =
        Streams { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    let container = engine.containers.find(name)?;
    let name = name.to_owned();
    let attached = blocking(engine, move |engine| engine.attach(&name, Attach { streams })).await?;
    let wants_log = query.flag("logs") && (streams.stdout || streams.stderr);
    let before = if wants_log { Some(log_so_far(engine, &container.id, streams).await?) } else { None };
    let record = container.record();
    engine.events.of_container("attach", &record, &[]);
    Ok(Session {
        attached,
        before,
        stdin: streams.stdin && record.config.open_stdin,
        only_before: !query.flag("stream"),
        detach_keys: if streams.stdin { keys } else { Vec::new() },
        on_detach: if streams.stdin {
            hijack::tell_detached(engine, &container.id, "detach")
        } else {
            hijack::no_detach()
        },
        framing: hijack::Framing::Dockers,
    })
}

async fn log_so_far(engine: &Arc<Engine>, id: &str, streams: Streams) -> Result<mpsc::Receiver<Bytes>> {
    let query = LogQuery {
        stdout: streams.stdout,
        stderr: streams.stderr,
        since: None,
        until: None,
        tail: None,
        follow: false,
        timestamps: false,
        details: false,
    };
    let id = id.to_owned();
    Ok(log_chunks(blocking(engine, move |engine| engine.logs(&id, query)).await?))
}

async fn logs(engine: Arc<Engine>, request: Request, name: &str) -> Result<Answer> {
    let query = &request.query;
    let logs = LogQuery {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        follow: query.flag("follow"),
        since: unix_time(query.text("since").unwrap_or_default())?,
        until: unix_time(query.text("until").unwrap_or_default())?.filter(|until| until.as_nanosecond() != 0),
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        tail: query.text("tail").and_then(LogQuery::parse_tail),
    };
    let name = name.to_owned();
    let reader = blocking(&engine, move |engine| engine.logs(&name, logs)).await?;
    let content_type = hijack::content_type(reader.framing() == Framing::Multiplexed, request.version);
    Ok(answer::stream(content_type, log_chunks(reader)))
}

/// What a reader reads, until its end or the client's.
fn log_chunks(mut reader: Reader) -> mpsc::Receiver<Bytes> {
    let (sender, chunks) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut out = Vec::new();
                let progress = reader.read(&mut out);
                (reader, out, progress)
            });
            let Ok((back, out, progress)) = read.await else { return };
            reader = back;
            if !out.is_empty() && sender.send(out.into()).await.is_err() {
                return;
            }
            match progress {
                Ok(Progress::More) => {}
                Ok(Progress::Idle) => {
                    let until = reader.until();
                    tokio::select! {
                        () = reader.changed() => {}
                        () = sender.closed() => return,
                        () = passed(until) => return,
                    }
                }
                Ok(Progress::End) => return,
                Err(error) => return crate::log::warn(&error.within("read a log")),
            }
        }
    });
    chunks
}

async fn passed(until: Option<jiff::Timestamp>) {
    match until {
        None => std::future::pending().await,
        Some(until) => {
            let left = until.duration_since(jiff::Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        }
    }
}

/// How often a stream of statistics has a sample.
const INTERVAL: Duration = Duration::from_secs(1);

async fn stats(engine: Arc<Engine>, request: Request, name: &str) -> Result<Answer> {
    let mut sampler = engine.stats(name)?;
    if !request.query.flag_or("stream", true) {
        let mut sample = sampler.sample()?;
        if !request.query.flag("one-shot") && sampler.is_up() {
            tokio::time::sleep(INTERVAL).await;
            sample = sampler.sample()?;
        }
        return Ok(answer::ok(&sample));
    }
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(INTERVAL);
        while !sampler.is_removed() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sender.closed() => return,
            }
            let sample = match sampler.sample() {
                Ok(sample) => sample,
                Err(error) => return crate::log::warn(&error.within("measure a container")),
            };
            let Ok(mut text) = serde_json::to_vec(&sample) else { return };
            text.push(b'\n');
            if sender.send(text.into()).await.is_err() {
                return;
            }
        }
    });
    Ok(answer::stream("application/json", chunks))
}

const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

async fn archive(
    engine: Arc<Engine>,
    request: Request,
    method: &Method,
    name: &str,
    path: String,
) -> Result<Answer> {
    let name = name.to_owned();
    match *method {
        Method::HEAD => {
            let stat = blocking(&engine, move |engine| engine.path_stat(&name, &path)).await?;
            let mut answer = answer::empty(StatusCode::OK);
            answer.headers_mut().insert(PATH_STAT, encoded(&stat)?);
            Ok(answer)
        }
        Method::GET => {
            let (told, stat) = tokio::sync::oneshot::channel();
            let mut answer = stream::answer("application/x-tar", move |chunks| {
                let begin = move |stat: PathStat| {
                    let _ = told.send(stat); // the client may have gone
                };
                engine.archive(&name, &path, begin, chunks)
            })
            .await;
            if let Ok(stat) = stat.await {
                answer.headers_mut().insert(PATH_STAT, encoded(&stat)?);
            }
            Ok(answer)
        }
        _ => {
            let query = &request.query;
            let put =
                Put { keep_kinds: query.flag("noOverwriteDirNonDir"), as_user: query.flag("copyUIDGID") };
            let body = request.into_reader();
            blocking(&engine, move |engine| engine.unpack(&name, &path, put, body)).await?;
            Ok(answer::build(StatusCode::OK, None, Body::Whole(Bytes::new())))
        }
    }
}

fn encoded(stat: &PathStat) -> Result<HeaderValue> {
    let text = serde_json::to_vec(stat).map_err(Error::system)?;
    HeaderValue::from_str(&BASE64_STANDARD.encode(text)).map_err(Error::system)
}
