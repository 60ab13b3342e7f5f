//! A registry that does what a test tells it to: HTTP/1.1 on a loopback port, with the ways in which real ones misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether all of the announced body came.
    pub(crate) is_whole: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, method: &str, start: &str) -> bool {
        self.method == method && self.target.starts_with(start)
    }
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    /// Closed after so many bytes of the body.
    Drop(usize),
    /// Silent after so many bytes of the body.
    Stall(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) after: After,
    /// Announced by Transfer-Encoding instead of Content-Length.
    pub(crate) is_chunked: bool,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: Vec::new(), after: After::Keep, is_chunked: false }
}

impl Reply {
    #[allow(clippy::needless_pass_by_value)] // a text, a number, a digest: as callers have it
    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn after(mut self, after: After) -> Self {
        self.after = after;
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }
}

type Handler = dyn FnMut(&Request) -> Reply + Send;

/// Wraps an accepted connection, as TLS does.
pub(crate) type Wrap = dyn Fn(TcpStream) -> Option<Box<dyn Duplex>> + Send + Sync;

pub(crate) trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// Ends, with all its connections, when it is dropped.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    patch_limits: Arc<Mutex<Vec<u64>>>,
    ended: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_wrapped(handler, Arc::new(|socket| Some(Box::new(socket))))
    }

    pub(crate) fn start_wrapped(
        handler: impl FnMut(&Request) -> Reply + Send + 'static,
        wrap: Arc<Wrap>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let patch_limits = Arc::new(Mutex::new(Vec::new()));
        let handler = Mutex::new(Box::new(handler) as Box<Handler>);
        let shared = Shared { handler, seen: seen.clone(), patch_limits: patch_limits.clone() };
        let (shared, over, open) = (Arc::new(shared), ended.clone(), sockets.clone());
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                open.lock().unwrap().push(socket.try_clone().unwrap());
                let (shared, wrap) = (shared.clone(), wrap.clone());
                std::thread::spawn(move || shared.serve(socket, &*wrap));
            }
        });
        Self { port, seen, patch_limits, ended, sockets, thread: Some(thread) }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same server for whoever compares names.
    pub(crate) fn other_host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// All requests but the questions how this registry is reached.
    pub(crate) fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.target != "/v2/").cloned().collect()
    }

    /// The next PATCH is read up to so many bytes of its body, and then hung up on.
    pub(crate) fn break_next_patch_after(&self, bytes: u64) {
        self.patch_limits.lock().unwrap().push(bytes);
    }

    pub(crate) fn count(&self, method: &str, start: &str) -> usize {
        self.seen().iter().filter(|request| request.is(method, start)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap().drain(..) {
            // Most are closed already.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shared {
    handler: Mutex<Box<Handler>>,
    seen: Arc<Mutex<Vec<Request>>>,
    patch_limits: Arc<Mutex<Vec<u64>>>,
}

impl Shared {
    fn serve(&self, socket: TcpStream, wrap: &Wrap) {
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let raw = socket.try_clone().unwrap();
        let Some(stream) = wrap(socket) else { return };
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream, &self.patch_limits) {
            self.seen.lock().unwrap().push(request.clone());
            let reply = (self.handler.lock().unwrap())(&request);
            let is_over = !request.is_whole || write_reply(stream.get_mut(), &request, &reply).is_err();
            if let After::Stall(_) = reply.after {
                // Until the client hangs up, or the test ends.
                let _ = stream.read(&mut [0]);
            }
            if is_over || reply.after != After::Keep {
                break;
            }
        }
        // The server has a copy of each socket, which would keep it open.
        let _ = raw.shutdown(std::net::Shutdown::Both);
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Duplex>>, patch_limits: &Mutex<Vec<u64>>) -> Option<Request> {
    // The first byte of a TLS handshake; its record may hold no line.
    if stream.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, headers, body: Vec::new(), is_whole: true };
    let length: u64 = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let breaks_off = if request.method == "PATCH" { patch_limits.lock().unwrap().pop() } else { None };
    let _ = stream.take(breaks_off.unwrap_or(length)).read_to_end(&mut request.body);
    request.is_whole = request.body.len() as u64 == length;
    Some(request)
}

fn write_reply(stream: &mut dyn Write, request: &Request, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    let mut headers = reply.headers.clone();
    let announces = |name: &str| reply.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if reply.is_chunked {
        headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
    } else if !announces("content-length") {
        headers.push(("Content-Length".to_owned(), reply.body.len().to_string()));
    }
    for (name, value) in headers {
        head.extend([&name, ": ", &value, "\r\n"]);
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return stream.flush();
    }
    let sent = match reply.after {
        After::Keep => reply.body.len(),
        After::Drop(count) | After::Stall(count) => count.min(reply.body.len()),
    };
    for chunk in reply.body[..sent].chunks(1 << 16) {
        if reply.is_chunked {
            write!(stream, "{:x}\r\n", chunk.len())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        } else {
            stream.write_all(chunk)?;
        }
    }
    if reply.is_chunked && reply.after == After::Keep {
        stream.write_all(b"0\r\n\r\n")?;
    }
    stream.flush()
}
