use super::*;
use crate::service::TargetPort;
use crate::testing::{cluster_ip, labels, load_balancer, node_port, port, update};

fn base() -> Service {
    let mut service = load_balancer("w", 443);
    let spec = &mut service.spec;
    spec.ports.push(port(80));
    for (port, node_port) in spec.ports.iter_mut().zip([30443, 30080]) {
        (port.node_port, port.node_port_by_client) = (Some(node_port), true);
    }
    spec.selector = labels([("app", "web")]);
    spec.external_ips = vec!["192.0.2.1".into(), "192.0.2.2".into()];
    spec.load_balancer_source_ranges = vec!["10.0.0.0/9".into(), "10.128.0.0/9".into()];
    spec.external_traffic_policy = Some("Local".into());
    spec.allocate_load_balancer_node_ports = Some(true);
    spec.ip_families = vec!["IPv4".into()];
    service
}

fn to(change: impl FnOnce(&mut Service)) -> Widening {
    let mut new = base();
    change(&mut new);
    Widening::between(&base(), &new)
}

#[test]
fn every_way_of_exposing_more_is_seen() {
    assert_eq!(to(|s| s.spec.ports.push(port(8443))), Widening::PORTS);
    assert_eq!(
        to(|s| s.spec.ports[0].protocol = "UDP".into()),
        Widening::PORTS.or(Widening::NODE_PORTS)
    );
    assert_eq!(
        to(|s| s.spec.ports[0].target_port = Some(TargetPort::Number(5432))),
        Widening::TARGETS
    );
    assert_eq!(
        to(|s| s.spec.ports[0].target_port = Some(TargetPort::Name("db".into()))),
        Widening::TARGETS
    );
    assert_eq!(
        to(|s| s.spec.selector = labels([("app", "db")])),
        Widening::SELECTED
    );
    assert_eq!(to(|s| s.spec.selector.clear()), Widening::SELECTED);
    assert_eq!(
        to(|s| s.spec.publish_not_ready_addresses = true),
        Widening::SELECTED
    );
    assert_eq!(
        to(|s| s.spec.ports[0].node_port = Some(30444)),
        Widening::NODE_PORTS
    );
    assert_eq!(
        to(|s| s.spec.external_traffic_policy = Some("Cluster".into())),
        Widening::NODES
    );
    assert_eq!(
        to(|s| s.spec.ip_families.push("IPv6".into())),
        Widening::FAMILIES
    );
    assert_eq!(
        to(|s| s.spec.ip_family_policy = Some("RequireDualStack".into())),
        Widening::FAMILIES
    );
    assert_eq!(
        to(|s| s.spec.external_ips.push("192.0.2.3".into())),
        Widening::EXTERNAL_IPS
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_source_ranges.clear()),
        Widening::SOURCES
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_source_ranges.push("11.0.0.0/8".into())),
        Widening::SOURCES
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_source_ranges.push("::/0".into())),
        Widening::SOURCES
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_source_ranges.push("nonsense".into())),
        Widening::SOURCES
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_class = Some("a/b".into())),
        Widening::LOAD_BALANCER
    );
    assert_eq!(
        to(|s| s.spec.load_balancer_ip = Some("192.0.2.9".into())),
        Widening::LOAD_BALANCER
    );
}

#[test]
fn harmless_edits_widen_nothing() {
    for (what, widening) in [
        ("nothing", to(|_| {})),
        (
            "labels",
            to(|s| s.metadata.labels = labels([("team", "a")])),
        ),
        (
            "annotations",
            to(|s| s.metadata.annotations = labels([("example.com/x", "a")])),
        ),
        ("order", to(|s| s.spec.ports.reverse())),
        ("names", to(|s| s.spec.ports[0].name = Some("https".into()))),
        (
            "the default target",
            to(|s| s.spec.ports[0].target_port = Some(TargetPort::Number(443))),
        ),
        ("fewer ports", to(|s| s.spec.ports.truncate(1))),
        ("fewer addresses", to(|s| s.spec.external_ips.truncate(1))),
        (
            "fewer Pods",
            to(|s| s.spec.selector = labels([("app", "web"), ("tier", "a")])),
        ),
        (
            "a union of ranges",
            to(|s| s.spec.load_balancer_source_ranges = vec![" 10.0.0.0/8 ".into()]),
        ),
        (
            "narrower ranges",
            to(|s| s.spec.load_balancer_source_ranges = vec!["10.1.0.0/16".into()]),
        ),
        (
            "a preference that the API server has not fulfilled",
            to(|s| s.spec.ip_family_policy = Some("PreferDualStack".into())),
        ),
        (
            "no node ports",
            to(|s| s.spec.allocate_load_balancer_node_ports = Some(false)),
        ),
        (
            "a lesser type",
            to(|s| s.spec.type_ = Some(ServiceType::ClusterIp)),
        ),
    ] {
        assert_eq!(widening, Widening::NONE, "{what}");
    }
}

#[test]
fn the_last_source_range_of_a_family_closes_it() {
    let mut old = base();
    old.spec.load_balancer_source_ranges = vec!["10.0.0.0/8".into(), "fd00::/8".into()];
    let without_v6 = |families: &[&str]| {
        let mut old = old.clone();
        old.spec.ip_families = families.iter().map(|&family| family.to_owned()).collect();
        let mut new = old.clone();
        new.spec.load_balancer_source_ranges.truncate(1);
        Widening::between(&old, &new)
    };
    assert_eq!(without_v6(&["IPv4", "IPv6"]), Widening::SOURCES);
    assert_eq!(without_v6(&["IPv4"]), Widening::NONE);
}

#[test]
fn a_node_port_that_is_allocated_in_place_of_another_is_nobodys_choice() {
    let (old, mut new) = (node_port("w", 80, 30080), node_port("w", 80, 31234));
    new.spec.ports[0].node_port_by_client = false;
    assert_eq!(Widening::between(&old, &new), Widening::NONE);
    let mut closed = load_balancer("w", 80);
    closed.spec.allocate_load_balancer_node_ports = Some(false);
    let mut open = closed.clone();
    open.spec.allocate_load_balancer_node_ports = Some(true);
    assert_eq!(Widening::between(&closed, &open), Widening::NODE_PORTS);
}

#[test]
fn a_greater_type_is_wider_and_an_alias_is_another_one() {
    let (cluster_ip, node_port) = (cluster_ip("w"), node_port("w", 80, 30080));
    let is_greater = |old: &Service, new: &Service| {
        Widening::between(old, new).and(Widening::TYPE) == Widening::TYPE
    };
    let mut headless = cluster_ip.clone();
    headless.spec.cluster_ip = Some("None".into());
    let mut alias = cluster_ip.clone();
    alias.spec.type_ = Some(ServiceType::ExternalName);
    for (old, new) in [
        (&cluster_ip, &node_port),
        (&headless, &cluster_ip),
        (&alias, &cluster_ip),
        (&node_port, &alias),
    ] {
        assert!(is_greater(old, new));
    }
    assert!(!is_greater(&node_port, &cluster_ip) && !is_greater(&cluster_ip, &headless));
}

#[test]
fn what_stood_is_renewed_where_it_is_widened() {
    let judge = |service: &Service| {
        let found = service.spec.ports.iter();
        found
            .map(|port| Violation::new("X", "f", "bad").key(format!("port:{}", port.port)))
            .collect::<Verdict>()
    };
    let keys = |change: fn(&mut Service)| {
        let mut new = base();
        change(&mut new);
        let review = update(base(), new);
        let verdict = Verdict::of_update(&review, Widening::between, |_| Widening::SELECTED, judge);
        verdict
            .violations
            .into_iter()
            .map(|violation| violation.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(|_| {}), ["port:443", "port:80"]);
    assert_eq!(
        keys(|s| s.spec.ports.push(port(81))),
        ["port:443", "port:80", "port:81"]
    );
    let selects_other_pods = |s: &mut Service| {
        s.spec.selector.clear();
        s.spec.ports.push(port(81));
    };
    assert_eq!(keys(selects_other_pods), ["", "", "port:81"]);
}
