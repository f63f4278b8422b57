//! Connections: HTTP/1.1 and HTTP/2 without TLS (prior knowledge) on one port, bounded in number and in time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tower::Layer;
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer, DefaultResponseForPanic};

use super::Stats;
use crate::media::{ByteSize, duration_text};
use crate::runtime::{Shutdown, Tasks};

/// `[http]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// Connections at once. One more is closed at once, so that those who are being served stay served.
    pub max_connections: usize,
    /// A connection that has sent no complete request head for this long is closed.
    #[serde(with = "duration_text")]
    pub header_timeout: Duration,
    /// A viewer who takes nothing of an answer for this long is let go.
    #[serde(with = "duration_text")]
    pub write_timeout: Duration,
    /// Bytes of MPEG-TS segments that are kept after somebody asked for them; all streams together.
    pub ts_cache: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8080)),
            max_connections: 20_000,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            ts_cache: ByteSize::mib(256),
        }
    }
}

/// What an HTTP/2 connection begins with (RFC 9113 § 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams of an HTTP/2 connection at once: a player asks for a few, a CDN for many.
const MAX_STREAMS: u32 = 256;

/// What answers requests. Panics are caught around the router, not in it, where a layer is boxed once more per route.
type Answers = CatchPanic<Router, DefaultResponseForPanic>;

/// Answers connections until `shutdown`; then the open ones may finish their requests. A panic in `router` is a 500.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Config,
    stats: Arc<Stats>,
    tasks: Tasks,
    shutdown: Shutdown,
) {
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let answers = CatchPanicLayer::new().layer(router);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule: a pause lets some be closed.
                tracing::warn!(%error, "a viewer's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        stats.connections.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            stats.connections_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let connection = connection(stream, answers.clone(), config.clone(), shutdown.clone());
        tasks.spawn("viewer", counted(connection, permit, Arc::clone(&stats)));
    }
}

async fn counted(connection: impl Future<Output = ()>, permit: OwnedSemaphorePermit, stats: Arc<Stats>) {
    stats.connections_open.fetch_add(1, Ordering::Relaxed);
    connection.await;
    stats.connections_open.fetch_sub(1, Ordering::Relaxed);
    drop(permit);
}

async fn connection(stream: TcpStream, answers: Answers, config: Config, shutdown: Shutdown) {
    let header_timeout = config.header_timeout;
    // A playlist is one write; waiting for more of it would only delay it.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(Ok(http2)) = tokio::time::timeout(header_timeout, speaks_http2(&stream)).await else { return };
    let service = TowerToHyperService::new(answers);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(config.write_timeout));
    let io = TokioIo::new(Box::pin(stream));
    // Errors here are the peer's: it left, or did not speak HTTP.
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_frame_size(64 << 10)
            .max_send_buf_size(1 << 20)
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Some(Duration::from_secs(20)));
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = shutdown.begun() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(header_timeout);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = shutdown.begun() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Whether the peer begins with HTTP/2's preface. Nothing is read away.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut head = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut head).await?;
        let begin = &head[..seen];
        if seen == 0 || !PREFACE.starts_with(begin) {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // The rest of the preface is on its way; `peek` would return the same bytes at once.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_of_500_and_the_next_request_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/panic", axum::routing::get(|| async { panic!("on purpose") as &'static str }))
            .route("/fine", axum::routing::get(|| async { "fine" }));
        let tasks = Tasks::new();
        let http = serve(listener, router, Config::default(), Arc::default(), tasks.clone(), Shutdown::default());
        tasks.spawn("http", http);
        let mut socket = TcpStream::connect(address).await.unwrap();
        let requests =
            "GET /panic HTTP/1.1\r\nHost: x\r\n\r\nGET /fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        socket.read_to_string(&mut answers).await.unwrap();
        assert!(answers.starts_with("HTTP/1.1 500 "), "{answers}");
        assert!(answers.contains("HTTP/1.1 200 ") && answers.ends_with("fine"), "{answers}");
    }
}
