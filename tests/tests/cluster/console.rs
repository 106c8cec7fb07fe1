//! The console on a real API server: its tokens, with the rights that `docs/console.md` documents,
//! and the map of what the background audit finds.

use crate::admission::manifests;
use crate::audit_reports::{create, define, host, prepare};
use crate::webhook::Host;
use sallyport_tests::cluster::Cluster;
use sallyport_tests::{root, wait_for};
use serde_json::{Value, json};
use std::path::Path;

/// Returns the manifests of the page.
fn documented() -> String {
    let page = std::fs::read_to_string(root().join("docs/console.md")).expect("it is there");
    let blocks = page.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    let rights = blocks.find(|block| block.contains("kind: ClusterRole\n"));
    rights.expect("the page shows the rights").to_owned()
}

fn token(kubeconfig: &Path) -> String {
    let config = std::fs::read_to_string(kubeconfig).expect("it is there");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let token = config["users"][0]["user"]["token"].as_str();
    token.expect("a token").to_owned()
}

/// Returns the URL of a host's console, without a slash at the end.
fn console(host: &Host) -> String {
    let log = host.log();
    let url = log
        .lines()
        .find_map(|line| Some(line.split_once("console on ")?.1.trim().to_owned()));
    url.unwrap_or_else(|| panic!("no console: {log}"))
}

/// Returns status and body of an answer of the console.
fn get(cluster: &Cluster, console: &str, path: &str, token: Option<&str>) -> (String, String) {
    let token = token.map_or_else(String::new, |token| {
        format!("--header 'Authorization: Bearer {token}'")
    });
    let answer = cluster
        .shell(&format!(
            "curl --silent --show-error --insecure --max-time 20 --write-out '\n%{{http_code}}' \
             {token} {console}{path}"
        ))
        .ok();
    let (body, status) = answer.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn a_token_counts_if_its_user_may_get_the_console() {
    let cluster = Cluster::new("console");
    cluster.namespace("sallyport-system");
    for name in ["sallyport", "viewer", "somebody"] {
        cluster
            .kubectl(&["create", "serviceaccount", name, "-n", "sallyport-system"])
            .ok();
    }
    let account = |name: &str| cluster.service_account("sallyport-system", name);
    let own = account("sallyport");
    let (viewer, somebody) = (token(&account("viewer")), token(&account("somebody")));
    let service_type = json!({"module": {"file": "service_type.wasm"}});
    let policies = manifests(&[("service-type", service_type)]);
    let host = Host::start(
        &cluster,
        &format!(
            "--policies {} --console 127.0.0.1:0 --console-tokens --kubeconfig {}",
            policies.path().display(),
            own.display()
        ),
    );
    let console = &console(&host);
    assert!(console.starts_with("https://"), "{console}");
    let state = "/console/state";

    // The page says nothing, and needs no token; data needs one.
    assert_eq!(get(&cluster, console, "/", None).0, "200");
    let (status, body) = get(&cluster, console, state, None);
    assert_eq!(status, "401", "{body}");

    // Without rights of its own, the host refuses every client, and names the missing right.
    let (status, body) = get(&cluster, console, state, Some(&viewer));
    assert_eq!(status, "503", "{body}");
    let log = host.log();
    assert!(
        log.contains("tokenreviews") && log.contains("docs/console.md"),
        "{log}"
    );

    let rights = documented();
    assert!(rights.contains("name: viewer"), "{rights}");
    cluster.kubectl_with(&["apply", "-f", "-"], &rights).ok();
    let body = wait_for("the rights count", || {
        let (status, body) = get(&cluster, console, state, Some(&viewer));
        if status == "200" { Ok(body) } else { Err(body) }
    });
    let shown: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(shown["policies"][0]["name"], "service-type");

    let (status, body) = get(&cluster, console, state, Some(&somebody));
    assert_eq!(status, "403", "{body}");
    let name = "system:serviceaccount:sallyport-system:somebody";
    assert!(
        body.contains(name) && body.contains("/console/state"),
        "{body}"
    );
    let (status, body) = get(&cluster, console, state, Some("nonsense"));
    assert_eq!(status, "401", "{body}");
    let log = host.log();
    assert!(!log.contains(&viewer) && !log.contains("nonsense"), "{log}");

    // An answer is kept for ten seconds, and then asked for anew.
    let binding = ["delete", "clusterrolebinding", "sallyport-console"];
    cluster.kubectl(&binding).ok();
    wait_for("the right is gone", || {
        let (status, body) = get(&cluster, console, state, Some(&viewer));
        if status == "403" { Ok(()) } else { Err(body) }
    });
    host.terminate();
}

#[test]
#[cfg_attr(not(api_server), ignore = "no kube-apiserver; see `make assets`")]
fn the_replica_that_audits_has_the_map_and_the_other_one_names_it() {
    let cluster = Cluster::new("console-map");
    prepare(&cluster);
    cluster.namespace("audited");
    define(&cluster, "v1alpha1");
    create(&cluster, "inside", &json!({}));
    create(&cluster, "ips", &json!({"externalIPs": ["192.0.2.7"]}));
    let hosts = [(); 2].map(|()| host(&cluster, "--console 127.0.0.1:0"));
    let consoles = hosts.each_ref().map(console);
    let summary = |console: &str| -> Value {
        let (status, body) = get(&cluster, console, "/console/state", None);
        assert_eq!(status, "200", "{body}");
        let state: Value = serde_json::from_str(&body).expect("JSON");
        state["exposures"].clone()
    };
    let (leader, follower) = wait_for("one of them audits, and the other one knows it", || {
        let [a, b] = &consoles;
        let found = [summary(a), summary(b)];
        let [at, holder] = ["at", "holder"];
        match () {
            () if found[0][at].is_string() && found[1][holder].is_string() => Ok((a, b)),
            () if found[1][at].is_string() && found[0][holder].is_string() => Ok((b, a)),
            () => Err(format!("{found:?}")),
        }
    });
    let (_, body) = get(&cluster, leader, "/console/exposures", None);
    let map: Value = serde_json::from_str(&body).expect("JSON");
    let doors = map["exposures"].as_array().expect("an array");
    let door = doors.iter().find(|door| door["service"] == "audited/ips");
    let door = door.unwrap_or_else(|| panic!("{map:#}"));
    assert_eq!(
        (&door["kind"], &door["opens"]),
        (&json!("externalIp"), &json!("externalIp"))
    );
    assert_eq!(door["address"], "192.0.2.7", "{door:#}");
    assert_eq!(door["policy"]["refusedBy"][0]["rule"], "S08", "{door:#}");
    assert!(
        !doors.iter().any(|door| door["service"] == "audited/inside"),
        "{map:#}"
    );
    assert_eq!(
        get(&cluster, follower, "/console/exposures", None).1,
        "null"
    );
    let revision = &summary(leader)["revision"];
    cluster
        .kubectl(&["delete", "service", "ips", "-n", "audited"])
        .ok();
    wait_for("the door is gone", || {
        let (_, body) = get(&cluster, leader, "/console/exposures", None);
        if body.contains("audited/ips") {
            Err(body)
        } else {
            Ok(())
        }
    });
    assert_ne!(
        &summary(leader)["revision"],
        revision,
        "pages ask for the map anew"
    );
    for host in hosts {
        host.terminate();
    }
}
