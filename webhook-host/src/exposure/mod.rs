//! The doors of a Service: each way in which it is reached from outside of its cluster, or leads
//! out of it.
//!
//! `explain` reads `Reach` from here, and `exposures` and `audit` the doors. All of them decide
//! by the tables of `sallyport_facts` and the functions of the policies' SDK. Pure: no client and
//! no clock.

mod alias;
mod annotations;
mod balancer;
mod converted;
mod door;
mod infrastructure;
mod reach;
mod sources;
mod state;
mod written;

pub(crate) use alias::destination;
pub use door::{Door, DoorKind, Opens};
pub(crate) use infrastructure::Infrastructures;
pub(crate) use reach::Reach;
pub use state::{Change, State};
pub use written::Written;

use balancer::{balancer, serving};
use converted::converted;
use sallyport_core::contract::review::ProviderId;
use sallyport_core::contract::service::Service;
use sallyport_core::excerpt::excerpt;
use sallyport_facts::addresses::{Checked, asked};
use sallyport_facts::reach::bears_on_reach;
use sallyport_facts::sharing;
use sallyport_policy::service::{self as sdk, ServiceType};
use sallyport_policy::{NodePortInUse, UsedAs, review};
use serde_json::value::RawValue;
use sources::Sources;
use written::Managers;

/// Returns the doors of a Service, the widest first. `object` is its JSON text, for its
/// managedFields; `providers` are those of the cluster's Nodes.
pub fn doors(service: &Service, object: &RawValue, providers: &[ProviderId]) -> Vec<Door> {
    let converted = converted(service);
    let finder = Finder {
        service: &converted,
        status: service,
        managers: None,
    };
    let mut doors = finder.doors(providers);
    if !doors.is_empty() {
        let finder = Finder {
            managers: Some(Managers::of(object)),
            ..finder
        };
        doors.iter_mut().for_each(|found| finder.name_writer(found));
    }
    doors.sort_by_key(|found| found.door.opens);
    doors.into_iter().map(|found| found.door).collect()
}

/// A door, and the paths in managedFields of what opens it.
struct Found {
    door: Door,
    path: Vec<String>,
}

struct Finder<'a> {
    service: &'a sdk::Service,
    status: &'a Service,
    managers: Option<Managers>,
}

const TYPE: &str = "spec.type";

impl Finder<'_> {
    fn doors(&self, providers: &[ProviderId]) -> Vec<Found> {
        let service = self.service;
        let mut doors = vec![];
        if service.service_type() == ServiceType::LoadBalancer {
            doors.push(self.load_balancer(providers));
        }
        doors.extend(self.exported());
        for (index, ip) in service.live_external_ips().iter().enumerate() {
            let field = format!("spec.externalIPs[{index}]");
            let reason = "nodes accept traffic for this address";
            let found = self.external_ip(ip, &field, reason, path(&["f:spec", "f:externalIPs"]));
            doors.push(found);
        }
        for asked in asked(service, Checked::Nothing) {
            let path = annotation_path("f:annotations", asked.key);
            let reason = "its controller takes any address that the annotation names";
            doors.push(self.external_ip(asked.text, &annotation(asked.key), reason, path));
        }
        doors.extend(service.live_node_ports().map(|port| self.node_port(&port)));
        doors.extend(self.shared());
        if service.service_type() == ServiceType::ExternalName {
            let name = service.spec.external_name.as_deref().unwrap_or("(nothing)");
            doors.push(Found {
                door: Door {
                    address: excerpt(name).into_owned(),
                    ..door(
                        DoorKind::Alias,
                        Opens::Alias,
                        &format!("clients inside are led to {}", destination(name)),
                        "spec.externalName",
                    )
                },
                path: path(&["f:spec", "f:externalName"]),
            });
        }
        let forwarding = annotations::forwarding(service);
        for found in doors
            .iter_mut()
            .filter(|found| found.door.kind != DoorKind::Alias)
        {
            for forwarding in &forwarding {
                found.door.reason += &format!("; {forwarding}");
            }
        }
        doors
    }

    fn external_ip(&self, ip: &str, field: &str, reason: &str, path: Vec<String>) -> Found {
        Found {
            door: Door {
                ports: self.ports(),
                address: excerpt(ip).into_owned(),
                ..door(DoorKind::ExternalIp, Opens::ExternalIp, reason, field)
            },
            path,
        }
    }

    fn load_balancer(&self, providers: &[ProviderId]) -> Found {
        let providers: Vec<_> = providers.iter().map(provider).collect();
        let found = balancer(self.service, &providers);
        let mut reason = found.reason;
        let controllers = serving(self.service, &providers).ok();
        if let Some(sources) = Sources::of(self.service, controllers.as_deref()) {
            reason += &format!("; {}", sources.text());
        }
        let (field, path) = match &found.annotation {
            Some(key) => (annotation(key), annotation_path("f:annotations", key)),
            None => (TYPE.to_owned(), path(&["f:spec", "f:type"])),
        };
        Found {
            door: Door {
                ports: self.ports(),
                address: self.balancer_address(),
                ..door(DoorKind::LoadBalancer, found.opens, &reason, &field)
            },
            path,
        }
    }

    /// Returns the addresses of the load balancer, or the one that the Service asks for.
    fn balancer_address(&self) -> String {
        let ingress = self.status.status.load_balancer_ingress.iter();
        let given = ingress.filter_map(|ingress| ingress.ip.as_ref().or(ingress.hostname.as_ref()));
        let given: Vec<_> = given.map(String::as_str).collect();
        match (given.is_empty(), &self.service.spec.load_balancer_ip) {
            (false, _) => excerpt(&given.join(", ")).into_owned(),
            (true, Some(ip)) => format!("{} (asked for)", excerpt(ip)),
            (true, None) => Door::PENDING.to_owned(),
        }
    }

    fn exported(&self) -> Vec<Found> {
        let is_balancer = self.service.service_type() == ServiceType::LoadBalancer;
        let exporting = annotations::exporting(self.service).into_iter();
        // Annotations that decide about a load balancer's reach are told with the load balancer.
        let exporting = exporting.filter(|found| !is_balancer || !bears_on_reach(found.key));
        let found = exporting.map(|found| Found {
            door: Door {
                ports: self.ports(),
                address: format!("{}: {}", excerpt(found.key), excerpt(found.value)),
                ..door(
                    DoorKind::Exported,
                    Opens::Exported,
                    found.effect,
                    &format!("metadata.{}s[{:?}]", found.what, found.key),
                )
            },
            path: annotation_path(&format!("f:{}s", found.what), found.key),
        });
        found.collect()
    }

    fn node_port(&self, port: &NodePortInUse<'_>) -> Found {
        let local = self.service.spec.external_traffic_policy.as_deref() == Some("Local");
        // A node without its Pods answers a health check, too: that it has none.
        let nodes = if local && port.used_as == UsedAs::NodePort {
            "nodes with its Pods"
        } else {
            "every node"
        };
        let mut path = path(&["f:spec"]);
        let behind = match port.used_as {
            UsedAs::NodePort => {
                let (number, protocol) = (self.service.spec.ports[port.index].port, port.protocol);
                let key = format!(r#"k:{{"port":{number},"protocol":"{protocol}"}}"#);
                path.extend(["f:ports".to_owned(), key, "f:nodePort".to_owned()]);
                format!("{protocol} {number}")
            }
            UsedAs::HealthCheck => {
                path.push("f:healthCheckNodePort".to_owned());
                "TCP health check".to_owned()
            }
        };
        Found {
            door: Door {
                ports: vec![behind],
                address: format!("{nodes}:{}", port.number),
                allocated: !port.by_client,
                ..door(
                    DoorKind::NodePort,
                    Opens::Nodes,
                    "a static port of the nodes",
                    &port.field(),
                )
            },
            path,
        }
    }

    fn shared(&self) -> Vec<Found> {
        let shared = sharing::shared(self.service).into_iter();
        let shared = shared.map(|shared| Found {
            door: Door {
                ports: self.ports(),
                address: self.balancer_address(),
                ..door(
                    DoorKind::Shared,
                    Opens::Shared,
                    &annotations::sharing(&shared),
                    &annotation(shared.key),
                )
            },
            path: annotation_path("f:annotations", shared.key),
        });
        shared.collect()
    }

    fn ports(&self) -> Vec<String> {
        let ports = self.service.spec.ports.iter();
        ports
            .map(|port| format!("{} {}", port.protocol, port.port))
            .collect()
    }

    fn name_writer(&self, found: &mut Found) {
        let Some(managers) = self.managers.as_ref().filter(|known| !known.is_empty()) else {
            return;
        };
        let path: Vec<_> = found.path.iter().map(String::as_str).collect();
        found.door.written_by = managers
            .last(&path)
            .or_else(|| managers.last(&["f:spec", "f:type"]));
    }
}

fn door(kind: DoorKind, opens: Opens, reason: &str, field: &str) -> Door {
    Door {
        kind,
        opens,
        ports: vec![],
        address: String::new(),
        reason: reason.to_owned(),
        field: field.to_owned(),
        allocated: false,
        written_by: None,
    }
}

fn annotation(key: &str) -> String {
    format!("metadata.annotations[{key:?}]")
}

fn annotation_path(map: &str, key: &str) -> Vec<String> {
    path(&["f:metadata", map, &format!("f:{key}")])
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn provider(id: &ProviderId) -> review::ProviderId {
    match id {
        ProviderId::Scheme(text) => review::ProviderId::Scheme(text.clone()),
        ProviderId::Bare(text) => review::ProviderId::Bare(text.clone()),
        ProviderId::Missing => review::ProviderId::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_core::service;
    use serde_json::{Value, json};

    fn doors_of(value: &Value) -> Vec<Door> {
        let service = service::from_value(value).expect("a Service");
        let object = RawValue::from_string(value.to_string()).expect("JSON");
        doors(&service, &object, &[])
    }

    fn kinds(value: &Value) -> Vec<(DoorKind, Opens)> {
        let doors = doors_of(value);
        doors.iter().map(|door| (door.kind, door.opens)).collect()
    }

    #[test]
    fn a_cluster_ip_without_annotations_has_no_door() {
        let value = json!({"metadata": {"name": "w"}, "spec": {"ports": [{"port": 80}]}});
        assert_eq!(kinds(&value), []);
    }

    #[test]
    fn each_way_in_is_a_door_and_the_widest_comes_first() {
        let value = json!({
            "metadata": {"name": "w", "annotations": {"tailscale.com/expose": "true",
                "metallb.io/allow-shared-ip": "k"}},
            "spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.7"],
                "ports": [{"port": 80, "nodePort": 30080}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        });
        let expected = [
            (DoorKind::LoadBalancer, Opens::PerhapsPublic),
            (DoorKind::Exported, Opens::Exported),
            (DoorKind::ExternalIp, Opens::ExternalIp),
            (DoorKind::NodePort, Opens::Nodes),
            (DoorKind::Shared, Opens::Shared),
        ];
        assert_eq!(kinds(&value), expected);
        let doors = doors_of(&value);
        assert_eq!(doors[0].address, "192.0.2.1");
        assert_eq!(doors[3].address, "every node:30080");
        let alias = json!({"spec": {"type": "ExternalName", "externalName": "db.example.com"}});
        assert_eq!(doors_of(&alias)[0].address, "db.example.com");
    }

    #[test]
    fn what_a_second_annotation_forbids_is_not_exported() {
        let global = |shared: &str| {
            json!({"metadata": {"annotations": {"service.cilium.io/global": "true",
                "service.cilium.io/shared": shared}}, "spec": {"ports": [{"port": 80}]}})
        };
        assert_eq!(kinds(&global("false")), []);
        assert_eq!(kinds(&global("x")).len(), 1);
    }

    #[test]
    fn an_allocated_node_port_names_the_writer_of_the_type() {
        let entry = json!({"manager": "helm", "operation": "Apply",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:type": {}, "f:ports":
                {r#"k:{"port":80,"protocol":"TCP"}"#: {"f:port": {}},
                 r#"k:{"port":81,"protocol":"TCP"}"#: {"f:nodePort": {}}}}}});
        let value = json!({"metadata": {"managedFields": [entry]}, "spec": {"type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 81, "nodePort": 30081}]}});
        let doors = doors_of(&value);
        assert_eq!(
            doors.iter().map(|door| door.allocated).collect::<Vec<_>>(),
            [true, false]
        );
        let writer = doors[0].written_by.as_ref().expect("known");
        assert_eq!(
            (writer.manager.as_str(), writer.operation.as_str()),
            ("helm", "Apply")
        );
    }
}
