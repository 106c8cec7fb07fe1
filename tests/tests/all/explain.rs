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
