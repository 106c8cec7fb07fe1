//! An API server takes the chart's objects, under the Pod Security Standard `restricted`.

use super::release::{OLDEST, Release};
use crate::helm::{HELM, NAMESPACE, chart, fixture, template};
use sallyport_tests::cluster::Cluster;

#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn an_api_server_takes_every_object_without_a_warning() {
    let Some(release) = Release::new("objects") else {
        return;
    };
    release.define_foreign_kinds();
    let cluster = &release.cluster;
    cluster
        .kubectl(&["apply", "-f", "deploy/base/namespace.yaml"])
        .ok();
    let everything = fixture("everything.yaml");
    let everything = everything.display().to_string();
    for values in [
        &["--set", "mode=registered"][..],
        &["--set", "mode=self-managed"],
        &["--set", "mode=cert-manager"],
        &["--values", &everything],
    ] {
        // An API server takes none that IPv6 needs: this one has a range of IPv4 addresses alone.
        let single = ["--set", "service.ipFamilyPolicy=,service.ipFamilies=null"];
        let text = template(&[values, &single].concat()).expect("it renders");
        let ran = cluster.kubectl_with(
            &["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
            &text,
        );
        assert!(
            ran.done && ran.out.contains("deployment.apps/sallyport created"),
            "{values:?}: {ran:?}"
        );
        assert!(!ran.err.contains("Warning"), "{values:?}: {}", ran.err);
    }
}

/// The only test of the chart on an API server that is too old for it.
#[test]
#[ignore = "needs Helm and an API server: make chart"]
fn an_old_api_server_is_refused_before_anything_is_created() {
    if Cluster::minor_here() >= OLDEST {
        return;
    }
    let cluster = Cluster::shared();
    let ran = cluster.shell(&format!(
        "{} install sallyport {} --namespace {NAMESPACE} --create-namespace",
        HELM.canonicalize().expect("a program").display(),
        chart().canonicalize().expect("there").display()
    ));
    let refused = ran.error();
    assert!(
        refused.contains("chart requires kubeVersion: >=1.30.0-0 which is incompatible"),
        "{refused}"
    );
    let namespaces = cluster
        .kubectl(&["get", "namespaces", "--output=name"])
        .ok();
    assert!(!namespaces.contains(NAMESPACE), "{namespaces}");
}
