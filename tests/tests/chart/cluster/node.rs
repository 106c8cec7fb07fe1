//! Plays a node and its controllers: runs the containers of the chart's Pods as processes of this
//! machine, and completes Jobs.
//!
//! A container's arguments are those of the API server's object. Paths of the image become paths of
//! this repository, mounted volumes become directories that are filled as a kubelet fills them.

use crate::helm::NAMESPACE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_tests::cluster::{Cluster, Process};
use sallyport_tests::{SALLYPORT, root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The pause between two looks at the Jobs.
const LOOK: Duration = Duration::from_millis(100);

/// A container that can be started.
pub(crate) struct Container {
    pub(crate) arguments: Vec<String>,
    /// Its volumes.
    _volumes: TempDir,
}

impl Container {
    /// Prepares the first container of a Pod.
    pub(crate) fn new(cluster: &Cluster, pod: &Value) -> Self {
        let volumes = tempfile::tempdir().expect("a directory");
        let container = &pod["containers"][0];
        let mut places = vec![
            (
                "/etc/sallyport/presets".to_owned(),
                root().join("policies/presets"),
            ),
            (
                "/etc/sallyport/policies".to_owned(),
                root().join("target/policies"),
            ),
        ];
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let directory = volumes.path().join(text(&mount["name"]));
            let volume = pod["volumes"]
                .as_array()
                .and_then(|all| all.iter().find(|volume| volume["name"] == mount["name"]))
                .unwrap_or_else(|| panic!("no volume for {mount}"));
            fill(cluster, volume, &directory);
            places.push((text(&mount["mountPath"]).to_owned(), directory));
        }
        let mut arguments: Vec<_> = container["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .map(|argument| moved(&expanded(text(argument), container), &places))
            .collect();
        if pod["automountServiceAccountToken"] == true {
            // In place of the mounted token.
            let account = cluster.service_account(NAMESPACE, text(&pod["serviceAccountName"]));
            arguments.push(format!("--kubeconfig={}", account.display()));
        }
        Self {
            arguments,
            _volumes: volumes,
        }
    }

    /// Runs the container to its end. Returns what it says if it succeeds, or if it fails.
    fn run(&self) -> Result<String, String> {
        let output = Command::new(&*SALLYPORT)
            .args(&self.arguments)
            .env_remove("KUBECONFIG")
            .output()
            .expect("the program runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// Starts the container in the background.
    pub(crate) fn start(self, cluster: &Cluster) -> Pod {
        Pod {
            process: Process::start(&SALLYPORT, cluster.log("host"), &self.arguments),
            _container: self,
        }
    }
}

/// A Pod that runs. Dropping it kills its process, and then removes its volumes.
pub(crate) struct Pod {
    pub(crate) process: Process,
    _container: Container,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Replaces variables in an argument, as a kubelet does.
fn expanded(argument: &str, container: &Value) -> String {
    let variables = container["env"].as_array().into_iter().flatten();
    variables.fold(argument.to_owned(), |argument, variable| {
        let name = format!("$({})", text(&variable["name"]));
        argument.replace(&name, variable["value"].as_str().unwrap_or_default())
    })
}

/// Replaces the beginning of a path in an argument such as `--config=/etc/sallyport/config/x`.
fn moved(argument: &str, places: &[(String, PathBuf)]) -> String {
    let (flag, path) = match argument.split_once('=') {
        Some((flag, path)) => (format!("{flag}="), path),
        None => (String::new(), argument),
    };
    let place = places.iter().find_map(|(mounted, directory)| {
        let rest = path.strip_prefix(mounted.as_str())?;
        (rest.is_empty() || rest.starts_with('/'))
            .then(|| format!("{flag}{}{rest}", directory.display()))
    });
    place.unwrap_or_else(|| argument.to_owned())
}

/// Fills a volume. Files of a ConfigMap or a Secret are links into a hidden directory.
fn fill(cluster: &Cluster, volume: &Value, directory: &Path) {
    fs::create_dir(directory).expect("a directory");
    if volume.get("emptyDir").is_some() {
        // Writable by all, with the setgid bit, for a Pod with an fsGroup.
        fs::set_permissions(directory, Permissions::from_mode(0o2777)).expect("it is ours");
        return;
    }
    let (kind, name) = match (
        &volume["configMap"]["name"],
        &volume["secret"]["secretName"],
    ) {
        (Value::String(name), _) => ("configmap", name),
        (_, Value::String(name)) => ("secret", name),
        _ => panic!("an unknown kind of volume: {volume}"),
    };
    let object = cluster
        .kubectl(&["get", kind, name, "--namespace", NAMESPACE, "--output=json"])
        .ok();
    let object: Value = serde_json::from_str(&object).expect("JSON");
    let items: Option<BTreeSet<_>> = volume["configMap"]["items"]
        .as_array()
        .map(|items| items.iter().map(|item| text(&item["key"])).collect());
    let hidden = directory.join("..2026_11_28");
    fs::create_dir(&hidden).expect("a directory");
    symlink("..2026_11_28", directory.join("..data")).expect("a link");
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        if items
            .as_ref()
            .is_some_and(|items| !items.contains(key.as_str()))
        {
            continue;
        }
        let content = match kind {
            "secret" => STANDARD.decode(text(value)).expect("base64"),
            _ => text(value).as_bytes().to_vec(),
        };
        fs::write(hidden.join(key), content).expect("written");
        symlink(Path::new("..data").join(key), directory.join(key)).expect("a link");
    }
}

/// The Jobs that a node has run, with what they said.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<Vec<RanJob>>);

/// A Job that was run to its end.
#[derive(Debug, Clone)]
pub(crate) struct RanJob {
    pub(crate) name: String,
    uid: String,
    pub(crate) said: Result<String, String>,
}

impl Jobs {
    /// Runs each Job of the release that appears while `work` goes on.
    pub(crate) fn run_during<T>(&self, cluster: &Cluster, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.run_new(cluster);
                    thread::sleep(LOOK);
                }
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Returns the Jobs that were run since the last call.
    pub(crate) fn take(&self) -> Vec<RanJob> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }

    fn run_new(&self, cluster: &Cluster) {
        let get = ["get", "jobs", "--namespace", NAMESPACE, "--output=json"];
        let list: Value = serde_json::from_str(&cluster.kubectl(&get).ok()).expect("JSON");
        for job in list["items"].as_array().expect("a list") {
            let (name, uid) = (
                text(&job["metadata"]["name"]),
                text(&job["metadata"]["uid"]),
            );
            let mut ran = self.0.lock().expect("no panic");
            if ran.iter().any(|job| job.uid == uid) || job["status"].get("conditions").is_some() {
                continue;
            }
            let said = Container::new(cluster, &job["spec"]["template"]["spec"]).run();
            complete(cluster, name, said.is_ok());
            ran.push(RanJob {
                name: name.to_owned(),
                uid: uid.to_owned(),
                said,
            });
        }
    }
}

/// Writes the status that the Job controller writes at the end of a Job, unless Helm has given up
/// and deleted the Job.
fn complete(cluster: &Cluster, name: &str, succeeded: bool) {
    let time = jiff::Timestamp::now();
    let time = jiff::Timestamp::from_second(time.as_second())
        .expect("now")
        .to_string();
    let condition = |kind: &str, reason: &str| {
        json!({"type": kind, "status": "True", "reason": reason, "lastTransitionTime": time,
            "lastProbeTime": time})
    };
    let status = if succeeded {
        let conditions = [
            condition("SuccessCriteriaMet", "CompletionsReached"),
            condition("Complete", "CompletionsReached"),
        ];
        json!({"succeeded": 1, "startTime": time, "completionTime": time, "conditions": conditions})
    } else {
        let conditions = [
            condition("FailureTarget", "BackoffLimitExceeded"),
            condition("Failed", "BackoffLimitExceeded"),
        ];
        json!({"failed": 1, "startTime": time, "conditions": conditions})
    };
    let ran = cluster.kubectl(&[
        "patch",
        "job",
        name,
        "--namespace",
        NAMESPACE,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &json!({ "status": status }).to_string(),
    ]);
    assert!(ran.done || ran.err.contains("NotFound"), "{ran:?}");
}
