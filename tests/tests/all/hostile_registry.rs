//! A registry in this process that does what a test tells it: it stalls, lies, redirects, asks for
//! credentials. On the loopback interface, over plain HTTP, on a thread of its own.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use sallyport_core::manifest::Digest;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use tokio::net::TcpListener;

/// The repository of all artefacts.
pub(crate) const REPOSITORY: &str = "acme/policy";

/// A test's own answer to a request; `None`: the content, or 404.
type Answer = Box<dyn Fn(&Parts) -> Option<Response> + Send>;

/// A registry. Clones share its state.
#[derive(Clone)]
pub(crate) struct HostileRegistry {
    address: SocketAddr,
    state: Arc<StateOf>,
}

#[derive(Default)]
struct StateOf {
    content: Mutex<BTreeMap<String, (&'static str, Vec<u8>)>>,
    answer: Mutex<Option<Answer>>,
    seen: Mutex<Vec<Seen>>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

impl HostileRegistry {
    pub(crate) fn start() -> Self {
        let state = Arc::<StateOf>::default();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                send.send(address).expect("the test waits");
                axum::serve(listener, router).await.expect("it serves");
            });
        });
        let address = receive.recv().expect("it starts");
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the reference of a tag or of a digest (`:1.0`, `@sha256:…`).
    pub(crate) fn reference(&self, rest: &str) -> String {
        format!("{}/{REPOSITORY}{rest}", self.address)
    }

    /// Keeps an artefact with this component under a tag. Returns its reference by digest.
    pub(crate) fn put(&self, tag: &str, component: &[u8]) -> String {
        self.put_claiming(tag, component, component.len() as u64)
    }

    /// Stores a component under a tag, with a false size in the manifest.
    pub(crate) fn put_claiming(&self, tag: &str, component: &[u8], size: u64) -> String {
        let config = b"{}";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": Digest::of(config), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/wasm", "digest": Digest::of(component), "size": size,
            }],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        self.put_blob(&Digest::of(config), config);
        self.put_blob(&Digest::of(component), component);
        for name in [tag, digest.as_str()] {
            self.put_manifest(name, &manifest);
        }
        self.reference(&format!("@{digest}"))
    }

    /// Keeps content under a digest, which may be wrong.
    pub(crate) fn put_blob(&self, digest: &Digest, content: &[u8]) {
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        self.keep(path, "application/octet-stream", content);
    }

    pub(crate) fn put_manifest(&self, name: &str, manifest: &[u8]) {
        let path = format!("/v2/{REPOSITORY}/manifests/{name}");
        self.keep(path, "application/vnd.oci.image.manifest.v1+json", manifest);
    }

    /// Keeps what the registry's API of referrers says about a digest.
    pub(crate) fn put_referrers(&self, digest: &Digest, index: &[u8]) {
        let path = format!("/v2/{REPOSITORY}/referrers/{digest}");
        self.keep(path, "application/vnd.oci.image.index.v1+json", index);
    }

    fn keep(&self, path: String, content_type: &'static str, content: &[u8]) {
        let mut kept = self.state.content.lock().expect("no panic");
        kept.insert(path, (content_type, content.to_vec()));
    }

    /// Answers all requests from now on by a function first.
    pub(crate) fn answer(&self, answer: impl Fn(&Parts) -> Option<Response> + Send + 'static) {
        *self.state.answer.lock().expect("no panic") = Some(Box::new(answer));
    }

    /// Answers all requests from now on with a status.
    pub(crate) fn fail(&self, status: StatusCode) {
        self.answer(move |_| Some(status.into_response()));
    }

    /// Answers with the content from now on.
    pub(crate) fn behave(&self) {
        *self.state.answer.lock().expect("no panic") = None;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no panic").clone()
    }
}

async fn answer(State(state): State<Arc<StateOf>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let authorization = parts.headers.get(AUTHORIZATION);
    state.seen.lock().expect("no panic").push(Seen {
        path: parts.uri.path().to_owned(),
        authorization: authorization.map(|value| value.to_str().expect("ASCII").to_owned()),
    });
    if let Some(answer) = &*state.answer.lock().expect("no panic")
        && let Some(response) = answer(&parts)
    {
        return response;
    }
    let content = state.content.lock().expect("no panic");
    match content.get(parts.uri.path()) {
        Some((content_type, content)) => {
            ([(CONTENT_TYPE, *content_type)], content.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
