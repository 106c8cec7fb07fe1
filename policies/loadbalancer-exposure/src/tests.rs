use super::*;
use sallyport_facts::internal::{CONTROLLERS, Default, When};
use sallyport_facts::voids::{VOIDS, Voided};
use sallyport_policy::testing::*;
use std::collections::BTreeSet;

const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const AZURE: &str = "service.beta.kubernetes.io/azure-load-balancer-internal";

fn configured(change: impl FnOnce(&mut Settings)) -> LoadBalancerExposure {
    let mut settings = LoadBalancerExposure::defaults();
    change(&mut settings);
    LoadBalancerExposure::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn annotated(key: &str, value: &str) -> Service {
    let mut service = load_balancer("w", 80);
    service.metadata.annotations = labels([(key, value)]);
    service
}

fn told(verdict: &Verdict) -> Vec<String> {
    verdict
        .violations
        .iter()
        .map(|v| format!("{} {}: {}; {}", v.rule, v.field, v.message, v.fix))
        .collect()
}

#[test]
fn the_default_only_warns_of_a_deprecated_field() {
    let policy = configured(|_| {});
    let mut service = load_balancer("w", 80);
    assert_eq!(policy.validate(&create(service.clone())), Verdict::allow());
    service.spec.load_balancer_ip = Some("10.0.0.9".into());
    let verdict = policy.validate(&create(service.clone()));
    assert_eq!((verdict.violations.len(), verdict.warnings.len()), (0, 1));
    assert_eq!(
        policy.validate(&update(service.clone(), service).of_status()),
        Verdict::allow()
    );
}

#[test]
fn who_makes_load_balancers_follows_from_the_nodes_and_not_known_is_public() {
    let policy = configured(|s| s.require_internal = true);
    let on = |review: Review| told(&policy.validate(&review)).concat();
    assert_eq!(
        on(create(annotated(AZURE, "true")).on_nodes_of(["azure"])),
        ""
    );
    assert!(on(create(annotated(AZURE, "true")).on_nodes_of(["azure", "gce"])).contains("for gce"));
    assert!(on(create(annotated(AZURE, "true"))).contains("none of the cluster's Nodes"));
    assert!(
        on(create(annotated(AZURE, "true")).on_nodes_of([""])).contains("a Node has no providerID")
    );
    assert!(
        on(create(annotated(AZURE, "true")).on_nodes_of(["k3s"])).contains(r#"Nodes of "k3s""#)
    );
}

#[test]
fn what_is_wrong_and_what_to_do_is_told() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.providers = vec!["azure".into()];
    });
    let first = |service| told(&policy.validate(&create(service))).remove(0);
    assert_eq!(
        first(annotated(AZURE, "True")),
        format!(
            "S04 metadata.annotations[\"{AZURE}\"]: \"True\" does not make the load balancer \
             internal for azure; set it to \"true\""
        )
    );
    assert_eq!(
        first(load_balancer("w", 80)),
        format!(
            "S04 spec.type: nothing makes the load balancer internal for azure; set the annotation \
             {AZURE} to \"true\", or use type ClusterIP"
        )
    );
}

#[test]
fn what_settings_call_internal_is_internal() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.extra = vec![settings::Extra {
            key: "example.com/reach".into(),
            value: "inside".into(),
        }];
        s.internal_classes = vec!["internal-vip".into()];
    });
    let denied = |service| policy.validate(&create(service)).violations.len();
    assert_eq!(denied(annotated("example.com/reach", "inside")), 0);
    assert_eq!(denied(annotated("example.com/reach", "Inside")), 1);
    let mut service = load_balancer("w", 80);
    service.spec.load_balancer_class = Some("internal-vip".into());
    assert_eq!(denied(service), 0);
}

#[test]
fn ranges_are_judged_one_by_one_and_together() {
    let policy = configured(|s| {
        s.forbid_world = true;
        s.allowed_cidrs = vec!["10.0.0.0/8".into(), "2001:db8::/32".into()];
    });
    let fields = |ranges: &[&str]| {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_source_ranges =
            ranges.iter().map(|&range| range.to_owned()).collect();
        policy
            .validate(&create(service))
            .violations
            .into_iter()
            .map(|v| v.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(&[" 10.1.0.0/16 ", "2001:db8:1::/48"]), [""; 0]);
    assert_eq!(
        fields(&["10.0.0.0/8", "11.0.0.0/8", "nonsense"]),
        [
            "spec.loadBalancerSourceRanges[1]",
            "spec.loadBalancerSourceRanges[2]"
        ]
    );
    assert_eq!(fields(&["::/0"]), ["spec.loadBalancerSourceRanges[0]"]);
}

#[test]
fn many_ranges_of_one_annotation_are_judged_in_time() {
    let policy = configured(|s| s.forbid_world = true);
    let ranges: Vec<_> = (0..20_000)
        .map(|i| format!("10.{}.{}.0/24", i / 256, i % 256))
        .collect();
    let verdict = policy.validate(&create(annotated(RANGES, &ranges.join(", "))));
    assert_eq!(verdict, Verdict::allow());
}

#[test]
fn an_internal_load_balancer_needs_no_ranges_where_that_is_wanted() {
    let policy = configured(|s| {
        s.require_source_ranges = RequireSourceRanges::UnlessInternal;
        s.providers = vec!["azure".into()];
    });
    assert_eq!(
        policy.validate(&create(annotated(AZURE, "true"))),
        Verdict::allow()
    );
    assert_eq!(
        policy
            .validate(&create(annotated(AZURE, "false")))
            .violations
            .len(),
        1
    );
}

#[test]
fn node_ports_are_told_by_what_opens_them() {
    let policy = configured(|s| s.node_ports = NodePorts::Deny);
    let mut service = load_balancer("w", 80);
    service.spec.ports[0].node_port = Some(30095);
    let fields = |service: &Service| {
        policy
            .validate(&create(service.clone()))
            .violations
            .into_iter()
            .map(|v| v.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(&service), ["spec.allocateLoadBalancerNodePorts"]);
    service.spec.allocate_load_balancer_node_ports = Some(false);
    assert_eq!(fields(&service), ["spec.ports[0].nodePort"]);
    service.spec.ports[0].node_port = None;
    assert_eq!(fields(&service), [""; 0]);
}

#[test]
fn a_new_load_balancer_gets_what_its_manifest_leaves_open_and_nothing_else() {
    let policy = configured(|s| {
        s.providers = vec!["azure".into()];
        s.set_on_create = SetOnCreate {
            internal: true,
            load_balancer_class: None,
            load_balancer_source_ranges: vec!["10.0.0.0/8".into()],
            no_node_ports: true,
            local_traffic: true,
        };
    });
    let service = load_balancer("w", 80);
    let patched = apply(&service, &policy.mutate(&mutating(create(service.clone()))));
    assert_eq!(patched.annotation(AZURE), Some("true"));
    assert_eq!(patched.spec.load_balancer_source_ranges, ["10.0.0.0/8"]);
    assert_eq!(patched.spec.allocate_load_balancer_node_ports, Some(false));
    assert_eq!(
        patched.spec.external_traffic_policy.as_deref(),
        Some("Local")
    );
    assert_eq!(
        policy.mutate(&mutating(create(patched.clone()))),
        Mutation::default()
    );
    assert_eq!(
        policy.mutate(&mutating(update(service.clone(), service))),
        Mutation::default()
    );

    let mut explicit = annotated(AZURE, "false");
    explicit
        .metadata
        .annotations
        .push((RANGES.to_owned(), "192.0.2.0/24".to_owned()));
    explicit.spec.allocate_load_balancer_node_ports = Some(true);
    explicit.spec.allocate_load_balancer_node_ports_by_client = true;
    explicit.spec.external_traffic_policy = Some("Cluster".into());
    explicit.spec.external_traffic_policy_by_client = true;
    assert_eq!(
        policy.mutate(&mutating(create(explicit))),
        Mutation::default()
    );
}

#[test]
fn a_class_is_set_where_there_is_none() {
    let policy =
        configured(|s| s.set_on_create.load_balancer_class = Some("example.com/lb".into()));
    let mut service = load_balancer("w", 80);
    assert_eq!(
        policy
            .mutate(&mutating(create(service.clone())))
            .patch
            .len(),
        1
    );
    service.spec.load_balancer_class = Some("tailscale".into());
    assert_eq!(
        policy.mutate(&mutating(create(service))),
        Mutation::default()
    );
    assert_eq!(
        policy.mutate(&mutating(create(node_port("w", 80, 30080)))),
        Mutation::default()
    );
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_their_path() {
    let mut settings = LoadBalancerExposure::defaults();
    settings.providers = vec!["aws".into()];
    settings.extra = vec![settings::Extra {
        key: String::new(),
        value: "x".into(),
    }];
    settings.internal_classes = vec![String::new()];
    settings.allowed_cidrs = vec!["10.0.0.0/8".into(), "10.1.2.3/8".into(), "10.0.0.0".into()];
    settings.set_on_create.internal = true;
    settings.set_on_create.load_balancer_class = Some(String::new());
    let errors = LoadBalancerExposure::configure(settings)
        .err()
        .unwrap_or_default();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "providers[0]",
            "extra[0].key",
            "internalClasses[0]",
            "allowedCidrs[1]",
            "allowedCidrs[2]",
            "setOnCreate.loadBalancerClass",
            "setOnCreate.internal"
        ]
    );
    assert!(
        errors[0]
            .message
            .starts_with(r#""aws" is no controller that is known; use aws-lbc, aws-ccm, azure"#)
    );
}

const LBC: &str = "service.beta.kubernetes.io/aws-load-balancer-scheme";

/// The keys of what is denied after an update.
fn keys(policy: &LoadBalancerExposure, old: &Service, new: &Service) -> Vec<String> {
    let verdict = policy.validate(&update(old.clone(), new.clone()));
    verdict
        .violations
        .into_iter()
        .map(|violation| violation.key)
        .collect()
}

#[test]
fn not_certain_and_public_are_two_offences() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.providers = vec!["aws-lbc".into()];
    });
    let (open, facing) = (load_balancer("w", 80), annotated(LBC, "internet-facing"));
    assert_eq!(
        keys(&policy, &open, &open),
        ["LoadBalancer:not certain:aws-lbc"]
    );
    assert_eq!(
        keys(&policy, &open, &facing),
        ["LoadBalancer:public:aws-lbc"]
    );
    // An update may turn a public load balancer into one that is not certainly internal: that is no
    // more public.
    assert_eq!(
        keys(&policy, &facing, &open),
        ["LoadBalancer:public:aws-lbc"]
    );
}

#[test]
fn what_voids_the_switch_adds_an_offence_to_those_that_stand() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.providers = vec!["azure".into()];
    });
    let (old, mut new) = (
        load_balancer("w", 80),
        annotated("service.beta.kubernetes.io/azure-pls-create", "true"),
    );
    assert_eq!(keys(&policy, &old, &new).len(), 2);
    new.metadata.annotations = labels([(AZURE, "true"), ("kube-vip.io/forwardUPNP", "true")]);
    assert_eq!(
        keys(&policy, &old, &new),
        ["LoadBalancer:voided:kube-vip.io/forwardUPNP"]
    );
}

#[test]
fn what_voids_a_switch_counts_beside_what_settings_call_internal() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.providers = vec!["azure".into()];
        s.extra = vec![settings::Extra {
            key: "example.com/reach".into(),
            value: "inside".into(),
        }];
    });
    let mut service = annotated("example.com/reach", "inside");
    assert_eq!(policy.validate(&create(service.clone())), Verdict::allow());
    service.metadata.annotations.push((
        "service.beta.kubernetes.io/azure-pls-create".into(),
        "true".into(),
    ));
    assert_eq!(policy.validate(&create(service)).violations.len(), 1);
}

#[test]
fn families_and_their_shares_are_offences_of_their_own() {
    let policy = configured(|s| s.forbid_world = true);
    let with = |ranges: &[&str]| {
        let mut service = load_balancer("w", 80);
        service.spec.load_balancer_source_ranges =
            ranges.iter().map(|&range| range.to_owned()).collect();
        service
    };
    let most = with(&["0.0.0.0/1", "128.0.0.0/2"]);
    let both = with(&["0.0.0.0/1", "128.0.0.0/2", "2000::/4", "3000::/4"]);
    assert_eq!(
        keys(&policy, &most, &most),
        ["sourceRanges:world:most of IPv4"]
    );
    assert_eq!(
        keys(&policy, &both, &both),
        [
            "sourceRanges:world:most of IPv4",
            "sourceRanges:world:all of IPv6"
        ]
    );
    // Wider ranges make a new offence, narrower ones don't.
    let wider = with(&["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"]);
    assert_eq!(keys(&policy, &most, &wider), [""]);
    assert_eq!(
        keys(&policy, &wider, &most),
        ["sourceRanges:world:most of IPv4"]
    );
    let all = with(&["0.0.0.0/1", "128.0.0.0/1"]);
    assert_eq!(
        keys(&policy, &most, &all),
        ["sourceRanges:world:all of IPv4"]
    );
    assert_eq!(
        keys(&policy, &all, &most),
        ["sourceRanges:world:all of IPv4"]
    );
    assert_eq!(
        keys(&policy, &with(&["0.0.0.0/0"]), &most),
        ["sourceRange:0.0.0.0/0"]
    );
}

#[test]
fn a_load_balancer_that_becomes_public_keeps_no_missing_ranges() {
    let policy = configured(|s| {
        s.require_source_ranges = RequireSourceRanges::Always;
        s.providers = vec!["aws-lbc".into()];
    });
    let (inside, facing) = (
        annotated(LBC, "internal"),
        annotated(LBC, "internet-facing"),
    );
    assert_eq!(
        keys(&policy, &inside, &inside),
        ["LoadBalancer:no source ranges"]
    );
    assert_eq!(keys(&policy, &inside, &facing), [""]);
    assert_eq!(
        keys(&policy, &facing, &inside),
        ["LoadBalancer:no source ranges"]
    );
}

#[test]
fn one_address_gives_one_violation() {
    let policy = configured(|s| s.load_balancer_ip = LoadBalancerIp::Deny);
    let mut service = load_balancer("w", 80);
    service.spec.load_balancer_ip = Some("2001:db8::1".into());
    service.metadata.annotations = labels([
        ("kube-vip.io/loadbalancerIPs", "192.0.2.1"),
        ("lbipam.cilium.io/ips", "2001:DB8::1, 192.0.2.2"),
        ("metallb.io/loadBalancerIPs", "192.0.2.1"),
    ]);
    let found = policy.validate(&create(service));
    let keys: Vec<_> = found
        .violations
        .iter()
        .map(|violation| violation.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "loadBalancerIP:2001:db8::1",
            "loadBalancerIP:192.0.2.1",
            "loadBalancerIP:192.0.2.2"
        ]
    );
}

#[test]
fn more_addresses_than_a_load_balancer_has_are_refused_together() {
    let policy = configured(|s| s.load_balancer_ip = LoadBalancerIp::Deny);
    let many: Vec<_> = (0..20_000)
        .map(|i| format!("10.0.{}.{}", i / 256, i % 256))
        .collect();
    let found = policy.validate(&create(annotated(
        "metallb.io/loadBalancerIPs",
        &many.join(","),
    )));
    assert_eq!(found.violations.len(), 65);
    assert_eq!(found.violations[64].key, "");
}

#[test]
fn a_class_that_no_table_knows_may_be_served_all_the_same() {
    let policy = configured(|s| {
        s.require_internal = true;
        s.providers = vec!["aws-lbc".into()];
    });
    let with = |scheme| {
        let mut service = annotated(LBC, scheme);
        service.spec.load_balancer_class = Some("example.com/own".into());
        service
    };
    let (inside, facing) = (with("internal"), with("internet-facing"));
    assert_eq!(
        keys(&policy, &inside, &inside),
        ["LoadBalancer:class not served:aws-lbc"]
    );
    assert_eq!(
        keys(&policy, &inside, &facing),
        ["LoadBalancer:public:aws-lbc"]
    );
    assert_eq!(
        keys(&policy, &facing, &inside),
        ["LoadBalancer:public:aws-lbc"]
    );
}

#[test]
fn each_family_needs_a_range_where_an_empty_list_admits_everyone() {
    let open = |providers: &[&str], families: &[&str], ranges: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let policy = configured(|s| {
            s.providers = texts(providers);
            s.forbid_world = true;
        });
        let mut service = load_balancer("w", 80);
        service.spec.ip_families = texts(families);
        service.spec.load_balancer_source_ranges = texts(ranges);
        let verdict = policy.validate(&create(service));
        let keys = verdict.violations.into_iter().map(|found| found.key);
        keys.collect::<Vec<_>>().concat()
    };
    const DUAL: [&str; 2] = ["IPv4", "IPv6"];
    for controller in [&["gce"][..], &[]] {
        for (families, ranges, expected) in [
            (&DUAL[..], &["10.0.0.0/8"][..], "sourceRanges:open:IPv6"),
            (&DUAL, &["fd00::/8"], "sourceRanges:open:IPv4"),
            (&DUAL, &["10.0.0.0/8", " fd00::/8 "], ""),
            (&["IPv6"], &["10.0.0.0/8"], "sourceRanges:open:IPv6"),
            (&["IPv4"], &["fd00::/8"], "sourceRanges:open:IPv4"),
            (&["IPv4"], &["10.0.0.0/8"], ""),
            (&["IPv4"], &["::ffff:10.0.0.0/104"], ""),
            (&[], &["10.0.0.0/8"], ""),
            (&DUAL, &[], ""),
        ] {
            let found = open(controller, families, ranges);
            assert_eq!(found, expected, "{controller:?} {families:?} {ranges:?}");
        }
    }
    for closes in ["aws-lbc", "azure", "oci", "scaleway", "openstack", "hcloud"] {
        assert_eq!(open(&[closes], &DUAL, &["10.0.0.0/8"]), "", "{closes}");
    }
    assert!(!open(&["azure", "gce"], &DUAL, &["10.0.0.0/8"]).is_empty());
}

#[test]
fn the_fix_for_an_open_family_names_the_allowed_blocks_of_this_family() {
    let policy = configured(|s| {
        s.providers = vec!["gce".to_owned()];
        s.allowed_cidrs = vec!["10.0.0.0/8".into(), "fd00::/8".into(), "fc00::/8".into()];
    });
    let mut service = load_balancer("w", 80);
    service.spec.ip_family_policy = Some("RequireDualStack".into());
    service.spec.load_balancer_source_ranges = vec!["10.0.0.0/8".into()];
    let expected = "S05 spec.loadBalancerSourceRanges: no range is of IPv6, so that gce opens the \
        load balancer to the whole world by IPv6; name blocks of IPv6, inside fd00::/8 or \
        fc00::/8, or set spec.ipFamilyPolicy to SingleStack and spec.ipFamilies to [IPv4]";
    assert_eq!(told(&policy.validate(&create(service))), [expected]);
}

#[test]
fn an_open_family_is_less_than_no_ranges_but_another_one_is_new() {
    let policy = configured(|s| {
        s.providers = vec!["gce".to_owned()];
        s.require_source_ranges = RequireSourceRanges::Always;
    });
    let with = |families: &[&str], ranges: &[&str]| {
        let mut service = load_balancer("w", 80);
        service.spec.ip_families = families.iter().map(|&family| family.to_owned()).collect();
        let ranges = ranges.iter().map(|&range| range.to_owned());
        service.spec.load_balancer_source_ranges = ranges.collect();
        service
    };
    let (one, both) = (&["IPv4"][..], &["IPv4", "IPv6"][..]);
    let missing = "LoadBalancer:no source ranges";
    let to_one = keys(&policy, &with(both, &[]), &with(both, &["10.0.0.0/8"]));
    assert_eq!(to_one, [missing]);
    let second = keys(&policy, &with(one, &[]), &with(both, &["10.0.0.0/8"]));
    assert_eq!(second, ["sourceRanges:open:IPv6"]);
    let second = keys(
        &policy,
        &with(one, &["fd00::/8"]),
        &with(both, &["fd00::/8"]),
    );
    assert_eq!(second, [""]);
}

#[test]
fn many_offending_ranges_are_compared_in_time() {
    let policy = configured(|s| s.allowed_cidrs = vec!["192.0.2.0/24".into()]);
    let with = |from: usize| {
        let ranges: Vec<_> = (from..from + 15_000)
            .map(|i| format!("10.{}.{}.0/24", i / 256, i % 256))
            .collect();
        annotated(RANGES, &ranges.join(","))
    };
    assert!(keys(&policy, &with(0), &with(1)).len() > 8000);
}

/// Returns the texts between single quotes.
fn quoted(cel: &str) -> Vec<&str> {
    cel.split('\'').skip(1).step_by(2).collect()
}

#[test]
fn the_backstop_has_the_annotations_of_the_tables() {
    let file = include_str!("../backstop.yaml");
    for controller in &CONTROLLERS {
        let row = file.split(&format!("'{}': [", controller.name)).nth(1);
        let row = row.and_then(|rest| rest.split(']').next()).map(quoted);
        let first = controller.switches.first();
        let first = first.filter(|_| controller.default != Default::Internal);
        let Some((key, value)) = first.and_then(|first| Some((first.key, first.set?))) else {
            assert_eq!(row, None, "{}", controller.name);
            continue;
        };
        let row = row.unwrap_or_else(|| panic!("{} has no row", controller.name));
        let of_variant = controller.variant.iter().flat_map(|variant| {
            let when = match variant.when {
                When::Annotation(key, _) => Some(key),
                When::Class(_) => None,
            };
            let switches = variant.switches.iter().map(|switch| switch.key);
            switches.chain(when)
        });
        let voiding = VOIDS
            .iter()
            .filter(|row| row.by == controller.name && row.voids.includes(Voided::Internal));
        let own = controller.switches.iter().chain(controller.contradicting);
        let others = own.map(|switch| switch.key);
        let others = others.chain(of_variant).chain(voiding.map(|row| row.key));
        let others: BTreeSet<_> = others.filter(|other| *other != key).collect();
        assert_eq!(row[..2], [key, value], "{}", controller.name);
        assert_eq!(BTreeSet::from_iter(row[2..].iter().copied()), others);
    }
    for key in CONTROLLERS.iter().flat_map(|controller| controller.ranges) {
        assert!(file.contains(&format!("'{key}'")), "{key}");
    }
}
