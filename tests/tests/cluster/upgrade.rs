//! Rolling upgrades and downgrades on a real API server, under load: no request fails, and none is
//! judged by half of a new set.
//!
//! The objects that an earlier build left in a cluster are in `tests/upgrade`: its
//! CustomResourceDefinition, its ServicePolicies and a component of its contract. The two builds
//! that are rolled out differ in a component with other rules, and in a setting. The old one runs
//! today's program, unless `SALLYPORT_EARLIER` names a directory with an earlier one: `sallyport`,
//! and the `policies` and `guests` that `make policies` built for it.

use crate::creator::Creator;
use crate::custom_resources::wait_until_ready_is;
use crate::replicas::{Endpoints, create_service};
use crate::webhook::{At, Host, Registration};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sallyport_core::yaml;
use sallyport_tests::cluster::{Cluster, Signed, free_port};
use sallyport_tests::{SALLYPORT, root, wait_for};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// Returns the files of the earlier build.
fn earlier(file: &str) -> PathBuf {
    root().join("tests/upgrade/608c8ab").join(file)
}

/// One of the two builds that are rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Build {
    Old,
    New,
}

impl Build {
    /// Returns the words of its component's rule, and the range of its setting.
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Old => ("told to deny", "30000-30099"),
            Self::New => ("told by next", "31000-31099"),
        }
    }

    /// Returns the program, and the directory with `policies` and `guests`.
    fn built(self) -> (PathBuf, PathBuf) {
        match std::env::var_os("SALLYPORT_EARLIER").map(PathBuf::from) {
            Some(earlier) if self == Self::Old => (earlier.join("sallyport"), earlier),
            _ => (SALLYPORT.clone(), root().join("target")),
        }
    }

    /// Returns its directory: its policies, its component, and the shipped ones.
    fn directory(self, built: &Path) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for entry in fs::read_dir(built.join("policies")).expect("make policies") {
            let path = entry.expect("an entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                let name = path.file_name().expect("a name");
                fs::copy(&path, directory.path().join(name)).expect("copied");
            }
        }
        self.write(built, directory.path());
        directory
    }

    fn write(self, built: &Path, directory: &Path) {
        let (words, range) = self.marks();
        let guest = fs::read(built.join("guests/misbehave.wasm")).expect("make policies");
        let changed = with_words(guest, Self::Old.marks().0, words);
        fs::write(directory.join("release.wasm"), changed).expect("written");
        let (from, to) = range.split_once('-').expect("a range");
        let [from, to] = [from, to].map(|port| port.parse::<u16>().expect("a port"));
        for (name, module, settings) in [
            ("release-one", "release.wasm", json!({})),
            ("release-two", "release.wasm", json!({})),
            (
                "release-range",
                "nodeport_range.wasm",
                json!({"ranges": [{"from": from, "to": to}]}),
            ),
        ] {
            let policy = json!({
                "apiVersion": "sallyport.dev/v1alpha1",
                "kind": "ServicePolicy",
                "metadata": {"name": name},
                // A deadline that a busy machine misses would be no denial of either build.
                "spec": {"module": {"file": module}, "settings": settings,
                    "limits": {"deadline": "5s"}},
            });
            let file = directory.join(format!("{name}.yaml"));
            fs::write(file, policy.to_string()).expect("written");
        }
    }
}

/// Returns a component whose rule has other words of the same length.
fn with_words(mut component: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = component
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "no {from:?} in the component");
    for place in places {
        component[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    component
}

/// Points a link to another directory, at once.
fn point(link: &Path, directory: &Path) {
    let aside = link.with_extension("aside");
    symlink(directory, &aside).expect("a link");
    fs::rename(aside, link).expect("moved");
}

/// Clients that create a Service which both builds deny, each in its own words.
struct Judged {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    /// The denials of each build.
    by: BTreeMap<Build, usize>,
    /// The first answer that is of neither build alone.
    odd: Option<String>,
}

/// The number of concurrent clients, and the pause between two requests of one.
const CLIENTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);

/// Denials after which a build is known to serve.
const ENOUGH: usize = 20;

impl Judged {
    fn start(cluster: &Cluster) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&seen));
        let kubeconfig = cluster.kubeconfig();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the cluster wrote it");
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .expect("whole");
                let client = Client::try_from(config).expect("a client");
                let clients =
                    (0..CLIENTS).map(|number| be_denied(client.clone(), number, &stopped, &noted));
                futures::future::join_all(clients).await;
            });
        });
        Self { thread, stop, seen }
    }

    #[track_caller]
    fn seen(&self) -> BTreeMap<Build, usize> {
        let seen = self.seen.lock().expect("no panic").clone();
        assert_eq!(seen.odd, None, "judged by neither set: {:?}", seen.by);
        seen.by
    }

    fn count(&self, build: Build) -> usize {
        self.seen().get(&build).copied().unwrap_or_default()
    }

    /// Waits until a build has denied some more requests.
    #[track_caller]
    fn wait_for(&self, build: Build) {
        let before = self.count(build);
        wait_for("denials of a build", || {
            let count = self.count(build);
            if count >= before + ENOUGH {
                Ok(())
            } else {
                Err(format!("{build:?}: {before}, {count}"))
            }
        });
    }

    /// Fails unless this build alone answers from now on.
    #[track_caller]
    fn only(&self, build: Build) {
        let other = match build {
            Build::Old => Build::New,
            Build::New => Build::Old,
        };
        // The other build may log a request half a second after it answered.
        std::thread::sleep(Duration::from_millis(500));
        let before = self.count(other);
        self.wait_for(build);
        assert_eq!(self.count(other), before, "{other:?} answers still");
    }

    fn stop(self) -> BTreeMap<Build, usize> {
        let seen = self.seen();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic");
        seen
    }
}

impl Seen {
    /// Counts the build that denied, or keeps the first answer that was none.
    fn note(&mut self, answer: Result<Build, String>) {
        match answer {
            Ok(build) => *self.by.entry(build).or_default() += 1,
            Err(answer) => self.odd = self.odd.take().or(Some(answer)),
        }
    }
}

async fn be_denied(client: Client, number: usize, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let api: Api<Service> = Api::namespaced(client, "default");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": format!("denied-{number}"), "annotations": {"test/do": "deny"}},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32000 + number}]},
    }))
    .expect("a Service");
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    while !stop.load(Ordering::Relaxed) {
        let answer = match api.create(&dry, &service).await {
            Ok(_) => Err("it was created".to_owned()),
            Err(kube::Error::Api(status)) => judged_by(&status.message),
            Err(error) => Err(error.to_string()),
        };
        seen.lock().expect("no panic").note(answer);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the build whose component and setting speak in all three denials.
fn judged_by(message: &str) -> Result<Build, String> {
    let marks = |build: Build| {
        let (words, range) = build.marks();
        [
            message.matches(words).count(),
            message.matches(&format!("is outside {range}")).count(),
        ]
    };
    match (marks(Build::Old), marks(Build::New)) {
        ([2, 1], [0, 0]) => Ok(Build::Old),
        ([0, 0], [2, 1]) => Ok(Build::New),
        _ => Err(message.to_owned()),
    }
}

/// Returns the specs of all stored ServicePolicies.
fn stored(cluster: &Cluster) -> BTreeMap<String, Value> {
    let list = cluster
        .kubectl(&["get", "servicepolicies", "--output=json"])
        .ok();
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|policy| {
            let name = policy["metadata"]["name"].as_str().expect("a name");
            (name.to_owned(), policy["spec"].clone())
        })
        .collect()
}

fn apply(cluster: &Cluster, file: &Path) {
    let file = file.display().to_string();
    // API servers before 1.25 drop CEL rules, which kubectl's own check refuses.
    cluster
        .kubectl(&["apply", "--validate=false", "-f", &file])
        .ok();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_rolling_upgrade_and_the_way_back_fail_no_request() {
    let cluster = Cluster::new("upgraded");
    let port = free_port();
    let ip = create_service(&cluster, port);
    apply(&cluster, &earlier("crd.yaml"));
    wait_for("the custom resource", || {
        cluster.kubectl(&["get", "servicepolicies"]).result()
    });
    apply(&cluster, &earlier("policies.yaml"));
    let before = stored(&cluster);
    assert!(before.len() > 5, "{before:?}");

    let files = tempfile::tempdir().expect("a directory");
    let signed = Signed::new(&["sallyport.sallyport-system.svc"]);
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    fs::write(&certificate, &signed.certificate).expect("written");
    fs::write(&key, &signed.key).expect("written");
    let builds = [Build::Old, Build::New].map(|build| build.directory(&build.built().1));
    let start = |build: Build| {
        let directory = &builds[usize::from(build == Build::New)];
        let directory = directory.path().display();
        Host::of(
            &build.built().0,
            &cluster,
            &format!(
                "--policies {directory} --modules {directory} --cluster --policies-from-cluster \
                 --kubeconfig {} --tls-cert {} --tls-key {} --drain-delay 2 --watch-interval 200ms",
                cluster.kubeconfig().display(),
                certificate.display(),
                key.display()
            ),
        )
    };
    let mut replicas = [start(Build::Old), start(Build::Old)];
    let endpoints = Endpoints::listen(
        SocketAddr::new(ip.parse().expect("an address"), port),
        [replicas[0].address, replicas[1].address],
    );
    Registration {
        at: At::Service("sallyport-system", "sallyport", port),
        ca: &signed.ca,
        ..Registration::of(&replicas[0])
    }
    .apply(&cluster);
    let all_serve = || {
        for name in before.keys() {
            wait_until_ready_is(&cluster, name, "True Loaded");
        }
    };
    all_serve();

    let (creator, judged) = (Creator::start(&cluster), Judged::start(&cluster));
    judged.wait_for(Build::Old);
    // As Helm does it: the definition first, then one replica after the other.
    apply(&cluster, &root().join("deploy/base/crd.yaml"));
    for (build, other) in [(Build::New, Build::Old), (Build::Old, Build::New)] {
        judged.only(other);
        for (number, replica) in replicas.iter_mut().enumerate() {
            let next = start(build);
            endpoints.replace(number, next.address);
            std::mem::replace(replica, next).terminate();
        }
        judged.only(build);
        all_serve();
        assert_eq!(stored(&cluster), before, "as stored by the earlier build");
    }
    let (created, seen) = (creator.stop(), judged.stop());
    assert!(created > 100, "only {created} Services were created");
    assert!(seen.values().all(|count| *count > 50), "{seen:?}");
    an_older_definition_hides_newer_fields(&cluster);
}

/// A fact of API servers, on which docs/api-versions.md relies.
fn an_older_definition_hides_newer_fields(cluster: &Cluster) {
    let is_there = |expected: bool| {
        wait_for(&format!("exemptions: {expected}"), || {
            let newer = &stored(cluster)["external-ips"]["exemptions"];
            if newer.is_object() == expected {
                Ok(())
            } else {
                Err(newer.to_string())
            }
        });
    };
    apply(cluster, &root().join("deploy/base/crd.yaml"));
    wait_for("the newer definition", || {
        let patch = r#"{"spec": {"exemptions": {"users": ["ops"]}}}"#;
        let patch = [
            "patch",
            "servicepolicy",
            "external-ips",
            "--type=merge",
            "-p",
            patch,
        ];
        cluster.kubectl(&patch).ok();
        match stored(cluster)["external-ips"].get("exemptions") {
            Some(_) => Ok(()),
            None => Err("pruned".to_owned()),
        }
    });
    apply(cluster, &earlier("crd.yaml"));
    is_there(false);
    apply(cluster, &root().join("deploy/base/crd.yaml"));
    is_there(true);
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_component_of_the_earlier_contract_is_refused_by_name() {
    let cluster = Cluster::new("earlier");
    let [old, new, refused] =
        [Build::Old, Build::New, Build::New].map(|build| build.directory(&root().join("target")));
    fs::copy(
        earlier("nodeport_range.wasm"),
        refused.path().join("nodeport_range.wasm"),
    )
    .expect("copied");
    let files = tempfile::tempdir().expect("a directory");
    let served = files.path().join("served");
    point(&served, old.path());
    let flags = format!(
        "--strict --policies {0} --modules {0} --watch-interval 100ms",
        served.display()
    );
    let host = Host::start(&cluster, &flags);
    Registration::of(&host).apply(&cluster);
    let (creator, judged) = (Creator::start(&cluster), Judged::start(&cluster));
    judged.wait_for(Build::Old);

    // Everything but one component could be loaded; the last good set serves as a whole.
    point(&served, refused.path());
    let refusal = "nodeport_range.wasm speaks sallyport:policy@0.1.0, but this host speaks";
    wait_for("the refusal", || {
        let log = host.log();
        if log.contains(refusal) {
            Ok(())
        } else {
            Err(log)
        }
    });
    judged.only(Build::Old);

    // A start has no set from before.
    let mut command = Command::new(&*SALLYPORT);
    command
        .arg("serve")
        .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
        .arg("--self-signed")
        .arg(format!(
            "--ca-out={}",
            files.path().join("ca.crt").display()
        ))
        .args(flags.split(' '));
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(refusal), "{said}");

    point(&served, new.path());
    judged.wait_for(Build::New);
    judged.only(Build::New);
    creator.stop();
    judged.stop();
}

/// While two builds run, the older one reads ServicePolicies that the newer definition has
/// completed, and would refuse a key that it does not know. So no new field may have a default; and
/// what was valid stays valid.
#[test]
fn the_definition_of_service_policies_only_grows() {
    let schema = |file: &Path| {
        let text = fs::read_to_string(file).expect("readable");
        yaml::documents(&text).expect("YAML").remove(0)["spec"]["versions"][0]["schema"]
            ["openAPIV3Schema"]["properties"]["spec"]
            .clone()
    };
    let (before, now) = (
        schema(&earlier("crd.yaml")),
        schema(&root().join("deploy/base/crd.yaml")),
    );
    let mut broken = vec![];
    grows(&before, &now, "spec", &mut broken);
    assert!(broken.is_empty(), "{broken:#?}");

    // It finds what it is for.
    let mut other = before.clone();
    other["properties"]["next"] = json!({"type": "string", "default": "a"});
    other["properties"]["mode"]["enum"] = json!(["Enforce"]);
    other["required"] = json!(["module", "updates"]);
    remove(&mut other, "limits");
    let mut broken = vec![];
    grows(&before, &other, "spec", &mut broken);
    assert_eq!(broken.len(), 5, "{broken:#?}");
}

fn remove(schema: &mut Value, property: &str) {
    let properties = schema["properties"].as_object_mut().expect("a mapping");
    properties.remove(property).expect("it was there");
}

fn grows(before: &Value, now: &Value, path: &str, broken: &mut Vec<String>) {
    let none = Map::new();
    let properties = |schema: &Value| schema["properties"].as_object().unwrap_or(&none).clone();
    let list = |schema: &Value, key: &str| schema[key].as_array().cloned().unwrap_or_default();
    if before["type"] != now["type"] {
        broken.push(format!("{path}: another type"));
    }
    for required in list(now, "required") {
        if !list(before, "required").contains(&required) {
            broken.push(format!("{path}: {required} is required now"));
        }
    }
    for word in list(before, "enum") {
        if !list(now, "enum").contains(&word) {
            broken.push(format!("{path}: {word} is not allowed any more"));
        }
    }
    let (old, new) = (properties(before), properties(now));
    for (name, schema) in &old {
        let path = format!("{path}.{name}");
        match new.get(name) {
            Some(now) => grows(schema, now, &path, broken),
            None => broken.push(format!("{path}: gone")),
        }
    }
    for (name, schema) in &new {
        if !old.contains_key(name) && schema.get("default").is_some() {
            broken.push(format!(
                "{path}.{name}: new, with a default, which an older host would refuse"
            ));
        }
    }
}
