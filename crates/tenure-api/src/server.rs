//! Connections: bounded in number, time and size, and ended with grace.

use crate::asked::Shared;
use crate::often;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most bytes that are read ahead of a request's head. More than a head may have, so that a head that is somewhat too large is answered in words.
const BUFFER: usize = 128 << 10;
/// Most headers that are read, likewise.
const HEADERS: usize = 200;

/// How the door serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// How long a connection may wait for a request, and how long a request's head may take to arrive.
    pub head_timeout: Duration,
    /// Most connections at once; more wait.
    pub max_connections: usize,
    /// How long requests in flight may take to finish when the door closes.
    pub drain: Duration,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings { head_timeout: Duration::from_secs(10), max_connections: 4096, drain: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown`: then nobody is let in any more, long streams are told to end, and whatever is in flight has time to finish.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    door: &Shared,
    settings: ServeSettings,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Connections {
        door: door.clone(),
        router: TowerToHyperService::new(router),
        room: Arc::new(Semaphore::new(settings.max_connections)),
        closing: door.closing.clone(),
        tasks: TaskTracker::new(),
        settings,
    };
    tokio::select! {
        () = connections.accept(listener) => {}
        () = shutdown => {}
    }
    connections.close().await;
}

struct Connections {
    door: Shared,
    router: TowerToHyperService<Router>,
    room: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
    settings: ServeSettings,
}

impl Connections {
    async fn accept(&self, listener: TcpListener) {
        loop {
            // The semaphore is never closed.
            let Ok(room) = self.room.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: waiting is all that helps.
                    tracing::warn!(%error, "no connection could be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = self.connection(stream);
            self.tasks.spawn(async move {
                connection.await;
                drop(room);
            });
        }
    }

    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static + use<> {
        // Small answers go out at once. Where that cannot be set, they go out a little later.
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_timeout)
            .max_headers(HEADERS)
            .max_buf_size(BUFFER)
            // Who has left is noticed while the answer is still waited for; otherwise a session would count as worked in by nobody.
            .half_close(false);
        let (door, router) = (self.door.clone(), self.router.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let answering = often::answer(&door, request.map(Body::new)).map_err(|request| router.call(request));
            async move {
                match answering {
                    Ok(answer) => Ok(answer.await),
                    Err(routed) => routed.await,
                }
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let closing = self.closing.clone();
        async move {
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a connection broke");
            }
        }
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.settings.drain, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "requests in flight did not finish in time");
        }
    }
}
