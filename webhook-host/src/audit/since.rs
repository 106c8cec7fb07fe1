//! The doors that were opened or closed, or got wider or narrower, since an earlier run of
//! `exposures`, by its JSON.
//!
//! A door is the same one while what opens it is the same: the load balancer of a Service, a number
//! of a node port, an external IP, an annotation.

use super::row::Row;
use super::scope::Scope;
use crate::exposure::{Change, Door, DoorKind, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A door of an earlier run. What the policies said of it then is not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `namespace/name` of its Service.
    pub service: String,
    /// The door.
    #[serde(flatten)]
    pub door: Door,
}

/// A door that got wider or narrower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The door as it is now.
    #[serde(flatten)]
    pub told: Told,
    /// The ways in which it changed.
    pub changes: Vec<Change>,
}

/// An earlier run.
#[derive(Debug, Clone, Deserialize)]
pub struct Earlier {
    /// Its time, RFC 3339.
    pub time: String,
    /// What it could not see.
    #[serde(default)]
    pub gaps: Vec<String>,
    exposures: Vec<Told>,
    #[serde(default)]
    states: BTreeMap<String, State>,
    /// The Services that it looked at.
    #[serde(default)]
    pub scope: Scope,
}

/// The reason why a file is no earlier run.
#[derive(Debug, thiserror::Error)]
#[error("expected what `sallyport exposures --output json` prints: {0}")]
pub struct EarlierError(String);

/// The difference to an earlier run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The time of the earlier run.
    pub time: String,
    /// Doors that it did not have.
    pub opened: Vec<Told>,
    /// Doors that admit more than then, or lead elsewhere.
    pub widened: Vec<Changed>,
    /// Doors that admit less than then, and nothing more.
    pub narrowed: Vec<Changed>,
    /// Doors that are gone.
    pub closed: Vec<Told>,
}

/// A door and the state of its Service.
#[derive(Clone, Copy)]
struct At<'a> {
    door: &'a Door,
    state: Option<&'a State>,
}

impl Earlier {
    /// Reads the JSON of an earlier run.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn read(json: &[u8]) -> Result<Self, EarlierError> {
        serde_json::from_slice(json).map_err(|error| EarlierError(error.to_string()))
    }

    /// Returns a reason why this run can't tell everything about its doors.
    pub fn lack(&self) -> Option<&'static str> {
        let has_state = |told: &Told| self.states.contains_key(&told.service);
        (!self.exposures.iter().all(has_state)).then_some(
            "the earlier run lacks the states of Services: source ranges, address families, \
             selectors and annotations that changed since are not told",
        )
    }

    /// Returns the namespaces of doors that this run did not look at, and a later one did.
    pub fn unseen<'a>(&self, now: impl Iterator<Item = &'a Row>) -> BTreeSet<&'a str> {
        let rows = now.filter(|row| !row.doors.is_empty() && !self.scope.has(&row.service));
        rows.map(Row::namespace).collect()
    }

    /// Compares with the doors of now, of Services that both runs looked at.
    pub fn compare<'a>(self, now: impl Iterator<Item = &'a Row>, scope: &Scope) -> Since {
        let key = |service: &str, door: &Door| format!("{service} {}", door.identity());
        let mut before: BTreeMap<_, _> = self
            .exposures
            .into_iter()
            .filter(|told| scope.has(&told.service))
            .map(|told| (key(&told.service, &told.door), told))
            .collect();
        let mut since = Since {
            time: self.time,
            ..Since::default()
        };
        for row in now.filter(|row| self.scope.has(&row.service)) {
            for exposure in &row.doors {
                let told = Told {
                    service: row.service.clone(),
                    door: exposure.door.clone(),
                };
                let Some(old) = before.remove(&key(&told.service, &told.door)) else {
                    since.opened.push(told);
                    continue;
                };
                let old = At {
                    door: &old.door,
                    state: self.states.get(&old.service),
                };
                let new = At {
                    door: &exposure.door,
                    state: row.state.as_ref(),
                };
                let (widened, narrowed) = (widened(old, new), widened_back(old, new));
                if !widened.is_empty() {
                    let changes = widened;
                    since.widened.push(Changed { told, changes });
                } else if !narrowed.is_empty() {
                    let changes = narrowed;
                    since.narrowed.push(Changed { told, changes });
                }
            }
        }
        since.closed = before.into_values().collect();
        let order = |told: &Told| (told.door.opens, told.service.clone());
        for told in [&mut since.opened, &mut since.closed] {
            told.sort_by_key(order);
        }
        for changed in [&mut since.widened, &mut since.narrowed] {
            changed.sort_by_key(|changed| order(&changed.told));
        }
        since
    }
}

/// Returns the ways in which a door got wider.
fn widened(old: At<'_>, new: At<'_>) -> Vec<Change> {
    let mut changes = vec![];
    let mut add = |what: &str, before: String, after: String| {
        changes.push(Change {
            what: what.to_owned(),
            before,
            after,
        });
    };
    let (before, after) = (old.door, new.door);
    if after.opens < before.opens {
        add(
            "opens to",
            before.opens.text().to_owned(),
            after.opens.text().to_owned(),
        );
    }
    if after.ports.iter().any(|port| !before.ports.contains(port)) {
        add("ports", before.ports.join(", "), after.ports.join(", "));
    }
    if has_wider_address(before, after) {
        add("address", before.address.clone(), after.address.clone());
    }
    if let (Some(old), Some(new)) = (old.state, new.state) {
        let port = after.ports.first().map_or("", String::as_str);
        changes.extend(old.widened(new, after.kind, port).unwrap_or_default());
    }
    changes
}

/// Returns the ways in which a door got narrower, each with the former value first.
fn widened_back(old: At<'_>, new: At<'_>) -> Vec<Change> {
    let back = widened(new, old).into_iter();
    back.map(
        |Change {
             what,
             before,
             after,
         }| Change {
            what,
            before: after,
            after: before,
        },
    )
    .collect()
}

/// Returns true if a door is found at an address where it was not. A node port is, once every node
/// answers and not only those with its Pods; the other kinds have one address each.
fn has_wider_address(before: &Door, after: &Door) -> bool {
    match after.kind {
        DoorKind::NodePort => {
            before.address != after.address && after.address.starts_with("every node")
        }
        DoorKind::LoadBalancer => {
            let known: Vec<_> = before.address.split(", ").collect();
            let is_pending = after.address == Door::PENDING;
            !is_pending
                && after
                    .address
                    .split(", ")
                    .any(|address| !known.contains(&address))
        }
        DoorKind::Exported => before.address != after.address,
        DoorKind::ExternalIp | DoorKind::Shared | DoorKind::Alias => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Exposure, Ruling};
    use serde_json::{Value, json};

    fn told(service: &str, kind: &str, opens: &str, address: &str) -> Value {
        json!({"service": service, "kind": kind, "opens": opens, "ports": ["TCP 80"],
            "address": address, "reason": "another", "field": "g", "policy": {"allowedBy": []}})
    }

    fn row(service: &str, told: Value) -> Row {
        Row {
            service: service.to_owned(),
            doors: vec![Exposure {
                door: serde_json::from_value(told).expect("a door"),
                policy: Ruling::default(),
            }],
            ..Row::default()
        }
    }

    fn compare(before: Vec<Value>, after: Vec<(&str, Value)>) -> Since {
        let earlier = json!({"time": "t", "services": 2, "exposures": before});
        let earlier = Earlier::read(earlier.to_string().as_bytes()).expect("an earlier run");
        let rows: Vec<_> = after
            .into_iter()
            .map(|(service, told)| row(service, told))
            .collect();
        earlier.compare(rows.iter(), &Scope::default())
    }

    fn port(number: u16) -> Value {
        told("n/w", "nodePort", "nodes", &format!("every node:{number}"))
    }

    fn addresses(told: &[Told]) -> Vec<&str> {
        told.iter().map(|told| told.door.address.as_str()).collect()
    }

    fn changes(changed: &[Changed]) -> Vec<String> {
        let changes = changed.iter().flat_map(|changed| &changed.changes);
        changes
            .map(|change| format!("{}: {} -> {}", change.what, change.before, change.after))
            .collect()
    }

    #[test]
    fn what_was_opened_and_closed_is_told_and_the_rest_is_not() {
        let now = vec![("n/w", port(30081)), ("n/w", port(30082))];
        let since = compare(vec![port(30080), port(30081)], now);
        assert_eq!(addresses(&since.opened), ["every node:30082"]);
        assert_eq!(addresses(&since.closed), ["every node:30080"]);
        assert_eq!((since.widened, since.narrowed), (vec![], vec![]));
    }

    #[test]
    fn a_load_balancer_that_became_public_is_the_same_door_and_wider() {
        let balancer = |opens, address| told("n/w", "loadBalancer", opens, address);
        let internal = balancer("internal", "10.0.0.1");
        let public = balancer("public", "10.0.0.1");
        let since = compare(vec![internal.clone()], vec![("n/w", public.clone())]);
        assert_eq!(changes(&since.widened), ["opens to: internal -> anyone"]);
        assert!(since.opened.is_empty() && since.closed.is_empty());
        let since = compare(vec![public], vec![("n/w", internal.clone())]);
        assert_eq!(changes(&since.narrowed), ["opens to: anyone -> internal"]);
        let second = balancer("internal", "10.0.0.1, 10.0.0.2");
        let since = compare(vec![internal], vec![("n/w", second)]);
        assert_eq!(
            changes(&since.widened),
            ["address: 10.0.0.1 -> 10.0.0.1, 10.0.0.2"]
        );
    }

    #[test]
    fn a_load_balancer_that_gets_its_first_address_is_wider() {
        let balancer = |address| told("n/w", "loadBalancer", "public", address);
        let since = compare(
            vec![balancer(Door::PENDING)],
            vec![("n/w", balancer("192.0.2.1"))],
        );
        assert_eq!(
            changes(&since.widened),
            ["address: not given yet -> 192.0.2.1"]
        );
        let since = compare(
            vec![balancer("192.0.2.1")],
            vec![("n/w", balancer(Door::PENDING))],
        );
        assert!(since.widened.is_empty());
    }

    #[test]
    fn a_node_port_of_every_node_is_wider_than_one_with_pods() {
        let local = told("n/w", "nodePort", "nodes", "nodes with its Pods:30080");
        let since = compare(vec![local.clone()], vec![("n/w", port(30080))]);
        let expected = "address: nodes with its Pods:30080 -> every node:30080";
        assert_eq!(changes(&since.widened), [expected]);
        let since = compare(vec![port(30080)], vec![("n/w", local)]);
        assert!(since.widened.is_empty() && since.narrowed.len() == 1);
    }

    #[test]
    fn only_services_that_both_runs_looked_at_are_compared() {
        let scope = |only: &[&str], hidden: &[&str]| {
            let only = only.to_vec();
            json!({"namespaces": only, "hidden": hidden})
        };
        let compared = |earlier: Value, now: Value| {
            let doors = |name: &str| told(name, "nodePort", "nodes", "every node:30080");
            let earlier = json!({"time": "t", "scope": earlier,
                "exposures": [doors("a/w"), doors("b/w")]});
            let earlier = Earlier::read(earlier.to_string().as_bytes()).expect("an earlier run");
            let now: Scope = serde_json::from_value(now).expect("a scope");
            let rows = [row("c/w", doors("c/w"))];
            let unseen = earlier.unseen(rows.iter()).len();
            let since = earlier.compare(rows.iter(), &now);
            (since.opened.len(), since.closed.len(), unseen)
        };
        let all = || scope(&[], &[]);
        assert_eq!(compared(all(), all()), (1, 2, 0));
        assert_eq!(compared(all(), scope(&["b", "c"], &[])), (1, 1, 0));
        assert_eq!(compared(all(), scope(&[], &["a", "b"])), (1, 0, 0));
        assert_eq!(compared(scope(&["a", "b"], &[]), all()), (0, 2, 1));
        assert_eq!(compared(scope(&[], &["c"]), all()), (0, 2, 1));
    }

    #[test]
    fn a_run_without_states_says_that_it_can_not_tell_everything() {
        let earlier = |states: Value| {
            let earlier = json!({"time": "t", "exposures": [port(30080)], "states": states});
            Earlier::read(earlier.to_string().as_bytes()).expect("an earlier run")
        };
        assert!(earlier(json!({})).lack().is_some());
        assert!(earlier(json!({"n/w": {}})).lack().is_none());
    }

    #[test]
    fn another_file_is_no_earlier_run() {
        for text in ["", "{}", "[]", r#"{"time": "t", "exposures": [{}]}"#] {
            let error = Earlier::read(text.as_bytes()).expect_err(text).to_string();
            assert!(
                error.contains("sallyport exposures --output json"),
                "{error}"
            );
        }
    }
}
