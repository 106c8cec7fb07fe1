//! Probes, metrics and the live policies, on a port, a thread and a runtime of their own: a policy
//! that hogs the workers can't fail a probe.
//!
//! Nor can clients that hog this port: the newest connection is always served, the oldest goes when
//! there are too many.

use crate::live::Live;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// The type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A kubelet, a few that scrape, and someone who looks.
const CONNECTIONS: usize = 64;

/// From the end of an answer to the end of the next request's head. A kubelet connects for each
/// probe.
const HEAD: Duration = Duration::from_secs(3);

/// A whole connection: who reads metrics slower than this may ask again.
const LIFETIME: Duration = Duration::from_secs(60);

/// Bytes of a request's head, and the least that hyper takes.
const HEAD_BYTES: usize = 8 << 10;

/// After a failed accept, which is out of file descriptors most of the time.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What the admin port tells. Cloned freely; all clones are one.
#[derive(Clone)]
pub struct Admin {
    live: Arc<Live>,
    ready: Arc<AtomicBool>,
}

impl Admin {
    /// Not ready yet.
    pub fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            ready: Arc::new(AtomicBool::new(false)),
        }
    }

    /// What `/readyz` says from now on.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Serves on a thread of its own until the process ends.
    ///
    /// # Errors
    ///
    /// When the socket or the thread can't be set up.
    pub fn serve(&self, listener: TcpListener) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/policies", get(policies))
            .with_state(self.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || {
            if let Err(error) = runtime.block_on(accept(listener, &router)) {
                tracing::error!(%error, "the admin server ended");
            }
        };
        std::thread::Builder::new()
            .name("admin".into())
            .spawn(run)?;
        Ok(())
    }
}

async fn accept(listener: TcpListener, router: &Router) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open = VecDeque::<AbortHandle>::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS {
                    open.pop_front().expect("it is not empty").abort();
                }
                open.push_back(tokio::spawn(serve(stream, router.clone())).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection on the admin port");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What ends a connection early is the client's business.
    let _ = tokio::time::timeout(LIFETIME, connection).await;
}

async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let (status, word) = if admin.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|word| word == "verbose" || word.starts_with("verbose="))
    });
    let policies = if verbose {
        admin.live.status().lines()
    } else {
        String::new()
    };
    (status, format!("{policies}{word}\n"))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], admin.live.metrics_text())
}

async fn policies(State(admin): State<Admin>) -> impl IntoResponse {
    let status =
        serde_json::to_string(&admin.live.status()).expect("it is made of texts and numbers");
    ([(CONTENT_TYPE, "application/json")], status)
}
