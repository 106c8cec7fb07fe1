//! Values that are refused before anything is rendered: one line each, which names the value.

use crate::helm::{HELM, chart, run, template};
use std::process::Command;

#[test]
#[ignore = "needs Helm: make chart"]
fn bad_values_are_refused_with_their_place() {
    let presets = "'baseline', 'restricted', 'cloud', 'bare-metal', 'none'";
    for (set, expected) in [
        (
            "mode=manual",
            "at '/mode': value must be one of 'registered', 'self-managed', 'cert-manager'",
        ),
        (
            "preset=base",
            &*format!("at '/preset': value must be one of {presets}"),
        ),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        (
            "image.digest=sha256:12",
            "at '/image/digest': 'sha256:12' does not match",
        ),
        (
            "image.name=x",
            "at '/image': additional properties 'name' not allowed",
        ),
        ("replica=3", "additional properties 'replica' not allowed"),
        (
            "service.port=99999",
            "at '/service/port': maximum: got 99,999, want 65,535",
        ),
        (
            "apiServer.cidrs={10.0.0.1}",
            "at '/apiServer/cidrs/0': '10.0.0.1' does not match",
        ),
        (
            "extraArgs={log-format=json}",
            "at '/extraArgs/0': 'log-format=json' does not match",
        ),
        (
            "podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1",
            "at '/podDisruptionBudget': maxProperties: got 2, want 1",
        ),
        (
            "policies.Bad_Name.mode=Audit",
            "at '': 'Bad_Name' does not match pattern",
        ),
        (
            "policies.nodeport-range.mode=Deny",
            "at '/policies/nodeport-range/mode': value must be one of",
        ),
        (
            "policies.nodeport-range.setings.ranges={}",
            "at '/policies/nodeport-range': additional properties 'setings' not allowed",
        ),
        (
            "policies.nodeport-range.settings.autoAssigned=never",
            "at '/policies/nodeport-range/settings/autoAssigned': value must be one of",
        ),
        (
            "policies.nodeport-range.settings.range=1",
            "at '/policies/nodeport-range/settings': additional properties 'range' not allowed",
        ),
        (
            "config.inventory.cluster.environment=gcp",
            "at '/config/inventory/cluster/environment': value must be one of",
        ),
        (
            "config.exemption.users={a}",
            "at '/config': additional properties 'exemption' not allowed",
        ),
        (
            "policies.mine.mode=Audit",
            "policies.mine.module: required, since the preset baseline has no policy of this name; \
             it has clusterip-internal, ",
        ),
        (
            "policies.nodeport-rnage.enabled=false",
            "policies.nodeport-rnage.enabled: the preset baseline has no policy of this name",
        ),
        (
            "preset=none,policies.nodeport-range.enabled=false",
            "policies.nodeport-range.enabled: the preset none has no policy of this name; it has \
             none",
        ),
        (
            "certManager.issuerRef.name=corporate",
            "certManager.issuerRef: has no effect in mode registered; use mode: cert-manager",
        ),
        (
            "registries.pullSecrets=pull",
            "at '/registries': additional properties 'pullSecrets' not allowed",
        ),
        (
            "registries.ca.configMap=Corporate",
            "at '/registries/ca/configMap': 'Corporate' does not match",
        ),
        (
            "registries.ca.configMap=a,registries.ca.secret=b",
            "registries.ca: names a configMap and a secret; keep one of them",
        ),
        (
            "registries.ca.key=ca.pem",
            "registries.ca.key: add the name of a configMap or of a secret that has this key",
        ),
        (
            "policies.mine.module.oci=ghcr.io/acme/mine:1",
            "policies.mine.module.oci: hosts pull nothing until config.registries.sources lists \
             repositories",
        ),
        (
            "hostNetwork=true",
            "hostNetwork: NetworkPolicies don't apply to Pods on the host's network; set \
             networkPolicy.enabled: false",
        ),
    ] {
        let Err(error) = template(&["--set", set]) else {
            panic!("{set} is not refused");
        };
        let lines: Vec<_> = error
            .lines()
            .filter(|line| line.contains(expected))
            .collect();
        assert_eq!(
            lines.len(),
            1,
            "{set}: expected one line with {expected:?}:\n{error}"
        );
    }
}

/// Its own namespace is never judged, so `default` would be a hole.
#[test]
#[ignore = "needs Helm: make chart"]
fn a_namespace_that_others_use_is_refused() {
    for namespace in ["default", "kube-system"] {
        let mut command = Command::new(&*HELM);
        command
            .args(["template", "sallyport", "--namespace", namespace])
            .arg(chart());
        let error = run(&mut command).expect_err(namespace);
        let expected = format!(
            "namespace {namespace}: Sallyport needs a namespace of its own, since no Service of \
             its namespace is judged; use --namespace sallyport-system --create-namespace"
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
#[ignore = "needs Helm: make chart"]
fn an_old_cluster_is_refused_by_its_version() {
    let mut command = Command::new(&*HELM);
    command
        .args(["template", "sallyport", "--namespace", "sallyport-system"])
        .args(["--kube-version", "1.29"])
        .arg(chart());
    let error = run(&mut command).expect_err("too old");
    assert!(
        error.contains("chart requires kubeVersion: >=1.30.0-0 which is incompatible"),
        "{error}"
    );
}
