use super::*;
use sallyport_facts::metadata_services::METADATA_SERVICES;
use sallyport_policy::testing::*;

fn policy(allowed: &[&str], domains: &[&str]) -> Result<ExternalNames, Vec<SettingsError>> {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    ExternalNames::configure(Settings {
        allowed_suffixes: texts(allowed),
        cluster_domains: texts(domains),
    })
}

fn problem(allowed: &[&str], name: &str) -> Option<String> {
    let policy = policy(allowed, &["cluster.local"]).unwrap_or_else(|_| panic!("valid"));
    let mut service = cluster_ip("alias");
    service.spec.type_ = Some(ServiceType::ExternalName);
    service.spec.external_name = Some(name.to_owned());
    policy
        .validate(&create(service))
        .violations
        .into_iter()
        .next()
        .map(|violation| violation.message)
}

fn is_denied(allowed: &[&str], name: &str) -> bool {
    problem(allowed, name).is_some()
}

#[test]
fn names_outside_are_fine() {
    for name in [
        "db.example.com",
        "db.example.com.",
        "a.svc.example.com",
        "localhost.example.com",
        "metadata.example.com",
        "metadata.google.com",
        "clusterset.local.example.com",
        "printer.local",
        "svc.acme.local",
        "a.svc.acme.local",
        "orders.prod.svc.local",
        "a.b.svc.acme.internal",
        "a.b.services.acme.local",
        "ip6-localhost.example.com",
    ] {
        assert_eq!(problem(&[], name), None, "{name}");
    }
}

#[test]
fn internal_names_are_denied_in_any_case() {
    for name in [
        "kubernetes.default.svc.cluster.local.",
        "Kubernetes.Default",
        "db.shop.svc",
        "cluster.local",
        "a.b.pod",
        "db.svc.clusterset.local",
        "db.shop.svc.clusterset.local.",
        "a.b.svc.other.local",
        "pod-0.db.shop.SVC.prod.eu.local",
        "10-0-0-1.shop.pod.other.local",
    ] {
        let told = problem(&[], name).unwrap_or_else(|| panic!("{name}"));
        assert!(told.contains("inside the cluster"), "{told}");
    }
    assert!(!is_denied(&[], "notcluster.local") && !is_denied(&[], "a.cluster.local.example.com"));
}

#[test]
fn the_own_machine_and_metadata_services_are_denied() {
    for name in [
        "localhost",
        "a.localhost.",
        "localhost.localdomain",
        "localhost4.localdomain4",
        "localhost6.localdomain6.",
        "localhost6",
        "IP6-localhost",
        "ip6-loopback",
        "metadata.goog.",
        "metadata.azure.internal",
        "METADATA.google.internal",
        "metadata",
        "instance-data",
    ] {
        assert!(is_denied(&[], name), "{name}");
    }
}

#[test]
fn every_metadata_service_of_the_table_is_denied_whatever_is_allowed() {
    for service in METADATA_SERVICES {
        let name = format!("{}.{}.", service.host, service.domain);
        assert!(is_denied(&[service.domain], &name), "{name}");
    }
}

#[test]
fn allowed_suffixes_end_at_a_label() {
    assert!(!is_denied(&[".example.com"], "a.Example.com."));
    assert!(
        is_denied(&[".example.com"], "example.com") && !is_denied(&["example.com"], "example.com")
    );
    assert!(
        is_denied(&["example.com"], "evilexample.com")
            && is_denied(&["example.com"], "example.com.evil.io")
    );
}

#[test]
fn only_an_internal_suffix_permits_internal_names() {
    assert!(is_denied(&["local"], "db.shop.svc.cluster.local"));
    assert!(!is_denied(
        &[".shared.svc.cluster.local"],
        "db.shared.svc.cluster.local"
    ));
    assert!(is_denied(
        &[".shared.svc.cluster.local"],
        "db.shop.svc.cluster.local"
    ));
    let other = "db.shop.svc.other.local";
    assert!(is_denied(&["other.local"], other) && is_denied(&["local"], other));
    assert!(!is_denied(&[".svc.other.local"], other) && !is_denied(&[other], other));
    assert!(is_denied(&["local"], "db.shop.svc.clusterset.local"));
    assert!(!is_denied(
        &[".shop.svc.clusterset.local"],
        "db.shop.svc.clusterset.local"
    ));
    assert!(!is_denied(&["intranet"], "intranet") && is_denied(&["com"], "intranet"));
}

#[test]
fn a_dormant_external_name_is_not_judged() {
    let policy = policy(&[], &["cluster.local"]).unwrap_or_else(|_| panic!("valid"));
    let mut service = cluster_ip("w");
    service.spec.external_name = Some("localhost".to_owned());
    assert_eq!(policy.validate(&create(service)), Verdict::allow());
}

#[test]
fn what_is_no_suffix_is_refused_with_its_path() {
    let errors = policy(
        &[
            "a.example",
            "",
            "*.example.com",
            "10.0.0.1",
            ".localhost",
            "ip6-localhost",
        ],
        &[".cluster.local"],
    )
    .err();
    let paths: Vec<_> = errors
        .iter()
        .flatten()
        .map(|error| error.path.as_str())
        .collect();
    let expected = [
        "allowedSuffixes[1]",
        "allowedSuffixes[2]",
        "allowedSuffixes[3]",
        "allowedSuffixes[4]",
        "allowedSuffixes[5]",
        "clusterDomains[0]",
    ];
    assert_eq!(paths, expected);
}
