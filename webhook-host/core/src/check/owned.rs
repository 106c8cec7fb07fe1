//! `metadata.managedFields` as the API server writes them for `kubectl apply` or `create`: which
//! fields the client set.
//!
//! Policies use them to distinguish a node port that a client chose from an allocated one, and a
//! manifest has no managedFields. The API server records what it defaults as if the client had set
//! it, and never what it allocates (seen on 1.20 and 1.36).

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Records that the client set every field of the spec. An object that has managedFields keeps
/// them. A node port that an update leaves unchanged keeps its owner.
pub(super) fn write(service: &mut Value, old: Option<&Value>) {
    let Some(spec) = service["spec"].as_object() else {
        return;
    };
    let not_the_clients = old.map(allocated).unwrap_or_default();
    let mut fields = Map::new();
    for (key, value) in spec.iter().filter(|(_, value)| !value.is_null()) {
        match value.as_array().filter(|_| key == "ports") {
            Some(ports) => {
                fields.insert("f:ports".to_owned(), port_fields(ports, &not_the_clients))
            }
            None => fields.insert(format!("f:{key}"), json!({})),
        };
    }
    if spec
        .get("healthCheckNodePort")
        .is_none_or(|port| *port == 0 || old.is_some_and(|old| has_allocated_check(old, port)))
    {
        fields.remove("f:healthCheckNodePort");
    }
    let entry = json!({
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields},
    });
    let Some(meta) = service.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if managers(meta.get("managedFields")).next().is_none() {
        meta.insert("managedFields".to_owned(), json!([entry]));
    }
}

/// A node port and the key of its port.
type NodePort = (String, i64);

fn port_fields(ports: &[Value], not_the_clients: &BTreeSet<NodePort>) -> Value {
    let mut fields = Map::from_iter([(".".to_owned(), json!({}))]);
    for port in ports.iter().filter_map(Value::as_object) {
        let mut of_port: Map<String, Value> = port
            .keys()
            .map(|key| (format!("f:{key}"), json!({})))
            .collect();
        let key = key(port);
        let number = port
            .get("nodePort")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        if number == 0 || not_the_clients.contains(&(key.clone(), number)) {
            of_port.remove("f:nodePort");
        }
        fields.insert(key, of_port.into());
    }
    fields.into()
}

/// The key of a port in managedFields.
fn key(port: &Map<String, Value>) -> String {
    let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
    let protocol = port
        .get("protocol")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .unwrap_or("TCP");
    format!(r#"k:{{"port":{number},"protocol":"{protocol}"}}"#)
}

/// Returns the node ports that no client of an object chose, by its managedFields.
fn allocated(object: &Value) -> BTreeSet<NodePort> {
    let managed = &object["metadata"]["managedFields"];
    let ports = object["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object);
    let ports = ports.filter_map(|port| Some((key(port), port.get("nodePort")?.as_i64()?)));
    let owned = |key: &str| {
        spec_fields(managed).any(|spec| spec["f:ports"][key].get("f:nodePort").is_some())
    };
    ports
        .filter(|(key, _)| managers(Some(managed)).next().is_some() && !owned(key))
        .collect()
}

fn has_allocated_check(old: &Value, port: &Value) -> bool {
    let managed = &old["metadata"]["managedFields"];
    let is_owned = spec_fields(managed).any(|spec| spec.get("f:healthCheckNodePort").is_some());
    old["spec"]["healthCheckNodePort"] == *port
        && managers(Some(managed)).next().is_some()
        && !is_owned
}

fn managers(managed: Option<&Value>) -> impl Iterator<Item = &Value> {
    managed.and_then(Value::as_array).into_iter().flatten()
}

fn spec_fields(managed: &Value) -> impl Iterator<Item = &Value> {
    managers(Some(managed)).map(|manager| &manager["fieldsV1"]["f:spec"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service;

    fn by_client(service: &Value) -> Vec<bool> {
        let service = service::from_value(service).expect("a Service");
        service
            .spec
            .ports
            .iter()
            .map(|port| port.node_port_by_client)
            .collect()
    }

    #[test]
    fn what_is_filled_in_later_is_not_the_clients() {
        let ports = json!([{"port": 80, "nodePort": 30080}, {"port": 81}]);
        let mut service =
            json!({"metadata": {"name": "w"}, "spec": {"type": "NodePort", "ports": ports}});
        write(&mut service, None);
        service["spec"]["ports"][1]["nodePort"] = 30081.into();
        assert_eq!(by_client(&service), [true, false]);
        let mut again = service.clone();
        write(&mut again, None);
        assert_eq!(again, service, "an object keeps its own");
    }

    #[test]
    fn an_update_that_repeats_an_allocated_node_port_does_not_choose_it() {
        let mut old = json!({"metadata": {},
            "spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}});
        write(&mut old, None);
        old["spec"]["ports"] =
            json!([{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}]);
        let mut new = json!({"metadata": {}, "spec": old["spec"].clone()});
        new["spec"]["ports"][1]["nodePort"] = 30082.into();
        write(&mut new, Some(&old));
        assert_eq!(by_client(&new), [false, true]);
    }
}
