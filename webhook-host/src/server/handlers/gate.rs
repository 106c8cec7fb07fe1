//! `POST /validate-policies`: refuses a ServicePolicy that could not be loaded, before the cluster
//! has it.
//!
//! It helps its author and guards nothing: what gets past it (a host that is down, one that is
//! busy, a module that goes later) is a broken policy, which the reload can deal with. So it lets
//! pass whatever must stay possible while something is wrong: deletions, the removal of finalizers,
//! a status, and a change that leaves the spec as it is.

use super::{App, Asked, Whole, parse, too_heavy};
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

/// Whether a policy could be loaded, as `cli` loads it, and what to warn of: it knows files, this
/// server does not.
pub type PolicyCheck = Arc<dyn Fn(ServicePolicy) -> Result<Vec<String>, LoadError> + Send + Sync>;

/// Checks at the same time. One takes a processor for up to a second or so, to compile.
const AT_ONCE: usize = 1;

/// Those that wait for it, and the one that runs: more are let pass unchecked, as they would be
/// after waiting.
const WAITING: usize = 16;

/// Bytes of a ServicePolicy, as many as etcd takes by default.
const MAX_SERVICE_POLICY: usize = 3 << 19;

/// Bytes of memory for what it holds, while it is loaded beside whatever else is large: settings
/// for some 5,000 namespaces.
const HEAVIEST: usize = 8 << 20;

/// Asks the check, on threads that serve no reviews.
pub(super) struct Gate {
    check: PolicyCheck,
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

/// What is told of a request once its body is gone.
struct Asker {
    uid: String,
    name: String,
    user: String,
}

/// A ServicePolicy that waits to be checked, as its text: a tree takes much more.
struct Waits {
    object: String,
    lock: BodyLock,
}

/// As much of a ServicePolicy as tells whether it is to be checked.
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

/// What comes of a check.
enum Checked {
    /// It could be loaded, with these warnings.
    Good(Vec<String>),
    Bad(String),
    /// Not finished in time.
    Late,
}

impl Gate {
    pub(super) fn new(check: PolicyCheck) -> Self {
        Self {
            check,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// What began goes on to its end, and holds its place until then, also when nobody waits for it
    /// any more.
    async fn check(&self, policy: Waits, deadline: Instant) -> Checked {
        // What is no ServicePolicy at all is told so also while others are loaded.
        let Ok(guard) = policy.lock.acquire(deadline).await else {
            return Checked::Late;
        };
        if let Err(problem) = policy.read() {
            return Checked::Bad(problem);
        }
        drop(guard);
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Checked::Late;
        };
        let (check, places) = (Arc::clone(&self.check), Arc::clone(&self.places));
        let checked = async {
            let place = places
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let run = move || {
                let _place = place;
                let guard = policy.lock.acquire_blocking();
                let manifest = policy.read()?;
                // Compiling takes long, and has nothing to do with how large the object is.
                drop(guard);
                check(manifest).map_err(|error| error.to_string())
            };
            tokio::task::spawn_blocking(run).await
        };
        match tokio::time::timeout_at(deadline.into(), checked).await {
            Err(_) => Checked::Late,
            Ok(Err(_)) => Checked::Bad("loading it panicked; see the host's log".to_owned()),
            Ok(Ok(Err(problem))) => Checked::Bad(problem),
            Ok(Ok(Ok(warnings))) => Checked::Good(warnings),
        }
    }
}

impl Waits {
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
    let (asked, mut body) = Asked::of(request);
    let result = app.gate(&asked, &mut body, arrived).await;
    app.respond(&asked.peer, result, &mut body).await
}

impl App {
    async fn gate(
        &self,
        asked: &Asked,
        body: &mut Body,
        arrived: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let time = asked.time.clone()?;
        let deadline = arrived + time;
        let (asker, asked) = self.policy(asked, body, deadline).await?;
        let checked = match (&self.gate, asked) {
            (Some(gate), Some(policy)) => gate.check(policy, deadline).await,
            _ => Checked::Good(vec![]),
        };
        Ok(self.judged(&asker, checked).to_json())
    }

    /// Who asks, and what is to be checked, if anything. The body takes no memory while that waits.
    async fn policy(
        &self,
        asked: &Asked,
        body: &mut Body,
        deadline: Instant,
    ) -> Result<(Asker, Option<Waits>), Refusal> {
        let mut room = self.capacity.room(&asked.peer);
        let received = self.read(asked, body, &mut room).await?;
        let Whole {
            body,
            lock,
            guard: _guard,
        } = self.whole(received, deadline).await?;
        let request = parse(&body)?;
        let user = excerpt(&request.user_info.username).into_owned();
        let asker = Asker {
            uid: request.uid.to_string(),
            name: excerpt(request.name()).into_owned(),
            user,
        };
        let Some(object) = to_check(&request) else {
            return Ok((asker, None));
        };
        if object.len() > MAX_SERVICE_POLICY {
            let sentence = format!(
                "the ServicePolicy has {} bytes, and etcd takes {MAX_SERVICE_POLICY} at most",
                object.len()
            );
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-size",
                sentence,
            ));
        }
        let weight = weight::of(object.as_bytes());
        if weight > HEAVIEST {
            return Err(too_heavy("the ServicePolicy", weight, HEAVIEST));
        }
        Ok((
            asker,
            Some(Waits {
                object: object.to_owned(),
                lock,
            }),
        ))
    }

    fn judged(&self, Asker { uid, name, user }: &Asker, checked: Checked) -> AdmissionResponse {
        let (result, response) = match checked {
            Checked::Good(warnings) => (
                "allowed",
                AdmissionResponse {
                    warnings,
                    ..AdmissionResponse::allow(uid)
                },
            ),
            Checked::Bad(problem) => {
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

/// The ServicePolicy that is to be checked, if any. Where its spec has the text that it had, so it
/// is the same: one encoder writes both.
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
