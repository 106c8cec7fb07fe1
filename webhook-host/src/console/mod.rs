//! The live console: a page with a read-only view of what runs, on a listener of its own.
//!
//! Invariants: nothing here changes the host, and there is no console unless it was asked for. On
//! the loopback interface it may speak plain HTTP; on any other address it has TLS, and needs a
//! bearer token for every request but those for the page's own files (`access`). It has a thread, a
//! runtime and bounds of its own (`accept`), so that it takes nothing from reviews and probes.
//! Started by `cli::serve`.

mod accept;
mod access;
mod asset;
mod assets;
mod guard;
mod playground;
mod refusal;
mod state;
mod stream;

pub use playground::SiteError;

use crate::audit::ExposureMap;
use crate::live::Live;
use crate::observers::Recent;
use access::Access;
use asset::Asset;
use assets::Assets;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    LOCATION, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use guard::Guard;
use hyper::body::Incoming;
use refusal::Refusal;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use stream::Streams;

/// The headers of every response. The page may ask its own origin alone, no other page may embed
/// it, and none may read what it reads.
const HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// The host's state that a console shows.
pub struct Sources {
    /// The Set that serves, certificates and metrics.
    pub live: Arc<Live>,
    /// The recent denials, and reviews on which candidates diverge.
    pub recent: Arc<Recent>,
    /// The exposure map, on a host that audits.
    pub exposures: Option<Arc<ExposureMap>>,
}

/// The way in which a console is reached.
pub struct Reach {
    /// The names by which clients may ask for it, beside localhost, the address of the listener and
    /// those of the certificate.
    pub names: Vec<String>,
    /// The way to the API server that checks tokens. With it the console has TLS; without it, it
    /// may listen on the loopback interface alone.
    pub tokens: Option<kube::Config>,
}

/// A console that is not listening yet.
pub struct Console {
    sources: Sources,
    assets: Assets,
}

/// The state that all requests share.
struct App {
    sources: Sources,
    assets: Assets,
    guard: Guard,
    access: Option<Access>,
    streams: Streams,
}

impl Console {
    /// Creates a console. `playground` is the folder of `make console`, to be served in place of
    /// the files that the program was built with.
    ///
    /// # Errors
    ///
    /// Fails when the folder was not made by `make console`.
    pub fn new(sources: Sources, playground: Option<&Path>) -> Result<Self, SiteError> {
        let assets = Assets::new(playground)?;
        Ok(Self { sources, assets })
    }

    /// Serves on a thread of its own until the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the socket, the client of the API server or the thread can't be set up.
    pub fn start(self, listener: TcpListener, reach: Reach) -> std::io::Result<()> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let access = {
            // A client spawns tasks, so it needs the runtime.
            let _entered = runtime.enter();
            reach.tokens.map(Access::new).transpose()?
        };
        if access.is_none() && !is_loopback(address.ip()) {
            return Err(std::io::Error::other(
                "an address that is not the loopback interface's needs tokens",
            ));
        }
        let live = Arc::clone(&self.sources.live);
        let tls = access.is_some().then(|| accept::tls(&live));
        let guard = Guard::new(address, reach.names, access.is_some().then_some(live));
        let app = Arc::new(App {
            streams: Streams::default(),
            sources: self.sources,
            assets: self.assets,
            guard,
            access,
        });
        let run = move || {
            if let Err(error) = runtime.block_on(accept::run(listener, tls, app)) {
                tracing::error!(%error, "the console ended");
            }
        };
        std::thread::Builder::new()
            .name("console".into())
            .spawn(run)?;
        Ok(())
    }
}

/// Returns true if only processes of this machine, or of this Pod, reach the address.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl App {
    /// Answers a request. Its body is never read.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, _) = request.into_parts();
        let mut response = self
            .route(&head)
            .await
            .unwrap_or_else(Refusal::into_response);
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn route(self: &Arc<Self>, head: &Parts) -> Result<Response<Body>, Refusal> {
        self.guard.check(head)?;
        let path = head.uri.path();
        if let Some(asset) = self.assets.find(path, &head.headers) {
            return Ok(asset_response(asset?, head));
        }
        if path == "/playground" {
            return Ok(moved("/playground/"));
        }
        if !path.starts_with(guard::DATA) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such page"));
        }
        self.guard.check_site(head)?;
        if let Some(access) = &self.access {
            access.check(head).await?;
        }
        match path {
            "/console/state" => Ok(json(state::state(self).into())),
            "/console/events" => {
                if head.method == Method::HEAD {
                    return Ok(stream::head());
                }
                stream::open(self)
            }
            "/console/exposures" => match self.sources.exposures.as_ref() {
                Some(map) => Ok(json(map.json().unwrap_or_else(|| "null".into()))),
                None => Err(Refusal::new(
                    StatusCode::NOT_FOUND,
                    "this host doesn't audit; start it with --audit-reports",
                )),
            },
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such view")),
        }
    }
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Redirects to another path. The page's links are relative, so the last slash matters.
fn moved(path: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(path));
    response
}

fn asset_response(asset: Asset, head: &Parts) -> Response<Body> {
    let tag = HeaderValue::try_from(asset.tag()).expect("a digest in quotes");
    let is_known = asset.is_known_to(&head.headers);
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    // A browser asks each time, and gets no body if nothing has changed.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(asset.security_policy),
    );
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    if let Some(coding) = asset.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    *response.body_mut() = Body::from(asset.body);
    response
}
