use super::*;
use sallyport_policy::review::{ContainerPort, Pod};
use sallyport_policy::service::TargetPort;
use sallyport_policy::testing::*;
use sallyport_policy::verdict::PatchOperation;

fn configured(change: impl FnOnce(&mut Settings)) -> ClusterIpInternal {
    let mut settings = ClusterIpInternal::defaults();
    change(&mut settings);
    ClusterIpInternal::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn labelled(mut service: Service) -> Service {
    service.metadata.labels = labels([("app.kubernetes.io/component", "Database")]);
    service
}

fn fields(verdict: &Verdict) -> Vec<&str> {
    verdict.violations.iter().map(|violation| violation.field.as_str()).collect()
}

#[test]
fn a_label_in_any_case_keeps_a_backend_inside() {
    let policy = configured(|_| {});
    let verdict = policy.validate(&create(labelled(node_port("db", 80, 30080))));
    assert_eq!(
        verdict.violations[0].message,
        r#"NodePort would expose an internal backend (label app.kubernetes.io/component is "Database")"#
    );
    assert_eq!(policy.validate(&create(labelled(cluster_ip("db")))), Verdict::allow());
}

#[test]
fn a_remapped_port_counts_by_where_it_leads() {
    let policy = configured(|_| {});
    let mut service = load_balancer("db", 443);
    service.spec.ports[0].target_port = Some(TargetPort::Number(5432));
    assert_eq!(fields(&policy.validate(&create(service.clone()))), ["spec.ports[0].targetPort"]);
    service.spec.ports[0].target_port = Some(TargetPort::Name("web".into()));
    let mut review = create(service);
    assert_eq!(policy.validate(&review), Verdict::allow());
    let port = ContainerPort { name: Some("web".into()), number: 5432 };
    review.selected_pods = Some(vec![Pod { labels: vec![], ports: vec![port] }]);
    assert_eq!(fields(&policy.validate(&review)), ["spec.ports[0].targetPort"]);
}

#[test]
fn names_match_as_whole_tokens() {
    let policy = configured(|_| {});
    for (name, violations) in [("redis", 1), ("Redis-master", 1), ("credis", 0), ("redisx", 0)] {
        let mut service = load_balancer("w", 80);
        service.spec.ports[0].name = Some(name.into());
        assert_eq!(policy.validate(&create(service)).violations.len(), violations, "{name}");
    }
}

#[test]
fn an_ambiguous_port_only_warns() {
    let verdict = configured(|_| {}).validate(&create(load_balancer("w", 9000)));
    assert_eq!((verdict.violations.len(), verdict.warnings.len()), (0, 1));
}

#[test]
fn a_namespace_whose_labels_are_not_known_counts_as_marked() {
    let policy = configured(|s| s.namespace_labels = vec![("exposure".into(), vec!["internal".into()])]);
    let mut review = create(load_balancer("w", 80));
    assert_eq!(fields(&policy.validate(&review)), ["spec.type"]);
    review.namespace.known = true;
    assert_eq!(policy.validate(&review), Verdict::allow());
}

#[test]
fn protected_labels_stay() {
    let policy = configured(|s| s.protect_labels = true);
    let old = labelled(cluster_ip("db"));
    let mut new = old.clone();
    assert_eq!(policy.validate(&update(old.clone(), new.clone())), Verdict::allow());
    new.metadata.labels.clear();
    assert_eq!(fields(&policy.validate(&update(old, new))), [r#"metadata.labels["app.kubernetes.io/component"]"#]);
}

#[test]
fn coercion_is_off_unless_asked_for_and_leaves_what_stands() {
    let service = labelled(node_port("db", 80, 30080));
    assert_eq!(configured(|_| {}).mutate(&mutating(create(service.clone()))), Mutation::default());
    let policy = configured(|s| s.coerce = true);
    let removes = |path: &str| PatchOperation::Remove(path.to_owned());
    assert!(policy.mutate(&mutating(create(service.clone()))).patch.contains(&removes("/spec/ports/0/nodePort")));
    let standing = mutating(update(service.clone(), service.clone()));
    assert_eq!(policy.mutate(&standing), Mutation::default());
    let existing = configured(|s| (s.coerce, s.coerce_existing) = (true, true));
    assert!(!existing.mutate(&standing).patch.is_empty());
    let introduced = mutating(update(labelled(cluster_ip("db")), service));
    assert!(!policy.mutate(&introduced).patch.is_empty());
}

#[test]
fn settings_that_can_have_no_effect_are_refused() {
    let mut settings = ClusterIpInternal::defaults();
    settings.coerce_existing = true;
    settings.ports.strict.push(0);
    let errors = ClusterIpInternal::configure(settings).err().unwrap_or_default();
    let paths: Vec<_> = errors.into_iter().map(|error| error.path).collect();
    assert_eq!(paths, ["ports.strict[45]", "coerceExisting"]);
}
