//! The TCP socket below TLS and HTTP. Bytes that were read in advance come first, and while its connection is parked the
//! socket is no concern of the runtime: it keeps neither a registration nor a task there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A TCP socket with the bytes that were read from it too early.
pub(super) struct Transport {
    first: Bytes,
    socket: Socket,
    /// What arrived is to be read without asking the runtime, which was told that there is nothing.
    is_hushed: bool,
}

enum Socket {
    Live(TcpStream),
    Parked(std::net::TcpStream),
    /// The system refused to move it.
    Lost,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, first: Bytes) -> Self {
        Transport {
            first,
            socket: Socket::Live(stream),
            is_hushed: false,
        }
    }

    /// A socket that was parked; its readiness is found out anew.
    pub(super) fn unparked(stream: std::net::TcpStream) -> io::Result<Self> {
        Ok(Self::new(TcpStream::from_std(stream)?, Bytes::new()))
    }

    /// Brings the parked socket below a TLS session back.
    pub(super) fn unpark(&mut self) -> io::Result<()> {
        if let Socket::Parked(stream) = std::mem::replace(&mut self.socket, Socket::Lost) {
            self.socket = Socket::Live(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    /// Whether something can be read; waits until it can, and is false when the socket fails.
    pub(super) async fn is_readable(&self) -> bool {
        match &self.socket {
            _ if !self.first.is_empty() => true,
            Socket::Live(stream) => stream.readable().await.is_ok(),
            Socket::Parked(_) | Socket::Lost => false,
        }
    }

    /// Reads what the runtime knows nothing of; false when there is nothing.
    fn read_at_once(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buf.initialize_unfilled();
        match rustix::io::read(self.live()?.as_fd(), &mut *room) {
            Ok(count) => {
                // There may be more where all the room was taken.
                self.is_hushed = count == room.len();
                buf.advance(count);
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => {
                self.is_hushed = false;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn live(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.socket {
            Socket::Live(stream) => Ok(Pin::new(stream)),
            Socket::Parked(_) | Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// A stream over a socket.
pub(super) trait OverSocket {
    /// Its socket, unless it was lost.
    fn socket(&self) -> Option<BorrowedFd<'_>>;

    /// Whether something came that was not read, as far as the runtime knows; the task is woken when it does. False where
    /// nothing will. Bytes that were read in advance, or decrypted, are not looked for.
    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<bool>;

    /// What arrived so far is not to be told of any more, but what comes after it is, and the other side's end. It is read
    /// as before. False where that cannot be had.
    fn hush(&mut self) -> bool {
        false
    }

    /// Has the other side ended its half, or is the connection broken? Asks the system, which knows before the runtime is
    /// told and before what was sent is read; a microsecond.
    fn has_ended(&self) -> bool {
        let Some(socket) = self.socket() else { return true };
        let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
        let is_told = rustix::event::poll(&mut asked, Some(&AT_ONCE));
        // A system that cannot say leaves it to the next read.
        is_told.is_ok_and(|count| count > 0)
    }
}

impl OverSocket for Transport {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Live(stream) => Some(stream.as_fd()),
            Socket::Parked(stream) => Some(stream.as_fd()),
            Socket::Lost => None,
        }
    }

    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<bool> {
        match &self.socket {
            Socket::Live(stream) => stream.poll_read_ready(cx).map(|ready| ready.is_ok()),
            Socket::Parked(_) | Socket::Lost => Poll::Ready(false),
        }
    }

    fn hush(&mut self) -> bool {
        let Socket::Live(stream) = &self.socket else {
            return false;
        };
        self.is_hushed = true;
        // The runtime forgets that something is there; the system tells it of what is new alone.
        let _ = stream.try_io(Interest::READABLE, || {
            io::Result::<()>::Err(io::ErrorKind::WouldBlock.into())
        });
        true
    }
}

impl OverSocket for Box<TlsStream<Transport>> {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.get_ref().0.socket()
    }

    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.get_ref().0.poll_arrived(cx)
    }

    fn hush(&mut self) -> bool {
        self.get_mut().0.hush()
    }
}

impl OverSocket for UnixStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.poll_read_ready(cx).map(|ready| ready.is_ok())
    }
}

/// A stream whose socket can leave the runtime.
pub(super) trait Parking {
    /// Takes the socket out of the runtime; what was read from it and not used would be lost.
    fn park(self) -> io::Result<ParkedStream>;
}

impl Parking for Transport {
    fn park(self) -> io::Result<ParkedStream> {
        match self.socket {
            Socket::Live(stream) => Ok(ParkedStream::Plain(stream.into_std()?)),
            Socket::Parked(stream) => Ok(ParkedStream::Plain(stream)),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// On the heap: a TLS session is large, and moves from place to place.
impl Parking for Box<TlsStream<Transport>> {
    fn park(mut self) -> io::Result<ParkedStream> {
        let transport = self.get_mut().0;
        if let Socket::Live(stream) = std::mem::replace(&mut transport.socket, Socket::Lost) {
            transport.socket = Socket::Parked(stream.into_std()?);
        }
        Ok(ParkedStream::Tls(self))
    }
}

/// A stream out of the runtime.
pub(super) enum ParkedStream {
    Plain(std::net::TcpStream),
    Tls(Box<TlsStream<Transport>>),
}

impl ParkedStream {
    /// Its socket, unless it was lost.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            ParkedStream::Plain(stream) => Some(stream.as_fd()),
            ParkedStream::Tls(stream) => stream.socket(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            if self.is_hushed && self.read_at_once(buf)? {
                return Poll::Ready(Ok(()));
            }
            return self.live()?.poll_read(cx, buf);
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.live()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live()?.poll_shutdown(cx)
    }
}
