//! A server from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::app::{App, Served};
use crate::connection;
use crate::event::{Event, Tell};
use crate::limits::Limits;
use crate::mcp;
use crate::routes;
use crate::stop::Stop;

/// Connections that are being refused at a time; those beyond are closed without a word.
const REFUSALS: usize = 256;

/// How long to wait when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(50);

/// How long to wait at most before a new state that could not be searched is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Serves at this address until it is stopped.
///
/// # Errors
///
/// The address is taken or is not this machine's, or threads cannot be started.
pub fn run(
    address: SocketAddr,
    served: Served,
    access: Access,
    limits: Limits,
    stop: &Stop,
    tell: Tell,
) -> std::io::Result<()> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let refresh = limits.refresh;
    let app = Arc::new(App::start(served, access, limits, Arc::clone(&tell))?);
    tell(Event::Listening(listener.local_addr()?));
    runtime.spawn(keep_fresh(Arc::clone(&app), refresh, stop.clone()));
    runtime.block_on(accept(listener, &app, stop));
    // What still runs after the grace period is left behind.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(app) = Arc::into_inner(app) {
        app.close();
    }
    Ok(())
}

/// The threads that read and write, and those that wait for the database.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("secateur-serve")
        .enable_io()
        .enable_time()
        .build()
}

/// Takes connections until the server is stopped, then waits for those that are open.
async fn accept(listener: TcpListener, app: &Arc<App>, stop: &Stop) {
    // No system has more, and a semaphore takes no more permits than it can count.
    let most = app.limits.connections.min(1 << 20);
    let (open, refused) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(REFUSALS)));
    let router = routes::router(Arc::clone(app), [("/mcp", mcp::methods())]);
    loop {
        let accepted = {
            let (next, stopped) = (std::pin::pin!(listener.accept()), std::pin::pin!(stop.stopped()));
            match select(stopped, next).await {
                Either::Left(_) => break,
                Either::Right((accepted, _)) => accepted,
            }
        };
        let Ok((stream, _)) = accepted else {
            // The client is gone already, or no more files may be open.
            tokio::time::sleep(NO_ROOM).await;
            continue;
        };
        if let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
            let served = connection::serve(stream, router.clone(), Arc::clone(app), stop.clone());
            tokio::spawn(async move {
                served.await;
                drop(permit);
            });
            continue;
        }
        app.metrics.refused_connections.fetch_add(1, Ordering::Relaxed);
        if let Ok(permit) = Arc::clone(&refused).try_acquire_owned() {
            tokio::spawn(async move {
                connection::refuse(stream).await;
                drop(permit);
            });
        }
    }
    drop(listener);
    (app.tell)(Event::Ending);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    // After the grace period the rest is closed.
    let _ = tokio::time::timeout(app.limits.grace, open.acquire_many(all)).await;
}

/// Looks for new states of the database.
pub async fn keep_fresh(app: Arc<App>, every: Duration, stop: Stop) {
    let Some(database) = app.served.database.clone() else { return };
    let (mut last, mut wait) = (None, every);
    loop {
        {
            let (stopped, time) = (std::pin::pin!(stop.stopped()), std::pin::pin!(tokio::time::sleep(wait)));
            if let Either::Left(_) = select(stopped, time).await {
                return;
            }
        }
        let database = Arc::clone(&database);
        let refreshed = tokio::task::spawn_blocking(move || database.refresh()).await;
        // What fails may take long to try, such as loading an encoder.
        wait = if matches!(refreshed, Ok(Ok(_))) { every } else { (2 * wait).min(every.max(LONGEST_WAIT)) };
        match refreshed {
            Ok(Ok(true)) => {
                last = None;
                app.metrics.reloads.fetch_add(1, Ordering::Relaxed);
                (app.tell)(Event::Reloaded);
            }
            Ok(Err(fault)) if last.as_ref() != Some(&fault) => {
                // Said once, not every time that it is tried again.
                (app.tell)(Event::NotReloaded(fault.clone()));
                last = Some(fault);
            }
            _ => {}
        }
    }
}
