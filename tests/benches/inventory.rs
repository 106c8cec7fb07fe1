//! Measures the inventory of a large cluster: memory, and the time of a change and of a look-up.
//! Run by `cargo bench --package sallyport-tests --bench inventory`.
//!
//! The bench feeds events into the index and publishes in batches, as the host's writer does. Small
//! clusters stand beside large ones, to show growth; no figure is asserted.

use anyhow::{Context as _, Result, ensure};
use sallyport::watchers::Watched;
use sallyport_core::inventory::{Event, Index, Inventory, InventoryData, Kind, Object};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// The number of events between two published versions: a busy batch of 50 ms.
const BATCH: usize = 1000;

/// The number of changes and look-ups that are measured.
const ROUNDS: usize = 1000;

/// The size of a cluster. Each case runs in a process of its own, since freed memory is reused.
struct Case {
    kind: Kind,
    objects: usize,
    namespaces: usize,
    /// The number of Pods with the same labels, as in a Deployment. One is the worst case: the Pods
    /// of a StatefulSet all differ.
    replicas: usize,
}

const CASES: [Case; 9] = [
    Case {
        kind: Kind::Namespaces,
        objects: 1000,
        namespaces: 1000,
        replicas: 1,
    },
    Case {
        kind: Kind::Namespaces,
        objects: 10_000,
        namespaces: 10_000,
        replicas: 1,
    },
    Case {
        kind: Kind::Nodes,
        objects: 500,
        namespaces: 1,
        replicas: 1,
    },
    Case {
        kind: Kind::Pods,
        objects: 5000,
        namespaces: 100,
        replicas: 10,
    },
    Case {
        kind: Kind::Pods,
        objects: 50_000,
        namespaces: 1000,
        replicas: 10,
    },
    Case {
        kind: Kind::Pods,
        objects: 50_000,
        namespaces: 1,
        replicas: 10,
    },
    Case {
        kind: Kind::Pods,
        objects: 5000,
        namespaces: 100,
        replicas: 1,
    },
    Case {
        kind: Kind::Pods,
        objects: 50_000,
        namespaces: 1000,
        replicas: 1,
    },
    Case {
        kind: Kind::Pods,
        objects: 50_000,
        namespaces: 1,
        replicas: 1,
    },
];

fn main() -> Result<()> {
    let case = std::env::args()
        .nth(1)
        .and_then(|place| CASES.get(place.parse::<usize>().ok()?));
    if let Some(case) = case {
        return case.keep();
    }
    println!(
        "{:<50}{:>10}{:>12}{:>14}",
        "objects", "MiB more", "bytes each", "us an event"
    );
    for place in 0..CASES.len() {
        let status = Command::new(std::env::current_exe()?)
            .arg(place.to_string())
            .status()?;
        ensure!(status.success(), "measuring failed: {status}");
    }
    println!(
        "\n{:<50}{:>14}{:>14}",
        "one Pod among", "us a change", "us a look-up"
    );
    for (pods, namespaces) in [(500, 10), (5000, 100), (50_000, 1000), (50_000, 1)] {
        one(pods, namespaces);
    }
    Ok(())
}

impl Case {
    fn object(&self, place: usize) -> Object {
        match self.kind {
            Kind::Namespaces => namespace(place),
            Kind::Nodes => node(place),
            Kind::Pods => pod(place, self.namespaces, self.replicas),
        }
    }

    fn name(&self) -> String {
        let Self {
            kind,
            objects,
            namespaces,
            replicas,
        } = self;
        match kind {
            Kind::Pods => format!("{objects} pods in {namespaces} namespaces, {replicas} alike"),
            kind => format!("{objects} {}", kind.resource()),
        }
    }

    /// Lists the objects into an empty index, publishes after each batch, and prints time and
    /// memory.
    fn keep(&self) -> Result<()> {
        let before = resident()?;
        let (watched, mut index) = (Watched::new(), Index::new());
        let began = Instant::now();
        index.apply(Event::Listing(self.kind));
        for place in 0..self.objects {
            index.apply(Event::Apply(self.object(place)));
            if place % BATCH == 0 {
                watched.publish(&index);
            }
        }
        index.apply(Event::Listed(self.kind));
        watched.publish(&index);
        let took = began.elapsed().as_secs_f64() * 1e6;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let (more, objects) = (
            resident()?.saturating_sub(before) as f64 * 1024.0,
            self.objects as f64,
        );
        let mib = more / f64::from(1 << 20);
        println!(
            "{:<50}{mib:>10.1}{:>12.0}{:>14.2}",
            self.name(),
            more / objects,
            took / objects
        );
        Ok(())
    }
}

/// Changes one Pod, publishes, and looks it up.
fn one(pods: usize, namespaces: usize) {
    let (watched, mut index) = (Watched::new(), Index::new());
    for place in 0..pods {
        index.apply(Event::Apply(pod(place, namespaces, 10)));
    }
    index.apply(Event::Listed(Kind::Pods));
    watched.publish(&index);
    let inventory = Inventory::of_cluster(&InventoryData::default(), Arc::clone(watched.current()));
    let began = Instant::now();
    for round in 0..ROUNDS {
        index.apply(Event::Apply(labelled(
            0,
            namespaces,
            &format!("app-{round}"),
        )));
        watched.publish(&index);
    }
    let change = micros(began);
    let selector = [("app".to_owned(), "app-1".to_owned())];
    let began = Instant::now();
    for _ in 0..ROUNDS {
        black_box(
            inventory
                .view()
                .selected_pods("namespace-1", black_box(&selector)),
        );
    }
    let look_up = micros(began);
    println!(
        "{:<50}{change:>14.1}{look_up:>14.1}",
        format!("{pods} in {namespaces} namespaces")
    );
}

#[expect(clippy::cast_precision_loss, reason = "a small constant")]
fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Returns a namespace with typical labels.
fn namespace(place: usize) -> Object {
    let labels = pairs([
        (
            "pod-security.kubernetes.io/enforce",
            "restricted".to_owned(),
        ),
        ("team", format!("team-{}", place % 40)),
        ("exposure", "internal".to_owned()),
    ]);
    Object::Namespace {
        name: format!("namespace-{place}"),
        labels,
        annotations: None,
        terminating: false,
    }
}

fn node(place: usize) -> Object {
    let provider_id = Some(format!("aws:///eu-central-1a/i-{place:017x}"));
    Object::Node {
        name: format!("ip-10-0-{}-{}.internal", place / 250, place % 250),
        provider_id,
        taints: vec![],
    }
}

fn pod(place: usize, namespaces: usize, replicas: usize) -> Object {
    labelled(
        place,
        namespaces,
        &format!("app-{}", place / namespaces / replicas),
    )
}

/// Returns the labels that Helm and a ReplicaSet set.
fn labelled(place: usize, namespaces: usize, app: &str) -> Object {
    let labels = pairs([
        ("app", app.to_owned()),
        ("app.kubernetes.io/instance", app.to_owned()),
        ("app.kubernetes.io/name", "backend".to_owned()),
        ("app.kubernetes.io/managed-by", "Helm".to_owned()),
        ("pod-template-hash", "7c5ddbdf54".to_owned()),
    ]);
    let ports = vec![
        (Some("http".to_owned()), 8080),
        (Some("metrics".to_owned()), 9090),
    ];
    let namespace = format!("namespace-{}", place % namespaces);
    Object::Pod {
        namespace,
        name: format!("{app}-7c5ddbdf54-{place:05}"),
        labels,
        ports,
    }
}

/// Returns the resident memory of this process in KiB.
fn resident() -> Result<u64> {
    sallyport_tests::resident(std::process::id()).context("no VmRSS")
}
