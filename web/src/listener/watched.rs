//! The socket as hyper sees it: tells the connection's [`Pulse`] what happens, puts our problem in place of hyper's own
//! bare refusals, and closes in the order that lets the last answer arrive: end of ours, then read what the client
//! still sends, then let go.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pulse::Pulse;
use super::refusal;
use super::transport::OverSocket;
use super::turnstile::Entry;
use crate::limits::DRAIN_MAX_BYTES;

/// Renders our answer in place of an automatic one.
pub(super) type Replace = Box<dyn Fn(seawall_domain::Code) -> Bytes + Send>;

pub(super) struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
    /// Read before HTTP began.
    prefix: Bytes,
    replace: Replace,
    replacement: Option<Bytes>,
    /// Where its requests begin; none where nobody waits for that.
    entry: Option<Entry>,
    is_shut: bool,
    lingered_bytes: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, prefix: Bytes, pulse: Arc<Pulse>, replace: Replace, entry: Option<Entry>) -> Self {
        Watched {
            stream,
            pulse,
            prefix,
            replace,
            replacement: None,
            entry,
            is_shut: false,
            lingered_bytes: 0,
        }
    }

    /// Bytes that were read and not used come first again.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }

    /// The stream alone; bytes that were given back are lost.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: OverSocket> Watched<S> {
    /// Whether the next request may be read, when one is here: false for one whose client leaves meanwhile.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(entry) = self.entry.as_mut().filter(|_| self.pulse.awaits_turn()) else {
            return Poll::Ready(true);
        };
        let is_here = !self.prefix.is_empty() || entry.is_waiting() || self.stream.poll_arrived(cx).is_ready();
        if !is_here {
            return Poll::Ready(true);
        }
        match entry.poll_pass_over(cx, self.pulse.line(), &mut self.stream) {
            Poll::Ready(Some(waited)) => self.pulse.take_turn(waited),
            Poll::Ready(None) => return Poll::Ready(false),
            Poll::Pending => {
                self.pulse.queued();
                return Poll::Pending;
            }
        }
        Poll::Ready(true)
    }
}

impl<S: AsyncRead + OverSocket + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !ready!(self.poll_begin(cx)) {
            return Poll::Ready(Ok(()));
        }
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(count));
            self.pulse.received();
            return Poll::Ready(Ok(()));
        }
        if self.pulse.looks_for_end(|| self.stream.has_ended()) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.pulse.received();
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() && buf.starts_with(b"HTTP/1.") && self.pulse.is_quiet() {
            self.replacement = refusal::code_of_automatic(buf).map(|code| (self.replace)(code));
        }
        let this = &mut *self;
        this.pulse.flushed(false);
        let Some(replacement) = &mut this.replacement else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        while !replacement.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, replacement))?;
            replacement.advance(written);
        }
        // The rest of the automatic answer is swallowed: the connection ends with it.
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.pulse.flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(entry) = &mut self.entry {
            entry.give_up();
        }
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
            self.pulse.closing();
        }
        // Closing a socket with unread bytes resets it, and a reset destroys the answer on its way to the client.
        let mut scratch = [0; 4096];
        while self.lingered_bytes < DRAIN_MAX_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => self.lingered_bytes += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
