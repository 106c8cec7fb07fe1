//! Tests of the inventory: of files, and of events as watchers send them.

use super::*;
use crate::contract::review::{Provider, ProviderId};
use crate::decode;
use serde_json::{Value, json};

fn inventory(value: &Value) -> Inventory {
    decode::from_value::<InventoryData>(value)
        .expect("valid")
        .into()
}

#[test]
fn nodes_are_grouped_by_what_their_provider_id_says_and_uninitialized_ones_left_out() {
    let inventory = inventory(&json!({"cluster": {"nodes": [
        {"name": "a", "providerID": "aws:///eu-1/i-1"},
        {"name": "b", "providerID": "aws:////i-2"},
        {"name": "c", "providerID": "hcloud://bm-7"},
        {"name": "d", "providerID": "ocid1.instance.oc1"},
        {"name": "e"},
        {"name": "f", "taints": ["node.cloudprovider.kubernetes.io/uninitialized"]},
    ]}}));
    let expected = [
        (ProviderId::Scheme("aws".into()), 2),
        (ProviderId::Scheme("hrobot".into()), 1),
        (ProviderId::Bare("ocid1".into()), 1),
        (ProviderId::Missing, 1),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(id, nodes)| Provider { id, nodes })
        .collect();
    assert_eq!(inventory.view().cluster().providers, expected);
}

#[test]
fn a_namespace_that_is_not_listed_is_unknown_but_has_its_name_label() {
    let inventory = inventory(&json!({"namespaces": {"a": {"labels": {"team": "x"}}}}));
    assert_eq!(inventory.view().namespace("a").labels.len(), 2);
    assert!(inventory.view().namespace("a").known);
    let unknown = inventory.view().namespace("b");
    assert!(!unknown.known);
    assert_eq!(
        unknown.labels,
        vec![(NAME_LABEL.to_owned(), "b".to_owned())]
    );
}

#[test]
fn annotations_of_a_namespace_are_known_as_a_whole_or_not_at_all() {
    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let annotations = |length: usize| {
        json!({"namespaces": {"a": {"annotations":
            {"k": "v".repeat(length), APPLIED: "x".repeat(20_000)}}}})
    };
    let known = |value: &Value| inventory(value).view().namespace_annotations("a");
    let most = 16 * 1024 - 1;
    assert_eq!(
        known(&annotations(most)),
        Some(vec![("k".to_owned(), "v".repeat(most))]),
        "the manifest as it was applied is no annotation for policies"
    );
    assert_eq!(known(&annotations(most + 1)), None);
    assert_eq!(known(&json!({"namespaces": {"a": {}}})), Some(vec![]));
    assert_eq!(
        known(&json!({"namespaces": {"a": {"annotations": null}}})),
        None
    );
    assert_eq!(known(&json!({})), None);
}

#[test]
fn pods_are_unknown_unless_listed_and_an_empty_selector_selects_none() {
    let selector = [("app".to_owned(), "db".to_owned())];
    assert_eq!(
        Inventory::default().view().selected_pods("a", &selector),
        None
    );
    let inventory = inventory(&json!({"pods": [
        {"namespace": "a", "labels": {"app": "db"},
            "ports": [{"name": "web", "containerPort": 5432}]},
        {"namespace": "b", "labels": {"app": "db"}},
    ]}));
    assert_eq!(
        inventory
            .view()
            .selected_pods("a", &selector)
            .map(|pods| pods.len()),
        Some(1)
    );
    assert_eq!(inventory.view().selected_pods("a", &[]), Some(vec![]));
    assert_eq!(inventory.view().selected_pods("c", &selector), Some(vec![]));
}

fn namespace(name: &str, team: &str) -> Event {
    let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
    Event::Apply(Object::Namespace {
        name: name.to_owned(),
        labels,
        annotations: None,
        terminating: false,
    })
}

fn node(name: &str, provider_id: Option<&str>, taint: Option<&str>) -> Object {
    let taints = taint.into_iter().map(str::to_owned).collect();
    Object::Node {
        name: name.to_owned(),
        provider_id: provider_id.map(str::to_owned),
        taints,
    }
}

fn pod(namespace: &str, name: &str, app: &str) -> Object {
    let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    Object::Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels,
        ports: vec![(None, 80)],
    }
}

/// The inventory of a host with watchers.
struct Cluster {
    index: Index,
    current: Arc<Current>,
    inventory: Inventory,
}

impl Cluster {
    fn new() -> Self {
        let current = Arc::<Current>::default();
        let inventory = Inventory::of_cluster(&InventoryData::default(), Arc::clone(&current));
        Self {
            index: Index::new(),
            current,
            inventory,
        }
    }

    /// Returns true if any of them changed anything.
    fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        let changed = events
            .into_iter()
            .fold(false, |changed, event| self.index.apply(event) | changed);
        self.current.publish(&self.index);
        changed
    }

    fn selected(&self, namespace: &str, app: &str) -> Option<usize> {
        let selector = [("app".to_owned(), app.to_owned())];
        self.inventory
            .view()
            .selected_pods(namespace, &selector)
            .map(|pods| pods.len())
    }
}

#[test]
fn a_view_stays_as_it_was_while_events_arrive() {
    let mut cluster = Cluster::new();
    cluster.apply([
        namespace("a", "one"),
        Event::Apply(pod("a", "p", "web")),
        Event::Listed(Kind::Pods),
    ]);
    let inventory = cluster.inventory.clone();
    let (before, snapshot) = (inventory.view(), inventory.as_of_now());
    cluster.apply([
        namespace("a", "two"),
        Event::Delete(pod("a", "p", "")),
        namespace("b", "two"),
    ]);
    assert_eq!(
        before
            .namespace_labels("a")
            .map(|labels| labels["team"].as_str()),
        Some("one")
    );
    assert!(before.namespace_labels("b").is_none());
    assert!(
        snapshot.view().namespace_labels("b").is_none()
            && snapshot.view().namespace_labels("a").is_some()
    );
    let selector = [("app".to_owned(), "web".to_owned())];
    assert_eq!(
        before.selected_pods("a", &selector).map(|pods| pods.len()),
        Some(1)
    );
    assert_eq!(
        cluster
            .inventory
            .view()
            .namespace_labels("a")
            .map(|labels| labels["team"].as_str()),
        Some("two")
    );
    assert_eq!(cluster.selected("a", "web"), Some(0));
}

#[test]
fn what_a_new_list_does_not_name_is_gone_when_the_list_ends_and_not_before() {
    let mut cluster = Cluster::new();
    let list = |events: Vec<Event>| std::iter::once(Event::Listing(Kind::Namespaces)).chain(events);
    cluster.apply(list(vec![
        namespace("a", "one"),
        namespace("b", "one"),
        Event::Listed(Kind::Namespaces),
    ]));
    cluster.apply(list(vec![namespace("b", "one")]));
    assert!(cluster.inventory.view().namespace("a").known);
    // The list failed half-way, and begins anew.
    cluster.apply(list(vec![
        namespace("c", "one"),
        Event::Listed(Kind::Namespaces),
    ]));
    let view = cluster.inventory.view();
    let known = ["a", "b", "c"].map(|name| view.namespace(name).known);
    assert_eq!(known, [false, false, true]);
}

#[test]
fn pods_are_unknown_until_all_were_listed_and_again_when_they_are_not_watched_any_more() {
    let mut cluster = Cluster::new();
    cluster.apply([
        Event::Listing(Kind::Pods),
        Event::Apply(pod("a", "p", "web")),
    ]);
    assert_eq!(cluster.selected("a", "web"), None);
    cluster.apply([Event::Listed(Kind::Pods)]);
    assert_eq!(
        (cluster.selected("a", "web"), cluster.selected("b", "web")),
        (Some(1), Some(0))
    );
    cluster.apply([Event::Forget(Kind::Pods)]);
    assert_eq!(cluster.selected("a", "web"), None);
}

#[test]
fn equal_pods_are_listed_once_until_the_last_is_gone() {
    let mut cluster = Cluster::new();
    let pods = ["x", "y", "z"].map(|name| Event::Apply(pod("a", name, "web")));
    cluster.apply(pods.into_iter().chain([Event::Listed(Kind::Pods)]));
    assert_eq!(
        (
            cluster.index.count(Kind::Pods),
            cluster.selected("a", "web")
        ),
        (3, Some(1))
    );
    cluster.apply([
        Event::Delete(pod("a", "x", "")),
        Event::Apply(pod("a", "y", "db")),
    ]);
    assert_eq!(
        (cluster.selected("a", "web"), cluster.selected("a", "db")),
        (Some(1), Some(1))
    );
    cluster.apply([Event::Delete(pod("a", "z", ""))]);
    assert_eq!(
        (cluster.selected("a", "web"), cluster.selected("a", "db")),
        (Some(0), Some(1))
    );
}

#[test]
fn an_event_that_changes_nothing_that_policies_see_changes_nothing() {
    let mut cluster = Cluster::new();
    let all = || {
        [
            namespace("a", "x"),
            Event::Apply(node("n", Some("aws:///i"), None)),
            Event::Apply(pod("a", "p", "x")),
        ]
    };
    assert!(cluster.apply(all()));
    assert!(!cluster.apply(all()));
    assert!(!cluster.apply([
        Event::Delete(pod("a", "unheard-of", "x")),
        Event::Delete(node("m", None, None))
    ]));
}

fn providers(cluster: &Cluster) -> Vec<(ProviderId, u32)> {
    let providers = cluster.inventory.view().cluster().providers;
    providers
        .into_iter()
        .map(|provider| (provider.id, provider.nodes))
        .collect()
}

#[test]
fn annotations_of_namespaces_are_forgotten_when_no_policy_needs_them() {
    let mut cluster = Cluster::new();
    let object = |annotations| Object::Namespace {
        name: "a".to_owned(),
        labels: BTreeMap::new(),
        annotations,
        terminating: true,
    };
    let known = |cluster: &Cluster| cluster.inventory.view().namespace_annotations("a");
    cluster.apply([Event::Apply(object(Some(BTreeMap::new())))]);
    assert_eq!(known(&cluster), Some(vec![]));
    cluster.apply([Event::ForgetAnnotations]);
    assert_eq!(known(&cluster), None);
    assert!(cluster.inventory.view().namespace("a").known);
    assert_eq!(cluster.inventory.view().is_terminating("a"), Some(true));
    assert!(!cluster.apply([Event::Apply(object(None))]));
}

#[test]
fn nodes_are_unknown_until_all_were_listed_and_again_when_they_are_not_watched_any_more() {
    let mut cluster = Cluster::new();
    cluster.apply([
        Event::Listing(Kind::Nodes),
        Event::Apply(node("a", Some("aws:///z/i-1"), None)),
    ]);
    assert_eq!(providers(&cluster), []);
    assert!(
        cluster.apply([Event::Listed(Kind::Nodes)]),
        "which policies can see"
    );
    assert_eq!(providers(&cluster), [(ProviderId::Scheme("aws".into()), 1)]);
    cluster.apply([Event::Listing(Kind::Nodes)]);
    assert_eq!(providers(&cluster).len(), 1, "what was known stays");
    cluster.apply([
        Event::Forget(Kind::Nodes),
        Event::Apply(node("a", Some("aws:///z/i-1"), None)),
    ]);
    assert_eq!(providers(&cluster), []);
}

#[test]
fn a_node_counts_once_its_cloud_controller_has_seen_it_and_until_it_is_gone() {
    let mut cluster = Cluster::new();
    cluster.apply([Event::Listed(Kind::Nodes)]);
    let aws = ProviderId::Scheme("aws".into());
    cluster.apply([Event::Apply(node(
        "a",
        None,
        Some("node.cloudprovider.kubernetes.io/uninitialized"),
    ))]);
    assert_eq!(providers(&cluster), []);
    cluster.apply([
        Event::Apply(node("a", Some("aws:///z/i-1"), None)),
        Event::Apply(node("b", None, None)),
    ]);
    assert_eq!(
        providers(&cluster),
        [(aws.clone(), 1), (ProviderId::Missing, 1)]
    );
    cluster.apply([Event::Delete(node("b", None, None))]);
    assert_eq!(providers(&cluster), [(aws, 1)]);
}

#[test]
fn what_the_operator_says_wins_over_what_is_watched() {
    let data = json!({"cluster": {"environment": "onPrem", "nodePorts": {"from": 1, "to": 2},
        "nodes": [{"name": "x"}]}});
    let data = decode::from_value::<InventoryData>(&data).expect("valid");
    let (current, mut index) = (Arc::<Current>::default(), Index::new());
    index.apply(Event::Apply(node("a", Some("aws:///i-1"), None)));
    index.apply(Event::Listed(Kind::Nodes));
    current.publish(&index);
    let cluster = Inventory::of_cluster(&data, current).view().cluster();
    assert_eq!(
        (cluster.environment, cluster.node_ports.to),
        (Some(Environment::OnPrem), 2)
    );
    assert_eq!(
        cluster.providers,
        [Provider {
            id: ProviderId::Scheme("aws".into()),
            nodes: 1
        }]
    );
}

#[test]
fn an_inverted_range_is_an_error_with_its_path() {
    let value = json!({"cluster": {"nodePorts": {"from": 5, "to": 4}}});
    let error = decode::from_value::<InventoryData>(&value)
        .expect_err("inverted")
        .to_string();
    assert_eq!(
        error,
        "cluster.nodePorts: 5-4 is no range of ports; use 1 <= from <= to <= 65535"
    );
}
