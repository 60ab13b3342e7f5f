//! Connections: HTTP/1.1, one task each, until the engine is told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::answer::{self, Answer, Body};
use super::listen::{self, Listener};
use super::peer::Peer;
use super::request::Request;
use super::route;
use crate::engine::Engine;
use crate::error::{During as _, Result};
use crate::log;

/// How long answers that have begun may take when the engine is told to stop.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a client may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Verbs that may wait at the same time: for a process, a disk, a registry.
const WAITING: usize = 8192;

/// Serves the API until SIGTERM or SIGINT. `ready` is called when clients can come, `on_hangup` at each SIGHUP.
pub(crate) fn serve(
    engine: &Arc<Engine>,
    ready: impl FnOnce() -> Result<()>,
    on_hangup: impl Fn(),
) -> Result<()> {
    // Handlers wait in threads of their own: these two only move bytes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(512 * 1024)
        .max_blocking_threads(WAITING)
        .enable_all()
        .build()
        .while_doing("start the threads of the API")?;
    let served = runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        for listener in listen::open(&engine.settings)? {
            tokio::spawn(accept(listener, Arc::clone(engine), stopping.clone()));
        }
        let mut hangup = signal(SignalKind::hangup()).while_doing("wait for SIGHUP")?;
        let mut terminate = signal(SignalKind::terminate()).while_doing("wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).while_doing("wait for SIGINT")?;
        ready()?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => on_hangup(),
            }
        }
        log::info(&"stopping");
        stop.send_replace(true);
        // All connections hold a receiver.
        drop(stopping);
        let _ = tokio::time::timeout(FAREWELL, stop.closed()).await; // who takes longer is cut off
        Ok(())
    });
    runtime.shutdown_background();
    served
}

async fn accept(listener: Listener, engine: Arc<Engine>, mut stopping: watch::Receiver<bool>) {
    let for_connections = stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &engine, &for_connections) => accepted,
            _ = stopping.changed() => return,
        };
        if let Err(error) = accepted {
            log::warn(&format!("accept a connection: {error}"));
            // Out of descriptors: some may be given back.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn accept_one(
    listener: &Listener,
    engine: &Arc<Engine>,
    stopping: &watch::Receiver<bool>,
) -> std::io::Result<()> {
    let (engine, stopping) = (Arc::clone(engine), stopping.clone());
    match listener {
        Listener::Unix(listener) => {
            let peer = Peer::unix(listener.accept().await?.0);
            tokio::spawn(connection(peer.clone(), peer, engine, stopping));
        }
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let peer = Peer::tcp(stream);
            tokio::spawn(connection(peer.clone(), peer, engine, stopping));
        }
        Listener::Tls(listener, acceptor) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let peer = Peer::tcp(stream);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(peer.clone())).await {
                    Ok(Ok(stream)) => connection(stream, peer, engine, stopping).await,
                    Ok(Err(error)) => log::debug(&format!("TLS with {address}: {error}")),
                    Err(_) => log::debug(&format!("TLS with {address}: no handshake")),
                }
            });
        }
    }
    Ok(())
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    engine: Arc<Engine>,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| answer(Arc::clone(&engine), request, peer.clone()));
    let connection = http1::Builder::new()
        // A client that has sent all its input still reads.
        .half_close(true)
        // As Go writes them, for clients that do not fold case.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        log::debug(&format!("a connection has ended: {error}"));
    }
}

async fn answer(
    engine: Arc<Engine>,
    http: HttpRequest<Incoming>,
    peer: Peer,
) -> std::result::Result<Answer, Infallible> {
    let head = http.method() == Method::HEAD;
    let line = format!("{} {}", http.method(), http.uri());
    let mut answer = match Request::new(http, peer.clone()) {
        Ok(request) => route::answer(engine, request).await,
        Err(error) => answer::error(&error),
    };
    log::debug(&format!("{line}: {}", answer.status().as_u16()));
    if head {
        *answer.body_mut() = Body::Whole(bytes::Bytes::new());
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    answer.body_mut().end_with(peer);
    Ok(answer)
}
