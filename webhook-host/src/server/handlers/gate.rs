//! `POST /validate-policies`: refuses a ServicePolicy that could not be loaded, before the cluster
//! stores it.
//!
//! This helps authors and protects nothing: a ServicePolicy that gets past it (because the host is
//! down or busy, or because the module disappears later) becomes a broken policy, which the reload
//! handles. So it allows whatever must stay possible while something is wrong: deletion, the
//! removal of finalizers, status updates, and changes that leave the spec as it is.

use super::{App, CompleteBody, RequestHead, parse, tree_too_large};
use crate::large_body::BodyLock;
use crate::server::refusal::Refusal;
use crate::server::weight;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use sallyport_core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use sallyport_core::excerpt::{MAX_MESSAGE, cut, excerpt};
use sallyport_core::manifest::{API_VERSION, ServicePolicy};
use sallyport_core::policy::LoadError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Loads a ServicePolicy as `sources` would and returns its warnings. Passed in by `cli`, because
/// this server reads no files.
pub type PolicyCheck = Arc<dyn Fn(ServicePolicy) -> Result<Vec<String>, LoadError> + Send + Sync>;

/// Concurrent checks. Each takes a processor for up to about a second, to compile.
const MAX_CONCURRENT_CHECKS: usize = 1;

/// The most checks that run or wait. Further ServicePolicies are allowed unchecked, just as they
/// would be if they had waited until the deadline.
const MAX_PENDING_CHECKS: usize = 16;

/// The largest ServicePolicy in bytes: the largest object that etcd takes by default.
const MAX_SERVICE_POLICY_BYTES: usize = 3 << 19;

/// The largest tree of a ServicePolicy, in estimated bytes. It is small, because another large body
/// may be parsed at the same time, and is enough for settings with some 5,000 namespaces.
const MAX_SERVICE_POLICY_TREE: usize = 8 << 20;

/// Runs the check on tokio's blocking threads, which serve no reviews.
pub(super) struct Gate {
    check: PolicyCheck,
    permits: Arc<Semaphore>,
    waiting: Semaphore,
}

/// The parts of a request that its response and the log need once the body is dropped.
struct Requester {
    uid: String,
    name: String,
    user: String,
}

/// A ServicePolicy that waits to be checked, kept as text: a tree takes much more memory.
struct PendingPolicy {
    object: String,
    lock: BodyLock,
}

/// The fields of a ServicePolicy that decide if it has to be checked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline<'a> {
    metadata: OutlineMeta,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OutlineMeta {
    deletion_timestamp: Option<IgnoredAny>,
}

/// The result of a check.
enum Checked {
    /// Loadable, with these warnings.
    Valid(Vec<String>),
    /// Not loadable, for this reason.
    Invalid(String),
    /// Not finished in time.
    Late,
}

impl Gate {
    pub(super) fn new(check: PolicyCheck) -> Self {
        Self {
            check,
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_CHECKS)),
            waiting: Semaphore::new(MAX_PENDING_CHECKS),
        }
    }

    /// Checks a policy until the deadline. A check that has begun runs to its end and keeps its
    /// permit until then, even when nobody waits for it any more.
    async fn check(&self, policy: PendingPolicy, deadline: Instant) -> Checked {
        // Before waiting for a permit, so that an object which is no ServicePolicy is refused even
        // while others are loaded.
        let Ok(guard) = policy.lock.acquire(deadline).await else {
            return Checked::Late;
        };
        if let Err(problem) = policy.read() {
            return Checked::Invalid(problem);
        }
        drop(guard);
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Checked::Late;
        };
        let (check, permits) = (Arc::clone(&self.check), Arc::clone(&self.permits));
        let checked = async {
            let permit = permits
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let run = move || {
                let _permit = permit;
                let guard = policy.lock.acquire_blocking();
                let manifest = policy.read()?;
                // Compiling takes long, and its memory does not depend on the object's size.
                drop(guard);
                check(manifest).map_err(|error| error.to_string())
            };
            tokio::task::spawn_blocking(run).await
        };
        match tokio::time::timeout_at(deadline.into(), checked).await {
            Err(_) => Checked::Late,
            Ok(Err(_)) => Checked::Invalid("loading it panicked; see the host's log".to_owned()),
            Ok(Ok(Err(problem))) => Checked::Invalid(problem),
            Ok(Ok(Ok(warnings))) => Checked::Valid(warnings),
        }
    }
}

impl PendingPolicy {
    fn read(&self) -> Result<ServicePolicy, String> {
        let object = serde_json::from_str(&self.object).map_err(|error| error.to_string())?;
        ServicePolicy::from_object(object).map_err(|error| error.to_string())
    }
}

pub(super) async fn validate_policies(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Response {
    let arrived = Instant::now();
    let (head, mut body) = RequestHead::split(request);
    let result = app.gate(&head, &mut body, arrived).await;
    app.respond(&head.peer, result, &mut body).await
}

impl App {
    async fn gate(
        &self,
        head: &RequestHead,
        body: &mut Body,
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let time = head.time.clone()?;
        let deadline = arrived + time;
        let (requester, policy) = self.policy(head, body, deadline).await?;
        let checked = match (&self.gate, policy) {
            (Some(gate), Some(policy)) => gate.check(policy, deadline).await,
            _ => Checked::Valid(vec![]),
        };
        Ok(self.respond_to_check(&requester, checked).to_json())
    }

    /// Returns the requester, and the policy to check, if any. The body is dropped before the check
    /// waits.
    async fn policy(
        &self,
        head: &RequestHead,
        body: &mut Body,
        deadline: Instant,
    ) -> Result<(Requester, Option<PendingPolicy>), Refusal> {
        let mut memory = self.capacity.body_memory(&head.peer);
        let received = self.read(head, body, &mut memory).await?;
        let CompleteBody {
            body,
            lock,
            guard: _guard,
        } = self.complete(received, deadline).await?;
        let request = parse(&body)?;
        let user = excerpt(&request.user_info.username).into_owned();
        let requester = Requester {
            uid: request.uid.to_string(),
            name: excerpt(request.name()).into_owned(),
            user,
        };
        let Some(object) = to_check(&request) else {
            return Ok((requester, None));
        };
        if object.len() > MAX_SERVICE_POLICY_BYTES {
            let sentence = format!(
                "the ServicePolicy has {} bytes, and etcd takes {MAX_SERVICE_POLICY_BYTES} at most",
                object.len()
            );
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-size",
                sentence,
            ));
        }
        let tree_bytes = weight::tree_bytes(object.as_bytes());
        if tree_bytes > MAX_SERVICE_POLICY_TREE {
            return Err(tree_too_large(
                "the ServicePolicy",
                tree_bytes,
                MAX_SERVICE_POLICY_TREE,
            ));
        }
        Ok((
            requester,
            Some(PendingPolicy {
                object: object.to_owned(),
                lock,
            }),
        ))
    }

    fn respond_to_check(
        &self,
        Requester { uid, name, user }: &Requester,
        checked: Checked,
    ) -> AdmissionResponse {
        let (result, response) = match checked {
            Checked::Valid(warnings) => (
                "allowed",
                AdmissionResponse {
                    warnings,
                    ..AdmissionResponse::allow(uid)
                },
            ),
            Checked::Invalid(problem) => {
                let problem = cut(&problem, MAX_MESSAGE).into_owned();
                tracing::info!(
                    uid,
                    name = &**name,
                    user = &**user,
                    "refused a ServicePolicy: \
                    {problem}"
                );
                ("denied", AdmissionResponse::deny(uid, "Invalid", problem))
            }
            Checked::Late => {
                let mut response = AdmissionResponse::allow(uid);
                response
                    .warnings
                    .push("[sallyport] not checked in time; look at its status".to_owned());
                ("late", response)
            }
        };
        self.live.metrics().checked_policy(result);
        response
    }
}

/// Returns the ServicePolicy to check, if any. Equal texts mean an unchanged spec, because one
/// encoder in the API server writes both.
fn to_check<'a>(request: &AdmissionRequest<'a>) -> Option<&'a str> {
    let kind = &request.kind;
    let is_policy =
        kind.kind == ServicePolicy::KIND && API_VERSION.split('/').next() == Some(&*kind.group);
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let itself = request.sub_resource.as_deref().is_none_or(str::is_empty);
    if !(is_policy && writes && itself) {
        return None;
    }
    let outline =
        |raw: &'a RawValue| serde_json::from_str::<Outline<'a>>(raw.get()).unwrap_or_default();
    let object = request.object?;
    let (new, old) = (
        outline(object),
        request.old_object.map(outline).unwrap_or_default(),
    );
    let deleted = new.metadata.deletion_timestamp.is_some();
    let same = new
        .spec
        .is_some_and(|new| old.spec.is_some_and(|old| old.get() == new.get()));
    (!deleted && !same).then(|| object.get())
}
