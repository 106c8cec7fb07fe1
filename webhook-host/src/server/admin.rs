//! The admin port: probes, metrics and the live policies, on a thread and a runtime of its own, so
//! that a policy that occupies all workers can't fail a probe.
//!
//! Clients can't block this port either: the newest connection is always served, and the oldest is
//! closed when there are too many. Started by `cli::serve`.

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

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Enough for a kubelet, a few scrapers and a person.
const MAX_CONNECTIONS: usize = 64;

/// The time from the end of a response to the end of the next request's head. A kubelet opens a
/// connection for each probe, so idle connections are of no use.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest life of a connection. A client that reads metrics more slowly reconnects.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// The largest head of a request in bytes: the smallest value that hyper accepts.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// The pause after a failed accept. Most of these failures mean that the process has no free file
/// descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The state behind the admin port. Clones share it.
#[derive(Clone)]
pub struct Admin {
    live: Arc<Live>,
    ready: Arc<AtomicBool>,
}

impl Admin {
    /// Creates an admin server that reports "not ready".
    pub fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            ready: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Sets what `/readyz` reports.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Serves on a thread of its own until the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the socket or the thread can't be set up.
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
                if open.len() >= MAX_CONNECTIONS {
                    open.pop_front().expect("it is not empty").abort();
                }
                open.push_back(tokio::spawn(serve(stream, router.clone())).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection on the admin port");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Errors are the client's and need no handling.
    let _ = tokio::time::timeout(MAX_CONNECTION_AGE, connection).await;
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
            .any(|pair| pair == "verbose" || pair.starts_with("verbose="))
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
