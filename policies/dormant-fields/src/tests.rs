use super::*;
use sallyport_policy::testing::*;

fn policy() -> DormantFields {
    DormantFields(Settings {
        strip: true,
        ..DormantFields::defaults()
    })
}

fn fields(verdict: &Verdict) -> Vec<&str> {
    verdict
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect()
}

/// A Service with every field that a LoadBalancer can have.
fn full(service_type: ServiceType) -> Service {
    let mut service = node_port("w", 80, 30080);
    service.metadata.annotations = labels([(dormant::SOURCE_RANGES, "10.0.0.0/8")]);
    let spec = &mut service.spec;
    spec.type_ = Some(service_type);
    spec.external_traffic_policy = Some("Local".into());
    spec.health_check_node_port = Some(32000);
    spec.allocate_load_balancer_node_ports = Some(false);
    spec.load_balancer_class = Some("a/b".into());
    spec.load_balancer_ip = Some("192.0.2.1".into());
    spec.load_balancer_source_ranges = vec!["10.0.0.0/8".into(), "172.16.0.0/12".into()];
    service
}

#[test]
fn what_the_type_uses_is_fine() {
    assert_eq!(
        policy().validate(&create(full(ServiceType::LoadBalancer))),
        Verdict::allow()
    );
    assert_eq!(
        policy().validate(&create(node_port("w", 80, 30080))),
        Verdict::allow()
    );
    assert_eq!(
        policy().mutate(&mutating(create(full(ServiceType::LoadBalancer)))),
        Mutation::default()
    );
}

#[test]
fn everything_else_is_named_with_its_path() {
    let verdict = policy().validate(&create(full(ServiceType::ClusterIp)));
    let expected = [
        "spec.ports[0].nodePort",
        "spec.healthCheckNodePort",
        "spec.allocateLoadBalancerNodePorts",
        "spec.loadBalancerIP",
        "spec.loadBalancerClass",
        "spec.externalTrafficPolicy",
        "spec.loadBalancerSourceRanges[0]",
        "spec.loadBalancerSourceRanges[1]",
        r#"metadata.annotations["service.beta.kubernetes.io/load-balancer-source-ranges"]"#,
    ];
    assert_eq!(fields(&verdict), expected);
    assert_eq!(verdict.violations[0].key, "nodePort:ClusterIP:TCP:30080");
    assert_eq!(
        verdict.violations[6].key,
        "loadBalancerSourceRanges:ClusterIP:10.0.0.0/8"
    );
}

#[test]
fn stripping_leaves_nothing_to_deny_or_to_strip() {
    for service_type in [
        ServiceType::ClusterIp,
        ServiceType::NodePort,
        ServiceType::ExternalName,
    ] {
        let service = full(service_type);
        let patched = apply(
            &service,
            &policy().mutate(&mutating(create(service.clone()))),
        );
        assert_eq!(
            policy().validate(&create(patched.clone())),
            Verdict::allow(),
            "{service_type}"
        );
        assert_eq!(
            policy().mutate(&mutating(create(patched))),
            Mutation::default(),
            "{service_type}"
        );
    }
}

#[test]
fn what_the_api_server_wipes_after_a_change_of_type_is_left_to_it() {
    let review = update(
        full(ServiceType::LoadBalancer),
        full(ServiceType::ClusterIp),
    );
    let left = [
        "spec.loadBalancerIP",
        "spec.loadBalancerSourceRanges[0]",
        "spec.loadBalancerSourceRanges[1]",
        r#"metadata.annotations["service.beta.kubernetes.io/load-balancer-source-ranges"]"#,
    ];
    assert_eq!(fields(&policy().validate(&mutating(review.clone()))), left);
    assert_eq!(
        policy().validate(&review).violations.len(),
        9,
        "it has been wiped by the validating phase"
    );
}

#[test]
fn what_the_client_changed_too_is_not_wiped() {
    let mut new = full(ServiceType::ClusterIp);
    new.spec.ports.push(port(81));
    new.spec.ports[1].node_port = Some(30081);
    new.spec.health_check_node_port = Some(32001);
    new.spec.load_balancer_class = Some("c/d".into());
    let verdict = policy().validate(&mutating(update(full(ServiceType::LoadBalancer), new)));
    let found = fields(&verdict);
    assert_eq!(
        found[..2],
        ["spec.ports[1].nodePort", "spec.healthCheckNodePort"]
    );
    assert!(
        found.contains(&"spec.loadBalancerClass") && !found.contains(&"spec.externalTrafficPolicy")
    );
}

#[test]
fn a_dormant_node_port_may_not_come_to_life() {
    let old = full(ServiceType::ExternalName);
    let verdict = policy().validate(&update(old.clone(), node_port("w", 80, 30080)));
    assert_eq!(fields(&verdict), ["spec.ports[0].nodePort"]);
    assert_eq!(verdict.violations[0].key, "");
    assert_eq!(
        policy().validate(&update(old, node_port("w", 80, 30081))),
        Verdict::allow()
    );
    assert_eq!(
        policy().validate(&update(cluster_ip("w"), node_port("w", 80, 30080))),
        Verdict::allow()
    );
}

#[test]
fn fields_that_are_not_checked_are_neither_denied_nor_stripped() {
    let mut settings = DormantFields::defaults();
    settings.fields.node_port = false;
    let policy = DormantFields(Settings {
        strip: true,
        ..settings
    });
    let mut service = cluster_ip("w");
    service.spec.ports[0].node_port = Some(30080);
    assert_eq!(policy.validate(&create(service.clone())), Verdict::allow());
    assert_eq!(
        policy.mutate(&mutating(create(service.clone()))),
        Mutation::default()
    );
    assert_eq!(
        policy.validate(&update(service, node_port("w", 80, 30080))),
        Verdict::allow()
    );
}

#[test]
fn at_least_one_field_must_be_checked() {
    let mut settings = DormantFields::defaults();
    settings.fields = Fields {
        node_port: false,
        external_name: false,
        load_balancer_ip: false,
        load_balancer_source_ranges: false,
        load_balancer_class: false,
        allocate_load_balancer_node_ports: false,
        health_check_node_port: false,
        external_traffic_policy: false,
    };
    let errors = DormantFields::configure(settings).err().unwrap_or_default();
    assert_eq!(errors[0].path, "fields");
}
