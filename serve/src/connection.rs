//! One connection: requests one after the other, in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::App;
use crate::peer::Peer;
use crate::slow_writes::SlowWrites;
use crate::stop::Stop;

/// Bytes of a request's head, and of what is read or written at a time. A connection holds no more.
const BUFFER: usize = 64 << 10;

/// How long a refused connection is listened to, so that the client reads the answer before it sees the end.
const LINGER: Duration = Duration::from_millis(500);

/// Answers the requests of a connection until it ends, or the server does.
pub async fn serve(stream: TcpStream, router: Router, app: Arc<App>, stop: Stop) {
    app.metrics.connections.fetch_add(1, Ordering::Relaxed);
    // Without it small answers wait for more to send; where it cannot be set they do.
    let _ = stream.set_nodelay(true);
    let peer = Peer::new(stream);
    let io = TokioIo::new(SlowWrites::new(peer.clone(), app.limits.timeout));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        // The guard looks whether the client is there.
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.idle)
        .max_buf_size(BUFFER)
        // A client that sends its request and closes its half still gets its answer.
        .half_close(true)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let stopped = std::pin::pin!(stop.stopped());
    // What a client does wrong ends its connection, and nothing else.
    if let Either::Right(_) = select(connection.as_mut(), stopped).await {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
    app.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

/// Tells a client that too many connections are open.
pub async fn refuse(mut stream: TcpStream) {
    const BODY: &str = r#"{"error":{"message":"too many connections are open: try again later","type":"server_error","param":null,"code":"unavailable"}}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The client may be gone, or go on sending.
    let _ = tokio::time::timeout(LINGER, told).await;
}
