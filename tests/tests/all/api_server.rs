//! A fake API server: the list and watch part of the Kubernetes API over HTTP on the loopback
//! interface, for objects that a test puts there.
//!
//! It follows kube-apiserver's protocol (API concepts: list in pages, watch from a resourceVersion,
//! streaming lists, bookmarks, 410, 403, 422), so that the real watchers run against it. When it is
//! dropped or stopped, its connections end like those of a lost server.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The resource name of ServicePolicies in paths.
pub(crate) const POLICIES: &str = "servicepolicies";

/// An API server. Clones share one state.
#[derive(Clone)]
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    store: Arc<Mutex<Store>>,
    changed: watch::Sender<u64>,
}

/// Keeps the server reachable until it is dropped.
pub(crate) struct Reachable(JoinHandle<()>);

impl Drop for Reachable {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The objects of one resource, by namespace and name.
type Objects = BTreeMap<(String, String), Value>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Streams {
    Whole,
    Cut,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Objects>,
    /// All events: resource, type and object. An event's resourceVersion is its index plus one.
    log: Vec<(String, &'static str, Value)>,
    refused: BTreeMap<String, StatusCode>,
    /// The support of streamed lists; `None` when there is none.
    streams: Option<Streams>,
    /// The resourceVersion up to which changes are forgotten.
    forgotten: usize,
    requests: Vec<String>,
    agents: BTreeSet<String>,
    status_writes: usize,
    /// Tokens of lists that will have expired, the next one first: true where the server offers
    /// another token.
    expirations: VecDeque<bool>,
}

impl Store {
    fn heard_of(&mut self, headers: &HeaderMap) {
        let agent = headers
            .get("user-agent")
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default();
        self.agents.insert(agent.to_owned());
    }
}

impl ApiServer {
    /// Creates a server that has an address and can't be reached yet.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Self {
            address,
            store: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Makes the server reachable.
    pub(crate) async fn reachable(&self) -> Reachable {
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the port is still free");
        let router = Router::new()
            .route("/api/v1/{resource}", get(Self::answer))
            .route(
                "/apis/{group}/{version}/{resource}",
                get(Self::answer_of_group),
            )
            .route(
                "/apis/{group}/{version}/{resource}/{name}/status",
                patch(Self::apply_status),
            )
            .with_state(self.clone());
        Reachable(tokio::spawn(async move {
            // Dropped with this task, which closes their sockets.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a listening socket");
                let service = TowerToHyperService::new(router.clone());
                connections
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }))
    }

    /// Writes a kubeconfig for this server.
    pub(crate) fn kubeconfig(&self) -> TempDir {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test",
                "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "test", "user": {}}],
        });
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("config"), config.to_string()).expect("written");
        directory
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, resource: &str, mut object: Value) {
        let mut store = self.store();
        let version = store.log.len() + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let old = store
            .objects
            .entry(resource.to_owned())
            .or_default()
            .insert(key(&object), object.clone());
        let event = if old.is_some() { "MODIFIED" } else { "ADDED" };
        store.log.push((resource.to_owned(), event, object));
        drop(store);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut store = self.store();
        let key = (namespace.to_owned(), name.to_owned());
        let mut object = store
            .objects
            .get_mut(resource)
            .and_then(|objects| objects.remove(&key))
            .expect("it is there");
        object["metadata"]["resourceVersion"] = (store.log.len() + 1).to_string().into();
        store.log.push((resource.to_owned(), "DELETED", object));
        drop(store);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn namespace(&self, name: &str, labels: &Value) {
        self.put(
            "namespaces",
            json!({"metadata": {"name": name, "labels": labels}}),
        );
    }

    /// Answers all requests about a resource with this status, as RBAC does without a role; `None`
    /// ends that.
    pub(crate) fn refuse(&self, resource: &str, code: Option<StatusCode>) {
        let mut store = self.store();
        match code {
            Some(code) => store.refused.insert(resource.to_owned(), code),
            None => store.refused.remove(resource),
        };
    }

    /// Streams lists on request, as servers since 1.32 do.
    pub(crate) fn stream_lists(&self) {
        self.store().streams = Some(Streams::Whole);
    }

    /// Cuts streamed lists off, as servers do when a list takes longer than a watch may last.
    pub(crate) fn cut_streamed_lists(&self) {
        self.store().streams = Some(Streams::Cut);
    }

    /// Forgets changes, like a compaction of etcd: clients that missed some must list again.
    pub(crate) fn forget_changes(&self) {
        let mut store = self.store();
        store.forgotten = store.log.len();
    }

    /// Lets the next tokens of lists be too old. A server offers another one with the state of now,
    /// where it can.
    pub(crate) fn expire_tokens(&self, offers_another: &[bool]) {
        self.store().expirations.extend(offers_another);
    }

    /// Returns the user agents of all requests so far.
    pub(crate) fn agents(&self) -> BTreeSet<String> {
        self.store().agents.clone()
    }

    /// Returns the number of status writes so far.
    pub(crate) fn status_writes(&self) -> usize {
        self.store().status_writes
    }

    /// Returns path, query and Accept header of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.store().requests.clone()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panicked here")
    }

    /// Puts a ServicePolicy with a new generation.
    pub(crate) fn policy(&self, name: &str, spec: &Value) {
        let generation = self.store().log.len() + 1;
        let metadata = json!({"name": name, "generation": generation});
        self.put(POLICIES, json!({"metadata": metadata, "spec": spec}));
    }

    /// Returns an object's current state.
    pub(crate) fn object(&self, resource: &str, name: &str) -> Value {
        let key = (String::new(), name.to_owned());
        self.store().objects[resource][&key].clone()
    }

    /// Performs a server-side apply, as far as the writer of a status depends on it.
    async fn apply_status(
        State(server): State<Self>,
        Path((_, _, resource, name)): Path<(String, String, String, String)>,
        Query(query): Query<BTreeMap<String, String>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let manager = query.get("fieldManager").cloned().unwrap_or_default();
        assert!(manager.starts_with("sallyport"), "{manager}");
        {
            let mut store = server.store();
            store.heard_of(&headers);
            store.status_writes += 1;
        }
        let applied: Value = serde_json::from_slice(&body).expect("JSON is YAML, too");
        let mut object = server.object(&resource, &name);
        for (key, value) in applied["status"].as_object().expect("a status") {
            object["status"][key] = value.clone();
        }
        server.put(&resource, object.clone());
        object.to_string().into_response()
    }

    async fn answer_of_group(
        state: State<Self>,
        Path((_, _, resource)): Path<(String, String, String)>,
        query: Query<BTreeMap<String, String>>,
        headers: HeaderMap,
    ) -> Response {
        Self::answer(state, Path(resource), query, headers).await
    }

    async fn answer(
        State(server): State<Self>,
        Path(resource): Path<String>,
        Query(query): Query<BTreeMap<String, String>>,
        headers: HeaderMap,
    ) -> Response {
        let mut store = server.store();
        let accept = headers
            .get("accept")
            .and_then(|accept| accept.to_str().ok())
            .unwrap_or_default();
        store
            .requests
            .push(format!("{resource} {query:?} {accept}"));
        store.heard_of(&headers);
        if let Some(&code) = store.refused.get(&resource) {
            let reason = code.canonical_reason().unwrap_or_default();
            let message =
                format!("{resource}: {reason}: User \"test\" cannot list resource \"{resource}\"");
            return refusal(code, reason, &message);
        }
        let token = query.get("continue").filter(|token| !token.is_empty());
        if let Some(token) = token
            && let Some(offers_another) = store.expirations.pop_front()
        {
            return expired(offers_another.then_some(token));
        }
        if query.get("watch").is_none_or(|watch| watch != "true") {
            return store.list(&resource, &query).to_string().into_response();
        }
        let initial = query.contains_key("sendInitialEvents");
        if initial && store.streams.is_none() {
            let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch \
                unless the WatchList feature gate is enabled";
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        }
        let from = query
            .get("resourceVersion")
            .and_then(|version| version.parse().ok())
            .unwrap_or_default();
        if initial && store.streams == Some(Streams::Cut) {
            return store.beginning(&resource).into_response();
        }
        let (first, next) = if initial {
            store.initial(&resource)
        } else {
            store.resumed(from)
        };
        drop(store);
        let events = Events {
            server,
            resource,
            next,
        };
        let first =
            futures::stream::iter(first.map(|first| Ok::<_, Infallible>(Bytes::from(first))));
        let rest = futures::stream::unfold(events, async |mut events| {
            Some((Ok(events.more().await), events))
        });
        Body::from_stream(futures::StreamExt::chain(first, rest)).into_response()
    }
}

impl Store {
    fn list(&self, resource: &str, query: &BTreeMap<String, String>) -> Value {
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let (from, most) = (
            number("continue").unwrap_or(0),
            number("limit").unwrap_or(usize::MAX),
        );
        let all = self
            .objects
            .get(resource)
            .into_iter()
            .flat_map(Objects::values);
        let items: Vec<_> = all.clone().skip(from).take(most).collect();
        let rest = all.count() - from - items.len();
        let next = (rest > 0).then(|| (from + items.len()).to_string());
        json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": self.log.len().to_string(),
                "continue": next.unwrap_or_default()},
            "items": items,
        })
    }

    /// Returns a list as events, without its end.
    fn beginning(&self, resource: &str) -> String {
        let objects = self
            .objects
            .get(resource)
            .into_iter()
            .flat_map(Objects::values);
        objects.map(|object| line("ADDED", object)).collect()
    }

    /// Returns a list as events with a bookmark at its end, and the index of the first later
    /// change.
    fn initial(&self, resource: &str) -> (Option<String>, usize) {
        let mut text = self.beginning(resource);
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        let version = self.log.len().to_string();
        text += &line(
            "BOOKMARK",
            &json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": version, "annotations": annotations}}),
        );
        (Some(text), self.log.len())
    }

    fn resumed(&self, from: usize) -> (Option<String>, usize) {
        let gone = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
            "message": format!("too old resource version: {from} ({})", self.forgotten)});
        ((from < self.forgotten).then(|| line("ERROR", &gone)), from)
    }
}

/// The changes of one resource as a watch sends them.
struct Events {
    server: ApiServer,
    resource: String,
    next: usize,
}

impl Events {
    async fn more(&mut self) -> Bytes {
        let mut changed = self.server.changed.subscribe();
        loop {
            let text: String = {
                let store = self.server.store();
                let new = store
                    .log
                    .iter()
                    .skip(self.next)
                    .filter(|(resource, ..)| *resource == self.resource);
                let text = new.map(|(_, event, object)| line(event, object)).collect();
                self.next = store.log.len();
                text
            };
            if !text.is_empty() {
                return text.into();
            }
            changed.changed().await.expect("the server lives");
        }
    }
}

fn line(event: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": event, "object": object}))
}

fn key(object: &Value) -> (String, String) {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

fn expired(next: Option<&String>) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
        "metadata": {"continue": next}, "reason": "Expired",
        "message": "The provided continue parameter is too old"});
    (StatusCode::GONE, status.to_string()).into_response()
}

fn refusal(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message,
        "code": code.as_u16()});
    (code, status.to_string()).into_response()
}
