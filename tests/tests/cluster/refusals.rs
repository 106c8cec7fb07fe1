//! Holds `tests/kubectl/refusals.json` and `updates.json` against a real API server of the version
//! that they name. `WRITE_KUBECTL=1` writes them anew.

use sallyport_tests::cluster::Cluster;
use sallyport_tests::{left_out, root};
use serde_json::{Value, json};

/// As `kubeadm` has it, and the default of a HostConfig.
const ARGUMENTS: [&str; 2] = [
    "--service-node-port-range=30000-32767",
    "--service-cluster-ip-range=10.0.0.0/16",
];

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver: see `make assets`")]
fn kubectl_prints_what_was_recorded() {
    let file = root().join("tests/kubectl/refusals.json");
    let text = std::fs::read_to_string(&file).expect("readable");
    let mut recorded: Value = serde_json::from_str(&text).expect("JSON");
    let cluster = Cluster::with_arguments("refusals", &ARGUMENTS.map(str::to_owned));
    let version = cluster.kubectl(&["version", "--output=json"]).ok();
    let version: Value = serde_json::from_str(&version).expect("JSON");
    let found = version["serverVersion"]["gitVersion"].clone();
    let writes = std::env::var_os("WRITE_KUBECTL").is_some();
    if found != recorded["kubernetes"] && !writes {
        let wanted = &recorded["kubernetes"];
        return left_out(&format!(
            "what {wanted} refuses is recorded, and this is {found}"
        ));
    }
    let home = cluster.kubeconfig();
    let manifest = home.with_file_name("service.yaml");
    let mut wrong = vec![];
    for case in recorded["cases"].as_array_mut().expect("a list") {
        let text = case["manifest"].as_str().expect("a text");
        std::fs::write(&manifest, text).expect("written");
        let ran = cluster.shell("kubectl apply -f service.yaml 2>&1");
        cluster.kubectl(&["delete", "service", "web", "--ignore-not-found"]);
        if writes {
            case["printed"] = ran.out.into();
        } else if case["printed"] != ran.out.as_str() {
            wrong.push(format!("{}: {}", case["name"], ran.out));
        }
    }
    if writes {
        recorded["kubernetes"] = found;
        recorded["kubectl"] = version["clientVersion"]["gitVersion"].clone();
        std::fs::write(&file, format!("{recorded:#}\n")).expect("written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Both families, so that an update can add one.
const DUAL_STACK: [&str; 2] = [
    "--service-node-port-range=30000-32767",
    "--service-cluster-ip-range=10.0.0.0/16,fd00:1::/112",
];

#[test]
#[cfg_attr(not(api_server_1_30), ignore = "no kube-apiserver of 1.30 or newer")]
fn an_api_server_makes_of_updates_what_was_recorded() {
    let file = root().join("tests/kubectl/updates.json");
    let text = std::fs::read_to_string(&file).expect("readable");
    let mut recorded: Value = serde_json::from_str(&text).expect("JSON");
    let cluster = Cluster::with_arguments("updates", &DUAL_STACK.map(str::to_owned));
    let version = cluster.kubectl(&["version", "--output=json"]).ok();
    let version: Value = serde_json::from_str(&version).expect("JSON");
    let found = version["serverVersion"]["gitVersion"].clone();
    let writes = std::env::var_os("WRITE_KUBECTL").is_some();
    if found != recorded["kubernetes"] && !writes {
        let wanted = &recorded["kubernetes"];
        return left_out(&format!(
            "what {wanted} makes of updates is recorded, and this is {found}"
        ));
    }
    let directory = cluster.kubeconfig().with_file_name("");
    let mut wrong = vec![];
    for case in recorded["cases"].as_array_mut().expect("a list") {
        for which in ["old", "new"] {
            let service = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web"}, "spec": case[which]});
            let path = directory.join(format!("{which}.json"));
            std::fs::write(path, service.to_string()).expect("written");
        }
        let ran = cluster.shell(
            "kubectl create -f old.json >/dev/null && \
             kubectl replace --dry-run=server -o json -f new.json 2>&1",
        );
        cluster.kubectl(&["delete", "service", "web", "--ignore-not-found"]);
        let stored: Option<Value> = serde_json::from_str(&ran.out).ok();
        let key = if stored.is_some() {
            "stored"
        } else {
            "refused"
        };
        if writes {
            let case = case.as_object_mut().expect("a case");
            case.remove("stored");
            case.remove("refused");
            let spec = stored.map(|stored| stored["spec"].clone());
            // kubectl begins its line with an article.
            let line = ran.out.trim().trim_start_matches("The ").to_owned();
            case.insert(key.to_owned(), spec.unwrap_or_else(|| line.into()));
            continue;
        }
        let is_same = match &stored {
            // Another number may be allocated.
            Some(stored) => fields(&stored["spec"]) == fields(&case["stored"]),
            None => ran
                .out
                .contains(case["refused"].as_str().unwrap_or("\u{0}")),
        };
        if !is_same {
            wrong.push(format!("{}: {}", case["name"], ran.out));
        }
    }
    if writes {
        recorded["kubernetes"] = found;
        std::fs::write(&file, format!("{recorded:#}\n")).expect("written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
