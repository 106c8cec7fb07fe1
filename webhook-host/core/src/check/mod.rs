//! Check: judges the Services in plain manifests as a cluster would, before they get there.
//!
//! Each Service takes the API server's defaults, the patches of `/mutate`, the fields that the API
//! server allocates, and the review of `/validate`, through [`Admission`], as in a cluster. A
//! verdict that only allocation decides is reported as uncertain. The caller reads the files and
//! says what time it is.

mod allocation;
mod applied;
mod conflicts;
mod findings;
mod judge;
mod likeness;
pub mod manifests;
mod owned;
mod request;
mod reviewer;
pub mod stored;
mod strict;
mod worlds;

pub use applied::{Applied, AsType};
pub use manifests::{Manifests, Origin};
pub use strict::{Problem, Rejection};

use crate::admission::Admission;
use crate::api_server::{defaults, update};
use crate::decode::{self, describe};
use crate::inventory::{InventoryData, NamespaceData};
use crate::report::check::{Finding, Subject};
use crate::suite::User;
use crate::yaml::Located;
use conflicts::NodePorts;
use judge::Judge;
use reviewer::Reviewer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The policies, inventory and user with which manifests are judged.
pub struct Circumstances<'a> {
    /// The policies, and the inventory that they see.
    pub admission: &'a Admission,
    /// The namespace of Services that name none.
    pub namespace: &'a str,
    /// The user who applies the manifests.
    pub user: User,
    /// The time at which they are applied.
    pub now: SystemTime,
    /// The Services as they are now: those in it are judged as updates, the others as new.
    pub old: &'a Manifests,
    /// Called after each Service with the number of judged Services and of all.
    pub progress: &'a mut dyn FnMut(usize, usize),
}

/// Judges every Service of the manifests, in their order. Files that can't be read come first.
pub fn check(circumstances: Circumstances<'_>, manifests: Manifests) -> Vec<Subject> {
    let mut judge = circumstances.judge();
    let progress = circumstances.progress;
    let mut node_ports = NodePorts::default();
    let all = manifests.services.len();
    let judged = manifests
        .services
        .iter()
        .enumerate()
        .map(|(index, (source, located))| {
            let judged = judge.judge(source, located);
            let refused = strict::findings(located, &judged);
            let mut subject = judged.subject;
            subject.findings.extend(refused);
            node_ports.add(&mut subject, &judged.service, located);
            progress(index + 1, all);
            subject
        });
    let judged: Vec<_> = judged.collect();
    manifests.unread.into_iter().chain(judged).collect()
}

/// Applies every Service of the manifests, in their order, as `kubectl apply` would: each gets the
/// one answer of an API server that allocates its lowest node ports. [`check`] also finds what
/// another choice of ports would change.
pub fn apply(circumstances: &Circumstances<'_>, manifests: &Manifests) -> Vec<Applied> {
    let judge = circumstances.judge();
    let services = manifests.services.iter();
    services
        .filter_map(|(_, located)| judge.apply(located).ok())
        .collect()
}

impl<'a> Circumstances<'a> {
    fn judge(&self) -> Judge<'a> {
        Judge {
            reviewer: Reviewer::new(self.admission, self.now),
            namespace: self.namespace,
            user: self.user.clone(),
            old: old_services(self.old, self.namespace),
            unknown: BTreeSet::new(),
        }
    }
}

/// The Services as the API server has them.
fn old_services(old: &Manifests, namespace: &str) -> judge::OldServices {
    let services = old.services.iter().map(|(_, located)| {
        let mut service = located.value();
        defaults::apply(&mut service);
        update::restore(&mut service);
        owned::write(&mut service, None);
        (request::key(&service, namespace), Arc::new(service))
    });
    services.collect()
}

/// Adds labels and annotations of Namespaces that the configuration lacks. Returns findings for
/// those that can't be read.
pub fn namespaces(found: &[(String, Located)], inventory: &mut InventoryData) -> Vec<Subject> {
    let (mut known, mut unread) = (BTreeMap::new(), vec![]);
    for (source, located) in found {
        let mut value = located.value();
        defaults::empty_texts(&mut value);
        let Some(name) = value.pointer("/metadata/name").and_then(Value::as_str) else {
            continue;
        };
        let texts = |field| texts(&value, field).map_err(|problem| (field, problem));
        match texts("labels").and_then(|labels| Ok((labels, texts("annotations")?))) {
            Ok((labels, annotations)) => {
                let data = NamespaceData {
                    labels,
                    annotations: Some(annotations),
                    ..NamespaceData::default()
                };
                known.insert(name.to_owned(), data);
            }
            Err((field, problem)) => {
                let problem = Finding {
                    field: format!("metadata.{field}"),
                    ..Finding::unjudged("", problem, located.line())
                };
                unread.push(Subject {
                    line: located.line(),
                    findings: vec![problem],
                    ..Subject::unread(source, String::new())
                });
            }
        }
    }
    for (name, data) in known {
        inventory.namespaces.entry(name).or_insert(data);
    }
    unread
}

/// Reads the labels or the annotations of a Namespace.
fn texts(namespace: &Value, field: &str) -> Result<BTreeMap<String, String>, String> {
    match namespace["metadata"].get(field) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(texts) => decode::from_value(texts)
            .map_err(|_| format!("expected an object of strings, found {}", describe(texts))),
    }
}
