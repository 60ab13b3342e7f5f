//! Where a bus listens ("Server Addresses" of the specification): sockets by path or abstract name.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use super::connection::Bus;

/// Of systemd itself, without a bus daemon between.
const SYSTEM_PRIVATE: &str = "unix:path=/run/systemd/private";
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Addresses to be tried in turn; the flag says that systemd itself listens there, without a bus daemon between.
pub(super) fn candidates(bus: Bus) -> Vec<(String, bool)> {
    match bus {
        Bus::System => {
            let bus = env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| SYSTEM_BUS.to_owned());
            vec![(bus, false), (SYSTEM_PRIVATE.to_owned(), true)]
        }
        Bus::User => {
            let mut all: Vec<_> =
                env::var("DBUS_SESSION_BUS_ADDRESS").ok().map(|bus| (bus, false)).into_iter().collect();
            if let Ok(dir) = env::var("XDG_RUNTIME_DIR") {
                let dir = escape(&dir);
                all.push((format!("unix:path={dir}/bus"), false));
                all.push((format!("unix:path={dir}/systemd/private"), true));
            }
            all
        }
    }
}

/// An address may hold several, separated by semicolons; the first that answers is taken.
pub(super) fn connect(address: &str) -> io::Result<UnixStream> {
    let mut result = Err(io::Error::new(io::ErrorKind::Unsupported, "no unix socket in the address"));
    for one in address.split(';') {
        let Some(socket) = parse(one) else { continue };
        result = socket.and_then(|socket| UnixStream::connect_addr(&socket));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// None for transports other than `unix`.
fn parse(address: &str) -> Option<io::Result<SocketAddr>> {
    let pairs = address.strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| match pair.split_once('=')? {
        ("path", path) => Some(SocketAddr::from_pathname(String::from_utf8_lossy(&unescape(path)).as_ref())),
        ("abstract", name) => Some(SocketAddr::from_abstract_name(unescape(name))),
        _ => None,
    })
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part[2..].bytes());
            }
            None => bytes.extend(format!("%{part}").bytes()),
        }
    }
    bytes
}

fn escape(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let path =
            |address| parse(address).unwrap().unwrap().as_pathname().unwrap().to_str().unwrap().to_owned();
        assert_eq!(path("unix:path=/run/dbus/socket"), "/run/dbus/socket");
        assert_eq!(path("unix:guid=1,path=/a%20b"), "/a b");
        let name = parse("unix:abstract=/tmp/x").unwrap().unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"/tmp/x"[..]));
        assert!(parse("tcp:host=localhost").is_none());
        assert_eq!(unescape(&escape("/run/user/1000/ü,;")), "/run/user/1000/ü,;".as_bytes());
    }
}
