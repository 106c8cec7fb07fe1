//! `sallyport audit` and `exposures` on files and on a fake API server: formats, exit codes, and
//! lists whose pages expire.

use crate::api_server::ApiServer;
use crate::command_line::sallyport;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// Services that open doors, and one that does not.
const SERVICES: &str = r#"apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
{apiVersion: v1, kind: Service, metadata: {name: fine, namespace: shop},
 spec: {type: ClusterIP, clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: ips, namespace: shop},
 spec: {clusterIP: 10.0.0.2, externalIPs: [192.0.2.7], selector: {a: b}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service,
 metadata: {name: port, namespace: shop, labels: {note: "<b>"}},
 spec: {type: NodePort, clusterIP: 10.0.0.3, selector: {a: b},
        ports: [{port: 80, protocol: TCP, nodePort: 29999}]}}
"#;

fn file(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("services.yaml");
    std::fs::write(&file, text).expect("written");
    let name = file.to_str().expect("UTF-8").to_owned();
    (directory, name)
}

fn json_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn services_in_files_are_judged_as_a_cluster_has_them() {
    let (_directory, file) = file(SERVICES);
    let output = sallyport(&["audit", &file, "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json_of(&output);
    assert_eq!(report["services"], 3);
    assert_eq!(report["counts"]["denied"], 2);
    assert_eq!(report["gaps"], json!([]));
    let found: Vec<_> = report["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let finding = &row["findings"][0];
            (
                row["service"].as_str().expect("a name"),
                finding["rule"].as_str().expect("a rule"),
                finding["onUpdate"].as_str().expect("said"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [("shop/ips", "S08", "kept"), ("shop/port", "S02", "kept")]
    );
}

#[test]
fn the_users_exemptions_count_with_as() {
    let (directory, file) = file(SERVICES);
    let config = directory.path().join("config");
    std::fs::write(
        &config,
        "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nspec:\n  exemptions:\n    users: \
         [deployer]\n",
    )
    .expect("written");
    let config = config.to_str().expect("UTF-8");
    let judged = |more: &[&str]| {
        let arguments = ["audit", &file, "--config", config, "--output", "json"];
        json_of(&sallyport(&[&arguments, more].concat()))
    };
    assert_eq!(judged(&[])["counts"]["denied"], 2);
    let exempt = judged(&["--as", "deployer"]);
    assert_eq!(exempt["counts"]["denied"], 0);
    assert_eq!(exempt["counts"]["exempt"], 3);
}

#[test]
fn each_format_names_the_violations() {
    let (_directory, file) = file(SERVICES);
    let table = out(&sallyport(&["audit", &file]));
    assert!(
        table.contains("shop/port  DENY     kept on update"),
        "{table}"
    );
    assert!(table.contains("3 Services, "), "{table}");
    let sarif = json_of(&sallyport(&["audit", &file, "--output", "sarif"]));
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let rules: Vec<_> = results.iter().map(|result| &result["ruleId"]).collect();
    assert_eq!(rules, ["S08", "S02"]);
    let html = out(&sallyport(&["audit", &file, "--output", "html"]));
    assert!(html.contains("<td>shop/port</td>"), "{html}");
    assert!(
        html.contains("every node:29999"),
        "the exposure map: {html}"
    );
    let reports = json_of(&sallyport(&["audit", &file, "--output", "openreports"]));
    let names: Vec<_> = reports["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|report| &report["metadata"]["name"])
        .collect();
    assert_eq!(names, ["sallyport-ips", "sallyport-port"]);
}

#[test]
fn against_other_policies_only_changes_are_told() {
    let (directory, file) = file(SERVICES);
    let next = directory.path().join("next");
    std::fs::create_dir(&next).expect("made");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/policies");
    let ports = std::fs::read_to_string(shipped.join("nodeport-range.yaml")).expect("there");
    std::fs::write(next.join("nodeport-range.yaml"), ports).expect("written");
    let shipped = shipped.to_str().expect("UTF-8");
    let next = next.to_str().expect("UTF-8");
    let compared = |policies, against| {
        sallyport(&[
            "audit",
            &file,
            "--policies",
            policies,
            "--modules",
            shipped,
            "--against",
            against,
        ])
    };
    let fewer = compared(shipped, next);
    let table = out(&fewer);
    assert!(
        table.contains("shop/ips  no longer denied  external-ips"),
        "{table}"
    );
    assert!(!table.contains("shop/port"), "{table}");
    assert_eq!(fewer.status.code(), Some(0), "nothing new is denied");
    let more = compared(next, shipped);
    assert!(
        out(&more).contains("denied (kept on update)"),
        "{}",
        out(&more)
    );
    assert_eq!(more.status.code(), Some(1));
}

#[test]
fn a_later_run_of_exposures_says_what_was_opened_and_closed() {
    let (directory, file) = file(SERVICES);
    let first = sallyport(&["exposures", &file, "--output", "json"]);
    assert_eq!(first.status.code(), Some(0));
    let report = json_of(&first);
    let doors: Vec<_> = report["exposures"]
        .as_array()
        .expect("doors")
        .iter()
        .map(|door| {
            (
                &door["service"],
                &door["kind"],
                &door["policy"]["refusedBy"][0]["rule"],
            )
        })
        .map(|(service, kind, rule)| format!("{service} {kind} {rule}").replace('"', ""))
        .collect();
    assert_eq!(doors, ["shop/ips externalIp S08", "shop/port nodePort S02"]);
    let earlier = directory.path().join("earlier");
    std::fs::write(&earlier, &first.stdout).expect("written");
    let changed = SERVICES
        .replace("externalIPs: [192.0.2.7], ", "")
        .replace("29999", "30001");
    std::fs::write(&file, changed).expect("written");
    let earlier = earlier.to_str().expect("UTF-8");
    let later = sallyport(&["exposures", &file, "--since", earlier, "--output", "json"]);
    let since = &json_of(&later)["since"];
    let addresses = |of: &str| {
        let told = since[of].as_array().expect("doors").iter();
        told.map(|door| door["address"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(addresses("opened"), ["every node:30001"]);
    assert_eq!(addresses("closed"), ["192.0.2.7", "every node:29999"]);
    let error = sallyport(&["exposures", &file, "--since", &file]);
    assert_eq!(error.status.code(), Some(2));
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(
        error.contains("expected what `sallyport exposures"),
        "{error}"
    );
}

/// A load balancer and a node port, with these fields.
fn doors(balancer: &str, node_port: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: balancer, namespace: shop, {balancer}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: port, namespace: shop}},
 spec: {{type: NodePort, clusterIP: 10.0.0.3, selector: {{a: b}}, {node_port},
        ports: [{{port: 80, protocol: TCP, nodePort: 30080}}]}}}}
"#
    )
}

/// The changes of each door that a later run tells.
fn changes(before: &str, after: &str) -> (Vec<String>, Value) {
    let (directory, file) = file(before);
    let earlier = directory.path().join("earlier");
    let first = sallyport(&["exposures", &file, "--output", "json"]);
    assert_eq!(json_of(&first)["gaps"], json!([]));
    std::fs::write(&earlier, &first.stdout).expect("written");
    std::fs::write(&file, after).expect("written");
    let earlier = earlier.to_str().expect("UTF-8");
    let later = sallyport(&["exposures", &file, "--since", earlier, "--output", "json"]);
    let since = json_of(&later)["since"].clone();
    let mut told = vec![];
    for door in since["widened"].as_array().expect("doors") {
        for change in door["changes"].as_array().expect("changes") {
            let [service, kind] =
                ["service", "kind"].map(|key| door[key].as_str().expect("a text"));
            let [what, before, after] =
                ["what", "before", "after"].map(|key| change[key].as_str().expect("a text"));
            told.push(format!("{service} {kind} {what}: {before} -> {after}"));
        }
    }
    (told, since)
}

const POLICY_LOCAL: &str = "externalTrafficPolicy: Local";

#[test]
fn a_later_run_of_exposures_says_what_got_wider_from_what_to_what() {
    let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
    let spec = "selector: {a: b}, clusterIP: 10.0.0.2, ports: [{port: 443}]";
    let before = doors(
        &format!(
            "annotations: {{{azure}: 'true'}}}}, spec: {{type: LoadBalancer, {spec}, \
             allocateLoadBalancerNodePorts: false, loadBalancerClass: a.b/c, ipFamilies: [IPv4], \
             loadBalancerSourceRanges: [10.0.0.0/8]}}"
        ),
        POLICY_LOCAL,
    );
    let after = before
        .replace("'true'", "'false'")
        .replace("[10.0.0.0/8]", "[10.0.0.0/8, 192.0.2.0/24]")
        .replace("[IPv4]", "[IPv4, IPv6]")
        .replace("Local", "Cluster");
    let (told, since) = changes(&before, &after);
    let expected = [
        "shop/balancer loadBalancer source ranges: 10.0.0.0/8 -> 10.0.0.0/8, 192.0.2.0/24",
        "shop/balancer loadBalancer IP families: IPv4 -> IPv4, IPv6",
        &format!("shop/balancer loadBalancer load balancer: {azure}: true -> {azure}: false"),
        "shop/port nodePort address: nodes with its Pods:30080 -> every node:30080",
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&since["opened"], &since["closed"]),
        (&json!([]), &json!([]))
    );
    let (told, since) = changes(&after, &before);
    assert_eq!(told, Vec::<String>::new());
    let narrowed = since["narrowed"].as_array().expect("doors");
    assert_eq!(narrowed.len(), 2, "{since}");
    let (told, since) = changes(&before, &before);
    assert_eq!((told, &since["narrowed"]), (vec![], &json!([])));
}

/// A cluster of so many Services, which takes three pages.
async fn cluster() -> ApiServer {
    let server = ApiServer::new().await;
    server.namespace("shop", &json!({}));
    for number in 0..1200 {
        let mut service = json!({"metadata": {"name": format!("s{number}"), "namespace": "shop"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"a": "b"},
                "ports": [{"port": 80, "protocol": "TCP"}]}});
        if number % 100 == 0 {
            service["spec"]["externalIPs"] = json!(["192.0.2.7"]);
        }
        server.put("services", service);
    }
    server
}

async fn audited(server: &ApiServer) -> Output {
    let directory = server.kubeconfig();
    let config = directory.path().join("config").display().to_string();
    tokio::task::spawn_blocking(move || {
        sallyport(&["audit", "--kubeconfig", &config, "--output", "json"])
    })
    .await
    .expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_read_in_pages() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    let output = audited(&server).await;
    assert_eq!(output.status.code(), Some(1));
    let report = json_of(&output);
    assert_eq!(
        (&report["services"], &report["counts"]["denied"]),
        (&json!(1200), &json!(12))
    );
    let requests = server.requests();
    let pages = requests
        .iter()
        .filter(|request| request.starts_with("services "));
    assert_eq!(pages.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_token_expired_goes_on_with_a_later_state_and_says_so() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    server.expire_tokens(&[true]);
    let output = audited(&server).await;
    let report = json_of(&output);
    assert_eq!(
        (&report["services"], &report["counts"]["denied"]),
        (&json!(1200), &json!(12))
    );
    let gap = report["gaps"][0].as_str().expect("a gap");
    assert!(gap.contains("may be missing"), "{gap}");
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_token_expired_for_good_begins_anew() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    server.expire_tokens(&[false]);
    let output = audited(&server).await;
    let report = json_of(&output);
    assert_eq!(
        (&report["services"], &report["counts"]["denied"]),
        (&json!(1200), &json!(12))
    );
    assert_eq!(report["gaps"], json!([]));
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_expires_again_and_again_is_an_error() {
    let server = cluster().await;
    let _reachable = server.reachable().await;
    server.expire_tokens(&[false; 20]);
    let output = audited(&server).await;
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("one namespace after another"), "{error}");
}
