//! A stream whose writes must get on: a client that reads nothing, or next to nothing, is let go.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes that a client reads at least in the time that it has, if there are so many. One that reads a byte at a time
/// would hold a large answer for days.
const LEAST: usize = 1 << 20;

/// A stream that fails where in so long neither [`LEAST`] bytes could be written nor all that there were.
pub struct SlowWrites<S> {
    stream: S,
    limit: Duration,
    /// Since something could not be written.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Bytes that were written since.
    written: usize,
}

impl<S> SlowWrites<S> {
    pub fn new(stream: S, limit: Duration) -> SlowWrites<S> {
        SlowWrites { stream, limit, stuck: None, written: 0 }
    }

    fn watched(
        &mut self,
        result: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = result {
            self.written = self.written.saturating_add(*result.as_ref().unwrap_or(&0));
            if self.written >= LEAST {
                self.got_on();
            }
            return Poll::Ready(result);
        }
        let limit = self.limit;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
        match stuck.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn got_on(&mut self) {
        (self.stuck, self.written) = (None, 0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlowWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlowWrites<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.watched(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watched(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is called when all is written.
        self.got_on();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What comes of writing three megabytes to a client that reads so many bytes at a time, each a millisecond.
    fn written(at_a_time: usize) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (server, mut client) = duplex(1 << 16);
            let reader = tokio::spawn(async move {
                let mut bytes = vec![0; at_a_time];
                while client.read(&mut bytes).await.unwrap() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            let mut server = SlowWrites::new(server, Duration::from_millis(500));
            let result = server.write_all(&vec![0; 3 << 20]).await;
            drop(server);
            reader.abort();
            result
        })
    }

    #[test]
    fn those_who_get_on_are_waited_for_and_others_not() {
        written(1 << 16).unwrap();
        // It reads on and on.
        assert_eq!(written(10).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
