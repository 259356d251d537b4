//! The Model Context Protocol over standard input and output, for a program that starts a server of its own.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use rmcp::service::{RoleServer, ServerInitializeError, ServiceExt};
use rmcp::transport::{IntoTransport, stdio_pipes};

use crate::access::Access;
use crate::app::{App, Served};
use crate::event::Tell;
use crate::limits::Limits;
use crate::listen::{keep_fresh, runtime};
use crate::mcp::Tools;
use crate::stop::Stop;

/// Answers calls of tools over standard input and output until the input ends or the server is stopped. Nothing else
/// may be written to standard output meanwhile.
///
/// # Errors
///
/// The client does not speak the protocol, or threads cannot be started.
pub fn run_stdio(served: Served, limits: Limits, stop: &Stop, tell: Tell) -> io::Result<()> {
    let runtime = runtime()?;
    let refresh = limits.refresh;
    let app = Arc::new(App::start(served, Access::default(), limits, tell)?);
    runtime.spawn(keep_fresh(Arc::clone(&app), refresh, stop.clone()));
    let ended = runtime.block_on(async { speak(Tools::new(Arc::clone(&app)), stdio_pipes(), stop).await });
    // A read of standard input may go on for ever.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(app) = Arc::into_inner(app) {
        app.close();
    }
    ended
}

/// Speaks the protocol until the client or the server ends it. Calls that go on when the client ends its side are
/// answered first.
async fn speak<T, A>(tools: Tools, transport: T, stop: &Stop) -> io::Result<()>
where
    T: IntoTransport<RoleServer, io::Error, A>,
{
    let stopped = pin!(stop.stopped());
    let (begun, stopped) = match select(stopped, pin!(tools.serve(transport))).await {
        Either::Left(_) => return Ok(()),
        Either::Right(both) => both,
    };
    let running = match begun {
        Ok(running) => running,
        // Nobody wanted anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its first request is not `initialize`"));
        }
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
    };
    let cancel = running.cancellation_token();
    let ended = match select(stopped, pin!(running.waiting())).await {
        Either::Left((_, ended)) => {
            cancel.cancel();
            ended.await
        }
        Either::Right((ended, _)) => ended,
    };
    ended.map(drop).map_err(io::Error::other)
}

#[cfg(test)]
#[path = "stdio_tests.rs"]
mod tests;
