//! Holds `tests/kubectl/refusals.json` and `updates.json` against a real API server of the version
//! that they name. `WRITE_KUBECTL=1` writes them anew.

use sallyport_tests::cluster::Cluster;
use sallyport_tests::{left_out, root};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// As `kubeadm` has it, and the default of a HostConfig.
const ARGUMENTS: [&str; 2] = [
    "--service-node-port-range=30000-32767",
    "--service-cluster-ip-range=10.0.0.0/16",
];

/// Both families, so that an update can add one.
const DUAL_STACK: [&str; 2] = [
    "--service-node-port-range=30000-32767",
    "--service-cluster-ip-range=10.0.0.0/16,fd00:1::/112",
];

/// One of the files, and the API server that it is held against.
struct Recording {
    file: PathBuf,
    recorded: Value,
    cluster: Cluster,
    /// True where the file is written anew.
    writes: bool,
}

impl Recording {
    /// Returns `None`, and says so, where the API server is not of the version that was recorded.
    fn open(name: &str, arguments: &[&str]) -> Option<Self> {
        let file = root().join(format!("tests/kubectl/{name}.json"));
        let text = std::fs::read_to_string(&file).expect("readable");
        let mut recorded: Value = serde_json::from_str(&text).expect("JSON");
        let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let cluster = Cluster::with_arguments(name, &arguments);
        let version = cluster.kubectl(&["version", "--output=json"]).ok();
        let version: Value = serde_json::from_str(&version).expect("JSON");
        let found = &version["serverVersion"]["gitVersion"];
        let writes = std::env::var_os("WRITE_KUBECTL").is_some();
        if writes {
            recorded["kubernetes"] = found.clone();
            recorded["kubectl"] = version["clientVersion"]["gitVersion"].clone();
        } else if *found != recorded["kubernetes"] {
            let wanted = &recorded["kubernetes"];
            left_out(&format!(
                "{name} are recorded of {wanted}, and this is {found}"
            ));
            return None;
        }
        Some(Self {
            file,
            recorded,
            cluster,
            writes,
        })
    }

    /// Plays each case by `play`, which compares it and returns what is wrong, or records it.
    fn play(mut self, play: impl Fn(&Cluster, &mut Map<String, Value>, bool) -> Option<String>) {
        let mut wrong = vec![];
        for case in self.recorded["cases"].as_array_mut().expect("a list") {
            let case = case.as_object_mut().expect("a case");
            if let Some(printed) = play(&self.cluster, case, self.writes) {
                wrong.push(format!("{}: {printed}", case["name"]));
            }
            self.cluster
                .kubectl(&["delete", "service", "web", "--ignore-not-found"]);
        }
        if self.writes {
            std::fs::write(&self.file, format!("{:#}\n", self.recorded)).expect("written");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver: see `make assets`")]
fn kubectl_prints_what_was_recorded() {
    let Some(recording) = Recording::open("refusals", &ARGUMENTS) else {
        return;
    };
    recording.play(|cluster, case, writes| {
        let text = case["manifest"].as_str().expect("a text");
        let manifest = cluster.kubeconfig().with_file_name("service.yaml");
        std::fs::write(manifest, text).expect("written");
        let printed = cluster.shell("kubectl apply -f service.yaml 2>&1").out;
        if writes {
            case.insert("printed".to_owned(), printed.into());
            return None;
        }
        (case["printed"] != printed.as_str()).then_some(printed)
    });
}

#[test]
#[cfg_attr(not(api_server_1_30), ignore = "no kube-apiserver of 1.30 or newer")]
fn an_api_server_makes_of_updates_what_was_recorded() {
    let Some(recording) = Recording::open("updates", &DUAL_STACK) else {
        return;
    };
    recording.play(|cluster, case, writes| {
        let printed = update(cluster, case);
        let stored: Option<Value> = serde_json::from_str(&printed).ok();
        let spec = stored.map(|stored| stored["spec"].clone());
        if writes {
            case.remove("stored");
            case.remove("refused");
            match spec {
                Some(spec) => case.insert("stored".to_owned(), spec),
                // kubectl begins its line with an article.
                None => {
                    let line = printed.trim().trim_start_matches("The ");
                    case.insert("refused".to_owned(), line.into())
                }
            };
            return None;
        }
        let is_same = match (spec, case.get("refused").and_then(Value::as_str)) {
            // Another number may be allocated.
            (Some(spec), None) => fields(&spec) == fields(&case["stored"]),
            (None, Some(refused)) => printed.contains(refused),
            _ => false,
        };
        (!is_same).then_some(printed)
    });
}

/// Creates the old Service of a case, replaces it by the new one, and returns what kubectl prints.
fn update(cluster: &Cluster, case: &Map<String, Value>) -> String {
    for which in ["old", "new"] {
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web"}, "spec": case[which]});
        let path = cluster.kubeconfig().with_file_name(format!("{which}.json"));
        std::fs::write(path, service.to_string()).expect("written");
    }
    let replace = "kubectl create -f old.json >/dev/null && \
        kubectl replace --dry-run=server -o json -f new.json 2>&1";
    cluster.shell(replace).out
}

/// The names of the fields that are set, also those of ports.
fn fields(spec: &Value) -> Vec<String> {
    let names = |object: &Value, at: &str| {
        let members = object.as_object().into_iter().flatten();
        let names: Vec<_> = members.map(|(key, _)| format!("{at}{key}")).collect();
        names
    };
    let ports = spec["ports"].as_array().into_iter().flatten();
    let of_ports = ports.flat_map(|port| names(port, "ports."));
    let addresses = spec["clusterIPs"].as_array().map_or(0, Vec::len);
    let mut all = [names(spec, ""), of_ports.collect()].concat();
    all.push(format!("{addresses} addresses"));
    all
}
