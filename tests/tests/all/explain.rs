//! `sallyport explain`: how a Service is reached, as the controllers read it.

use crate::command_line::sallyport_in;
use serde_json::Value;

/// Returns a Service of the namespace `shop`.
fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: \
         {spec}\n"
    )
}

const LOAD_BALANCER: &str = "{ type: LoadBalancer, selector: { app: a }, ports: [{ port: 80 }] }";

#[test]
fn explain_reads_annotations_as_the_controllers_do() {
    let scope = |metadata: &str| {
        let text = service("w", LOAD_BALANCER)
            .replace("namespace: shop", &format!("namespace: shop, {metadata}"));
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("s.yaml"), text).expect("written");
        let output = sallyport_in(files.path(), &["explain", "s.yaml", "--output", "json"]);
        let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        rows[0]["accessScope"].as_str().expect("a text").to_owned()
    };
    let azure = "service.beta.kubernetes.io/azure-load-balancer-internal";
    assert_eq!(
        scope(&format!("annotations: {{ {azure}: 'true' }}")),
        "internal, via a provisioned load balancer, where azure serves it"
    );
    for metadata in [
        "labels: {}".to_owned(),
        format!("annotations: {{ {azure}: 'True' }}"),
    ] {
        assert_eq!(
            scope(&metadata),
            "external, via a provisioned load balancer",
            "{metadata}"
        );
    }
    let two = format!(
        "annotations: {{ {azure}: 'true', networking.gke.io/load-balancer-type: External }}"
    );
    let mixed = scope(&two);
    assert!(
        mixed.contains("internal where azure serves it, and perhaps external where gce does"),
        "{mixed}"
    );
}

#[test]
fn explain_names_what_else_affects_exposure() {
    let scope = |text: &str| {
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("s.yaml"), text).expect("written");
        let output = sallyport_in(files.path(), &["explain", "s.yaml", "--output", "json"]);
        let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        rows[0]["accessScope"].as_str().expect("a text").to_owned()
    };
    let class = LOAD_BALANCER.replace(
        "selector",
        "loadBalancerClass: networking.gke.io/l4-regional-internal, selector",
    );
    assert!(
        scope(&service("w", &class))
            .starts_with("internal, via a provisioned load balancer, where gce")
    );
    let inside = "{ selector: { app: a }, ports: [{ port: 80 }] }";
    assert_eq!(scope(&service("w", inside)), "inside the cluster only");
    let exposed = service("w", inside).replace(
        "namespace: shop",
        "namespace: shop, annotations: { tailscale.com/expose: 'true' }",
    );
    let expected = "inside the cluster, and outside of it by the annotation tailscale.com/expose";
    assert_eq!(scope(&exposed), expected);
}

/// Explains a Service in a cluster, as its HostConfig states it.
fn explained(text: &str, cluster: &str) -> Value {
    let files = tempfile::tempdir().expect("a directory");
    std::fs::write(files.path().join("s.yaml"), text).expect("written");
    let config = format!(
        "apiVersion: sallyport.dev/v1alpha1\nkind: HostConfig\nmetadata: {{ name: h }}\nspec: {{ \
         inventory: {{ cluster: {cluster} }} }}\n"
    );
    std::fs::write(files.path().join("h.yaml"), config).expect("written");
    let config = ["explain", "s.yaml", "--config", "h.yaml", "-o", "json"];
    let output = sallyport_in(files.path(), &config);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    });
    rows[0].clone()
}

#[test]
fn explain_takes_the_range_of_node_ports_from_the_host_config() {
    let ports = "[{ port: 80 }, { name: a, port: 81, nodePort: 30999 }, { name: b, port: 82, \
        nodePort: 31000 }]";
    let spec = format!("{{ type: NodePort, selector: {{ app: a }}, ports: {ports} }}");
    let row = explained(
        &service("w", &spec),
        "{ nodePorts: { from: 30000, to: 30999 } }",
    );
    let expected = "TCP 80 to 80 of the Pods, on every node at a port that the API server \
        allocates (30000-30999)";
    assert_eq!(row["ports"][0], expected);
    let expected = "nodePort 31000 lies outside of the cluster's range 30000-30999: the API server \
        refuses it";
    assert_eq!(row["notes"], serde_json::json!([expected]));
}

#[test]
fn explain_says_if_the_cluster_serves_a_load_balancer() {
    let row = |cluster: &str| explained(&service("w", LOAD_BALANCER), cluster);
    let needs = |cluster: &str| {
        row(cluster)["needsCloud"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let nodes = |schemes: &[&str]| {
        let node = |scheme: &&str| format!("{{ name: node-1, providerID: '{scheme}://1' }}");
        let nodes: Vec<_> = schemes.iter().map(node).collect();
        format!("{{ nodes: [{}] }}", nodes.join(", "))
    };
    let need = "yes (or another load-balancer controller)";
    for (cluster, expected) in [
        ("{}".to_owned(), need.to_owned()),
        (
            "{ environment: cloud }".to_owned(),
            "yes, and this cluster has one (environment cloud)".to_owned(),
        ),
        (
            "{ environment: onPrem }".to_owned(),
            "yes, and nothing serves it here (environment onPrem): it stays pending".to_owned(),
        ),
        (
            nodes(&["azure"]),
            "yes, and this cluster has one (its Nodes are on azure)".to_owned(),
        ),
        (
            nodes(&["vsphere"]),
            format!("{need}; the Nodes are on vsphere, which has none of its own"),
        ),
        (nodes(&["azure", "vsphere"]), need.to_owned()),
    ] {
        assert_eq!(needs(&cluster), expected, "{cluster}");
    }
    let address = row("{ environment: onPrem }")["address"].to_string();
    assert!(address.contains("no external address"), "{address}");
    let class = LOAD_BALANCER.replace("selector", "loadBalancerClass: a.b/c, selector");
    let class = explained(&service("w", &class), "{ environment: onPrem }");
    assert_eq!(
        class["needsCloud"],
        "a controller that serves the class a.b/c"
    );
}

#[test]
fn explain_counts_the_controllers_of_the_clusters_nodes_alone() {
    let internal = "service.beta.kubernetes.io/azure-load-balancer-internal: 'true'";
    let text = service("w", LOAD_BALANCER).replace(
        "namespace: shop",
        &format!("namespace: shop, annotations: {{ {internal} }}"),
    );
    let scope = |scheme: &str| {
        let cluster = format!("{{ nodes: [{{ name: node-1, providerID: '{scheme}://1' }}] }}");
        explained(&text, &cluster)["accessScope"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let found = "internal, via a provisioned load balancer, where azure serves it";
    assert_eq!(scope("azure"), found);
    assert_eq!(scope("gce"), "external, via a provisioned load balancer");
    assert_eq!(scope("vsphere"), found, "the controller is not known there");
}

#[test]
fn explain_says_where_an_alias_leads() {
    let scope = |name: &str| {
        let text = service(
            "w",
            &format!("{{ type: ExternalName, externalName: {name} }}"),
        );
        explained(&text, "{}")["accessScope"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    for (name, expected) in [
        ("db.example.com", "a name outside"),
        ("db.shop.svc.cluster.local", "a name inside the cluster"),
        ("kubernetes.default.svc", "the API server of this cluster"),
        (
            "metadata.google.internal",
            "a cloud's metadata service, which hands out credentials",
        ),
    ] {
        let expected = format!("an alias inside the cluster for {expected}");
        assert_eq!(scope(name), expected, "{name}");
    }
}

#[test]
fn explain_says_what_keeps_source_ranges_from_holding() {
    let ranges = LOAD_BALANCER.replace(
        "selector",
        "loadBalancerSourceRanges: [10.0.0.0/8], selector",
    );
    let scope = |annotations: &str| {
        let text = service("w", &ranges).replace(
            "namespace: shop",
            &format!("namespace: shop, annotations: {{ {annotations} }}"),
        );
        explained(&text, "{}")["accessScope"].to_string()
    };
    assert!(scope("a: b").contains("load balancer, from the source ranges 10.0.0.0/8\""));
    let denied = scope("service.cilium.io/src-ranges-policy: deny");
    let expected = "from anywhere, unless its source ranges 10.0.0.0/8 hold: annotation \
        service.cilium.io/src-ranges-policy: ";
    assert!(denied.contains(expected), "{denied}");
}
