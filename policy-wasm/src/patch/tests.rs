use super::*;
use crate::testing::*;

fn texts(mutation: Mutation) -> Vec<String> {
    let text = |operation| match operation {
        PatchOperation::Add(PatchValue { path, value }) => format!("add {path} {value}"),
        PatchOperation::Replace(PatchValue { path, value }) => format!("replace {path} {value}"),
        PatchOperation::Remove(path) => format!("remove {path}"),
    };
    mutation.patch.into_iter().map(text).collect()
}

const FIELDS: [SpecField; 8] = [
    SpecField::AllocateLoadBalancerNodePorts,
    SpecField::ExternalIps,
    SpecField::ExternalName,
    SpecField::ExternalTrafficPolicy,
    SpecField::HealthCheckNodePort,
    SpecField::LoadBalancerClass,
    SpecField::LoadBalancerIp,
    SpecField::LoadBalancerSourceRanges,
];

/// Returns a Service that has what the bits say.
fn service(bits: u32) -> Service {
    let has = |bit: u32| bits >> bit & 1 == 1;
    let mut service = if has(0) {
        Service::default()
    } else {
        node_port("web", 80, 30080)
    };
    if has(1) {
        service.metadata.annotations = labels([("a~/b", "1"), (SOURCE_RANGES, "10.0.0.0/8")]);
    }
    if has(2) {
        service.metadata.labels = labels([("app", "web")]);
    }
    if !has(0) {
        let spec = &mut service.spec;
        spec.ports.push(port(81));
        spec.external_ips = if has(3) {
            vec!["192.0.2.1".into()]
        } else {
            vec![]
        };
        spec.load_balancer_class = has(4).then(|| "a/b".into());
        spec.load_balancer_source_ranges = if has(5) {
            vec!["10.0.0.0/8".into()]
        } else {
            vec![]
        };
        spec.allocate_load_balancer_node_ports = has(6).then_some(true);
        spec.external_traffic_policy = has(7).then(|| "Local".into());
        spec.health_check_node_port = has(7).then_some(32000);
        spec.load_balancer_ip = has(8).then(|| "10.0.0.9".into());
        spec.external_name = has(8).then(|| "x.example.com".into());
    }
    service
}

type Step = fn(&mut Patch<'_>);

const STEPS: [Step; 12] = [
    |patch| {
        patch.set_type(ServiceType::LoadBalancer);
    },
    |patch| {
        patch.make_cluster_ip();
    },
    |patch| {
        patch
            .remove_node_port(0)
            .remove_node_port(1)
            .remove_node_port(7);
    },
    |patch| {
        patch.set_annotation("a~/b", "\"\\\n\u{1f}ü");
    },
    |patch| {
        patch.remove_annotation("a~/b");
    },
    |patch| {
        patch.set_label("tier", "db");
    },
    |patch| {
        patch.remove_label("app");
    },
    |patch| {
        patch.set_external_ips(&["192.0.2.2".into(), "192.0.2.3".into()]);
    },
    |patch| {
        patch
            .set_load_balancer_class("x/y")
            .set_load_balancer_ip("10.0.0.1");
    },
    |patch| {
        patch.set_load_balancer_source_ranges(&["10.0.0.0/8".into()]);
    },
    |patch| {
        patch
            .set_allocate_load_balancer_node_ports(false)
            .set_external_traffic_policy("Local");
    },
    |patch| {
        FIELDS.into_iter().for_each(|field| {
            patch.remove(field);
        })
    },
];

#[test]
fn any_two_steps_on_any_service_fit_it_are_idempotent_and_touch_each_path_once() {
    for bits in 0..1 << 9 {
        let service = service(bits);
        for code in 0..STEPS.len().pow(2) {
            let steps = [code % 12, code / 12].map(|step| STEPS[step]);
            let patched = |service: &Service| {
                let mut patch = Patch::new(service);
                steps.iter().for_each(|step| step(&mut patch));
                patch.finish()
            };
            let mutation = patched(&service);
            let mut paths: Vec<_> = mutation.patch.iter().map(path).collect();
            paths.sort_unstable();
            assert!(
                paths.is_sorted_by(|a, b| a < b),
                "{bits:b} {code}: {paths:?}"
            );
            let result = apply(&service, &mutation);
            assert_eq!(
                patched(&result),
                Mutation::default(),
                "{bits:b} {code}: {:?}",
                mutation.patch
            );
        }
    }
}

#[test]
fn what_is_absent_is_not_removed() {
    let service = cluster_ip("web");
    let mut patch = Patch::new(&service);
    FIELDS.into_iter().for_each(|field| {
        patch.remove(field);
    });
    patch
        .remove_node_ports()
        .remove_annotation("a")
        .remove_label("b");
    assert_eq!(texts(patch.finish()), Vec::<String>::new());
}

#[test]
fn what_is_so_already_is_left_alone() {
    let mut service = cluster_ip("web");
    service.metadata.annotations = labels([("a", "1")]);
    let mutation = Patch::new(&service)
        .set_type(ServiceType::ClusterIp)
        .set_annotation("a", "1")
        .finish();
    assert_eq!(texts(mutation), Vec::<String>::new());
}

#[test]
fn the_last_word_on_a_path_counts() {
    let service = cluster_ip("web");
    let mutation = Patch::new(&service)
        .set_type(ServiceType::NodePort)
        .set_annotation("a", "1")
        .set_type(ServiceType::ClusterIp)
        .remove_annotation("a")
        .finish();
    assert_eq!(texts(mutation), Vec::<String>::new());
}

#[test]
fn a_parent_is_created_once_and_pointers_are_escaped() {
    let service = cluster_ip("web");
    let mutation = Patch::new(&service)
        .set_annotation("a~b/c", "x\"y")
        .set_annotation("d", "2")
        .finish();
    let expected = [
        "add /metadata/annotations {}",
        r#"add /metadata/annotations/a~0b~1c "x\"y""#,
        r#"add /metadata/annotations/d "2""#,
    ];
    assert_eq!(texts(mutation), expected);
}

#[test]
fn a_spec_is_created_where_there_is_none() {
    let mutation = Patch::new(&Service::default())
        .set_type(ServiceType::ClusterIp)
        .finish();
    assert_eq!(
        texts(mutation),
        ["add /spec {}", r#"add /spec/type "ClusterIP""#]
    );
}

#[test]
fn node_ports_are_removed_one_by_one() {
    let mut service = node_port("web", 80, 30080);
    service.spec.ports.extend([port(81), port(82)]);
    service.spec.ports[2].node_port = Some(30082);
    let mutation = Patch::new(&service)
        .remove_node_port(2)
        .remove_node_ports()
        .finish();
    assert_eq!(
        texts(mutation),
        [
            "remove /spec/ports/0/nodePort",
            "remove /spec/ports/2/nodePort"
        ]
    );
}

#[test]
fn a_cluster_ip_keeps_nothing_of_a_load_balancer() {
    let service = service(0b1_1111_0010);
    let mutation = Patch::new(&service).make_cluster_ip().finish();
    let patched = apply(&service, &mutation);
    assert!(
        FIELDS.iter().all(|field| !field.is_present(&patched)),
        "{patched:?}"
    );
    assert_eq!(patched.metadata.annotations, labels([("a~/b", "1")]));
}
