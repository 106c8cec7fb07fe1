//! The requests of a benchmark: one Service of each type, and Services that grow.

use anyhow::Result;
use sallyport_core::admission::{AdmissionRequest, Function};
use sallyport_core::contract::description::Description;
use sallyport_core::contract::review::{Operation, Resource};
use sallyport_core::suite::{Asked, User};
use serde_json::{Map, Value, json};

/// A request to one function of a policy.
pub(super) struct Asking {
    pub(super) function: Function,
    body: Vec<u8>,
}

impl Asking {
    /// Creates a request with the first operation and resource that the policy asks for, as the API
    /// server names them. An update changes nothing.
    pub(super) fn new(function: Function, service: &Value, description: &Description) -> Self {
        let wants = |operation| description.operations.contains(&operation);
        let operation = if wants(Operation::Create) {
            "CREATE"
        } else if wants(Operation::Update) {
            "UPDATE"
        } else {
            "DELETE"
        };
        let of_services = description.resources.contains(&Resource::Services);
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str);
        let asked = Asked {
            kind: (String::new(), "v1".to_owned(), "Service".to_owned()),
            operation,
            sub_resource: (!of_services).then(|| "status".to_owned()),
            name: text("/metadata/name").unwrap_or_default().to_owned(),
            namespace: text("/metadata/namespace").unwrap_or("default").to_owned(),
            user: User::default(),
            dry_run: false,
            object: None,
            old_object: (operation != "CREATE").then(|| service.clone()),
        };
        let object = match operation {
            "DELETE" => "null".to_owned(),
            _ => service.to_string(),
        };
        Self {
            function,
            body: asked.body(&object),
        }
    }

    /// Parses the request.
    pub(super) fn request(&self) -> Result<AdmissionRequest<'_>> {
        Ok(AdmissionRequest::parse(&self.body)?)
    }
}

/// Returns a Service of each type that has ports, with its type as name.
pub(super) fn services() -> Vec<(String, Value)> {
    let of = |kind: &str| (kind.to_owned(), service(kind, 1, 1));
    ["ClusterIP", "NodePort", "LoadBalancer"].map(of).to_vec()
}

/// Returns a NodePort Service with so many ports.
pub(super) fn with_ports(count: usize) -> Value {
    service("NodePort", count, 1)
}

/// Returns a NodePort Service with so many annotations, of 100 bytes each.
pub(super) fn with_annotations(count: usize) -> Value {
    service("NodePort", 1, count)
}

/// Returns a Service as the API server sends it in the validating phase.
fn service(kind: &str, ports: usize, annotations: usize) -> Value {
    let node_ports = kind != "ClusterIP";
    let port = |index: usize| {
        // Each protocol may use a node port once.
        let protocol = ["TCP", "UDP", "SCTP"][index % 3];
        let number = 8000 + index / 3;
        let mut port = json!({
            "name": format!("p-{index}"), "protocol": protocol, "port": number,
            "targetPort": number,
        });
        if node_ports {
            port["nodePort"] = (30_000 + index / 3).into();
        }
        port
    };
    let annotation = |index: usize| {
        let (key, value) = (format!("example.com/note-{index:04}"), "n".repeat(78));
        (key, Value::from(value))
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web",
            "namespace": "default",
            "uid": "1566e749-2844-408a-b8f8-d5c2af31a09a",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/name": "web"},
            "annotations": (0..annotations).map(annotation).collect::<Map<_, _>>(),
        },
        "spec": {
            "type": kind,
            "selector": {"app.kubernetes.io/name": "web"},
            "ports": (0..ports).map(port).collect::<Vec<_>>(),
            "clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
        },
        "status": {"loadBalancer": {}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::service;

    #[test]
    fn services_of_a_benchmark_are_services() {
        let grown = [with_ports(1000), with_annotations(1000)];
        for value in services().into_iter().map(|(_, value)| value).chain(grown) {
            let text = value.to_string();
            service::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
}
