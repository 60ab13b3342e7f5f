//! Servers that tell who asked, and clients that ask.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::world::Namespace;

/// What gets through takes far less on a busy machine, one lost packet and a second's wait for ARP included.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is dropped takes for ever; what is let through and not answered would take microseconds.
const IMPATIENCE: Duration = Duration::from_millis(400);

/// Serves TCP and UDP on that port of every address of the namespace, to the end of the test.
pub(crate) fn serve(namespace: &Namespace, port: u16) {
    let everywhere = (Ipv4Addr::UNSPECIFIED, port);
    let (tcp, udp) =
        namespace.inside(|| (TcpListener::bind(everywhere).unwrap(), UdpSocket::bind(everywhere).unwrap()));
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let who = stream.peer_addr().map_or_else(|error| error.to_string(), |peer| peer.ip().to_string());
            // A client that has gone has no answer.
            let _ = stream.write_all(who.as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

/// Asks by TCP: as whom the server saw the client.
pub(crate) fn tcp(from: &Namespace, to: Ipv4Addr, port: u16) -> Result<String> {
    tcp_within(from, to, port, PATIENCE)
}

fn tcp_within(from: &Namespace, to: Ipv4Addr, port: u16, limit: Duration) -> Result<String> {
    from.inside(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(IpAddr::V4(to), port), limit)?;
        stream.set_read_timeout(Some(limit))?;
        let mut who = String::new();
        stream.read_to_string(&mut who)?;
        Ok(who)
    })
}

/// Asks by UDP, as often as it takes: as whom the server saw the client.
pub(crate) fn udp(from: &Namespace, to: Ipv4Addr, port: u16) -> Result<String> {
    udp_within(from, to, port, PATIENCE)
}

fn udp_within(from: &Namespace, to: Ipv4Addr, port: u16, limit: Duration) -> Result<String> {
    from.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(limit))?;
        socket.connect((to, port))?;
        socket.send(b"who")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer)?;
        String::from_utf8(buffer[..length].to_vec()).map_err(|_| Error::from(ErrorKind::InvalidData))
    })
}

/// That neither TCP nor UDP gets an answer.
#[track_caller]
pub(crate) fn assert_closed(from: &Namespace, to: Ipv4Addr, port: u16) {
    if let Ok(who) = tcp_within(from, to, port, IMPATIENCE) {
        panic!("{to}:{port} answered by TCP, to {who}");
    }
    if let Ok(who) = udp_within(from, to, port, IMPATIENCE) {
        panic!("{to}:{port} answered by UDP, to {who}");
    }
}

/// That both get an answer, and as whom the server saw the client.
#[track_caller]
pub(crate) fn assert_open(from: &Namespace, to: Ipv4Addr, port: u16, seen_as: Ipv4Addr) {
    for (name, ask) in [("TCP", tcp as fn(&Namespace, Ipv4Addr, u16) -> Result<String>), ("UDP", udp)] {
        let who = ask(from, to, port).unwrap_or_else(|error| panic!("{to}:{port} by {name}: {error}"));
        assert_eq!(who, seen_as.to_string(), "{to}:{port} by {name}");
    }
}

/// The same for TCP alone: a server of UDP on a host of many addresses answers by another than it was asked by.
#[track_caller]
pub(crate) fn assert_open_by_tcp(from: &Namespace, to: Ipv4Addr, port: u16, seen_as: Ipv4Addr) {
    let who = tcp(from, to, port).unwrap_or_else(|error| panic!("{to}:{port}: {error}"));
    assert_eq!(who, seen_as.to_string(), "{to}:{port}");
}
