use super::*;
use sallyport_policy::review::{ContainerPort, Pod};
use sallyport_policy::service::TargetPort;
use sallyport_policy::testing::*;

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
    verdict
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect()
}

#[test]
fn a_label_in_any_case_keeps_a_backend_inside() {
    let policy = configured(|_| {});
    let verdict = policy.validate(&create(labelled(node_port("db", 80, 30080))));
    assert_eq!(
        verdict.violations[0].message,
        "NodePort would expose an internal backend (label app.kubernetes.io/component \
         is \"Database\")"
    );
    assert_eq!(
        policy.validate(&create(labelled(cluster_ip("db")))),
        Verdict::allow()
    );
}

/// Returns the violations that the host's ratchet keeps: those whose key the old object does not
/// have.
fn new_offences(policy: &ClusterIpInternal, old: &Service, new: &Service) -> Vec<String> {
    let keys = |service: &Service| {
        policy
            .validate(&create(service.clone()))
            .violations
            .into_iter()
            .map(|v| v.key)
    };
    let had: Vec<_> = keys(old).collect();
    keys(new).filter(|key| !had.contains(key)).collect()
}

#[test]
fn taking_away_one_of_two_signals_is_no_new_offence() {
    let policy = configured(|_| {});
    let mut old = node_port("db", 80, 30080);
    old.metadata.labels = labels([("app", "postgres"), ("tier", "db")]);
    old.spec.selector = labels([("app", "postgres")]);
    for gone in ["app", "tier"] {
        let mut new = old.clone();
        new.metadata.labels.retain(|(key, _)| key != gone);
        assert_eq!(
            new_offences(&policy, &old, &new),
            Vec::<String>::new(),
            "{gone}"
        );
    }
    let mut other = old.clone();
    other.spec.selector = labels([("app", "redis")]);
    assert!(
        new_offences(&policy, &old, &other).contains(&"NodePort:selector:app=redis".to_owned())
    );
}

#[test]
fn each_external_ip_is_an_offence_of_its_own() {
    let policy = configured(|_| {});
    let with = |ips: &[&str]| {
        let mut service = labelled(cluster_ip("db"));
        service.spec.external_ips = ips.iter().map(|&ip| ip.to_owned()).collect();
        service
    };
    let two = with(&["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        fields(&policy.validate(&create(two.clone()))),
        ["spec.externalIPs[0]", "spec.externalIPs[1]"]
    );
    assert_eq!(
        new_offences(&policy, &two, &with(&["192.0.2.2"])),
        Vec::<String>::new()
    );
    assert_eq!(
        new_offences(&policy, &two, &with(&["192.0.2.2", "192.0.2.1"])),
        Vec::<String>::new()
    );
    assert_eq!(
        new_offences(&policy, &two, &with(&["192.0.2.1", "192.0.2.3"])).len(),
        1
    );
}

#[test]
fn external_ips_on_a_standing_node_port_are_a_new_offence() {
    let policy = configured(|_| {});
    let old = labelled(node_port("db", 5432, 30080));
    let mut new = old.clone();
    new.spec.external_ips = vec!["192.0.2.1".into()];
    assert_eq!(new_offences(&policy, &old, &new).len(), 2);
}

#[test]
fn an_internal_load_balancer_is_allowed_but_not_its_external_ips() {
    let policy = configured(|s| s.allow_internal_lb = true);
    let mut service = labelled(load_balancer("db", 80));
    service.metadata.annotations = labels([(
        "service.beta.kubernetes.io/azure-load-balancer-internal",
        "true",
    )]);
    assert_eq!(
        policy.validate(&create(service.clone()).on_nodes_of(["azure"])),
        Verdict::allow()
    );
    service.spec.external_ips = vec!["192.0.2.1".into()];
    assert_eq!(
        fields(&policy.validate(&create(service).on_nodes_of(["azure"]))),
        ["spec.externalIPs[0]"]
    );
}

#[test]
fn a_remapped_port_counts_by_where_it_leads() {
    let policy = configured(|_| {});
    let mut service = load_balancer("db", 443);
    service.spec.ports[0].target_port = Some(TargetPort::Number(5432));
    assert_eq!(
        fields(&policy.validate(&create(service.clone()))),
        ["spec.ports[0].targetPort"]
    );
    service.spec.ports[0].target_port = Some(TargetPort::Name("web".into()));
    let mut review = create(service);
    assert_eq!(policy.validate(&review), Verdict::allow());
    let port = ContainerPort {
        name: Some("web".into()),
        number: 5432,
    };
    review.selected_pods = Some(vec![Pod {
        labels: vec![],
        ports: vec![port],
    }]);
    assert_eq!(
        fields(&policy.validate(&review)),
        ["spec.ports[0].targetPort"]
    );
}

#[test]
fn names_match_as_whole_tokens() {
    let policy = configured(|_| {});
    for (name, violations) in [
        ("redis", 1),
        ("Redis-master", 1),
        ("example.com/redis", 1),
        ("credis", 0),
        ("redisx", 0),
    ] {
        let mut service = load_balancer("w", 80);
        service.spec.ports[0].name = Some(name.into());
        assert_eq!(
            policy.validate(&create(service)).violations.len(),
            violations,
            "{name}"
        );
    }
}

#[test]
fn an_ambiguous_port_only_warns() {
    let verdict = configured(|_| {}).validate(&create(load_balancer("w", 9000)));
    assert_eq!((verdict.violations.len(), verdict.warnings.len()), (0, 1));
}

#[test]
fn the_namespace_is_asked_for_where_the_settings_name_its_labels() {
    let asks = |policy: ClusterIpInternal| {
        policy
            .describe_configured()
            .context
            .contains(&Context::Namespace)
    };
    assert!(!asks(configured(|_| {})));
    assert!(asks(configured(
        |s| s.namespace_labels = vec![("exposure".into(), vec!["internal".into()])]
    )));
}

#[test]
fn a_namespace_whose_labels_are_not_known_counts_as_marked() {
    let policy =
        configured(|s| s.namespace_labels = vec![("exposure".into(), vec!["internal".into()])]);
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
    assert_eq!(
        policy.validate(&update(old.clone(), new.clone())),
        Verdict::allow()
    );
    new.metadata.labels.clear();
    assert_eq!(
        fields(&policy.validate(&update(old, new))),
        [r#"metadata.labels["app.kubernetes.io/component"]"#]
    );
}

#[test]
fn coercion_is_off_unless_asked_for_and_leaves_what_stands() {
    let service = labelled(node_port("db", 80, 30080));
    assert_eq!(
        configured(|_| {}).mutate(&mutating(create(service.clone()))),
        Mutation::default()
    );
    let policy = configured(|s| s.coerce = true);
    let mutation = policy.mutate(&mutating(create(service.clone())));
    let patched = apply(&service, &mutation);
    assert!(!patched.is_exposed() && patched.spec.ports[0].node_port.is_none());
    assert_eq!(
        policy.mutate(&mutating(create(patched))),
        Mutation::default()
    );
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
    settings.names = vec!["a".into(), String::new()];
    let errors = ClusterIpInternal::configure(settings)
        .err()
        .unwrap_or_default();
    let paths: Vec<_> = errors.into_iter().map(|error| error.path).collect();
    assert_eq!(paths, ["ports.strict[45]", "coerceExisting", "names[1]"]);
}

#[test]
fn the_defaults_hold_no_empty_word_and_no_word_twice() {
    let settings = ClusterIpInternal::defaults();
    let lists = settings
        .labels
        .iter()
        .map(|(_, values)| values)
        .chain([&settings.names]);
    for list in lists {
        let mut words = list.clone();
        words.sort();
        words.dedup();
        assert!(
            words.len() == list.len() && words.iter().all(|word| !word.is_empty()),
            "{list:?}"
        );
    }
}
