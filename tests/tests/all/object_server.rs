//! A fake API server that reads and writes single objects by name, over HTTP on the loopback
//! interface: with kube-apiserver's resourceVersions, conflicts and refusals, for objects that a
//! test puts there.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An API server. Clones share one state.
#[derive(Clone)]
pub(crate) struct ObjectServer {
    address: SocketAddr,
    store: Arc<Mutex<Store>>,
}

/// Keeps the server reachable until it is dropped.
pub(crate) struct Reachable(JoinHandle<()>);

impl Drop for Reachable {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Store {
    /// The objects by path.
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Path prefixes that nobody may write.
    forbidden: BTreeSet<String>,
    /// The time until a write takes effect.
    stalls: Duration,
    requests: Vec<Request>,
}

/// One received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) agent: String,
}

impl Request {
    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

impl ObjectServer {
    /// Creates a server that has an address and can't be reached yet.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self {
            address: listener.local_addr().expect("it is bound"),
            store: Arc::default(),
        }
    }

    pub(crate) async fn reachable(&self) -> Reachable {
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the port is still free");
        let router = Router::new()
            .fallback(Self::answer)
            .with_state(self.clone());
        Reachable(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listening socket");
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let http = hyper::server::conn::http1::Builder::new();
                connections
                    .spawn(http.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
            }
        }))
    }

    /// Writes a kubeconfig for this server, with the namespace `test`.
    pub(crate) fn kubeconfig(&self) -> (TempDir, PathBuf) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": "test"}}],
            "clusters": [{"name": "test",
                "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "test", "user": {}}],
        });
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config");
        std::fs::write(&file, config.to_string()).expect("written");
        (directory, file)
    }

    /// Returns an object, or null.
    pub(crate) fn object(&self, path: &str) -> Value {
        self.store().objects.get(path).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.store().put(path, object);
    }

    /// Deletes an object. Returns false when there was none.
    pub(crate) fn delete(&self, path: &str) -> bool {
        self.store().objects.remove(path).is_some()
    }

    /// Returns the paths of the objects in a collection.
    pub(crate) fn paths(&self, collection: &str) -> Vec<String> {
        let beginning = format!("{collection}/");
        self.store()
            .objects
            .keys()
            .filter(|path| path.starts_with(&beginning))
            .cloned()
            .collect()
    }

    /// Delays writes from now on, like an API server under load. A write takes no effect when its
    /// client gives up.
    pub(crate) fn stall_writes(&self, time: Duration) {
        self.store().stalls = time;
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.store().requests.clone()
    }

    /// Deletes objects whose owners are all gone, as kube-controller-manager's garbage collector
    /// does.
    pub(crate) fn collect_garbage(&self) {
        let mut store = self.store();
        let uids: BTreeSet<String> = store
            .objects
            .values()
            .filter_map(|object| Some(object["metadata"]["uid"].as_str()?.to_owned()))
            .collect();
        let lives = |owner: &Value| owner["uid"].as_str().is_some_and(|uid| uids.contains(uid));
        store.objects.retain(
            |_, object| match object["metadata"]["ownerReferences"].as_array() {
                Some(owners) if !owners.is_empty() => owners.iter().any(lives),
                _ => true,
            },
        );
    }

    /// Forbids or allows writes below a path, as RBAC does.
    pub(crate) fn forbid_writes(&self, path: &str, forbidden: bool) {
        let mut store = self.store();
        if forbidden {
            store.forbidden.insert(path.to_owned())
        } else {
            store.forbidden.remove(path)
        };
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panicked here")
    }

    async fn answer(
        State(server): State<Self>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let (path, agent) = (uri.path().to_owned(), text(USER_AGENT));
        let request = Request {
            at: Instant::now(),
            method: method.clone(),
            path,
            agent,
        };
        let (writes, stalls) = (request.writes(), server.store().stalls);
        server.store().requests.push(request);
        if writes {
            tokio::time::sleep(stalls).await;
        }
        match server
            .store()
            .act(&method, &uri, &text(CONTENT_TYPE), &body)
        {
            Ok(object) => object.to_string().into_response(),
            Err((code, reason, message)) => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "reason": reason,
                    "message": message, "code": code.as_u16()});
                (code, status.to_string()).into_response()
            }
        }
    }
}

type Refusal = (StatusCode, &'static str, String);

impl Store {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn act(
        &mut self,
        method: &Method,
        uri: &Uri,
        format: &str,
        body: &[u8],
    ) -> Result<Value, Refusal> {
        let path = uri.path();
        if method != Method::GET && self.forbidden.iter().any(|start| path.starts_with(start)) {
            return Err((
                StatusCode::FORBIDDEN,
                "Forbidden",
                format!("{path} is forbidden: User \"test\" cannot write"),
            ));
        }
        if method == Method::POST {
            let object: Value = serde_json::from_slice(body).expect("JSON");
            let path = format!(
                "{path}/{}",
                object["metadata"]["name"].as_str().expect("a name")
            );
            if self.objects.contains_key(&path) {
                return Err((
                    StatusCode::CONFLICT,
                    "AlreadyExists",
                    format!("{path} already exists"),
                ));
            }
            return Ok(self.put(&path, object));
        }
        if *method == Method::GET
            && let Some(list) = self.list(path, uri.query().unwrap_or_default())
        {
            return Ok(list);
        }
        let Some(old) = self.objects.get(path).cloned() else {
            return Err((
                StatusCode::NOT_FOUND,
                "NotFound",
                format!("{path} not found"),
            ));
        };
        let new = match *method {
            Method::PUT => serde_json::from_slice(body).expect("JSON"),
            Method::DELETE => {
                self.objects.remove(path);
                return Ok(old);
            }
            Method::PATCH if format.contains("merge-patch") => {
                let mut new = old.clone();
                json_patch::merge(&mut new, &serde_json::from_slice(body).expect("JSON"));
                new
            }
            Method::PATCH => {
                let mut new = old.clone();
                let patch: json_patch::Patch = serde_json::from_slice(body).expect("a JSON patch");
                json_patch::patch(&mut new, &patch).map_err(|error| {
                    (
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "Invalid",
                        error.to_string(),
                    )
                })?;
                new
            }
            _ => return Ok(old),
        };
        if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"] {
            return Err((
                StatusCode::CONFLICT,
                "Conflict",
                "the object has been modified".to_owned(),
            ));
        }
        Ok(self.put(path, new))
    }

    /// Returns the objects of a collection that have the label of the query; `None` for an unknown
    /// collection.
    fn list(&self, path: &str, query: &str) -> Option<Value> {
        let beginning = format!("{path}/");
        let within = |(path, _): &(&String, &Value)| {
            path.strip_prefix(&beginning)
                .is_some_and(|name| !name.contains('/'))
        };
        let mut all = self
            .objects
            .iter()
            .filter(within)
            .map(|(_, object)| object)
            .peekable();
        all.peek()?;
        let selector = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="));
        let selector = selector.map(|text| text.replace("%2F", "/").replace("%3D", "="));
        let selected = |object: &&Value| {
            let label = selector
                .as_deref()
                .and_then(|selector| selector.split_once('='));
            label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == value)
        };
        let items: Vec<_> = all.filter(selected).collect();
        Some(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
    }
}
