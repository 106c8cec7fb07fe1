//! Kubernetes Events: problems that an operator must fix, and denials if a flag asks for them.
//!
//! Invariants: a request never waits for an Event; denials that don't fit the queue or the rate are
//! counted as dropped. A problem has one Event when it appears and one each half hour while it
//! lasts; equal Events within some minutes are a series of one object. After an API server fails,
//! nothing is sent for a pause, which grows. All Events are written inside the write gate. Started
//! by `cli::serve`, on a thread of its own.

mod denials;
mod pause;
mod problems;

pub use denials::Denials;

use crate::cluster::Watchers;
use crate::kube_error;
use crate::live::Live;
use crate::metrics::{Metrics, Recorded};
use crate::write_gate::WriteGate;
use denials::Denial;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Config};
use pause::Pause;
use problems::{Problem, Regarding};
use sallyport_core::excerpt::cut;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The interval at which the host's state is looked at. That sends no request.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The interval at which a lasting problem is told again: API servers forget Events after an hour.
const REPEAT_INTERVAL: Duration = Duration::from_mins(30);

/// The interval at which a problem is told again whose Event was refused.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The timeout of one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a note. An API server refuses more than 1,024.
const MAX_NOTE: usize = 900;

/// The manifest that grants the right to write Events.
const RBAC: &str = "deploy/base/rbac.yaml";

/// The writer of Events.
pub struct Events {
    recorder: Recorder,
    /// The host's Pod.
    pod: ObjectReference,
    live: Arc<Live>,
    watchers: problems::Cluster,
    /// When each current problem is to be told again.
    due: BTreeMap<Problem, Instant>,
    /// The kind of error of the last write, so that only a new one is logged. An error's text has
    /// the Event's name, which is never the same.
    failure: Option<String>,
    pause: Pause,
}

impl Events {
    /// Starts the thread, and returns the entrance for denials.
    ///
    /// # Errors
    ///
    /// When no client can be made from the configuration, or the process can't start another
    /// thread.
    pub fn start(
        config: Config,
        live: Arc<Live>,
        watchers: Option<&Watchers>,
        writes: WriteGate,
    ) -> std::io::Result<Denials> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let pod = this_pod(&config);
        let (denials, received) = Denials::new(live.metrics());
        let client = {
            // A client spawns tasks, so it needs the runtime.
            let _entered = runtime.enter();
            Client::try_from(config).map_err(std::io::Error::other)?
        };
        let reporter = Reporter {
            controller: "sallyport".to_owned(),
            instance: pod.name.clone(),
        };
        let mut events = Self {
            recorder: Recorder::new(client, reporter),
            pod,
            live,
            watchers: problems::Cluster::of(watchers),
            due: BTreeMap::new(),
            failure: None,
            pause: Pause::default(),
        };
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || runtime.block_on(writes.run(async { events.run(received).await })))?;
        Ok(denials)
    }

    async fn run(&mut self, mut denials: mpsc::Receiver<Denial>) {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                _ = look.tick() => self.look().await,
                Some(denial) = denials.recv() => {
                    if self.pause.holds(Instant::now()) {
                        count(self.live.metrics(), "dropped");
                        continue;
                    }
                    let (event, regarding) = (denial.event(), denial.regarding());
                    self.publish(&event, &regarding).await;
                }
            }
        }
    }

    /// Tells problems that are new or that have lasted.
    async fn look(&mut self) {
        let current = problems::current(&self.live.status(), &self.watchers);
        self.due.retain(|problem, _| current.contains(problem));
        for problem in current {
            if self.pause.holds(Instant::now()) {
                return;
            }
            let due = self.due.get(&problem);
            if due.is_some_and(|due| Instant::now() < *due) {
                continue;
            }
            let regarding = match &problem.regarding {
                Regarding::Host => self.pod.clone(),
                Regarding::Policy { name, uid } => problems::service_policy(name, uid),
            };
            let event = warning(problem.reason, problem.action, &problem.note);
            let is_written = self.publish(&event, &regarding).await;
            let interval = if is_written {
                REPEAT_INTERVAL
            } else {
                RETRY_INTERVAL
            };
            self.due.insert(problem, Instant::now() + interval);
        }
    }

    /// Writes an Event, and returns true if that was done.
    async fn publish(&mut self, event: &Event, regarding: &ObjectReference) -> bool {
        let write = self.recorder.publish(event, regarding);
        let (failure, is_of_server) = match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Ok(())) => (None, false),
            Ok(Err(error)) => {
                let text = kube_error::explain(&error, RBAC).1;
                let kind = match &error {
                    kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
                    _ => text.clone(),
                };
                (Some((kind, text)), kube_error::is_of_server(&error))
            }
            Err(_) => {
                let text = format!("no answer within {WRITE_TIMEOUT:?}");
                (Some((text.clone(), text)), true)
            }
        };
        let is_written = failure.is_none();
        if is_of_server {
            self.pause.failed(Instant::now());
        } else {
            self.pause = Pause::default();
        }
        count(
            self.live.metrics(),
            if is_written { "written" } else { "failed" },
        );
        if let Some((kind, text)) = &failure
            && self.failure.as_ref() != Some(kind)
        {
            tracing::warn!("can't write an Event: {text}");
        }
        self.failure = failure.map(|(kind, _)| kind);
        is_written
    }
}

fn count(metrics: &Metrics, result: &'static str) {
    metrics
        .records
        .events
        .get_or_create(&Recorded { result })
        .inc();
}

fn warning(reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(cut(note, MAX_NOTE).into_owned()),
        action: action.to_owned(),
        secondary: None,
    }
}

/// Returns the Pod of this process: a Pod's name is its host's, and its namespace is that of its
/// service account. `POD_UID`, if set, lets `kubectl describe pod` find the Events.
fn this_pod(config: &Config) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(std::env::var("HOSTNAME").unwrap_or_else(|_| "sallyport".to_owned())),
        namespace: Some(config.default_namespace.clone()),
        uid: std::env::var("POD_UID").ok(),
        ..ObjectReference::default()
    }
}
