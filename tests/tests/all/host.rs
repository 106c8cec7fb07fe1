//! Hosts in this process: engine, policies from `target/`, and the real server on a free port.

use crate::client::Client;
use sallyport::engine::{Engine, EngineConfig};
use sallyport::evaluator;
use sallyport::live::Live;
use sallyport::observers::{Destination, LineWriter};
use sallyport::record::LogFile;
use sallyport::server::{Drain, Extras, Limits, PolicyCheck, Server};
use sallyport::tls;
use sallyport_core::admission::{Admission, AdmissionRequest, Clock, Function, Outcome};
use sallyport_core::contract::review::Phase;
use sallyport_core::inventory::{Inventory, InventoryData};
use sallyport_core::manifest::{Exemptions, HostConfig, ServicePolicy};
use sallyport_core::policy::{LoadError, Policy};
use sallyport_core::yaml;
pub(crate) use sallyport_tests::root;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The deadline of a request that only the policies' own limits should end.
pub(crate) const LONG_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const VALIDATE: Function = Function::Validate(Phase::Validating);

/// The engine of a host, which all tests of this process share.
pub(crate) static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| engine(true));

/// The engine of suites.
pub(crate) static ENGINE_OF_SUITES: LazyLock<Arc<Engine>> = LazyLock::new(|| engine(false));

fn engine(snapshots: bool) -> Arc<Engine> {
    let config = EngineConfig {
        cache: Some(sallyport_tests::compiled()),
        snapshots,
        ..EngineConfig::default()
    };
    Arc::new(Engine::new(&config).expect("this machine carries the engine"))
}

/// The four policies as shipped, with the embedded configuration: not a cloud.
pub(crate) static SHIPPED: LazyLock<Arc<Admission>> = LazyLock::new(|| {
    let policies = manifests().into_iter().map(|manifest| {
        let component = built(&format!("policies/{}", manifest.spec.module));
        evaluator::load(&ENGINE, manifest, &component).expect("a shipped policy can be loaded")
    });
    let config = root().join("webhook-host/src/sources/default-config.yaml");
    let [config] = documents(&config).try_into().expect("one HostConfig");
    let config = HostConfig::from_value(&config)
        .expect("the default configuration is valid")
        .spec;
    Arc::new(Admission::new(
        policies.collect(),
        Inventory::from(config.inventory),
        config.exemptions,
    ))
});

/// Reads a component below `target/`.
pub(crate) fn built(path: &str) -> Vec<u8> {
    let file = root().join("target").join(path);
    std::fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "can't read {}: {error}; run `make policies`",
            file.display()
        )
    })
}

pub(crate) fn misbehave() -> Vec<u8> {
    built("guests/misbehave.wasm")
}

/// Counts the modules of a component.
fn modules(component: &[u8]) -> u8 {
    let (mut rest, mut modules) = (&component[8..], 0);
    while let [id, after @ ..] = rest {
        modules += u8::from(*id == 1);
        let size = after.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let length = after[..size]
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        rest = &after[size + length..];
    }
    modules
}

/// Returns a guest that instantiates one more module, whose exports the guest does not use.
pub(crate) fn misbehave_with(sections: &[u8]) -> Vec<u8> {
    let mut component = misbehave();
    let index = modules(&component);
    let module = [b"\0asm\x01\0\0\0", sections].concat();
    component.extend([1, u8::try_from(module.len()).expect("a tiny module")]);
    component.extend(module);
    // One core instance, of this module, with no arguments.
    component.extend([2, 4, 1, 0, index, 0]);
    component
}

/// Returns the guest with a module in a nested component, which wasmtime-wizer does not read.
pub(crate) fn misbehave_unsnapshotable() -> Vec<u8> {
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let module = [b"\x01\x08", EMPTY_MODULE].concat();
    let nested = [b"\0asm\x0d\0\x01\0", module.as_slice()].concat();
    let section = [b"\x04\x12", nested.as_slice()].concat();
    [misbehave(), section].concat()
}

fn manifests() -> Vec<ServicePolicy> {
    let directory = root().join("target/policies");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!(
            "can't read {}: {error}; run `make policies`",
            directory.display()
        )
    });
    let files = entries.map(|entry| entry.expect("a readable directory").path());
    let manifests = files.filter(|file| file.extension().is_some_and(|end| end == "yaml"));
    manifests
        .flat_map(|file| documents(&file))
        .map(|document| ServicePolicy::from_value(&document).expect("a shipped manifest is valid"))
        .collect()
}

fn documents(file: &Path) -> Vec<Value> {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    yaml::documents(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns a manifest of the guest `misbehave` with `spec` merged over the defaults.
pub(crate) fn manifest(spec: &Value) -> ServicePolicy {
    let mut value = json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "ServicePolicy",
        "metadata": {"name": "misbehave"},
        "spec": {"module": {"file": "misbehave.wasm"}},
    });
    for (key, part) in spec.as_object().expect("an object") {
        value["spec"][key] = part.clone();
    }
    ServicePolicy::from_value(&value).expect("a valid manifest")
}

/// Loads a component with such a manifest.
pub(crate) fn load(component: &[u8], spec: &Value) -> Result<Policy, LoadError> {
    evaluator::load(&ENGINE, manifest(spec), component)
}

/// Returns an Admission with the guest `misbehave` alone.
pub(crate) fn misbehaving(spec: &Value) -> Arc<Admission> {
    let policy = load(&misbehave(), spec).expect("the guest can be loaded");
    Arc::new(Admission::new(
        vec![policy],
        Inventory::from(InventoryData::default()),
        Exemptions::default(),
    ))
}

/// Returns the body of a review whose Service commands `misbehave`.
pub(crate) fn command(word: &str) -> Vec<u8> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"test/do": word}},
        "spec": {"type": "ClusterIP",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]},
    });
    body("CREATE", &service, &Value::Null)
}

/// Returns the body of a review of a Service.
pub(crate) fn body(operation: &str, object: &Value, old_object: &Value) -> Vec<u8> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5a11b0a7-0000-4000-8000-00000000000a",
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "name": "web",
            "namespace": "default",
            "operation": operation,
            "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": old_object,
        },
    });
    review.to_string().into_bytes()
}

/// Reviews a body without a server.
pub(crate) fn ask(admission: &Admission, function: Function, body: &[u8]) -> Outcome {
    ask_within(admission, function, body, LONG_DEADLINE)
}

/// Reviews a body without a server, with the request's deadline.
pub(crate) fn ask_within(
    admission: &Admission,
    function: Function,
    body: &[u8],
    time: Duration,
) -> Outcome {
    let request = AdmissionRequest::parse(body).expect("the test sends an AdmissionReview");
    admission.review(
        function,
        &request,
        Clock {
            now: SystemTime::now(),
            deadline: (Instant::now() + time).into(),
        },
    )
}

/// The real server on a free port. Dropping it ends the server with its runtime.
pub(crate) struct Host {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) live: Arc<Live>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Host {
    pub(crate) async fn start(admission: &Arc<Admission>) -> Self {
        Self::with(admission, Limits::default()).await
    }

    pub(crate) async fn with(admission: &Arc<Admission>, limits: Limits) -> Self {
        Self::of(admission, |live| Server::new(live, limits)).await
    }

    /// Starts a host that also checks ServicePolicies.
    pub(crate) async fn checking(admission: &Arc<Admission>, check: PolicyCheck) -> Self {
        Self::of(admission, |live| {
            let extras = Extras {
                check: Some(check),
                ..Extras::default()
            };
            Server::with(live, Limits::default(), extras)
        })
        .await
    }

    /// Starts a host that records its answers.
    pub(crate) async fn recording(admission: &Arc<Admission>, file: LogFile) -> Self {
        Self::of(admission, |live| {
            let recorder = LineWriter::records(file, live.metrics()).expect("started");
            let extras = Extras {
                recorder: Some(Arc::new(recorder)),
                ..Extras::default()
            };
            Server::with(live, Limits::default(), extras)
        })
        .await
    }

    /// Starts a host that writes a decision log.
    pub(crate) async fn deciding(admission: &Arc<Admission>, log: Destination) -> Self {
        Self::of(admission, |live| {
            let log = LineWriter::decisions(log, live.metrics()).expect("started");
            let extras = Extras {
                decision_log: Some(Arc::new(log)),
                ..Extras::default()
            };
            Server::with(live, Limits::default(), extras)
        })
        .await
    }

    async fn of(admission: &Arc<Admission>, server: impl FnOnce(Arc<Live>) -> Server) -> Self {
        let certificate = tls::self_signed().expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let live = Live::new(Arc::clone(admission), None);
        live.tls().set_identity(certificate.identity);
        let server = server(Arc::clone(&live));
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            stopped.await.unwrap_or_default();
            Drain {
                delay: Duration::ZERO,
                timeout: LONG_DEADLINE,
            }
        };
        let served = tokio::spawn(server.run(listener, stopped));
        Self {
            client: Client::new(address, &certificate.ca),
            address,
            live,
            stop,
            served,
        }
    }

    /// Returns one series of `/metrics`, 0 when it is absent. `series` is its name with all labels.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.live.metrics_text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    /// Stops the server as SIGTERM does. The task ends with the server.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).expect("the server runs");
        self.served
    }
}
