//! Holds `tests/kubectl/refusals.json` against a real API server of the version that it names.
//! `WRITE_KUBECTL=1` writes the file anew.

use sallyport_tests::cluster::Cluster;
use sallyport_tests::{left_out, root};
use serde_json::Value;

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
