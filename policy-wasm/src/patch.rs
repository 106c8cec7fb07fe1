//! JSON Patches that an API server accepts.
//!
//! A patch is made from the Service that it is for, and every operation fits that object: only what
//! is present is removed, a parent map is created before something is added under it, and what is
//! already so is left alone. Each path is changed once: the last word on it counts. Status and
//! managedFields are out of reach.

use crate::service::{Pair, Service, ServiceType};
use crate::text::{json_list, json_string};
use crate::verdict::{PatchOperation, PatchValue, Verdict};

/// The older form of `loadBalancerSourceRanges`; like the field, forbidden on anything but a
/// LoadBalancer.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The answer of [`crate::Policy::mutate`]. Empty: leave the object alone. It has no room for a
/// violation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mutation {
    /// From a [`Patch`].
    pub patch: Vec<PatchOperation>,
    /// Shown to the client.
    pub warnings: Vec<String>,
    /// For the API server's audit log.
    pub audit_annotations: Vec<Pair>,
}

impl From<Mutation> for Verdict {
    fn from(
        Mutation {
            patch,
            warnings,
            audit_annotations,
        }: Mutation,
    ) -> Self {
        Self {
            violations: vec![],
            warnings,
            audit_annotations,
            patch,
        }
    }
}

/// A field of `spec` that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecField {
    /// `allocateLoadBalancerNodePorts`
    AllocateLoadBalancerNodePorts,
    /// `externalIPs`
    ExternalIps,
    /// `externalName`
    ExternalName,
    /// `externalTrafficPolicy`
    ExternalTrafficPolicy,
    /// `healthCheckNodePort`
    HealthCheckNodePort,
    /// `loadBalancerClass`
    LoadBalancerClass,
    /// `loadBalancerIP`
    LoadBalancerIp,
    /// `loadBalancerSourceRanges`
    LoadBalancerSourceRanges,
}

impl SpecField {
    /// Returns the field's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllocateLoadBalancerNodePorts => "allocateLoadBalancerNodePorts",
            Self::ExternalIps => "externalIPs",
            Self::ExternalName => "externalName",
            Self::ExternalTrafficPolicy => "externalTrafficPolicy",
            Self::HealthCheckNodePort => "healthCheckNodePort",
            Self::LoadBalancerClass => "loadBalancerClass",
            Self::LoadBalancerIp => "loadBalancerIP",
            Self::LoadBalancerSourceRanges => "loadBalancerSourceRanges",
        }
    }

    fn path(self) -> String {
        format!("/spec/{}", self.name())
    }

    /// Returns true if a Service has the field.
    pub fn is_present(self, service: &Service) -> bool {
        let spec = &service.spec;
        match self {
            Self::AllocateLoadBalancerNodePorts => spec.allocate_load_balancer_node_ports.is_some(),
            Self::ExternalIps => !spec.external_ips.is_empty(),
            Self::ExternalName => spec.external_name.is_some(),
            Self::ExternalTrafficPolicy => spec.external_traffic_policy.is_some(),
            Self::HealthCheckNodePort => spec.health_check_node_port.is_some(),
            Self::LoadBalancerClass => spec.load_balancer_class.is_some(),
            Self::LoadBalancerIp => spec.load_balancer_ip.is_some(),
            Self::LoadBalancerSourceRanges => !spec.load_balancer_source_ranges.is_empty(),
        }
    }
}

/// One of the two maps of metadata that a patch may touch.
#[derive(Clone, Copy)]
enum MetadataMap {
    Labels,
    Annotations,
}

impl MetadataMap {
    fn path(self) -> &'static str {
        match self {
            Self::Labels => "/metadata/labels",
            Self::Annotations => "/metadata/annotations",
        }
    }

    fn path_of(self, key: &str) -> String {
        format!("{}/{}", self.path(), pointer(key))
    }

    fn of(self, service: &Service) -> &[Pair] {
        match self {
            Self::Labels => &service.metadata.labels,
            Self::Annotations => &service.metadata.annotations,
        }
    }
}

/// A patch in the making.
///
/// ```
/// use sallyport_policy::prelude::*;
/// use sallyport_policy::testing::{apply, node_port};
///
/// let service = node_port("web", 80, 30080);
/// let mutation = Patch::new(&service)
///     .make_cluster_ip()
///     .set_annotation("example.com/why", "a database")
///     .finish();
/// let patched = apply(&service, &mutation);
/// assert_eq!(patched.service_type(), ServiceType::ClusterIp);
/// assert_eq!(patched.spec.ports[0].node_port, None);
/// ```
#[derive(Debug)]
pub struct Patch<'a> {
    service: &'a Service,
    /// At most one for each path; parents are added in the end.
    changes: Vec<PatchOperation>,
}

impl<'a> Patch<'a> {
    /// Creates a patch for this object, empty so far.
    pub fn new(service: &'a Service) -> Self {
        Self {
            service,
            changes: vec![],
        }
    }

    /// Sets `spec.type`, and nothing else. The API server refuses a type beside fields that it does
    /// not allow: see [`Patch::make_cluster_ip`].
    pub fn set_type(&mut self, service_type: ServiceType) -> &mut Self {
        let is_so = self.service.spec.type_ == Some(service_type);
        self.set(
            "/spec/type".to_owned(),
            is_so,
            json_string(service_type.as_str()),
        )
    }

    /// Sets the type ClusterIP and removes whatever the API server refuses on one, or that would
    /// take effect when the type changes again. External IPs stay.
    pub fn make_cluster_ip(&mut self) -> &mut Self {
        self.set_type(ServiceType::ClusterIp).remove_node_ports();
        for field in [
            SpecField::HealthCheckNodePort,
            SpecField::ExternalTrafficPolicy,
            SpecField::AllocateLoadBalancerNodePorts,
            SpecField::LoadBalancerClass,
            SpecField::LoadBalancerSourceRanges,
            SpecField::LoadBalancerIp,
            SpecField::ExternalName,
        ] {
            self.remove(field);
        }
        self.remove_annotation(SOURCE_RANGES)
    }

    /// Removes `spec.ports[].nodePort`, wherever one is.
    pub fn remove_node_ports(&mut self) -> &mut Self {
        self.forget(PORTS, false);
        for (index, port) in self.service.spec.ports.iter().enumerate() {
            if port.node_port.is_some() {
                self.changes
                    .push(PatchOperation::Remove(node_port_path(index)));
            }
        }
        self
    }

    /// Removes `spec.ports[index].nodePort`, if it is present.
    pub fn remove_node_port(&mut self, index: usize) -> &mut Self {
        let is_present = self
            .service
            .spec
            .ports
            .get(index)
            .is_some_and(|port| port.node_port.is_some());
        self.drop_path(node_port_path(index), is_present)
    }

    /// Removes a field of `spec`, if it is present.
    pub fn remove(&mut self, field: SpecField) -> &mut Self {
        self.drop_path(field.path(), field.is_present(self.service))
    }

    /// Sets `spec.externalTrafficPolicy`: `Cluster` or `Local`.
    pub fn set_external_traffic_policy(&mut self, policy: &str) -> &mut Self {
        let is_so = self.service.spec.external_traffic_policy.as_deref() == Some(policy);
        self.set(
            SpecField::ExternalTrafficPolicy.path(),
            is_so,
            json_string(policy),
        )
    }

    /// Sets `spec.allocateLoadBalancerNodePorts`.
    pub fn set_allocate_load_balancer_node_ports(&mut self, allocate: bool) -> &mut Self {
        let is_so = self.service.spec.allocate_load_balancer_node_ports == Some(allocate);
        self.set(
            SpecField::AllocateLoadBalancerNodePorts.path(),
            is_so,
            (if allocate { "true" } else { "false" }).to_owned(),
        )
    }

    /// Sets `spec.loadBalancerClass`. The API server lets it be set together with the type only.
    pub fn set_load_balancer_class(&mut self, class: &str) -> &mut Self {
        let is_so = self.service.spec.load_balancer_class.as_deref() == Some(class);
        self.set(
            SpecField::LoadBalancerClass.path(),
            is_so,
            json_string(class),
        )
    }

    /// Sets `spec.loadBalancerIP`.
    pub fn set_load_balancer_ip(&mut self, ip: &str) -> &mut Self {
        let is_so = self.service.spec.load_balancer_ip.as_deref() == Some(ip);
        self.set(SpecField::LoadBalancerIp.path(), is_so, json_string(ip))
    }

    /// Sets `spec.loadBalancerSourceRanges`; an empty list removes it.
    pub fn set_load_balancer_source_ranges(&mut self, ranges: &[String]) -> &mut Self {
        self.set_list(
            SpecField::LoadBalancerSourceRanges,
            &self.service.spec.load_balancer_source_ranges,
            ranges,
        )
    }

    /// Sets `spec.externalIPs`; an empty list removes it.
    pub fn set_external_ips(&mut self, ips: &[String]) -> &mut Self {
        self.set_list(SpecField::ExternalIps, &self.service.spec.external_ips, ips)
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) -> &mut Self {
        self.set_pair(MetadataMap::Annotations, key, value)
    }

    /// Removes an annotation, if it is present.
    pub fn remove_annotation(&mut self, key: &str) -> &mut Self {
        self.remove_pair(MetadataMap::Annotations, key)
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: &str, value: &str) -> &mut Self {
        self.set_pair(MetadataMap::Labels, key, value)
    }

    /// Removes a label, if it is present.
    pub fn remove_label(&mut self, key: &str) -> &mut Self {
        self.remove_pair(MetadataMap::Labels, key)
    }

    /// Returns the patch as the answer of [`crate::Policy::mutate`]. Objects and lists that it adds
    /// to are created first where they are missing.
    pub fn finish(&mut self) -> Mutation {
        let mut patch = Vec::with_capacity(self.changes.len());
        let metadata = &self.service.metadata;
        // An empty map and an absent one look alike here; replacing an empty map by another does no
        // harm.
        let mut absent = [
            ("/spec", !self.service.has_spec),
            (MetadataMap::Labels.path(), metadata.labels.is_empty()),
            (
                MetadataMap::Annotations.path(),
                metadata.annotations.is_empty(),
            ),
        ];
        for change in std::mem::take(&mut self.changes) {
            for (parent, is_absent) in &mut absent {
                let is_below = path(&change)
                    .strip_prefix(*parent)
                    .is_some_and(|rest| rest.starts_with('/'));
                if is_below && std::mem::take(is_absent) {
                    patch.push(add((*parent).to_owned(), "{}".to_owned()));
                }
            }
            patch.push(change);
        }
        Mutation {
            patch,
            ..Mutation::default()
        }
    }

    fn set_list(&mut self, field: SpecField, found: &[String], wanted: &[String]) -> &mut Self {
        if wanted.is_empty() {
            return self.remove(field);
        }
        self.set(field.path(), found == wanted, json_list(wanted))
    }

    fn set_pair(&mut self, map: MetadataMap, key: &str, value: &str) -> &mut Self {
        let is_so = crate::pairs::get(map.of(self.service), key) == Some(value);
        self.set(map.path_of(key), is_so, json_string(value))
    }

    fn remove_pair(&mut self, map: MetadataMap, key: &str) -> &mut Self {
        self.drop_path(
            map.path_of(key),
            crate::pairs::get(map.of(self.service), key).is_some(),
        )
    }

    fn set(&mut self, path: String, is_so: bool, json: String) -> &mut Self {
        self.change(add(path, json), !is_so)
    }

    fn drop_path(&mut self, path: String, is_present: bool) -> &mut Self {
        self.change(PatchOperation::Remove(path), is_present)
    }

    /// Sets the operation for a path, in place of an earlier one for the same path.
    fn change(&mut self, change: PatchOperation, is_needed: bool) -> &mut Self {
        self.forget(path(&change), true);
        if is_needed {
            self.changes.push(change);
        }
        self
    }

    /// Removes the operations on a path; with those below it, unless `only_itself`.
    fn forget(&mut self, below: &str, only_itself: bool) {
        self.changes.retain(|change| {
            let rest = path(change).strip_prefix(below);
            rest.is_none_or(|rest| only_itself && !rest.is_empty())
        });
    }
}

fn add(path: String, value: String) -> PatchOperation {
    PatchOperation::Add(PatchValue { path, value })
}

fn path(change: &PatchOperation) -> &str {
    match change {
        PatchOperation::Add(PatchValue { path, .. })
        | PatchOperation::Replace(PatchValue { path, .. }) => path,
        PatchOperation::Remove(path) => path,
    }
}

/// The path of the ports. Only their node ports are ever changed.
const PORTS: &str = "/spec/ports/";

fn node_port_path(index: usize) -> String {
    format!("{}{index}/nodePort", PORTS)
}

/// Returns a key as a step of a JSON Pointer (RFC 6901).
fn pointer(key: &str) -> String {
    let mut step = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            '~' => step.push_str("~0"),
            '/' => step.push_str("~1"),
            _ => step.push(c),
        }
    }
    step
}

#[cfg(test)]
mod tests;
