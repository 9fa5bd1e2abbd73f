//! Bound sockets: TCP with a deep backlog, Unix with the mode set before anybody can connect, or inherited from the
//! service manager.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::config::{Address, ListenerConfig};

pub(super) enum Socket2 {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// A bound listener that does not listen yet: a start with a taken port fails before anything runs, and clients are
/// refused, not kept waiting, until somebody answers. (An inherited socket listens already.)
pub struct Listener {
    pub(super) config: ListenerConfig,
    pub(super) socket: Socket2,
}

impl Listener {
    /// Binds the configured address.
    pub fn bind(config: ListenerConfig) -> io::Result<Self> {
        config
            .check()
            .map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let socket = match &config.address {
            Address::Tcp(address) => Socket2::Tcp(bind_tcp(*address)?),
            Address::Unix(path) => Socket2::Unix(bind_unix(path)?),
        };
        Ok(Listener { config, socket })
    }

    /// The name it was configured with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Takes over a listening TCP socket inherited from the service manager; its backlog survives restarts.
    pub fn from_std(config: ListenerConfig, socket: std::net::TcpListener) -> io::Result<Self> {
        config
            .check()
            .map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        socket.set_nonblocking(true)?;
        Ok(Listener {
            config,
            socket: Socket2::Tcp(socket),
        })
    }

    /// Takes over an inherited Unix socket.
    pub fn from_std_unix(config: ListenerConfig, socket: StdUnixListener) -> io::Result<Self> {
        config
            .check()
            .map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        socket.set_nonblocking(true)?;
        Ok(Listener {
            config,
            socket: Socket2::Unix(socket),
        })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds beside the path, closes the file to others, and moves it into place, so that there is no instant at which
/// another user could connect. A socket somebody still answers on is left alone.
fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = format!("{} exists and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            let text = format!("another process answers on {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        _ => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&beside)?)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_unix_socket_is_private_and_replaces_only_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = bind_unix(&path).unwrap();
        assert!(StdUnixStream::connect(&path).is_err(), "it does not listen yet");
        SockRef::from(&first).listen(1).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind_unix(&path).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(bind_unix(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn a_wildcard_address_serves_both_families() {
        let socket = bind_tcp("[::]:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(
            std::net::TcpStream::connect(("127.0.0.1", port)).is_err(),
            "it does not listen yet"
        );
        SockRef::from(&socket).listen(2).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }
}
