//! Where clients come in: a Unix socket of a group, sockets that the service manager passed, TCP with mutual TLS.

use std::fs;
use std::io;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::error::{During as _, Error, Result};
use crate::settings::{Listen, Settings, Tls};

/// A place where clients come in.
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
}

/// Opens everything that the settings ask for.
pub(super) fn open(settings: &Settings) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for listen in &settings.listen {
        match listen {
            Listen::Unix(path) => listeners.push(unix(path, &settings.group)?),
            Listen::Passed => listeners.extend(passed()?),
            Listen::Tcp(address) => listeners.push(tcp(address, settings)?),
        }
    }
    Ok(listeners)
}

fn unix(path: &Path, group: &str) -> Result<Listener> {
    remove_stale(path)?;
    let listener = StdUnixListener::bind(path).during("listen on", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).during("chmod", path)?;
    if let Some(group) = group_id(group)? {
        chown(path, None, Some(group)).during("chown", path)?;
    }
    from_std(listener)
}

fn from_std(listener: StdUnixListener) -> Result<Listener> {
    listener.set_nonblocking(true).while_doing("listen")?;
    UnixListener::from_std(listener).map(Listener::Unix).while_doing("listen")
}

/// Removes the socket of an engine that is gone. One that answers is another's.
fn remove_stale(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).during("look at", path),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(Error::system(format!("{} is there and is no socket", path.display())));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::system(format!("somebody else listens on {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).during("remove", path)
        }
        Err(error) => Err(error).during("connect to", path),
    }
}

/// A group by name or number. The default one need not exist.
fn group_id(group: &str) -> Result<Option<u32>> {
    if let Ok(number) = group.parse() {
        return Ok(Some(number));
    }
    let path = Path::new("/etc/group");
    let text = fs::read_to_string(path).during("read", path)?;
    let found = text.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(group)).then(|| parts.nth(1)?.parse().ok()).flatten()
    });
    match found {
        None if group != crate::settings::DEFAULT_GROUP => {
            Err(Error::invalid(format!("group {group} not found")))
        }
        found => Ok(found),
    }
}

/// sd_listen_fds(3).
fn passed() -> Result<Vec<Listener>> {
    const FIRST: i32 = 3;
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let ours =
        number("LISTEN_PID").is_some_and(|pid| pid == rustix::process::getpid().as_raw_nonzero().get());
    let count = number("LISTEN_FDS").filter(|count| ours && *count > 0);
    let count = count.ok_or_else(|| {
        Error::system("no sockets found via socket activation: make sure the service was started by systemd")
    })?;
    (FIRST..FIRST + count)
        .map(|fd| from_std(StdUnixListener::from(crate::sys::passed_descriptor(fd))))
        .collect()
}

fn tcp(address: &str, settings: &Settings) -> Result<Listener> {
    let addresses: Vec<_> =
        address.to_socket_addrs().while_doing(format_args!("look up {address}"))?.collect();
    let local = addresses.iter().all(|address| address.ip().is_loopback());
    let listen = || {
        let listener = std::net::TcpListener::bind(addresses.as_slice())?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    match &settings.tls {
        Some(tls) => {
            let acceptor = acceptor(tls)?;
            Ok(Listener::Tls(listen().while_doing(format_args!("listen on {address}"))?, acceptor))
        }
        None if local && settings.plain_tcp => {
            Ok(Listener::Tcp(listen().while_doing(format_args!("listen on {address}"))?))
        }
        None => Err(Error::invalid(format!(
            "{address}: without TLS everybody who can connect is root; use --tlsverify with --tlscacert, --tlscert and --tlskey, or, on a loopback address, --allow-plain-tcp"
        ))),
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Error::invalid(format!("read {}: {error}", path.display()))
    };
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        read.map_err(|error| failed(path, &error))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.authority)? {
        roots.add(certificate).map_err(|error| failed(&tls.authority, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| failed(&tls.authority, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| failed(&tls.key, &error))?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(Error::system)?.with_client_cert_verifier(verifier);
    let config = config.with_single_cert(certificates(&tls.certificate)?, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| failed(&tls.certificate, &error))?)))
}
