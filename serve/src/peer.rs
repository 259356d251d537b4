//! A client's socket, and whether the client is still there while its answer is computed.
//!
//! A client that has closed its half may still read, or be gone: TCP does not tell the two apart. HTTP lets a server
//! say "100 Continue" at any time before it answers, which clients skip. One that is gone answers with a reset.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Version;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Requests that are answered sooner are not watched.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often to look where bytes that nobody reads yet hide whether more will come.
const AGAIN: Duration = Duration::from_millis(100);

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's socket. Its clones are the same socket, which is closed with the last of them.
#[derive(Clone)]
pub struct Peer(Arc<Socket>);

struct Socket {
    stream: TcpStream,
    /// Whether all that was to be written is. Then what is written beside it stands between two messages.
    is_flushed: AtomicBool,
}

/// Whether the question whether a client is there was written whole; what follows a part of it cannot be read.
enum Asked {
    Whole,
    InPart,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        Peer(Arc::new(Socket { stream, is_flushed: AtomicBool::new(true) }))
    }

    /// Waits until the client of a request of this version is gone: it has reset the connection, or closed it.
    pub async fn gone(&self, version: Version) {
        tokio::time::sleep(PATIENCE).await;
        let reset = pin!(self.0.stream.ready(Interest::ERROR));
        let closed = pin!(self.closed(version));
        if let Either::Right((Asked::Whole, reset)) = select(reset, closed).await {
            // The runtime ends where it cannot be waited for.
            let _ = reset.await;
        }
    }

    /// Waits until the client has closed its half, and asks whether it is there. One that is gone answers by a reset.
    async fn closed(&self, version: Version) -> Asked {
        loop {
            match self.0.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(AGAIN).await,
                _ => break,
            }
        }
        if version >= Version::HTTP_11 && self.0.is_flushed.load(Ordering::Relaxed) {
            // Into a buffer that is full nothing is written: there is much to read, and that asks the client.
            return match self.0.stream.try_write(CONTINUE) {
                Ok(count) if count < CONTINUE.len() => Asked::InPart,
                _ => Asked::Whole,
            };
        }
        Asked::Whole
    }

    fn poll_written(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.0.is_flushed.store(false, Ordering::Relaxed);
        loop {
            ready!(self.0.stream.poll_write_ready(context))?;
            match write(&self.0.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(context))?;
            match self.0.stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(context, |stream| stream.try_write(buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(context, |stream| stream.try_write_vectored(buffers))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection flushes what it has kept before it flushes this.
        self.0.is_flushed.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection lets go of the socket at once, which closes it.
        Poll::Ready(Ok(()))
    }
}
