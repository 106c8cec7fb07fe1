//! Values that a Service's type does not use.
//!
//! In the mutating phase of an update, the API server has yet to wipe what it once set by itself:
//! after a change of the type away from one that used a field, values that the client left alone go
//! (`dropTypeDependentFields` in kubernetes' pkg/registry/core/service/strategy.go). Those are no
//! offence, and need no patch.

use crate::settings::Fields;
use sallyport_policy::MAX_VIOLATIONS;
use sallyport_policy::prelude::*;
use sallyport_policy::quote;

/// The older form of `loadBalancerSourceRanges`.
pub(crate) const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// A value without effect.
pub(crate) struct Dormant {
    pub(crate) place: Place,
    /// The value for the key of a violation.
    value: String,
    /// The value for a message.
    shown: String,
}

/// The field that holds a value.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// `spec.ports[].nodePort`, by index.
    NodePort(usize),
    /// One value of its own.
    Field(SpecField),
    /// One of `spec.loadBalancerSourceRanges`, by index.
    SourceRange(usize),
    /// The annotation.
    SourceRanges,
}

impl Dormant {
    /// All that count, and that the API server is not about to wipe.
    pub(crate) fn all(fields: &Fields, review: &Review) -> Vec<Self> {
        let mut found = Found {
            review,
            values: vec![],
        };
        if fields.node_port {
            found.node_ports();
        }
        found.numbers_and_flags(fields);
        found.texts(fields);
        if fields.load_balancer_source_ranges {
            found.source_ranges();
        }
        found.values
    }

    pub(crate) fn violation(&self, service_type: ServiceType) -> Violation {
        let (name, field) = match self.place {
            Place::NodePort(index) => ("nodePort", format!("spec.ports[{index}].nodePort")),
            Place::Field(field) => (field.name(), format!("spec.{}", field.name())),
            Place::SourceRange(index) => (
                "loadBalancerSourceRanges",
                format!("spec.loadBalancerSourceRanges[{index}]"),
            ),
            Place::SourceRanges => (
                "annotation",
                format!("metadata.annotations[{}]", quote(SOURCE_RANGES)),
            ),
        };
        let users = self.place.users();
        let message = format!(
            "{} has no effect on type {service_type}: it is for {users} only",
            self.shown
        );
        let key = format!("{name}:{service_type}:{}", self.value);
        Violation::new("S11", field, message)
            .key(key)
            .fix("remove it")
    }
}

impl Place {
    /// Returns true if the Service's type uses the field.
    fn is_used_by(self, service: &Service) -> bool {
        let service_type = service.service_type();
        match self {
            Self::NodePort(_) => service.uses_node_ports(),
            Self::Field(SpecField::ExternalName) => service_type == ServiceType::ExternalName,
            Self::Field(SpecField::HealthCheckNodePort) => {
                service_type == ServiceType::LoadBalancer
                    && service.spec.external_traffic_policy.as_deref() == Some("Local")
            }
            Self::Field(SpecField::ExternalTrafficPolicy) => {
                let has_ips =
                    service_type == ServiceType::ClusterIp && !service.spec.external_ips.is_empty();
                service.uses_node_ports() || has_ips
            }
            _ => service_type == ServiceType::LoadBalancer,
        }
    }

    /// Returns the types that use the field, as [`Place::is_used_by`] decides.
    fn users(self) -> &'static str {
        match self {
            Self::NodePort(_) => "NodePort and LoadBalancer",
            Self::Field(SpecField::ExternalName) => "ExternalName",
            Self::Field(SpecField::HealthCheckNodePort) => {
                "LoadBalancer with externalTrafficPolicy Local"
            }
            Self::Field(SpecField::ExternalTrafficPolicy) => {
                "NodePort, LoadBalancer, and ClusterIP with externalIPs"
            }
            _ => "LoadBalancer",
        }
    }
}

struct Found<'a> {
    review: &'a Review,
    values: Vec<Dormant>,
}

impl Found<'_> {
    fn node_ports(&mut self) {
        let service = &self.review.service;
        let place = Place::NodePort(0);
        if place.is_used_by(service) {
            return;
        }
        let wiped = self.wiping_from(place).map(NodePorts::of);
        for (index, port) in service.spec.ports.iter().enumerate() {
            let number = port
                .node_port
                .filter(|number| !wiped.as_ref().is_some_and(|old| old.contains(*number)));
            if self.values.len() > MAX_VIOLATIONS {
                return;
            }
            if let Some(number) = number {
                let value = format!("{}:{number}", port.protocol);
                self.values.push(Dormant {
                    place: Place::NodePort(index),
                    value,
                    shown: number.to_string(),
                });
            }
        }
    }

    fn numbers_and_flags(&mut self, fields: &Fields) {
        let number = |service: &Service| {
            service
                .spec
                .health_check_node_port
                .map(|number| number.to_string())
        };
        let flag = |service: &Service| {
            service
                .spec
                .allocate_load_balancer_node_ports
                .map(|allocate| allocate.to_string())
        };
        let places = [
            (
                fields.health_check_node_port,
                SpecField::HealthCheckNodePort,
                number as fn(&Service) -> Option<String>,
            ),
            (
                fields.allocate_load_balancer_node_ports,
                SpecField::AllocateLoadBalancerNodePorts,
                flag,
            ),
        ];
        for (is_checked, field, read) in places {
            if is_checked {
                let was = self.wiping_from(Place::Field(field)).and_then(read);
                let is = read(&self.review.service).filter(|is| was.as_ref() != Some(is));
                self.push(field, is.map(|is| (is.clone(), is)));
            }
        }
    }

    fn texts(&mut self, fields: &Fields) {
        type Read = fn(&Service) -> Option<&str>;
        let places: [(bool, SpecField, Read); 4] = [
            (fields.external_name, SpecField::ExternalName, |service| {
                service.spec.external_name.as_deref()
            }),
            (
                fields.load_balancer_ip,
                SpecField::LoadBalancerIp,
                |service| service.spec.load_balancer_ip.as_deref(),
            ),
            (
                fields.load_balancer_class,
                SpecField::LoadBalancerClass,
                |service| service.spec.load_balancer_class.as_deref(),
            ),
            (
                fields.external_traffic_policy,
                SpecField::ExternalTrafficPolicy,
                |service| service.spec.external_traffic_policy.as_deref(),
            ),
        ];
        for (is_checked, field, read) in places {
            if is_checked {
                let was = self.wiping_from(Place::Field(field)).and_then(read);
                let is = read(&self.review.service).filter(|is| was != Some(is));
                self.push(field, is.map(|is| (is.to_owned(), quote(is))));
            }
        }
    }

    /// The API server never removes what a client wrote.
    fn source_ranges(&mut self) {
        let service = &self.review.service;
        if Place::SourceRanges.is_used_by(service) {
            return;
        }
        for (index, range) in service.spec.load_balancer_source_ranges.iter().enumerate() {
            if self.values.len() > MAX_VIOLATIONS {
                return;
            }
            let place = Place::SourceRange(index);
            self.values.push(Dormant {
                place,
                value: range.clone(),
                shown: quote(range),
            });
        }
        if let Some(ranges) = service.annotation(SOURCE_RANGES) {
            let (value, shown) = (ranges.to_owned(), quote(ranges));
            self.values.push(Dormant {
                place: Place::SourceRanges,
                value,
                shown,
            });
        }
    }

    fn push(&mut self, field: SpecField, value: Option<(String, String)>) {
        let place = Place::Field(field);
        if let Some((value, shown)) = value.filter(|_| !place.is_used_by(&self.review.service)) {
            self.values.push(Dormant {
                place,
                value,
                shown,
            });
        }
    }

    /// The old object, if the API server is about to wipe what is still the same there.
    fn wiping_from(&self, place: Place) -> Option<&Service> {
        let is_wiped = match place {
            Place::NodePort(_) => true,
            Place::Field(field) => {
                !matches!(field, SpecField::ExternalName | SpecField::LoadBalancerIp)
            }
            Place::SourceRange(_) | Place::SourceRanges => false,
        };
        let old = self.review.old_service.as_ref()?;
        (is_wiped && self.review.phase == Phase::Mutating && place.is_used_by(old)).then_some(old)
    }
}

/// The node ports of a Service, whatever its type; quick to ask, as there may be thousands.
pub(crate) struct NodePorts(Vec<u64>);

impl NodePorts {
    pub(crate) fn of(service: &Service) -> Self {
        let mut bits = vec![0; 1024];
        for number in service.spec.ports.iter().filter_map(|port| port.node_port) {
            if let Some((word, bit)) = place(number) {
                bits[word] |= bit;
            }
        }
        Self(bits)
    }

    pub(crate) fn contains(&self, number: i32) -> bool {
        place(number).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }
}

fn place(number: i32) -> Option<(usize, u64)> {
    let number = u16::try_from(number).ok()?;
    Some((usize::from(number / 64), 1 << (number % 64)))
}
