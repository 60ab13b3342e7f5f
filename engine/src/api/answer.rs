//! Answers: JSON, streams, errors, and the headers that every one of them has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::NEWEST;
use super::peer::{InDoubt, Peer};
use crate::error::{Error, Kind};

pub(super) type Answer = Response<Body>;

/// What an answer carries.
pub(super) enum Body {
    Whole(Bytes),
    /// Chunk by chunk, as they come, until the client has gone.
    Stream(mpsc::Receiver<Bytes>, Gone, Broken),
}

/// Told before the end of the chunks if that is too early. The connection then ends without the end of the body, or a client
/// would take what it has for all.
pub(super) type Broken = Option<oneshot::Receiver<()>>;

type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Body {
    /// Lets the client's end be that of a stream as well.
    pub(super) fn end_with(&mut self, peer: Peer) {
        if let Self::Stream(_, gone, _) = self {
            *gone = Box::pin(async move { peer.gone(InDoubt::Gone).await });
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(chunks, gone, broken) => match chunks.poll_recv(context) {
                Poll::Ready(Some(chunk)) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                Poll::Ready(None) => {
                    let is_broken = broken.take().is_some_and(|mut broken| broken.try_recv().is_ok());
                    Poll::Ready(is_broken.then(|| Err(io::ErrorKind::UnexpectedEof.into())))
                }
                Poll::Pending => gone.as_mut().poll(context).map(|()| None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(..) => SizeHint::default(),
        }
    }
}

pub(super) fn empty(status: StatusCode) -> Answer {
    build(status, None, Body::Whole(Bytes::new()))
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Answer {
    build(status, Some("text/plain; charset=utf-8"), Body::Whole(Bytes::from_static(text.as_bytes())))
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            text.push(b'\n');
            build(status, Some("application/json"), Body::Whole(text.into()))
        }
        Err(failure) => error(&Error::system(format!("write the answer: {failure}"))),
    }
}

pub(super) fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

pub(super) fn stream(content_type: &'static str, chunks: mpsc::Receiver<Bytes>) -> Answer {
    breakable(content_type, chunks, None)
}

/// A stream that may end before its end.
pub(super) fn breakable(content_type: &'static str, chunks: mpsc::Receiver<Bytes>, broken: Broken) -> Answer {
    let gone = Box::pin(std::future::pending());
    build(StatusCode::OK, Some(content_type), Body::Stream(chunks, gone, broken))
}

/// Clients compare the content type of errors with exactly this one.
pub(super) fn error(error: &Error) -> Answer {
    let mut text = json!({ "message": error.message }).to_string().into_bytes();
    text.push(b'\n');
    build(status(error.kind), Some("application/json"), Body::Whole(text.into()))
}

pub(super) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::InvalidParameter => StatusCode::BAD_REQUEST,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::System => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) fn build(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    headers.insert(SERVER, HeaderValue::from_static("Docker/28.2.2 (linux)"));
    let version = HeaderValue::from_str(&NEWEST.to_string());
    headers
        .insert(HeaderName::from_static("api-version"), version.unwrap_or(HeaderValue::from_static("1.50")));
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    headers.insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
    answer
}
