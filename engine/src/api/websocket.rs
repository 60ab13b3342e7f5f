//! WebSocket (RFC 6455), as far as an attached client needs it: input comes in frames, output goes out in frames, without
//! Docker's headers in them.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::Version;
use super::answer::{self, Answer, Body};
use super::hijack::{self, Session};
use super::request::Request;
use crate::error::{Error, Result};
use crate::log;

/// What RFC 6455 has both sides add to a client's key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BUFFER: usize = 32 * 1024;
/// Bytes of one frame of a client; input is short.
const LONGEST: u64 = 1 << 20;
/// Clients older than this get text.
const BINARY_SINCE: Version = Version(1, 28);
/// Of the first byte of a frame: it is the last of its message.
const LAST: u8 = 0x80;
/// Of the second byte: the payload is masked, as all of a client's have to be.
const MASKED: u8 = 0x80;
/// A frame that the protocol does not allow.
const PROTOCOL_ERROR: u16 = 1002;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Answers the handshake, and serves the session from a task.
pub(super) fn begin(request: Request, session: Session) -> Result<Answer> {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let upgrade = header(UPGRADE).unwrap_or_default();
    let key = header(SEC_WEBSOCKET_KEY).filter(|_| upgrade.eq_ignore_ascii_case(b"websocket"));
    let key = key.ok_or_else(|| Error::invalid("not websocket protocol"))?;
    if header(SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(Error::invalid("missing or bad WebSocket Version"));
    }
    let accept = HeaderValue::from_str(&accept(key)).map_err(Error::system)?;
    let output = if request.version < BINARY_SINCE { TEXT } else { BINARY };
    let peer = request.peer();
    let upgrade = hyper::upgrade::on(request.http);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                let (reader, writer) = tokio::io::split(hyper_util::rt::TokioIo::new(connection));
                let (input, input_writer) = tokio::io::duplex(BUFFER);
                let (output_reader, output_writer) = tokio::io::duplex(BUFFER);
                let (replies, to_send) = mpsc::channel(4);
                tokio::spawn(read_frames(reader, input_writer, replies));
                let sending = tokio::spawn(write_frames(output_reader, writer, to_send, output));
                hijack::serve(input, output_writer, peer, session.without_frames()).await;
                // It ends with the output.
                let _ = sending.await;
            }
            Err(error) => log::debug(&format!("a client left before its stream began: {error}")),
        }
    });
    let mut answer = answer::build(StatusCode::SWITCHING_PROTOCOLS, None, Body::Whole(Bytes::new()));
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

/// What shows a client that its handshake was understood.
fn accept(key: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

/// Passes on what the client's frames contain until it closes. `replies` gets whole frames that are due to it.
async fn read_frames(
    mut reader: impl AsyncRead + Unpin,
    mut input: impl AsyncWrite + Unpin,
    replies: mpsc::Sender<Vec<u8>>,
) {
    loop {
        let reply = match read_frame(&mut reader).await {
            Ok(Frame { kind: CONTINUATION | TEXT | BINARY, payload }) => {
                if input.write_all(&payload).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Frame { kind: PING, payload }) => frame(PONG, &payload),
            Ok(Frame { kind: PONG, .. }) => continue,
            Ok(Frame { kind: CLOSE, payload }) => {
                let _ = replies.send(frame(CLOSE, payload.get(..2).unwrap_or_default())).await; // it may have gone
                return;
            }
            Ok(_) => frame(CLOSE, &PROTOCOL_ERROR.to_be_bytes()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                frame(CLOSE, &PROTOCOL_ERROR.to_be_bytes())
            }
            Err(_) => return,
        };
        let is_over = reply[0] & !LAST == CLOSE;
        if replies.send(reply).await.is_err() || is_over {
            return;
        }
    }
}

/// Sends output in frames, and replies between them; at the end of the output the end of the conversation.
async fn write_frames(
    mut output: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut replies: mpsc::Receiver<Vec<u8>>,
    kind: u8,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut replying = true;
    loop {
        tokio::select! {
            count = output.read(&mut buffer) => match count? {
                0 => break,
                count => writer.write_all(&frame(kind, &buffer[..count])).await?,
            },
            reply = replies.recv(), if replying => match reply {
                Some(reply) => {
                    writer.write_all(&reply).await?;
                    if reply[0] & !LAST == CLOSE {
                        return writer.shutdown().await;
                    }
                }
                None => replying = false,
            },
        }
        writer.flush().await?;
    }
    writer.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).await?;
    writer.shutdown().await
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    payload: Vec<u8>,
}

/// Reads one frame of a client. `InvalidData`: it is none.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = [0; 2];
    reader.read_exact(&mut head).await?;
    let [first, second] = head;
    let length = match second & !MASKED {
        126 => reader.read_u16().await?.into(),
        127 => reader.read_u64().await?,
        short => short.into(),
    };
    if second & MASKED == 0 || length > LONGEST {
        return Err(invalid());
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(|_| invalid())?];
    reader.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Frame { kind: first & 0x0f, payload })
}

/// A frame of ours: a whole message, without a mask.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![LAST | kind];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_standard() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lengths_have_three_forms() {
        assert_eq!(frame(BINARY, b"Hello"), b"\x82\x05Hello");
        assert_eq!(frame(BINARY, &[0; 256])[..4], [0x82, 126, 1, 0]);
        assert_eq!(frame(BINARY, &vec![0; 65536])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[tokio::test]
    async fn masked_frames_are_read_and_others_refused() {
        let mut text: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(read_frame(&mut text).await.unwrap(), Frame { kind: TEXT, payload: b"Hello".to_vec() });
        let mut unmasked: &[u8] = b"\x81\x05Hello";
        assert_eq!(read_frame(&mut unmasked).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut endless: &[u8] = b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00";
        assert_eq!(read_frame(&mut endless).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn pings_and_closes_are_answered() {
        let (input, mut got) = tokio::io::duplex(64);
        let (replies, mut due) = mpsc::channel(4);
        // Masked with zeros: "ab", a ping of "p", a close with 1000.
        let text: &[u8] = b"\x82\x82\0\0\0\0ab\x89\x81\0\0\0\0p\x88\x82\0\0\0\0\x03\xe8";
        read_frames(text, input, replies).await;
        let mut read = String::new();
        got.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "ab");
        assert_eq!(due.recv().await.unwrap(), b"\x8a\x01p");
        assert_eq!(due.recv().await.unwrap(), b"\x88\x02\x03\xe8");
        assert_eq!(due.recv().await, None);
    }
}
