//! The TCP socket below TLS and HTTP. Bytes that were read in advance come first, and while its connection is parked the
//! socket is no concern of the runtime: it keeps neither a registration nor a task there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A TCP socket with the bytes that were read from it too early.
pub(super) struct Transport {
    first: Bytes,
    socket: Socket,
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
        }
    }

    /// Whether something can be read; waits until it can, and is false when the socket fails.
    pub(super) async fn is_readable(&self) -> bool {
        match &self.socket {
            _ if !self.first.is_empty() => true,
            Socket::Live(stream) => stream.readable().await.is_ok(),
            Socket::Parked(_) | Socket::Lost => false,
        }
    }

    fn live(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.socket {
            Socket::Live(stream) => Ok(Pin::new(stream)),
            Socket::Parked(_) | Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// A stream whose socket can leave the runtime and come back.
pub(super) trait Parking {
    /// Takes the socket out of the runtime.
    fn park(&mut self) -> io::Result<()>;

    /// Brings it back; its readiness is found out anew.
    fn unpark(&mut self) -> io::Result<()>;

    /// The parked socket.
    fn parked(&self) -> Option<BorrowedFd<'_>>;
}

impl Parking for Transport {
    fn park(&mut self) -> io::Result<()> {
        if let Socket::Live(stream) = std::mem::replace(&mut self.socket, Socket::Lost) {
            self.socket = Socket::Parked(stream.into_std()?);
        }
        Ok(())
    }

    fn unpark(&mut self) -> io::Result<()> {
        if let Socket::Parked(stream) = std::mem::replace(&mut self.socket, Socket::Lost) {
            self.socket = Socket::Live(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    fn parked(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Parked(stream) => Some(stream.as_fd()),
            Socket::Live(_) | Socket::Lost => None,
        }
    }
}

/// On the heap: a TLS session is large, and moves from place to place.
impl Parking for Box<TlsStream<Transport>> {
    fn park(&mut self) -> io::Result<()> {
        self.get_mut().0.park()
    }

    fn unpark(&mut self) -> io::Result<()> {
        self.get_mut().0.unpark()
    }

    fn parked(&self) -> Option<BorrowedFd<'_>> {
        self.get_ref().0.parked()
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
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
