//! One non-blocking connection, plain or TLS: bytes out, bytes in.

// The places of an inbox never pass its length.
#![allow(clippy::indexing_slicing)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Target;
use crate::wire::{Parsed, parse};

/// Room for what one read brings.
const READ_BYTES: usize = 16 * 1024;

/// A connection; dropping it closes it.
pub struct Connection {
    /// For registering with the poll.
    pub stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Plain bytes that the socket has not taken yet.
    out: Vec<u8>,
    sent: usize,
    inbox: Vec<u8>,
    /// Bytes of the inbox that hold something.
    filled: usize,
    /// Bytes of the inbox that were taken already.
    taken: usize,
}

/// What reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Perhaps something.
    Open,
    /// The other side is done.
    Ended,
}

impl Connection {
    /// Begins to connect, from the `nth` of the target's source addresses.
    pub fn open(target: &Target, nth: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if target.sources > 1 {
            let last = 1 + u8::try_from(nth % u64::from(target.sources)).unwrap_or(0);
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
        }
        match socket.connect(&target.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let tls = match &target.tls {
            Some(tls) => Some(Box::new(tls.connect().map_err(io::Error::other)?)),
            None => None,
        };
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            tls,
            out: Vec::new(),
            sent: 0,
            inbox: Vec::new(),
            filled: 0,
            taken: 0,
        })
    }

    /// Queues a request and sends what the socket takes now.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            None if self.sent == self.out.len() => {
                // Nothing waits: past the queue, straight into the socket.
                let written = written(self.stream.write(bytes))?;
                self.out.clear();
                self.sent = 0;
                self.out.extend_from_slice(&bytes[written..]);
                return Ok(());
            }
            None => self.out.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if is_later(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        while self.sent < self.out.len() {
            let written = written(self.stream.write(&self.out[self.sent..]))?;
            if written == 0 {
                break;
            }
            self.sent += written;
        }
        Ok(())
    }

    /// Reads what is there.
    pub fn fill(&mut self) -> io::Result<Filled> {
        if self.tls.is_some() {
            return self.fill_tls();
        }
        loop {
            let room = self.room();
            let (read, whole) = {
                let space = &mut self.inbox[self.filled..];
                match self.stream.read(space) {
                    Ok(0) => return Ok(Filled::Ended),
                    Ok(read) => (read, read < room),
                    Err(error) if is_later(&error) => return Ok(Filled::Open),
                    Err(error) => return Err(error),
                }
            };
            self.filled += read;
            // Less than there was room for: the socket is empty, and will say when it is not.
            if whole {
                return Ok(Filled::Open);
            }
        }
    }

    fn fill_tls(&mut self) -> io::Result<Filled> {
        let mut ended = Filled::Open;
        loop {
            let Some(tls) = &mut self.tls else { return Ok(ended) };
            match tls.read_tls(&mut self.stream) {
                Ok(0) => ended = Filled::Ended,
                Ok(_) => {}
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let plain = state.plaintext_bytes_to_read();
            if state.peer_has_closed() {
                ended = Filled::Ended;
            }
            if plain > 0 {
                self.make_room(plain);
                let space = &mut self.inbox[self.filled..self.filled + plain];
                if let Some(tls) = &mut self.tls {
                    tls.reader().read_exact(space)?;
                }
                self.filled += plain;
            }
            if ended == Filled::Ended {
                break;
            }
        }
        self.flush()?;
        Ok(ended)
    }

    fn room(&mut self) -> usize {
        self.make_room(1);
        self.inbox.len() - self.filled
    }

    fn make_room(&mut self, bytes: usize) {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
        }
        if self.inbox.len() - self.filled < bytes {
            self.inbox.resize(self.filled + bytes.max(READ_BYTES), 0);
        }
    }

    /// What lies at the head of what came in.
    pub fn parsed(&self) -> Parsed<'_> {
        if self.taken == self.filled {
            return Parsed::Partial;
        }
        parse(&self.inbox[self.taken..self.filled])
    }

    /// The answer of so many bytes was dealt with.
    pub fn take(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.filled);
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
        }
    }

    /// The kind of a finished handshake; `None` while it goes on, and always without TLS.
    pub fn handshake(&self) -> Option<HandshakeKind> {
        let tls = self.tls.as_ref()?;
        if tls.is_handshaking() {
            return None;
        }
        tls.handshake_kind()
    }

    /// What went wrong while connecting, if anything.
    pub fn trouble(&self) -> Option<io::Error> {
        self.stream.take_error().ok().flatten()
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if is_later(&error) => Ok(0),
        other => other,
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}
